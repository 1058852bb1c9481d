// ntfs-wal, and the names that mount(8), umount(8) and mkfs(8) call it by.

#include <fcntl.h>
#include <unistd.h>

#include <exception>
#include <string_view>
#include <vector>

#include "core/base/trace.h"
#include "fuse/command_line.h"
#include "fuse/commands/mount.h"
#include "fuse/served_mount.h"

namespace {

/// As if `command` had been the first word.
int run_as(std::string_view command, int argc, char** argv) {
  std::string word(command);
  std::vector<char*> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + 1, word.data());
  arguments.push_back(nullptr);
  return ntfs::frontend::run_command_line(argc + 1, arguments.data());
}

int run(int argc, char** argv) {
  std::string_view name = argc > 0 ? argv[0] : "";
  name.remove_prefix(name.rfind('/') + 1);
  if (name.starts_with("umount.")) return run_as("umount", argc, argv);
  if (name.starts_with("mount.")) return ntfs::frontend::run_mount_helper(argc, argv);
  if (name.starts_with("mkfs.")) return run_as("format", argc, argv);
  return ntfs::frontend::run_command_line(argc, argv);
}

/// A device must not get the number of a standard stream that was closed: messages would go to it.
void open_standard_streams() {
  int fd = 0;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    ntfs::log_line(ntfs::LogLevel::Error, error.what());
    return ntfs::frontend::kMountBug;
  }
}
