#include "core/io/buffer_arena.h"

#include <sys/mman.h>

#include "core/io/block_device.h"

namespace ntfs {

namespace {
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

BufferArena::BufferArena(size_t size_bytes) {
  const size_t size = align_up(size_bytes, kHugePage);
  if (size == 0) return;
  // One huge page more than needed, to cut an aligned range out of it.
  const size_t mapped = size + kHugePage;
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  auto* start = static_cast<std::byte*>(memory);
  const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
  if (before != 0) munmap(start, before);
  munmap(start + before + size, mapped - before - size);
  base_ = start + before;
  size_ = size;
  madvise(base_, size_, MADV_HUGEPAGE);
  free_.emplace(0, size_);
}

BufferArena::~BufferArena() {
  if (base_ == nullptr) return;
  {
    MutexLock lock(mutex_);
    ASSERT(free_.size() == 1 && free_.begin()->second == size_);
  }
  munmap(base_, size_);
}

std::byte* BufferArena::take(size_t size_bytes) {
  ASSERT(size_bytes != 0 && size_bytes % AlignedBuffer::kAlignment == 0);
  MutexLock lock(mutex_);
  for (auto range = free_.begin(); range != free_.end(); ++range) {
    const auto [offset, length] = *range;
    if (length < size_bytes) continue;
    free_.erase(range);
    if (length != size_bytes) free_.emplace(offset + size_bytes, length - size_bytes);
    return base_ + offset;
  }
  return nullptr;
}

void BufferArena::give_back(std::byte* memory, size_t size_bytes) {
  ASSERT(contains({memory, size_bytes}));
  size_t offset = static_cast<size_t>(memory - base_);
  size_t length = size_bytes;
  MutexLock lock(mutex_);
  auto next = free_.lower_bound(offset);
  ASSERT(next == free_.end() || next->first >= offset + length);
  if (next != free_.end() && next->first == offset + length) {
    length += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto previous = std::prev(next);
    ASSERT(previous->first + previous->second <= offset);
    if (previous->first + previous->second == offset) {
      previous->second += length;
      return;
    }
  }
  free_.emplace_hint(next, offset, length);
}

}  // namespace ntfs
