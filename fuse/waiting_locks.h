#pragma once

// fcntl(2) and flock(2) locks that wait, on mounts with locks=mandatory: no thread waits for them.
// The request is answered by whoever gives the lock back, or is ended by a signal (INTERRUPT).
// Thread safe.

#include <memory>
#include <unordered_map>
#include <vector>

#include "core/base/mutex.h"
#include "core/fsa/object_store.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

class WaitingLocks {
 public:
  /// `store` must outlive the object.
  explicit WaitingLocks(ObjectStore& store) : store_(store) {}

  /// Takes the lock and answers the request, now or when it is there.
  void lock(fuse_req_t request, Open& open, const LockParameters& wanted) EXCLUDES(mutex_);
  /// Answers all that still wait: the mount ends.
  void stop() EXCLUDES(mutex_);

 private:
  class Waiter;
  using WaiterPtr = std::shared_ptr<Waiter>;

  static void on_interrupt(fuse_req_t request, void* locks);
  void cancel(const WaiterPtr& waiter);
  WaiterPtr find(fuse_req_t request) EXCLUDES(mutex_);
  WaiterPtr take(fuse_req_t request) EXCLUDES(mutex_);

  ObjectStore& store_;
  Mutex mutex_{LockRank::Frontend};
  std::unordered_map<fuse_req_t, WaiterPtr> waiters_ GUARDED_BY(mutex_);
};

}  // namespace ntfs::frontend
