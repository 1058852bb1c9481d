// MS-FSA 2.1.5.10 "Server Requests an FsControl Request": FSCTL_SET_SPARSE (2.1.5.10.36),
// FSCTL_SET_ZERO_DATA (2.1.5.10.37), FSCTL_QUERY_ALLOCATED_RANGES (2.1.5.10.22); fallocate(2) by an
// open.

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/fsa/usn_post.h"

namespace ntfs {

namespace {
constexpr uint64_t kMaxLongLong = 0x7fffffffffffffff;
}  // namespace

Result<> ObjectStore::set_sparse(Open& open, Stream::Sparse wanted) {
  if (open.is_directory()) return NtStatus::InvalidParameter;
  TRY(check_data());
  constexpr uint32_t kNeeded = AccessMask::WriteData | AccessMask::WriteAttributes;
  if ((open.granted_access() & kNeeded) == 0) return NtStatus::AccessDenied;
  const bool was_sparse = TRY(open.stream().is_sparse());
  const bool is_changed = was_sparse != (wanted == Stream::Sparse::Yes);
  UsnPost post(*open.file(), is_changed ? usn::Reason::BasicInfoChange : 0);
  TRY(with_reclaim(*volume_, [&] { return open.stream().set_sparse(wanted); }));
  post.keep();
  return {};
}

/// Runs `change` on a range: locks stand against it, and it counts as a modification.
template <typename Change>
Result<> ObjectStore::change_range(Open& open, uint64_t offset, uint64_t length,
                                   const RangeReasons& reasons, Change&& change) {
  TRY(check_data());
  if (open.is_directory()) return NtStatus::InvalidParameter;
  for (;;) {
    Passage passage(open.state_, Passage::Width::Exclusive);
    if (TRY(passage.break_oplock(open, OplockOperation::ZeroData)) == Passage::Way::Again) continue;
    TRY(passage.check_locks({.offset = offset,
                             .length = length,
                             .mode = ByteRangeLock::Mode::Exclusive,
                             .open = &open,
                             .key = std::nullopt}));
    const uint32_t growth = TRY(reasons_of_growth(open.stream(), offset + length, reasons.keep));
    UsnPost post(*open.file(), reasons_of_data(open.stream(), reasons.always) | growth);
    TRY(with_reclaim(*volume_, change));
    if (reasons.always != 0) note_written(open.stream(), offset, length);
    post.keep();
    note_file_modified(open);
    return {};
  }
}

/// The size never changes. Past the valid data length there are zeros already.
Result<> ObjectStore::set_zero_data(Open& open, int64_t offset, int64_t beyond) {
  if (offset < 0 || beyond < offset) return NtStatus::InvalidParameter;
  const auto from = static_cast<uint64_t>(offset);
  const auto end = static_cast<uint64_t>(beyond);
  Stream& stream = open.stream();
  const RangeReasons reasons{usn::Reason::DataOverwrite, KeepSize::Yes};
  return change_range(open, from, end - from, reasons, [&]() -> Result<> {
    const Stream::Sizes sizes = TRY(stream.sizes());
    const uint64_t stop = std::min(end, sizes.valid_data_length);
    if (from >= stop) return {};
    if (TRY(stream.is_sparse())) return stream.punch(from, std::min(end, sizes.file_size) - from);
    return stream.zero(from, stop - from, KeepSize::Yes);
  });
}

/// What is not sparse is allocated as a whole, as far as anybody can tell. `most`: of ranges.
Result<AllocatedRanges> ObjectStore::query_allocated_ranges(Open& open, int64_t offset,
                                                            int64_t length, size_t most) {
  if (open.is_directory() || offset < 0 || length < 0) return NtStatus::InvalidParameter;
  const auto from = static_cast<uint64_t>(offset);
  const auto count = static_cast<uint64_t>(length);
  if (count > kMaxLongLong - from) return NtStatus::InvalidParameter;
  AllocatedRanges answer;
  if (count == 0) return answer;
  if (most == 0) return NtStatus::BufferTooSmall;
  Stream& stream = open.stream();
  if (!TRY(stream.is_sparse())) {
    answer.ranges.push_back({from, count});
    return answer;
  }
  const uint64_t end = from + count;
  for (uint64_t at = from; at < end;) {
    const auto data = stream.next_range(at, RangeKind::Data);
    if (!data && data.error() == NtStatus::NoMoreEntries) break;
    if (!data) return data.error();
    const uint64_t start = *data;
    if (start >= end) break;
    if (answer.ranges.size() == most) {
      answer.status = NtStatus::BufferOverflow;
      break;
    }
    const uint64_t stop = std::min(end, TRY(stream.next_range(start, RangeKind::Hole)));
    answer.ranges.push_back({start, stop - start});
    at = stop;
  }
  return answer;
}

Result<> ObjectStore::allocate(Open& open, uint64_t offset, uint64_t length, KeepSize keep) {
  return change_range(open, offset, length, {0, keep},
                      [&] { return open.stream().allocate(offset, length, keep); });
}

Result<> ObjectStore::punch(Open& open, uint64_t offset, uint64_t length) {
  return change_range(open, offset, length, {usn::Reason::DataOverwrite, KeepSize::Yes},
                      [&] { return open.stream().punch(offset, length); });
}

Result<> ObjectStore::zero(Open& open, uint64_t offset, uint64_t length, KeepSize keep) {
  return change_range(open, offset, length, {usn::Reason::DataOverwrite, keep},
                      [&] { return open.stream().zero(offset, length, keep); });
}

// All that lies behind the offset moves.

Result<> ObjectStore::collapse(Open& open, uint64_t offset, uint64_t length) {
  if ((open.granted_access() & AccessMask::WriteData) == 0) return NtStatus::AccessDenied;
  if (offset > kMaxLongLong) return NtStatus::InvalidParameter;
  const uint32_t reasons = usn::Reason::DataOverwrite | usn::Reason::DataTruncation;
  return change_range(open, offset, kMaxLongLong - offset, {reasons, KeepSize::Yes},
                      [&] { return open.stream().collapse(offset, length); });
}

Result<> ObjectStore::insert(Open& open, uint64_t offset, uint64_t length) {
  if ((open.granted_access() & AccessMask::WriteData) == 0) return NtStatus::AccessDenied;
  if (offset > kMaxLongLong) return NtStatus::InvalidParameter;
  const uint32_t reasons = usn::Reason::DataOverwrite | usn::Reason::DataExtend;
  return change_range(open, offset, kMaxLongLong - offset, {reasons, KeepSize::Yes},
                      [&] { return open.stream().insert(offset, length); });
}

}  // namespace ntfs
