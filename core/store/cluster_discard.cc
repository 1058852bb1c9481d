// Telling the device which clusters nobody needs: those that were freed, before they are used
// again, and all that are free when somebody asks.
//
// Clusters freed in an interval stay taken until its checkpoint is durable: no recovery looks at
// what they held then. So a discard is as safe as the write of their next owner would be.

#include <fmt/format.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/store/cluster_allocator.h"
#include "core/store/journal.h"

namespace ntfs {

namespace {

/// Most that is kept from writers for the time of one request to the device.
constexpr uint64_t kTrimBytes = uint64_t{256} << 20;

std::vector<ClusterRun> merged(std::vector<ClusterRun> runs) {
  std::sort(runs.begin(), runs.end(),
            [](const ClusterRun& a, const ClusterRun& b) { return a.lcn < b.lcn; });
  size_t count = 0;
  for (const ClusterRun& run : runs) {
    if (count != 0 && runs[count - 1].end() == run.lcn) {
      runs[count - 1].count += run.count;
    } else {
      runs[count++] = run;
    }
  }
  runs.resize(count);
  return runs;
}

}  // namespace

Result<> ClusterAllocator::discard(ClusterRun run) {
  return device_.discard(run.lcn.raw() * cluster_size_, run.count.raw() * cluster_size_);
}

/// What may be used again, in the order of its freeing; it stays taken.
std::vector<ClusterRun> ClusterAllocator::extract_completed() {
  const MutexLock lock(mutex_);
  const uint64_t completed = journal_.completed_interval();
  const auto end = std::find_if(freed_.begin(), freed_.end(),
                                [&](const Freed& freed) { return freed.interval > completed; });
  std::vector<ClusterRun> runs;
  for (auto freed = freed_.begin(); freed != end; ++freed) runs.push_back(freed->run);
  freed_.erase(freed_.begin(), end);
  return runs;
}

void ClusterAllocator::make_reusable(ClusterRun run) {
  const MutexLock lock(mutex_);
  give_back(run);
  count_free(run, true);
  freed_clusters_ -= run.count.raw();
}

void ClusterAllocator::discard_freed() {
  const MutexLock one_at_a_time(discard_mutex_);
  if (!discards_.load()) return;
  for (const ClusterRun& run : merged(extract_completed())) {
    const auto done = discards_.load() ? discard(run) : Result<>();
    if (!done) {
      log_line(LogLevel::Warning,
               fmt::format("the device discards nothing ({}): freed clusters are not told to it "
                           "any more",
                           name_of(done.error())));
      discards_ = false;
    }
    make_reusable(run);
  }
}

/// Takes the first part of the free run at or behind `from` that is `least` long at least; empty
/// when there is none before `end`. `whole_end`: where that run ends; `from` before it is known to
/// lie in one.
Result<ClusterRun> ClusterAllocator::take_for_trim(Lcn from, Lcn end, uint64_t least,
                                                   Lcn& whole_end) {
  const SharedLock metadata(journal_.metadata_lock());
  const MutexLock lock(mutex_);
  reclaim();
  const uint64_t kept = promised_ + slack_;
  const uint64_t spare = unallocated_ > kept ? unallocated_ - kept : 0;
  const uint64_t most = std::min(std::max<uint64_t>(kTrimBytes / cluster_size_, 1), spare);
  const ClusterRun nothing{end, ClusterCount(0)};
  if (most == 0) return nothing;
  while (from < end) {
    if (from >= whole_end) {
      const ClusterRun whole = TRY(free_run_from(from.raw(), end.raw(), total_clusters_));
      if (whole.count == ClusterCount(0)) return nothing;
      from = whole.lcn;
      whole_end = whole.end();
      if (whole.count.raw() < least) {
        from = whole_end;
        continue;
      }
    }
    const ClusterRun part = TRY(free_run_from(from.raw(), whole_end.raw(), most));
    if (part.count != ClusterCount(0)) {
      take(part);
      count_free(part, false);
      freed_clusters_ += part.count.raw();
      return part;
    }
    from = whole_end;  // somebody took it meanwhile
  }
  return nothing;
}

Result<ClusterCount> ClusterAllocator::trim(ClusterRun range, ClusterCount least) {
  ClusterCount trimmed;
  Lcn whole_end = range.lcn;
  for (Lcn from = range.lcn; from < range.end();) {
    const MutexLock one_at_a_time(discard_mutex_);
    const ClusterRun run = TRY(take_for_trim(from, range.end(), least.raw(), whole_end));
    if (run.count == ClusterCount(0)) break;
    const auto done = discard(run);
    make_reusable(run);
    if (!done) return done.error();
    trimmed += run.count;
    from = run.end();
  }
  return trimmed;
}

}  // namespace ntfs
