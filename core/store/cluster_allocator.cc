#include "core/store/cluster_allocator.h"

#include <algorithm>
#include <bit>

#include "core/store/journal.h"
#include "core/store/transaction.h"

namespace ntfs {

namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kBitsPerPage = kPageBytes * 8;
/// Pages of $Bitmap that a search looks at before it takes the best run that it has seen.
constexpr uint64_t kSearchPages = 256;
/// Free runs likewise: where free space is in small pieces, looking for a large one does not pay.
constexpr int kSearchRuns = 128;
constexpr uint64_t kLoadBytes = 1 << 20;
constexpr uint64_t kMostSlack = 2048;

uint64_t count_clear(ByteView bytes, uint64_t bits) {
  uint64_t set = 0;
  const uint64_t words = bits / 64;
  for (uint64_t i = 0; i < words; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i * 8, 8);
    set += static_cast<uint64_t>(std::popcount(word));
  }
  for (uint64_t bit = words * 64; bit < bits; ++bit) {
    set += std::to_integer<uint64_t>(bytes[bit / 8] >> (bit % 8)) & 1;
  }
  return bits - set;
}

}  // namespace

ClusterAllocator::ClusterAllocator(PageCache& pages, Journal& journal, BlockDevice& device,
                                   MetadataStreamRef bitmap, const ondisk::VolumeGeometry& geometry,
                                   Discard discard)
    : pages_(pages),
      journal_(journal),
      device_(device),
      bitmap_(std::move(bitmap)),
      cluster_size_(geometry.cluster_size),
      total_clusters_(geometry.total_clusters),
      slack_(std::min<uint64_t>(geometry.total_clusters / 64, kMostSlack)),
      discards_(discard == Discard::Yes),
      page_free_(divide_up(geometry.total_clusters, kBitsPerPage)) {}

Result<> ClusterAllocator::load() {
  AlignedBuffer buffer(kLoadBytes);
  const uint64_t bytes = divide_up(total_clusters_, 8);
  const uint64_t mapped = bitmap_->runs.end().raw() * cluster_size_;
  if (bytes > mapped) return corrupt({"$Bitmap", 6, 0}, "size", mapped);
  const MutexLock lock(mutex_);
  for (uint64_t at = 0; at < bytes;) {
    const Run run = bitmap_->runs.find(Vcn(at / cluster_size_));
    if (run.lcn.is_hole()) return corrupt({"$Bitmap", 6, at}, "run", 0, "an allocated cluster");
    const uint64_t in_cluster = at % cluster_size_;
    const uint64_t rest = run.count.raw() * cluster_size_ - in_cluster;
    // Whole pages at a time wherever runs allow; a page may lie in several runs.
    const uint64_t length = std::min({rest, kLoadBytes, align_up(bytes - at, cluster_size_)});
    TRY(device_.read(run.lcn.raw() * cluster_size_ + in_cluster, buffer.bytes().first(length)));
    for (uint64_t done = 0; done < length && at + done < bytes;) {
      const uint64_t position = at + done;
      const uint64_t part =
          std::min({kPageBytes - position % kPageBytes, length - done, bytes - position});
      const uint64_t bits = std::min(part * 8, total_clusters_ - position * 8);
      const uint64_t clear = count_clear(buffer.bytes().subspan(done, part), bits);
      page_free_[position / kPageBytes] += static_cast<uint32_t>(clear);
      unallocated_ += clear;
      done += part;
    }
    at += length;
  }
  return {};
}

ClusterCount ClusterAllocator::available() const {
  const MutexLock lock(mutex_);
  const uint64_t kept = promised_ + slack_;
  return ClusterCount(unallocated_ > kept ? unallocated_ - kept : 0);
}

ClusterCount ClusterAllocator::free_clusters() const {
  const MutexLock lock(mutex_);
  const uint64_t free = unallocated_ + freed_clusters_;
  return ClusterCount(free > promised_ ? free - promised_ : 0);
}

bool ClusterAllocator::has_freed() const {
  const MutexLock lock(mutex_);
  return freed_clusters_ != 0;
}

