// Allocating, punching and zeroing ranges; looking for data and holes. MS-FSA 2.1.5.10.

#include <algorithm>
#include <cstring>

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// Of one transaction: runs freed, pages of $Bitmap touched (a log record each), holes filled.
constexpr size_t kMostRunsFreed = 1024;
constexpr uint64_t kMostClustersFreed = uint64_t{1024} * 4096 * 8;
constexpr size_t kMostStretches = 256;
constexpr uint64_t kMostClustersFilled = uint64_t{512} * 4096 * 8;
}  // namespace

/// The whole units of a range; [from, head_end) and [tail_start, to) are parts of units.
struct Stream::Middle {
  uint64_t head_end = 0;
  uint64_t tail_start = 0;
  uint64_t first_unit = 0;
  uint64_t end_unit = 0;
  bool empty() const { return first_unit >= end_unit; }
};

/// `to` at the end of the file counts as the end of a unit.
Stream::Middle Stream::split_range(uint64_t from, uint64_t to) const {
  Middle middle;
  middle.first_unit = divide_up(from, unit_bytes_);
  middle.end_unit = to >= file_size_ ? divide_up(to, unit_bytes_) : to / unit_bytes_;
  middle.head_end = std::min(to, middle.first_unit * unit_bytes_);
  middle.tail_start = std::max(middle.head_end, std::min(to, middle.end_unit * unit_bytes_));
  return middle;
}

// Allocating.

Result<> Stream::allocate(uint64_t offset, uint64_t length, KeepSize keep) {
  if (length == 0) return {};
  TRY(check_end(offset, length));
  TRY(ensure_writable());
  const MutexLock change(change_mutex_);
  // What a unit takes shows when it is written.
  if (TRY(is_compressed())) return NtStatus::NotSupported;
  TRY(sweep(Sweep::Everything, Form::Nonresident));
  TRY(fill_holes(offset, offset + length));
  if (keep == KeepSize::No) TRY(grow(offset + length));
  return {};
}

/// Gives clusters to every hole of the range. DiskFull comes before anything has changed.
Result<> Stream::fill_holes(uint64_t from, uint64_t to) {
  Vcn at(from / cluster_size_);
  const Vcn end(divide_up(to, cluster_size_));
  ClusterCount wanted = end - at;
  {
    const SharedLock lock(mutex_);
    wanted -= ClusterCount(count_allocated(runs_, at, wanted.raw()));
  }
  TRY(ensure_space(wanted));
  while (at < end) {
    Flight flight;
    flight.needs_extra = true;
    at = plan_filling(flight, at, end);
    if (flight.stretches.empty()) continue;
    TRY(fly(flight));
    // Less than planned when space is in many small runs.
    at = std::min(at, flight.stretches.back().end());
  }
  return {};
}

Result<> Stream::ensure_space(ClusterCount wanted) {
  if (wanted <= volume_.clusters().available()) return {};
  if (volume_.reclaim() && wanted <= volume_.clusters().available()) return {};
  return NtStatus::DiskFull;
}

/// Takes holes from `from` on into the flight. Returns how far it came.
Vcn Stream::plan_filling(Flight& flight, Vcn from, Vcn to) {
  const SharedLock lock(mutex_);
  note_disk_state(flight);
  flight.file_size = file_size_;
  // Below the valid data length what is allocated is read.
  const Vcn read_end(divide_up(disk_valid_, cluster_size_));
  const auto runs = runs_.runs();
  uint64_t clusters = 0;
  Vcn at = from;
  for (size_t i = runs_.index_of(from); at < to; ++i) {
    if (flight.stretches.size() >= kMostStretches || clusters >= kMostClustersFilled) break;
    const bool is_behind = i >= runs.size();
    const Vcn stop = is_behind ? to : std::min(to, runs[i].end());
    if (!is_behind && !runs[i].lcn.is_hole()) {
      at = stop;
      continue;
    }
    while (at < stop && clusters < kMostClustersFilled) {
      const bool is_read = at < read_end;
      Vcn next = is_read ? std::min(stop, read_end) : stop;
      next = std::min(next, at + ClusterCount(kMostClustersFilled - clusters));
      flight.add_stretch({at, next - at, true, is_read});
      clusters += (next - at).raw();
      at = next;
    }
  }
  return at;
}

// Punching.

