#include "fuse/privileges.h"

#include "fuse/filesystem.h"

namespace ntfs::frontend {

mode_t mode_for_new_owner(mode_t mode) {
  if (S_ISDIR(mode)) return mode;
  mode &= ~mode_t{S_ISUID};
  // Without the group's right to execute, the bit gives nothing.
  return (mode & S_IXGRP) != 0 ? mode & ~mode_t{S_ISGID} : mode;
}

namespace {

/// Whoever writes. Elsewhere, the kernel removes them itself.
Result<> drop_capabilities(ObjectStore& store, File& file) {
  constexpr std::string_view kName = "security.capability";
  if (!TRY(store.query_information(file)).has_eas) return {};
  const auto value = store.query_ea(file, kName);
  if (!value && value.error() == NtStatus::NonexistentEaEntry) return {};
  if (!value) return value.error();
  return store.remove_ea(file, kName);
}

}  // namespace

Result<> drop_privileges(Filesystem& filesystem, File& file, fuse_req_t request) {
  TRY(drop_capabilities(filesystem.store(), file));
  if (fuse_req_ctx(request)->uid == 0) return {};
  constexpr mode_t kPrivileges = S_ISUID | S_ISGID;
  const struct stat now = TRY(filesystem.attributes(file));
  if (!S_ISREG(now.st_mode) || (now.st_mode & kPrivileges) == 0) return {};
  BasicInformation information;
  information.linux_metadata.mode = now.st_mode & ~kPrivileges;
  TRY(filesystem.set_information(file, information));
  // The kernel goes by the mode that it knows.
  filesystem.kernel_cache().drop_attributes(node_of(file.reference()));
  return {};
}

}  // namespace ntfs::frontend
