#include "core/store/cluster_refcounts.h"

#include <algorithm>
#include <utility>

#include "core/store/index_tree.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::ClusterReferences;

namespace {

constexpr uint32_t kMostReferences = ~uint32_t{0};

ClusterRun run_between(uint64_t first, uint64_t end) {
  return {Lcn(first), ClusterCount(end - first)};
}

}  // namespace

Result<> ClusterRefcounts::load() {
  const uint64_t total = volume_.geometry().total_clusters;
  const Origin origin{"$Refcounts", file_.raw(), 0};
  if (total > ondisk::kMostCountedClusters) return corrupt(origin, "clusters of the volume", total);
  Extents extents;
  uint64_t end = 0;
  IndexTree index(volume_, file_, std::u16string(ondisk::kRefcountsIndex));
  const auto read = index.for_each([&](const ondisk::IndexEntryView& entry) -> Result<> {
    const ClusterReferences shared =
        TRY(ondisk::parse_cluster_references(entry.key(), entry.data(), total, origin));
    if (shared.run.lcn.raw() < end) {
      return corrupt(origin, "lcn", shared.run.lcn.raw(), "behind the entry before");
    }
    end = shared.run.end().raw();
    extents[shared.run.lcn.raw()] = {shared.run.count.raw(), shared.references, 0};
    return {};
  });
  if (!read) return read;
  const ExclusiveLock lock(mutex_);
  extents_ = std::move(extents);
  return {};
}

// Looking.

/// The first extent that ends behind `lcn`.
ClusterRefcounts::Extents::const_iterator ClusterRefcounts::first_from(uint64_t lcn) const {
  auto at = extents_.upper_bound(lcn);
  if (at != extents_.begin()) {
    const auto before = std::prev(at);
    if (before->first + before->second.count > lcn) return before;
  }
  return at;
}

ClusterCount ClusterRefcounts::count_shared(ClusterRun run) {
  end_lingering();
  const SharedLock lock(mutex_);
  const uint64_t end = run.end().raw();
  uint64_t total = 0;
  for (auto at = first_from(run.lcn.raw()); at != extents_.end() && at->first < end; ++at) {
    total += std::min(at->first + at->second.count, end) - std::max(at->first, run.lcn.raw());
  }
  return ClusterCount(total);
}

ClusterRefcounts::Part ClusterRefcounts::first_part(ClusterRun run) {
  end_lingering();
  const SharedLock lock(mutex_);
  const auto at = first_from(run.lcn.raw());
  if (at == extents_.end() || at->first >= run.end().raw()) return {run, false};
  const bool is_shared = at->first <= run.lcn.raw();
  const uint64_t stop = is_shared ? at->first + at->second.count : at->first;
  return {run_between(run.lcn.raw(), std::min(stop, run.end().raw())), is_shared};
}

ClusterRefcounts::Part ClusterRefcounts::last_part(ClusterRun run) {
  end_lingering();
  const SharedLock lock(mutex_);
  auto at = extents_.lower_bound(run.end().raw());
  if (at == extents_.begin()) return {run, false};
  --at;
  const uint64_t stop = at->first + at->second.count;
  if (stop <= run.lcn.raw()) return {run, false};
  const bool is_shared = stop >= run.end().raw();
  const uint64_t start = is_shared ? at->first : stop;
  return {run_between(std::max(start, run.lcn.raw()), run.end().raw()), is_shared};
}

bool ClusterRefcounts::has_lingering() {
  end_lingering();
  const SharedLock lock(mutex_);
  return !lingering_.empty();
}

/// Forgets the extents whose sharing a checkpoint has ended.
void ClusterRefcounts::end_lingering() {
  const uint64_t completed = volume_.journal().completed_interval();
  if (first_lingering_.load(std::memory_order_relaxed) > completed) return;
  const ExclusiveLock lock(mutex_);
  // What a running transaction changed may yet be taken back to how it was.
  if (!changes_.empty()) return;
  size_t done = 0;
  for (; done < lingering_.size() && lingering_[done].interval <= completed; ++done) {
    const Lingering& ended = lingering_[done];
    auto at = first_from(ended.run.lcn.raw());
    while (at != extents_.end() && at->first < ended.run.end().raw()) {
      const bool is_over = at->second.references == 1 && at->second.interval == ended.interval;
      at = is_over ? extents_.erase(at) : std::next(at);
    }
  }
  lingering_.erase(lingering_.begin(), lingering_.begin() + static_cast<ptrdiff_t>(done));
  first_lingering_ = lingering_.empty() ? kNever : lingering_.front().interval;
}

// Changing.

Result<> ClusterRefcounts::add_reference(Transaction& transaction, ClusterRun run) {
  TRY(perform(transaction, run, Step::Add));
  return {};
}

