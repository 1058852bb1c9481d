#pragma once

// Values of the attributes with a fixed layout: $STANDARD_INFORMATION, $FILE_NAME,
// $VOLUME_INFORMATION, $ATTRIBUTE_LIST, $EA_INFORMATION, $EA; and their time stamps.
// Source: MS-FSCC 2.6 "File Attributes", 2.4.15 "FileFullEaInformation"; linux-ntfs documentation.

#include <time.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"
#include "core/ondisk/attribute_record.h"

namespace ntfs::ondisk {

/// A point in time: units of 100 ns since 1601-01-01 UTC.
class FileTime {
 public:
  constexpr FileTime() = default;
  static constexpr FileTime from_raw(uint64_t raw) {
    FileTime time;
    time.value_ = raw;
    return time;
  }
  constexpr uint64_t raw() const { return value_; }
  /// Rounds down to 100 ns; before 1601 gives 1601, after the year 30828 the largest time.
  static FileTime from_timespec(const timespec& time);
  timespec to_timespec() const;
  /// The clock now.
  static FileTime now();
  friend constexpr auto operator<=>(FileTime, FileTime) = default;

 private:
  uint64_t value_ = 0;
};

/// FILE_ATTRIBUTE_* bits.
struct FileAttributes {
  static constexpr uint32_t ReadOnly = 0x00000001;
  static constexpr uint32_t Hidden = 0x00000002;
  static constexpr uint32_t System = 0x00000004;
  static constexpr uint32_t Directory = 0x00000010;
  static constexpr uint32_t Archive = 0x00000020;
  static constexpr uint32_t Normal = 0x00000080;
  static constexpr uint32_t Temporary = 0x00000100;
  static constexpr uint32_t SparseFile = 0x00000200;
  static constexpr uint32_t ReparsePoint = 0x00000400;
  static constexpr uint32_t Compressed = 0x00000800;
  static constexpr uint32_t Offline = 0x00001000;
  static constexpr uint32_t NotContentIndexed = 0x00002000;
  static constexpr uint32_t Encrypted = 0x00004000;
  static constexpr uint32_t IntegrityStream = 0x00008000;
  static constexpr uint32_t NoScrubData = 0x00020000;
  static constexpr uint32_t RecallOnOpen = 0x00040000;
  static constexpr uint32_t RecallOnDataAccess = 0x00400000;
  // Only in $FILE_NAME and $STANDARD_INFORMATION: copies of the file record's flags.
  static constexpr uint32_t FileNameIndexPresent = 0x10000000;  // a directory
  static constexpr uint32_t ViewIndexPresent = 0x20000000;
};

struct StandardInformation {
  le64 creation_time;
  le64 last_write_time;   // of the data
  le64 change_time;       // of the file record
  le64 last_access_time;  // may be old
  le32 file_attributes;   // FileAttributes
  le32 maximum_versions;
  le32 version;
  le32 class_id;
  // From here on NTFS 3.0 and later only.
  le32 owner_id;       // key of the quota index; 0 none
  le32 security_id;    // key into $Secure; 0 none
  le64 quota_charged;  // bytes
  le64 usn;            // of the last change journal record of this file; 0 none
};
static_assert(sizeof(StandardInformation) == 0x48 && alignof(StandardInformation) == 1);
static_assert(offsetof(StandardInformation, owner_id) == 0x30);
static_assert(offsetof(StandardInformation, usn) == 0x40);
constexpr size_t kStandardInformationV1Bytes = 0x30;

/// A copy of the value. The old form of 0x30 bytes comes back with zeros behind them.
Result<StandardInformation> parse_standard_information(ByteView value, const Origin& origin);

/// What each $FILE_NAME repeats of the file: index entries show it without a look at the file.
struct DuplicatedInformation {
  le64 creation_time;
  le64 last_write_time;
  le64 change_time;
  le64 last_access_time;
  le64 allocated_size;
  le64 file_size;
  le32 file_attributes;           // FileAttributes
  le32 ea_length_or_reparse_tag;  // $EA_INFORMATION's packed length, or the reparse tag
  friend bool operator==(const DuplicatedInformation&, const DuplicatedInformation&) = default;
};
static_assert(sizeof(DuplicatedInformation) == 0x38 && alignof(DuplicatedInformation) == 1);
static_assert(offsetof(DuplicatedInformation, ea_length_or_reparse_tag) == 0x34);

/// The namespace of a name.
enum class NameType : uint8_t { Posix = 0, Win32 = 1, Dos = 2, Win32AndDos = 3 };

/// $FILE_NAME; also the key of a file name index. The name follows, UTF-16LE.
struct FileNameHeader {
  le64 parent_reference;
  DuplicatedInformation duplicated;
  std::byte name_length;  // UTF-16 code units, 1..255
  std::byte name_type;    // NameType
};
static_assert(sizeof(FileNameHeader) == 0x42 && alignof(FileNameHeader) == 1);
static_assert(offsetof(FileNameHeader, name_length) == 0x40);
constexpr size_t kDuplicatedInformationOffset = offsetof(FileNameHeader, duplicated);
constexpr size_t kMaxNameUnits = 255;

class FileNameView {
 public:
  /// FileCorruptError (reported): too short for its name, empty name, unknown name type.
  static Result<FileNameView> parse(ByteView value, const Origin& origin);
  static FileNameView of_valid(ByteView value);

