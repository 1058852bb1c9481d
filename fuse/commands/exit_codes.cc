#include "fuse/commands/exit_codes.h"

namespace ntfs::frontend {

int exit_code_of(NtStatus status) {
  switch (status) {
    case NtStatus::Success:
      return kExitSuccess;
    case NtStatus::ObjectNameNotFound:
    case NtStatus::ObjectPathNotFound:
    case NtStatus::NoSuchDevice:
    case NtStatus::NotADirectory:
    case NtStatus::FileIsADirectory:
    case NtStatus::InvalidDeviceRequest:
    case NtStatus::JournalNotActive:
      return kExitNoInput;
    case NtStatus::AccessDenied:
    case NtStatus::MediaWriteProtected:
      return kExitNoPermission;
    case NtStatus::SharingViolation:
    case NtStatus::JournalDeleteInProgress:
      return kExitInUse;
    case NtStatus::InvalidParameter:
    case NtStatus::NameTooLong:
      return kExitUsage;
    case NtStatus::NotSupported:
      return kExitUnavailable;
    case NtStatus::IoDeviceError:
    case NtStatus::VolumeDismounted:
      return kExitIo;
    case NtStatus::ObjectNameCollision:
    case NtStatus::DiskFull:
    case NtStatus::FileTooLarge:
      return kExitCannotCreate;
    default:
      return kExitData;
  }
}

}  // namespace ntfs::frontend
