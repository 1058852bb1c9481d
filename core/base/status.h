#pragma once

// The NTSTATUS codes that this program returns, with their documented names and values.
// Source: MS-ERREF 2.3.1 "NTSTATUS Values"; the subset is that of MS-FSA plus what the tools need.

#include <cstdint>
#include <string_view>

namespace ntfs {

enum class NtStatus : uint32_t {
  Success = 0x00000000,
  Pending = 0x00000103,
  OplockSwitchedToNewHandle = 0x00000215,
  OplockHandleClosed = 0x00000216,
  LogNoRestart = 0x401A000C,
  BufferOverflow = 0x80000005,
  NoMoreFiles = 0x80000006,
  DeviceBusy = 0x80000011,
  NoMoreEntries = 0x8000001A,
  CannotGrantRequestedOplock = 0x8000002E,
  Unsuccessful = 0xC0000001,
  NotImplemented = 0xC0000002,
  InvalidHandle = 0xC0000008,
  InvalidParameter = 0xC000000D,
  NoSuchDevice = 0xC000000E,
  NoSuchFile = 0xC000000F,
  InvalidDeviceRequest = 0xC0000010,
  EndOfFile = 0xC0000011,
  AccessDenied = 0xC0000022,
  BufferTooSmall = 0xC0000023,
  DiskCorruptError = 0xC0000032,
  ObjectNameInvalid = 0xC0000033,
  ObjectNameNotFound = 0xC0000034,
  ObjectNameCollision = 0xC0000035,
  ObjectPathNotFound = 0xC000003A,
  DataError = 0xC000003E,
  CrcError = 0xC000003F,
  SharingViolation = 0xC0000043,
  EaTooLarge = 0xC0000050,
  NonexistentEaEntry = 0xC0000051,
  NoEasOnFile = 0xC0000052,
  EaCorruptError = 0xC0000053,
  FileLockConflict = 0xC0000054,
  LockNotGranted = 0xC0000055,
  DeletePending = 0xC0000056,
  PrivilegeNotHeld = 0xC0000061,
  RangeNotLocked = 0xC000007E,
  DiskFull = 0xC000007F,
  IntegerOverflow = 0xC0000095,
  InsufficientResources = 0xC000009A,
  MediaWriteProtected = 0xC00000A2,
  FileIsADirectory = 0xC00000BA,
  NotSupported = 0xC00000BB,
  NotSameDevice = 0xC00000D4,
  OplockNotGranted = 0xC00000E2,
  InvalidOplockProtocol = 0xC00000E3,
  DirectoryNotEmpty = 0xC0000101,
  FileCorruptError = 0xC0000102,
  NotADirectory = 0xC0000103,
  NameTooLong = 0xC0000106,
  Cancelled = 0xC0000120,
  CannotDelete = 0xC0000121,
  FileDeleted = 0xC0000123,
  FileClosed = 0xC0000128,
  UnrecognizedVolume = 0xC000014F,
  IoDeviceError = 0xC0000185,
  LogFileFull = 0xC0000188,
  InvalidLockRange = 0xC00001A1,
  TooManyLinks = 0xC0000265,
  VolumeDismounted = 0xC000026E,
  NotAReparsePoint = 0xC0000275,
  IoReparseTagInvalid = 0xC0000276,
  IoReparseDataInvalid = 0xC0000278,
  FileSystemLimitation = 0xC0000427,
  FileTooLarge = 0xC0000904,
  LogBlockIncomplete = 0xC01A0004,
  LogBlocksExhausted = 0xC01A0006,
  LogBlockInvalid = 0xC01A000A,
  LogCorrupt = 0xC01A000D,  // STATUS_LOG_METADATA_CORRUPT
  LogReservationInvalid = 0xC01A0010,
  LogStartOfLog = 0xC01A0013,
  LogRecordNonexistent = 0xC01A0019,
  LogRecordsReservedInvalid = 0xC01A001A,
  LogSpaceReservedInvalid = 0xC01A001B,
  LogTailInvalid = 0xC01A001C,
  LogFullHandlerInProgress = 0xC01A0026,
  LogAppendedFlushFailed = 0xC01A002F,
};

/// The documented name, e.g. "STATUS_DISK_FULL"; "STATUS_?" for a value that is not listed.
std::string_view name_of(NtStatus status);

}  // namespace ntfs
