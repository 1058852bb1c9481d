#include "core/check/record.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/ondisk/utf16.h"

namespace ntfs::check {

using ondisk::AttributeHeader;
using ondisk::AttributeType;
using ondisk::FileRecordHeader;
using ondisk::NonresidentForm;
using ondisk::NonresidentSparseForm;
using ondisk::ResidentForm;

namespace {

constexpr std::string_view kStructure = "file record";
constexpr uint64_t kMaxVcn = uint64_t{1} << 62;

bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

/// The file record under examination: where its findings go.
class RecordReader {
 public:
  RecordReader(ByteView bytes, Record& record, Findings& findings)
      : bytes_(bytes), record_(record), findings_(findings) {}

  bool read_header(uint64_t record_number);
  void read_attributes();

 private:
  const FileRecordHeader& header() const { return struct_at<FileRecordHeader>(bytes_); }
  Place place(std::string where) const { return {kStructure, record_.reference, where}; }
  Place attribute_place(size_t offset, const char* field) const {
    return place(fmt::format("attribute at {:#x}, {}", offset, field));
  }
  bool read_attribute(size_t offset, size_t length);
  bool read_resident(ByteView bytes, Attribute& attribute);
  bool read_nonresident(ByteView bytes, Attribute& attribute);
  bool check_vcns(const Attribute& attribute);
  void check_end(size_t offset);
  void check_order(const Attribute& before, const Attribute& attribute);
  void check_instances();

