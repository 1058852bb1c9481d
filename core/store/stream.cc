#include "core/store/stream.h"

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// What is encrypted is encrypted in pieces of this size, and shown with two bytes behind it.
constexpr uint64_t kRawMultiple = 512;
/// Largest size that arithmetic here is safe for.
constexpr uint64_t kMostBytes = uint64_t{1} << 62;
}  // namespace

uint64_t count_allocated(const Runlist& runs, Vcn vcn, uint64_t count) {
  const Vcn stop = vcn + ClusterCount(count);
  uint64_t total = 0;
  const auto list = runs.runs();
  for (auto it = list.from(runs.index_of(vcn)); it != list.end() && (*it).vcn < stop; ++it) {
    const Run& run = *it;
    if (!run.lcn.is_hole()) total += (std::min(run.end(), stop) - std::max(run.vcn, vcn)).raw();
  }
  return total;
}

uint64_t count_shared(ClusterRefcounts* refcounts, const Runlist& runs, Vcn vcn, uint64_t count) {
  if (refcounts == nullptr) return 0;
  const Vcn stop = vcn + ClusterCount(count);
  uint64_t total = 0;
  const auto list = runs.runs();
  for (auto it = list.from(runs.index_of(vcn)); it != list.end() && (*it).vcn < stop; ++it) {
    const Run& run = *it;
    if (run.lcn.is_hole()) continue;
    const Vcn start = std::max(run.vcn, vcn);
    const ClusterRun part{run.lcn + (start - run.vcn), std::min(run.end(), stop) - start};
    total += refcounts->count_shared(part).raw();
  }
  return total;
}

namespace {

/// Compressed with LZNT1 in units of 16 clusters. Windows compresses where clusters are small.
bool is_lznt1(const ondisk::AttributeView& view, uint64_t cluster_size) {
  const unsigned method = view.flags() & ondisk::AttributeFlags::CompressionMask;
  return method == ondisk::AttributeFlags::Compressed &&
         cluster_size <= ondisk::kMostCompressedClusterSize &&
         (view.is_resident() || view.compression_unit() == ondisk::kCompressionUnitShift);
}

}  // namespace

Stream::Stream(Volume& volume, File& file, std::u16string_view name)
    : volume_(volume),
      file_(file),
      name_(name),
      cluster_size_(volume.geometry().cluster_size),
      unit_bytes_(std::max(kMinUnitBytes, cluster_size_)),
      clusters_per_unit_(unit_bytes_ / cluster_size_),
      buffer_(volume.buffers(), unit_bytes_) {}

Stream::~Stream() {
  const ExclusiveLock lock(mutex_);
  if (promised_ != 0) volume_.clusters().withdraw_promise(ClusterCount(promised_));
  // One that holds nothing may be the last to go, after its volume.
  if (const uint64_t buffered = buffered_bytes_.load()) volume_.remove_buffered(buffered);
}

// Loading.

Result<> Stream::ensure_loaded() {
  if (loaded_.load(std::memory_order_acquire)) return {};
  const ExclusiveLock lock(mutex_);
  return load_locked();
}

