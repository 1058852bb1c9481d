#include "core/ondisk/attribute_values.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/ondisk/utf16.h"

namespace ntfs::ondisk {

namespace {

constexpr uint64_t kTicksPerSecond = 10'000'000;
constexpr int64_t kSecondsFrom1601To1970 = 11'644'473'600;
constexpr uint64_t kMaxFileTime = INT64_MAX;
constexpr uint64_t kMaxVcn = uint64_t{1} << 55;
constexpr size_t kListNameOffset = sizeof(AttributeListEntryHeader);
constexpr size_t kPackedEaBytes = 5;  // an entry's header and NUL in the packed length

NtStatus corrupt_ea(const Origin& origin, std::string_view field, uint64_t found) {
  corrupt(origin, field, found);
  return NtStatus::EaCorruptError;
}

size_t ea_entry_length(size_t name_bytes, size_t value_bytes) {
  return align_up(sizeof(EaEntryHeader) + name_bytes + 1 + value_bytes, 4);
}

void put(ByteVector& into, size_t offset, ByteView bytes) {
  std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<ptrdiff_t>(offset));
}

}  // namespace

FileTime FileTime::from_timespec(const timespec& time) {
  const auto seconds = static_cast<int64_t>(time.tv_sec);
  if (seconds < -kSecondsFrom1601To1970) return from_raw(0);
  const auto since_1601 =
      static_cast<uint64_t>(seconds) + static_cast<uint64_t>(kSecondsFrom1601To1970);
  if (since_1601 >= kMaxFileTime / kTicksPerSecond) return from_raw(kMaxFileTime);
  const auto nanoseconds = static_cast<uint64_t>(std::clamp<int64_t>(time.tv_nsec, 0, 999'999'999));
  return from_raw(since_1601 * kTicksPerSecond + nanoseconds / 100);
}

timespec FileTime::to_timespec() const {
  const uint64_t ticks = std::min(value_, kMaxFileTime);
  timespec time{};
  time.tv_sec = static_cast<time_t>(ticks / kTicksPerSecond) - kSecondsFrom1601To1970;
  time.tv_nsec = static_cast<long>(ticks % kTicksPerSecond * 100);
  return time;
}

FileTime FileTime::now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return from_timespec(time);
}

Result<StandardInformation> parse_standard_information(ByteView value, const Origin& origin) {
  if (value.size() < kStandardInformationV1Bytes ||
      (value.size() != kStandardInformationV1Bytes && value.size() < sizeof(StandardInformation))) {
    return corrupt(origin, "$STANDARD_INFORMATION length", value.size(), "0x30 or 0x48");
  }
  StandardInformation information{};
  const MutableBytes into = mutable_bytes_of(information);
  std::copy_n(value.begin(), std::min(value.size(), into.size()), into.begin());
  return information;
}

Result<FileNameView> FileNameView::parse(ByteView value, const Origin& origin) {
  const auto raw = view_as<FileNameHeader>(value);
  if (!raw) return corrupt(origin, "$FILE_NAME length", value.size());
  const auto units = static_cast<size_t>((*raw)->name_length);
  if (units == 0 || sizeof(FileNameHeader) + 2 * units > value.size()) {
    return corrupt(origin, "$FILE_NAME name length", units);
  }
  const auto type = static_cast<uint8_t>((*raw)->name_type);
  if (type > static_cast<uint8_t>(NameType::Win32AndDos)) {
    return corrupt(origin, "$FILE_NAME name type", type, "0..3");
  }
  return of_valid(value);
}

FileNameView FileNameView::of_valid(ByteView value) {
  const auto units = static_cast<size_t>(struct_at<FileNameHeader>(value).name_length);
  ASSERT(sizeof(FileNameHeader) + 2 * units <= value.size());
  return FileNameView(value.first(sizeof(FileNameHeader) + 2 * units));
}

ByteView FileNameView::name_bytes() const { return value_.subspan(sizeof(FileNameHeader)); }

bool FileNameView::name_equals(std::u16string_view name) const {
  return utf16_equals(name_bytes(), name);
}

std::u16string FileNameView::name() const { return utf16_from(name_bytes()); }

