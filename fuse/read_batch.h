#pragma once

// READs of little data, answered together: what the kernel has sent at the same time (O_DIRECT at
// some queue depth, several readers) goes to the device in one call, and one thread waits for it.
// Thread safe. A thread that has added up to kMost reads calls answer() next, which takes what is
// there by then, also that of others: no read is left.

#include <vector>

#include "core/base/mutex.h"
#include "core/fsa/object_store.h"
#include "fuse/buffer_pool.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

class ReadBatch {
 public:
  static constexpr size_t kMost = 8;                        ///< reads that are answered together
  static constexpr size_t kLargestRead = size_t{64} << 10;  ///< bytes of one

  struct Read {
    fuse_req_t request;
    Open* open;  ///< until the request is answered
    ObjectStore::Buffering buffering;
    uint64_t offset;
    size_t length;  ///< up to kLargestRead
  };

  /// Both must outlive the object. `buffers` has pieces of kMost * kLargestRead at least.
  ReadBatch(ObjectStore& store, BufferPool& buffers) : store_(store), buffers_(buffers) {}

  void add(const Read& read) EXCLUDES(mutex_);
  void answer() EXCLUDES(mutex_);

 private:
  std::vector<Read> take() EXCLUDES(mutex_);

  ObjectStore& store_;
  BufferPool& buffers_;
  Mutex mutex_{LockRank::Frontend};
  std::vector<Read> waiting_ GUARDED_BY(mutex_);
};

}  // namespace ntfs::frontend
