// POSIX access control lists, in the kernel's format, which is that of the volume, too
// (posix_acls.h). Source: acl(5); Linux, include/uapi/linux/posix_acl_xattr.h.

#include "fuse/privileges.h"
#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

using Which = PosixAcls::Which;

template <Which kWhich>
Result<ByteVector> get(const XattrTarget& target) {
  PosixAcls* acls = target.filesystem.posix_acls();
  if (acls == nullptr) return NtStatus::NotSupported;
  const auto acl = TRY(acls->find(*target.file, kWhich));
  return acl ? Result<ByteVector>(acl->build()) : NtStatus::NonexistentEaEntry;
}

Result<> set_access(const XattrTarget& target, ByteView value) {
  const auto acl = PosixAcl::parse(value);
  if (!acl) return NtStatus::InvalidParameter;
  constexpr mode_t kPermissions = 0777;
  const struct stat now = TRY(target.filesystem.attributes(*target.file));
  mode_t kept = now.st_mode & ~kPermissions;
  // As chmod(2): the bit is for members of the group to give.
  if (!is_in_group(target.request, now.st_gid)) kept &= ~mode_t{S_ISGID};
  BasicInformation information;
  information.linux_metadata.mode = kept | acl->mode();
  information.eas.push_back(
      PosixAcls::change_of(Which::Access, acl->is_mode() ? std::nullopt : acl));
  return target.filesystem.store().set_basic_information(*target.file, information);
}

Result<> set_default(const XattrTarget& target, ByteView value) {
  const auto acl = PosixAcl::parse(value);
  if (!acl) return NtStatus::InvalidParameter;
  const struct stat now = TRY(target.filesystem.attributes(*target.file));
  if (!S_ISDIR(now.st_mode)) return NtStatus::AccessDenied;
  BasicInformation information;
  information.eas.push_back(PosixAcls::change_of(Which::Default, acl));
  return target.filesystem.store().set_basic_information(*target.file, information);
}

template <SystemXattr::Set kSet>
Result<> set(const XattrTarget& target, ByteView value) {
  return target.filesystem.posix_acls() != nullptr ? kSet(target, value) : NtStatus::NotSupported;
}

template <Which kWhich>
Result<> remove(const XattrTarget& target) {
  if (target.filesystem.posix_acls() == nullptr) return NtStatus::NotSupported;
  BasicInformation information;
  information.eas.push_back(PosixAcls::change_of(kWhich, std::nullopt));
  return target.filesystem.store().set_basic_information(*target.file, information);
}

constexpr auto kListed = SystemXattr::Listed::WhereItHasAValue;
constexpr auto kSucceeds = SystemXattr::RemoveOfNone::Succeeds;  // an empty list is none, too
constexpr std::array kNames = {
    SystemXattr{PosixAcls::name_of(Which::Access), get<Which::Access>, set<set_access>,
                remove<Which::Access>, kListed, kSucceeds},
    SystemXattr{PosixAcls::name_of(Which::Default), get<Which::Default>, set<set_default>,
                remove<Which::Default>, kListed, kSucceeds},
};

}  // namespace

std::span<const SystemXattr> posix_acl_xattrs() { return kNames; }

}  // namespace ntfs::frontend
