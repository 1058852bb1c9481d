#include "core/io/block_device.h"

#include <cstdlib>
#include <cstring>

#include "core/io/buffer_arena.h"

namespace ntfs {

namespace {

std::byte* allocate_from_heap(size_t size_bytes) {
  if (size_bytes == 0) return nullptr;
  void* memory = std::aligned_alloc(AlignedBuffer::kAlignment, size_bytes);
  if (memory == nullptr) std::abort();  // out of memory ends the process
  return static_cast<std::byte*>(memory);
}

}  // namespace

AlignedBuffer::AlignedBuffer(size_t size_bytes) : size_(align_up(size_bytes, kAlignment)) {
  memory_ = {allocate_from_heap(size_), Free(nullptr, size_)};
  if (size_ != 0) std::memset(memory_.get(), 0, size_);
}

AlignedBuffer::AlignedBuffer(size_t size_bytes, BufferArena& arena)
    : size_(align_up(size_bytes, kAlignment)) {
  std::byte* memory = size_ == 0 ? nullptr : arena.take(size_);
  if (memory != nullptr) {
    memory_ = {memory, Free(&arena, size_)};
  } else {
    memory_ = {allocate_from_heap(size_), Free(nullptr, size_)};
  }
  if (size_ != 0) std::memset(memory_.get(), 0, size_);
}

void AlignedBuffer::Free::operator()(std::byte* memory) const {
  if (arena != nullptr) {
    arena->give_back(memory, size);
  } else {
    std::free(memory);
  }
}

Result<> BlockDevice::discard(uint64_t, uint64_t) { return NtStatus::NotSupported; }

}  // namespace ntfs
