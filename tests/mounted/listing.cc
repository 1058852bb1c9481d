// Lists a directory while entries come and go. A name that is there all the time must be listed
// exactly once, whatever happens around it; a name that never was there, never; and a directory
// from which everything listed is removed while it is read, as rm -rf does, must be empty in the
// end.
//
// usage: listing [--files N] [--rounds N] DIR      (DIR must be empty)

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::printf("listing: FAILED: %s\n", what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void expect(bool fact, const std::string& what) {
  if (!fact) fail(what + ": " + std::strerror(errno));
}

void create_file(const std::string& path) {
  const int fd = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  expect(fd >= 0, "create " + path);
  close(fd);
}

/// Hashed order spreads the stable names between those that come and go.
std::string stable_name(size_t number) {
  return std::to_string(number * 2654435761U % 1000000007U) + "-stable-" + std::to_string(number);
}

std::string passing_name(size_t number, const char* kind) {
  return std::to_string(number * 40503U % 1000003U) + "-" + kind + "-" + std::to_string(number);
}

/// Creates, renames and removes names that are never used again, until told to stop.
void churn(const std::string& directory, const std::atomic<bool>& stop) {
  constexpr size_t kAlive = 200;
  size_t number = 0;
  for (; !stop; ++number) {
    create_file(directory + "/" + passing_name(number, "new"));
    if (number < kAlive) continue;
    const std::string created = directory + "/" + passing_name(number - kAlive, "new");
    const std::string renamed = directory + "/" + passing_name(number - kAlive, "renamed");
    expect(rename(created.c_str(), renamed.c_str()) == 0, "rename " + created);
    expect(unlink(renamed.c_str()) == 0, "unlink " + renamed);
  }
  for (size_t left = number < kAlive ? 0 : number - kAlive; left < number; ++left) {
    expect(unlink((directory + "/" + passing_name(left, "new")).c_str()) == 0, "unlink");
  }
}

using Counts = std::unordered_map<std::string, size_t>;

void check_counts(const Counts& counts, size_t files, const char* when) {
  for (size_t i = 0; i < files; ++i) {
    const auto found = counts.find(stable_name(i));
    const size_t times = found == counts.end() ? 0 : found->second;
    if (times != 1) {
      fail(std::string(when) + ": " + stable_name(i) + " was listed " + std::to_string(times) +
           " times");
    }
  }
  for (const auto& [name, times] : counts) {
    const bool ours = name.find("-stable-") != std::string::npos ||
                      name.find("-new-") != std::string::npos ||
                      name.find("-renamed-") != std::string::npos || name == "." || name == "..";
    if (!ours) fail(std::string(when) + ": listed a name that never was: " + name);
    if (times != 1) fail(std::string(when) + ": listed twice: " + name);
  }
}

void list_once(const std::string& directory, size_t files) {
  DIR* stream = opendir(directory.c_str());
  expect(stream != nullptr, "opendir");
  Counts counts;
  errno = 0;
  while (const dirent* entry = readdir(stream)) ++counts[entry->d_name];
  expect(errno == 0, "readdir");
  closedir(stream);
  check_counts(counts, files, "while entries come and go");
}

/// Offsets that telldir gave stay good: reading on from each gives what followed it before.
void check_offsets(const std::string& directory) {
  DIR* stream = opendir(directory.c_str());
  expect(stream != nullptr, "opendir");
  std::vector<std::pair<long, std::string>> places;
  for (long offset = telldir(stream);; offset = telldir(stream)) {
    const dirent* entry = readdir(stream);
    if (entry == nullptr) break;
    places.emplace_back(offset, entry->d_name);
  }
  for (size_t i = places.size(); i-- > 0;) {
    if (i % 97 != 0) continue;
    seekdir(stream, places[i].first);
    const dirent* entry = readdir(stream);
    if (entry == nullptr || places[i].second != entry->d_name) {
      fail("seekdir to " + places[i].second + " gives " +
           (entry == nullptr ? "the end" : entry->d_name));
    }
  }
  rewinddir(stream);
  size_t again = 0;
  while (readdir(stream) != nullptr) ++again;
  if (again != places.size()) fail("rewinddir: listed " + std::to_string(again) + " names");
  closedir(stream);
}

/// Removes each entry as it is read; one pass must leave nothing.
void remove_while_reading(const std::string& directory) {
  DIR* stream = opendir(directory.c_str());
  expect(stream != nullptr, "opendir");
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] == '.') continue;
    expect(unlinkat(dirfd(stream), entry->d_name, 0) == 0, std::string("unlink ") + entry->d_name);
  }
  closedir(stream);
  expect(rmdir(directory.c_str()) == 0, "rmdir after everything listed was removed");
}

}  // namespace

int main(int argc, char** argv) {
  std::string root;
  std::map<std::string_view, size_t> numbers{{"--files", 5000}, {"--rounds", 20}};
  for (int i = 1; i < argc; ++i) {
    const auto option = numbers.find(argv[i]);
    if (option == numbers.end()) {
      root = argv[i];
    } else if (++i < argc) {
      const std::string_view digits = argv[i];
      std::from_chars(digits.begin(), digits.end(), option->second);
    }
  }
  if (root.empty()) {
    std::fprintf(stderr, "usage: listing [--files N] [--rounds N] DIR\n");
    return 64;
  }
  const std::string directory = root + "/listed";
  const size_t files = numbers["--files"];
  expect(mkdir(directory.c_str(), 0755) == 0, "mkdir");
  for (size_t i = 0; i < files; ++i) create_file(directory + "/" + stable_name(i));
  check_offsets(directory);
  std::atomic<bool> stop{false};
  std::thread changes([&] { churn(directory, stop); });
  for (size_t round = 0; round < numbers["--rounds"]; ++round) list_once(directory, files);
  stop = true;
  changes.join();
  list_once(directory, files);
  check_offsets(directory);
  remove_while_reading(directory);
  std::printf("listing: ok\n");
  return 0;
}
