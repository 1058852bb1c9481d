// Taking a range out of a stream, and making room in one: what lies behind moves, with its clusters
// where they are, in one transaction. fallocate(2), FALLOC_FL_COLLAPSE_RANGE and INSERT_RANGE.

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// How often it waits for writers before it gives up.
constexpr int kMostAttempts = 100;
/// Runs that one transaction frees, and that it writes the mapping pairs of.
constexpr size_t kMostRunsFreed = 1024;
constexpr size_t kMostRunsMoved = size_t{16} << 10;

/// A size, or a valid data length, when `length` bytes at `from` are gone.
uint64_t without(uint64_t size, uint64_t from, uint64_t length) {
  return size <= from ? size : std::max(size, from + length) - length;
}
}  // namespace

/// Of a stream where [from, from + length) goes, or is put in.
struct Stream::Shift {
  uint64_t from = 0;
  uint64_t length = 0;
  enum class Kind { Collapse, Insert };
  Kind kind = Kind::Collapse;
};

Result<> Stream::collapse(uint64_t offset, uint64_t length) {
  return shift({offset, length, Shift::Kind::Collapse});
}

Result<> Stream::insert(uint64_t offset, uint64_t length) {
  return shift({offset, length, Shift::Kind::Insert});
}

Result<> Stream::shift(const Shift& wanted) {
  TRY(ensure_writable());
  TRY(check_end(wanted.from, wanted.length));
  const MutexLock change(change_mutex_);
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    TRY(sweep(Sweep::Everything, Form::Nonresident));
    const ExclusiveLock lock(mutex_);
    TRY(check_shift(wanted));
    // Somebody wrote meanwhile.
    if (is_dirty()) continue;
    auto done = shift_runs(wanted);
    if (!done && done.error() == NtStatus::DiskFull && volume_.reclaim()) done = shift_runs(wanted);
    return done;
  }
  return NtStatus::NotSupported;
}

Result<> Stream::check_shift(const Shift& wanted) const {
  const uint64_t multiple = compressed_ ? unit_bytes_.load() : cluster_size_;
  if (wanted.length == 0 || wanted.from % multiple != 0 || wanted.length % multiple != 0) {
    return NtStatus::InvalidParameter;
  }
  if (wanted.kind == Shift::Kind::Insert) {
    if (wanted.from >= file_size_) return NtStatus::InvalidParameter;
    return check_end(file_size_, wanted.length);
  }
  return wanted.from + wanted.length < file_size_ ? Result<>() : NtStatus::InvalidParameter;
}

/// Everything is on disk.
Result<> Stream::shift_runs(const Shift& wanted) {
  const Vcn first(wanted.from / cluster_size_);
  const ClusterCount count(wanted.length / cluster_size_);
  const bool collapses = wanted.kind == Shift::Kind::Collapse;
  const Vcn behind = collapses ? first + count : first;
  std::vector<ClusterRun> freed;
  if (collapses) freed = runs_.allocated_in(first, count);
  const auto moved = runs_.runs_in(behind, runs_.end());
  if (freed.size() > kMostRunsFreed || moved.size() > kMostRunsMoved) {
    return NtStatus::FileSystemLimitation;
  }
  Runlist after = runs_;
  after.truncate(first);
  if (!collapses) after.append(Lcn::hole(), count);
  for (const Run& run : moved) after.append(run.lcn, run.count);
  ondisk::AttributeSizes sizes;
  sizes.allocated = after.end().raw() * cluster_size_;
  sizes.total_allocated = after.allocated().raw() * cluster_size_;
  if (collapses) {
    sizes.file_size = without(disk_file_size_, wanted.from, wanted.length);
    sizes.valid_data_length = without(disk_valid_, wanted.from, wanted.length);
  } else {
    sizes.file_size = disk_file_size_ + wanted.length;
    sizes.valid_data_length = disk_valid_ + (disk_valid_ > wanted.from ? wanted.length : 0);
  }
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  for (const ClusterRun& run : freed) TRY(volume_.release_clusters(transaction, run));
  Attributes attributes(volume_, file_.reference());
  TRY(attributes.store_changed_runs(transaction, AttributeType::Data, name_, after, first,
                                    std::max(after.end(), runs_.end()), sizes));
  TRY(log_information(transaction,
                      {sizes.total_allocated, sizes.file_size, sizes.valid_data_length}));
  transaction.commit();
  runs_ = std::move(after);
  ++count_frees_;
  file_size_ = disk_file_size_ = sizes.file_size;
  valid_ = disk_valid_ = sizes.valid_data_length;
  note_state();
  return {};
}

}  // namespace ntfs
