#pragma once

// File records: the elements of the MFT, 1 or 4 KiB each. All views here are over *unprotected*
// bytes (see core/base/multi_sector.h), do not own them, and are valid while they are unchanged.

#include <optional>
#include <string>
#include <string_view>

#include "core/base/multi_sector.h"
#include "core/base/units.h"
#include "core/ondisk/attribute_record.h"
#include "lfs/lsn.h"

namespace ntfs::ondisk {

constexpr uint64_t kMftRecord = 0;
constexpr uint64_t kMftMirrRecord = 1;
constexpr uint64_t kLogFileRecord = 2;
constexpr uint64_t kVolumeRecord = 3;
constexpr uint64_t kAttrDefRecord = 4;
constexpr uint64_t kRootRecord = 5;
constexpr uint64_t kBitmapRecord = 6;
constexpr uint64_t kBootRecord = 7;
constexpr uint64_t kBadClusRecord = 8;
constexpr uint64_t kSecureRecord = 9;
constexpr uint64_t kUpCaseRecord = 10;
constexpr uint64_t kExtendRecord = 11;
constexpr uint64_t kFirstReservedRecord = 12;  // 12..15 in use and empty, 16..23 free
constexpr uint64_t kFirstUserRecord = 24;

/// Bits of FileRecordHeader::flags.
struct FileRecordFlags {
  static constexpr uint16_t InUse = 0x0001;
  static constexpr uint16_t Directory = 0x0002;  // has a file name index
  static constexpr uint16_t Extend = 0x0004;     // set on files below $Extend
  static constexpr uint16_t ViewIndex = 0x0008;  // has an index of another kind
};

struct FileRecordHeader {
  MultiSectorHeader multi_sector;  // "FILE"
  le64 lsn;                        // of the last log record that changed this record
  le16 sequence;                   // counts uses of the record; never 0 once used
  le16 link_count;
  le16 first_attribute_offset;  // bytes, multiple of 8
  le16 flags;                   // FileRecordFlags
  le32 used_bytes;              // header to END marker; multiple of 8
  le32 total_bytes;             // size of the record
  le64 base_reference;          // of the base record; 0 in base records
  le16 next_attribute_instance;
  le16 record_number_high;
  le32 record_number_low;
};
static_assert(sizeof(FileRecordHeader) == 0x30 && alignof(FileRecordHeader) == 1);
static_assert(offsetof(FileRecordHeader, flags) == 0x16);
static_assert(offsetof(FileRecordHeader, base_reference) == 0x20);
static_assert(offsetof(FileRecordHeader, record_number_low) == 0x2C);

/// Bytes of the END marker: its type code and a word that nobody reads.
constexpr size_t kEndMarkerBytes = 8;

/// Where attributes begin in a record of `record_bytes` that is formatted here.
constexpr size_t first_attribute_offset_of(size_t record_bytes) {
  return align_up(sizeof(FileRecordHeader) + 2 * (1 + record_bytes / kSequenceStride), 8);
}

/// Forward iteration over the attributes of a record.
class AttributeIterator {
 public:
  struct End {};
  AttributeIterator(ByteView record, size_t offset) : record_(record), offset_(offset) {}
  AttributeView operator*() const { return AttributeView::of_valid(record_, offset_); }
  AttributeIterator& operator++();
  bool operator==(End) const { return at_end(); }

 private:
  bool at_end() const;
  ByteView record_;
  size_t offset_ = 0;
};

class FileRecordView {
 public:
  /// Checks a whole record, in use or free: signature, update sequence array position, sizes,
  /// every attribute (AttributeView::parse), ascending types, END marker, and the values that are
  /// used without another check: $STANDARD_INFORMATION, $FILE_NAME, $INDEX_ROOT.
  /// FileCorruptError (reported). Does not compare sequence or record number.
  static Result<FileRecordView> parse(ByteView record, const Origin& origin);
  /// For bytes that were checked or made here.
  static FileRecordView of_valid(ByteView record);

  ByteView bytes() const { return record_; }
  const FileRecordHeader& header() const { return struct_at<FileRecordHeader>(record_); }
  lfs::Lsn lsn() const { return lfs::Lsn::from_raw(header().lsn.get()); }
  uint16_t sequence() const { return header().sequence.get(); }
  uint16_t link_count() const { return header().link_count.get(); }
  uint16_t first_attribute_offset() const { return header().first_attribute_offset.get(); }
  uint16_t flags() const { return header().flags.get(); }
  bool in_use() const { return (flags() & FileRecordFlags::InUse) != 0; }
  bool is_directory() const { return (flags() & FileRecordFlags::Directory) != 0; }
  uint32_t used_bytes() const { return header().used_bytes.get(); }
  uint32_t total_bytes() const { return header().total_bytes.get(); }
  uint32_t free_bytes() const { return total_bytes() - used_bytes(); }
  FileReference base_reference() const {
    return FileReference::from_raw(header().base_reference.get());
  }
  bool is_base() const { return header().base_reference.get() == 0; }
  uint16_t next_attribute_instance() const { return header().next_attribute_instance.get(); }
  /// False in records of volumes older than NTFS 3.1.
  bool has_record_number() const;
  uint64_t record_number() const;
  FileReference reference() const { return FileReference(record_number(), sequence()); }

  AttributeIterator begin() const { return {record_, first_attribute_offset()}; }
  AttributeIterator::End end() const { return {}; }
  /// The first attribute of that type and exactly that name ("" is unnamed).
  std::optional<AttributeView> find(AttributeType type, std::u16string_view name = {}) const;
  /// The nonresident attribute record of that type and name whose lowest vcn is `lowest`; for
  /// vcn 0 a resident one, too.
  std::optional<AttributeView> find(AttributeType type, std::u16string_view name, Vcn lowest) const;
  std::optional<AttributeView> find_instance(AttributeType type, uint16_t instance) const;
  /// The attribute that begins exactly at `offset`.
  std::optional<AttributeView> attribute_at(size_t offset) const;
  /// Where the END marker stands.
  uint32_t end_marker_offset() const;
  /// Whether an attribute or the END marker begins at `offset`.
  bool is_attribute_boundary(size_t offset) const;

 private:
  explicit FileRecordView(ByteView record) : record_(record) {}
  ByteView record_;
};

struct FileRecordInit {
  uint64_t record_number = 0;
  uint16_t sequence = 1;
  uint16_t flags = 0;  ///< FileRecordFlags; without InUse the record is free
  uint16_t link_count = 0;
  FileReference base_reference;  ///< of the base record, for an extension record
};
/// Makes `record` (1024 or 4096 bytes) an empty record: header, update sequence array, END marker,
/// zeros; lsn 0.
void format_file_record(MutableBytes record, const FileRecordInit& init);

/// The header and each attribute, a line each.
std::string describe(const FileRecordView& record);

}  // namespace ntfs::ondisk
