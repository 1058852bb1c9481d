#pragma once

// Who waits for the next request. One thread at a time waits at the kernel's queue; the others wait
// here. A request that is answered in microseconds is answered by its reader, which then reads on:
// no thread has to be woken for it, and a wake-up costs more than such a request. Before a request
// that may wait for the device, and when further requests are queued already, the reader passes the
// baton to another thread. Whoever has passed it reads on as long as requests are there: only
// waiting needs the baton.

#include "core/base/mutex.h"

namespace ntfs::frontend {

class ReaderBaton {
 public:
  /// Waits until no other thread has the baton. False: the session ends.
  bool take() EXCLUDES(mutex_);
  /// Takes the baton if no other thread has it.
  bool try_take() EXCLUDES(mutex_);
  /// Lets another thread wait for requests. Only the holder may call it.
  void pass() EXCLUDES(mutex_);
  /// Ends all waiting, now and later.
  void close() EXCLUDES(mutex_);

 private:
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable free_;
  bool taken_ GUARDED_BY(mutex_) = false;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace ntfs::frontend
