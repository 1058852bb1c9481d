#pragma once

// The units of compressed streams that were decompressed last: small reads one behind the other
// decompress a unit once. Thread safe.

#include <atomic>
#include <vector>

#include "core/base/mutex.h"
#include "core/store/buffer_pool.h"

namespace ntfs {

class UnitCache {
 public:
  static constexpr size_t kMostUnits = 32;

  struct Key {
    uint64_t stream = 0;   ///< from add_stream()
    uint64_t version = 0;  ///< changes when the stream's clusters do
    uint64_t unit = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };

  /// A number for a stream.
  uint64_t add_stream() { return streams_.fetch_add(1) + 1; }
  /// Copies from `offset` of a unit on. False when it is not there.
  bool copy(const Key& key, size_t offset, MutableBytes into) EXCLUDES(mutex_);
  void insert(const Key& key, BufferPool::Piece piece) EXCLUDES(mutex_);

 private:
  struct Entry {
    Key key;
    BufferPool::Piece piece;
    uint64_t last_use = 0;
  };

  std::atomic<uint64_t> streams_{0};
  Mutex mutex_{LockRank::Page};
  std::vector<Entry> entries_ GUARDED_BY(mutex_);
  uint64_t uses_ GUARDED_BY(mutex_) = 0;
};

}  // namespace ntfs
