#pragma once

// A device on a DiskImage that remembers every call which changes it, in the order in which they
// ended, so that the state of a disk that lost power at any moment can be made later (power_cut.h).
//
// A call is one moment: its writes were under way together, in any order. What a write puts on the
// device is sure once a later flush or durable transfer has returned (the durable transfer's own
// writes with it). Until then each write may be there, not be there, or in part, by sectors.
// A discard counts as a write of kDiscarded over its range. Thread safe: one call at a time.

#include <string>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "tests/crash/disk_image.h"

namespace ntfs::crash {

/// What stands on the device where nobody has written since; never in a file's data.
constexpr std::byte kNeverWritten{0xF5};
constexpr std::byte kDiscarded{0xF6};

struct Recording {
  enum class CallKind { Transfer, DurableTransfer, Flush, Discard };
  struct Write {
    uint64_t offset = 0;
    size_t length = 0;
    size_t position = 0;  ///< of its bytes in Recording::bytes
  };
  struct Call {
    CallKind kind = CallKind::Transfer;
    size_t first_write = 0;  ///< its writes are [first_write, end_write)
    size_t end_write = 0;
    size_t sure_writes = 0;  ///< those before this one were sure when the call began
  };

  std::vector<Write> writes;
  std::vector<Call> calls;
  ByteVector bytes;

  ByteView bytes_of(const Write& write) const {
    return ByteView(bytes).subspan(write.position, write.length);
  }
};

class RecordingDevice final : public BlockDevice {
 public:
  /// The image must outlive the device. `recording`: null when nobody wants it.
  RecordingDevice(DiskImage& image, uint32_t block_size, Recording* recording)
      : image_(image), block_size_(block_size), recording_(recording) {}

  uint64_t size_bytes() const override { return image_.size_bytes(); }
  uint32_t logical_block_size() const override { return block_size_; }
  bool is_read_only() const override { return false; }
  Result<> transfer(std::span<const IoRequest> requests) override;
  Result<> transfer_durable(std::span<const IoRequest> writes) override;
  Result<> flush() override;
  Result<> discard(uint64_t offset, uint64_t length_bytes) override;

  /// Which structure was written so that a crash could leave a mix that looks whole (unseen_mix.h);
  /// empty: none.
  std::string unseen_mix() const EXCLUDES(mutex_);

  /// Calls recorded so far.
  size_t count_calls() const EXCLUDES(mutex_);

 private:
  Result<> check(uint64_t offset, uint64_t length) const;
  Result<> run(std::span<const IoRequest> requests, Recording::CallKind kind) EXCLUDES(mutex_);
  void put(uint64_t offset, ByteView from) REQUIRES(mutex_);
  void begin_call(Recording::CallKind kind) REQUIRES(mutex_);
  void end_call() REQUIRES(mutex_);

  DiskImage& image_;
  const uint32_t block_size_;
  mutable Mutex mutex_{LockRank::Device};
  Recording* const recording_;  // guarded by mutex_ while the device is in use
  size_t sure_writes_ GUARDED_BY(mutex_) = 0;
  std::string unseen_mix_ GUARDED_BY(mutex_);
};

}  // namespace ntfs::crash
