#include "core/store/attribute_list.h"

#include <algorithm>

#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeListEntry;
using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordView;

namespace {

constexpr uint64_t kRawPageBytes = 4096;
/// Instance numbers from here on are not handed out in a row any more, so that the counter of the
/// record does not wrap.
constexpr uint16_t kMaxNextInstance = 0x7FFF;

Origin list_origin(FileReference file, uint64_t position) {
  return {"attribute list", file.raw(), position};
}

}  // namespace

std::strong_ordering compare_attributes(const AttributeKey& a, const AttributeKey& b,
                                        const UpCase& upcase) {
  if (a.type != b.type) return a.type <=> b.type;
  if (!a.name.empty() || !b.name.empty()) {
    const auto names = compare_names(a.name, b.name, upcase);
    if (names != 0) return names;
  }
  return a.lowest <=> b.lowest;
}

Vcn lowest_vcn_of(const AttributeView& attribute) {
  return attribute.is_resident() ? Vcn(0) : attribute.lowest_vcn();
}

Result<ByteVector> read_attribute_list(Volume& volume, FileReference file,
                                       const AttributeView& list) {
  if (list.is_resident()) return ByteVector(list.value().begin(), list.value().end());
  const Origin origin = list_origin(file, 0);
  if (list.lowest_vcn() != Vcn(0)) return corrupt(origin, "lowest vcn", list.lowest_vcn().raw());
  const uint64_t length = list.file_size();
  if (length > kMaxAttributeListBytes) return corrupt(origin, "file size", length);
  if (list.valid_data_length() != length) {
    return corrupt(origin, "valid data length", list.valid_data_length(), "the file size");
  }
  const uint64_t mapped = list.next_vcn().raw() * volume.geometry().cluster_size;
  if (length > mapped) return corrupt(origin, "file size", length, "<= the clusters it has");
  const MetadataStreamRef stream =
      TRY(volume.metadata_stream(file, AttributeType::AttributeList, {}));
  ByteVector bytes(length);
  for (uint64_t position = 0; position < length; position += kRawPageBytes) {
    const PageRef page = TRY(volume.pages().get(stream, position / kRawPageBytes));
    const ByteView part = page->bytes().first(std::min(kRawPageBytes, length - position));
    std::copy(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(position));
  }
  return bytes;
}

Result<AttributeListEntries> load_attribute_list(Volume& volume, FileReference file,
                                                 const AttributeView& list) {
  if (list.is_resident()) return ondisk::parse_attribute_list(list.value(), list_origin(file, 0));
  const ByteVector bytes = TRY(read_attribute_list(volume, file, list));
  return ondisk::parse_attribute_list(bytes, list_origin(file, 0));
}

Result<PageRef> extension_record(Volume& volume, FileReference file, FileReference extension) {
  const Origin origin = list_origin(file, extension.record());
  auto found = volume.mft().record(extension.record());
  if (!found) {
    if (found.error() != NtStatus::EndOfFile) return found.error();
    return corrupt(origin, "file reference", extension.raw(), "a record of $MFT");
  }
  PageRef page = std::move(found).value();
  const auto record = FileRecordView::of_valid(page->bytes());
  if (!record.in_use()) return corrupt(origin, "flags of the extension record", record.flags());
  if (record.sequence() != extension.sequence()) {
    return corrupt(origin, "sequence of the extension record", record.sequence());
  }
  if (record.base_reference() != file) {
    return corrupt(origin, "base reference", record.base_reference().raw(), "the listing file");
  }
  return page;
}

Result<Attributes::Found> resolve_entry(Volume& volume, FileReference file, const PageRef& base,
                                        const AttributeListEntry& entry) {
  PageRef page = base;
  if (entry.reference != file) page = TRY(extension_record(volume, file, entry.reference));
  const auto record = FileRecordView::of_valid(page->bytes());
  const auto attribute = record.find_instance(entry.type, entry.instance);
  const Origin origin = list_origin(file, entry.reference.record());
  if (!attribute || !attribute->name_equals(entry.name)) {
    return corrupt(origin, "instance", entry.instance, "an attribute of that type and name");
  }
  if (lowest_vcn_of(*attribute) != entry.lowest_vcn) {
    return corrupt(origin, "lowest vcn", entry.lowest_vcn.raw(), "that of the attribute");
  }
  return Attributes::Found{std::move(page), attribute->offset()};
}

uint16_t first_instance(uint16_t next_attribute_instance) {
  return next_attribute_instance < kMaxNextInstance ? next_attribute_instance : uint16_t{0};
}

uint16_t free_instance(const FileRecordView& record) {
  const auto is_taken = [&](uint16_t instance) {
    for (const AttributeView attribute : record) {
      if (attribute.instance() == instance) return true;
    }
    return false;
  };
  uint16_t candidate = first_instance(record.next_attribute_instance());
  while (is_taken(candidate)) ++candidate;  // a record holds fewer than 256 attributes
  return candidate;
}

uint32_t insert_offset(const FileRecordView& record, const AttributeKey& key,
                       const UpCase& upcase) {
  uint32_t offset = record.first_attribute_offset();
  for (const AttributeView attribute : record) {
    if (attribute.type() > key.type) break;
    if (attribute.type() == key.type) {
      const std::u16string name = attribute.name();
      const AttributeKey other{attribute.type(), name, lowest_vcn_of(attribute)};
      if (compare_attributes(other, key, upcase) > 0) break;
    }
    offset = attribute.end_offset();
  }
  return offset;
}

ByteVector with_instance(ByteView attribute_record, uint16_t instance) {
  ByteVector copy(attribute_record.begin(), attribute_record.end());
  struct_at<ondisk::AttributeHeader>(MutableBytes(copy)).instance.set(instance);
  return copy;
}

}  // namespace ntfs
