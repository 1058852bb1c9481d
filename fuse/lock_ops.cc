#include "fuse/lock_ops.h"

#include <fcntl.h>
#include <sys/file.h>

#include "fuse/filesystem.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

using Kind = ByteRangeLock::Kind;
using Mode = ByteRangeLock::Mode;

constexpr uint64_t kWholeFile = uint64_t{1} << 63;

/// fcntl(2): a length of 0 means to the end, wherever it is.
LockParameters parameters_of(const struct flock& lock, const fuse_file_info& info) {
  LockParameters parameters;
  parameters.offset = static_cast<uint64_t>(lock.l_start);
  const auto length = static_cast<uint64_t>(lock.l_len);
  parameters.length = length != 0 ? length : kWholeFile - parameters.offset;
  parameters.mode = lock.l_type == F_WRLCK ? Mode::Exclusive : Mode::Shared;
  parameters.key = info.lock_owner;
  parameters.kind = Kind::Linux;
  parameters.process = static_cast<uint32_t>(lock.l_pid);
  return parameters;
}

void on_getlk(fuse_req_t request, fuse_ino_t, fuse_file_info* info, struct flock* lock) {
  const auto against =
      filesystem_of(request).store().query_lock(open_of(info), parameters_of(*lock, *info));
  if (!against) return Reply(request).status(against.error());
  lock->l_whence = SEEK_SET;
  if (!*against) {
    lock->l_type = F_UNLCK;
  } else {
    const ByteRangeLock& held = **against;
    lock->l_type = held.mode == Mode::Exclusive ? F_WRLCK : F_RDLCK;
    lock->l_start = static_cast<off_t>(held.offset);
    const bool is_to_end = held.offset + held.length >= kWholeFile;
    lock->l_len = is_to_end ? 0 : static_cast<off_t>(held.length);
    lock->l_pid = static_cast<pid_t>(held.process);
  }
  Reply(request).lock(*lock);
}

void set_lock(fuse_req_t request, Open& open, const LockParameters& wanted, bool may_wait) {
  Filesystem& filesystem = filesystem_of(request);
  if (may_wait) return filesystem.waiting_locks().lock(request, open, wanted);
  Reply(request).result(filesystem.store().lock(open, wanted, nullptr));
}

void on_setlk(fuse_req_t request, fuse_ino_t, fuse_file_info* info, struct flock* lock,
              int may_wait) {
  const LockParameters parameters = parameters_of(*lock, *info);
  if (lock->l_type != F_UNLCK) return set_lock(request, open_of(info), parameters, may_wait != 0);
  Reply(request).result(filesystem_of(request).store().unlock(open_of(info), parameters));
}

/// A lock of the whole file, whose owner is the open file and not the process.
void on_flock(fuse_req_t request, fuse_ino_t, fuse_file_info* info, int operation) {
  LockParameters parameters;
  parameters.length = kWholeFile;
  parameters.mode = (operation & LOCK_EX) != 0 ? Mode::Exclusive : Mode::Shared;
  parameters.key = info->lock_owner;
  parameters.kind = Kind::Linux;
  if ((operation & LOCK_UN) == 0) {
    return set_lock(request, open_of(info), parameters, (operation & LOCK_NB) == 0);
  }
  Reply(request).result(filesystem_of(request).store().unlock(open_of(info), parameters));
}

/// close(2) by a process gives back all that it holds of the file.
void on_flush(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  LockParameters all;
  all.length = kWholeFile;
  all.key = info->lock_owner;
  all.kind = Kind::Linux;
  Reply(request).result(filesystem_of(request).store().unlock(open_of(info), all));
}

}  // namespace

void add_lock_operations(fuse_lowlevel_ops& operations) {
  operations.getlk = on_getlk;
  operations.setlk = on_setlk;
  operations.flock = on_flock;
  operations.flush = on_flush;
}

}  // namespace ntfs::frontend
