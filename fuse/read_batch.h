#pragma once

// READs of little data, answered together: what the kernel has sent at the same time (O_DIRECT at
// some queue depth, several readers) goes to the device in one call, and one thread waits for it.
// Thread safe. A thread that has added up to kMost reads calls answer() next, for these.

#include <vector>

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

  void add(const Read& read);
  void answer();

 private:
  ObjectStore& store_;
  BufferPool& buffers_;
};

}  // namespace ntfs::frontend
