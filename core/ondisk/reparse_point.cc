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
constexpr TagName kTagNames[] = {
    {ReparseTag::MountPoint, "MOUNT_POINT"},
    {ReparseTag::Hsm, "HSM"},
    {ReparseTag::Dedup, "DEDUP"},
    {ReparseTag::Symlink, "SYMLINK"},
    {ReparseTag::Wof, "WOF"},
    {ReparseTag::LxSymlink, "LX_SYMLINK"},
    {ReparseTag::AfUnix, "AF_UNIX"},
    {ReparseTag::LxFifo, "LX_FIFO"},
    {ReparseTag::LxChr, "LX_CHR"},
    {ReparseTag::LxBlk, "LX_BLK"},
};

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
  const auto* const found = std::find_if(std::begin(kTagNames), std::end(kTagNames),
                                         [tag](const TagName& entry) { return entry.tag == tag; });
  return found != std::end(kTagNames) ? found->name : "?";
}

Result<ReparsePointView> ReparsePointView::parse(ByteView value, const Origin& origin) {
  const auto* header = view_as<ReparseHeader>(value).value_or(nullptr);
  if (header == nullptr || value.size() > kMaxReparsePointBytes) {
    return corrupt(origin, "reparse point length", value.size());
  }
  const uint32_t tag = header->tag.get();
  const bool has_guid = (tag & ReparseTag::MicrosoftBit) == 0;
  const size_t data_offset = sizeof(ReparseHeader) + (has_guid ? kReparseGuidBytes : 0);
  const auto data = slice(value, data_offset, header->data_length.get());
  if (!data) return corrupt(origin, "reparse data length", header->data_length.get());
  return ReparsePointView(tag, *data);
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
