#include "core/io/durable_way.h"

#include <algorithm>

namespace ntfs {

std::chrono::nanoseconds DurableWay::Trials::median() {
  const auto middle = times.begin() + kTrials / 2;
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

void DurableWay::took(Way way, std::chrono::nanoseconds time) {
  const MutexLock lock(mutex_);
  if (is_chosen()) return;  // began before
  Trials& mine = trials_[static_cast<size_t>(way)];
  if (mine.count < kTrials) mine.times[mine.count++] = time;
  Trials& dsync = trials_[static_cast<size_t>(Way::Dsync)];
  Trials& flush = trials_[static_cast<size_t>(Way::Flush)];
  if (dsync.count < kTrials || flush.count < kTrials) {
    next_.store(flush.count < dsync.count ? Way::Flush : Way::Dsync, std::memory_order_relaxed);
    return;
  }
  next_.store(flush.median() < dsync.median() ? Way::Flush : Way::Dsync, std::memory_order_relaxed);
  chosen_.store(true, std::memory_order_relaxed);
}

}  // namespace ntfs
