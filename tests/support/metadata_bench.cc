// Times operations on many small files, for scripts/bench: with THREADS threads, each in a
// directory of its own under DIR, so that the kernel's lock on a directory does not hide what the
// file system does at the same time. COUNT is the number of files in all. Prints "PHASE SECONDS
// OPERATIONS".
//
//   create   open(O_CREAT | O_EXCL) and close
//   stat     fstatat of each name, in random order
//   list     readdir with an fstatat of each entry, as ls -l does
//   rename   to another name in the same directory
//   unlink   of the renamed files, and rmdir of the directories
//
// usage: metadata_bench DIR COUNT THREADS PHASE

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "metadata_bench: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

std::string file_name(size_t number) { return "file-" + std::to_string(number) + ".txt"; }
std::string new_name(size_t number) { return "renamed-" + std::to_string(number) + ".txt"; }

int open_directory(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) die(path);
  return fd;
}

size_t create_all(int directory, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const int fd = openat(directory, file_name(i).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0) die("create " + file_name(i));
    close(fd);
  }
  return count;
}

size_t stat_all(int directory, size_t count) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  struct stat info {};
  for (const size_t i : order) {
    if (fstatat(directory, file_name(i).c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      die("stat " + file_name(i));
    }
  }
  return count;
}

size_t list_all(int directory, size_t count) {
  DIR* stream = fdopendir(dup(directory));
  if (stream == nullptr) die("opendir");
  rewinddir(stream);
  size_t seen = 0;
  struct stat info {};
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] == '.') continue;
    if (fstatat(directory, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) die(entry->d_name);
    ++seen;
  }
  closedir(stream);
  if (seen != count) {
    std::fprintf(stderr, "metadata_bench: listed %zu names of %zu\n", seen, count);
    std::exit(1);
  }
  return seen;
}

size_t rename_all(int directory, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (renameat(directory, file_name(i).c_str(), directory, new_name(i).c_str()) != 0) {
      die("rename " + file_name(i));
    }
  }
  return count;
}

size_t unlink_all(int directory, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (unlinkat(directory, new_name(i).c_str(), 0) != 0) die("unlink " + new_name(i));
  }
  return count;
}

using Phase = size_t (*)(int directory, size_t count);

Phase phase_of(std::string_view name) {
  if (name == "create") return create_all;
  if (name == "stat") return stat_all;
  if (name == "list") return list_all;
  if (name == "rename") return rename_all;
  if (name == "unlink") return unlink_all;
  return nullptr;
}

size_t number_of(std::string_view text) {
  size_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? value : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Phase phase = argc == 5 ? phase_of(argv[4]) : nullptr;
  const size_t threads = argc == 5 ? number_of(argv[3]) : 0;
  if (phase == nullptr || threads == 0) {
    std::fprintf(stderr,
                 "usage: metadata_bench DIR COUNT THREADS create|stat|list|rename|unlink\n");
    return 64;
  }
  const size_t share = number_of(argv[2]) / threads;
  std::vector<std::string> directories;
  for (size_t t = 0; t < threads; ++t) {
    directories.push_back(std::string(argv[1]) + "/thread-" + std::to_string(t));
    if (phase == create_all && mkdir(directories.back().c_str(), 0755) != 0) die("mkdir");
  }
  std::atomic<size_t> operations{0};
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (size_t t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      const int fd = open_directory(directories[t]);
      operations += phase(fd, share);
      close(fd);
    });
  }
  for (std::thread& worker : workers) worker.join();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  if (phase == unlink_all) {
    for (const std::string& directory : directories) {
      if (rmdir(directory.c_str()) != 0) die("rmdir");
    }
  }
  std::printf("%s %.6f %zu\n", argv[4], taken.count(), operations.load());
  return 0;
}
