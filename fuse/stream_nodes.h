#pragma once

// The named streams that the kernel knows as files of their own (streams_interface=windows), by
// node id. Ids are given out in order from kFirst on, which those of files are not, and never
// twice: a stream that was removed and made again is another node.
//
// Locks: one of its own (rank Frontend).

#include <cstdint>
#include <unordered_map>

#include "core/base/mutex.h"
#include "core/store/file.h"

namespace ntfs::frontend {

/// What a node id stands for: a file, or a named stream of one.
struct Node {
  FilePtr file;
  StreamPtr stream;  ///< null: the file itself
};

class StreamNodes {
 public:
  static constexpr uint64_t kFirst = uint64_t{1} << 47;
  static constexpr bool contains(uint64_t id) { return (id & kFirst) != 0; }

  /// Counts one lookup of `node`, which has a stream; returns its id.
  uint64_t remember(const Node& node) EXCLUDES(mutex_);
  /// Takes `count` lookups back.
  void forget(uint64_t id, uint64_t count) EXCLUDES(mutex_);
  /// Without a file when the kernel may not know it.
  Node find(uint64_t id) EXCLUDES(mutex_);
  /// Streams known.
  size_t size() EXCLUDES(mutex_);

 private:
  struct Entry {
    Node node;
    uint64_t lookups = 0;
  };

  Mutex mutex_{LockRank::Frontend};
  uint64_t next_ GUARDED_BY(mutex_) = kFirst;
  std::unordered_map<uint64_t, Entry> entries_ GUARDED_BY(mutex_);
  std::unordered_map<const Stream*, uint64_t> ids_ GUARDED_BY(mutex_);  // of those in entries_
};

}  // namespace ntfs::frontend
