#include "fuse/buffer_pool.h"

namespace ntfs::frontend {

AlignedBuffer BufferPool::take() {
  {
    const MutexLock lock(mutex_);
    if (!free_.empty()) {
      AlignedBuffer buffer = std::move(free_.back());
      free_.pop_back();
      return buffer;
    }
  }
  return device_.allocate(size_bytes_);
}

void BufferPool::give_back(AlignedBuffer buffer) {
  const MutexLock lock(mutex_);
  free_.push_back(std::move(buffer));
}

}  // namespace ntfs::frontend
