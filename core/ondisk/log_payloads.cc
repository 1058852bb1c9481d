// What the payloads of log records say, in words: describe_payload() of log_operations.h. A payload
// is often a piece of a structure; what cannot be told is shown as bytes.

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/log_operations.h"
#include "core/ondisk/utf16.h"

namespace ntfs::ondisk {

namespace {

constexpr Origin kOrigin{};  // what cannot be parsed is shown as bytes, not told
constexpr uint32_t kEndOfAttributes = 0xFFFFFFFF;
constexpr size_t kFileNameHead = 0x42;      // up to the name
constexpr size_t kFileNameLengthAt = 0x40;  // in UTF-16 code units
constexpr size_t kTransactionEntry = 0x28;
constexpr size_t kLargestFileRecord = 4096;

std::string hex(ByteView bytes) {
  constexpr size_t kShown = 32;
  std::string text;
  for (const std::byte b : bytes.first(std::min(bytes.size(), kShown))) {
    text += fmt::format("{:02x}", static_cast<unsigned>(b));
  }
  if (bytes.size() > kShown) text += fmt::format("... ({} bytes)", bytes.size());
  return text;
}

void join(std::string& text, const std::string& part) {
  if (!text.empty()) text += "; ";
  text += part;
}

std::string describe_sizes(ByteView payload) {
  std::string text =
      fmt::format("allocated {} valid {} data {}", struct_at<le64>(payload, 0).get(),
                  struct_at<le64>(payload, 8).get(), struct_at<le64>(payload, 16).get());
  if (payload.size() >= 32) {
    text += fmt::format(" total allocated {}", struct_at<le64>(payload, 24).get());
  }
  return text;
}

// ---- Attributes and file records ----------------------------------------------------------------

/// Windows logs nonresident attributes without their mapping pairs, too: for a new, empty one.
bool lacks_mapping_pairs(ByteView bytes) {
  if (bytes.size() < sizeof(NonresidentForm)) return false;
  const auto& form = struct_at<NonresidentForm>(bytes);
  const bool is_nonresident = form.header.form_code == std::byte{1};
  return is_nonresident && form.mapping_pairs_offset.get() >= form.header.record_length.get();
}

/// One attribute record at `offset`, with its value where the form is known. Nothing if it is none.
std::optional<std::string> describe_attribute(ByteView bytes, size_t offset, uint32_t& length) {
  if (lacks_mapping_pairs(bytes.subspan(offset))) return std::nullopt;
  const auto attribute = AttributeView::parse(bytes, offset, kOrigin);
  if (!attribute) return std::nullopt;
  length = attribute->length();
  std::string text = describe(*attribute);
  if (!attribute->is_resident()) return text;
  if (attribute->type() == AttributeType::FileName) {
    const auto name = FileNameView::parse(attribute->value(), kOrigin);
    if (name) text += " " + describe(*name);
  } else if (attribute->type() == AttributeType::StandardInformation) {
    const auto information = parse_standard_information(attribute->value(), kOrigin);
    if (information) text += " " + describe(*information);
  }
  return text;
}

/// Attribute records up to the END marker.
std::string describe_attributes(ByteView payload) {
  std::string text;
  size_t at = 0;
  while (at + sizeof(AttributeHeader) <= payload.size() &&
         struct_at<le32>(payload, at).get() != kEndOfAttributes) {
    uint32_t length = 0;
    const auto attribute = describe_attribute(payload, at, length);
    if (!attribute) break;
    join(text, *attribute);
    at += length;
  }
  const bool ends =
      at + 4 <= payload.size() && struct_at<le32>(payload, at).get() == kEndOfAttributes;
  join(text, ends ? "END" : hex(payload.subspan(std::min(at, payload.size()))));
  return text;
}

/// A file record without its unused end.
std::string describe_file_record(ByteView payload) {
  if (payload.size() < sizeof(FileRecordHeader) || payload.size() > kLargestFileRecord) {
    return hex(payload);
  }
  const auto& header = struct_at<FileRecordHeader>(payload);
  const uint32_t total = header.total_bytes.get();
  const bool fits = total >= payload.size() && total <= kLargestFileRecord && total % 512 == 0;
  const auto& signature = header.multi_sector.signature;
  if (!fits || std::string_view(signature.data(), signature.size()) != "FILE") return hex(payload);
  ByteVector whole(payload.begin(), payload.end());
  whole.resize(total);
  const auto record = FileRecordView::parse(whole, kOrigin);
  if (!record) return hex(payload);
  std::string text = describe(*record);
  std::string line;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const size_t begin = std::min(text.find_first_not_of(' ', at), end);
    join(line, text.substr(begin, end - begin));
    at = end + 1;
  }
  return line;
}

/// Mapping pairs, perhaps only the first of them: lengths, and how far each run lies from the one
/// before.
std::string describe_pairs(ByteView payload) {
  std::string text;
  size_t at = 0;
  while (at < payload.size() && payload[at] != std::byte{0}) {
    const auto head = std::to_integer<unsigned>(payload[at]);
    const size_t length_bytes = head & 15;
    const size_t lcn_bytes = head >> 4;
    if (length_bytes == 0 || length_bytes > 8 || lcn_bytes > 8) return hex(payload);
    if (at + 1 + length_bytes + lcn_bytes > payload.size()) break;
    const auto number = [&](size_t from, size_t count) {
      uint64_t value = 0;
      for (size_t i = 0; i < count; ++i) {
        value |= std::to_integer<uint64_t>(payload[from + i]) << (8 * i);
      }
      const uint64_t sign = count == 0 || count == 8 ? 0 : uint64_t{1} << (8 * count - 1);
      return static_cast<int64_t>((value ^ sign) - sign);
    };
    const int64_t clusters = number(at + 1, length_bytes);
    const int64_t step = number(at + 1 + length_bytes, lcn_bytes);
    join(text, lcn_bytes == 0 ? fmt::format("hole of {}", clusters)
                              : fmt::format("{} clusters at {:+}", clusters, step));
    at += 1 + length_bytes + lcn_bytes;
  }
  join(text, at < payload.size() && payload[at] == std::byte{0} ? "END" : "...");
  return "mapping pairs: " + text;
}

// ---- Index entries ------------------------------------------------------------------------------

/// Whether the key of an entry can be a $FILE_NAME: its length says the same as the name's.
bool has_file_name(ByteView entry) {
  const size_t key = struct_at<IndexEntryHeader>(entry).key_length.get();
  if (key < kFileNameHead || sizeof(IndexEntryHeader) + key > entry.size()) return false;
  const auto units = std::to_integer<size_t>(entry[sizeof(IndexEntryHeader) + kFileNameLengthAt]);
  return units != 0 && key == kFileNameHead + 2 * units;
}

/// Entries one behind the other, up to the END entry or the end of the payload.
std::string describe_entries(ByteView payload) {
  std::string text;
  while (payload.size() >= sizeof(IndexEntryHeader)) {
    const auto& header = struct_at<IndexEntryHeader>(payload);
    const size_t length = header.entry_length.get();
    if (length < sizeof(IndexEntryHeader) || length > payload.size()) break;
    const ByteView bytes = payload.first(length);
    const bool is_end = (header.flags.get() & IndexEntryFlags::End) != 0;
    const IndexKind kind = is_end                 ? IndexKind::Any
                           : has_file_name(bytes) ? IndexKind::FileNames
                                                  : IndexKind::View;
    const auto entry = IndexEntryView::parse(bytes, kind, kOrigin);
    if (!entry) break;
    join(text, describe(*entry, kind));
    payload = payload.subspan(length);
    if (is_end) break;
  }
  if (!payload.empty()) join(text, hex(payload));
  return text;
}

std::string describe_time(const le64& time) {
  const timespec when = FileTime::from_raw(time.get()).to_timespec();
  tm parts{};
  if (gmtime_r(&when.tv_sec, &parts) == nullptr) return "?";
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:07}Z", parts, when.tv_nsec / 100);
}

