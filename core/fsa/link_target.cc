#include "core/fsa/link_target.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/small_values.h"
#include "core/ondisk/name_encoding.h"
#include "core/ondisk/reparse_point.h"
#include "core/ondisk/utf16.h"
#include "core/store/attributes.h"

namespace ntfs {

using ondisk::FileAttributes;
using ondisk::ReparseTag;

FileKind kind_of(uint32_t reparse_tag, bool is_directory) {
  switch (reparse_tag) {
    case ReparseTag::LxFifo:
      return FileKind::Fifo;
    case ReparseTag::LxChr:
      return FileKind::CharacterDevice;
    case ReparseTag::LxBlk:
      return FileKind::BlockDevice;
    case ReparseTag::AfUnix:
      return FileKind::Socket;
    default:
      break;
  }
  // What stands for another file is a link, whoever follows it.
  if ((reparse_tag & ReparseTag::NameSurrogateBit) != 0) return FileKind::Symlink;
  return is_directory ? FileKind::Directory : FileKind::File;
}

Result<bool> is_directory(Volume& volume, FileReference file) {
  const PageRef page = TRY(volume.mft().base_record(file));
  const auto record = ondisk::FileRecordView::of_valid(page->bytes());
  if (!record.is_directory()) return false;
  const auto value = read_small_value(volume, file, ondisk::AttributeType::ReparsePoint);
  if (!value) {
    return value.error() == NtStatus::ObjectNameNotFound ? Result<bool>(true) : value.error();
  }
  const auto point = ondisk::ReparsePointView::parse(*value, {"reparse point", file.raw(), 0});
  return !point || kind_of(point->tag(), true) == FileKind::Directory;
}

namespace {

const FileReference kRoot(ondisk::kRootRecord, 5);
constexpr std::u16string_view kDrives = u".NTFS-3G";

/// A path in the words of Linux, and whether the volume has it, as far as that can be told.
struct Walk {
  std::string path;
  bool is_found = true;
};

/// Goes along `path`, which has backslashes, from `directory` on.
Result<Walk> walk(Volume& volume, FileReference directory, std::u16string_view path) {
  Walk result;
  bool is_known = true;  // `directory` is where the walk stands
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find(u'\\', at), path.size());
    std::u16string part(path.substr(at, end - at));
    at = end + 1;
    if (part.empty()) continue;
    if (is_known && part == u"..") {
      directory = TRY(parent_of(volume, directory));
    } else if (is_known && part != u".") {
      const auto entry = TRY(find_entry(volume, directory, part, IndexTree::NameMatch::IgnoreCase));
      if (entry) part = entry->name;
      const uint32_t attributes = entry ? entry->duplicated.file_attributes.get() : 0;
      const bool is_link = (attributes & FileAttributes::ReparsePoint) != 0;
      const bool is_directory = (attributes & FileAttributes::FileNameIndexPresent) != 0;
      // Behind a link, whoever follows it goes on.
      const bool is_end = at >= path.size();
      result.is_found = entry && (is_end || is_directory || is_link);
      is_known = result.is_found && is_directory && !is_link;
      if (is_known) directory = entry->reference;
    }
    if (!result.path.empty()) result.path += '/';
    result.path += ondisk::name_bytes(part);
  }
  return result;
}

bool is_drive(std::u16string_view name) {
  const auto letter = static_cast<char16_t>(name.size() < 2 ? 0 : name[0] | 0x20);
  return letter >= u'a' && letter <= u'z' && name[1] == u':' &&
         (name.size() == 2 || name[2] == u'\\');
}

std::string join(std::string_view root, std::string_view path) {
  return fmt::format("{}{}{}", root, path.empty() && !root.empty() ? "" : "/", path);
}

std::string append(std::string text, std::string_view path) {
  if (!path.empty()) text += fmt::format("/{}", path);
  return text;
}

/// The name under which the user says where a drive is, if he does.
Result<std::optional<std::u16string>> find_drive(Volume& volume, std::u16string_view drive) {
  std::optional<std::u16string> name;
  const auto drives = TRY(find_entry(volume, kRoot, kDrives, IndexTree::NameMatch::Exact));
  if (!drives) return name;
  const auto found = find_entry(volume, drives->reference, drive, IndexTree::NameMatch::IgnoreCase);
  if (found && found->has_value()) name = (*found)->name;
  return name;
}

std::string with_slashes(std::u16string_view path) {
  std::u16string text(path);
  std::replace(text.begin(), text.end(), u'\\', u'/');
  return ondisk::name_bytes(text);
}

/// Where the user is asked to say where another drive or volume is.
std::string place_of(std::string_view root, std::u16string_view drive) {
  return join(root, append(ondisk::name_bytes(kDrives), with_slashes(drive)));
}

