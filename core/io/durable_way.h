#pragma once

// How a lone small write becomes durable at least cost: with RWF_DSYNC, or followed by a flush of
// the device. Devices differ (a write with FUA, or with a flush behind it; a file system between),
// so the first such writes are timed, both ways in turn, and the cheaper way is taken from then on.

#include <array>
#include <atomic>
#include <chrono>

#include "core/base/mutex.h"

namespace ntfs {

class DurableWay {
 public:
  enum class Way { Dsync, Flush };
  /// So many writes of each way are timed; the median counts, for some meet other work.
  static constexpr size_t kTrials = 9;

  /// The way for the next write. Any thread.
  Way next() const { return next_.load(std::memory_order_relaxed); }
  bool is_chosen() const { return chosen_.load(std::memory_order_relaxed); }
  /// A write that went the way `way` has become durable in `time`. To be told until is_chosen().
  void took(Way way, std::chrono::nanoseconds time) EXCLUDES(mutex_);

 private:
  struct Trials {
    std::array<std::chrono::nanoseconds, kTrials> times{};
    size_t count = 0;
    std::chrono::nanoseconds median();
  };

  std::atomic<Way> next_{Way::Dsync};
  std::atomic<bool> chosen_{false};
  Mutex mutex_{LockRank::Device};
  std::array<Trials, 2> trials_ GUARDED_BY(mutex_);  // by Way
};

}  // namespace ntfs
