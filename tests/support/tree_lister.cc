// Lists a directory tree, one line an entry, for tests/mounted/manifest.py:
//
//   path TAB type TAB size TAB nlink TAB mtime TAB sha256 TAB target
//
// type is f d l b c p s; size is 0 for anything but files; mtime is seconds.nanoseconds; sha256 is
// "-" where it does not apply, and "!" with an errno number where reading failed, as target does.
// Bytes outside 0x21..0x7e, and the backslash, are written as \xHH. A name that a directory returns
// twice, or that cannot be looked up, is a line with type "!". Needs nothing at run time: it is
// also the only program in the initramfs of scripts/vm-ntfs3 that is not busybox.

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "tests/support/sha256.h"

namespace {

enum class Hashing { None, All };

std::string escape(std::string_view raw) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

std::string error_mark() { return "!" + std::to_string(errno); }

std::string hash_file(const std::string& path) {
  static std::vector<unsigned char> buffer(1 << 20);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error_mark();
  ntfs::support::Sha256 hash;
  std::string answer;
  for (;;) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0) answer = error_mark();
    if (got <= 0) break;
    hash.update({buffer.data(), static_cast<size_t>(got)});
  }
  close(fd);
  return answer.empty() ? hash.hex_digest() : answer;
}

std::string link_target(const std::string& path) {
  std::vector<char> buffer(65536);
  const ssize_t got = readlink(path.c_str(), buffer.data(), buffer.size());
  return got < 0 ? error_mark() : escape({buffer.data(), static_cast<size_t>(got)});
}

char type_letter(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 'f';
    case S_IFDIR:
      return 'd';
    case S_IFLNK:
      return 'l';
    case S_IFBLK:
      return 'b';
    case S_IFCHR:
      return 'c';
    case S_IFIFO:
      return 'p';
    case S_IFSOCK:
      return 's';
    default:
      return '?';
  }
}

void print_trouble(const std::string& path, std::string_view what) {
  std::printf("%s\t!\t0\t0\t0.000000000\t-\t%s\n", escape(path).c_str(), escape(what).c_str());
}

/// Prints the entry; true when it is a directory to descend into.
bool print_entry(const std::string& root, const std::string& path, Hashing hashing) {
  const std::string full = path.empty() ? root : root + "/" + path;
  struct stat info {};
  if (lstat(full.c_str(), &info) != 0) {
    print_trouble(path, "lstat " + error_mark());
    return false;
  }
  const char type = type_letter(info.st_mode);
  const std::string hash = type == 'f' && hashing == Hashing::All ? hash_file(full) : "-";
  const std::string target = type == 'l' ? link_target(full) : "";
  std::printf("%s\t%c\t%lld\t%llu\t%lld.%09ld\t%s\t%s\n", escape(path).c_str(), type,
              type == 'f' ? static_cast<long long>(info.st_size) : 0LL,
              static_cast<unsigned long long>(info.st_nlink),
              static_cast<long long>(info.st_mtim.tv_sec), info.st_mtim.tv_nsec, hash.c_str(),
              target.c_str());
  return type == 'd';
}

std::vector<std::string> read_names(const std::string& root, const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = opendir((path.empty() ? root : root + "/" + path).c_str());
  if (directory == nullptr) {
    print_trouble(path, "opendir " + error_mark());
    return names;
  }
  std::unordered_set<std::string> seen;
  errno = 0;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (!seen.insert(name).second) print_trouble(path + "/" + name, "listed twice");
    names.push_back(name);
    errno = 0;
  }
  if (errno != 0) print_trouble(path, "readdir " + error_mark());
  closedir(directory);
  return names;
}

void list_tree(const std::string& root, Hashing hashing) {
  std::vector<std::string> pending{""};
  while (!pending.empty()) {
    const std::string directory = pending.back();
    pending.pop_back();
    for (const std::string& name : read_names(root, directory)) {
      const std::string path = directory.empty() ? name : directory + "/" + name;
      if (print_entry(root, path, hashing)) pending.push_back(path);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool no_hash = argc == 3 && std::string_view(argv[1]) == "--no-hash";
  if (argc != 2 && !no_hash) {
    std::fprintf(stderr, "usage: tree_lister [--no-hash] DIR\n");
    return 64;
  }
  list_tree(argv[argc - 1], no_hash ? Hashing::None : Hashing::All);
  return std::fflush(stdout) == 0 ? 0 : 1;
}