Result<std::string> target_on_drive(Volume& volume, std::string_view root,
                                    std::u16string_view target) {
  const std::u16string_view drive = target.substr(0, 2);
  const std::u16string_view path = target.substr(std::min<size_t>(3, target.size()));
  const auto elsewhere = TRY(find_drive(volume, drive));
  if (elsewhere) return append(place_of(root, *elsewhere), with_slashes(path));
  const Walk found = TRY(walk(volume, kRoot, path));
  // The root alone is no sign of this volume: all have one.
  if (found.is_found && !found.path.empty()) return join(root, found.path);
  return append(place_of(root, drive), found.path);
}

Result<std::string> target_of_windows(Volume& volume, std::string_view root, FileReference link,
                                      const ondisk::WindowsLink& windows) {
  std::u16string_view target = windows.substitute_name;
  while (target.ends_with(u'\\')) target.remove_suffix(1);
  const bool is_relative = windows.is_relative;
  for (const std::u16string_view prefix : {u"\\??\\", u"\\\\?\\"}) {
    if (!is_relative && target.starts_with(prefix)) {
      target.remove_prefix(prefix.size());
      break;
    }
  }
  if (is_drive(target)) return target_on_drive(volume, root, target);
  if (target.starts_with(u"Volume{")) return place_of(root, target);
  const bool is_from_root = target.starts_with(u'\\') && !target.starts_with(u"\\\\");
  if (is_from_root) {
    const Walk found = TRY(walk(volume, kRoot, target));
    return join(root, found.path);
  }
  // One that was removed is in no directory.
  const auto parent = parent_of(volume, link);
  if (is_relative && parent && !target.starts_with(u'\\')) {
    const Walk found = TRY(walk(volume, *parent, target));
    return found.path;
  }
  return ondisk::name_bytes(windows.substitute_name);
}

}  // namespace

Result<std::string> link_target(Volume& volume, std::string_view root, FileReference link,
                                ByteView reparse_value) {
  const auto point =
      TRY(ondisk::ReparsePointView::parse(reparse_value, {"reparse point", link.raw(), 0}));
  if (!point.is_name_surrogate()) return NtStatus::IoReparseTagInvalid;
  Result<std::string> target = NtStatus::IoReparseTagInvalid;
  if (point.tag() == ReparseTag::LxSymlink) {
    target = ondisk::lx_symlink_target(point);
  } else if (point.tag() == ReparseTag::Symlink || point.tag() == ReparseTag::MountPoint) {
    const auto windows = ondisk::windows_link(point);
    if (windows) target = target_of_windows(volume, root, link, *windows);
  }
  if (target && !target->empty()) return target;
  return fmt::format("unsupported reparse tag {:#010x}", point.tag());
}

namespace {

constexpr std::string_view kInterixLink("IntxLNK\1", 8);
constexpr std::string_view kInterixCharacterDevice("IntxCHR\0", 8);
constexpr std::string_view kInterixBlockDevice("IntxBLK\0", 8);

/// Behind the eight bytes that say so.
struct InterixDevice {
  le64 major;
  le64 minor;
};
static_assert(sizeof(InterixDevice) == 16 && alignof(InterixDevice) == 1);

}  // namespace

InterixFile interix_file(ByteView data, uint32_t file_attributes) {
  InterixFile file;
  if (data.size() <= 1) {
    const bool is_hidden = (file_attributes & FileAttributes::Hidden) != 0;
    if (!is_hidden) file.kind = data.empty() ? FileKind::Fifo : FileKind::Socket;
    return file;
  }
  const std::string_view head = as_text(data.first(std::min<size_t>(data.size(), 8)));
  const ByteView rest = data.subspan(head.size());
  if (head == kInterixLink && rest.size() >= sizeof(char16_t) && data.size() <= kMostInterixBytes) {
    std::u16string target = ondisk::utf16_from(rest.first(align_down(rest.size(), 2)));
    target.resize(std::min(target.find(u'\0'), target.size()));
    file.target = ondisk::name_bytes(target);
    if (!file.target.empty()) file.kind = FileKind::Symlink;
    return file;
  }
  const bool is_character = head == kInterixCharacterDevice;
  if ((is_character || head == kInterixBlockDevice) && rest.size() == sizeof(InterixDevice)) {
    const auto& device = struct_at<InterixDevice>(rest);
    file.kind = is_character ? FileKind::CharacterDevice : FileKind::BlockDevice;
    file.device = (device.major.get() & 0xFFFFFFFF) | device.minor.get() << 32;
  }
  return file;
}

}  // namespace ntfs
