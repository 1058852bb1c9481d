#pragma once

// A volume while it is mounted, from opening the device to the clean end: the life of the mount's
// process.

#include <string>

#include "fuse/daemon.h"
#include "fuse/mount_options.h"

namespace ntfs::frontend {

struct MountRequest {
  std::string source;     ///< as given
  std::string directory;  ///< absolute
  MountOptions options;
  bool trace_requests = false;
};

// Exit codes as of mount(8).
constexpr int kMountSucceeded = 0;
constexpr int kMountUsage = 1;
constexpr int kMountSystemError = 2;
constexpr int kMountBug = 4;
constexpr int kMountFailed = 32;

/// Mounts, tells `notice`, serves until the mount ends or SIGTERM, SIGINT or SIGHUP comes, and
/// leaves the volume clean. Returns the process's exit code; everything that went wrong was logged.
int serve_mount(const MountRequest& request, ReadyNotice notice);

}  // namespace ntfs::frontend
