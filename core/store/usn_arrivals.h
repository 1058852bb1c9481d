#pragma once

// Where the change journal ends, for those who wait for new records. Thread safe; may be told with
// any lock held.

#include <chrono>
#include <cstdint>

#include "core/base/mutex.h"
#include "core/base/result.h"
#include "usn/usn.h"

namespace ntfs {

class UsnArrivals {
 public:
  /// Whoever waits. Not to be moved meanwhile.
  class Waiter {
   private:
    friend class UsnArrivals;
    bool is_cancelled_ = false;  // guarded by UsnArrivals::mutex_
  };

  /// A transaction has ended, and so does the journal `id` there. 0: there is no journal.
  void announce(uint64_t id, usn::Usn next) EXCLUDES(mutex_);
  /// Waits until the journal `id` ends at `until` or behind it, or another one is there, or
  /// `most` has passed. Cancelled.
  Result<> wait(uint64_t id, usn::Usn until, std::chrono::milliseconds most, Waiter& waiter)
      EXCLUDES(mutex_);
  /// Ends its wait, and any later one.
  void cancel(Waiter& waiter) EXCLUDES(mutex_);

 private:
  Mutex mutex_{LockRank::Device};
  ConditionVariable changed_;
  bool is_known_ GUARDED_BY(mutex_) = false;  // anything was announced
  uint64_t id_ GUARDED_BY(mutex_) = 0;
  usn::Usn next_ GUARDED_BY(mutex_);
  uint64_t count_waiters_ GUARDED_BY(mutex_) = 0;
};

}  // namespace ntfs
