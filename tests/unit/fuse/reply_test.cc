#include "fuse/reply.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace ntfs::frontend {
namespace {

TEST(Reply, GivesTheErrnoThatLinuxExpects) {
  const std::pair<NtStatus, int> table[] = {
      {NtStatus::Success, 0},
      {NtStatus::EndOfFile, 0},
      {NtStatus::NoMoreEntries, ENXIO},
      {NtStatus::BufferOverflow, E2BIG},
      {NtStatus::NotImplemented, EOPNOTSUPP},
      {NtStatus::InvalidHandle, EBADF},
      {NtStatus::InvalidParameter, EINVAL},
      {NtStatus::NoSuchFile, ENOENT},
      {NtStatus::InvalidDeviceRequest, EOPNOTSUPP},
      {NtStatus::AccessDenied, EACCES},
      {NtStatus::DiskCorruptError, EIO},
      {NtStatus::ObjectNameInvalid, EINVAL},
      {NtStatus::ObjectNameNotFound, ENOENT},
      {NtStatus::ObjectNameCollision, EEXIST},
      {NtStatus::ObjectPathNotFound, ENOENT},
      {NtStatus::SharingViolation, EBUSY},
      {NtStatus::EaTooLarge, ENOSPC},
      {NtStatus::NonexistentEaEntry, ENODATA},
      {NtStatus::FileLockConflict, EACCES},
      {NtStatus::PrivilegeNotHeld, EPERM},
      {NtStatus::DiskFull, ENOSPC},
      {NtStatus::IntegerOverflow, EOVERFLOW},
      {NtStatus::InsufficientResources, ENOMEM},
      {NtStatus::MediaWriteProtected, EROFS},
      {NtStatus::FileIsADirectory, EISDIR},
      {NtStatus::NotSupported, EOPNOTSUPP},
      {NtStatus::NotSameDevice, EXDEV},
      {NtStatus::DirectoryNotEmpty, ENOTEMPTY},
      {NtStatus::FileCorruptError, EIO},
      {NtStatus::NotADirectory, ENOTDIR},
      {NtStatus::NameTooLong, ENAMETOOLONG},
      {NtStatus::Cancelled, EINTR},
      {NtStatus::CannotDelete, EPERM},
      {NtStatus::FileDeleted, ESTALE},
      {NtStatus::FileClosed, EBADF},
      {NtStatus::IoDeviceError, EIO},
      {NtStatus::LogFileFull, ENOSPC},
      {NtStatus::TooManyLinks, EMLINK},
      {NtStatus::VolumeDismounted, ENODEV},
      {NtStatus::NotAReparsePoint, EINVAL},
      {NtStatus::IoReparseTagMismatch, EINVAL},
      {NtStatus::ReparseAttributeConflict, EINVAL},
      {NtStatus::EasNotSupported, EOPNOTSUPP},
      {NtStatus::IoReparseTagNotHandled, EOPNOTSUPP},
      {NtStatus::FileSystemLimitation, EFBIG},
      {NtStatus::FileTooLarge, EFBIG},
      {NtStatus::LogCorrupt, EIO},
  };
  for (const auto& [status, expected] : table) {
    EXPECT_EQ(errno_of(status), expected) << name_of(status);
  }
}

TEST(Reply, NeverGivesEnosys) {
  // The kernel would never send such a request again.
  for (uint32_t code = 0; code < 0x1000; ++code) {
    EXPECT_NE(errno_of(static_cast<NtStatus>(0xC0000000u + code)), ENOSYS);
  }
}

TEST(Reply, GivesEioForStatusesThatItDoesNotKnow) {
  EXPECT_EQ(errno_of(static_cast<NtStatus>(0xC0FFEE00u)), EIO);
}

}  // namespace
}  // namespace ntfs::frontend
