#pragma once

// Memory for answers, recycled. Thread safe.

#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"

namespace ntfs::frontend {

/// Memory that answers of READ are built in: as many pieces as there are threads at most.
class BufferPool {
 public:
  BufferPool(BlockDevice& device, size_t size_bytes) : device_(device), size_bytes_(size_bytes) {}
  AlignedBuffer take() EXCLUDES(mutex_);
  void give_back(AlignedBuffer buffer) EXCLUDES(mutex_);

 private:
  BlockDevice& device_;  // must outlive the pool
  const size_t size_bytes_;
  Mutex mutex_{LockRank::Frontend};
  std::vector<AlignedBuffer> free_ GUARDED_BY(mutex_);
};

}  // namespace ntfs::frontend
