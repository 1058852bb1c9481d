#pragma once

// Zeroed memory for whole log pages, aligned for the device. lfs has its own because it may not
// include core/io.

#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/base/bytes.h"

namespace ntfs::lfs {

class PageBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  PageBuffer() = default;
  /// `size_bytes` must be a multiple of 4096. Out of memory ends the process.
  explicit PageBuffer(size_t size_bytes)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size_bytes))),
        size_(size_bytes) {
    ASSERT(size_bytes % kAlignment == 0 && memory_ != nullptr);
    std::memset(memory_.get(), 0, size_bytes);
  }

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

}  // namespace ntfs::lfs
