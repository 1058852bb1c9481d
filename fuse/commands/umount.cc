#include "fuse/commands/umount.h"

#include <fmt/format.h>

#include "core/base/trace.h"
#include "fuse/end_notice.h"
#include "fuse/mount_point.h"
#include "fuse/served_mount.h"

namespace ntfs::frontend {

namespace {

int refuse(const std::string& directory, const std::string& why) {
  log_line(LogLevel::Error, fmt::format("{}: {}", directory, why));
  return kMountFailed;
}

}  // namespace

int run_umount(const std::string& given) {
  const std::string directory = absolute_path(given);
  const auto mount = find_mount(directory);
  if (!mount) return refuse(given, "nothing is mounted there");
  if (mount->type != kMountType) {
    return refuse(given, fmt::format("what is mounted there is {}; use umount(8)", mount->type));
  }
  auto end = EndListener::connect(*mount);
  const UnmountResult unmounted = unmount_directory(directory);
  if (unmounted.is_busy) {
    return refuse(given, fmt::format("in use; end what uses it first (`fuser -vm {}` lists that)",
                                     directory));
  }
  if (!unmounted.done) return refuse(given, "cannot be unmounted: " + unmounted.problem);
  if (!end) {
    return refuse(given,
                  "unmounted, but its process could not be asked whether the volume is "
                  "clean; `ntfs-wal info` tells");
  }
  const std::string problem = end->wait();
  if (!problem.empty()) return refuse(given, "unmounted, but " + problem);
  return kMountSucceeded;
}

}  // namespace ntfs::frontend
