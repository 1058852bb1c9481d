// Clusters that several files have: block cloning (MS-FSA 2.1.5.10.4), and what keeps writers away
// from them (2.1.5.4, ClusterRefcount). Whoever buffers a unit with shared clusters is promised new
// ones; write-back puts the unit into those and lets the shared ones go.
//
// Invariant while something is on its way to the device: no cluster behind the valid data length is
// shared (drop_unsafe_tail), and where the one that it lies in is, its unit is buffered before any
// behind it (bring_in_tail). So zeros of a gap go to this stream's own clusters only.

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// How often a clone waits for writers before it gives up.
constexpr int kMostAttempts = 100;
/// Runs of a source for which a metadata cluster is sure to do.
constexpr uint64_t kRunsPerCluster = 16;
}  // namespace

/// Parts of shared clusters that one transaction takes or gives up: each is up to three changes of
/// an index, and some bits.
size_t Stream::most_shared_parts() const {
  constexpr uint64_t kLogBytesPerPart = 8192;  // four transactions of that many fill the log
  constexpr uint64_t kMostParts = 128;
  const lfs::LogFile* log = volume_.journal().log();
  if (log == nullptr) return kMostParts;
  return std::clamp(log->capacity_bytes() / kLogBytesPerPart, uint64_t{16}, kMostParts);
}

/// Clusters of buffered units that others take the place of.
uint64_t Stream::count_replaced(const Runlist& runs) const {
  ClusterRefcounts* refcounts = volume_.refcounts();
  if (refcounts == nullptr && !compressed_) return 0;
  uint64_t total = 0;
  for (const auto& [first, segment] : buffer_.segments()) {
    const Vcn start(first * clusters_per_unit_);
    const uint64_t count = segment.count * clusters_per_unit_;
    total += compressed_ ? count_allocated(runs, start, count)
                         : count_shared(refcounts, runs, start, count);
  }
  return total;
}

// Writing beside what is shared.

/// A crash amid a truncation leaves clusters behind the end, which may be shared: lets them go.
/// Those behind the end of a compressed stream, too: nobody writes zeros over them.
Result<> Stream::drop_unsafe_tail() {
  ClusterRefcounts* refcounts = volume_.refcounts();
  const ExclusiveLock lock(mutex_);
  if (resident_ || (refcounts == nullptr && !compressed_)) return {};
  const uint64_t end = align_up(disk_valid_, compressed_ ? unit_bytes_.load() : cluster_size_);
  for (Vcn at(end / cluster_size_); at < runs_.end();) {
    const Run run = runs_.find(at);
    Vcn stop = run.end();
    if (!run.lcn.is_hole() && compressed_) {
      // Each unit at once: in what a crash leaves, none has clusters behind a hole.
      stop = std::min(Vcn(align_up(stop.raw(), clusters_per_unit_)), runs_.end());
      TRY(log_punch(at, stop));
    } else if (!run.lcn.is_hole()) {
      const auto part = refcounts->first_part({run.lcn, run.count});
      stop = at + part.run.count;
      if (part.is_shared) TRY(log_punch(at, stop));
    }
    at = stop;
  }
  return {};
}

/// Whether the valid data ends inside what cannot be zeroed in place, before `unit`: a shared
/// cluster or a compression unit that is not buffered.
bool Stream::has_unsafe_tail_before(uint64_t unit) const {
  if (resident_) return false;
  const uint64_t tail = disk_valid_ / unit_bytes_;
  if (tail >= unit || buffer_.contains(tail)) return false;
  if (compressed_) {
    return disk_valid_ % unit_bytes_ != 0 &&
           count_allocated(runs_, Vcn(tail * clusters_per_unit_), clusters_per_unit_) != 0;
  }
  if (volume_.refcounts() == nullptr || disk_valid_ % cluster_size_ == 0) return false;
  return count_shared(volume_.refcounts(), runs_, Vcn(disk_valid_ / cluster_size_), 1) != 0;
}

/// Buffers the unit that the valid data ends in.
Result<> Stream::bring_in_tail() {
  const uint64_t tail = disk_valid_ / unit_bytes_;
  TRY(promise_units(tail, 1));
  const auto ready = bring_in(tail, 0, 0);
  if (!ready) settle_promises();
  note_state();
  return ready;
}

/// DiskFull unless there is space for every shared cluster and every hole of a range.
Result<> Stream::ensure_space_for_copies(uint64_t from, uint64_t to) {
  if (volume_.refcounts() == nullptr) return {};
  uint64_t wanted = 0;
  {
    const SharedLock lock(mutex_);
    const uint64_t first = align_down(from, unit_bytes_) / cluster_size_;
    const uint64_t count = align_up(to, unit_bytes_) / cluster_size_ - first;
    wanted = count_shared(volume_.refcounts(), runs_, Vcn(first), count);
    if (wanted != 0) wanted += count - count_allocated(runs_, Vcn(first), count);
  }
  return wanted == 0 ? Result<>() : ensure_space(ClusterCount(wanted));
}