Result<> Stream::punch(uint64_t offset, uint64_t length) {
  TRY(ensure_writable());
  const MutexLock change(change_mutex_);
  return punch_locked(offset, length);
}

Result<> Stream::punch_locked(uint64_t offset, uint64_t length) {
  const ExclusiveLock lock(mutex_);
  if (length == 0 || offset >= file_size_) return {};
  const uint64_t end = length < file_size_ - offset ? offset + length : file_size_;
  TRY(keep_resident_value());
  const Middle middle = split_range(offset, end);
  const auto head = zero_edge(offset, middle.head_end);
  const auto tail = head ? zero_edge(middle.tail_start, end) : head;
  note_state();
  if (!tail) return tail;
  if (!middle.empty()) TRY(punch_units(middle));
  return {};
}

Result<> Stream::punch_units(const Middle& middle) {
  if (resident_) {
    // Unit 0 may be what a resident value became; the others exist in memory only.
    if (middle.first_unit == 0 && buffer_.contains(0)) {
      std::memset(buffer_.modify(0), 0, unit_bytes_);
    }
    const uint64_t first = std::max<uint64_t>(middle.first_unit, 1);
    if (first < middle.end_unit) drop_units(first, middle.end_unit - first);
    note_state();
    return {};
  }
  const Vcn end = std::min(Vcn(middle.end_unit * clusters_per_unit_), runs_.end());
  Vcn at(middle.first_unit * clusters_per_unit_);
  while (at < end) {
    auto next = punch_step(at, end);
    if (!next && next.error() == NtStatus::DiskFull && volume_.reclaim())
      next = punch_step(at, end);
    if (!next) return next.error();
    at = *next;
  }
  drop_units(middle.first_unit, middle.end_unit - middle.first_unit);
  note_state();
  return {};
}

/// Frees what one transaction can of [from, to), and what is buffered there. Returns how far it
/// came: the end of a unit, or `to`.
Result<Vcn> Stream::punch_step(Vcn from, Vcn to) {
  Vcn stop = from;
  uint64_t clusters = 0;
  size_t count_freed = 0;
  ClusterRefcounts* refcounts = volume_.refcounts();
  const size_t most_freed = refcounts != nullptr ? most_shared_parts() : kMostRunsFreed;
  while (stop < std::min(to, runs_.end())) {
    if (count_freed >= most_freed || clusters >= kMostClustersFreed) break;
    const Vcn start = stop;
    const Run run = runs_.find(start);
    stop = std::min(run.end(), to);
    if (run.lcn.is_hole()) continue;
    const uint64_t most = align_up(kMostClustersFreed - clusters, clusters_per_unit_);
    stop = std::min(stop, Vcn(align_down(start.raw(), clusters_per_unit_) + most));
    if (refcounts != nullptr) {
      stop = start + refcounts->first_part({run.lcn, stop - start}).run.count;
    }
    ++count_freed;
    clusters += (stop - start).raw();
  }
  if (count_freed == 0) return stop;
  if (stop < to) stop = Vcn(align_down(stop.raw(), clusters_per_unit_));
  TRY(log_punch(from, stop));
  const uint64_t first_unit = from.raw() / clusters_per_unit_;
  drop_units(first_unit, divide_up(stop.raw(), clusters_per_unit_) - first_unit);
  note_state();
  return stop;
}

Result<> Stream::log_punch(Vcn from, Vcn to) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  for (const ClusterRun& run : runs_.allocated_in(from, to - from)) {
    TRY(volume_.release_clusters(transaction, run));
  }
  Runlist after = runs_;
  after.replace(from, Lcn::hole(), to - from);
  ondisk::AttributeSizes sizes;
  sizes.allocated = after.end().raw() * cluster_size_;
  sizes.total_allocated = after.allocated().raw() * cluster_size_;
  sizes.file_size = disk_file_size_;
  sizes.valid_data_length = disk_valid_;
  Attributes attributes(volume_, file_.reference());
  TRY(attributes.store_changed_runs(transaction, AttributeType::Data, name_, after, from, to,
                                    sizes));
  TRY(log_information(transaction,
                      {sizes.total_allocated, sizes.file_size, sizes.valid_data_length}));
  transaction.commit();
  runs_ = std::move(after);
  ++count_frees_;
  return {};
}

// Zeroing.

