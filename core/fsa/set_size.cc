// MS-FSA 2.1.5.15.5 "FileEndOfFileInformation", 2.1.5.15.1 "FileAllocationInformation", 2.1.5.15.15
// "FileValidDataLengthInformation", 2.1.5.15.10 "FilePositionInformation", 2.1.5.15.8
// "FileModeInformation"; 2.1.5.7 "Server Requests Flushing Cached Data". The marks E, N and B are
// those of the conformance table (docs/conformance.md).

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/fsa/usn_post.h"

namespace ntfs {

/// E1, E2: the same for each of the sizes.
Result<> ObjectStore::check_size_change(Open& open, int64_t size) const {
  TRY(check_data());
  if (open.is_directory() || size < 0) return NtStatus::InvalidParameter;
  if (static_cast<uint64_t>(size) > volume_->max_file_size()) return NtStatus::InvalidParameter;
  if ((open.granted_access() & AccessMask::WriteData) == 0) return NtStatus::AccessDenied;
  return {};
}

Result<> ObjectStore::set_end_of_file(Open& open, int64_t size) {
  TRY(check_size_change(open, size));
  for (;;) {
    Passage passage(open.state_, Passage::Width::Exclusive);
    // E3. Of locks nothing is asked (E12).
    if (TRY(passage.break_oplock(open, OplockOperation::SetSize)) == Passage::Way::Again) continue;
    // E7 to E11: growing needs no space, the new range is a hole; the valid data length stays or is
    // cut.
    const auto wanted = static_cast<uint64_t>(size);
    UsnPost post(*open.file(), TRY(reasons_of_size(open.stream(), wanted)));
    TRY(with_reclaim(*volume_, [&] { return open.stream().set_size(wanted); }));
    post.keep();
    note_file_modified(open);
    break;
  }
  finish_size_change(open);
  return {};
}

/// E3: "PARENT_OBJECT": those who keep listings that show the sizes. E11: PendingNotifications.
void ObjectStore::finish_size_change(Open& open) {
  if (open.state_ == nullptr) return;
  open.state_->note_change(size_filter(open));
  break_parents_oplocks(*open.file(), &open);
}

Result<> ObjectStore::set_allocation(Open& open, int64_t bytes) {
  TRY(check_size_change(open, bytes));
  for (;;) {
    Passage passage(open.state_, Passage::Width::Exclusive);
    if (TRY(passage.break_oplock(open, OplockOperation::SetSize)) == Passage::Way::Again) continue;
    TRY(set_allocation_now(open, static_cast<uint64_t>(bytes)));
    break;
  }
  finish_size_change(open);
  return {};
}

Result<> ObjectStore::set_allocation_now(Open& open, uint64_t bytes) {
  Stream& stream = open.stream();
  const Stream::Sizes sizes = TRY(stream.sizes());
  // N2: "BlockAlign(AllocationSize, ClusterSize)". The largest size is a multiple of a cluster.
  const uint64_t wanted = align_up(bytes, volume_->geometry().cluster_size);
  if (wanted > sizes.mapped) {
    // N3, N4, N7: the size is not raised, no time is set.
    return with_reclaim(*volume_, [&] {
      return stream.allocate(sizes.mapped, wanted - sizes.mapped, KeepSize::Yes);
    });
  }
  if (wanted < sizes.file_size) {
    // N5, N6: the size is cut to whole clusters.
    UsnPost post(*open.file(), reasons_of_data(stream, usn::Reason::DataTruncation));
    TRY(with_reclaim(*volume_, [&] { return stream.set_size(wanted); }));
    post.keep();
    note_file_modified(open);
    return {};
  }
  if (wanted < sizes.mapped) {
    TRY(with_reclaim(*volume_, [&] { return stream.trim(wanted); }));
  }
  note_file_changed(open);
  return {};
}

Result<> ObjectStore::set_valid_data_length(Open& open, int64_t length) {
  TRY(check_data());
  if (!open.has_manage_volume_access()) return NtStatus::PrivilegeNotHeld;
  if (open.is_directory() || length < 0) return NtStatus::InvalidParameter;
  if (TRY(open.stream().is_sparse())) return NtStatus::InvalidParameter;
  for (;;) {
    Passage passage(open.state_, Passage::Width::Exclusive);
    if (TRY(passage.break_oplock(open, OplockOperation::SetSize)) == Passage::Way::Again) continue;
    return with_reclaim(*volume_, [&] {
      return open.stream().set_valid_data_length(static_cast<uint64_t>(length));
    });
  }
}

Result<> ObjectStore::set_position(Open& open, int64_t offset) {
  if (offset < 0) return NtStatus::InvalidParameter;
  if (open.is_unbuffered() && !is_aligned(static_cast<uint64_t>(offset), 0)) {
    return NtStatus::InvalidParameter;
  }
  open.current_byte_offset_ = offset;
  return {};
}

Result<> ObjectStore::set_mode(Open& open, uint32_t mode) {
  constexpr uint32_t kSettable =
      OpenMode::WriteThrough | OpenMode::SequentialOnly | OpenMode::Synchronous;
  if ((mode & ~kSettable) != 0) return NtStatus::InvalidParameter;
  if ((mode & OpenMode::Synchronous) == OpenMode::Synchronous) return NtStatus::InvalidParameter;
  const uint32_t before = open.mode();
  // Synchronous opens stay synchronous, asynchronous ones asynchronous.
  const bool is_synchronous = (mode & OpenMode::Synchronous) != 0;
  if (is_synchronous != open.is_synchronous()) return NtStatus::InvalidParameter;
  const uint32_t changed = before ^ mode;
  if (open.is_unbuffered() && (changed & OpenMode::WriteThrough) != 0) {
    return NtStatus::InvalidParameter;
  }
  open.mode_ = (before & ~kSettable) | mode;
  return {};
}

Result<> ObjectStore::flush(Open& open) {
  TRY(check_data());
  // Not called in the text, although the operation exists: who caches writes is asked for them.
  if (open.state_ != nullptr && !open.is_directory()) {
    TRY(open.state_->break_oplock(&open, OplockOperation::FlushData));
  }
  return volume_->commit();
}

}  // namespace ntfs
