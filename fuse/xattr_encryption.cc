// system.ntfs_efsinfo: the keys of an encrypted file, as its attribute $EFS has them. Without the
// user's certificate nobody can read the file with them, so it is told and cannot be set.
// Source: ntfs-3g's documentation of extended attributes, "Encrypted Files".

#include <array>

#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

Result<ByteVector> get_efs_information(const XattrTarget& target) {
  auto value = target.filesystem.store().query_encryption(*target.file);
  const bool is_missing = !value && value.error() == NtStatus::ObjectNameNotFound;
  return is_missing ? NtStatus::NonexistentEaEntry : std::move(value);
}

constexpr std::array kNames = {SystemXattr{"system.ntfs_efsinfo", get_efs_information}};

}  // namespace

std::span<const SystemXattr> encryption_xattrs() { return kNames; }

}  // namespace ntfs::frontend
