#include "core/ondisk/reparse_point.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/ondisk/utf16.h"

namespace ntfs::ondisk {

namespace {

constexpr uint32_t kLxSymlinkVersion = 2;
constexpr uint32_t kSymlinkFlagRelative = 1;

/// Head of the data of both Windows links. Offsets count from behind it; a symbolic link has le32
/// flags there first.
struct LinkNames {
  le16 substitute_offset;  // bytes, all of them
  le16 substitute_length;
  le16 print_offset;
  le16 print_length;
};
static_assert(sizeof(LinkNames) == 8 && alignof(LinkNames) == 1);

struct TagName {
  uint32_t tag;
  std::string_view name;
};
/// Source: MS-FSCC 2.1.2.1 "Reparse Tags".
constexpr TagName kTagNames[] = {
    {0xA0000003, "MOUNT_POINT"},
    {0xC0000004, "HSM"},
    {0x80000005, "DRIVE_EXTENDER"},
    {0x80000006, "HSM2"},
    {0x80000007, "SIS"},
    {0x80000008, "WIM"},
    {0x80000009, "CSV"},
    {0x8000000A, "DFS"},
    {0x8000000B, "FILTER_MANAGER"},
    {0xA000000C, "SYMLINK"},
    {0xA0000010, "IIS_CACHE"},
    {0x80000012, "DFSR"},
    {0x80000013, "DEDUP"},
    {0xC0000014, "APPXSTRM"},
    {0x80000014, "NFS"},
    {0x80000015, "FILE_PLACEHOLDER"},
    {0x80000016, "DFM"},
    {0x80000017, "WOF"},
    {0x80000018, "WCI"},
    {0x90001018, "WCI_1"},
    {0xA0000019, "GLOBAL_REPARSE"},
    {0x9000001A, "CLOUD"},
    {0x8000001B, "APPEXECLINK"},
    {0x9000001C, "PROJFS"},
    {0xA000001D, "LX_SYMLINK"},
    {0x8000001E, "STORAGE_SYNC"},
    {0xA000001F, "WCI_TOMBSTONE"},
    {0x80000020, "UNHANDLED"},
    {0x80000021, "ONEDRIVE"},
    {0xA0000022, "PROJFS_TOMBSTONE"},
    {0x80000023, "AF_UNIX"},
    {0x80000024, "LX_FIFO"},
    {0x80000025, "LX_CHR"},
    {0x80000026, "LX_BLK"},
    {0xA0000027, "WCI_LINK"},
    {0xA0001027, "WCI_LINK_1"},
};

size_t guid_bytes_of(const ReparseHeader& header) {
  return (header.tag.get() & ReparseTag::MicrosoftBit) == 0 ? kReparseGuidBytes : 0;
}

bool is_possible_target(std::string_view target) {
  return !target.empty() && target.find('\0') == std::string_view::npos;
}

Result<std::u16string> name_in(ByteView names, uint16_t offset, uint16_t length) {
  const auto bytes = slice(names, offset, length);
  if (!bytes || length % 2 != 0) return NtStatus::IoReparseDataInvalid;
  return utf16_from(*bytes);
}

}  // namespace

std::string_view name_of_reparse_tag(uint32_t tag) {
  if ((tag & ~ReparseTag::CloudMask) == ReparseTag::Cloud) tag = ReparseTag::Cloud;
  const auto* const found = std::find_if(std::begin(kTagNames), std::end(kTagNames),
                                         [tag](const TagName& entry) { return entry.tag == tag; });
  return found != std::end(kTagNames) ? found->name : "?";
}

Result<ReparsePointView> ReparsePointView::parse(ByteView value, const Origin& origin) {
  const auto* header = view_as<ReparseHeader>(value).value_or(nullptr);
  if (header == nullptr || value.size() > kMaxReparsePointBytes) {
    return corrupt(origin, "reparse point length", value.size());
  }
  const auto guid = slice(value, sizeof(ReparseHeader), guid_bytes_of(*header));
  const auto data =
      slice(value, sizeof(ReparseHeader) + guid_bytes_of(*header), header->data_length.get());
  if (!guid || !data) return corrupt(origin, "reparse data length", header->data_length.get());
  return ReparsePointView(header->tag.get(), *guid, *data);
}

Result<ReparsePointView> ReparsePointView::parse_request(ByteView value) {
  const auto* header = view_as<ReparseHeader>(value).value_or(nullptr);
  if (header == nullptr || value.size() > kMaxReparsePointBytes) {
    return NtStatus::IoReparseDataInvalid;
  }
  const size_t data_offset = sizeof(ReparseHeader) + guid_bytes_of(*header);
  if (value.size() != data_offset + header->data_length.get()) {
    return NtStatus::IoReparseDataInvalid;
  }
  const ByteView guid = value.first(data_offset).subspan(sizeof(ReparseHeader));
  return ReparsePointView(header->tag.get(), guid, value.subspan(data_offset));
}

ByteVector build_reparse_point(uint32_t tag, ByteView data) {
  ASSERT((tag & ReparseTag::MicrosoftBit) != 0);
  ASSERT(data.size() <= kMaxReparsePointBytes - sizeof(ReparseHeader));
  ReparseHeader header{};
  header.tag.set(tag);
  header.data_length.set(static_cast<uint16_t>(data.size()));
  const ByteView head = bytes_of(header);
  ByteVector value(head.begin(), head.end());
  value.insert(value.end(), data.begin(), data.end());
  return value;
}

ByteVector reparse_point_head(const ReparsePointView& point) {
  ReparseHeader header{};
  header.tag.set(point.tag());
  const ByteView head = bytes_of(header);
  ByteVector value(head.begin(), head.end());
  value.insert(value.end(), point.guid().begin(), point.guid().end());
  return value;
}

Result<ByteVector> build_lx_symlink(std::string_view target) {
  if (target.size() > kMaxLxSymlinkTargetBytes) return NtStatus::NameTooLong;
  if (!is_possible_target(target)) return NtStatus::ObjectNameInvalid;
  const le32 version = le32::of(kLxSymlinkVersion);
  const ByteView head = bytes_of(version);
  const ByteView text = text_bytes(target);
  ByteVector data(head.begin(), head.end());
  data.insert(data.end(), text.begin(), text.end());
  return build_reparse_point(ReparseTag::LxSymlink, data);
}

Result<std::string> lx_symlink_target(const ReparsePointView& point) {
  ASSERT(point.tag() == ReparseTag::LxSymlink);
  const auto* version = view_as<le32>(point.data()).value_or(nullptr);
  if (version == nullptr || version->get() != kLxSymlinkVersion) {
    return NtStatus::IoReparseDataInvalid;
  }
  const std::string_view target = as_text(point.data().subspan(sizeof(le32)));
  if (!is_possible_target(target)) return NtStatus::IoReparseDataInvalid;
  return std::string(target);
}

Result<WindowsLink> windows_link(const ReparsePointView& point) {
  const bool is_symlink = point.tag() == ReparseTag::Symlink;
  ASSERT(is_symlink || point.tag() == ReparseTag::MountPoint);
  const auto* head = view_as<LinkNames>(point.data()).value_or(nullptr);
  if (head == nullptr) return NtStatus::IoReparseDataInvalid;
  ByteView names = point.data().subspan(sizeof(LinkNames));
  WindowsLink link;
  if (is_symlink) {
    const auto* flags = view_as<le32>(names).value_or(nullptr);
    if (flags == nullptr) return NtStatus::IoReparseDataInvalid;
    link.is_relative = (flags->get() & kSymlinkFlagRelative) != 0;
    names = names.subspan(sizeof(le32));
  }
  link.substitute_name =
      TRY(name_in(names, head->substitute_offset.get(), head->substitute_length.get()));
  link.print_name = TRY(name_in(names, head->print_offset.get(), head->print_length.get()));
  return link;
}

namespace {

constexpr uint32_t kWofVersion = 1;
constexpr uint32_t kWofProviderFile = 2;
constexpr uint32_t kWofFileVersion = 1;

/// WOF_EXTERNAL_INFO and FILE_PROVIDER_EXTERNAL_INFO as they are on disk. Source: Windows SDK,
/// wofapi.h documentation "FILE_PROVIDER_EXTERNAL_INFO_V1 structure".
struct WofHead {
  le32 version;
  le32 provider;
  le32 file_version;
  le32 format;
};
static_assert(sizeof(WofHead) == 16 && alignof(WofHead) == 1);

}  // namespace

Result<WofFormat> wof_format(const ReparsePointView& point) {
  ASSERT(point.tag() == ReparseTag::Wof);
  const auto* head = view_as<WofHead>(point.data()).value_or(nullptr);
  if (head == nullptr) return NtStatus::IoReparseDataInvalid;
  const bool is_known = head->version.get() == kWofVersion &&
                        head->provider.get() == kWofProviderFile &&
                        head->file_version.get() == kWofFileVersion &&
                        head->format.get() <= static_cast<uint32_t>(WofFormat::Xpress16K);
  if (!is_known) return NtStatus::IoReparseTagNotHandled;
  return static_cast<WofFormat>(head->format.get());
}

ByteVector build_wof(WofFormat format) {
  WofHead head;
  head.version.set(kWofVersion);
  head.provider.set(kWofProviderFile);
  head.file_version.set(kWofFileVersion);
  head.format.set(static_cast<uint32_t>(format));
  return build_reparse_point(ReparseTag::Wof, bytes_of(head));
}

ReparseIndexKey reparse_index_key(uint32_t tag, FileReference file) {
  ReparseIndexKey key;
  key.tag.set(tag);
  key.file_reference.set(file.raw());
  return key;
}

std::string describe(const ReparsePointView& point) {
  std::string text = fmt::format("reparse point {:#010x} {} {} bytes", point.tag(),
                                 name_of_reparse_tag(point.tag()), point.data().size());
  if (point.tag() == ReparseTag::LxSymlink) {
    const auto target = lx_symlink_target(point);
    if (target) text += " -> " + *target;
  } else if (point.tag() == ReparseTag::Symlink || point.tag() == ReparseTag::MountPoint) {
    const auto link = windows_link(point);
    if (link) text += " -> " + to_display(link->substitute_name);
  }
  return text;
}

}  // namespace ntfs::ondisk