ByteVector build_file_name(FileReference parent, const DuplicatedInformation& duplicated,
                           NameType type, std::u16string_view name) {
  ASSERT(!name.empty() && name.size() <= kMaxNameUnits);
  ByteVector value(sizeof(FileNameHeader) + 2 * name.size());
  auto& header = struct_at<FileNameHeader>(MutableBytes(value));
  header.parent_reference.set(parent.raw());
  header.duplicated = duplicated;
  header.name_length = static_cast<std::byte>(name.size());
  header.name_type = static_cast<std::byte>(type);
  put_utf16(MutableBytes(value).subspan(sizeof(FileNameHeader)), name);
  return value;
}

Result<VolumeInformation> parse_volume_information(ByteView value, const Origin& origin) {
  const auto raw = view_as<VolumeInformation>(value);
  if (!raw) return corrupt(origin, "$VOLUME_INFORMATION length", value.size(), "0xc");
  return **raw;
}

Result<std::vector<AttributeListEntry>> parse_attribute_list(ByteView value, const Origin& origin) {
  std::vector<AttributeListEntry> entries;
  entries.reserve(value.size() / attribute_list_entry_length(0) + 1);
  for (size_t position = 0; position < value.size();) {
    const ByteView rest = value.subspan(position);
    const auto raw = view_as<AttributeListEntryHeader>(rest);
    if (!raw) return corrupt(origin, "bytes of the last entry", rest.size());
    const AttributeListEntryHeader& header = **raw;
    const auto type = static_cast<AttributeType>(header.type_code.get());
    if (!is_known(type)) return corrupt(origin, "attribute type", header.type_code.get());
    const size_t length = header.entry_length.get();
    if (length % 8 != 0 || length < sizeof(AttributeListEntryHeader) || length > rest.size()) {
      return corrupt(origin, "entry length", length);
    }
    const size_t name_bytes = 2 * static_cast<size_t>(header.name_length);
    const auto name_offset = static_cast<size_t>(header.name_offset);
    if (name_bytes != 0 && (name_offset < kListNameOffset || name_offset + name_bytes > length)) {
      return corrupt(origin, "name offset", name_offset);
    }
    const uint64_t lowest = header.lowest_vcn.get();
    if (lowest > kMaxVcn) return corrupt(origin, "lowest vcn", lowest);
    AttributeListEntry entry;
    entry.type = type;
    if (name_bytes != 0) entry.name = utf16_from(rest.subspan(name_offset, name_bytes));
    entry.lowest_vcn = Vcn(lowest);
    entry.reference = FileReference::from_raw(header.file_reference.get());
    entry.instance = header.instance.get();
    entries.push_back(std::move(entry));
    position += length;
  }
  return entries;
}

size_t attribute_list_entry_length(size_t name_units) {
  return align_up(kListNameOffset + 2 * name_units, 8);
}

void append_attribute_list_entry(ByteVector& list, const AttributeListEntry& entry) {
  ASSERT(is_known(entry.type) && entry.name.size() <= kMaxNameUnits);
  const size_t length = attribute_list_entry_length(entry.name.size());
  list.resize(list.size() + length);
  const MutableBytes bytes = MutableBytes(list).last(length);
  auto& header = struct_at<AttributeListEntryHeader>(bytes);
  header.type_code.set(static_cast<uint32_t>(entry.type));
  header.entry_length.set(static_cast<uint16_t>(length));
  header.name_length = static_cast<std::byte>(entry.name.size());
  header.name_offset = static_cast<std::byte>(kListNameOffset);
  header.lowest_vcn.set(entry.lowest_vcn.raw());
  header.file_reference.set(entry.reference.raw());
  header.instance.set(entry.instance);
  put_utf16(bytes.subspan(kListNameOffset), entry.name);
}

ByteVector build_attribute_list(const std::vector<AttributeListEntry>& entries) {
  ByteVector list;
  for (const AttributeListEntry& entry : entries) append_attribute_list_entry(list, entry);
  return list;
}

Result<EaInformation> parse_ea_information(ByteView value, const Origin& origin) {
  const auto raw = view_as<EaInformation>(value);
  if (!raw) return corrupt_ea(origin, "$EA_INFORMATION length", value.size());
  return **raw;
}

