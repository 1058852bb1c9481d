#pragma once

// The kernel's page cache, as what it is to the store: somebody who keeps data of files, read and
// written, like the holder of an oplock. What comes through the kernel, it knows; for anything else
// it has to be told to give up what it keeps of the file: then it sends the pages that were written
// and drops all.
//
// It waits for the answers to these WRITE requests meanwhile, and it may hold locks that the
// request at hand came with: hence a thread that answers nothing else.

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

class KernelCache {
 public:
  KernelCache() = default;
  ~KernelCache() { stop(); }
  KernelCache(const KernelCache&) = delete;
  KernelCache& operator=(const KernelCache&) = delete;

  void start(fuse_session* session);
  /// Ends the thread, once it has done what it has. Whoever answers WRITE must still be there.
  void stop() EXCLUDES(mutex_);

  /// Calls `then`, on the thread of the cache, when the kernel has sent what was written to the
  /// file and keeps nothing of it. After stop(): at once, on this thread.
  void break_then(fuse_ino_t node, std::function<void()> then) EXCLUDES(mutex_);
  /// Makes the kernel drop what it has read since. Only in a `then`, after a change: before the
  /// answer to whoever asked for it.
  void drop(fuse_ino_t node);
  /// Makes the kernel ask for owner, mode and link count again. Waits for nothing.
  void drop_attributes(fuse_ino_t node);
  struct Name {
    fuse_ino_t directory = 0;
    std::string name;
  };
  /// Makes the kernel look names up again before it uses them. It takes the locks of the
  /// directories for that, whose holder may wait for the answer to the request at hand: after a
  /// tenth of a second this returns before all is done. Only in a `then`.
  void drop_names(std::vector<Name> names) EXCLUDES(mutex_);
  /// Makes the kernel forget where a name leads: another name of the same file was removed, of
  /// which it does not know that the two go together. Later.
  void forget_name(fuse_ino_t directory, std::string name) EXCLUDES(mutex_);

 private:
  struct Break {
    fuse_ino_t node = 0;
    std::function<void()> then;
  };
  void run() EXCLUDES(mutex_);
  void run_names() EXCLUDES(mutex_);

  fuse_session* session_ = nullptr;  // set before the thread starts
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable changed_;
  std::deque<Break> breaks_ GUARDED_BY(mutex_);
  ConditionVariable names_changed_;
  std::deque<Name> names_ GUARDED_BY(mutex_);
  uint64_t names_queued_ GUARDED_BY(mutex_) = 0;
  uint64_t names_dropped_ GUARDED_BY(mutex_) = 0;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
  std::thread names_thread_;  // for which nobody waits: it waits for directories
};

}  // namespace ntfs::frontend
