#pragma once

// The attribute records of one file, rearranged over its base and extension records. Used when a
// change does not fit where it is, or when the list changes: edits are made on copies in memory,
// `store` finds room for everything and then logs each record that changed.
//
// What is logged is the image of a record (or its end): these operations have no side effects on
// the link count, so the base record's count, which counts the $FILE_NAMEs of all records, comes
// out right in every replayer; extension records count none.
//
// Caller: in a transaction. Nothing else may change the file's records between load and store.

#include <map>
#include <vector>

#include "core/store/attribute_list.h"
#include "core/store/transaction.h"

namespace ntfs {

class AttributeLayout {
 public:
  /// `volume` must outlive the object.
  AttributeLayout(Volume& volume, FileReference file) : volume_(volume), file_(file) {}

  /// Reads the base record and the list; without a list, makes one of what the record holds.
  Result<> load();

  /// Entries of the file, in order.
  const AttributeListEntries& entries() const { return entries_; }

  /// Adds an attribute record; its instance number is given when it has found a place.
  void add(ByteVector attribute_record);
  /// Removes the attribute record that `entry` names. FileCorruptError when it is not there.
  Result<> remove(const ondisk::AttributeListEntry& entry);

  /// Moves what does not fit in the base record to extension records, and logs all. DiskFull,
  /// FileSystemLimitation (a record larger than any file record, a list that is too long).
  Result<> store(Transaction& transaction);

 private:
  /// A copy of a file record.
  struct Draft {
    PageRef page;
    bool is_new = false;
    ByteVector header;  // up to the first attribute
    std::vector<ByteVector> attributes;
    uint32_t used_bytes() const;
  };

  static Draft make_draft(const PageRef& page);
  Result<Draft*> extension_draft(FileReference extension);
  Result<Draft*> draft_of(FileReference record);
  void put(Draft& draft, ByteVector attribute_record);
  uint16_t take_instance(Draft& draft) const;
  void place(Draft& draft, ByteVector attribute_record);
  void count_link(int change);

  Result<> settle(Transaction& transaction);
  Result<> evict_until_it_fits(Transaction& transaction);
  uint32_t base_bytes() const;
  uint64_t list_bytes() const;
  size_t victim() const;
  Result<> evict(size_t index);
  Result<> place_pending(Transaction& transaction);
  Result<Draft*> extension_with_room(Transaction& transaction, const ByteVector& attribute_record);
  Result<Draft*> new_extension(Transaction& transaction);

  Result<> prepare_list(Transaction& transaction);
  Result<> make_list_nonresident(Transaction& transaction);
  void build_list_record();
  Result<> store_list_pages(Transaction& transaction, const ByteVector& bytes);

  Result<> store_draft(Transaction& transaction, Draft& draft);
  ByteVector image_of(const Draft& draft) const;

  Volume& volume_;
  const FileReference file_;
  Draft base_;
  std::map<uint64_t, Draft> extensions_;  // by record number; those that were looked into
  AttributeListEntries entries_;          // of what has a place
  std::vector<ByteVector> pending_;       // attribute records that go to an extension record

  bool has_list_ = false;      // as it will be
  bool list_resident_ = true;  // as it will be
  bool had_list_ = false;      // on disk
  bool list_was_resident_ = true;
  uint64_t old_list_bytes_ = 0;
  uint16_t list_instance_ = 0;
  Runlist list_runs_;
  bool list_runs_changed_ = false;
  ByteVector list_record_;  // as it will be; empty without a list
};

}  // namespace ntfs