Result<> Stream::load_locked() {
  if (loaded_.load(std::memory_order_relaxed)) return {};
  if (removed_) return NtStatus::ObjectNameNotFound;
  const SharedLock metadata(volume_.journal().metadata_lock());
  Attributes attributes(volume_, file_.reference());
  const auto found = TRY(attributes.find(AttributeType::Data, name_));
  const auto view = found.view();
  const Origin origin{"$DATA", file_.reference().raw(), found.offset};
  if (view.is_encrypted()) {
    const bool is_raw = volume_.options().encrypted == VolumeOptions::Encrypted::Raw;
    cannot_write_ = NtStatus::AccessDenied;
    if (!is_raw || volume_.is_writable()) cannot_read_ = NtStatus::AccessDenied;
  } else if (view.is_compressed() && !is_lznt1(view, cluster_size_)) {
    cannot_write_ = NtStatus::NotSupported;
    // A resident value is never compressed.
    if (!view.is_resident()) cannot_read_ = NtStatus::NotSupported;
  }
  Runlist runs;
  if (!view.is_resident()) {
    if (view.file_size() > kMostBytes) return corrupt(origin, "file size", view.file_size());
    if (view.valid_data_length() > view.file_size()) {
      return corrupt(origin, "valid data length", view.valid_data_length());
    }
    runs = TRY(attributes.load_runs(AttributeType::Data, name_));
    if (runs.end().raw() > kMostBytes / cluster_size_) {
      return corrupt(origin, "highest vcn", runs.end().raw());
    }
  }
  resident_ = view.is_resident();
  if (view.is_compressed() && cannot_write_ == NtStatus::Success) set_form(Compression::Lznt1);
  marked_sparse_ = !resident_ && view.is_sparse();
  disk_file_size_ = view.value_length();
  disk_valid_ = resident_ ? 0 : view.valid_data_length();
  runs_ = std::move(runs);
  if (view.is_encrypted() && cannot_read_ == NtStatus::Success && !resident_) {
    encrypted_size_ = disk_file_size_;
    disk_file_size_ = raw_size(disk_file_size_);
    disk_valid_ = align_up(disk_valid_, kRawMultiple);
  }
  file_size_ = disk_file_size_;
  valid_ = resident_ ? disk_file_size_ : disk_valid_;
  if (!is_named()) TRY(look_at_reparse_point(attributes));
  loaded_.store(true, std::memory_order_release);
  return {};
}

Result<> Stream::ensure_readable() {
  TRY(ensure_loaded());
  return cannot_read_.load();
}

Result<> Stream::ensure_writable() {
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  TRY(ensure_loaded());
  if (is_read_as_data()) return NtStatus::NotSupported;
  return cannot_write_.load();
}

Result<> Stream::check_end(uint64_t offset, uint64_t length) const {
  const auto end = checked_add(offset, length);
  return end && *end <= volume_.max_file_size() ? Result<>() : NtStatus::FileTooLarge;
}

uint64_t Stream::raw_size(uint64_t file_size) {
  return file_size == 0 ? 0 : align_up(file_size, kRawMultiple) + sizeof(le16);
}

Result<Stream::Sizes> Stream::sizes() {
  TRY(ensure_loaded());
  const SharedLock lock(mutex_);
  Sizes result;
  result.file_size = file_size_;
  result.valid_data_length = valid_;
  if (resident_ && buffer_.empty()) {
    result.allocated = align_up(file_size_, 8);
    result.mapped = result.allocated;
  } else {
    const Runlist& runs = planned_ != nullptr ? *planned_ : runs_;
    const uint64_t promised = promised_ - std::min(promised_, count_replaced(runs));
    result.allocated = (runs.allocated().raw() + promised) * cluster_size_;
    const uint64_t multiple = compressed_ ? unit_bytes_.load() : cluster_size_;
    result.mapped = std::max(runs.end().raw() * cluster_size_, align_up(file_size_, multiple));
  }
  return result;
}

Result<Runlist> Stream::runs() {
  TRY(ensure_loaded());
  const SharedLock lock(mutex_);
  return Runlist(runs_);
}

StreamExtension& Stream::extend(std::unique_ptr<StreamExtension> extension) {
  const ExclusiveLock lock(mutex_);
  if (owned_extension_ == nullptr) owned_extension_ = std::move(extension);
  extension_.store(owned_extension_.get(), std::memory_order_release);
  return *owned_extension_;
}

/// What goes with each of its transactions. The file's names show the sizes of the unnamed stream.
Result<> Stream::log_information(Transaction& transaction, const Sizes& sizes) {
  if (is_named()) return file_.log_information(transaction, std::nullopt);
  return file_.log_information(transaction, sizes);
}

// Promises and accounts.