  ByteView bytes_;
  Record& record_;
  Findings& findings_;
};

bool RecordReader::read_header(uint64_t record_number) {
  const FileRecordHeader& head = header();
  record_.reference = FileReference(record_number, head.sequence.get());
  record_.base = FileReference::from_raw(head.base_reference.get());
  record_.flags = head.flags.get();
  record_.link_count = head.link_count.get();
  record_.attributes.clear();
  const size_t array_end = head.multi_sector.update_sequence_array_offset.get() +
                           2u * head.multi_sector.update_sequence_array_count.get();
  const uint64_t said =
      (uint64_t{head.record_number_high.get()} << 32) | head.record_number_low.get();
  const bool in_use = (record_.flags & ondisk::FileRecordFlags::InUse) != 0;
  // Before NTFS 3.1 the array stood where the record number is now. Free records may say nothing.
  const bool has_number =
      head.multi_sector.update_sequence_array_offset.get() >= sizeof(FileRecordHeader);
  if (has_number && said != record_number && (in_use || said != 0)) {
    findings_.add(place("record number"), record_number, said,
                  "the record says another record number");
  }
  if (in_use && head.sequence.get() == 0) {
    findings_.add(place("sequence"), "not 0", "0", "a used record has a sequence number");
  }
  if (head.total_bytes.get() != bytes_.size()) {
    findings_.add(place("total size"), bytes_.size(), head.total_bytes.get(),
                  "the record says another size");
  }
  const size_t first = head.first_attribute_offset.get();
  const size_t used = head.used_bytes.get();
  if (first % 8 != 0 || first < array_end || first > bytes_.size() - 8) {
    findings_.add(place("first attribute offset"), "behind the update sequence array",
                  number(first), "attributes cannot begin there");
    return false;
  }
  if (used % 8 != 0 || used > bytes_.size() || used < first + ondisk::kEndMarkerBytes) {
    findings_.add(place("used size"), fmt::format("up to {}", bytes_.size()), number(used),
                  "the used size is impossible");
    return false;
  }
  return true;
}

void RecordReader::read_attributes() {
  const size_t used = header().used_bytes.get();
  size_t offset = header().first_attribute_offset.get();
  while (true) {
    if (used - offset < 4) {
      findings_.add(place("attributes"), "an END marker", "none", "the attributes do not end");
      return;
    }
    if (struct_at<le32>(bytes_, offset).get() == static_cast<uint32_t>(AttributeType::End)) break;
    if (used - offset < sizeof(ResidentForm)) {
      findings_.add(attribute_place(offset, "length"), "an END marker", "none",
                    "the attributes do not end");
      return;
    }
    const size_t length = struct_at<AttributeHeader>(bytes_, offset).record_length.get();
    if (length % 8 != 0 || length < sizeof(ResidentForm) || length > used - offset) {
      findings_.add(attribute_place(offset, "length"),
                    fmt::format("a multiple of 8 up to {}", used - offset), number(length),
                    "the length of an attribute is impossible");
      return;
    }
    const bool has_before = !record_.attributes.empty();
    if (read_attribute(offset, length) && has_before) {
      check_order(record_.attributes[record_.attributes.size() - 2], record_.attributes.back());
    }
    offset += length;
  }
  check_end(offset);
  check_instances();
}

void RecordReader::check_end(size_t offset) {
  const size_t used = header().used_bytes.get();
  if (used != offset + ondisk::kEndMarkerBytes) {
    findings_.add(place("used size"), offset + ondisk::kEndMarkerBytes, used,
                  "the used size does not end behind the END marker");
  }
}

bool RecordReader::read_attribute(size_t offset, size_t length) {
  const ByteView bytes = bytes_.subspan(offset, length);
  const auto& head = struct_at<AttributeHeader>(bytes);
  Attribute attribute;
  attribute.type = static_cast<AttributeType>(head.type_code.get());
  attribute.offset = static_cast<uint32_t>(offset);
  attribute.flags = head.flags.get();
  attribute.instance = head.instance.get();
  attribute.record_number = record_.reference.record();
  attribute.resident = head.form_code == std::byte{0};
  if (!ondisk::is_known(attribute.type)) {
    findings_.add(attribute_place(offset, "type"), "a type of $AttrDef",
                  number(head.type_code.get()), "the type of an attribute is unknown");
    return false;
  }
  if (head.form_code > std::byte{1}) {
    findings_.add(attribute_place(offset, "form"), "0 or 1",
                  number(static_cast<uint8_t>(head.form_code)), "unknown form");
    return false;
  }
  const bool has_lowest = !attribute.resident && length >= sizeof(NonresidentForm) &&
                          struct_at<NonresidentForm>(bytes).lowest_vcn.get() != 0;
  attribute.has_total_allocated =
      !attribute.resident && !has_lowest && (attribute.is_compressed() || attribute.is_sparse());
  const size_t fixed = attribute.resident              ? sizeof(ResidentForm)
                       : attribute.has_total_allocated ? sizeof(NonresidentSparseForm)
                                                       : sizeof(NonresidentForm);
  if (length < fixed) {
    findings_.add(attribute_place(offset, "length"), fixed, length,
                  "the attribute has no room for its header");
    return false;
  }
  const size_t name_bytes = 2 * static_cast<size_t>(head.name_length);
  const size_t name_offset = head.name_offset.get();
  if (name_bytes != 0 && (name_offset % 2 != 0 || name_offset < fixed || name_offset > length ||
                          name_bytes > length - name_offset)) {
    findings_.add(attribute_place(offset, "name offset"), fmt::format("{} or more", fixed),
                  number(name_offset), "the name lies outside of the attribute");
    return false;
  }
  if (name_bytes != 0) attribute.name = ondisk::utf16_from(bytes.subspan(name_offset, name_bytes));
  if (!(attribute.resident ? read_resident(bytes, attribute)
                           : read_nonresident(bytes, attribute))) {
    return false;
  }
  record_.attributes.push_back(std::move(attribute));
  return true;
}

bool RecordReader::read_resident(ByteView bytes, Attribute& attribute) {
  const auto& form = struct_at<ResidentForm>(bytes);
  const size_t value_offset = form.value_offset.get();
  const size_t value_length = form.value_length.get();
  const size_t name_end =
      form.header.name_length == std::byte{0}
          ? sizeof(ResidentForm)
          : form.header.name_offset.get() + 2 * static_cast<size_t>(form.header.name_length);
  if (value_offset % 8 != 0 || value_offset < name_end || value_offset > bytes.size() ||
      value_length > bytes.size() - value_offset) {
    findings_.add(attribute_place(attribute.offset, "value"), "inside of the attribute",
                  fmt::format("{} bytes at {}", value_length, value_offset),
                  "the value lies outside of the attribute");
    return false;
  }
  attribute.value = bytes.subspan(value_offset, value_length);
  attribute.indexed = (form.resident_flags & std::byte{1}) != std::byte{0};
  return true;
}

bool RecordReader::read_nonresident(ByteView bytes, Attribute& attribute) {
  const auto& form = struct_at<NonresidentForm>(bytes);
  const size_t fixed =
      attribute.has_total_allocated ? sizeof(NonresidentSparseForm) : sizeof(NonresidentForm);
  const size_t pairs = form.mapping_pairs_offset.get();
  const size_t name_end =
      form.header.name_length == std::byte{0}
          ? fixed
          : form.header.name_offset.get() + 2 * static_cast<size_t>(form.header.name_length);
  if (pairs < name_end || pairs >= bytes.size()) {
    findings_.add(attribute_place(attribute.offset, "mapping pairs offset"),
                  fmt::format("{} to {}", name_end, bytes.size() - 1), number(pairs),
                  "the mapping pairs lie outside of the attribute");
    return false;
  }
  attribute.mapping_pairs = bytes.subspan(pairs);
  attribute.lowest_vcn = form.lowest_vcn.get();
  attribute.next_vcn = form.highest_vcn.get() + 1;
  attribute.compression_unit = static_cast<uint8_t>(form.compression_unit);
  attribute.sizes = {form.allocated_size.get(), form.file_size.get(), form.valid_data_length.get(),
                     form.allocated_size.get()};
  if (attribute.has_total_allocated) {
    attribute.sizes.total_allocated = struct_at<NonresidentSparseForm>(bytes).total_allocated.get();
  }
  return check_vcns(attribute);
}

bool RecordReader::check_vcns(const Attribute& attribute) {
  if (attribute.lowest_vcn <= kMaxVcn && attribute.next_vcn <= kMaxVcn &&
      attribute.next_vcn >= attribute.lowest_vcn) {
    return true;
  }
  findings_.add(attribute_place(attribute.offset, "vcns"), "lowest - 1 <= highest",
                fmt::format("{:#x} and {:#x}", attribute.lowest_vcn, attribute.next_vcn - 1),
                "the vcns of an attribute are impossible");
  return false;
}

void RecordReader::check_order(const Attribute& before, const Attribute& attribute) {
  if (before.type < attribute.type) return;
  if (before.type > attribute.type) {
    findings_.add(attribute_place(attribute.offset, "type"), "after " + name_attribute(before),
                  name_attribute(attribute), "the attributes are not in the order of their types");
  }
}

void RecordReader::check_instances() {
  std::vector<uint16_t> instances;
  for (const Attribute& attribute : record_.attributes) instances.push_back(attribute.instance);
  std::sort(instances.begin(), instances.end());
  const auto twice = std::adjacent_find(instances.begin(), instances.end());
  if (twice != instances.end()) {
    findings_.add(place("instance"), "each once", number(*twice),
                  "two attributes of a record have the same instance number");
  }
  const uint16_t next = header().next_attribute_instance.get();
  if (std::binary_search(instances.begin(), instances.end(), next)) {
    findings_.add(place("next instance"), "one that is free", number(next),
                  "the next instance number of a record is in use");
  }
}

}  // namespace

RecordState read_record(MutableBytes bytes, uint64_t record_number, Record& record,
                        Findings& findings) {
  record.attributes.clear();
  record.reference = FileReference(record_number, 0);
  const std::string_view signature = as_text(bytes.first(4));
  if (signature != "FILE") {
    if (all_zero(bytes)) return RecordState::Zero;
    findings.add({kStructure, record.reference, "signature"}, "FILE",
                 fmt::format("{:#010x}", struct_at<le32>(ByteView(bytes)).get()),
                 "this is no file record");
    return RecordState::Bad;
  }
  if (!try_unprotect(bytes)) {
    findings.add({kStructure, record.reference, "update sequence array"}, "an untorn record",
                 "a torn write, or an array out of place", "the record was not written as a whole");
    return RecordState::Bad;
  }
  RecordReader reader(bytes, record, findings);
  if (!reader.read_header(record_number)) return RecordState::Bad;
  if ((record.flags & ondisk::FileRecordFlags::InUse) == 0) return RecordState::Free;
  reader.read_attributes();
  return RecordState::InUse;
}

std::string display(std::u16string_view text) { return ondisk::to_display(text); }

std::string name_attribute(AttributeType type, std::u16string_view name) {
  std::string text(ondisk::name_of(type));
  if (!name.empty()) text += " \"" + display(name) + "\"";
  return text;
}

std::string name_attribute(const Attribute& attribute) {
  return name_attribute(attribute.type, attribute.name);
}

}  // namespace ntfs::check
