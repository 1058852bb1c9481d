#pragma once

// ioctl(2) commands for what fallocate(2) calls FALLOC_FL_COLLAPSE_RANGE and
// FALLOC_FL_INSERT_RANGE, which the kernel does not let through to a file system in user space. On
// a file opened for writing.
//
// Where the kernel caches writes (all mounts but those with nowriteback) it believes in no size of
// a file but its own: then the caller sets the size that the call has returned, with ftruncate(2).
//
// errno: EINVAL not of whole clusters (of a compressed file: 16 of them), or not before the end of
// the file; EACCES not opened for writing; EFBIG the file would get too large, or has too many
// fragments; EOPNOTSUPP others wrote all the time; ENOTTY not our mount.

#include <linux/ioctl.h>

#include "core/base/little_endian.h"

namespace ntfs::frontend {

struct RangeData {
  le64 offset;     // bytes
  le64 length;     // bytes
  le64 file_size;  // bytes; on return
};
static_assert(sizeof(RangeData) == 24 && alignof(RangeData) == 1);

struct RangeIoctl {
  /// Takes the range out: what lies behind moves down.
  static constexpr unsigned Collapse = _IOWR('w', 0x10, RangeData);
  /// Puts zeros in: what lies there moves up.
  static constexpr unsigned Insert = _IOWR('w', 0x11, RangeData);
};

}  // namespace ntfs::frontend
