#include "fuse/privileges.h"

#include <algorithm>
#include <array>
#include <span>

#include "fuse/filesystem.h"

namespace ntfs::frontend {

mode_t mode_without_privileges(mode_t mode) {
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
  const struct stat now = TRY(filesystem.attributes(file));
  const mode_t left = mode_without_privileges(now.st_mode);
  if (!S_ISREG(now.st_mode) || left == now.st_mode) return {};
  BasicInformation information;
  information.linux_metadata.mode = left;
  TRY(filesystem.set_information(file, information));
  // The kernel goes by the mode that it knows.
  filesystem.kernel_cache().drop_attributes(node_of(file.reference()));
  return {};
}

bool is_in_group(fuse_req_t request, gid_t group) {
  const fuse_ctx* caller = fuse_req_ctx(request);
  if (caller->uid == 0 || caller->gid == group) return true;
  std::array<gid_t, 64> groups{};
  const int count = fuse_req_getgroups(request, groups.size(), groups.data());
  const auto known = std::span(groups).first(std::clamp<size_t>(count < 0 ? 0 : count, 0, 64));
  return std::ranges::find(known, group) != known.end();
}

Result<> check_may_write(Filesystem& filesystem, File& file, fuse_req_t request) {
  const uint32_t uid = fuse_req_ctx(request)->uid;
  if (!filesystem.options().check_permissions || uid == 0) return {};
  const struct stat now = TRY(filesystem.attributes(file));
  mode_t needed = S_IWOTH;
  if (now.st_uid == uid) {
    needed = S_IWUSR;
  } else if (PosixAcls* acls = filesystem.posix_acls();
             acls != nullptr && TRY(acls->find(file, PosixAcls::Which::Access))) {
    return NtStatus::AccessDenied;
  } else if (is_in_group(request, now.st_gid)) {
    needed = S_IWGRP;
  }
  return (now.st_mode & needed) != 0 ? Result<>() : NtStatus::AccessDenied;
}

}  // namespace ntfs::frontend
