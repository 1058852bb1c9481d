// Security, in the formats of the other drivers.
//
// system.ntfs_acl and system.ntfs_security: the file's security descriptor, self-relative, whole.
// Source: ntfs-3g's documentation of extended attributes, "NTFS ACLs"; Linux, fs/ntfs3/xattr.c.

#include <array>

#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

Result<ByteVector> get_descriptor(const XattrTarget& target) {
  auto bytes = target.filesystem.store().query_security(*target.file, SecurityInformation::All);
  if (!bytes && bytes.error() == NtStatus::ObjectNameNotFound) return NtStatus::NonexistentEaEntry;
  return bytes;
}

Result<> set_descriptor(const XattrTarget& target, ByteView value) {
  TRY(target.filesystem.store().set_security(*target.file, SecurityInformation::All, value));
  // With a user mapping, owner and mode come from it.
  if (target.filesystem.options().user_mapping) {
    target.filesystem.kernel_cache().drop_attributes(node_of(target.file->reference()));
  }
  return {};
}

constexpr std::array kNames = {
    SystemXattr{"system.ntfs_acl", get_descriptor, set_descriptor},
    SystemXattr{"system.ntfs_security", get_descriptor, set_descriptor},
};

}  // namespace

std::span<const SystemXattr> security_xattrs() { return kNames; }

}  // namespace ntfs::frontend
