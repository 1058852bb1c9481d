#pragma once

// The device under a volume: an image file, a block device, or memory (tests). Offsets, lengths and
// memory of every transfer are aligned to logical_block_size(). All calls may come from any thread.

#include <cstdlib>
#include <memory>
#include <span>

#include "core/base/bytes.h"

namespace ntfs {

/// 4096-aligned memory that goes to the device without a copy. Zeroed when made.
class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  AlignedBuffer() = default;
  /// `size_bytes` is rounded up to a multiple of 4096.
  explicit AlignedBuffer(size_t size_bytes);
  AlignedBuffer(AlignedBuffer&&) = default;
  AlignedBuffer& operator=(AlignedBuffer&&) = default;

  std::byte* data() { return memory_.get(); }
  const std::byte* data() const { return memory_.get(); }
  size_t size() const { return size_; }
  MutableBytes bytes() { return {memory_.get(), size_}; }
  ByteView bytes() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
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
