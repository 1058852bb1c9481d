// A random exerciser of one file with a model of it in memory: every read must return what the
// model holds, after any mix of writes, truncations, mappings, allocations, holes, copies and
// reopenings.
//
// usage: fsx [--seed N] [--ops N] [--length BYTES] [--direct] [--strict] FILE
//
// --direct opens with O_DIRECT, aligns all requests and leaves mappings out (their coherence with
// O_DIRECT is not promised). --strict: an operation that the file system does not support is a
// failure; otherwise it is left out from then on. The last line is "sha256 HEX SIZE" of the file,
// which stays, so that others can check it later.

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "tests/support/sha256.h"

namespace {

constexpr size_t kAlignment = 4096;

struct Settings {
  std::string path;
  uint64_t seed = std::random_device{}();
  size_t operations = 100000;
  size_t length_bytes = 1 << 20;  // the file never grows past this
  bool direct = false;
  bool strict = false;
};

struct Range {
  size_t offset = 0;
  size_t length = 0;
  size_t end() const { return offset + length; }
};

class AlignedBytes {
 public:
  explicit AlignedBytes(size_t size)
      : bytes_(static_cast<unsigned char*>(std::aligned_alloc(kAlignment, round_up(size)))) {
    std::memset(bytes_.get(), 0, round_up(size));
  }
  unsigned char* data() { return bytes_.get(); }
  unsigned char& operator[](size_t at) { return bytes_.get()[at]; }

 private:
  struct Free {
    void operator()(unsigned char* bytes) const { std::free(bytes); }
  };
  static size_t round_up(size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

  std::unique_ptr<unsigned char, Free> bytes_;
};

class Exerciser {
 public:
  explicit Exerciser(Settings settings)
      : settings_(std::move(settings)),
        random_(settings_.seed),
        model_(settings_.length_bytes),
        buffer_(settings_.length_bytes) {}

  void run();

 private:
  using Operation = void (Exerciser::*)();
  struct Choice {
    const char* name;
    Operation run;
    bool with_direct;
    size_t count = 0;
    bool disabled = false;
  };

  size_t below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  Range random_range(size_t limit);
  void open_file(int flags);
  void note(std::string line);
  [[noreturn]] void fail(const std::string& what);
  void expect(bool fact, const char* what);
  bool supported(int result, const char* what);
  void compare(const unsigned char* got, Range range);
  void check_size();
  void grow_to(size_t size) { size_ = std::max(size_, size); }
  void allocate(int mode, Range range, const char* what);

  void do_read();
  void do_write();
  void do_append();
  void do_truncate();
  void do_map_read();
  void do_map_write();
  void do_allocate();
  void do_punch();
  void do_zero();
  void do_copy();
  void do_sync();
  void do_reopen();
  void do_seek();
  void do_read_all();

