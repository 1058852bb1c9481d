#include "core/io/uring_device.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "core/base/trace.h"

namespace ntfs {

namespace {

constexpr uint32_t kSector = 512;
// Larger requests are split here. The kernel keeps many parts of one request under way by itself,
// so this only bounds how much memory one request pins.
constexpr size_t kLargestPiece = size_t{8} << 20;
// Up to this size a lone transfer is cheaper as one pread or pwrite than through a ring.
constexpr size_t kLargestPlainCall = size_t{64} << 10;
// How often a transfer is tried again, a millisecond apart, when the kernel says EAGAIN.
constexpr uint32_t kMostStalls = 10000;
// How often it is asked, a millisecond apart, whether an image is open for writing elsewhere.
constexpr int kMostLeaseAttempts = 500;
constexpr std::string_view kInUse =
    "in use: mounted, or open in another program; unmount it or end that program first";
// Beside errno values: the file ended before the transfer did.
constexpr int kPastEnd = -1;

NtStatus status_of_open(int error) {
  switch (error) {
    case ENOENT:
      return NtStatus::ObjectNameNotFound;
    case ENOTDIR:
      return NtStatus::ObjectPathNotFound;
    case EEXIST:
      return NtStatus::ObjectNameCollision;
    case ELOOP:
    case ENAMETOOLONG:
      return NtStatus::ObjectNameInvalid;
    case EACCES:
    case EPERM:
      return NtStatus::AccessDenied;
    case EROFS:
      return NtStatus::MediaWriteProtected;
    case EBUSY:
    case ETXTBSY:
    case EWOULDBLOCK:
      return NtStatus::SharingViolation;
    case EISDIR:
      return NtStatus::FileIsADirectory;
    case ENXIO:
    case ENODEV:
      return NtStatus::NoSuchDevice;
    case ENOSPC:
    case EDQUOT:
      return NtStatus::DiskFull;
    case EFBIG:
    case EOVERFLOW:
      return NtStatus::FileTooLarge;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return NtStatus::InsufficientResources;
    default:
      return NtStatus::IoDeviceError;
  }
}

NtStatus status_of_transfer(int error) {
  switch (error) {
    case kPastEnd:
      return NtStatus::EndOfFile;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return NtStatus::DiskFull;
    case EROFS:
    case EPERM:  // a block device that was made read-only
      return NtStatus::MediaWriteProtected;
    case EOPNOTSUPP:
    case ENOTTY:
    case ENOSYS:
      return NtStatus::NotSupported;
    case ENOMEM:
      return NtStatus::InsufficientResources;
    default:
      return NtStatus::IoDeviceError;
  }
}

std::string error_text(int error) {
  if (error == kPastEnd) return "the file is shorter than when it was opened";
  const char* text = strerrordesc_np(error);
  return text != nullptr ? text : fmt::format("error {}", error);
}

NtStatus refuse(const std::string& path, std::string_view why, NtStatus status) {
  log_line(LogLevel::Error, fmt::format("{}: {}", path, why));
  return status;
}

/// What is left to do of a request, or of a part of one.
struct Piece {
  IoRequest::Kind kind = IoRequest::Kind::Read;
  uint64_t offset = 0;
  std::byte* memory = nullptr;
  size_t length = 0;
  uint32_t count_stalls = 0;
};

/// What stopped a call: errno or kPastEnd (0: nothing did), and where.
struct Failure {
  int error = 0;
  Piece piece;
};

/// Takes the result of one transfer, bytes or a negative errno, into `piece`. Returns 0 when it is
/// done (its length is 0 then) or has to go on, else what stopped it.
int settle(Piece& piece, int64_t result, uint32_t block_size) {
  if (result == -EINTR || result == -EAGAIN) {
    if (++piece.count_stalls > kMostStalls) return EAGAIN;
    if (result == -EAGAIN) usleep(1000);
    return 0;
  }
  if (result < 0) return static_cast<int>(-result);
  size_t moved = std::min(static_cast<size_t>(result), piece.length);
  // A direct transfer can only go on at a block, and a short one ends inside a block at the end
  // of the file.
  if (moved < piece.length) moved = align_down(moved, block_size);
  if (moved == 0) return piece.kind == IoRequest::Kind::Read ? kPastEnd : EIO;
  piece.offset += moved;
  piece.memory += moved;
  piece.length -= moved;
  return 0;
}

/// The requests one after the other, without a ring.
Failure run_synchronously(int fd, std::span<const IoRequest> requests, int rw_flags,
                          uint32_t block_size) {
  for (const IoRequest& request : requests) {
    Piece piece{request.kind, request.offset, request.memory.data(), request.memory.size(), 0};
    while (piece.length != 0) {
      const iovec memory{piece.memory, piece.length};
      const auto offset = static_cast<off_t>(piece.offset);
      const ssize_t moved = piece.kind == IoRequest::Kind::Read
                                ? preadv2(fd, &memory, 1, offset, 0)
                                : pwritev2(fd, &memory, 1, offset, rw_flags);
      const int error = settle(piece, moved < 0 ? -errno : moved, block_size);
      if (error != 0) return {error, piece};
    }
  }
  return {};
}

}  // namespace

/// One io_uring and the pieces under way in it. Used by one thread at a time.
class UringDevice::Ring {
 public:
  /// Null with errno in `error` when the kernel refuses.
  static std::unique_ptr<Ring> create(uint32_t depth, const BufferArena& arena, int& error) {
    std::unique_ptr<Ring> ring(new Ring(depth, arena));
    error = -ring->start(depth);
    if (error != 0) return nullptr;
    return ring;
  }
  ~Ring() {
    if (started_) io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Returns when nothing is under way any more. After a failure nothing new is started.
  Failure run(int fd, std::span<const IoRequest> requests, uint32_t block_size);
  bool has_registered_buffers() const { return registered_; }
  /// False: the ring holds entries that must never be submitted.
  bool is_usable() const { return usable_; }

 private:
  struct Call {
    int fd;
    uint32_t block_size;
    Failure failure;
  };

  Ring(uint32_t depth, const BufferArena& arena) : arena_(arena), slots_(depth) {
    for (uint32_t i = 0; i < depth; ++i) free_slots_.push_back(i);
  }
  int start(uint32_t depth);
  void fill(std::span<const IoRequest> requests, Call& call);
  void queue(uint32_t slot, const Call& call);
  uint32_t reap(Call& call);

  const BufferArena& arena_;  // must outlive the ring
  io_uring ring_{};
  bool started_ = false;
  bool registered_ = false;
  bool usable_ = true;
  std::vector<Piece> slots_;
  std::vector<uint32_t> free_slots_;
  size_t next_request_ = 0;   // the first request that is not wholly in slots
  size_t next_position_ = 0;  // and what of it is
};

int UringDevice::Ring::start(uint32_t depth) {
  // Without COOP_TASKRUN (Linux 5.19) each completion interrupts the thread that submitted.
  int result = io_uring_queue_init(depth, &ring_, IORING_SETUP_COOP_TASKRUN);
  if (result == -EINVAL) result = io_uring_queue_init(depth, &ring_, 0);
  if (result < 0) return result;
  started_ = true;
  const MutableBytes memory = arena_.bytes();
  if (memory.empty()) return 0;
  const iovec range{memory.data(), memory.size()};
  registered_ = io_uring_register_buffers(&ring_, &range, 1) == 0;
  return 0;
}

void UringDevice::Ring::queue(uint32_t slot, const Call& call) {
  const Piece& piece = slots_[slot];
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  ASSERT(entry != nullptr);  // as many entries as slots
  const auto length = static_cast<unsigned>(piece.length);
  const bool fixed = registered_ && arena_.contains({piece.memory, piece.length});
  if (piece.kind == IoRequest::Kind::Read) {
    if (fixed) {
      io_uring_prep_read_fixed(entry, call.fd, piece.memory, length, piece.offset, 0);
    } else {
      io_uring_prep_read(entry, call.fd, piece.memory, length, piece.offset);
    }
  } else {
    if (fixed) {
      io_uring_prep_write_fixed(entry, call.fd, piece.memory, length, piece.offset, 0);
    } else {
      io_uring_prep_write(entry, call.fd, piece.memory, length, piece.offset);
    }
  }
  io_uring_sqe_set_data64(entry, slot);
}

/// Puts pieces into free slots as long as there are both.
void UringDevice::Ring::fill(std::span<const IoRequest> requests, Call& call) {
  while (call.failure.error == 0 && next_request_ < requests.size() && !free_slots_.empty()) {
    const IoRequest& request = requests[next_request_];
    const size_t length = std::min(request.memory.size() - next_position_, kLargestPiece);
    if (length != 0) {
      const uint32_t slot = free_slots_.back();
      free_slots_.pop_back();
      slots_[slot] = {request.kind, request.offset + next_position_,
                      request.memory.data() + next_position_, length, 0};
      queue(slot, call);
    }
    next_position_ += length;
    if (next_position_ == request.memory.size()) {
      ++next_request_;
      next_position_ = 0;
    }
  }
}

/// Takes in what has completed; short ones are queued again. Returns how many pieces ended.
uint32_t UringDevice::Ring::reap(Call& call) {
  uint32_t ended = 0;
  unsigned seen = 0;
  unsigned head = 0;
  io_uring_cqe* completion = nullptr;
  io_uring_for_each_cqe(&ring_, head, completion) {
    ++seen;
    const auto slot = static_cast<uint32_t>(completion->user_data);
    Piece& piece = slots_[slot];
    const int error = settle(piece, completion->res, call.block_size);
    if (error != 0 && call.failure.error == 0) call.failure = {error, piece};
    if (error == 0 && piece.length != 0 && call.failure.error == 0) {
      queue(slot, call);
      continue;
    }
    free_slots_.push_back(slot);
    ++ended;
  }
  io_uring_cq_advance(&ring_, seen);
  return ended;
}

Failure UringDevice::Ring::run(int fd, std::span<const IoRequest> requests, uint32_t block_size) {
  Call call{fd, block_size, {}};
  uint32_t under_way = 0;
  uint32_t count_stalls = 0;
  next_request_ = next_position_ = 0;
  for (;;) {
    const size_t free_before = free_slots_.size();
    fill(requests, call);
    under_way += static_cast<uint32_t>(free_before - free_slots_.size());
    if (under_way == 0) return call.failure;
    // With more to come, wake up in time to keep the device busy.
    const bool is_last = next_request_ == requests.size() || call.failure.error != 0;
    const int result = io_uring_submit_and_wait(
        &ring_, is_last ? under_way : static_cast<unsigned>(divide_up(under_way, 4)));
    const uint32_t ended = reap(call);
    under_way -= ended;
    if (result >= 0 || result == -EINTR || ended != 0) continue;
    ASSERT(result == -EAGAIN || result == -EBUSY);
    // The kernel is short of memory. What it accepted will complete, so only give up without.
    if (io_uring_sq_ready(&ring_) == under_way && ++count_stalls > kMostStalls) {
      usable_ = false;
      return {ENOMEM, slots_.front()};
    }
    usleep(1000);
  }
}

UringDevice::UringDevice(std::string path, Access access, const Options& options)
    : path_(std::move(path)),
      access_(access),
      options_(options),
      arena_(options.engine == Engine::Uring ? options.arena_bytes : 0) {}

UringDevice::~UringDevice() {
  {
    MutexLock lock(mutex_);
    ASSERT(free_rings_.size() == count_rings_);  // no call is under way
    free_rings_.clear();
  }
  if (fd_ < 0) return;
  // Explicit, because the kernel may hold the open file a little longer than the descriptor.
  if (!is_block_device_) flock(fd_, LOCK_UN);
  close(fd_);
}

Result<std::unique_ptr<UringDevice>> UringDevice::open(const std::string& path, Access access,
                                                       const Options& options) {
  std::unique_ptr<UringDevice> device(new UringDevice(path, access, options));
  TRY(device->open_file());
  device->start_engine();
  return device;
}

namespace {

/// Whether another program, or a loop device, has the image open for writing: a file system that is
/// mounted through it locks nothing. Not everybody may ask, nor everywhere; then nobody is known.
bool is_open_for_writing(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return false;
  bool is_written = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  // Who opens it for writing meanwhile is told by a signal that nobody minds, and waits.
  if (!is_written && fcntl(fd, F_SETSIG, SIGURG) == 0) {
    // What was unmounted just now may still be on its way.
    for (int attempt = 0; attempt < kMostLeaseAttempts; ++attempt) {
      is_written = fcntl(fd, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
      if (!is_written) break;
      usleep(1000);
    }
    fcntl(fd, F_SETLEASE, F_UNLCK);
  }
  close(fd);
  return is_written;
}

}  // namespace

Result<> UringDevice::open_file() {
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0) {
    return refuse(path_, error_text(errno), status_of_open(errno));
  }
  if (S_ISDIR(status.st_mode)) {
    return refuse(path_, error_text(EISDIR), NtStatus::FileIsADirectory);
  }
  is_block_device_ = S_ISBLK(status.st_mode);
  if (!is_block_device_ && !S_ISREG(status.st_mode)) {
    return refuse(path_, "neither an image file nor a block device",
                  NtStatus::InvalidDeviceRequest);
  }
  int flags = O_CLOEXEC | O_NOCTTY | (is_read_only() ? O_RDONLY : O_RDWR);
  if (is_block_device_ && !is_read_only()) flags |= O_EXCL;
  if (is_block_device_ && is_read_only()) {
    const int probe = ::open(path_.c_str(), flags | O_EXCL);
    in_use_elsewhere_ = probe < 0 && errno == EBUSY;
    if (probe >= 0) close(probe);
  }
  if (!is_block_device_ && !is_read_only() && is_open_for_writing(path_)) {
    return refuse(path_, kInUse, NtStatus::SharingViolation);
  }
  fd_ = ::open(path_.c_str(), flags);
  if (fd_ < 0 && errno == EBUSY) return refuse(path_, kInUse, NtStatus::SharingViolation);
  if (fd_ < 0) return refuse(path_, error_text(errno), status_of_open(errno));
  if (fstat(fd_, &status) != 0) return refuse(path_, error_text(errno), status_of_open(errno));
  if (S_ISBLK(status.st_mode) != is_block_device_) {
    return refuse(path_, "replaced while it was opened", NtStatus::SharingViolation);
  }
  write_protected_ = faccessat(AT_FDCWD, path_.c_str(), W_OK, AT_EACCESS) != 0;
  if (is_block_device_) return measure_block_device();
  TRY(lock_image());
  if (fstat(fd_, &status) != 0) return refuse(path_, error_text(errno), status_of_open(errno));
  return measure_image(static_cast<uint64_t>(status.st_size));
}

// Readers share the lock, so that no writer starts while one looks on; but who only reads may
// also look at an image that is mounted.
Result<> UringDevice::lock_image() {
  if (flock(fd_, (is_read_only() ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) {
    log_line(LogLevel::Warning,
             fmt::format("{}: cannot be locked ({}); make sure that nothing else uses it", path_,
                         error_text(errno)));
    return {};
  }
  if (is_read_only()) {
    in_use_elsewhere_ = true;
    return {};
  }
  return refuse(path_, kInUse, NtStatus::SharingViolation);
}

namespace {

/// The block size that direct transfers from and to image `fd` need; 0 when it cannot do them.
uint32_t direct_block_size(int fd) {
  struct statx details {};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &details) == 0 &&
      (details.stx_mask & STATX_DIOALIGN) != 0) {
    if (details.stx_dio_offset_align == 0) return 0;
    return std::max({kSector, details.stx_dio_offset_align, details.stx_dio_mem_align});
  }
  // Linux before 6.1, or a file system that does not tell: try.
  AlignedBuffer buffer(AlignedBuffer::kAlignment);
  for (const uint32_t size : {kSector, uint32_t{4096}}) {
    if (pread(fd, buffer.data(), size, 0) >= 0) return size;
  }
  return 0;
}

}  // namespace

Result<> UringDevice::measure_image(uint64_t file_size) {
  size_bytes_ = align_down(file_size, kSector);
  const int flags = fcntl(fd_, F_GETFL);
  if (flags >= 0 && fcntl(fd_, F_SETFL, flags | O_DIRECT) == 0) {
    const uint32_t block_size = direct_block_size(fd_);
    const uint32_t largest = std::min<uint32_t>(options_.max_block_size, AlignedBuffer::kAlignment);
    // Blocks that are too large, or a file that ends inside a block, could not be used to the end.
    direct_ = is_power_of_two(block_size) && block_size <= largest && size_bytes_ % block_size == 0;
    if (direct_) {
      block_size_ = block_size;
      return {};
    }
    if (fcntl(fd_, F_SETFL, flags & ~O_DIRECT) != 0) {
      return refuse(path_, error_text(errno), NtStatus::IoDeviceError);
    }
  }
  block_size_ = kSector;
  log_line(LogLevel::Note,
           fmt::format("{}: O_DIRECT is not possible here; using the page cache", path_));
  return {};
}

Result<> UringDevice::measure_block_device() {
  int block_size = 0;
  int read_only = 0;
  if (ioctl(fd_, BLKSSZGET, &block_size) != 0 || ioctl(fd_, BLKGETSIZE64, &size_bytes_) != 0 ||
      ioctl(fd_, BLKROGET, &read_only) != 0) {
    return refuse(path_, error_text(errno), status_of_open(errno));
  }
  write_protected_ = write_protected_ || read_only != 0;
  if (!is_read_only() && read_only != 0) {
    return refuse(path_, "the device is read-only", NtStatus::MediaWriteProtected);
  }
  const auto blocks = static_cast<uint32_t>(block_size);
  const uint32_t largest = std::min<uint32_t>(options_.max_block_size, AlignedBuffer::kAlignment);
  size_bytes_ = align_down(size_bytes_, std::max(blocks, kSector));
  const int flags = fcntl(fd_, F_GETFL);
  direct_ = blocks >= kSector && blocks <= largest && is_power_of_two(blocks) && flags >= 0 &&
            fcntl(fd_, F_SETFL, flags | O_DIRECT) == 0;
  block_size_ = direct_ ? blocks : kSector;
  if (!direct_) {
    log_line(LogLevel::Note, fmt::format("{}: {}; using the page cache", path_,
                                         blocks <= largest ? "refuses O_DIRECT"
                                                           : "its blocks are larger than what is "
                                                             "to be written"));
  }
  return {};
}

void UringDevice::start_engine() {
  if (options_.engine == Engine::Synchronous) return;
  uses_uring_ = true;
  int error = 0;
  const uint32_t depth = std::clamp<uint32_t>(options_.queue_depth, 1, 4096);
  std::unique_ptr<Ring> ring = Ring::create(depth, arena_, error);
  if (ring == nullptr) {
    uses_uring_ = false;
    log_line(LogLevel::Note, fmt::format("io_uring is not possible here ({}); doing one transfer "
                                         "after the other",
                                         error_text(error)));
    return;
  }
  registered_ = ring->has_registered_buffers();
  MutexLock lock(mutex_);
  free_rings_.push_back(std::move(ring));
  count_rings_ = 1;
}

std::unique_ptr<UringDevice::Ring> UringDevice::check_out() {
  {
    MutexLock lock(mutex_);
    while (free_rings_.empty() && count_rings_ >= std::max<uint32_t>(options_.max_rings, 1)) {
      ring_returned_.wait(mutex_);
    }
    if (!free_rings_.empty()) {
      std::unique_ptr<Ring> ring = std::move(free_rings_.back());
      free_rings_.pop_back();
      return ring;
    }
    ++count_rings_;
  }
  int error = 0;
  const uint32_t depth = std::clamp<uint32_t>(options_.queue_depth, 1, 4096);
  std::unique_ptr<Ring> ring = Ring::create(depth, arena_, error);
  if (ring == nullptr) check_in(nullptr);
  return ring;
}

void UringDevice::check_in(std::unique_ptr<Ring> ring) {
  MutexLock lock(mutex_);
  if (ring != nullptr && ring->is_usable()) {
    free_rings_.push_back(std::move(ring));
  } else {
    --count_rings_;
  }
  ring_returned_.notify_one();
}

Result<> UringDevice::check_range(uint64_t offset, uint64_t length) const {
  if (offset % block_size_ != 0 || length % block_size_ != 0) return NtStatus::InvalidParameter;
  if (offset > size_bytes_ || length > size_bytes_ - offset) return NtStatus::EndOfFile;
  return {};
}

Result<> UringDevice::check(std::span<const IoRequest> requests) const {
  for (const IoRequest& request : requests) {
    if (reinterpret_cast<uintptr_t>(request.memory.data()) % block_size_ != 0) {
      return NtStatus::InvalidParameter;
    }
    TRY(check_range(request.offset, request.memory.size()));
    if (request.kind == IoRequest::Kind::Write && is_read_only()) {
      return NtStatus::MediaWriteProtected;
    }
  }
  return {};
}

bool UringDevice::is_plain_call(std::span<const IoRequest> requests) const {
  return !uses_uring_ || (requests.size() == 1 && requests[0].memory.size() <= kLargestPlainCall);
}

Result<> UringDevice::run(std::span<const IoRequest> requests, Durability durability) {
  Failure failure;
  std::unique_ptr<Ring> ring;
  if (durability == Durability::Later && !is_plain_call(requests)) ring = check_out();
  if (ring != nullptr) {
    failure = ring->run(fd_, requests, block_size_);
    check_in(std::move(ring));
  } else {
    const int rw_flags = durability == Durability::OnCompletion ? RWF_DSYNC : 0;
    failure = run_synchronously(fd_, requests, rw_flags, block_size_);
  }
  if (failure.error == 0) return {};
  const Piece& piece = failure.piece;
  return refuse(path_,
                fmt::format("{} {} bytes at {:#x}: {}",
                            piece.kind == IoRequest::Kind::Read ? "reading" : "writing",
                            piece.length, piece.offset, error_text(failure.error)),
                status_of_transfer(failure.error));
}

Result<> UringDevice::transfer(std::span<const IoRequest> requests) {
  TRY(check(requests));
  const bool writes = std::any_of(requests.begin(), requests.end(), [](const IoRequest& request) {
    return request.kind == IoRequest::Kind::Write;
  });
  Result<> result = run(requests, Durability::Later);
  // Counted after they completed: a flush between the two would have missed them. Also after a
  // failure, for some may have been done.
  if (writes) plain_writes_.fetch_add(1, std::memory_order_release);
  return result;
}

// Several writes go to the device at once, and one flush makes all of them durable: RWF_DSYNC would
// cost a worker thread in the ring and, where the device has no FUA, a flush for each.
Result<> UringDevice::transfer_durable(std::span<const IoRequest> writes) {
  for (const IoRequest& request : writes) {
    if (request.kind != IoRequest::Kind::Write) return NtStatus::InvalidParameter;
  }
  TRY(check(writes));
  if (writes.empty()) return flush();
  if (flush_failed_.load(std::memory_order_acquire)) return NtStatus::IoDeviceError;
  const bool all_durable = durable_writes_.load(std::memory_order_acquire) >=
                           plain_writes_.load(std::memory_order_acquire);
  if (!all_durable || writes.size() != 1 || !is_plain_call(writes)) {
    return write_and_flush(writes);
  }
  // A lone small write, with all before it durable: either way will do.
  const DurableWay::Way way = durable_way_.next();
  if (durable_way_.is_chosen()) return write_durably(writes, way);
  const auto begin = std::chrono::steady_clock::now();
  TRY(write_durably(writes, way));
  durable_way_.took(way, std::chrono::steady_clock::now() - begin);
  return {};
}

Result<> UringDevice::write_durably(std::span<const IoRequest> writes, DurableWay::Way way) {
  if (way == DurableWay::Way::Flush) return write_and_flush(writes);
  Result<> result = run(writes, Durability::OnCompletion);
  if (!result) plain_writes_.fetch_add(1, std::memory_order_release);  // some may be done
  return result;
}

Result<> UringDevice::write_and_flush(std::span<const IoRequest> writes) {
  Result<> result = run(writes, Durability::Later);
  plain_writes_.fetch_add(1, std::memory_order_release);
  TRY(std::move(result));
  return flush();
}

Result<> UringDevice::flush() {
  if (flush_failed_.load(std::memory_order_acquire)) return NtStatus::IoDeviceError;
  const uint64_t written = plain_writes_.load(std::memory_order_acquire);
  uint64_t durable = durable_writes_.load(std::memory_order_acquire);
  if (durable >= written || is_read_only()) return {};
  TRY(sync());
  // Another thread may have got further in the meantime.
  while (durable < written && !durable_writes_.compare_exchange_weak(durable, written)) {
  }
  return {};
}

// The system call, not the ring's fsync: that one always costs a switch to a worker thread.
Result<> UringDevice::sync() {
  int result = 0;
  do {
    result = fdatasync(fd_);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return {};
  const int error = errno;
  flush_failed_.store(true, std::memory_order_release);
  const NtStatus status = status_of_transfer(error) == NtStatus::DiskFull ? NtStatus::DiskFull
                                                                          : NtStatus::IoDeviceError;
  return refuse(path_, fmt::format("flushing: {}", error_text(error)), status);
}

Result<> UringDevice::discard(uint64_t offset, uint64_t length_bytes) {
  TRY(check_range(offset, length_bytes));
  if (is_read_only()) return NtStatus::MediaWriteProtected;
  if (length_bytes == 0) return {};
  uint64_t range[2] = {offset, length_bytes};
  const int result = is_block_device_
                         ? ioctl(fd_, BLKDISCARD, range)
                         : fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     static_cast<off_t>(offset), static_cast<off_t>(length_bytes));
  const int error = result == 0 ? 0 : errno;
  plain_writes_.fetch_add(1, std::memory_order_release);
  if (error == 0) return {};
  const NtStatus status = status_of_transfer(error);
  if (status == NtStatus::NotSupported) return status;
  return refuse(
      path_,
      fmt::format("discarding {} bytes at {:#x}: {}", length_bytes, offset, error_text(error)),
      status);
}

Result<> create_image(const std::string& path, uint64_t size_bytes) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return refuse(path, error_text(errno), status_of_open(errno));
  int error = 0;
  if (size_bytes > static_cast<uint64_t>(INT64_MAX)) {
    error = EFBIG;
  } else if (ftruncate(fd, static_cast<off_t>(size_bytes)) != 0) {
    error = errno;
  }
  close(fd);
  if (error == 0) return {};
  unlink(path.c_str());
  return refuse(path,
                fmt::format("cannot be made {} bytes long: {}", size_bytes, error_text(error)),
                status_of_open(error));
}

}  // namespace ntfs
