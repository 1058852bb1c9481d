#pragma once

// One range of memory that a device registers with the kernel, so that transfers from and to it
// need not look up and pin its pages each time; AlignedBuffers are cut out of it. Huge pages where
// the system has them. Invariant: free ranges never touch each other. Thread safe.

#include <cstddef>
#include <map>
#include <span>

#include "core/base/bytes.h"
#include "core/base/mutex.h"

namespace ntfs {

class BufferArena {
 public:
  /// `size_bytes` is rounded up to a multiple of 2 MiB; 0, or no memory, makes an empty arena.
  explicit BufferArena(size_t size_bytes);
  /// All memory must have come back.
  ~BufferArena();
  BufferArena(const BufferArena&) = delete;
  BufferArena& operator=(const BufferArena&) = delete;

  /// `size_bytes` (a multiple of 4096, not 0) of 4096-aligned memory, or null: no room.
  std::byte* take(size_t size_bytes) EXCLUDES(mutex_);
  void give_back(std::byte* memory, size_t size_bytes) EXCLUDES(mutex_);

  bool contains(ByteView memory) const {
    return memory.data() >= base_ && memory.data() + memory.size() <= base_ + size_;
  }
  MutableBytes bytes() const { return {base_, size_}; }

 private:
  std::byte* base_ = nullptr;  // const after construction
  size_t size_ = 0;            // const after construction
  Mutex mutex_{LockRank::Device};
  std::map<size_t, size_t> free_ GUARDED_BY(mutex_);  // offset -> length of each free range
};

}  // namespace ntfs