Result<> Stream::zero(uint64_t offset, uint64_t length, KeepSize keep) {
  if (length == 0) return {};
  TRY(check_end(offset, length));
  TRY(ensure_writable());
  const MutexLock change(change_mutex_);
  if (TRY(is_compressed())) {
    TRY(punch_locked(offset, length));
    if (keep == KeepSize::No) TRY(grow(offset + length));
    return {};
  }
  TRY(sweep(Sweep::Everything, Form::Nonresident));
  TRY(ensure_space_for_copies(offset, offset + length));
  TRY(fill_holes(offset, offset + length));
  uint64_t end = 0;
  Middle middle;
  {
    const SharedLock lock(mutex_);
    end = std::min(offset + length, file_size_);
    if (offset < end) middle = split_range(offset, end);
  }
  if (!middle.empty() && volume_.refcounts() != nullptr) {
    TRY(replace_shared(Vcn(middle.first_unit * clusters_per_unit_),
                       Vcn(middle.end_unit * clusters_per_unit_)));
  }
  if (!middle.empty()) TRY(zero_on_device(middle));
  if (offset < end) {
    const ExclusiveLock lock(mutex_);
    if (!middle.empty()) drop_units(middle.first_unit, middle.end_unit - middle.first_unit);
    const auto head = zero_edge(offset, middle.head_end);
    const auto tail = head ? zero_edge(middle.tail_start, end) : head;
    note_state();
    if (!tail) return tail;
  }
  if (keep == KeepSize::No) TRY(grow(offset + length));
  return {};
}

/// Zeros over the units that are below the valid data length. What is buffered of them still hides
/// it.
Result<> Stream::zero_on_device(const Middle& middle) {
  Runlist runs;
  uint64_t end = 0;
  {
    const SharedLock lock(mutex_);
    runs = runs_;
    end = std::min(middle.end_unit * unit_bytes_, align_up(disk_valid_, cluster_size_));
  }
  const uint64_t start = middle.first_unit * unit_bytes_;
  if (start >= end) return {};
  std::vector<IoRequest> requests;
  TRY(add_zeros(runs, start, end, requests));
  return requests.empty() ? Result<>() : volume_.data().transfer(requests);
}

// Looking.

Result<uint64_t> Stream::next_range(uint64_t offset, RangeKind kind) {
  TRY(ensure_readable());
  const SharedLock lock(mutex_);
  uint64_t at = offset;
  while (at < file_size_) {
    uint64_t stop = file_size_;
    const RangeKind here = wof_ != nullptr ? RangeKind::Data : range_at(at, stop);
    if (here == kind) return at;
    at = stop;
  }
  if (kind == RangeKind::Hole && offset < file_size_) return file_size_;
  return NtStatus::NoMoreEntries;
}

/// The same for a compressed stream: a unit is a hole as a whole. `run` is what is there from `at`
/// on.
Stream::RangeKind Stream::compressed_range_at(const Run& run, uint64_t& stop) const {
  const uint64_t unit = run.vcn.raw() / clusters_per_unit_;
  const Vcn start(unit * clusters_per_unit_);
  uint64_t end_unit = unit + 1;
  const bool is_hole = count_allocated(runs_, start, clusters_per_unit_) == 0;
  if (is_hole) end_unit = std::max(end_unit, run.end().raw() / clusters_per_unit_);
  stop = std::min({stop, end_unit * unit_bytes_, disk_valid_});
  return is_hole ? RangeKind::Hole : RangeKind::Data;
}

/// What there is at `at`; lowers `stop` to where that ends at the latest.
Stream::RangeKind Stream::range_at(uint64_t at, uint64_t& stop) const {
  const auto segment = buffer_.from(at / unit_bytes_);
  if (segment != buffer_.segments().end()) {
    const uint64_t start = segment->first * unit_bytes_;
    if (start <= at) {
      stop = std::min(stop, start + segment->second.count * unit_bytes_);
      return RangeKind::Data;
    }
    stop = std::min(stop, start);
  }
  if (is_value_on_disk()) return RangeKind::Data;
  const Vcn vcn(at / cluster_size_);
  if (at >= disk_valid_ || vcn >= runs_.end()) return RangeKind::Hole;
  const Run run = runs_.find(vcn);
  if (compressed_) return compressed_range_at(run, stop);
  stop = std::min({stop, run.end().raw() * cluster_size_, disk_valid_});
  return run.lcn.is_hole() ? RangeKind::Hole : RangeKind::Data;
}

}  // namespace ntfs