Result<std::vector<ClusterRun>> ClusterRefcounts::remove_reference(Transaction& transaction,
                                                                   ClusterRun run) {
  return perform(transaction, run, Step::Remove);
}

/// Builds, in the order of lcns, what takes the place of the extents that `run` touches.
class ClusterRefcounts::Planner {
 public:
  Planner(ClusterRun run, Step step, uint64_t interval)
      : start_(run.lcn.raw()),
        end_(run.end().raw()),
        at_(start_),
        step_(step),
        interval_(interval) {}

  Result<> add(uint64_t first, const Extent& extent) {
    change_.before[first] = extent;
    const uint64_t end = first + extent.count;
    if (first > at_) TRY(change_part(std::min(first, end_), kAlone));
    put(first, std::min(end, start_), extent);
    if (end > at_) TRY(change_part(std::min(end, end_), extent));
    put(std::max(first, end_), end, extent);
    return {};
  }
  Result<Change> finish() {
    TRY(change_part(end_, kAlone));
    return std::move(change_);
  }

 private:
  static constexpr Extent kAlone{0, 1, 0};

  void put(uint64_t first, uint64_t end, const Extent& like) {
    if (first >= end) return;
    if (!change_.after.empty()) {
      auto& [last_first, last] = *change_.after.rbegin();
      if (last_first + last.count == first && last.references == like.references &&
          last.interval == like.interval) {
        last.count += end - first;
        return;
      }
    }
    change_.after[first] = {end - first, like.references, like.interval};
  }
  /// Changes the clusters from at_ to `end`, which are as `extent` says.
  Result<> change_part(uint64_t end, const Extent& extent) {
    if (at_ >= end) return {};
    const uint64_t first = std::exchange(at_, end);
    if (step_ == Step::Add) {
      if (extent.references == kMostReferences) return NtStatus::FileSystemLimitation;
      put(first, end, {0, extent.references + 1, 0});
    } else if (extent.references == 1) {
      change_.unreferenced.push_back(run_between(first, end));
    } else if (extent.references == 2) {
      put(first, end, {0, 1, interval_});
      change_.lingering.push_back(run_between(first, end));
    } else {
      put(first, end, {0, extent.references - 1, 0});
    }
    return {};
  }

  const uint64_t start_;
  const uint64_t end_;
  uint64_t at_;
  const Step step_;
  const uint64_t interval_;
  Change change_;
};

Result<std::vector<ClusterRun>> ClusterRefcounts::perform(Transaction& transaction, ClusterRun run,
                                                          Step step) {
  transaction.join(*this);
  Change change;
  {
    const ExclusiveLock lock(mutex_);
    Planner planner(run, step, volume_.journal().interval());
    const uint64_t touched = run.lcn.raw() - std::min<uint64_t>(run.lcn.raw(), 1);
    for (auto at = first_from(touched); at != extents_.end() && at->first <= run.end().raw();
         ++at) {
      TRY(planner.add(at->first, at->second));
    }
    change = TRY(planner.finish());
    replace(change.before, change.after);
    for (const ClusterRun& part : change.lingering) {
      lingering_.push_back({part, volume_.journal().interval()});
      first_lingering_ = lingering_.front().interval;
    }
    changes_.push_back({change.before, change.after, {}, {}});
  }
  TRY(log(transaction, change));
  return std::move(change.unreferenced);
}

void ClusterRefcounts::replace(const Extents& old, const Extents& fresh) {
  for (const auto& [first, extent] : old) extents_.erase(first);
  for (const auto& [first, extent] : fresh) extents_[first] = extent;
}

Result<> ClusterRefcounts::log(Transaction& transaction, const Change& change) {
  IndexTree index(volume_, file_, std::u16string(ondisk::kRefcountsIndex));
  const auto is_in = [](const Extents& extents, uint64_t first, const Extent& extent) {
    const auto at = extents.find(first);
    return extent.references < 2 || (at != extents.end() && at->second.count == extent.count &&
                                     at->second.references == extent.references);
  };
  for (const auto& [first, extent] : change.before) {
    if (is_in(change.after, first, extent)) continue;
    const le32 key = ondisk::cluster_references_key(Lcn(first));
    TRY(index.remove(transaction, bytes_of(key)));
  }
  for (const auto& [first, extent] : change.after) {
    if (is_in(change.before, first, extent)) continue;
    const ClusterReferences shared{{Lcn(first), ClusterCount(extent.count)}, extent.references};
    TRY(index.insert(transaction, ondisk::build_cluster_references(shared)));
  }
  return {};
}

void ClusterRefcounts::transaction_ended(const Transaction&, bool committed) {
  const ExclusiveLock lock(mutex_);
  if (!committed) {
    for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
      replace(change->after, change->before);
    }
  }
  changes_.clear();
}

}  // namespace ntfs
