// Tries what a mounted file system can do. One line a feature:
//
//   feature TAB yes | no (WHY) | other words
//
// For scripts/features, which runs it on several drivers, one of them in a virtual machine: it
// needs nothing at run time. A probe that is left by `need` or `expect` has failed.
//
// usage: feature_probe DIR PREPARED [FEATURE...]
//   DIR       where to make files
//   PREPARED  a directory that scripts/features has filled; its file "list" says what to try there
//   FEATURE   these alone

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "fuse/range_ioctl.h"

namespace {

using ntfs::frontend::RangeData;
using ntfs::frontend::RangeIoctl;

struct Missing {
  std::string why;
};

/// A call's result: negative means that errno says why not.
long need(long result) {
  if (result >= 0) return result;
  const char* name = strerrorname_np(errno);
  throw Missing{name == nullptr ? std::to_string(errno) : name};
}

void expect(bool fact, const char* otherwise) {
  if (!fact) throw Missing{otherwise};
}

constexpr long kKiB = 1024;
constexpr long kMiB = kKiB * kKiB;
constexpr long kTiB = kMiB * kMiB;

/// An open file.
class Fd {
 public:
  explicit Fd(const std::string& path, int flags = O_RDWR | O_CREAT)
      : fd_(static_cast<int>(need(open(path.c_str(), flags | O_CLOEXEC, 0666)))) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { close(fd_); }
  operator int() const { return fd_; }  // NOLINT: as calls want it

