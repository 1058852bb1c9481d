#pragma once

// The attributes of one file, wherever they lie: in its base record, or in extension records that
// $ATTRIBUTE_LIST names. Finding, inserting, resizing, removing; runlists of any length.
//
// All calls: the caller holds Journal::metadata_lock (exclusively where a Transaction is passed).
// A Found is good until the next change of the file's attributes.

#include <functional>

#include "core/ondisk/attribute_record.h"
#include "core/ondisk/file_record.h"
#include "core/store/page_cache.h"
#include "core/store/runlist.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class Attributes {
 public:
  struct Found {
    PageRef page;
    uint32_t offset = 0;  ///< of the attribute record in the file record
    ondisk::AttributeView view() const {
      return ondisk::FileRecordView::of_valid(page->bytes()).attribute_at(offset);
    }
  };

  /// `volume` must outlive the object.
  Attributes(Volume& volume, FileReference file) : volume_(volume), file_(file) {}

  /// The file's base record. ObjectNameNotFound when the reference is stale.
  Result<PageRef> base();
  /// The attribute record that holds `vcn` (0 for resident ones). ObjectNameNotFound if there is
  /// none.
  Result<Found> find(ondisk::AttributeType type, std::u16string_view name = {}, Vcn vcn = Vcn(0));
  /// Every attribute record of the file, in the order of the list (or of the record). Bounded.
  Result<std::vector<Found>> all();

  /// Inserts a complete attribute record (from build_resident/build_nonresident); gives it an
  /// instance number; moves others to extension records as needed. FileSystemLimitation when the
  /// attribute list would get too long, DiskFull.
  Result<> insert(Transaction& transaction, ByteView attribute_record);
  /// Removes all records of the attribute (its clusters are the caller's matter). Extension records
  /// that become empty are freed.
  Result<> remove(Transaction& transaction, ondisk::AttributeType type, std::u16string_view name);
  /// Removes one particular record (one of several of the same type: a $FILE_NAME).
  Result<> remove(Transaction& transaction, const Found& found);
  /// Gives a resident attribute a new value, of any length that a record can hold (a nonresident
  /// attribute becomes resident; its clusters are the caller's matter); inserts it if missing.
  Result<> set_value(Transaction& transaction, ondisk::AttributeType type, std::u16string_view name,
                     ByteView value);
  /// Overwrites part of a resident value in place.
  Result<> update_value(Transaction& transaction, const Found& found, uint32_t value_offset,
                        ByteView bytes);

  /// The whole runlist of a nonresident attribute, from all its records.
  Result<Runlist> load_runs(ondisk::AttributeType type, std::u16string_view name);
  /// Sizes as its first record says (resident: file size = valid = value length, allocated
  /// 8-aligned).
  Result<ondisk::AttributeSizes> sizes(ondisk::AttributeType type, std::u16string_view name);
  /// Writes what changed between two runlists of a nonresident attribute, and the sizes. Splits the
  /// attribute into more records, or drops records, as needed. `before` is what is on disk now.
  /// Bits of $Bitmap are the caller's matter. Logs only the extents that differ. When `after` has a
  /// hole and the attribute is not sparse, it becomes sparse (and the file
  /// FILE_ATTRIBUTE_SPARSE_FILE).
  Result<> store_runs(Transaction& transaction, ondisk::AttributeType type,
                      std::u16string_view name, const Runlist& before, const Runlist& after,
                      const ondisk::AttributeSizes& sizes);
  /// Changes the sizes only.
  Result<> set_sizes(Transaction& transaction, ondisk::AttributeType type, std::u16string_view name,
                     const ondisk::AttributeSizes& sizes);
  /// Replaces a resident attribute by a nonresident one with these runs (the value's bytes are the
  /// caller's matter), or inserts a nonresident one.
  Result<> make_nonresident(Transaction& transaction, ondisk::AttributeType type,
                            std::u16string_view name, const Runlist& runs,
                            const ondisk::AttributeSizes& sizes);

  /// Bytes that a resident value of this attribute may have so that it surely fits in the base
  /// record as it stands.
  Result<uint32_t> resident_room(ondisk::AttributeType type, std::u16string_view name);

  FileReference file() const { return file_; }

 private:
  Volume& volume_;
  const FileReference file_;
};

}  // namespace ntfs