std::string describe_duplicated(ByteView payload) {
  const auto& information = struct_at<DuplicatedInformation>(payload);
  return fmt::format(
      "created {} written {} changed {} accessed {} size {} of {} attributes {:#x} tag {:#x}",
      describe_time(information.creation_time), describe_time(information.last_write_time),
      describe_time(information.change_time), describe_time(information.last_access_time),
      information.file_size.get(), information.allocated_size.get(),
      information.file_attributes.get(), information.ea_length_or_reparse_tag.get());
}

// ---- Dumps of a checkpoint ----------------------------------------------------------------------

std::string describe_open(ByteView payload) {
  if (payload.size() != sizeof(OpenAttributeEntry) &&
      payload.size() != sizeof(OpenAttributeEntry0)) {
    return hex(payload);
  }
  const auto open = OpenAttribute::parse(payload, kOrigin);
  if (!open) return hex(payload);
  return fmt::format("file {}-{} {} index block {}", open->file.record(), open->file.sequence(),
                     name_of(static_cast<AttributeType>(open->type_code)), open->bytes_per_index);
}

std::string describe_dirty_page(ByteView entry) {
  // Version 0 has a word more before the vcn.
  const uint32_t version = entry.size() % 8 == 0 ? 1 : 0;
  const auto page = DirtyPage::parse(entry, version, kOrigin);
  if (!page) return hex(entry);
  std::string text =
      fmt::format("slot {:#x} vcn {} bytes {} oldest {:#x} lcns", page->target_attribute,
                  page->vcn.raw(), page->transfer_bytes, page->oldest_lsn.raw());
  for (const Lcn lcn : page->lcns) text += fmt::format(" {}", lcn.raw());
  return text;
}

