#pragma once

// The attributes of one file, wherever they lie: in its base record, or in extension records that
// $ATTRIBUTE_LIST names. Finding, inserting, resizing, removing; runlists of any length.
//
// All calls: the caller holds Journal::metadata_lock (exclusively where a Transaction is passed).
// An object lives no longer than the caller holds the lock: it remembers the base record.
// A Found is good until the next change of the file's attributes. When a change fails, part of it
// may be done: the caller gives up the transaction.
//
// Sources: attributes.cc (one record at a time), attribute_layout.cc (moving between records),
// attribute_list.cc ($ATTRIBUTE_LIST), extents.cc (runlists over many records).

#include <optional>
#include <vector>

#include "core/ondisk/attribute_record.h"
#include "core/ondisk/file_record.h"
#include "core/store/page_cache.h"
#include "core/store/runlist.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;
using ondisk::Compression;

class Attributes {
 public:
  struct Found {
    PageRef page;
    uint32_t offset = 0;  ///< of the attribute record in the file record
    ondisk::AttributeView view() const {
      return ondisk::AttributeView::of_valid(page->bytes(), offset);
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
  /// Those of one type, whatever their names.
  Result<std::vector<Found>> all_of(ondisk::AttributeType type);
  /// Calls `visit` (Found -> Result<>) with each of them, which may change nothing.
  template <typename Visit>
  Result<> for_each(Visit&& visit) {
    const PageRef page = TRY(base());
    const auto record = ondisk::FileRecordView::of_valid(page->bytes());
    if (record.find(ondisk::AttributeType::AttributeList)) {
      for (const Found& found : TRY(all())) TRY(visit(found));
      return {};
    }
    for (const auto attribute : record) TRY(visit(Found{page, attribute.offset()}));
    return {};
  }

  /// Inserts a complete attribute record (from build_resident/build_nonresident); gives it an
  /// instance number; moves others to extension records as needed. FileSystemLimitation when the
  /// attribute list would get too long, DiskFull.
  Result<> insert(Transaction& transaction, ByteView attribute_record);
  /// Removes all records of the attribute (its clusters are the caller's matter). Extension records
  /// that become empty are freed.
  Result<> remove(Transaction& transaction, ondisk::AttributeType type, std::u16string_view name);
  /// Removes a stream. When no other one is sparse, the file is not called sparse any more.
  Result<> remove_data(Transaction& transaction, std::u16string_view name);
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
  /// The same where there must not be holes: a hole can claim any size.
  Result<Runlist> load_whole_runs(ondisk::AttributeType type, std::u16string_view name);
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
  /// The same for a caller that knows where the lists differ: not before `first` and not from `end`
  /// on (`end` is past both ends where these differ). Costs nothing for the rest of a long list.
  Result<> store_changed_runs(Transaction& transaction, ondisk::AttributeType type,
                              std::u16string_view name, const Runlist& after, Vcn first, Vcn end,
                              const ondisk::AttributeSizes& sizes);
  /// Changes the sizes only.
  Result<> set_sizes(Transaction& transaction, ondisk::AttributeType type, std::u16string_view name,
                     const ondisk::AttributeSizes& sizes);
  /// Replaces a resident attribute by a nonresident one with these runs (the value's bytes are the
  /// caller's matter), or inserts a nonresident one.
  Result<> make_nonresident(Transaction& transaction, ondisk::AttributeType type,
                            std::u16string_view name, const Runlist& runs,
                            const ondisk::AttributeSizes& sizes);

  /// Gives the nonresident attribute the sparse form and mark, and the file
  /// FILE_ATTRIBUTE_SPARSE_FILE. The directory entries are the caller's matter.
  Result<> make_sparse(Transaction& transaction, ondisk::AttributeType type,
                       std::u16string_view name);
  /// The way back; the attribute has no holes. The file's mark goes when no other stream is sparse.
  Result<> make_plain(Transaction& transaction, ondisk::AttributeType type,
                      std::u16string_view name);

  /// Marks the attribute, in whatever form it is, as compressed with LZNT1, or takes the mark away
  /// (what has holes is sparse then); for the unnamed $DATA and a directory's index, the file, too.
  /// What the clusters hold, and the directory entries, are the caller's matter.
  /// FileSystemLimitation: it has too many records for one transaction.
  Result<> set_compression(Transaction& transaction, ondisk::AttributeType type,
                           std::u16string_view name, Compression wanted);

  /// Bytes that a resident value of this attribute may have so that it surely fits in its record
  /// (the base record, unless it is in another) as it stands.
  Result<uint32_t> resident_room(ondisk::AttributeType type, std::u16string_view name);

  /// Frees all records of the file, and the clusters of its attribute list. The clusters of all
  /// other attributes and the names in the indexes are the caller's matter.
  Result<> free_records(Transaction& transaction);

  FileReference file() const { return file_; }

 private:
  /// The attribute and the list, as far as the base record alone tells.
  struct Lookup {
    PageRef base;
    std::optional<ondisk::AttributeView> list;
    std::optional<ondisk::AttributeView> attribute;  ///< the first of that type and name
  };
  Result<Lookup> look_up(ondisk::AttributeType type, std::u16string_view name);
  /// All records of one attribute, lowest vcn first. Empty when there is none.
  Result<std::vector<Found>> records_of(ondisk::AttributeType type, std::u16string_view name);
  Result<> replace(Transaction& transaction, const Found& found, ByteVector attribute_record);
  Result<> replace_all(Transaction& transaction, ondisk::AttributeType type,
                       std::u16string_view name, ByteVector attribute_record);
  Result<> change_form(Transaction& transaction, const Found& found, uint16_t flags);
  enum class Flag { Off, On };
  Result<> flag_file(Transaction& transaction, uint32_t file_attribute, Flag wanted);
  Result<> unflag_file(Transaction& transaction);

  Volume& volume_;
  const FileReference file_;
  PageRef base_;  // once it was found
};

/// Sets the sizes of the nonresident attribute record in `found`, if they differ.
Result<> write_sizes(Transaction& transaction, const Attributes::Found& found,
                     const ondisk::AttributeSizes& sizes);
/// log2 of the clusters in a compression unit of a sparse attribute, as Windows sets it.
uint8_t sparse_compression_unit(uint32_t cluster_size);

}  // namespace ntfs