 private:
  int fd_;
};

void put(int fd, std::string_view bytes, long at = 0) {
  const long done = need(pwrite(fd, bytes.data(), bytes.size(), at));
  expect(done == static_cast<long>(bytes.size()), "a short write");
}

std::string get(int fd, size_t length, long at = 0) {
  std::string bytes(length, '\0');
  bytes.resize(static_cast<size_t>(need(pread(fd, bytes.data(), length, at))));
  return bytes;
}

/// A file of that content; its path.
std::string make(const std::string& path, std::string_view content = "content") {
  put(Fd(path), content);
  return path;
}

std::string content_of(const std::string& path, size_t most = 100) {
  return get(Fd(path, O_RDONLY), most);
}

struct stat status(const std::string& path) {
  struct stat info {};
  need(lstat(path.c_str(), &info));
  return info;
}

/// 3 MiB of data, for the ways of fallocate(2), which are tried on the second.
void put_letters(int file) {
  for (long i = 0; i < 3; ++i) put(file, std::string(kMiB, static_cast<char>('a' + i)), i * kMiB);
  need(fsync(file));
}

std::string try_fallocate(const std::string& at, int mode, char expected_second) {
  const Fd file(at + "/file");
  put_letters(file);
  need(fallocate(file, mode, kMiB, kMiB));
  expect(get(file, kMiB, kMiB) == std::string(kMiB, expected_second), "wrong bytes");
  return "yes";
}

/// As try_fallocate; what FUSE does not pass on is tried as an ioctl.
std::string try_shift(const std::string& at, int mode, unsigned request, char expected_second) {
  const Fd file(at + "/file");
  put_letters(file);
  const bool is_refused = fallocate(file, mode, kMiB, kMiB) != 0;
  const int why = errno;
  if (is_refused) {
    RangeData range{};
    range.offset.set(kMiB);
    range.length.set(kMiB);
    if (ioctl(file, request, &range) != 0) {
      errno = why;
      need(-1);
    }
    need(ftruncate(file, static_cast<long>(range.file_size.get())));
  }
  expect(get(file, kMiB, kMiB) == std::string(kMiB, expected_second), "wrong bytes");
  return is_refused ? "as an ioctl" : "yes";
}

/// Compressible, written to a file in `directory`: whether it takes less than half.
void expect_compression(const std::string& directory) {
  const std::string path = directory + "/packed";
  {
    Fd file(path);
    std::string text;
    while (text.size() < 2 * kMiB) text += "compress!\n";
    put(file, text);
    need(fsync(file));
  }
  expect(status(path).st_blocks * 512 < kMiB, "it takes all its space");
  expect(content_of(path, 10) == "compress!\n", "wrong bytes");
}

std::string attribute(const std::string& path, const char* name) {
  std::string value(64 * kKiB, '\0');
  value.resize(
      static_cast<size_t>(need(lgetxattr(path.c_str(), name, value.data(), value.size()))));
  return value;
}

void set_attribute(const std::string& path, const char* name, std::string_view value) {
  need(lsetxattr(path.c_str(), name, value.data(), value.size(), 0));
}

// Names.

void names_that_windows_forbids(const std::string& at) {
  for (const char* name : {"a:b", "q?", "*", "CON", "end.", "end ", "back\\slash", "<|>"}) {
    make(at + "/" + name);
  }
}
void long_names(const std::string& at) {
  std::string name;
  for (int i = 0; i < 255; ++i) name += "\u00e9";
  make(at + "/" + name);
}
void names_that_differ_in_case(const std::string& at) {
  make(at + "/name", "small");
  make(at + "/NAME", "large");
  expect(content_of(at + "/name") == "small", "one file");
}
void hard_links(const std::string& at) {
  make(at + "/one");
  need(link((at + "/one").c_str(), (at + "/two").c_str()));
  expect(status(at + "/two").st_nlink == 2, "the count is not 2");
}
void symbolic_links(const std::string& at) {
  need(symlink("to", (at + "/link").c_str()));
  char target[8];
  expect(need(readlink((at + "/link").c_str(), target, sizeof(target))) == 2, "another target");
}
void special_files(const std::string& at) {
  need(mknod((at + "/device").c_str(), S_IFBLK | 0600, makedev(7, 200)));
  need(mkfifo((at + "/fifo").c_str(), 0600));
  need(mknod((at + "/socket").c_str(), S_IFSOCK | 0600, 0));
  const struct stat device = status(at + "/device");
  expect(S_ISBLK(device.st_mode) && minor(device.st_rdev) == 200, "another device");
}
void rename_without_replacing(const std::string& at) {
  make(at + "/a");
  make(at + "/b");
  need(renameat2(AT_FDCWD, (at + "/a").c_str(), AT_FDCWD, (at + "/c").c_str(), RENAME_NOREPLACE));
}
void exchange(const std::string& at) {
  make(at + "/a", "a");
  make(at + "/b", "b");
  need(renameat2(AT_FDCWD, (at + "/a").c_str(), AT_FDCWD, (at + "/b").c_str(), RENAME_EXCHANGE));
  expect(content_of(at + "/a") == "b", "nothing was exchanged");
}
void rename_that_leaves_a_whiteout(const std::string& at) {
  make(at + "/a");
  need(renameat2(AT_FDCWD, (at + "/a").c_str(), AT_FDCWD, (at + "/b").c_str(), RENAME_WHITEOUT));
  const struct stat left = status(at + "/a");
  expect(S_ISCHR(left.st_mode) && left.st_rdev == 0, "it is none");
}
void unlinked_while_open(const std::string& at) {
  Fd file(at + "/file");
  need(unlink((at + "/file").c_str()));
  put(file, "still");
  expect(get(file, 5) == "still", "wrong bytes");
  struct stat info {};
  need(fstat(file, &info));
  expect(info.st_nlink == 0, "the link count is not 0");
}
void unnamed_files(const std::string& at) { Fd(at, O_TMPFILE | O_RDWR); }
void file_handles(const std::string& at) {
  alignas(file_handle) char memory[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto* handle = reinterpret_cast<file_handle*>(memory);
  handle->handle_bytes = MAX_HANDLE_SZ;
  make(at + "/file", "found");
  int mount = 0;
  need(name_to_handle_at(AT_FDCWD, (at + "/file").c_str(), handle, &mount, 0));
  sync();
  std::ofstream("/proc/sys/vm/drop_caches") << "2";
  const Fd root(at, O_RDONLY | O_DIRECTORY);
  const int opened = static_cast<int>(need(open_by_handle_at(root, handle, O_RDONLY)));
  const std::string content = get(opened, 10);
  close(opened);
  expect(content == "found", "another file");
}

// Data.

void sparse_files(const std::string& at) {
  Fd file(at + "/file");
  put(file, "end", kTiB);
  need(fsync(file));
  expect(get(file, 3, kTiB / 2) == std::string(3, '\0'), "wrong bytes");
  expect(status(at + "/file").st_blocks < 2048, "it is not sparse");
}
void holes_are_told(const std::string& at) {
  Fd file(at + "/file");
  put(file, std::string(kMiB, 'x'), 8 * kMiB);
  need(fsync(file));
  const long data = need(lseek(file, 0, SEEK_DATA));
  expect(data > 0 && data <= 8 * kMiB, "it says that there is no hole");
}
void direct_io(const std::string& at) {
  Fd file(at + "/file", O_RDWR | O_CREAT | O_DIRECT);
  void* memory = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  expect(need(pwrite(file, memory, 8192, 4096)) == 8192, "a short write");
}
void shared_mappings(const std::string& at) {
  Fd file(at + "/file");
  need(ftruncate(file, 8192));
  void* memory = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) need(-1);
  std::memcpy(memory, "mapped", 6);
  need(msync(memory, 8192, MS_SYNC));
  expect(get(file, 6) == "mapped", "wrong bytes");
}
void compression_by_chattr(const std::string& at) {
  {
    const Fd directory(at, O_RDONLY | O_DIRECTORY);
    int flags = 0;
    need(ioctl(directory, FS_IOC_GETFLAGS, &flags));
    flags |= FS_COMPR_FL;
    need(ioctl(directory, FS_IOC_SETFLAGS, &flags));
  }
  expect_compression(at);
}
void compression_by_attribute(const std::string& at) {
  set_attribute(at, "system.ntfs_attrib_be", std::string("\0\0\x08\x10", 4));
  expect_compression(at);
}
void clone_by_ioctl(const std::string& at) {
  make(at + "/source", std::string(kMiB, 'x'));
  const Fd source(at + "/source");
  const Fd target(at + "/target");
  need(ioctl(target, FICLONE, static_cast<int>(source)));
}
/// Blocks that are free once all is written.
unsigned long free_blocks(const std::string& at, int written) {
  need(fsync(written));
  struct statvfs info {};
  need(statvfs(at.c_str(), &info));
  return info.f_bfree * (info.f_frsize / 512);
}
void copies_that_share(const std::string& at) {
  constexpr long kBytes = 8 * kMiB;
  make(at + "/source", std::string(kBytes, 'x'));
  const Fd source(at + "/source");
  const Fd target(at + "/target");
  const unsigned long before = free_blocks(at, source);
  for (long done = 0; done < kBytes;) {
    const long length = need(copy_file_range(source, nullptr, target, nullptr, kBytes - done, 0));
    expect(length > 0, "it ends early");
    done += length;
  }
  expect(free_blocks(at, target) + kBytes / 512 / 2 > before, "they take space");
  expect(get(target, kBytes) == std::string(kBytes, 'x'), "wrong bytes");
}
/// A child locks a file for writing; whether it can still be read.
void mandatory_locks(const std::string& at) {
  const std::string path = make(at + "/file");
  int locked[2];
  int tried[2];
  need(pipe(locked));
  need(pipe(tried));
  const pid_t child = static_cast<pid_t>(need(fork()));
  char byte = 0;
  if (child == 0) {
    const int file = open(path.c_str(), O_RDWR);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    byte = file >= 0 && fcntl(file, F_SETLK, &lock) == 0 ? 'y' : 'n';
    close(tried[1]);
    const bool is_told = write(locked[1], &byte, 1) == 1;
    _exit(is_told && read(tried[0], &byte, 1) == 0 ? 0 : 1);
  }
  need(read(locked[0], &byte, 1));
  const Fd file(path, O_RDONLY);
  char content[8];
  const bool is_read = pread(file, content, sizeof(content), 0) >= 0;
  const int why = errno;
  for (const int end : {locked[0], locked[1], tried[0], tried[1]}) close(end);
  need(waitpid(child, nullptr, 0));
  expect(byte == 'y', "no lock");
  expect(!is_read, "what is locked can be read");
  expect(why == EACCES, "another error");
}
void trim(const std::string& at) {
  const Fd directory(at, O_RDONLY | O_DIRECTORY);
  fstrim_range range{0, UINT64_MAX, 0};
  need(ioctl(directory, FITRIM, &range));
  expect(range.len > 0, "nothing was trimmed");
}
void sync_directories(const std::string& at) { need(fsync(Fd(at, O_RDONLY | O_DIRECTORY))); }

// Attributes.

void owner_and_mode(const std::string& at) {
  make(at + "/file");
  need(chown((at + "/file").c_str(), 1234, 5678));
  need(chmod((at + "/file").c_str(), 0640));
  const struct stat info = status(at + "/file");
  expect(info.st_uid == 1234 && info.st_gid == 5678, "another owner");
  expect((info.st_mode & 07777) == 0640, "another mode");
}
void access_lists(const std::string& at) {
  // Version 2; user 7 may read beside the owner, the group, the mask and others.
  const std::string list(
      "\2\0\0\0"
      "\1\0\6\0\xff\xff\xff\xff"
      "\2\0\4\0\7\0\0\0"
      "\4\0\4\0\xff\xff\xff\xff"
      "\20\0\4\0\xff\xff\xff\xff"
      "\40\0\0\0\xff\xff\xff\xff",
      44);
  make(at + "/file");
  set_attribute(at + "/file", "system.posix_acl_access", list);
  expect(attribute(at + "/file", "system.posix_acl_access") == list, "another list");
}
void user_attributes(const std::string& at) {
  make(at + "/file");
  set_attribute(at + "/file", "user.name", "value");
  expect(attribute(at + "/file", "user.name") == "value", "another value");
}
void trusted_attributes(const std::string& at) {
  make(at + "/file");
  set_attribute(at + "/file", "trusted.name", "value");
  expect(attribute(at + "/file", "trusted.name") == "value", "another value");
}
void capabilities(const std::string& at) {
  // cap_net_raw, effective and permitted.
  const std::string value("\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  make(at + "/file");
  set_attribute(at + "/file", "security.capability", value);
  expect(attribute(at + "/file", "security.capability") == value, "another value");
  put(Fd(at + "/file", O_WRONLY), "written");
  expect(lgetxattr((at + "/file").c_str(), "security.capability", nullptr, 0) < 0,
         "they survive a write");
}
void streams_by_colon(const std::string& at) {
  make(at + "/file", "unnamed");
  make(at + "/file:stream", "named");
  expect(content_of(at + "/file") == "unnamed", "wrong bytes");
  expect(status(at + "/file").st_size == 7, "another size");
  need(unlink((at + "/file").c_str()));
  struct stat info {};
  expect(lstat((at + "/file:stream").c_str(), &info) != 0, "it is a file of its own");
}
void times(const std::string& at) {
  make(at + "/file");
  const timespec wanted[2] = {{-86400 * 365L * 100, 300}, {1234567890, 123456700}};
  need(utimensat(AT_FDCWD, (at + "/file").c_str(), wanted, 0));
  const struct stat info = status(at + "/file");
  expect(info.st_mtim.tv_nsec == 123456700, "fractions are lost");
  expect(info.st_atim.tv_sec == wanted[0].tv_sec, "wrong before 1970");
}
void birth_time(const std::string& at) {
  struct statx info {};
  make(at + "/file");
  need(statx(AT_FDCWD, (at + "/file").c_str(), 0, STATX_BTIME, &info));
  expect((info.stx_mask & STATX_BTIME) != 0, "not told");
}
struct Probe {
  const char* feature;
  std::string (*run)(const std::string& at);
};

/// A probe that has nothing to say but yes.
template <void (*Run)(const std::string& at)>
std::string yes(const std::string& at) {
  Run(at);
  return "yes";
}

/// For fallocate(2).
template <int Mode, char ExpectedSecond>
std::string allocate(const std::string& at) {
  return try_fallocate(at, Mode, ExpectedSecond);
}
template <int Mode, unsigned Request, char ExpectedSecond>
std::string shift(const std::string& at) {
  return try_shift(at, Mode, Request, ExpectedSecond);
}

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
// scripts/features reads the features from these lines.
const Probe kProbes[] = {
    {"names that Windows forbids (`a:b`, `CON`, `end.`)", yes<names_that_windows_forbids>},
    {"names of 255 UTF-16 units", yes<long_names>},
    {"names that differ in case alone", yes<names_that_differ_in_case>},
    {"hard links", yes<hard_links>},
    {"symbolic links", yes<symbolic_links>},
    {"devices, FIFOs, sockets", yes<special_files>},
    {"rename without replacing", yes<rename_without_replacing>},
    {"rename that exchanges", yes<exchange>},
    {"rename that leaves a whiteout (for overlays)", yes<rename_that_leaves_a_whiteout>},
    {"files unlinked while open", yes<unlinked_while_open>},
    {"O_TMPFILE", yes<unnamed_files>},
    {"file handles (NFS export)", yes<file_handles>},
    {"sparse files of 1 TiB", yes<sparse_files>},
    {"SEEK_DATA, SEEK_HOLE", yes<holes_are_told>},
    {"fallocate", allocate<0, 'b'>},
    {"fallocate: punch a hole", allocate<kPunch, '\0'>},
    {"fallocate: zero a range", allocate<FALLOC_FL_ZERO_RANGE, '\0'>},
    {"fallocate: collapse a range", shift<FALLOC_FL_COLLAPSE_RANGE, RangeIoctl::Collapse, 'c'>},
    {"fallocate: insert a range", shift<FALLOC_FL_INSERT_RANGE, RangeIoctl::Insert, '\0'>},
    {"O_DIRECT", yes<direct_io>},
    {"shared writable mappings", yes<shared_mappings>},
    {"copy_file_range shares clusters", yes<copies_that_share>},
    {"FICLONE", yes<clone_by_ioctl>},
    {"mandatory locks", yes<mandatory_locks>},
    {"compression turned on by chattr", yes<compression_by_chattr>},
    {"compression turned on by `system.ntfs_attrib_be`", yes<compression_by_attribute>},
    {"fstrim", yes<trim>},
    {"fsync of directories", yes<sync_directories>},
    {"owner and mode", yes<owner_and_mode>},
    {"POSIX access control lists", yes<access_lists>},
    {"extended attributes user.*", yes<user_attributes>},
    {"extended attributes trusted.*", yes<trusted_attributes>},
    {"file capabilities (`security.capability`)", yes<capabilities>},
    {"named streams as `file:stream`", yes<streams_by_colon>},
    {"times before 1970, to 100 ns", yes<times>},
    {"birth time by statx", yes<birth_time>},
};

// What scripts/features has prepared.

/// One line of the list: feature, what to do, name of the file, words for that.
struct Prepared {
  std::string feature;
  std::string kind;
  std::string path;
  std::vector<std::string> words;
};

std::string bytes_of_hex(const std::string& digits) {
  std::string bytes;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::string try_link(const Prepared& file) {
  std::string target(4096, '\0');
  target.resize(
      static_cast<size_t>(need(readlink(file.path.c_str(), target.data(), target.size()))));
  return target == file.words.at(0) ? "yes" : "as `" + target + "`";
}
std::string try_content(const Prepared& file) {
  const std::string& expected = file.words.at(0);
  expect(content_of(file.path, expected.size()) == expected, "wrong bytes");
  return "yes";
}
std::string try_reading_attribute(const Prepared& file) {
  const std::string expected = bytes_of_hex(file.words.at(1));
  const std::string value = attribute(file.path, file.words.at(0).c_str());
  expect(value.substr(0, expected.size()) == expected, "another value");
  return "read";
}
/// Of a new file. Whether that had an effect is for scripts/features to find out; so with removal.
std::string try_setting_attribute(const Prepared& file) {
  make(file.path, "");
  set_attribute(file.path, file.words.at(0).c_str(), bytes_of_hex(file.words.at(1)));
  return "write";
}
std::string try_removing_attribute(const Prepared& file) {
  need(lremovexattr(file.path.c_str(), file.words.at(0).c_str()));
  return "remove";
}
/// The path is that of a directory, the words are a short name, the long one, and these of another.
std::string try_short_names(const Prepared& place) {
  const auto path = [&](size_t word) { return place.path + "/" + place.words.at(word); };
  expect(content_of(path(0)) == "content", "they do not lead to the file");
  need(rename(path(1).c_str(), (place.path + "/renamed").c_str()));
  need(unlink(path(3).c_str()));
  struct stat info {};
  expect(lstat(path(0).c_str(), &info) != 0, "one stays when the file is renamed");
  expect(lstat(path(2).c_str(), &info) != 0, "one stays when the file is removed");
  return "yes";
}

struct PreparedProbe {
  std::string_view kind;
  std::string (*run)(const Prepared& file);
};
const PreparedProbe kPreparedProbes[] = {
    {"link", try_link},
    {"content", try_content},
    {"read attribute", try_reading_attribute},
    {"set attribute", try_setting_attribute},
    {"remove attribute", try_removing_attribute},
    {"short names", try_short_names},
};

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> words(1);
  for (const char c : line) {
    if (c == '\t') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

std::vector<Prepared> prepared_files(const std::string& directory) {
  std::vector<Prepared> files;
  std::ifstream list(directory + "/list");
  for (std::string line; std::getline(list, line);) {
    const std::vector<std::string> words = split(line);
    files.push_back({words.at(0),
                     words.at(1),
                     directory + "/" + words.at(2),
                     {words.begin() + 3, words.end()}});
  }
  return files;
}

template <typename Action>
void report(const std::string& feature, Action&& action) {
  std::string result;
  try {
    result = action();
  } catch (const Missing& missing) {
    result = "no (" + missing.why + ")";
  }
  std::printf("%s\t%s\n", feature.c_str(), result.c_str());
}

void try_all(const std::string& directory, const std::string& prepared,
             const std::vector<std::string>& wanted) {
  const auto is_wanted = [&](const std::string& feature) {
    return wanted.empty() || std::find(wanted.begin(), wanted.end(), feature) != wanted.end();
  };
  int number = 0;
  for (const Probe& probe : kProbes) {
    const std::string at = directory + "/probe " + std::to_string(++number);
    if (!is_wanted(probe.feature)) continue;
    report(probe.feature, [&] {
      need(mkdir(at.c_str(), 0777));
      return probe.run(at);
    });
  }
  for (const Prepared& file : prepared_files(prepared)) {
    if (!is_wanted(file.feature)) continue;
    for (const PreparedProbe& probe : kPreparedProbes) {
      if (probe.kind == file.kind) report(file.feature, [&] { return probe.run(file); });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  umask(0);
  try_all(argv[1], argv[2], {argv + 3, argv + argc});
  return 0;
}