std::string describe_transaction(ByteView entry) {
  if (entry.size() != kTransactionEntry) return hex(entry);
  return fmt::format("state {} first {:#x} previous {:#x} undo next {:#x} undo records {} bytes {}",
                     std::to_integer<unsigned>(entry[4]), struct_at<le64>(entry, 0x08).get(),
                     struct_at<le64>(entry, 0x10).get(), struct_at<le64>(entry, 0x18).get(),
                     struct_at<le32>(entry, 0x20).get(), struct_at<le32>(entry, 0x24).get());
}

std::string describe_table(ByteView payload, std::string (*describe_entry)(ByteView)) {
  if (payload.empty()) return "";
  const auto table = RestartTable::parse(payload, kOrigin);
  if (!table) return hex(payload);
  std::string text = fmt::format("{} slots", table->entry_count());
  for (size_t i = 0; i < table->entry_count(); ++i) {
    const auto entry = table->entry(i);
    if (entry) join(text, fmt::format("{:#x}: {}", table->offset_of(i), describe_entry(*entry)));
  }
  return text;
}

std::string describe_names(ByteView payload) {
  if (payload.empty()) return "";
  const auto names = parse_names(payload, kOrigin);
  if (!names) return hex(payload);
  std::string text;
  for (const OpenAttributeName& name : *names) {
    join(text, fmt::format("{:#x}: \"{}\"", name.slot, to_display(name.name)));
  }
  return text;
}

}  // namespace

std::string describe_payload(LogOp op, ByteView payload) {
  uint32_t length = 0;
  switch (op) {
    case LogOp::SetBitsInNonresidentBitMap:
    case LogOp::ClearBitsInNonresidentBitMap:
      if (payload.size() < 8) break;
      return fmt::format("bits {} count {}", struct_at<le32>(payload, 0).get(),
                         struct_at<le32>(payload, 4).get());
    case LogOp::SetNewAttributeSizes:
      if (payload.size() < 24) break;
      return describe_sizes(payload);
    case LogOp::SetIndexEntryVcnRoot:
    case LogOp::SetIndexEntryVcnAllocation:
      if (payload.size() < 8) break;
      return fmt::format("vcn {}", struct_at<le64>(payload, 0).get());
    case LogOp::InitializeFileRecordSegment:
      return describe_file_record(payload);
    case LogOp::CreateAttribute:
    case LogOp::DeleteAttribute:
      if (payload.size() < sizeof(AttributeHeader)) break;
      return describe_attribute(payload, 0, length).value_or(hex(payload));
    case LogOp::WriteEndOfFileRecordSegment:
      if (payload.empty()) break;
      return describe_attributes(payload);
    case LogOp::UpdateMappingPairs:
      if (payload.empty()) break;
      return describe_pairs(payload);
    case LogOp::AddIndexEntryRoot:
    case LogOp::AddIndexEntryAllocation:
    case LogOp::DeleteIndexEntryRoot:
    case LogOp::DeleteIndexEntryAllocation:
    case LogOp::WriteEndOfIndexBuffer:
      return describe_entries(payload);
    case LogOp::UpdateFileNameRoot:
    case LogOp::UpdateFileNameAllocation:
      if (payload.size() < sizeof(DuplicatedInformation)) break;
      return describe_duplicated(payload);
    case LogOp::OpenNonresidentAttribute:
      return describe_open(payload);
    case LogOp::OpenAttributeTableDump:
      return describe_table(payload, describe_open);
    case LogOp::AttributeNamesDump:
      return describe_names(payload);
    case LogOp::DirtyPageTableDump:
      return describe_table(payload, describe_dirty_page);
    case LogOp::TransactionTableDump:
      return describe_table(payload, describe_transaction);
    default:
      break;
  }
  return hex(payload);
}

}  // namespace ntfs::ondisk