Result<> ClusterAllocator::promise(ClusterCount count) {
  const MutexLock lock(mutex_);
  if (unallocated_ < promised_ + slack_ + count.raw()) reclaim();
  if (unallocated_ < promised_ + slack_ + count.raw()) return NtStatus::DiskFull;
  promised_ += count.raw();
  return {};
}

void ClusterAllocator::withdraw_promise(ClusterCount count) {
  const MutexLock lock(mutex_);
  ASSERT(promised_ >= count.raw());
  promised_ -= count.raw();
}

void ClusterAllocator::set_mft_zone(ClusterRun zone) {
  const MutexLock lock(mutex_);
  mft_zone_ = zone;
}

// Counts and the set of taken runs.

void ClusterAllocator::count_free(ClusterRun run, bool free) {
  uint64_t lcn = run.lcn.raw();
  const uint64_t end = run.end().raw();
  while (lcn < end) {
    const uint64_t page = lcn / kBitsPerPage;
    const uint64_t count = std::min(end, (page + 1) * kBitsPerPage) - lcn;
    page_free_[page] += static_cast<uint32_t>(free ? count : 0 - count);
    lcn += count;
  }
  unallocated_ += free ? run.count.raw() : 0 - run.count.raw();
}

void ClusterAllocator::take(ClusterRun run) {
  uint64_t start = run.lcn.raw();
  uint64_t end = run.end().raw();
  auto after = taken_.upper_bound(start);
  if (after != taken_.begin()) {
    const auto before = std::prev(after);
    ASSERT(before->first + before->second <= start);
    if (before->first + before->second == start) {
      start = before->first;
      taken_.erase(before);
    }
  }
  if (after != taken_.end() && after->first == end) {
    end += after->second;
    taken_.erase(after);
  }
  taken_[start] = end - start;
}

void ClusterAllocator::give_back(ClusterRun run) {
  const uint64_t start = run.lcn.raw();
  const uint64_t end = run.end().raw();
  const auto it = std::prev(taken_.upper_bound(start));
  const uint64_t taken_start = it->first;
  const uint64_t taken_end = it->first + it->second;
  ASSERT(taken_start <= start && end <= taken_end);
  taken_.erase(it);
  if (taken_start < start) taken_[taken_start] = start - taken_start;
  if (end < taken_end) taken_[end] = taken_end - end;
}

/// Without discards, what may be used again is so at once.
void ClusterAllocator::reclaim() {
  if (discards_.load()) return;
  const uint64_t completed = journal_.completed_interval();
  // They stand in the order of their intervals.
  if (freed_.empty() || freed_.front().interval > completed) return;
  size_t kept = 0;
  for (const Freed& freed : freed_) {
    if (freed.interval > completed) {
      freed_[kept++] = freed;
      continue;
    }
    give_back(freed.run);
    count_free(freed.run, true);
    freed_clusters_ -= freed.run.count.raw();
  }
  freed_.resize(kept);
}

// Searching.

/// Page of $Bitmap. The last one stays at hand: a search comes back to it for every run.
Result<ByteView> ClusterAllocator::page_bytes(uint64_t page_index) {
  if (page_ == nullptr || page_->index() != page_index) {
    page_ = TRY(pages_.get(bitmap_, page_index));
  }
  return page_->bytes();
}

/// The first lcn in [lcn, end) whose bit is clear (`clear`) or set; `end` if there is none.
Result<uint64_t> ClusterAllocator::first_clear(uint64_t lcn, uint64_t end, bool clear) {
  while (lcn < end) {
    const uint64_t page_index = lcn / kBitsPerPage;
    const uint64_t page_end = std::min(end, (page_index + 1) * kBitsPerPage);
    // A page without a free cluster, or with nothing else, need not be looked at.
    const uint32_t free = page_free_[page_index];
    if (clear ? free == 0 : free == kBitsPerPage) {
      lcn = page_end;
      continue;
    }
    const ByteView bytes = TRY(page_bytes(page_index));
    while (lcn < page_end) {
      const uint64_t bit = lcn % kBitsPerPage;
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + bit / 64 * 8, 8);
      if (clear) word = ~word;
      word &= ~uint64_t{0} << (bit % 64);
      if (word != 0) {
        const uint64_t found = page_index * kBitsPerPage + bit / 64 * 64 +
                               static_cast<uint64_t>(std::countr_zero(word));
        return std::min(found, end);
      }
      lcn = page_index * kBitsPerPage + (bit / 64 + 1) * 64;
    }
    lcn = page_end;
  }
  return end;
}

