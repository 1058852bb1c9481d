// A stream as one value: replaced, or removed, in one transaction. What Linux calls an extended
// attribute has to be there as it was set, or not at all.

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/stream.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// A value of up to this stays in a file record even if others have to leave it.
constexpr size_t kSmallValue = 256;
/// A value of the largest size in clusters of the smallest.
constexpr size_t kMostRuns = Stream::kMostReplaced / 512;
/// More are not freed in one transaction: 64 pages of $Bitmap.
constexpr uint64_t kMostClustersFreed = uint64_t{64} * 4096 * 8;
}  // namespace

/// What the stream will hold.
struct Stream::Replacement {
  ByteView value;
  std::vector<ClusterRun> claimed;  ///< with the value in them; empty for a resident one
};

Result<> Stream::replace(ByteView value) {
  ASSERT(value.size() <= kMostReplaced);
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  const auto loaded = ensure_loaded();
  if (!loaded && (loaded.error() != NtStatus::ObjectNameNotFound || removed_)) return loaded;
  if (is_read_as_data()) return NtStatus::NotSupported;
  if (cannot_write_ != NtStatus::Success) return cannot_write_.load();
  const MutexLock change(change_mutex_);
  Replacement replacement{value, {}};
  TRY(claim(replacement));
  const ExclusiveLock lock(mutex_);
  auto logged = removed_ ? NtStatus::ObjectNameNotFound : cut_long_runs();
  if (logged) logged = log(replacement);
  if (!logged) {
    volume_.clusters().unclaim(replacement.claimed);
    return logged;
  }
  become(replacement);
  return {};
}

/// Puts the value on the device, in clusters of its own, unless it will be resident.
Result<> Stream::claim(Replacement& replacement) {
  const ByteView value = replacement.value;
  {
    const SharedLock metadata(volume_.journal().metadata_lock());
    Attributes attributes(volume_, file_.reference());
    const size_t room = TRY(attributes.resident_room(AttributeType::Data, name_));
    if (value.size() <= std::max(room, kSmallValue)) return {};
    const ClusterCount wanted(divide_up(value.size(), cluster_size_));
    TRY(volume_.clusters().promise(wanted));
    auto claimed = volume_.clusters().claim_promised(wanted, Lcn::hole(), kMostRuns);
    if (!claimed) {
      volume_.clusters().withdraw_promise(wanted);
      return claimed.error();
    }
    replacement.claimed = std::move(*claimed);
  }
  AlignedBuffer memory =
      volume_.data().allocate(align_up(align_up(value.size(), cluster_size_), 4096));
  std::ranges::copy(value, memory.bytes().begin());
  std::ranges::fill(memory.bytes().subspan(value.size()), std::byte{0});
  std::vector<IoRequest> requests;
  uint64_t done = 0;
  for (const ClusterRun& run : replacement.claimed) {
    const uint64_t length = run.count.raw() * cluster_size_;
    requests.push_back(
        IoRequest::write(run.lcn.raw() * cluster_size_, memory.bytes().subspan(done, length)));
    done += length;
  }
  auto written = volume_.data().transfer(requests);
  if (!written) volume_.clusters().unclaim(replacement.claimed);
  return written;
}

/// Cuts what is too long to be freed at once; such a stream was written by opens. And what is
/// shared: each of its clusters may change several counts.
Result<> Stream::cut_long_runs() {
  const uint64_t clusters = runs_.end().raw();
  const bool is_short = runs_.runs().size() <= kMostRuns && clusters <= kMostClustersFreed;
  if (is_short && count_shared(volume_.refcounts(), runs_, Vcn(0), clusters) == 0) return {};
  return cut_runs(0, Vcn(0));
}

Result<> Stream::release_runs(Transaction& transaction) {
  for (const Run& run : runs_.runs()) {
    if (!run.lcn.is_hole()) TRY(volume_.release_clusters(transaction, {run.lcn, run.count}));
  }
  return {};
}

Result<> Stream::log(const Replacement& replacement) {
  const ByteView value = replacement.value;
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  TRY(release_runs(transaction));
  Attributes attributes(volume_, file_.reference());
  // Neither the form nor the marks of what was there are kept.
  const bool stays = resident_ && !compressed_ && replacement.claimed.empty();
  if (loaded_ && !stays) TRY(attributes.remove_data(transaction, name_));
  if (replacement.claimed.empty()) {
    TRY(attributes.set_value(transaction, AttributeType::Data, name_, value));
    TRY(log_information(transaction, {align_up(value.size(), 8), value.size(), value.size()}));
    transaction.commit();
    return {};
  }
  Runlist runs;
  for (const ClusterRun& run : replacement.claimed) {
    TRY(volume_.clusters().set_allocated(transaction, run));
    runs.append(run.lcn, run.count);
  }
  ondisk::AttributeSizes sizes;
  sizes.allocated = sizes.total_allocated = runs.end().raw() * cluster_size_;
  sizes.file_size = sizes.valid_data_length = value.size();
  TRY(attributes.make_nonresident(transaction, AttributeType::Data, name_, runs, sizes));
  TRY(log_information(transaction, {sizes.allocated, value.size(), value.size()}));
  transaction.commit();
  return {};
}

/// After the transaction, with memory.
void Stream::become(Replacement& replacement) {
  drop_units(0, ~uint64_t{0} / unit_bytes_);
  if (!runs_.empty()) ++count_frees_;
  runs_ = Runlist();
  for (const ClusterRun& run : replacement.claimed) runs_.append(run.lcn, run.count);
  resident_ = replacement.claimed.empty();
  marked_sparse_ = false;
  if (compressed_) set_form(Compression::None);
  disk_file_size_ = file_size_ = valid_ = replacement.value.size();
  disk_valid_ = resident_ ? 0 : valid_;
  loaded_.store(true, std::memory_order_release);
  note_state();
}

Result<> Stream::remove() {
  ASSERT(is_named());
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  TRY(ensure_loaded());
  const MutexLock change(change_mutex_);
  const ExclusiveLock lock(mutex_);
  if (removed_) return NtStatus::ObjectNameNotFound;
  TRY(cut_long_runs());
  TRY(log_removal());
  Replacement nothing;
  become(nothing);
  removed_ = true;
  loaded_.store(false, std::memory_order_release);
  return {};
}

Result<> Stream::log_removal() {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  TRY(release_runs(transaction));
  Attributes attributes(volume_, file_.reference());
  TRY(attributes.remove_data(transaction, name_));
  TRY(log_information(transaction, {}));
  transaction.commit();
  return {};
}

}  // namespace ntfs