  Settings settings_;
  std::mt19937_64 random_;
  AlignedBytes model_;  // bytes past size_ are always zero
  AlignedBytes buffer_;
  size_t size_ = 0;
  int fd_ = -1;
  unsigned char next_byte_ = 1;
  size_t step_ = 0;
  Choice* current_ = nullptr;
  std::deque<std::string> history_;
  std::array<Choice, 18> choices_{{{"read", &Exerciser::do_read, true},
                                   {"read", &Exerciser::do_read, true},
                                   {"write", &Exerciser::do_write, true},
                                   {"write", &Exerciser::do_write, true},
                                   {"write", &Exerciser::do_write, true},
                                   {"append", &Exerciser::do_append, true},
                                   {"truncate", &Exerciser::do_truncate, true},
                                   {"map read", &Exerciser::do_map_read, false},
                                   {"map write", &Exerciser::do_map_write, false},
                                   {"map write", &Exerciser::do_map_write, false},
                                   {"allocate", &Exerciser::do_allocate, true},
                                   {"punch", &Exerciser::do_punch, true},
                                   {"zero", &Exerciser::do_zero, true},
                                   {"copy", &Exerciser::do_copy, true},
                                   {"sync", &Exerciser::do_sync, true},
                                   {"reopen", &Exerciser::do_reopen, true},
                                   {"seek", &Exerciser::do_seek, true},
                                   {"read all", &Exerciser::do_read_all, true}}};
};

void Exerciser::note(std::string line) {
  history_.push_back(std::to_string(step_) + ": " + std::move(line));
  if (history_.size() > 30) history_.pop_front();
}

void Exerciser::fail(const std::string& what) {
  std::printf("fsx: FAILED: %s\nseed %llu, operation %zu, file size %zu; the last operations:\n",
              what.c_str(), static_cast<unsigned long long>(settings_.seed), step_, size_);
  for (const std::string& line : history_) std::printf("  %s\n", line.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void Exerciser::expect(bool fact, const char* what) {
  if (!fact) fail(std::string(what) + ": " + std::strerror(errno));
}

/// False, and never tried again, when the file system refuses the operation as such.
bool Exerciser::supported(int result, const char* what) {
  if (result == 0) return true;
  if (errno != EOPNOTSUPP && errno != ENOSYS) expect(false, what);
  expect(!settings_.strict, what);
  std::printf("fsx: not supported here: %s\n", what);
  current_->disabled = true;
  return false;
}

Range Exerciser::random_range(size_t limit) {
  const size_t unit = settings_.direct ? 512 : 1;
  // Mostly small requests, at times large ones; ends often on a boundary, where the bugs are.
  const size_t longest = below(8) == 0 ? limit : std::min<size_t>(limit, 1 << (8 + below(9)));
  Range range{below(limit), 1 + below(std::max<size_t>(longest, 1))};
  if (below(4) == 0) range.offset = range.offset / 4096 * 4096;
  if (below(4) == 0) range.length = (range.length + 4095) / 4096 * 4096;
  range.offset = range.offset / unit * unit;
  range.length = (range.length + unit - 1) / unit * unit;
  range.length = std::min(range.length, limit - range.offset);
  range.length = range.length / unit * unit;
  return range;
}

std::string text(const char* what, Range range) {
  return std::string(what) + " " + std::to_string(range.offset) + "+" +
         std::to_string(range.length);
}

void Exerciser::compare(const unsigned char* got, Range range) {
  const unsigned char* want = model_.data() + range.offset;
  if (std::memcmp(got, want, range.length) == 0) return;
  const auto at = static_cast<size_t>(std::mismatch(got, got + range.length, want).first - got);
  size_t wrong = 0;
  for (size_t i = at; i < range.length; ++i) wrong += got[i] != want[i] ? 1 : 0;
  fail("byte " + std::to_string(range.offset + at) + " is " + std::to_string(got[at]) +
       ", expected " + std::to_string(want[at]) + "; " + std::to_string(wrong) +
       " wrong bytes in the request");
}

void Exerciser::check_size() {
  struct stat info {};
  expect(fstat(fd_, &info) == 0, "fstat");
  if (static_cast<size_t>(info.st_size) != size_) {
    fail("file size is " + std::to_string(info.st_size) + ", expected " + std::to_string(size_));
  }
}

void Exerciser::do_read() {
  const Range range = random_range(settings_.length_bytes);
  note(text("read", range));
  const ssize_t got = pread(fd_, buffer_.data(), range.length, static_cast<off_t>(range.offset));
  expect(got >= 0, "read");
  const size_t want = range.offset >= size_ ? 0 : std::min(range.length, size_ - range.offset);
  if (static_cast<size_t>(got) != want) {
    fail("read " + std::to_string(got) + " bytes, expected " + std::to_string(want));
  }
  compare(buffer_.data(), {range.offset, want});
}

void Exerciser::do_write() {
  const Range range = random_range(settings_.length_bytes);
  note(text("write", range));
  for (size_t i = 0; i < range.length; ++i) buffer_[i] = ++next_byte_;
  const ssize_t put = pwrite(fd_, buffer_.data(), range.length, static_cast<off_t>(range.offset));
  expect(put >= 0, "write");
  if (static_cast<size_t>(put) != range.length)
    fail("wrote only " + std::to_string(put) + " bytes");
  std::memcpy(model_.data() + range.offset, buffer_.data(), range.length);
  if (range.length > 0) grow_to(range.end());
}

void Exerciser::do_append() {
  if (settings_.direct && size_ % 512 != 0) return;
  Range range = random_range(std::min<size_t>(settings_.length_bytes - size_, 1 << 16));
  range.offset = size_;
  note(text("append", range));
  for (size_t i = 0; i < range.length; ++i) buffer_[i] = ++next_byte_;
  const ssize_t put = pwrite(fd_, buffer_.data(), range.length, static_cast<off_t>(size_));
  expect(static_cast<size_t>(put) == range.length, "append");
  std::memcpy(model_.data() + range.offset, buffer_.data(), range.length);
  grow_to(range.end());
}

void Exerciser::do_truncate() {
  const size_t size = random_range(settings_.length_bytes).offset;
  note("truncate to " + std::to_string(size));
  expect(ftruncate(fd_, static_cast<off_t>(size)) == 0, "truncate");
  if (size < size_) std::memset(model_.data() + size, 0, size_ - size);
  size_ = size;
}

void Exerciser::do_map_read() {
  Range range = random_range(size_);
  if (range.length == 0) return;
  note(text("map read", range));
  const size_t slack = range.offset % kAlignment;
  void* map = mmap(nullptr, range.length + slack, PROT_READ, MAP_SHARED, fd_,
                   static_cast<off_t>(range.offset - slack));
  expect(map != MAP_FAILED, "mmap for reading");
  compare(static_cast<unsigned char*>(map) + slack, range);
  munmap(map, range.length + slack);
}

void Exerciser::do_map_write() {
  Range range = random_range(settings_.length_bytes);
  if (range.length == 0) return;
  note(text("map write", range));
  if (range.end() > size_) {
    expect(ftruncate(fd_, static_cast<off_t>(range.end())) == 0, "truncate before mmap");
    size_ = range.end();
  }
  const size_t slack = range.offset % kAlignment;
  void* map = mmap(nullptr, range.length + slack, PROT_READ | PROT_WRITE, MAP_SHARED, fd_,
                   static_cast<off_t>(range.offset - slack));
  expect(map != MAP_FAILED, "mmap for writing");
  for (size_t i = 0; i < range.length; ++i) model_[range.offset + i] = ++next_byte_;
  std::memcpy(static_cast<unsigned char*>(map) + slack, model_.data() + range.offset, range.length);
  if (below(2) == 0) expect(msync(map, range.length + slack, MS_SYNC) == 0, "msync");
  munmap(map, range.length + slack);
}

void Exerciser::allocate(int mode, Range range, const char* what) {
  if (range.length == 0) return;
  note(text(what, range) + ((mode & FALLOC_FL_KEEP_SIZE) != 0 ? " keep size" : ""));
  const int result =
      fallocate(fd_, mode, static_cast<off_t>(range.offset), static_cast<off_t>(range.length));
  if (!supported(result, what)) return;
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) grow_to(range.end());
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0 || range.offset >= size_) return;
  std::memset(model_.data() + range.offset, 0, std::min(range.length, size_ - range.offset));
}

void Exerciser::do_allocate() {
  allocate(below(2) == 0 ? FALLOC_FL_KEEP_SIZE : 0, random_range(settings_.length_bytes),
           "allocate");
}

void Exerciser::do_punch() {
  allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, random_range(settings_.length_bytes),
           "punch");
}

void Exerciser::do_zero() {
  const int keep = below(2) == 0 ? FALLOC_FL_KEEP_SIZE : 0;
  allocate(FALLOC_FL_ZERO_RANGE | keep, random_range(settings_.length_bytes), "zero");
}

void Exerciser::do_copy() {
  Range from = random_range(size_);
  if (settings_.direct) from.length = from.length / 512 * 512;
  Range to = random_range(settings_.length_bytes);
  from.length = std::min(from.length, settings_.length_bytes - to.offset);
  to.length = from.length;
  const bool overlap = from.offset < to.end() && to.offset < from.end();
  if (from.length == 0 || overlap) return;
  note(text("copy", from) + " to " + std::to_string(to.offset));
  size_t done = 0;
  while (done < from.length) {
    auto in = static_cast<off_t>(from.offset + done);
    auto out = static_cast<off_t>(to.offset + done);
    const ssize_t moved = copy_file_range(fd_, &in, fd_, &out, from.length - done, 0);
    if (moved < 0 && !supported(-1, "copy")) return;
    if (moved == 0) fail("copy_file_range stopped after " + std::to_string(done) + " bytes");
    done += static_cast<size_t>(moved);
  }
  std::memcpy(model_.data() + to.offset, model_.data() + from.offset, from.length);
  grow_to(to.end());
}

void Exerciser::do_sync() {
  note("sync");
  expect((below(2) == 0 ? fsync(fd_) : fdatasync(fd_)) == 0, "fsync");
}

void Exerciser::do_reopen() {
  if (below(4) != 0) return;
  note("reopen");
  expect(close(fd_) == 0, "close");
  open_file(0);
  posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
}

/// What lseek calls a hole must be zero in the model; data and holes must tile the file.
void Exerciser::do_seek() {
  note("seek");
  size_t at = 0;
  while (at < size_) {
    off_t data = lseek(fd_, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) expect(errno == ENXIO, "SEEK_DATA");
    const size_t hole_end = data < 0 ? size_ : static_cast<size_t>(data);
    if (hole_end < at || hole_end > size_) fail("SEEK_DATA left the file");
    for (size_t i = at; i < hole_end; ++i) {
      if (model_[i] != 0) fail("lseek calls byte " + std::to_string(i) + " a hole");
    }
    if (hole_end == size_) break;
    const off_t hole = lseek(fd_, data, SEEK_HOLE);
    expect(hole > data && static_cast<size_t>(hole) <= size_, "SEEK_HOLE");
    at = static_cast<size_t>(hole);
  }
}

void Exerciser::do_read_all() {
  if (below(4) != 0) return;
  note("read all");
  const ssize_t got = pread(fd_, buffer_.data(), settings_.length_bytes, 0);
  expect(static_cast<size_t>(got) == size_, "read of the whole file");
  compare(buffer_.data(), {0, size_});
}

void Exerciser::open_file(int flags) {
  const int direct = settings_.direct ? O_DIRECT : 0;
  fd_ = open(settings_.path.c_str(), O_RDWR | O_CLOEXEC | direct | flags, 0644);
  expect(fd_ >= 0, "open");
}

void Exerciser::run() {
  std::printf("fsx: seed %llu, %zu operations, up to %zu bytes%s\n",
              static_cast<unsigned long long>(settings_.seed), settings_.operations,
              settings_.length_bytes, settings_.direct ? ", O_DIRECT" : "");
  open_file(O_CREAT | O_TRUNC);
  for (step_ = 1; step_ <= settings_.operations; ++step_) {
    do {
      current_ = &choices_[below(choices_.size())];
    } while (current_->disabled || (settings_.direct && !current_->with_direct));
    (this->*current_->run)();
    ++current_->count;
    check_size();
  }
  const ssize_t got = pread(fd_, buffer_.data(), settings_.length_bytes, 0);
  expect(static_cast<size_t>(got) == size_, "last read");
  compare(buffer_.data(), {0, size_});
  expect(fsync(fd_) == 0 && close(fd_) == 0, "last sync");
  for (const Choice& choice : choices_) std::printf("%s %zu; ", choice.name, choice.count);
  ntfs::support::Sha256 hash;
  hash.update({model_.data(), size_});
  std::printf("\nsha256 %s %zu\n", hash.hex_digest().c_str(), size_);
}

bool parse(int argc, char** argv, Settings& settings) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--direct") {
      settings.direct = true;
    } else if (word == "--strict") {
      settings.strict = true;
    } else if (word.starts_with("--")) {
      if (i + 1 == argc) return false;
      const std::string_view digits = argv[++i];
      uint64_t value = 0;
      if (std::from_chars(digits.begin(), digits.end(), value).ptr != digits.end()) return false;
      if (word == "--seed") settings.seed = value;
      if (word == "--ops") settings.operations = value;
      if (word == "--length") settings.length_bytes = value / kAlignment * kAlignment;
    } else {
      settings.path = word;
    }
  }
  return !settings.path.empty() && settings.length_bytes >= kAlignment;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  if (!parse(argc, argv, settings)) {
    std::fprintf(stderr,
                 "usage: fsx [--seed N] [--ops N] [--length BYTES] [--direct] [--strict] FILE\n");
    return 64;
  }
  Exerciser(settings).run();
  return 0;
}