  FileReference parent() const { return FileReference::from_raw(header().parent_reference.get()); }
  const DuplicatedInformation& duplicated() const { return header().duplicated; }
  NameType name_type() const { return static_cast<NameType>(header().name_type); }
  ByteView name_bytes() const;  ///< UTF-16LE
  std::u16string name() const;
  bool name_equals(std::u16string_view name) const;
  /// The value without what may stand behind the name.
  ByteView bytes() const { return value_; }

 private:
  explicit FileNameView(ByteView value) : value_(value) {}
  const FileNameHeader& header() const { return struct_at<FileNameHeader>(value_); }
  ByteView value_;
};

/// `name` has 1..255 code units.
ByteVector build_file_name(FileReference parent, const DuplicatedInformation& duplicated,
                           NameType type, std::u16string_view name);

/// Bits of VolumeInformation::flags.
struct VolumeFlags {
  static constexpr uint16_t Dirty = 0x0001;
  static constexpr uint16_t ResizeLogFile = 0x0002;
  static constexpr uint16_t UpgradeOnMount = 0x0004;
  static constexpr uint16_t MountedOnNt4 = 0x0008;
  static constexpr uint16_t DeleteUsnUnderway = 0x0010;
  static constexpr uint16_t RepairObjectIds = 0x0020;
  static constexpr uint16_t ChkdskUnderway = 0x4000;
  static constexpr uint16_t ModifiedByChkdsk = 0x8000;
};

struct VolumeInformation {
  le64 reserved;
  std::byte major_version;  // 3
  std::byte minor_version;  // 1
  le16 flags;               // VolumeFlags
};
static_assert(sizeof(VolumeInformation) == 0x0C && alignof(VolumeInformation) == 1);

Result<VolumeInformation> parse_volume_information(ByteView value, const Origin& origin);

/// Head of an entry of $ATTRIBUTE_LIST; the name follows, then zeros up to a multiple of 8.
struct AttributeListEntryHeader {
  le32 type_code;
  le16 entry_length;  // bytes, multiple of 8
  std::byte name_length;
  std::byte name_offset;  // 0x1A
  le64 lowest_vcn;
  le64 file_reference;  // of the record that holds the attribute
  le16 instance;
};
static_assert(sizeof(AttributeListEntryHeader) == 0x1A && alignof(AttributeListEntryHeader) == 1);
static_assert(offsetof(AttributeListEntryHeader, instance) == 0x18);

struct AttributeListEntry {
  AttributeType type = AttributeType::Data;
  std::u16string name;
  Vcn lowest_vcn;
  FileReference reference;
  uint16_t instance = 0;
  friend bool operator==(const AttributeListEntry&, const AttributeListEntry&) = default;
};

/// All entries in their order. FileCorruptError (reported): an entry that is not whole, of a type
/// that cannot be, or with a vcn that cannot be.
Result<std::vector<AttributeListEntry>> parse_attribute_list(ByteView value, const Origin& origin);
/// Bytes of one entry with a name of `name_units`.
size_t attribute_list_entry_length(size_t name_units);
/// Appends one entry to `list`.
void append_attribute_list_entry(ByteVector& list, const AttributeListEntry& entry);
ByteVector build_attribute_list(const std::vector<AttributeListEntry>& entries);

struct EaInformation {
  le16 packed_length;    // bytes: 5 + name + value of each entry
  le16 need_ea_count;    // entries with the NEED_EA flag
  le32 unpacked_length;  // bytes of $EA
};
static_assert(sizeof(EaInformation) == 8 && alignof(EaInformation) == 1);

/// Head of an entry of $EA; the name with a NUL and the value follow, then zeros to a multiple
/// of 4.
struct EaEntryHeader {
  le32 entry_length;      // to the next entry; 0 also means "the last"
  std::byte flags;        // 0x80 NEED_EA
  std::byte name_length;  // bytes, without the NUL
  le16 value_length;      // bytes
};
static_assert(sizeof(EaEntryHeader) == 8 && alignof(EaEntryHeader) == 1);
constexpr uint8_t kNeedEa = 0x80;

struct Ea {
  uint8_t flags = 0;  ///< kNeedEa or 0
  std::string name;   ///< 1..254 bytes, e.g. "$LXMOD"
  ByteVector value;   ///< up to 65535 bytes
  friend bool operator==(const Ea&, const Ea&) = default;
};

/// An entry where it stands.
struct EaView {
  /// The entry at `position` in `eas`, a value of $EA; before its end. EaCorruptError (reported).
  static Result<EaView> parse(ByteView eas, size_t position, const Origin& origin);

  uint8_t flags = 0;
  std::string_view name;
  ByteView value;
  size_t length = 0;  ///< bytes to the next entry
};

Result<EaInformation> parse_ea_information(ByteView value, const Origin& origin);
/// All entries of $EA in their order. EaCorruptError (reported): an entry that is not whole.
Result<std::vector<Ea>> parse_eas(ByteView value, const Origin& origin);
ByteVector build_eas(const std::vector<Ea>& eas);
/// $EA_INFORMATION for these entries. EaTooLarge: the packed length does not fit its field.
Result<EaInformation> ea_information_of(const std::vector<Ea>& eas);

std::string describe(const FileNameView& name);
std::string describe(const StandardInformation& information);
std::string describe(const AttributeListEntry& entry);

}  // namespace ntfs::ondisk
