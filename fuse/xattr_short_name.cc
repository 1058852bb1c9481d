// system.ntfs_dos_name: the short (8.3) name of a file, UTF-8, in capitals. Setting it gives the
// file one, in the place of the old one; removing leaves the long name alone.
// Source: ntfs-3g's documentation of extended attributes, "DOS names".

#include <array>

#include "core/ondisk/utf16.h"
#include "fuse/name_encoding.h"
#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

Result<ByteVector> get_name(const XattrTarget& target) {
  const auto name = target.filesystem.store().query_short_name(*target.file);
  if (!name && name.error() == NtStatus::ObjectNameNotFound) return NtStatus::NonexistentEaEntry;
  if (!name) return name.error();
  const std::string text = name_bytes(*name);
  const ByteView bytes = text_bytes(text);
  return ByteVector(bytes.begin(), bytes.end());
}

Result<> set_name(const XattrTarget& target, ByteView value) {
  if (value.empty()) return NtStatus::InvalidParameter;
  const std::string text(as_text(value));
  return target.filesystem.store().set_short_name(*target.file, TRY(name_from_kernel(text)));
}

Result<> remove_name(const XattrTarget& target) {
  return target.filesystem.store().set_short_name(*target.file, {});
}

constexpr std::array kNames = {
    SystemXattr{"system.ntfs_dos_name", get_name, set_name, remove_name},
};

}  // namespace

std::span<const SystemXattr> short_name_xattrs() { return kNames; }

}  // namespace ntfs::frontend