/// Shared clusters of whole units that are to be zeros give way to new ones.
Result<> Stream::replace_shared(Vcn from, Vcn to) {
  for (Vcn at = from; at < to;) {
    Flight flight;
    flight.needs_extra = true;
    at = plan_replacing(flight, at, to);
    if (flight.stretches.empty()) continue;
    TRY(fly(flight));
    // Less than planned when space is in many small runs.
    at = std::min(at, flight.stretches.back().end());
  }
  return {};
}

/// Takes shared clusters from `from` on into the flight. Returns how far it came.
Vcn Stream::plan_replacing(Flight& flight, Vcn from, Vcn to) {
  const SharedLock lock(mutex_);
  note_disk_state(flight);
  flight.file_size = file_size_;
  const Vcn stop = std::min(to, runs_.end());
  for (Vcn at = from; at < stop;) {
    if (flight.shared_parts >= flight.most_shared_parts) return at;
    Run run = runs_.find(at);
    run.count = std::min(run.count, stop - at);
    if (!run.lcn.is_hole()) {
      const auto part = volume_.refcounts()->first_part({run.lcn, run.count});
      run.count = part.run.count;
      if (part.is_shared) flight.add_shared({at, run.count, true, true});
    }
    at = run.end();
  }
  return to;
}

// Cloning.

/// Of a clone: where it has come to, and which tails are zeros on the device.
struct Stream::Clone {
  uint64_t from = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  /// Valid data lengths behind which the cluster holds zeros.
  std::optional<uint64_t> sealed;
  std::optional<uint64_t> source_sealed;
  uint64_t source_valid = 0;  ///< the source's data ends there, at the end of the range at the most
  Vcn start;                  ///< of the range in the target
  Vcn end;
};

Result<uint64_t> Stream::share(Stream& source, uint64_t from, uint64_t offset, uint64_t length) {
  if (volume_.refcounts() == nullptr || &volume_ != &source.volume_) return NtStatus::NotSupported;
  if (from % cluster_size_ != 0 || offset % cluster_size_ != 0) return NtStatus::InvalidParameter;
  if (length == 0) return uint64_t{0};
  TRY(check_end(offset, length));
  TRY(check_end(from, length));
  const uint64_t clusters_length = align_up(length, cluster_size_);
  const bool overlaps = from < offset + clusters_length && offset < from + clusters_length;
  if (&source == this && overlaps) return NtStatus::InvalidParameter;
  TRY(ensure_writable());
  TRY(source.ensure_writable());
  Clone clone;
  clone.from = from;
  clone.offset = offset;
  clone.length = length;
  clone.start = Vcn(offset / cluster_size_);
  clone.end = Vcn(divide_up(offset + length, cluster_size_));
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    const std::optional<uint64_t> done = TRY(try_share(source, clone));
    if (done) return *done;
  }
  return NtStatus::NotSupported;
}

/// Nothing when it has to be tried again.
Result<std::optional<uint64_t>> Stream::try_share(Stream& source, Clone& clone) {
  const PairLock<Mutex> change(change_mutex_, source.change_mutex_);
  TRY(source.sweep(Sweep::Everything, Form::Nonresident));
  if (&source != this) TRY(sweep(Sweep::Everything, Form::Nonresident));
  bool must_seal = false;
  bool must_seal_source = false;
  {
    const PairLock<SharedMutex> lock(mutex_, source.mutex_);
    if (compressed_ || source.compressed_) return NtStatus::NotSupported;
    // Somebody wrote meanwhile.
    if (is_dirty() || source.is_dirty()) return std::optional<uint64_t>();
    if (clone.from + clone.length > align_up(source.file_size_, cluster_size_)) {
      return NtStatus::InvalidParameter;
    }
    const uint64_t end = clone.offset + clone.length;
    if (end % cluster_size_ != 0 && end < file_size_) return NtStatus::InvalidParameter;
    clone.source_valid = std::min(source.disk_valid_, clone.from + clone.length);
    must_seal = clone.offset > disk_valid_ && clone.sealed != disk_valid_;
    // Behind the source's data the target reads what the last cluster holds.
    const bool is_tail_shown = clone.source_valid > clone.from &&
                               clone.offset + (clone.source_valid - clone.from) < disk_valid_;
    must_seal_source = clone.source_valid % cluster_size_ != 0 && is_tail_shown &&
                       clone.source_sealed != source.disk_valid_;
    if (!must_seal && !must_seal_source) {
      return std::optional<uint64_t>(TRY(share_runs(source, clone)));
    }
  }
  if (must_seal) clone.sealed = TRY(seal_tail());
  if (must_seal_source) clone.source_sealed = TRY(source.seal_tail());
  return std::optional<uint64_t>();
}

