#include "core/ondisk/attribute_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/ondisk/utf16.h"

namespace ntfs::ondisk {

namespace {

constexpr uint64_t kMaxVcn = uint64_t{1} << 55;  // beyond: sizes in bytes would not fit 64 bits
constexpr uint8_t kMaxCompressionUnit = 16;

bool is_sparse_or_compressed(uint16_t flags) {
  return (flags & (AttributeFlags::CompressionMask | AttributeFlags::Sparse)) != 0;
}

size_t nonresident_header_bytes(uint16_t flags, Vcn lowest) {
  return is_sparse_or_compressed(flags) && lowest == Vcn(0) ? sizeof(NonresidentSparseForm)
                                                            : sizeof(NonresidentForm);
}

/// `header_bytes` belong to the form's header, the name stands between them and `end`.
Result<> check_name(const AttributeHeader& header, size_t header_bytes, size_t end,
                    const Origin& origin) {
  const size_t name_bytes = 2 * static_cast<size_t>(header.name_length);
  if (name_bytes == 0) return {};
  const size_t offset = header.name_offset.get();
  if (offset < header_bytes || offset + name_bytes > end) {
    return corrupt(origin, "attribute name offset", offset);
  }
  return {};
}

Result<> check_resident(ByteView bytes, const Origin& origin) {
  const auto raw = view_as<ResidentForm>(bytes);
  if (!raw) return corrupt(origin, "resident attribute length", bytes.size());
  const ResidentForm& form = **raw;
  const size_t offset = form.value_offset.get();
  const size_t length = form.value_length.get();
  if (offset < sizeof(ResidentForm) || offset > bytes.size()) {
    return corrupt(origin, "value offset", offset);
  }
  if (length > bytes.size() - offset) return corrupt(origin, "value length", length);
  return check_name(form.header, sizeof(ResidentForm), length == 0 ? bytes.size() : offset, origin);
}

Result<> check_sizes(ByteView bytes, bool has_total, const Origin& origin) {
  const auto& form = struct_at<NonresidentForm>(bytes);
  const uint64_t allocated = form.allocated_size.get();
  const uint64_t file_size = form.file_size.get();
  const uint64_t valid = form.valid_data_length.get();
  if (allocated > INT64_MAX) return corrupt(origin, "allocated size", allocated);
  if (file_size > allocated) return corrupt(origin, "file size", file_size, "<= allocated size");
  if (valid > file_size) return corrupt(origin, "valid data length", valid, "<= file size");
  if (!has_total) return {};
  const uint64_t total = struct_at<NonresidentSparseForm>(bytes).total_allocated.get();
  if (total > allocated) return corrupt(origin, "total allocated", total, "<= allocated size");
  return {};
}

Result<> check_nonresident(ByteView bytes, const Origin& origin) {
  const auto raw = view_as<NonresidentForm>(bytes);
  if (!raw) return corrupt(origin, "nonresident attribute length", bytes.size());
  const NonresidentForm& form = **raw;
  const uint64_t lowest = form.lowest_vcn.get();
  const uint64_t next = form.highest_vcn.get() + 1;  // highest may be -1
  if (next > kMaxVcn) return corrupt(origin, "highest vcn", form.highest_vcn.get());
  if (lowest > next) return corrupt(origin, "lowest vcn", lowest, "<= highest vcn + 1");
  const auto unit = static_cast<uint8_t>(form.compression_unit);
  if (unit > kMaxCompressionUnit) return corrupt(origin, "compression unit", unit);

  const size_t header_bytes = nonresident_header_bytes(form.header.flags.get(), Vcn(lowest));
  const size_t pairs = form.mapping_pairs_offset.get();
  if (pairs < header_bytes || pairs >= bytes.size()) {
    return corrupt(origin, "mapping pairs offset", pairs);
  }
  TRY(check_name(form.header, header_bytes, pairs, origin));
  if (lowest != 0) return {};
  return check_sizes(bytes, header_bytes == sizeof(NonresidentSparseForm), origin);
}

void put_header(MutableBytes record, AttributeType type, uint16_t flags, uint16_t instance,
                std::u16string_view name, size_t name_offset) {
  ASSERT(is_known(type) && name.size() <= 255);
  auto& header = struct_at<AttributeHeader>(record);
  header.type_code.set(static_cast<uint32_t>(type));
  header.record_length.set(static_cast<uint32_t>(record.size()));
  header.name_length = static_cast<std::byte>(name.size());
  header.name_offset.set(static_cast<uint16_t>(name_offset));
  header.flags.set(flags);
  header.instance.set(instance);
  put_utf16(record.subspan(name_offset), name);
}

}  // namespace

std::string_view name_of(AttributeType type) {
  switch (type) {
    case AttributeType::StandardInformation:
      return "$STANDARD_INFORMATION";
    case AttributeType::AttributeList:
      return "$ATTRIBUTE_LIST";
    case AttributeType::FileName:
      return "$FILE_NAME";
    case AttributeType::ObjectId:
      return "$OBJECT_ID";
    case AttributeType::SecurityDescriptor:
      return "$SECURITY_DESCRIPTOR";
    case AttributeType::VolumeName:
      return "$VOLUME_NAME";
    case AttributeType::VolumeInformation:
      return "$VOLUME_INFORMATION";
    case AttributeType::Data:
      return "$DATA";
    case AttributeType::IndexRoot:
      return "$INDEX_ROOT";
    case AttributeType::IndexAllocation:
      return "$INDEX_ALLOCATION";
    case AttributeType::Bitmap:
      return "$BITMAP";
    case AttributeType::ReparsePoint:
      return "$REPARSE_POINT";
    case AttributeType::EaInformation:
      return "$EA_INFORMATION";
    case AttributeType::Ea:
      return "$EA";
    case AttributeType::PropertySet:
      return "$PROPERTY_SET";
    case AttributeType::LoggedUtilityStream:
      return "$LOGGED_UTILITY_STREAM";
    case AttributeType::End:
      return "END";
  }
  return "$?";
}

bool is_known(AttributeType type) {
  const auto code = static_cast<uint32_t>(type);
  return code % 0x10 == 0 && code >= 0x10 && code <= 0x100;
}

Result<AttributeView> AttributeView::parse(ByteView record, size_t offset, const Origin& origin) {
  if (offset > record.size()) return corrupt(origin, "attribute offset", offset);
  const ByteView rest = record.subspan(offset);
  const auto raw = view_as<AttributeHeader>(rest);
  if (!raw) return corrupt(origin, "attribute offset", offset, "room for a header");
  const AttributeHeader& header = **raw;
  const auto type = static_cast<AttributeType>(header.type_code.get());
  if (!is_known(type)) return corrupt(origin, "attribute type", header.type_code.get());
  const uint32_t length = header.record_length.get();
  if (length % 8 != 0 || length < sizeof(ResidentForm) || length > rest.size()) {
    return corrupt(origin, "attribute length", length);
  }
  const ByteView bytes = rest.first(length);
  if (header.form_code == std::byte{0}) {
    TRY(check_resident(bytes, origin));
  } else if (header.form_code == std::byte{1}) {
    TRY(check_nonresident(bytes, origin));
  } else {
    return corrupt(origin, "attribute form", static_cast<uint64_t>(header.form_code), "0 or 1");
  }
  return AttributeView(bytes, static_cast<uint32_t>(offset));
}

AttributeView AttributeView::of_valid(ByteView record, size_t offset) {
  const uint32_t length = struct_at<AttributeHeader>(record, offset).record_length.get();
  ASSERT(length >= sizeof(ResidentForm) && length <= record.size() - offset);
  return AttributeView(record.subspan(offset, length), static_cast<uint32_t>(offset));
}

const ResidentForm& AttributeView::resident() const {
  ASSERT(is_resident());
  return struct_at<ResidentForm>(bytes_);
}

const NonresidentForm& AttributeView::nonresident() const {
  ASSERT(!is_resident());
  return struct_at<NonresidentForm>(bytes_);
}

ByteView AttributeView::name_bytes() const {
  const size_t length = 2 * static_cast<size_t>(header().name_length);
  if (length == 0) return {};
  return bytes_.subspan(header().name_offset.get(), length);
}

std::u16string AttributeView::name() const { return utf16_from(name_bytes()); }

bool AttributeView::name_equals(std::u16string_view name) const {
  return utf16_equals(name_bytes(), name);
}

ByteView AttributeView::value() const {
  const ResidentForm& form = resident();
  return bytes_.subspan(form.value_offset.get(), form.value_length.get());
}

bool AttributeView::has_total_allocated() const {
  return !is_resident() &&
         nonresident_header_bytes(flags(), lowest_vcn()) == sizeof(NonresidentSparseForm);
}

uint64_t AttributeView::total_allocated() const {
  if (!has_total_allocated()) return allocated_size();
  return struct_at<NonresidentSparseForm>(bytes_).total_allocated.get();
}

AttributeSizes AttributeView::sizes() const {
  return {.allocated = allocated_size(),
          .file_size = file_size(),
          .valid_data_length = valid_data_length(),
          .total_allocated = total_allocated()};
}

ByteView AttributeView::mapping_pairs() const { return bytes_.subspan(mapping_pairs_offset()); }

size_t resident_value_offset(size_t name_units) {
  return align_up(sizeof(ResidentForm) + 2 * name_units, 8);
}

size_t resident_length(size_t name_units, size_t value_bytes) {
  return resident_value_offset(name_units) + align_up(value_bytes, 8);
}

ByteVector build_resident(AttributeType type, std::u16string_view name, uint16_t flags,
                          uint16_t instance, ByteView value, Indexed indexed) {
  ByteVector record(resident_length(name.size(), value.size()));
  put_header(record, type, flags, instance, name, sizeof(ResidentForm));
  auto& form = struct_at<ResidentForm>(MutableBytes(record));
  form.value_length.set(static_cast<uint32_t>(value.size()));
  const size_t value_offset = resident_value_offset(name.size());
  form.value_offset.set(static_cast<uint16_t>(value_offset));
  form.resident_flags = std::byte{indexed == Indexed::Yes ? uint8_t{1} : uint8_t{0}};
  std::copy(value.begin(), value.end(), record.begin() + static_cast<ptrdiff_t>(value_offset));
  return record;
}

size_t nonresident_mapping_pairs_offset(size_t name_units, uint16_t flags, Vcn lowest) {
  return align_up(nonresident_header_bytes(flags, lowest) + 2 * name_units, 8);
}

ByteVector build_nonresident(const NonresidentInit& init, std::u16string_view name,
                             ByteView mapping_pairs) {
  ASSERT(init.lowest <= init.next && !mapping_pairs.empty());
  const size_t header_bytes = nonresident_header_bytes(init.flags, init.lowest);
  const size_t pairs_offset = align_up(header_bytes + 2 * name.size(), 8);
  ByteVector record(align_up(pairs_offset + mapping_pairs.size(), 8));
  put_header(record, init.type, init.flags, init.instance, name, header_bytes);
  auto& form = struct_at<NonresidentForm>(MutableBytes(record));
  form.header.form_code = std::byte{1};
  form.lowest_vcn.set(init.lowest.raw());
  form.highest_vcn.set(init.next.raw() - 1);
  form.mapping_pairs_offset.set(static_cast<uint16_t>(pairs_offset));
  form.compression_unit = std::byte{init.compression_unit};
  if (init.lowest == Vcn(0)) {
    const AttributeSizes& sizes = init.sizes;
    ASSERT(sizes.valid_data_length <= sizes.file_size && sizes.file_size <= sizes.allocated);
    form.allocated_size.set(sizes.allocated);
    form.file_size.set(sizes.file_size);
    form.valid_data_length.set(sizes.valid_data_length);
    if (header_bytes == sizeof(NonresidentSparseForm)) {
      ASSERT(sizes.total_allocated <= sizes.allocated);
      struct_at<NonresidentSparseForm>(MutableBytes(record))
          .total_allocated.set(sizes.total_allocated);
    }
  }
  std::copy(mapping_pairs.begin(), mapping_pairs.end(),
            record.begin() + static_cast<ptrdiff_t>(pairs_offset));
  return record;
}

std::string describe(const AttributeView& attribute) {
  std::string text = fmt::format("{:#05x} {}", attribute.offset(), name_of(attribute.type()));
  if (attribute.has_name()) text += fmt::format(" \"{}\"", to_display(attribute.name()));
  text += fmt::format(" length {:#x} instance {}", attribute.length(), attribute.instance());
  if (attribute.flags() != 0) text += fmt::format(" flags {:#06x}", attribute.flags());
  if (attribute.is_resident()) {
    return text + fmt::format(" resident: {} bytes at {:#x}{}", attribute.value().size(),
                              attribute.value_offset(), attribute.is_indexed() ? ", indexed" : "");
  }
  text += fmt::format(" nonresident: vcn {} up to {}", attribute.lowest_vcn().raw(),
                      attribute.next_vcn().raw());
  if (attribute.lowest_vcn() != Vcn(0)) return text;
  return text + fmt::format(", allocated {}, file size {}, valid {}, really allocated {}",
                            attribute.allocated_size(), attribute.file_size(),
                            attribute.valid_data_length(), attribute.total_allocated());
}

}  // namespace ntfs::ondisk
