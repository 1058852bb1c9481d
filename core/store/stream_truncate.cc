// The file size, and the end of the stream with its file.

#include <algorithm>
#include <cstring>

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// Of one transaction: runs freed, and clusters (each page of $Bitmap is a log record).
constexpr size_t kMostRunsFreed = 1024;
constexpr uint64_t kMostClustersFreed = uint64_t{1024} * 4096 * 8;
}  // namespace

Result<> Stream::set_size(uint64_t size) {
  if (size > volume_.max_file_size()) return NtStatus::FileTooLarge;
  TRY(ensure_writable());
  if (TRY(grow(size))) return {};
  const MutexLock change(change_mutex_);
  return shrink(size);
}

/// False when the file is larger. Growth is logged by write-back.
Result<bool> Stream::grow(uint64_t size) {
  const ExclusiveLock lock(mutex_);
  return grow_locked(size);
}

Result<bool> Stream::grow_locked(uint64_t size) {
  if (size < file_size_) return false;
  if (size == file_size_) return true;
  TRY(keep_resident_value());
  file_size_ = size;
  note_state();
  return true;
}

Result<> Stream::shrink(uint64_t size) {
  const ExclusiveLock lock(mutex_);
  if (TRY(grow_locked(size))) return {};
  if (resident_) {
    TRY(keep_resident_value());
  } else {
    TRY(cut_runs(size, runs_needed(size)));
  }
  cut_memory(size);
  return {};
}

/// Drops what is buffered behind `size`.
void Stream::cut_memory(uint64_t size) {
  // Unit 0 stays while it stands for a resident value.
  const uint64_t first_gone =
      std::max<uint64_t>(divide_up(size, unit_bytes_), resident_ && disk_file_size_ != 0 ? 1 : 0);
  drop_units(first_gone, ~uint64_t{0} / unit_bytes_ - first_gone);
  const uint64_t last = size / unit_bytes_;
  if (buffer_.contains(last)) {
    const uint64_t kept = size % unit_bytes_;
    std::memset(buffer_.modify(last) + kept, 0, unit_bytes_ - kept);
  }
  file_size_ = std::min(file_size_, size);
  valid_ = std::min(valid_, size);
  note_state();
}

/// Where the runs may end.
Vcn Stream::runs_needed(uint64_t size) const {
  // A buffered unit keeps its clusters: it holds no promise for them.
  const uint64_t last = size / unit_bytes_;
  if (size % unit_bytes_ != 0 && buffer_.contains(last)) {
    return Vcn((last + 1) * clusters_per_unit_);
  }
  return Vcn(align_up(size, compressed_ ? unit_bytes_.load() : cluster_size_) / cluster_size_);
}

/// Nonresident: cuts sizes and runs on disk. The first transaction sets the sizes; what later ones
/// would free, and a crash leaves, is space allocated behind the end.
Result<> Stream::cut_runs(uint64_t size, Vcn end) {
  while (disk_file_size_ > size || runs_.end() > end) {
    auto done = cut_step(size, end);
    if (!done && done.error() == NtStatus::DiskFull && volume_.reclaim()) {
      done = cut_step(size, end);
    }
    if (!done) return done;
  }
  return {};
}

/// Frees the last runs, down to `end`, as many as go into one transaction.
Result<> Stream::free_from_end(Transaction& transaction, Runlist& runs, Vcn end) {
  uint64_t clusters = 0;
  for (size_t count = 0; runs.end() > end; ++count) {
    const Run last = runs.runs().back();
    Vcn from = std::max(last.vcn, end);
    if (!last.lcn.is_hole()) {
      if (count >= kMostRunsFreed || clusters >= kMostClustersFreed ||
          transaction.log_bytes() > transaction.log_budget() / 2) {
        return {};
      }
      const uint64_t most = kMostClustersFreed - clusters;
      if ((last.end() - from).raw() > most) from = Vcn(last.end().raw() - most);
      ClusterRun freed{last.lcn + (from - last.vcn), last.end() - from};
      if (volume_.refcounts() != nullptr) freed = volume_.refcounts()->last_part(freed).run;
      from = Vcn(last.end().raw() - freed.count.raw());
      TRY(volume_.release_clusters(transaction, freed));
      clusters += freed.count.raw();
    }
    runs.truncate(from);
  }
  return {};
}

Result<> Stream::cut_step(uint64_t size, Vcn end) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  Runlist after = runs_;
  TRY(free_from_end(transaction, after, end));
  pad_to_unit(after);
  ondisk::AttributeSizes sizes;
  sizes.allocated = after.end().raw() * cluster_size_;
  sizes.total_allocated = after.allocated().raw() * cluster_size_;
  sizes.file_size = std::min(disk_file_size_, size);
  sizes.valid_data_length = std::min(disk_valid_, size);
  Attributes attributes(volume_, file_.reference());
  // What is empty and may be small again begins anew as a resident value.
  const bool ends_resident = size == 0 && after.empty() && cannot_write_ == NtStatus::Success;
  if (ends_resident) {
    TRY(attributes.set_value(transaction, AttributeType::Data, name_, {}));
  } else if (after.end() < runs_.end()) {
    TRY(attributes.store_changed_runs(transaction, AttributeType::Data, name_, after, after.end(),
                                      runs_.end(), sizes));
  } else {
    TRY(attributes.set_sizes(transaction, AttributeType::Data, name_, sizes));
  }
  TRY(log_information(transaction,
                      {sizes.total_allocated, sizes.file_size, sizes.valid_data_length}));
  transaction.commit();
  runs_ = std::move(after);
  ++count_frees_;
  resident_ = ends_resident;
  marked_sparse_ = marked_sparse_ && !ends_resident;
  disk_file_size_ = sizes.file_size;
  disk_valid_ = sizes.valid_data_length;
  // Units that are buffered behind go now: what they promise was counted with those runs.
  cut_memory(size);
  return {};
}

Result<> Stream::trim(uint64_t bytes) {
  TRY(ensure_writable());
  const MutexLock change(change_mutex_);
  const ExclusiveLock lock(mutex_);
  if (resident_) return {};
  const Vcn kept(align_up(bytes, compressed_ ? unit_bytes_.load() : cluster_size_) / cluster_size_);
  return cut_runs(file_size_, std::max(runs_needed(file_size_), kept));
}

Result<> Stream::discard() {
  const MutexLock change(change_mutex_);
  const auto loaded = ensure_loaded();
  // Without $DATA there is nothing to free.
  if (!loaded) return loaded.error() == NtStatus::ObjectNameNotFound ? Result<>() : loaded;
  const ExclusiveLock lock(mutex_);
  if (!resident_) TRY(cut_runs(0, Vcn(0)));
  drop_units(0, ~uint64_t{0} / unit_bytes_);
  file_size_ = disk_file_size_;
  valid_ = std::min(valid_, file_size_);
  note_state();
  return {};
}

}  // namespace ntfs