/// The first run of free clusters in [lcn, end), up to `most` long; empty if there is none.
Result<ClusterRun> ClusterAllocator::free_run_from(uint64_t lcn, uint64_t end, uint64_t most) {
  while (lcn < end) {
    const uint64_t start = TRY(first_clear(lcn, end, true));
    if (start >= end) break;
    auto taken = taken_.upper_bound(start);
    if (taken != taken_.begin()) {
      const auto before = std::prev(taken);
      if (before->first + before->second > start) {
        lcn = before->first + before->second;
        continue;
      }
    }
    uint64_t limit = std::min(end, start + most);
    if (taken != taken_.end()) limit = std::min(limit, taken->first);
    const uint64_t stop = TRY(first_clear(start, limit, false));
    return ClusterRun{Lcn(start), ClusterCount(stop - start)};
  }
  return ClusterRun{Lcn(end), ClusterCount(0)};
}

/// Adds the free runs of [from, end) to `seen`: the first of `wanted` clusters is the last one.
/// Looks at so many.
Result<> ClusterAllocator::find_runs(uint64_t from, uint64_t end, uint64_t wanted,
                                     std::vector<ClusterRun>& seen) {
  uint64_t lcn = from;
  for (int runs = 0; lcn < end && runs < kSearchRuns; ++runs) {
    const ClusterRun run = TRY(free_run_from(lcn, end, wanted));
    if (run.count == ClusterCount(0)) break;
    seen.push_back(run);
    if (run.count.raw() >= wanted) break;
    lcn = run.end().raw();
    if (lcn - from > kSearchPages * kBitsPerPage) break;
  }
  return {};
}

/// A run of `wanted` clusters; or the longer ones of those that were seen, in the order in which to
/// take them. Empty when there is nothing free.
Result<std::vector<ClusterRun>> ClusterAllocator::search(uint64_t wanted, uint64_t start) {
  const uint64_t zone_start = mft_zone_.lcn.raw();
  const uint64_t zone_end = mft_zone_.end().raw();
  if (start >= total_clusters_ || (start >= zone_start && start < zone_end)) start = zone_end;
  if (start >= total_clusters_) start = 0;
  struct Part {
    uint64_t from;
    uint64_t to;
  };
  // From `start` to the end and around, with the zone last.
  std::array<Part, 4> parts{};
  if (start >= zone_end) {
    parts = {
        {{start, total_clusters_}, {0, zone_start}, {zone_end, start}, {zone_start, zone_end}}};
  } else {
    parts = {
        {{start, zone_start}, {zone_end, total_clusters_}, {0, start}, {zone_start, zone_end}}};
  }
  std::vector<ClusterRun> seen;
  for (const Part& part : parts) {
    const bool is_zone = part.from == zone_start && part.to == zone_end;
    if (is_zone && !seen.empty()) break;
    TRY(find_runs(part.from, part.to, wanted, seen));
    if (!seen.empty() && seen.back().count.raw() >= wanted) return std::vector{seen.back()};
  }
  ClusterCount longest;
  for (const ClusterRun& run : seen) longest = std::max(longest, run.count);
  const ClusterRun wide = TRY(find_wide_run(start, wanted));
  if (wide.count > longest) return std::vector{wide};
  // In space in small pieces a search for each of them would not pay.
  std::erase_if(seen, [&](const ClusterRun& run) { return 2 * run.count.raw() < longest.raw(); });
  return seen;
}

/// A run that begins with a wholly free page of $Bitmap outside of the zone; empty if there is
/// none.
Result<ClusterRun> ClusterAllocator::find_wide_run(uint64_t start, uint64_t wanted) {
  const uint64_t pages = page_free_.size();
  for (uint64_t i = 0; i < pages; ++i) {
    const uint64_t index = (start / kBitsPerPage + i) % pages;
    const uint64_t lcn = index * kBitsPerPage;
    const bool in_zone = lcn < mft_zone_.end().raw() && lcn + kBitsPerPage > mft_zone_.lcn.raw();
    if (page_free_[index] == kBitsPerPage && !in_zone) {
      return free_run_from(lcn, total_clusters_, wanted);
    }
  }
  return ClusterRun{Lcn(0), ClusterCount(0)};
}

