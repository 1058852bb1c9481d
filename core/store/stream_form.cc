// What a stream is on disk beside its data: valid data length and sparse mark, on request.

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

Result<> Stream::set_valid_data_length(uint64_t length) {
  TRY(ensure_writable());
  const MutexLock change(change_mutex_);
  TRY(sweep(Sweep::Everything, Form::AsFits));
  const ExclusiveLock lock(mutex_);
  if (compressed_ || length < valid_ || length > file_size_) return NtStatus::InvalidParameter;
  if (!resident_ && length > disk_valid_) {
    const uint64_t clusters = divide_up(length, cluster_size_);
    if (count_allocated(runs_, Vcn(0), clusters) != clusters) return NtStatus::InvalidParameter;
    ondisk::AttributeSizes sizes;
    sizes.allocated = runs_.end().raw() * cluster_size_;
    sizes.total_allocated = runs_.allocated().raw() * cluster_size_;
    sizes.file_size = std::max(disk_file_size_, length);
    sizes.valid_data_length = length;
    TRY(log_sizes(sizes));
    disk_file_size_ = sizes.file_size;
    disk_valid_ = length;
  }
  valid_ = length;
  note_state();
  return {};
}

Result<> Stream::log_sizes(const ondisk::AttributeSizes& sizes) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  Attributes attributes(volume_, file_.reference());
  TRY(attributes.set_sizes(transaction, AttributeType::Data, name_, sizes));
  TRY(log_information(transaction,
                      {sizes.total_allocated, sizes.file_size, sizes.valid_data_length}));
  transaction.commit();
  return {};
}

Result<bool> Stream::is_sparse() {
  TRY(ensure_loaded());
  const SharedLock lock(mutex_);
  return !resident_ && (marked_sparse_ || runs_.allocated() != runs_.end() - Vcn(0));
}

Result<> Stream::set_sparse(Sparse wanted) {
  TRY(ensure_writable());
  if (TRY(is_compressed())) return NtStatus::NotSupported;
  if (TRY(is_sparse()) == (wanted == Sparse::Yes)) return {};
  const MutexLock change(change_mutex_);
  uint64_t end = 0;
  if (wanted == Sparse::Yes) {
    TRY(sweep(Sweep::Everything, Form::Nonresident));
  } else {
    TRY(sweep(Sweep::Everything, Form::AsFits));
    const SharedLock lock(mutex_);
    end = runs_.end().raw() * cluster_size_;
  }
  if (end != 0) TRY(fill_holes(0, end));
  const ExclusiveLock lock(mutex_);
  if (resident_) return {};
  TRY(log_sparse(wanted));
  marked_sparse_ = wanted == Sparse::Yes;
  return {};
}

Result<> Stream::log_sparse(Sparse wanted) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  Attributes attributes(volume_, file_.reference());
  if (wanted == Sparse::Yes) {
    TRY(attributes.make_sparse(transaction, AttributeType::Data, name_));
  } else {
    TRY(attributes.make_plain(transaction, AttributeType::Data, name_));
  }
  TRY(log_information(transaction,
                      {runs_.allocated().raw() * cluster_size_, disk_file_size_, disk_valid_}));
  transaction.commit();
  return {};
}

}  // namespace ntfs
