#pragma once

// The kernel's page cache, as what it is to the store: somebody who keeps data of files, read and
// written, like the holder of an oplock. What comes through the kernel, it knows; for anything else
// it has to be told to give up what it keeps of the file: then it sends the pages that were written
// and drops all.
//
// It waits for the answers to these WRITE requests meanwhile, and it may hold locks that the
// request at hand came with: hence a thread that answers nothing else.

#include <deque>
#include <functional>
#include <string>
#include <thread>

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
  /// Makes the kernel look a name up again before it uses it. Only in a `then`.
  void drop_name(fuse_ino_t directory, const std::string& name);
  /// Makes the kernel forget where a name leads: another name of the same file was removed, of
  /// which it does not know that the two go together. Later, on the thread of the cache.
  void forget_name(fuse_ino_t directory, std::string name) EXCLUDES(mutex_);

 private:
  struct Break {
    fuse_ino_t node = 0;
    std::function<void()> then;
    std::string name;  ///< not empty: to be forgotten, in the directory `node`
  };
  void run() EXCLUDES(mutex_);

  fuse_session* session_ = nullptr;  // set before the thread starts
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable changed_;
  std::deque<Break> breaks_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace ntfs::frontend
