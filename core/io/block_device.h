#pragma once

// The device under a volume: an image file, a block device, or memory (tests). Offsets, lengths and
// memory of every transfer are aligned to logical_block_size(). All calls may come from any thread.

#include <memory>
#include <span>
#include <utility>

#include "core/base/bytes.h"

namespace ntfs {

class BufferArena;

/// 4096-aligned memory that goes to the device without a copy. Zeroed when made. One that a device
/// gave out must not outlive that device.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  AlignedBuffer() = default;
  /// Memory of the heap. `size_bytes` is rounded up to a multiple of 4096.
  explicit AlignedBuffer(size_t size_bytes);
  /// Memory of `arena`, which gets it back; of the heap when the arena has no room left.
  AlignedBuffer(size_t size_bytes, BufferArena& arena);
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  size_t size() const { return size_; }
  MutableBytes bytes() { return {memory_.get(), size_}; }
  ByteView bytes() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    Free() : Free(nullptr, 0) {}
    Free(BufferArena* from, size_t size_bytes) : arena(from), size(size_bytes) {}
    BufferArena* arena;  ///< null: the heap
    size_t size;
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte[], Free> memory_;
  size_t size_ = 0;
};

/// One transfer. The memory belongs to the caller and stays until the call returns.
struct IoRequest {
  enum class Kind { Read, Write };
  Kind kind = Kind::Read;
  uint64_t offset = 0;  ///< bytes from the start of the device
  MutableBytes memory;  ///< a write only reads it

  static IoRequest read(uint64_t offset, MutableBytes into) { return {Kind::Read, offset, into}; }
  static IoRequest write(uint64_t offset, ByteView from) {
    return {Kind::Write, offset, {const_cast<std::byte*>(from.data()), from.size()}};
  }
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  virtual uint64_t size_bytes() const = 0;
  /// 512 or 4096: what offsets, lengths and memory are multiples of.
  virtual uint32_t logical_block_size() const = 0;
  virtual bool is_read_only() const = 0;

  /// Runs all requests, in any order and at once, and waits for all. Errors: IoDeviceError,
  /// MediaWriteProtected, DiskFull (a sparse image on a full file system), EndOfFile (past the
  /// end). On an error some of the requests may have been done.
  virtual Result<> transfer(std::span<const IoRequest> requests) = 0;
  /// As transfer, for writes, and returns when they, and all writes that had completed before the
  /// call, are on stable storage.
  virtual Result<> transfer_durable(std::span<const IoRequest> writes) = 0;
  /// Returns when all writes that had completed before the call are on stable storage.
  virtual Result<> flush() = 0;

  /// Says that nobody needs these bytes any more; what a later read finds there is undefined.
  /// NotSupported where the device cannot forget; nothing is lost then.
  virtual Result<> discard(uint64_t offset, uint64_t length_bytes);

  /// Memory for transfers; cheaper than AlignedBuffer where the device registers it.
  virtual AlignedBuffer allocate(size_t size_bytes) { return AlignedBuffer(size_bytes); }

  Result<> read(uint64_t offset, MutableBytes into) {
    const IoRequest request = IoRequest::read(offset, into);
    return transfer({&request, 1});
  }
  Result<> write(uint64_t offset, ByteView from) {
    const IoRequest request = IoRequest::write(offset, from);
    return transfer({&request, 1});
  }
};

}  // namespace ntfs