uint64_t ClusterAllocator::take_into(ClusterRun run, std::vector<ClusterRun>& runs) {
  take(run);
  count_free(run, false);
  if (!runs.empty() && runs.back().end() == run.lcn) {
    runs.back().count += run.count;
  } else {
    runs.push_back(run);
  }
  return run.count.raw();
}

Result<std::vector<ClusterRun>> ClusterAllocator::claim_locked(uint64_t wanted, Lcn hint,
                                                               size_t most_runs) {
  std::vector<ClusterRun> runs;
  uint64_t missing = wanted;
  Result<> failure;
  if (!hint.is_hole() && hint.raw() < total_clusters_) {
    const uint64_t end = std::min(total_clusters_, hint.raw() + missing);
    auto run = free_run_from(hint.raw(), end, missing);
    if (!run) {
      failure = run.error();
    } else if (run->lcn == hint && run->count != ClusterCount(0)) {
      missing -= take_into(*run, runs);
    }
  }
  while (failure && missing != 0 && runs.size() < most_runs) {
    auto found = search(missing, cursor_);
    if (!found || found->empty()) {
      failure = found ? NtStatus::DiskFull : found.error();
      break;
    }
    for (const ClusterRun& run : *found) {
      if (missing == 0 || runs.size() == most_runs) break;
      const ClusterRun part{run.lcn, ClusterCount(std::min(missing, run.count.raw()))};
      missing -= take_into(part, runs);
      cursor_ = part.end().raw();
    }
  }
  if (failure) return runs;
  for (const ClusterRun& run : runs) {
    give_back(run);
    count_free(run, true);
  }
  return failure.error();
}

Result<std::vector<ClusterRun>> ClusterAllocator::claim(ClusterCount wanted, Lcn hint) {
  const MutexLock lock(mutex_);
  reclaim();
  if (unallocated_ < promised_ + wanted.raw()) return NtStatus::DiskFull;
  return claim_locked(wanted.raw(), hint, ~size_t{0});
}

Result<std::vector<ClusterRun>> ClusterAllocator::claim_promised(ClusterCount wanted, Lcn hint,
                                                                 size_t most_runs) {
  const MutexLock lock(mutex_);
  reclaim();
  ASSERT(promised_ >= wanted.raw());
  auto runs = TRY(claim_locked(wanted.raw(), hint, most_runs));
  for (const ClusterRun& run : runs) promised_ -= run.count.raw();
  return runs;
}

void ClusterAllocator::unclaim(const std::vector<ClusterRun>& runs) {
  const MutexLock lock(mutex_);
  for (const ClusterRun& run : runs) {
    give_back(run);
    count_free(run, true);
  }
}

void ClusterAllocator::unclaim_to_promise(const std::vector<ClusterRun>& runs) {
  const MutexLock lock(mutex_);
  for (const ClusterRun& run : runs) {
    give_back(run);
    count_free(run, true);
    promised_ += run.count.raw();
  }
}

// Changing the bits.

Result<> ClusterAllocator::change_bits(Transaction& transaction, ClusterRun run, bool set) {
  // The bits that one log record names lie in one page.
  uint64_t lcn = run.lcn.raw();
  const uint64_t end = run.end().raw();
  while (lcn < end) {
    const uint64_t page_index = lcn / kBitsPerPage;
    const uint64_t count = std::min(end, (page_index + 1) * kBitsPerPage) - lcn;
    const PageRef page = TRY(pages_.get(bitmap_, page_index));
    const auto range =
        encode_bit_range(static_cast<uint32_t>(lcn % kBitsPerPage), static_cast<uint32_t>(count));
    TRY(transaction.perform(set ? set_bits(range) : clear_bits(range), page));
    lcn += count;
  }
  return {};
}

Result<> ClusterAllocator::set_allocated(Transaction& transaction, ClusterRun run) {
  transaction.join(*this);
  {
    const MutexLock lock(mutex_);
    allocating_.push_back({run, false});
  }
  return change_bits(transaction, run, true);
}