/// Clusters that these units lack, or must not write to.
uint64_t Stream::missing_clusters(uint64_t first_unit, uint64_t count) const {
  ASSERT(!compressed_);
  const Runlist& runs = planned_ != nullptr ? *planned_ : runs_;
  const uint64_t clusters = count * clusters_per_unit_;
  const Vcn first(first_unit * clusters_per_unit_);
  return clusters - count_allocated(runs, first, clusters) +
         count_shared(volume_.refcounts(), runs, first, clusters);
}

/// Promises what those of the units that are not buffered lack. DiskFull.
Result<> Stream::promise_units(uint64_t first_unit, uint64_t count) {
  if (compressed_) return promise_new_units(first_unit, count);
  const uint64_t end = first_unit + count;
  uint64_t wanted = 0;
  auto segment = buffer_.from(first_unit);
  for (uint64_t at = first_unit; at < end;) {
    const bool is_last = segment == buffer_.segments().end();
    if (!is_last && segment->first <= at) {
      at = segment->first + segment->second.count;
      ++segment;
      continue;
    }
    const uint64_t stop = is_last ? end : std::min(end, segment->first);
    wanted += missing_clusters(at, stop - at);
    at = stop;
  }
  if (wanted == 0) return {};
  TRY(volume_.clusters().promise(ClusterCount(wanted)));
  promised_ += wanted;
  return {};
}

/// Withdraws what is promised beyond what the buffered units lack.
void Stream::settle_promises() {
  uint64_t needed = compressed_ ? count_needed({}) : 0;
  if (!compressed_) {
    for (const auto& [first, segment] : buffer_.segments()) {
      needed += missing_clusters(first, segment.count);
    }
  }
  ASSERT(promised_ >= needed);
  if (promised_ == needed) return;
  volume_.clusters().withdraw_promise(ClusterCount(promised_ - needed));
  promised_ = needed;
}

void Stream::drop_units(uint64_t first_unit, uint64_t count) {
  buffer_.erase(first_unit, count);
  settle_promises();
}

/// After each change of the buffer or of a size: tells the volume.
void Stream::note_state() {
  const uint64_t now = buffer_.count_units() * unit_bytes_;
  const uint64_t before = buffered_bytes_.exchange(now, std::memory_order_relaxed);
  if (now > before) volume_.add_buffered(now - before);
  if (now < before) volume_.remove_buffered(before - now);
  const bool is_dirty_now = !buffer_.empty() || file_size_ != disk_file_size_;
  const bool was_dirty = dirty_.exchange(is_dirty_now, std::memory_order_acq_rel);
  if (is_dirty_now && !was_dirty) volume_.add_dirty(file_);
}

// The resident value. It is read where it stands until something changes; from then on it is unit 0
// of the buffer until it has been written back.

/// Fills `into` with the value from `offset` on, and zeros behind it.
Result<> Stream::read_resident_value(uint64_t offset, MutableBytes into) const {
  const SharedLock metadata(volume_.journal().metadata_lock());
  Attributes attributes(volume_, file_.reference());
  const auto found = TRY(attributes.find(AttributeType::Data, name_));
  const auto view = found.view();
  if (!view.is_resident() || view.value().size() != disk_file_size_) {
    return corrupt({"$DATA", file_.reference().raw(), found.offset}, "length", view.value_length());
  }
  const ByteView value = view.value().subspan(std::min<uint64_t>(offset, view.value().size()));
  const size_t length = std::min(value.size(), into.size());
  std::copy_n(value.begin(), length, into.begin());
  std::fill(into.begin() + static_cast<ptrdiff_t>(length), into.end(), std::byte{0});
  return {};
}

Result<> Stream::keep_resident_value() {
  if (!is_value_on_disk()) return {};
  TRY(promise_units(0, 1));
  std::byte* memory = buffer_.add(0);
  const auto read = read_resident_value(0, {memory, unit_bytes_});
  if (!read) drop_units(0, 1);
  note_state();
  return read;
}

}  // namespace ntfs
