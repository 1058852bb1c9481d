#include "fuse/reply.h"

#include <array>
#include <cerrno>
#include <cstring>

#include "core/base/assert.h"

namespace ntfs::frontend {

namespace {

struct StatusErrno {
  NtStatus status;
  int error;
};

/// What is not listed is EIO: damage, and failures of the device.
constexpr std::array kErrnoTable = {
    StatusErrno{NtStatus::Success, 0},
    StatusErrno{NtStatus::EndOfFile, 0},  // a read that finds nothing
    StatusErrno{NtStatus::NoMoreFiles, 0},
    StatusErrno{NtStatus::NoMoreEntries, ENXIO},  // lseek past the last data
    StatusErrno{NtStatus::NoSuchDevice, ENXIO},
    StatusErrno{NtStatus::BufferOverflow, E2BIG},  // no buffer has room for it
    StatusErrno{NtStatus::BufferTooSmall, ERANGE},
    StatusErrno{NtStatus::InvalidHandle, EBADF},
    StatusErrno{NtStatus::FileClosed, EBADF},
    StatusErrno{NtStatus::InvalidParameter, EINVAL},
    StatusErrno{NtStatus::ObjectNameInvalid, EINVAL},
    StatusErrno{NtStatus::NotAReparsePoint, EINVAL},
    StatusErrno{NtStatus::IoReparseTagInvalid, EINVAL},
    StatusErrno{NtStatus::IoReparseTagMismatch, EINVAL},
    StatusErrno{NtStatus::IoReparseDataInvalid, EINVAL},
    StatusErrno{NtStatus::ReparseAttributeConflict, EINVAL},
    StatusErrno{NtStatus::UnrecognizedVolume, EINVAL},
    StatusErrno{NtStatus::NoSuchFile, ENOENT},
    StatusErrno{NtStatus::ObjectNameNotFound, ENOENT},
    StatusErrno{NtStatus::InvalidOwner, EINVAL},
    StatusErrno{NtStatus::InvalidSecurityDescr, EINVAL},
    StatusErrno{NtStatus::ObjectPathNotFound, ENOENT},
    StatusErrno{NtStatus::DeletePending, ENOENT},
    StatusErrno{NtStatus::JournalNotActive, ENOENT},
    StatusErrno{NtStatus::NotImplemented, EOPNOTSUPP},  // ENOSYS would make the kernel stop asking
    StatusErrno{NtStatus::InvalidDeviceRequest, EOPNOTSUPP},
    StatusErrno{NtStatus::NotSupported, EOPNOTSUPP},
    StatusErrno{NtStatus::EasNotSupported, EOPNOTSUPP},
    StatusErrno{NtStatus::IoReparseTagNotHandled, EOPNOTSUPP},
    StatusErrno{NtStatus::AccessDenied, EACCES},
    StatusErrno{NtStatus::FileLockConflict, EACCES},
    StatusErrno{NtStatus::LockNotGranted, EAGAIN},
    StatusErrno{NtStatus::InvalidLockRange, EINVAL},
    StatusErrno{NtStatus::PrivilegeNotHeld, EPERM},
    StatusErrno{NtStatus::CannotDelete, EPERM},
    StatusErrno{NtStatus::ObjectNameCollision, EEXIST},
    StatusErrno{NtStatus::DuplicateName, EEXIST},
    StatusErrno{NtStatus::SharingViolation, EBUSY},
    StatusErrno{NtStatus::JournalDeleteInProgress, EBUSY},
    StatusErrno{NtStatus::EaTooLarge, ENOSPC},
    StatusErrno{NtStatus::DiskFull, ENOSPC},
    StatusErrno{NtStatus::LogFileFull, ENOSPC},
    StatusErrno{NtStatus::NonexistentEaEntry, ENODATA},
    StatusErrno{NtStatus::NoEasOnFile, ENODATA},
    StatusErrno{NtStatus::ObjectIdNotFound, ENODATA},
    StatusErrno{NtStatus::IntegerOverflow, EOVERFLOW},
    StatusErrno{NtStatus::InsufficientResources, ENOMEM},
    StatusErrno{NtStatus::MediaWriteProtected, EROFS},
    StatusErrno{NtStatus::FileIsADirectory, EISDIR},
    StatusErrno{NtStatus::NotADirectory, ENOTDIR},
    StatusErrno{NtStatus::NotSameDevice, EXDEV},
    StatusErrno{NtStatus::DirectoryNotEmpty, ENOTEMPTY},
    StatusErrno{NtStatus::NameTooLong, ENAMETOOLONG},
    StatusErrno{NtStatus::Cancelled, EINTR},
    StatusErrno{NtStatus::FileDeleted, ESTALE},
    StatusErrno{NtStatus::JournalEntryDeleted, ESTALE},
    StatusErrno{NtStatus::TooManyLinks, EMLINK},
    StatusErrno{NtStatus::VolumeDismounted, ENODEV},
    StatusErrno{NtStatus::FileSystemLimitation, EFBIG},
    StatusErrno{NtStatus::FileTooLarge, EFBIG},
};

}  // namespace

int errno_of(NtStatus status) {
  for (const StatusErrno& row : kErrnoTable) {
    if (row.status == status) return row.error;
  }
  return EIO;
}

SystemError system_error_of(int error) {
  SystemError result;
  if (error == 0) {
    result.kind = SystemError::Kind::None;
    return result;
  }
  result.text = std::strerror(error);
  if (error == EBUSY) result.kind = SystemError::Kind::Busy;
  if (error == EINTR || error == EAGAIN) result.kind = SystemError::Kind::Interrupted;
  if (error == EPERM || error == EACCES) result.kind = SystemError::Kind::NotPermitted;
  if (error == ENOTCONN) result.kind = SystemError::Kind::NotConnected;
  return result;
}

SystemError last_system_error() { return system_error_of(errno); }

NtStatus last_control_status() {
  const int error = errno;
  switch (error) {
    case ENOENT:
      return NtStatus::JournalNotActive;
    case EBUSY:
      return NtStatus::JournalDeleteInProgress;
    case ESTALE:
      return NtStatus::JournalEntryDeleted;
    case EINTR:
      return NtStatus::Cancelled;
    case ENODEV:
    case ENOTCONN:
    case ECONNABORTED:
      return NtStatus::VolumeDismounted;
    case ENOTTY:
      return NtStatus::InvalidDeviceRequest;
    default:
      break;
  }
  for (const StatusErrno& row : kErrnoTable) {
    if (row.error == error) return row.status;
  }
  return NtStatus::IoDeviceError;
}

Reply::~Reply() {
  if (request_ != nullptr) fuse_reply_err(request_, EIO);
}

void Reply::status(NtStatus status) { fuse_reply_err(take(), errno_of(status)); }

bool Reply::entry(const fuse_entry_param& entry) { return fuse_reply_entry(take(), &entry) == 0; }

bool Reply::create(const fuse_entry_param& entry, const fuse_file_info& info) {
  return fuse_reply_create(take(), &entry, &info) == 0;
}

bool Reply::open(const fuse_file_info& info) { return fuse_reply_open(take(), &info) == 0; }

void Reply::attributes(const struct stat& attributes, double timeout_seconds) {
  fuse_reply_attr(take(), &attributes, timeout_seconds);
}

void Reply::readlink(const std::string& target) { fuse_reply_readlink(take(), target.c_str()); }

bool Reply::bytes(ByteView bytes) {
  return fuse_reply_buf(take(), as_text(bytes).data(), bytes.size()) == 0;
}

void Reply::written(size_t count_bytes) { fuse_reply_write(take(), count_bytes); }

void Reply::size(size_t count_bytes) { fuse_reply_xattr(take(), count_bytes); }

void Reply::control(ByteView bytes) {
  fuse_reply_ioctl(take(), static_cast<int>(bytes.size()), bytes.data(), bytes.size());
}

void Reply::filled(ByteView bytes) { fuse_reply_ioctl(take(), 0, bytes.data(), bytes.size()); }

void Reply::unknown_control() { fuse_reply_err(take(), ENOTTY); }

void Reply::offset(uint64_t offset) { fuse_reply_lseek(take(), static_cast<off_t>(offset)); }

void Reply::lock(const struct flock& lock) { fuse_reply_lock(take(), &lock); }

void Reply::statistics(const struct statvfs& statistics) { fuse_reply_statfs(take(), &statistics); }

void Reply::none() { fuse_reply_none(take()); }

}  // namespace ntfs::frontend
