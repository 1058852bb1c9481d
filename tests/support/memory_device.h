#pragma once

// A BlockDevice in memory: sparse (chunks of 64 KiB that were ever written, so a 16 TiB device
// costs what it holds), with counters and with faults on demand. Thread safe: one call at a time.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "core/base/mutex.h"
#include "core/io/block_device.h"

namespace ntfs::testing {

class MemoryDevice final : public BlockDevice {
 public:
  struct Counters {
    uint64_t reads = 0;      ///< requests, not calls
    uint64_t writes = 0;     ///< requests, not calls
    uint64_t transfers = 0;  ///< calls of transfer and transfer_durable
    uint64_t durable_transfers = 0;
    uint64_t flushes = 0;
    uint64_t discards = 0;
    uint64_t bytes_read = 0;
    uint64_t bytes_written = 0;
  };
  /// Does a fault go away once it has struck?
  enum class Lasting { Once, Forever };

  /// Full of zeros. `block_size` is 512 or 4096 and divides `size_bytes`.
  explicit MemoryDevice(uint64_t size_bytes, uint32_t block_size = 512);

  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t logical_block_size() const override { return block_size_; }
  bool is_read_only() const override { return read_only_; }
  Result<> transfer(std::span<const IoRequest> requests) override;
  Result<> transfer_durable(std::span<const IoRequest> writes) override;
  Result<> flush() override;
  Result<> discard(uint64_t offset, uint64_t length_bytes) override;

  /// Not while other threads use the device.
  void make_read_only() { read_only_ = true; }

  /// Discards give NotSupported. Not while other threads use the device.
  void refuse_discards() { discards_ = false; }

  /// The `nth` write request from now (1 is the next) gives IoDeviceError and changes nothing;
  /// with Forever, so does each one after it.
  void fail_write(uint64_t nth, Lasting lasting = Lasting::Once) EXCLUDES(mutex_);
  /// Reads that touch the range give IoDeviceError, until clear_faults().
  void fail_reads(uint64_t offset, uint64_t length_bytes) EXCLUDES(mutex_);
  void clear_faults() EXCLUDES(mutex_);

  Counters counters() const EXCLUDES(mutex_);
  void reset_counters() EXCLUDES(mutex_);
  /// Memory in use for contents.
  uint64_t allocated_bytes() const EXCLUDES(mutex_);

  /// Another device with the same contents; no faults, counters at zero.
  std::unique_ptr<MemoryDevice> clone() const EXCLUDES(mutex_);
  /// Writes the contents to a new or truncated sparse file, for other programs to judge.
  bool save(const std::string& path) const EXCLUDES(mutex_);
  /// The contents of a file, its size rounded down to a block; null if it cannot be read.
  static std::unique_ptr<MemoryDevice> load(const std::string& path, uint32_t block_size = 512);

 private:
  static constexpr uint64_t kChunk = 64 << 10;

  Result<> check(std::span<const IoRequest> requests) const;
  Result<> run_locked(std::span<const IoRequest> requests) REQUIRES(mutex_);
  Result<> read_locked(uint64_t offset, MutableBytes into) REQUIRES(mutex_);
  Result<> write_locked(uint64_t offset, ByteView from) REQUIRES(mutex_);
  void put_locked(uint64_t offset, ByteView from) REQUIRES(mutex_);

  const uint64_t size_bytes_;
  const uint32_t block_size_;
  bool read_only_ = false;  // changes only while one thread uses the device
  bool discards_ = true;    // likewise
  mutable Mutex mutex_{LockRank::Device};
  std::unordered_map<uint64_t, std::unique_ptr<std::byte[]>> chunks_ GUARDED_BY(mutex_);
  Counters counters_ GUARDED_BY(mutex_);
  uint64_t writes_to_failure_ GUARDED_BY(mutex_) = 0;  // 0: no failure ahead
  Lasting write_failure_lasting_ GUARDED_BY(mutex_) = Lasting::Once;
  std::map<uint64_t, uint64_t> unreadable_ GUARDED_BY(mutex_);  // offset -> end
};

}  // namespace ntfs::testing
