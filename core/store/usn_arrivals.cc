#include "core/store/usn_arrivals.h"

namespace ntfs {

void UsnArrivals::announce(uint64_t id, usn::Usn next) {
  const MutexLock lock(mutex_);
  is_known_ = true;
  id_ = id;
  next_ = next;
  if (count_waiters_ != 0) changed_.notify_all();
}

Result<> UsnArrivals::wait(uint64_t id, usn::Usn until, std::chrono::milliseconds most,
                           Waiter& waiter) {
  const MutexLock lock(mutex_);
  ++count_waiters_;
  const auto end = std::chrono::steady_clock::now() + most;
  while (!waiter.is_cancelled_ && !(is_known_ && (id_ != id || next_ >= until))) {
    const auto rest =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (rest.count() <= 0) break;
    changed_.wait_for(mutex_, rest);
  }
  --count_waiters_;
  return waiter.is_cancelled_ ? NtStatus::Cancelled : NtStatus::Success;
}

void UsnArrivals::cancel(Waiter& waiter) {
  const MutexLock lock(mutex_);
  waiter.is_cancelled_ = true;
  changed_.notify_all();
}

}  // namespace ntfs
