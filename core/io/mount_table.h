#pragma once

// What the system has mounted, as far as it concerns an image or device that is to be opened.
// Sources: proc_pid_mountinfo(5), sysfs of block and loop devices, loop(4).

#include <string>

#include "core/base/result.h"

namespace ntfs {

/// SharingViolation, with a log line that says what to unmount, when `path` is a block device or
/// image file that is mounted: itself, one of its partitions, the disk it is a partition of, or
/// (both) through a loop device. A path that does not exist is not mounted.
Result<> ensure_not_mounted(const std::string& path);

}  // namespace ntfs
