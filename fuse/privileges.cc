#include "fuse/privileges.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/filesystem.h"

namespace ntfs::frontend {

namespace {

ssize_t receive(int device, void* buffer, size_t length, void*) {
  return ::read(device, buffer, length);
}

/// The first answer of all is that to INIT: its header, then fuse_init_out.
ssize_t send(int device, iovec* parts, int count, void* user_data) {
  auto& context = *static_cast<RequestContext*>(user_data);
  if (!context.is_init_answered) {
    context.is_init_answered = true;
    if (count == 2 && parts[1].iov_len >= offsetof(fuse_init_out, max_background)) {
      static_cast<fuse_init_out*>(parts[1].iov_base)->flags |= FUSE_HANDLE_KILLPRIV_V2;
    }
  }
  return ::writev(device, parts, count);
}

}  // namespace

Result<> promise_to_drop_privileges(fuse_session* session) {
  const fuse_custom_io channel{send, receive, nullptr, nullptr};
  if (fuse_session_custom_io(session, &channel, fuse_session_fd(session)) != 0) {
    return NtStatus::InsufficientResources;
  }
  return {};
}

mode_t mode_for_new_owner(mode_t mode) {
  if (S_ISDIR(mode)) return mode;
  mode &= ~mode_t{S_ISUID};
  // Without the group's right to execute, the bit gives nothing.
  return (mode & S_IXGRP) != 0 ? mode & ~mode_t{S_ISGID} : mode;
}

Result<> drop_privileges(Filesystem& filesystem, File& file, fuse_req_t request) {
  if (fuse_req_ctx(request)->uid == 0) return {};
  constexpr mode_t kPrivileges = S_ISUID | S_ISGID;
  const struct stat now = TRY(filesystem.attributes(file));
  if (!S_ISREG(now.st_mode) || (now.st_mode & kPrivileges) == 0) return {};
  BasicInformation information;
  information.linux_metadata.mode = now.st_mode & ~kPrivileges;
  return filesystem.set_information(file, information);
}

}  // namespace ntfs::frontend