Result<std::vector<ClusterRun>> ClusterAllocator::allocate(Transaction& transaction,
                                                           ClusterCount wanted, Lcn hint) {
  auto runs = TRY(claim(wanted, hint));
  transaction.join(*this);
  {
    const MutexLock lock(mutex_);
    for (const ClusterRun& run : runs) allocating_.push_back({run, true});
  }
  for (const ClusterRun& run : runs) TRY(change_bits(transaction, run, true));
  return runs;
}

Result<ClusterRun> ClusterAllocator::allocate_at(Transaction& transaction, Lcn lcn,
                                                 ClusterCount wanted) {
  ClusterRun run{lcn, ClusterCount(0)};
  {
    const MutexLock lock(mutex_);
    reclaim();
    const uint64_t end = std::min(total_clusters_, lcn.raw() + wanted.raw());
    const uint64_t spare = unallocated_ > promised_ ? unallocated_ - promised_ : 0;
    const ClusterRun found = TRY(free_run_from(lcn.raw(), end, std::min(wanted.raw(), spare)));
    if (found.lcn == lcn && found.count != ClusterCount(0)) {
      run = found;
      take(run);
      count_free(run, false);
      allocating_.push_back({run, true});
    }
  }
  transaction.join(*this);
  if (run.count != ClusterCount(0)) TRY(change_bits(transaction, run, true));
  return run;
}

Result<> ClusterAllocator::free_clusters(Transaction& transaction, ClusterRun run) {
  if (run.end().raw() > total_clusters_ || run.count == ClusterCount(0)) {
    return corrupt({"run", 0, run.lcn.raw()}, "length", run.count.raw(), "clusters of the volume");
  }
  transaction.join(*this);
  {
    const MutexLock lock(mutex_);
    for (Lcn lcn = run.lcn; lcn < run.end();) {
      const ClusterRun part = TRY(start_freeing({lcn, run.end() - lcn}));
      lcn = part.end();
    }
  }
  return change_bits(transaction, run, false);
}

/// Takes the first part of `run`: all within, or all without, what this transaction allocated.
Result<ClusterRun> ClusterAllocator::start_freeing(ClusterRun run) {
  Lcn end = run.end();
  bool allocated_here = false;
  for (const Allocating& allocating : allocating_) {
    if (run.lcn < allocating.run.lcn) {
      end = std::min(end, allocating.run.lcn);
    } else if (run.lcn < allocating.run.end()) {
      end = std::min(end, allocating.run.end());
      allocated_here = true;
    }
  }
  const auto taken = taken_.lower_bound(end.raw());
  const bool overlaps = !allocated_here && taken != taken_.begin() &&
                        std::prev(taken)->first + std::prev(taken)->second > run.lcn.raw();
  // A damaged volume may claim clusters twice, or have lost their bits.
  if (overlaps || TRY(first_clear(run.lcn.raw(), end.raw(), true)) != end.raw()) {
    return corrupt({"$Bitmap", 6, run.lcn.raw()}, "bits of an allocated run", 0, "set");
  }
  const ClusterRun part{run.lcn, end - run.lcn};
  if (!allocated_here) take(part);
  freeing_.push_back({part, allocated_here});
  return part;
}

void ClusterAllocator::transaction_ended(const Transaction&, bool committed) {
  const MutexLock lock(mutex_);
  for (const Allocating& allocating : allocating_) {
    if (committed) {
      give_back(allocating.run);
    } else if (allocating.claimed_here) {
      // The log may hold images for these clusters, so they wait like freed ones.
      freed_.push_back({allocating.run, journal_.interval()});
      freed_clusters_ += allocating.run.count.raw();
    }
  }
  for (const Freeing& freeing : freeing_) {
    if (committed) {
      if (freeing.allocated_here) take(freeing.run);
      freed_.push_back({freeing.run, journal_.interval()});
      freed_clusters_ += freeing.run.count.raw();
    } else if (!freeing.allocated_here) {
      give_back(freeing.run);
    }
  }
  allocating_.clear();
  freeing_.clear();
}

}  // namespace ntfs
