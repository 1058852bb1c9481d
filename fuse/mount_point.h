#pragma once

// Our mounts in the kernel's eyes: finding one, taking it away, tuning it.
// Source: proc_pid_mountinfo(5), umount(2), fusermount3(1), sysfs-class-bdi.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ntfs::frontend {

/// As the type of our mounts appears in the mount table.
constexpr std::string_view kMountType = "fuse.ntfs-wal";

struct MountEntry {
  std::string device;     ///< "major:minor"
  std::string directory;  ///< absolute
  std::string type;
  std::string source;
};

/// `path` made absolute, with symbolic links resolved in all but the last component (whose target
/// may be a mount that no longer answers).
std::string absolute_path(const std::string& path);

/// The topmost mount on `directory` (absolute).
std::optional<MountEntry> find_mount(std::string_view directory);
/// One line of mountinfo; nothing when it is not one.
std::optional<MountEntry> parse_mount_line(std::string_view line);

struct UnmountResult {
  bool done = false;
  bool is_busy = false;  ///< files on it are open
  std::string problem;   ///< when not done
};
/// Unmounts as umount(8) would: with umount2(2), or through fusermount3 without privileges.
UnmountResult unmount_directory(const std::string& directory);

/// Lets the kernel read this far ahead on the mount; without the right to, nothing happens.
void set_read_ahead(const MountEntry& mount, uint64_t bytes);

}  // namespace ntfs::frontend
