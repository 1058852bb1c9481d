#include "usn/reason.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace ntfs::usn {

namespace {

constexpr std::array kReasons = {
    BitName{Reason::DataOverwrite, "data_overwrite", "Data overwrite"},
    BitName{Reason::DataExtend, "data_extend", "Data extend"},
    BitName{Reason::DataTruncation, "data_truncation", "Data truncation"},
    BitName{Reason::NamedDataOverwrite, "named_data_overwrite", "Named data overwrite"},
    BitName{Reason::NamedDataExtend, "named_data_extend", "Named data extend"},
    BitName{Reason::NamedDataTruncation, "named_data_truncation", "Named data truncation"},
    BitName{Reason::FileCreate, "file_create", "File create"},
    BitName{Reason::FileDelete, "file_delete", "File delete"},
    BitName{Reason::EaChange, "ea_change", "EA change"},
    BitName{Reason::SecurityChange, "security_change", "Security change"},
    BitName{Reason::RenameOldName, "rename_old_name", "Rename: old name"},
    BitName{Reason::RenameNewName, "rename_new_name", "Rename: new name"},
    BitName{Reason::IndexableChange, "indexable_change", "Indexable change"},
    BitName{Reason::BasicInfoChange, "basic_info_change", "Basic info change"},
    BitName{Reason::HardLinkChange, "hard_link_change", "Hard link change"},
    BitName{Reason::CompressionChange, "compression_change", "Compression change"},
    BitName{Reason::EncryptionChange, "encryption_change", "Encryption change"},
    BitName{Reason::ObjectIdChange, "object_id_change", "Object ID change"},
    BitName{Reason::ReparsePointChange, "reparse_point_change", "Reparse point change"},
    BitName{Reason::StreamChange, "stream_change", "Stream change"},
    BitName{Reason::TransactedChange, "transacted_change", "Transacted change"},
    BitName{Reason::IntegrityChange, "integrity_change", "Integrity change"},
    BitName{Reason::DesiredStorageClassChange, "desired_storage_class_change",
            "Desired storage class change"},
    BitName{Reason::Close, "close", "Close"},
};

constexpr std::array kSources = {
    BitName{Source::DataManagement, "data_management", "Data management"},
    BitName{Source::AuxiliaryData, "auxiliary_data", "Auxiliary data"},
    BitName{Source::ReplicationManagement, "replication_management", "Replication management"},
    BitName{Source::ClientReplicationManagement, "client_replication_management",
            "Client replication management"},
};

/// Lower case, words joined by one "_": what all spellings of a name have in common.
std::string folded(std::string_view text) {
  std::string result;
  for (const char unit : text) {
    if (unit == '-' || unit == '_' || unit == ' ' || unit == ':') {
      if (!result.empty() && result.back() != '_') result.push_back('_');
    } else {
      result.push_back(unit >= 'A' && unit <= 'Z' ? static_cast<char>(unit - 'A' + 'a') : unit);
    }
  }
  return result;
}

std::optional<uint32_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x")) {
    text.remove_prefix(2);
    base = 16;
  }
  uint32_t value = 0;
  const auto end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

}  // namespace

std::span<const BitName> reason_names() { return kReasons; }
std::span<const BitName> source_names() { return kSources; }

std::string reason_labels(uint32_t reason) {
  std::string text;
  uint32_t nameless = reason;
  for (const BitName& name : kReasons) {
    if ((reason & name.bit) == 0) continue;
    if (!text.empty()) text += " | ";
    text += name.label;
    nameless &= ~name.bit;
  }
  if (nameless == 0) return text;
  return fmt::format("{}{}{:#x}", text, text.empty() ? "" : " | ", nameless);
}

std::optional<uint32_t> parse_reason(std::string_view text) {
  constexpr std::string_view kPrefix = "usn_reason_";
  const std::string whole = folded(text);
  std::string_view word = whole;
  if (word.starts_with(kPrefix)) word.remove_prefix(kPrefix.size());
  for (const BitName& name : kReasons) {
    if (word == name.keyword) return name.bit;
  }
  return parse_number(word);
}

}  // namespace ntfs::usn
