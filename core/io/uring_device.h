#pragma once

// BlockDevice over an image file or a block device: io_uring with O_DIRECT. A thread that transfers
// checks a ring out of a pool, submits its requests, waits for them and puts the ring back; a
// single small transfer is one plain system call. Where O_DIRECT or io_uring is refused it says so
// once and works without. This file's source is the one place below fuse/ that knows errno.
//
// Exclusion: ReadWrite claims a block device with O_EXCL and locks an image file with flock; both
// end with the object, or with the process. Open it after fork(), never before. An image that is
// open for writing elsewhere, by a loop device, say, is refused, which a lease tells.
// Source: io_uring(7), open(2) "O_DIRECT", fcntl(2) "F_SETLEASE", statx(2), pwritev2(2)
// "RWF_DSYNC".

#include <atomic>
#include <string>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/io/buffer_arena.h"
#include "core/io/durable_way.h"

namespace ntfs {

class UringDevice final : public BlockDevice {
 public:
  enum class Access { ReadOnly, ReadWrite };
  /// Synchronous: without io_uring, one transfer after the other.
  enum class Engine { Uring, Synchronous };
  struct Options {
    Engine engine = Engine::Uring;
    uint32_t queue_depth = 64;  ///< transfers under way for one call; 1 to 4096
    uint32_t max_rings = 16;    ///< calls that run at once; others wait; at least 1
    /// Memory that allocate() gives out before it turns to the heap. It stays resident.
    size_t arena_bytes = size_t{16} << 20;
    /// The caller's transfers are multiples of this. Where direct transfers need larger blocks,
    /// they go through the page cache. 512 or 4096.
    uint32_t max_block_size = 4096;
  };

  /// Errors: SharingViolation (ReadWrite: in use elsewhere), ObjectNameNotFound, AccessDenied,
  /// MediaWriteProtected, FileIsADirectory, InvalidDeviceRequest (neither file nor block device),
  /// IoDeviceError. All are logged, with the path and the cause. ReadOnly works on what is in use
  /// elsewhere: see in_use_elsewhere().
  static Result<std::unique_ptr<UringDevice>> open(const std::string& path, Access access,
                                                   const Options& options);
  ~UringDevice() override;

  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t logical_block_size() const override { return block_size_; }
  bool is_read_only() const override { return access_ == Access::ReadOnly; }

  Result<> transfer(std::span<const IoRequest> requests) override;
  Result<> transfer_durable(std::span<const IoRequest> writes) override;
  Result<> flush() override;
  /// Image file: the range becomes a hole and reads as zeros. Block device: TRIM.
  Result<> discard(uint64_t offset, uint64_t length_bytes) override;
  AlignedBuffer allocate(size_t size_bytes) override { return {size_bytes, arena_}; }

  /// Does this process, or another, have it open for writing, or the kernel have it mounted? As it
  /// was when it was opened ReadOnly.
  bool in_use_elsewhere() const { return in_use_elsewhere_; }
  /// Would ReadWrite be refused for want of rights, or because the device is read-only?
  bool is_write_protected() const { return write_protected_; }
  bool is_block_device() const { return is_block_device_; }
  bool is_direct() const { return direct_; }
  /// Did the kernel accept the arena? Without, transfers from it are merely slower.
  bool has_registered_buffers() const { return registered_; }

 private:
  class Ring;
  enum class Durability { Later, OnCompletion };

  UringDevice(std::string path, Access access, const Options& options);
  Result<> open_file();
  Result<> lock_image();
  Result<> measure_image(uint64_t file_size);
  Result<> measure_block_device();
  void start_engine();

  Result<> check_range(uint64_t offset, uint64_t length) const;
  Result<> check(std::span<const IoRequest> requests) const;
  bool is_plain_call(std::span<const IoRequest> requests) const;
  Result<> run(std::span<const IoRequest> requests, Durability durability);
  Result<> write_durably(std::span<const IoRequest> writes, DurableWay::Way way);
  Result<> write_and_flush(std::span<const IoRequest> writes);
  Result<> sync();

  /// Null when no further ring can be made; the caller does without.
  std::unique_ptr<Ring> check_out() EXCLUDES(mutex_);
  void check_in(std::unique_ptr<Ring> ring) EXCLUDES(mutex_);

  // Const once open() returned.
  const std::string path_;
  const Access access_;
  const Options options_;
  int fd_ = -1;
  bool is_block_device_ = false;
  bool write_protected_ = false;
  bool direct_ = false;
  bool in_use_elsewhere_ = false;
  bool uses_uring_ = false;
  uint64_t size_bytes_ = 0;
  uint32_t block_size_ = 512;
  bool registered_ = false;

  // Writes are counted when they have completed and are not known to be durable. What an earlier
  // process wrote may not be durable either: hence the 1.
  std::atomic<uint64_t> plain_writes_{1};
  std::atomic<uint64_t> durable_writes_{0};  // how many of plain_writes_ are on stable storage
  // After a failed flush the kernel may have dropped the data, and a second one would succeed.
  std::atomic<bool> flush_failed_{false};

  DurableWay durable_way_;
  BufferArena arena_;
  Mutex mutex_{LockRank::Device};
  ConditionVariable ring_returned_;
  std::vector<std::unique_ptr<Ring>> free_rings_ GUARDED_BY(mutex_);  // used last at the back
  uint32_t count_rings_ GUARDED_BY(mutex_) = 0;
};

/// Makes a sparse image file of `size_bytes`. ObjectNameCollision if `path` exists; FileTooLarge if
/// the file system there cannot hold such a file; else as open(). Logs what went wrong.
Result<> create_image(const std::string& path, uint64_t size_bytes);

}  // namespace ntfs
