#include "fuse/reply.h"

#include <cerrno>
#include <cstring>

#include "core/base/assert.h"

namespace ntfs::frontend {

int errno_of(NtStatus status) {
  switch (status) {
    case NtStatus::Success:
    case NtStatus::EndOfFile:  // a read that finds nothing
    case NtStatus::NoMoreFiles:
      return 0;
    case NtStatus::NoMoreEntries:  // lseek past the last data
    case NtStatus::NoSuchDevice:
      return ENXIO;
    case NtStatus::BufferOverflow:
    case NtStatus::BufferTooSmall:
      return ERANGE;
    case NtStatus::InvalidHandle:
    case NtStatus::FileClosed:
      return EBADF;
    case NtStatus::InvalidParameter:
    case NtStatus::ObjectNameInvalid:
    case NtStatus::NotAReparsePoint:
    case NtStatus::IoReparseTagInvalid:
    case NtStatus::IoReparseDataInvalid:
    case NtStatus::UnrecognizedVolume:
      return EINVAL;
    case NtStatus::NoSuchFile:
    case NtStatus::ObjectNameNotFound:
    case NtStatus::ObjectPathNotFound:
    case NtStatus::DeletePending:
      return ENOENT;
    case NtStatus::NotImplemented:  // ENOSYS would make the kernel stop asking
    case NtStatus::InvalidDeviceRequest:
    case NtStatus::NotSupported:
      return EOPNOTSUPP;
    case NtStatus::AccessDenied:
    case NtStatus::FileLockConflict:
      return EACCES;
    case NtStatus::PrivilegeNotHeld:
    case NtStatus::CannotDelete:
      return EPERM;
    case NtStatus::ObjectNameCollision:
      return EEXIST;
    case NtStatus::SharingViolation:
      return EBUSY;
    case NtStatus::EaTooLarge:
    case NtStatus::DiskFull:
    case NtStatus::LogFileFull:
      return ENOSPC;
    case NtStatus::NonexistentEaEntry:
    case NtStatus::NoEasOnFile:
      return ENODATA;
    case NtStatus::IntegerOverflow:
      return EOVERFLOW;
    case NtStatus::InsufficientResources:
      return ENOMEM;
    case NtStatus::MediaWriteProtected:
      return EROFS;
    case NtStatus::FileIsADirectory:
      return EISDIR;
    case NtStatus::NotADirectory:
      return ENOTDIR;
    case NtStatus::NotSameDevice:
      return EXDEV;
    case NtStatus::DirectoryNotEmpty:
      return ENOTEMPTY;
    case NtStatus::NameTooLong:
      return ENAMETOOLONG;
    case NtStatus::Cancelled:
      return EINTR;
    case NtStatus::FileDeleted:
      return ESTALE;
    case NtStatus::TooManyLinks:
      return EMLINK;
    case NtStatus::VolumeDismounted:
      return ENODEV;
    case NtStatus::FileSystemLimitation:
    case NtStatus::FileTooLarge:
      return EFBIG;
    case NtStatus::Unsuccessful:
    case NtStatus::DiskCorruptError:
    case NtStatus::DataError:
    case NtStatus::CrcError:
    case NtStatus::EaCorruptError:
    case NtStatus::FileCorruptError:
    case NtStatus::IoDeviceError:
    case NtStatus::LogCorrupt:
      return EIO;
  }
  return EIO;
}

SystemError last_system_error() {
  const int error = errno;
  SystemError result;
  result.text = std::strerror(error);
  if (error == EBUSY) result.kind = SystemError::Kind::Busy;
  if (error == EINTR || error == EAGAIN) result.kind = SystemError::Kind::Interrupted;
  if (error == EPERM || error == EACCES) result.kind = SystemError::Kind::NotPermitted;
  if (error == ENOTCONN) result.kind = SystemError::Kind::NotConnected;
  return result;
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

void Reply::offset(uint64_t offset) { fuse_reply_lseek(take(), static_cast<off_t>(offset)); }

void Reply::statistics(const struct statvfs& statistics) { fuse_reply_statfs(take(), &statistics); }

void Reply::none() { fuse_reply_none(take()); }

}  // namespace ntfs::frontend