/// Makes what the last cluster of the valid data holds behind it zeros. Returns the valid data
/// length.
Result<uint64_t> Stream::seal_tail() {
  {
    const ExclusiveLock lock(mutex_);
    if (disk_valid_ % cluster_size_ == 0) return disk_valid_;
    TRY(bring_in_tail());
  }
  TRY(sweep(Sweep::Everything, Form::Nonresident));
  const SharedLock lock(mutex_);
  return disk_valid_;
}

/// Both are written back, and nobody writes to them. Returns the bytes done.
Result<uint64_t> Stream::share_runs(Stream& source, const Clone& clone) {
  const uint64_t runs = source.runs_.runs().size();
  if (runs > most_shared_parts() && volume_.clusters().available().raw() < runs / kRunsPerCluster) {
    if (!volume_.reclaim() || volume_.clusters().available().raw() < runs / kRunsPerCluster) {
      return NtStatus::DiskFull;
    }
  }
  // What is allocated between the valid data and the range holds anything: it becomes a hole.
  Vcn at = std::min(clone.start, Vcn(divide_up(disk_valid_, cluster_size_)));
  while (at < clone.end) {
    auto next = share_step(source, clone, at);
    if (!next && next.error() == NtStatus::DiskFull && volume_.reclaim()) {
      next = share_step(source, clone, at);
    }
    if (!next && at <= clone.start) return next.error();
    if (!next) break;
    at = *next;
  }
  return std::min(at.raw() * cluster_size_, clone.offset + clone.length) - clone.offset;
}

/// What the target is to have at `at`, as far as the source has one run.
Run Stream::cloned_run(const Stream& source, const Clone& clone, Vcn at) const {
  if (at < clone.start) return {at, Lcn::hole(), clone.start - at};
  const Vcn from = Vcn(clone.from / cluster_size_) + (at - clone.start);
  const Vcn stop = std::min(source.runs_.end(), Vcn(divide_up(clone.source_valid, cluster_size_)));
  if (from >= stop) return {at, Lcn::hole(), clone.end - at};
  const Run run = source.runs_.find(from);
  return {at, run.lcn, std::min({run.count, stop - from, clone.end - at})};
}

/// Gives `run`, or what one step can of it, to the new runlist. Returns how much.
Result<ClusterCount> Stream::exchange_run(Transaction& transaction, Runlist& after, Run run) {
  Lcn old = Lcn::hole();
  if (run.vcn < runs_.end()) {
    const Run there = runs_.find(run.vcn);
    old = there.lcn;
    run.count = std::min(run.count, there.count);
  }
  ClusterRefcounts& refcounts = *volume_.refcounts();
  if (run.lcn != old) {
    if (!run.lcn.is_hole()) run.count = refcounts.first_part({run.lcn, run.count}).run.count;
    if (!old.is_hole()) run.count = refcounts.first_part({old, run.count}).run.count;
    if (!run.lcn.is_hole()) TRY(refcounts.add_reference(transaction, {run.lcn, run.count}));
    if (!old.is_hole()) TRY(volume_.release_clusters(transaction, {old, run.count}));
  }
  after.replace(run.vcn, run.lcn, run.count);
  return run.count;
}

Result<Vcn> Stream::share_step(Stream& source, const Clone& clone, Vcn first) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  Runlist after = runs_;
  Vcn at = first;
  for (size_t parts = 0; at < clone.end && parts < most_shared_parts(); ++parts) {
    if (transaction.log_bytes() > transaction.log_budget() / 2) break;
    at = at + TRY(exchange_run(transaction, after, cloned_run(source, clone, at)));
  }
  ondisk::AttributeSizes sizes;
  sizes.file_size = disk_file_size_;
  sizes.valid_data_length = disk_valid_;
  if (at > clone.start) {
    const uint64_t done = std::min(at.raw() * cluster_size_, clone.offset + clone.length);
    sizes.file_size = std::max(sizes.file_size, done);
    if (clone.source_valid > clone.from) {
      const uint64_t valid = clone.offset + (clone.source_valid - clone.from);
      sizes.valid_data_length = std::max(disk_valid_, std::min(valid, done));
    }
  }
  sizes.allocated = after.end().raw() * cluster_size_;
  sizes.total_allocated = after.allocated().raw() * cluster_size_;
  Attributes attributes(volume_, file_.reference());
  TRY(attributes.store_changed_runs(transaction, AttributeType::Data, name_, after,
                                    std::min(first, runs_.end()), std::max(at, after.end()),
                                    sizes));
  TRY(log_information(transaction,
                      {sizes.total_allocated, sizes.file_size, sizes.valid_data_length}));
  transaction.commit();
  runs_ = std::move(after);
  ++count_frees_;
  disk_file_size_ = sizes.file_size;
  disk_valid_ = sizes.valid_data_length;
  file_size_ = std::max(file_size_, disk_file_size_);
  valid_ = std::max(valid_, disk_valid_);
  note_state();
  return at;
}

}  // namespace ntfs
