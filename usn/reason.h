#pragma once

// Why a record of the change journal was written, and on whose behalf.
// Source: Win32 "USN_RECORD_V2"; labels as fsutil prints them.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ntfs::usn {

/// USN_REASON_*: bits of Record::reason.
struct Reason {
  static constexpr uint32_t DataOverwrite = 0x00000001;
  static constexpr uint32_t DataExtend = 0x00000002;
  static constexpr uint32_t DataTruncation = 0x00000004;
  static constexpr uint32_t NamedDataOverwrite = 0x00000010;
  static constexpr uint32_t NamedDataExtend = 0x00000020;
  static constexpr uint32_t NamedDataTruncation = 0x00000040;
  static constexpr uint32_t FileCreate = 0x00000100;
  static constexpr uint32_t FileDelete = 0x00000200;
  static constexpr uint32_t EaChange = 0x00000400;
  static constexpr uint32_t SecurityChange = 0x00000800;
  static constexpr uint32_t RenameOldName = 0x00001000;
  static constexpr uint32_t RenameNewName = 0x00002000;
  static constexpr uint32_t IndexableChange = 0x00004000;
  static constexpr uint32_t BasicInfoChange = 0x00008000;
  static constexpr uint32_t HardLinkChange = 0x00010000;
  static constexpr uint32_t CompressionChange = 0x00020000;
  static constexpr uint32_t EncryptionChange = 0x00040000;
  static constexpr uint32_t ObjectIdChange = 0x00080000;
  static constexpr uint32_t ReparsePointChange = 0x00100000;
  static constexpr uint32_t StreamChange = 0x00200000;
  static constexpr uint32_t TransactedChange = 0x00400000;
  static constexpr uint32_t IntegrityChange = 0x00800000;
  static constexpr uint32_t DesiredStorageClassChange = 0x01000000;
  static constexpr uint32_t Close = 0x80000000;
};

/// USN_SOURCE_*: bits of Record::source_info.
struct Source {
  static constexpr uint32_t DataManagement = 1;
  static constexpr uint32_t AuxiliaryData = 2;
  static constexpr uint32_t ReplicationManagement = 4;
  static constexpr uint32_t ClientReplicationManagement = 8;
};

struct BitName {
  uint32_t bit;
  std::string_view keyword;  ///< the constant without its prefix, lower case: "data_extend"
  std::string_view label;    ///< as fsutil prints it: "Data extend"
};

/// All documented bits, lowest first.
std::span<const BitName> reason_names();
std::span<const BitName> source_names();

/// Labels joined by " | ", as fsutil has it; bits without a name follow as hexadecimal.
std::string reason_labels(uint32_t reason);

/// The bits that `text` names: a keyword, the constant ("USN_REASON_DATA_EXTEND"), a label or a
/// number; upper and lower case, "-", "_" and " " are the same. Nothing for anything else.
std::optional<uint32_t> parse_reason(std::string_view text);

}  // namespace ntfs::usn
