#include "core/ondisk/file_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/index_block.h"

namespace ntfs::ondisk {

namespace {

constexpr std::array<char, 4> kSignature = {'F', 'I', 'L', 'E'};
constexpr uint32_t kEndCode = static_cast<uint32_t>(AttributeType::End);
constexpr size_t kOldHeaderBytes = 0x2A;  // before NTFS 3.1: no record number

bool is_possible_record_size(size_t size) { return size == 1024 || size == 4096; }

uint32_t type_code_at(ByteView record, size_t offset) {
  return struct_at<le32>(record, offset).get();
}

Result<> check_header(ByteView record, const Origin& origin) {
  if (!is_possible_record_size(record.size())) {
    return corrupt(origin, "file record size", record.size(), "1 or 4 KiB");
  }
  const auto& header = struct_at<FileRecordHeader>(record);
  if (header.multi_sector.signature != kSignature) {
    return corrupt(origin, "signature", type_code_at(record, 0), "\"FILE\"");
  }
  const size_t array = header.multi_sector.update_sequence_array_offset.get();
  const size_t count = header.multi_sector.update_sequence_array_count.get();
  if (count != record.size() / kSequenceStride + 1) {
    return corrupt(origin, "update sequence array count", count);
  }
  const size_t array_end = array + 2 * count;
  if (array % 2 != 0 || array < kOldHeaderBytes || array_end > kSequenceStride - 2) {
    return corrupt(origin, "update sequence array offset", array);
  }
  const uint32_t total = header.total_bytes.get();
  if (total != record.size()) return corrupt(origin, "total bytes", total, "the record size");
  const size_t first = header.first_attribute_offset.get();
  if (first % 8 != 0 || first < array_end || first > total - kEndMarkerBytes) {
    return corrupt(origin, "first attribute offset", first);
  }
  const uint32_t used = header.used_bytes.get();
  if (used % 8 != 0 || used > total || used < first + kEndMarkerBytes) {
    return corrupt(origin, "used bytes", used);
  }
  return {};
}

/// What a type demands of its value, where no reader checks it again.
Result<> check_value(const AttributeView& attribute, const Origin& origin) {
  switch (attribute.type()) {
    case AttributeType::StandardInformation:
    case AttributeType::FileName:
    case AttributeType::IndexRoot:
      break;
    default:
      return {};
  }
  if (!attribute.is_resident()) {
    return corrupt(origin, "attribute that must be resident, type",
                   static_cast<uint64_t>(attribute.type()));
  }
  if (attribute.type() == AttributeType::StandardInformation) {
    TRY(parse_standard_information(attribute.value(), origin));
  } else if (attribute.type() == AttributeType::FileName) {
    TRY(FileNameView::parse(attribute.value(), origin));
  } else {
    TRY(IndexRootView::parse(attribute.value(), origin));
  }
  return {};
}

Result<> check_attributes(ByteView record, const Origin& origin) {
  const auto& header = struct_at<FileRecordHeader>(record);
  const ByteView used = record.first(header.used_bytes.get());
  size_t offset = header.first_attribute_offset.get();
  uint32_t previous_type = 0;
  for (;;) {
    if (offset + kEndMarkerBytes > used.size()) {
      return corrupt(origin, "end of the attributes", offset, "an END marker in the used bytes");
    }
    const uint32_t type = type_code_at(used, offset);
    if (type == kEndCode) return {};
    if (type < previous_type) return corrupt(origin, "attribute type", type, "ascending types");
    const auto attribute = TRY(AttributeView::parse(used, offset, origin));
    TRY(check_value(attribute, origin));
    previous_type = type;
    offset += attribute.length();
  }
}

}  // namespace

AttributeIterator& AttributeIterator::operator++() {
  offset_ += AttributeView::of_valid(record_, offset_).length();
  return *this;
}

bool AttributeIterator::at_end() const { return type_code_at(record_, offset_) == kEndCode; }

Result<FileRecordView> FileRecordView::parse(ByteView record, const Origin& origin) {
  TRY(check_header(record, origin));
  TRY(check_attributes(record, origin));
  return FileRecordView(record);
}

FileRecordView FileRecordView::of_valid(ByteView record) {
  ASSERT(record.size() >= sizeof(FileRecordHeader));
  return FileRecordView(record);
}

bool FileRecordView::has_record_number() const {
  return header().multi_sector.update_sequence_array_offset.get() >= sizeof(FileRecordHeader);
}

uint64_t FileRecordView::record_number() const {
  return static_cast<uint64_t>(header().record_number_high.get()) << 32 |
         header().record_number_low.get();
}

std::optional<AttributeView> FileRecordView::find(AttributeType type,
                                                  std::u16string_view name) const {
  for (const AttributeView attribute : *this) {
    if (attribute.type() > type) break;
    if (attribute.type() == type && attribute.name_equals(name)) return attribute;
  }
  return std::nullopt;
}

std::optional<AttributeView> FileRecordView::find(AttributeType type, std::u16string_view name,
                                                  Vcn lowest) const {
  for (const AttributeView attribute : *this) {
    if (attribute.type() > type) break;
    if (attribute.type() != type || !attribute.name_equals(name)) continue;
    const Vcn from = attribute.is_resident() ? Vcn(0) : attribute.lowest_vcn();
    if (from == lowest) return attribute;
  }
  return std::nullopt;
}

std::optional<AttributeView> FileRecordView::find_instance(AttributeType type,
                                                           uint16_t instance) const {
  for (const AttributeView attribute : *this) {
    if (attribute.type() == type && attribute.instance() == instance) return attribute;
  }
  return std::nullopt;
}

std::optional<AttributeView> FileRecordView::attribute_at(size_t offset) const {
  for (const AttributeView attribute : *this) {
    if (attribute.offset() == offset) return attribute;
  }
  return std::nullopt;
}

uint32_t FileRecordView::end_marker_offset() const {
  uint32_t offset = first_attribute_offset();
  for (const AttributeView attribute : *this) offset = attribute.end_offset();
  return offset;
}

bool FileRecordView::is_attribute_boundary(size_t offset) const {
  return attribute_at(offset).has_value() || end_marker_offset() == offset;
}

void format_file_record(MutableBytes record, const FileRecordInit& init) {
  ASSERT(is_possible_record_size(record.size()));
  std::fill(record.begin(), record.end(), std::byte{0});
  auto& header = struct_at<FileRecordHeader>(record);
  header.multi_sector.signature = kSignature;
  header.multi_sector.update_sequence_array_offset.set(sizeof(FileRecordHeader));
  const size_t count = 1 + record.size() / kSequenceStride;
  header.multi_sector.update_sequence_array_count.set(static_cast<uint16_t>(count));
  struct_at<le16>(record, sizeof(FileRecordHeader)).set(1);
  header.sequence.set(init.sequence);
  header.link_count.set(init.link_count);
  const size_t first = first_attribute_offset_of(record.size());
  header.first_attribute_offset.set(static_cast<uint16_t>(first));
  header.flags.set(init.flags);
  header.used_bytes.set(static_cast<uint32_t>(first + kEndMarkerBytes));
  header.total_bytes.set(static_cast<uint32_t>(record.size()));
  header.base_reference.set(init.base_reference.raw());
  header.record_number_low.set(static_cast<uint32_t>(init.record_number));
  header.record_number_high.set(static_cast<uint16_t>(init.record_number >> 32));
  struct_at<le32>(record, first).set(kEndCode);
}

std::string describe(const FileRecordView& record) {
  std::string text = fmt::format(
      "file record {}-{} lsn {:#x} links {} flags {:#06x}{}{} used {:#x} of {:#x} next instance {}",
      record.record_number(), record.sequence(), record.lsn().raw(), record.link_count(),
      record.flags(), record.in_use() ? " in use" : " free",
      record.is_directory() ? " directory" : "", record.used_bytes(), record.total_bytes(),
      record.next_attribute_instance());
  if (!record.is_base()) {
    const FileReference base = record.base_reference();
    text += fmt::format(" extension of {}-{}", base.record(), base.sequence());
  }
  text += '\n';
  for (const AttributeView attribute : record) {
    text += "  " + describe(attribute);
    if (attribute.type() == AttributeType::FileName) {
      text += " " + describe(FileNameView::of_valid(attribute.value()));
    }
    text += '\n';
  }
  return text;
}

}  // namespace ntfs::ondisk
