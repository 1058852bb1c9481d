#include "fuse/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

struct FreeDeleter {
  void operator()(char* memory) const { free(memory); }
};

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, FreeDeleter> real(realpath(path.c_str(), nullptr));
  return real == nullptr ? std::string() : std::string(real.get());
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) { return static_cast<unsigned>(text[at] - '0'); };
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) < 4 && digit(i + 2) < 8 &&
        digit(i + 3) < 8) {
      result.push_back(static_cast<char>(digit(i + 1) << 6 | digit(i + 2) << 3 | digit(i + 3)));
      i += 3;
    } else {
      result.push_back(text[i]);
    }
  }
  return result;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t space = std::min(line.find(' '), line.size());
    if (space > 0) words.push_back(line.substr(0, space));
    line.remove_prefix(std::min(space + 1, line.size()));
  }
  return words;
}

UnmountResult unmount_by_helper(const std::string& directory) {
  UnmountResult result;
  std::string program = "fusermount3";
  std::string unmount = "-u";
  std::string end = "--";
  std::string place = directory;
  std::array<char*, 5> arguments = {program.data(), unmount.data(), end.data(), place.data(),
                                    nullptr};
  pid_t child = 0;
  int status = 0;
  if (posix_spawnp(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ) != 0 ||
      waitpid(child, &status, 0) != child) {
    result.problem = "fusermount3 could not be run; install the package fuse3, or unmount as root";
    return result;
  }
  result.done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!result.done) result.problem = "fusermount3 refused (see above)";
  return result;
}

}  // namespace

std::string absolute_path(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const size_t slash = trimmed.rfind('/');
  const std::string last = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  if (last.empty() || last == "." || last == "..") {
    const std::string real = real_path(trimmed);
    return real.empty() ? trimmed : real;
  }
  const std::string parent = slash == std::string::npos ? "." : trimmed.substr(0, slash + 1);
  const std::string real_parent = real_path(parent);
  if (real_parent.empty()) return trimmed;
  const std::string joined = real_parent == "/" ? real_parent + last : real_parent + "/" + last;
  char target[2];
  if (readlink(joined.c_str(), target, sizeof(target)) < 0) return joined;
  const std::string real = real_path(joined);  // a symbolic link to the directory
  return real.empty() ? joined : real;
}

std::optional<MountEntry> parse_mount_line(std::string_view line) {
  const auto words = words_of(line);
  // id parent device root directory options optional... - type source super-options
  size_t dash = 6;
  while (dash < words.size() && words[dash] != "-") ++dash;
  if (dash + 2 >= words.size()) return std::nullopt;
  return MountEntry{std::string(words[2]), unescape(words[4]), unescape(words[dash + 1]),
                    unescape(words[dash + 2])};
}

std::optional<MountEntry> find_mount(std::string_view directory) {
  const std::unique_ptr<FILE, int (*)(FILE*)> table(std::fopen("/proc/self/mountinfo", "re"),
                                                    std::fclose);
  if (table == nullptr) return std::nullopt;
  std::optional<MountEntry> found;  // the last one is on top
  char* raw = nullptr;
  size_t capacity = 0;
  for (ssize_t length = 0; (length = getline(&raw, &capacity, table.get())) > 0;) {
    std::string_view line(raw, static_cast<size_t>(length));
    if (line.ends_with('\n')) line.remove_suffix(1);
    auto entry = parse_mount_line(line);
    if (entry && entry->directory == directory) found = std::move(entry);
  }
  free(raw);
  return found;
}

UnmountResult unmount_directory(const std::string& directory) {
  if (umount2(directory.c_str(), UMOUNT_NOFOLLOW) == 0) return {true, false, {}};
  const SystemError error = last_system_error();
  if (error.kind == SystemError::Kind::NotPermitted && geteuid() != 0) {
    return unmount_by_helper(directory);
  }
  return {false, error.kind == SystemError::Kind::Busy, error.text};
}

void set_read_ahead(const MountEntry& mount, uint64_t bytes) {
  const std::string path = fmt::format("/sys/class/bdi/{}/read_ahead_kb", mount.device);
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  const std::string value = std::to_string(bytes / 1024);
  // Refused: the kernel reads ahead as far as it would have.
  if (::write(fd, value.data(), value.size()) < 0) static_cast<void>(last_system_error());
  close(fd);
}

}  // namespace ntfs::frontend