Result<EaView> EaView::parse(ByteView eas, size_t position, const Origin& origin) {
  const ByteView bytes = eas.subspan(position);
  const auto raw = view_as<EaEntryHeader>(bytes);
  if (!raw) return corrupt_ea(origin, "length of an entry at the end", bytes.size());
  const EaEntryHeader& header = **raw;
  const auto name_bytes = static_cast<size_t>(header.name_length);
  const size_t value_bytes = header.value_length.get();
  const size_t content = sizeof(EaEntryHeader) + name_bytes + 1 + value_bytes;
  if (name_bytes == 0) return corrupt_ea(origin, "empty name of the entry at", position);
  if (content > bytes.size()) return corrupt_ea(origin, "value length", value_bytes);
  const size_t stored = header.entry_length.get();
  if (stored != 0 && (stored < content || stored > bytes.size())) {
    return corrupt_ea(origin, "entry length", stored);
  }
  const ByteView name = bytes.subspan(sizeof(EaEntryHeader), name_bytes + 1);
  if (name.back() != std::byte{0}) return corrupt_ea(origin, "unended name at", position);

  EaView ea;
  ea.flags = static_cast<uint8_t>(header.flags);
  ea.name = as_text(name.first(name_bytes));
  ea.value = bytes.subspan(content - value_bytes, value_bytes);
  ea.length = stored == 0 ? bytes.size() : stored;
  return ea;
}

Result<std::vector<Ea>> parse_eas(ByteView value, const Origin& origin) {
  std::vector<Ea> eas;
  for (size_t position = 0; position < value.size();) {
    const EaView ea = TRY(EaView::parse(value, position, origin));
    position += ea.length;
    eas.push_back({ea.flags, std::string(ea.name), ByteVector(ea.value.begin(), ea.value.end())});
  }
  return eas;
}

ByteVector build_eas(const std::vector<Ea>& eas) {
  ByteVector value;
  for (const Ea& ea : eas) {
    ASSERT(!ea.name.empty() && ea.name.size() <= UINT8_MAX && ea.value.size() <= UINT16_MAX);
    const size_t start = value.size();
    const size_t length = ea_entry_length(ea.name.size(), ea.value.size());
    value.resize(start + length);
    auto& header = struct_at<EaEntryHeader>(MutableBytes(value), start);
    header.entry_length.set(static_cast<uint32_t>(length));
    header.flags = std::byte{ea.flags};
    header.name_length = static_cast<std::byte>(ea.name.size());
    header.value_length.set(static_cast<uint16_t>(ea.value.size()));
    put(value, start + sizeof(EaEntryHeader), text_bytes(ea.name));
    put(value, start + sizeof(EaEntryHeader) + ea.name.size() + 1, ea.value);
  }
  return value;
}

Result<EaInformation> ea_information_of(const std::vector<Ea>& eas) {
  size_t packed = 0;
  size_t unpacked = 0;
  uint16_t need = 0;
  for (const Ea& ea : eas) {
    packed += kPackedEaBytes + ea.name.size() + ea.value.size();
    unpacked += ea_entry_length(ea.name.size(), ea.value.size());
    if (packed > UINT16_MAX) return NtStatus::EaTooLarge;
    if ((ea.flags & kNeedEa) != 0) ++need;
  }
  EaInformation information{};
  information.packed_length.set(static_cast<uint16_t>(packed));
  information.need_ea_count.set(need);
  information.unpacked_length.set(static_cast<uint32_t>(unpacked));
  return information;
}

std::string describe(const FileNameView& name) {
  return fmt::format("\"{}\" type {} in {}-{} size {} of {} attributes {:#x}",
                     to_display(name.name()), static_cast<unsigned>(name.name_type()),
                     name.parent().record(), name.parent().sequence(),
                     name.duplicated().file_size.get(), name.duplicated().allocated_size.get(),
                     name.duplicated().file_attributes.get());
}

std::string describe(const StandardInformation& information) {
  return fmt::format(
      "created {} written {} changed {} accessed {} attributes {:#x} security {} owner {} usn "
      "{:#x}",
      information.creation_time.get(), information.last_write_time.get(),
      information.change_time.get(), information.last_access_time.get(),
      information.file_attributes.get(), information.security_id.get(), information.owner_id.get(),
      information.usn.get());
}

std::string describe(const AttributeListEntry& entry) {
  return fmt::format("{} \"{}\" from vcn {} in {}-{} instance {}", name_of(entry.type),
                     to_display(entry.name), entry.lowest_vcn.raw(), entry.reference.record(),
                     entry.reference.sequence(), entry.instance);
}

}  // namespace ntfs::ondisk
