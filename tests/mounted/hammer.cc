// Several processes, each with several threads, work on one directory and one file at once.
//
//   directory: create, unlink, rename, link, mkdir, rmdir, stat of a few names that all share;
//              the errors that such races may give are expected, all others are failures
//   file:      each worker rewrites records of its own between everyone else's and reads them back
//   log:       everyone appends lines of one length; none may be lost or mixed
//
// Afterwards each name that the directory lists must be there, once; every record must hold what
// its owner wrote last; the log must have every line.
//
// usage: hammer [--processes N] [--threads N] [--ops N] [--seed N] DIR      (DIR must be empty)

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr size_t kNames = 40;
constexpr size_t kRecords = 32;        // of each worker
constexpr size_t kRecordBytes = 1000;  // no multiple of anything
constexpr size_t kLineBytes = 32;

struct Settings {
  std::string directory;
  size_t processes = 2;
  size_t threads = 3;
  size_t operations = 20000;  // of each worker
  uint64_t seed = std::random_device{}();
  size_t workers() const { return processes * threads; }
};

[[noreturn]] void fail(const std::string& what) {
  std::printf("hammer: FAILED: %s\n", what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void expect(bool fact, const std::string& what) {
  if (!fact) fail(what + ": " + std::strerror(errno));
}

/// Fails unless the call went well or gave one of the errors that a race explains.
void allow(int result, std::initializer_list<int> errors, const std::string& what) {
  if (result == 0) return;
  for (const int error : errors) {
    if (errno == error) return;
  }
  expect(false, what);
}

class Worker {
 public:
  Worker(const Settings& settings, size_t number)
      : settings_(settings), number_(number), random_(settings.seed * 1000 + number) {}

  void run() {
    names_ = settings_.directory + "/names/";
    data_ = open((settings_.directory + "/data").c_str(), O_RDWR | O_CLOEXEC);
    log_ = open((settings_.directory + "/log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    expect(data_ >= 0 && log_ >= 0, "open the shared files");
    for (size_t i = 0; i < settings_.operations; ++i) {
      switch (random_() % 4) {
        case 0:
          rewrite_record();
          break;
        case 1:
          append_line();
          break;
        default:
          change_directory();
          break;
      }
    }
    for (size_t record = 0; record < kRecords; ++record) check_record(record);
    close(data_);
    close(log_);
  }

  size_t lines() const { return lines_; }

 private:
  std::string some_name() { return names_ + "name-" + std::to_string(random_() % kNames); }

  off_t place(size_t record) const {
    return static_cast<off_t>((record * settings_.workers() + number_) * kRecordBytes);
  }

  void rewrite_record() {
    const size_t record = random_() % kRecords;
    check_record(record);
    stamps_[record] = static_cast<unsigned char>(stamps_[record] + number_ + 1);
    std::array<unsigned char, kRecordBytes> bytes{};
    bytes.fill(stamps_[record]);
    const ssize_t put = pwrite(data_, bytes.data(), bytes.size(), place(record));
    expect(put == static_cast<ssize_t>(bytes.size()), "write a record");
  }

  void check_record(size_t record) {
    if (stamps_[record] == 0) return;
    std::array<unsigned char, kRecordBytes> bytes{};
    const ssize_t got = pread(data_, bytes.data(), bytes.size(), place(record));
    expect(got == static_cast<ssize_t>(bytes.size()), "read a record");
    for (const unsigned char byte : bytes) {
      if (byte != stamps_[record])
        fail("record " + std::to_string(record) + " of worker " + std::to_string(number_) +
             " lost a write");
    }
  }

  void append_line() {
    std::string line = "worker " + std::to_string(number_) + " line " + std::to_string(lines_++);
    line.resize(kLineBytes - 1, ' ');
    line += '\n';
    const ssize_t put = write(log_, line.data(), line.size());
    expect(put == static_cast<ssize_t>(line.size()), "append a line");
  }

  void create_file(const std::string& name) {
    const int fd = open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    allow(fd < 0 ? -1 : 0, {EISDIR, ENOENT, EEXIST}, "create");
    if (fd < 0) return;
    expect(write(fd, "x", 1) == 1, "write to a file that may be unlinked");
    close(fd);
  }

  void change_directory() {
    const std::string name = some_name();
    const std::string other = some_name();
    struct stat info {};
    switch (random_() % 8) {
      case 0:
      case 1:
        create_file(name);
        break;
      case 2:
        allow(unlink(name.c_str()), {ENOENT, EISDIR, EPERM}, "unlink");
        break;
      case 3:
        allow(rename(name.c_str(), other.c_str()),
              {ENOENT, EISDIR, ENOTDIR, ENOTEMPTY, EEXIST, EINVAL}, "rename");
        break;
      case 4:
        allow(link(name.c_str(), other.c_str()), {ENOENT, EEXIST, EPERM, EMLINK}, "link");
        break;
      case 5:
        allow(mkdir(name.c_str(), 0755), {EEXIST, ENOENT}, "mkdir");
        break;
      case 6:
        allow(rmdir(name.c_str()), {ENOENT, ENOTDIR, ENOTEMPTY}, "rmdir");
        break;
      default:
        allow(lstat(name.c_str(), &info), {ENOENT}, "stat");
        break;
    }
  }

  const Settings& settings_;
  size_t number_;
  std::mt19937_64 random_;
  std::string names_;
  int data_ = -1;
  int log_ = -1;
  size_t lines_ = 0;
  std::array<unsigned char, kRecords> stamps_{};  // 0: not written yet, or worn round to it
};

/// The work of one process; its exit code is all that the parent sees of it.
int run_process(const Settings& settings, size_t process) {
  std::vector<std::thread> threads;
  std::atomic<size_t> lines{0};
  for (size_t t = 0; t < settings.threads; ++t) {
    threads.emplace_back([&, t] {
      Worker worker(settings, process * settings.threads + t);
      worker.run();
      lines += worker.lines();
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string count = settings.directory + "/lines-" + std::to_string(process);
  FILE* file = std::fopen(count.c_str(), "w");
  expect(file != nullptr && std::fprintf(file, "%zu\n", lines.load()) > 0, "write the count");
  std::fclose(file);
  return 0;
}

size_t counted_lines(const Settings& settings) {
  size_t sum = 0;
  for (size_t p = 0; p < settings.processes; ++p) {
    FILE* file = std::fopen((settings.directory + "/lines-" + std::to_string(p)).c_str(), "r");
    size_t count = 0;
    expect(file != nullptr && std::fscanf(file, "%zu", &count) == 1, "read the count");
    std::fclose(file);
    sum += count;
  }
  return sum;
}

void check_log(const Settings& settings) {
  FILE* file = std::fopen((settings.directory + "/log").c_str(), "r");
  expect(file != nullptr, "open the log");
  std::map<unsigned, unsigned> next;
  size_t lines = 0;
  std::array<char, 128> line{};
  while (std::fgets(line.data(), line.size(), file) != nullptr) {
    unsigned worker = 0;
    unsigned number = 0;
    if (std::strlen(line.data()) != kLineBytes ||
        std::sscanf(line.data(), "worker %u line %u", &worker, &number) != 2 ||
        next[worker]++ != number) {
      fail("the log is mixed up at line " + std::to_string(lines));
    }
    ++lines;
  }
  std::fclose(file);
  const size_t want = counted_lines(settings);
  if (lines != want) fail("the log has " + std::to_string(lines) + " of " + std::to_string(want));
}

void check_names(const Settings& settings) {
  const std::string path = settings.directory + "/names";
  DIR* stream = opendir(path.c_str());
  expect(stream != nullptr, "list the names");
  std::set<std::string> listed;
  while (const dirent* entry = readdir(stream)) {
    if (!listed.insert(entry->d_name).second) fail(std::string(entry->d_name) + " listed twice");
  }
  closedir(stream);
  for (size_t i = 0; i < kNames; ++i) {
    const std::string name = "name-" + std::to_string(i);
    struct stat info {};
    const bool found = lstat((path + "/" + name).c_str(), &info) == 0;
    if (found != (listed.count(name) == 1)) fail(name + ": lookup and listing differ");
  }
}

bool parse(int argc, char** argv, Settings& settings) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with("--")) {
      settings.directory = word;
      continue;
    }
    if (i + 1 == argc) return false;
    const std::string_view digits = argv[++i];
    size_t value = 0;
    if (std::from_chars(digits.begin(), digits.end(), value).ptr != digits.end()) return false;
    if (word == "--processes") settings.processes = value;
    if (word == "--threads") settings.threads = value;
    if (word == "--ops") settings.operations = value;
    if (word == "--seed") settings.seed = value;
  }
  return !settings.directory.empty();
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (!parse(argc, argv, settings)) {
    std::fprintf(stderr, "usage: hammer [--processes N] [--threads N] [--ops N] [--seed N] DIR\n");
    return 64;
  }
  std::printf("hammer: seed %llu, %zu processes of %zu threads, %zu operations each\n",
              static_cast<unsigned long long>(settings.seed), settings.processes, settings.threads,
              settings.operations);
  std::fflush(stdout);
  expect(mkdir((settings.directory + "/names").c_str(), 0755) == 0, "mkdir names");
  for (const char* name : {"/data", "/log"}) {
    const int fd = open((settings.directory + name).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    expect(fd >= 0, "create the shared files");
    close(fd);
  }
  std::vector<pid_t> children;
  for (size_t p = 0; p < settings.processes; ++p) {
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) std::_Exit(run_process(settings, p));
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "wait");
    if (status != 0) fail("a process failed");
  }
  check_log(settings);
  check_names(settings);
  std::printf("hammer: ok\n");
  return 0;
}
