#include "core/io/mount_table.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "core/base/trace.h"

namespace ntfs {

namespace {

/// One line of mountinfo, as far as it is needed.
struct MountEntry {
  std::string device;  ///< "major:minor" of the mounted file system
  std::string mount_point;
  std::string source;
};

/// Undoes the octal escapes (\040 for a space) of mountinfo.
std::string unescape(std::string_view field) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string text;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size() && is_octal(field[i + 1]) &&
        is_octal(field[i + 2]) && is_octal(field[i + 3])) {
      text += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 +
                                (field[i + 3] - '0'));
      i += 3;
    } else {
      text += field[i];
    }
  }
  return text;
}

std::vector<std::string_view> split_at_spaces(std::string_view line) {
  std::vector<std::string_view> fields;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end != 0) fields.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return fields;
}

// proc_pid_mountinfo(5): id, parent id, major:minor, root, mount point, options, optional fields,
// "-", type, source, super options.
std::optional<MountEntry> parse_mount_line(std::string_view line) {
  const std::vector<std::string_view> fields = split_at_spaces(line);
  size_t separator = 6;
  while (separator < fields.size() && fields[separator] != "-") ++separator;
  if (separator + 2 >= fields.size()) return std::nullopt;
  return MountEntry{std::string(fields[2]), unescape(fields[4]), unescape(fields[separator + 2])};
}

std::vector<MountEntry> read_mounts() {
  std::vector<MountEntry> mounts;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    if (auto entry = parse_mount_line(line)) mounts.push_back(std::move(*entry));
  }
  return mounts;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::vector<std::string> directory_entries(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(directory);
  return names;
}

std::string device_text(dev_t device) { return fmt::format("{}:{}", major(device), minor(device)); }

std::string sysfs_of(const std::string& device) { return "/sys/dev/block/" + device; }

/// `device` with all that shares bytes with it: its partitions, the disk it is a partition of, and
/// what is stacked on each of them (device mapper, RAID).
void add_device_family(const std::string& device, std::set<std::string>& family) {
  std::vector<std::string> pending{device};
  while (!pending.empty()) {
    const std::string current = pending.back();
    pending.pop_back();
    if (!family.insert(current).second) continue;
    const std::string folder = sysfs_of(current);
    for (const std::string& name : directory_entries(folder)) {
      if (!first_line(fmt::format("{}/{}/partition", folder, name)).empty()) {
        pending.push_back(first_line(fmt::format("{}/{}/dev", folder, name)));
      }
    }
    for (const std::string& name : directory_entries(folder + "/holders")) {
      pending.push_back(first_line(fmt::format("{}/holders/{}/dev", folder, name)));
    }
  }
  if (!first_line(sysfs_of(device) + "/partition").empty()) {
    family.insert(first_line(sysfs_of(device) + "/../dev"));
  }
}

/// Is the file or device `target` what backs loop device `name`?
bool backs_loop_device(const struct stat& target, const std::string& name) {
  const std::string backing = first_line(fmt::format("/sys/block/{}/loop/backing_file", name));
  if (backing.empty()) return false;
  const int fd = open(fmt::format("/dev/{}", name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) {
    loop_info64 info{};
    const bool known = ioctl(fd, LOOP_GET_STATUS64, &info) == 0;
    close(fd);
    // lo_device has the kernel's encoding, which glibc's dev_t shares for the sizes in use.
    if (known) return info.lo_inode == target.st_ino && info.lo_device == target.st_dev;
  }
  // Without the right to open the device, its path has to do.
  struct stat status {};
  return stat(backing.c_str(), &status) == 0 && status.st_ino == target.st_ino &&
         status.st_dev == target.st_dev;
}

bool is_same_file(const struct stat& target, const std::string& path) {
  struct stat status {};
  if (path.empty() || path[0] != '/' || stat(path.c_str(), &status) != 0) return false;
  if (S_ISBLK(target.st_mode)) {
    return S_ISBLK(status.st_mode) && status.st_rdev == target.st_rdev;
  }
  return S_ISREG(status.st_mode) && status.st_ino == target.st_ino &&
         status.st_dev == target.st_dev;
}

}  // namespace

Result<> ensure_not_mounted(const std::string& path) {
  struct stat target {};
  if (stat(path.c_str(), &target) != 0) return {};
  if (!S_ISBLK(target.st_mode) && !S_ISREG(target.st_mode)) return {};
  std::set<std::string> family;
  if (S_ISBLK(target.st_mode)) add_device_family(device_text(target.st_rdev), family);
  for (const std::string& name : directory_entries("/sys/block")) {
    if (!name.starts_with("loop") || !backs_loop_device(target, name)) continue;
    add_device_family(first_line(fmt::format("/sys/block/{}/dev", name)), family);
  }
  for (const MountEntry& mount : read_mounts()) {
    // FUSE and btrfs mounts have a number of their own; their source tells.
    if (!family.contains(mount.device) && !is_same_file(target, mount.source)) continue;
    log_line(LogLevel::Error,
             fmt::format("{} is mounted at {}; unmount it first", path, mount.mount_point));
    return NtStatus::SharingViolation;
  }
  return {};
}

}  // namespace ntfs
