// MS-FSA 2.1.5.10.4 "FSCTL_DUPLICATE_EXTENTS_TO_FILE", and copies that make use of it. D1 to D12
// are the steps of the conformance table.

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/fsa/usn_post.h"

namespace ntfs {

namespace {

constexpr uint64_t kCopyBytes = 1 << 20;

}  // namespace

Result<> ObjectStore::duplicate_extents(Open& target, Open& source, const DuplicateExtents& range) {
  // What no volume of this kind knows.
  if (!volume_->geometry().has_refcounts) return NtStatus::InvalidDeviceRequest;
  TRY(check_data());  // D2
  const uint64_t cluster = volume_->geometry().cluster_size;
  for (const int64_t value : {range.source_offset, range.target_offset, range.byte_count}) {
    if (value < 0 || static_cast<uint64_t>(value) % cluster != 0) return NtStatus::InvalidParameter;
  }
  if (range.byte_count == 0) return {};                      // D4
  if (target.is_directory()) return NtStatus::NotSupported;  // D5
  constexpr uint32_t kNeeded = AccessMask::ReadData | AccessMask::ReadAttributes;
  const bool is_readable = (source.granted_access() & kNeeded) == kNeeded;
  if (source.is_directory() || !is_readable) return NtStatus::InvalidParameter;       // D6
  if (&source.stream().volume() != volume_.get()) return NtStatus::InvalidParameter;  // D8
  // The document forgets that the target is written to.
  if ((target.granted_access() & AccessMask::WriteData) == 0) return NtStatus::AccessDenied;
  const auto count = static_cast<uint64_t>(range.byte_count);
  const SharedRange shared{static_cast<uint64_t>(range.source_offset),
                           static_cast<uint64_t>(range.target_offset), count};
  // D7, and that the target has the range: up to the end of the cluster that a file ends in.
  const auto reaches = [&](uint64_t offset, uint64_t file_size) {
    const uint64_t end = align_up(file_size, cluster);
    return offset <= end && count <= end - offset;
  };
  const Stream::Sizes source_sizes = TRY(source.stream().sizes());
  const Stream::Sizes target_sizes = TRY(target.stream().sizes());
  if (!reaches(shared.source_offset, source_sizes.file_size)) return NtStatus::NotSupported;
  if (!reaches(shared.target_offset, target_sizes.file_size)) return NtStatus::NotSupported;
  if (&source.stream() != &target.stream()) {
    const bool is_sparse = TRY(source.stream().is_sparse());  // D9
    if (is_sparse && !TRY(target.stream().is_sparse())) return NtStatus::NotSupported;
  }
  // The size stays: a cluster that the target ends in is shared as far as the target goes.
  SharedRange clipped = shared;
  const uint64_t target_end = target_sizes.file_size;
  clipped.length = std::min(count, target_end - std::min(target_end, shared.target_offset));
  if (clipped.length == 0) return {};
  const uint64_t done = TRY(share_range(source, target, clipped));
  // D12: what was done stays.
  return done == clipped.length ? Result<>() : NtStatus::DiskFull;
}

/// D10 and D11, and what the document forgets: oplocks, the change journal, times. Returns the
/// bytes done.
Result<uint64_t> ObjectStore::share_range(Open& from, Open& to, const SharedRange& range) {
  {
    Passage passage(from.state_, Passage::Width::Shared);
    TRY(passage.check_locks({.offset = range.source_offset,
                             .length = range.length,
                             .mode = ByteRangeLock::Mode::Shared,
                             .open = &from,
                             .key = std::nullopt}));
  }
  for (;;) {
    Passage passage(to.state_, Passage::Width::Exclusive);
    if (TRY(passage.break_oplock(to, OplockOperation::Write)) == Passage::Way::Again) continue;
    TRY(passage.check_locks({.offset = range.target_offset,
                             .length = range.length,
                             .mode = ByteRangeLock::Mode::Exclusive,
                             .open = &to,
                             .key = std::nullopt}));
    UsnPost post(*to.file(), TRY(reasons_of_write(to.stream(), range.target_offset, range.length)));
    const uint64_t done = TRY(with_reclaim(*volume_, [&] {
      return to.stream().share(from.stream(), range.source_offset, range.target_offset,
                               range.length);
    }));
    note_written(to.stream(), range.target_offset, done);
    post.keep();
    note_file_modified(to);
    note_file_accessed(from);
    if (to.state_ != nullptr) to.state_->note_change(size_filter(to));
    if ((to.mode() & OpenMode::WriteThrough) != 0) TRY(volume_->commit());
    return done;
  }
}

/// What of a copy can be had by sharing clusters, from its start on. Returns the bytes done.
Result<uint64_t> ObjectStore::copy_shared(Open& from, Open& to, SharedRange range) {
  if (volume_->refcounts() == nullptr || from.is_directory() || to.is_directory()) {
    return uint64_t{0};
  }
  const uint64_t cluster = volume_->geometry().cluster_size;
  if (range.source_offset % cluster != 0 || range.target_offset % cluster != 0) return uint64_t{0};
  const Stream::Sizes from_sizes = TRY(from.stream().sizes());
  const Stream::Sizes to_sizes = TRY(to.stream().sizes());
  const uint64_t source_size = from_sizes.file_size;
  const uint64_t target_size = to_sizes.file_size;
  range.length = std::min(range.length, source_size - std::min(source_size, range.source_offset));
  // The rest of a last cluster goes along where the target has nothing behind it.
  const bool is_last = range.source_offset + range.length == source_size &&
                       range.target_offset + range.length >= target_size;
  if (range.length < cluster) return uint64_t{0};
  if (!is_last) range.length = align_down(range.length, cluster);
  auto done = share_range(from, to, range);
  if (done || done.error() == NtStatus::FileLockConflict) return done;
  return uint64_t{0};  // the way by the data says why, if it cannot either
}

Result<uint64_t> ObjectStore::copy_range(Open& from, uint64_t from_offset, Open& to,
                                         uint64_t to_offset, uint64_t length) {
  TRY(check_data());
  uint64_t done = TRY(copy_shared(from, to, {from_offset, to_offset, length}));
  if (done == length) return done;
  AlignedBuffer buffer = volume_->device().allocate(std::min(align_up(length, 4096), kCopyBytes));
  while (done < length) {
    ReadParameters source;
    source.byte_offset = static_cast<int64_t>(from_offset + done);
    source.length = std::min<uint64_t>(length - done, buffer.size());
    source.into = buffer.bytes();
    const auto got = read(from, source);
    if (!got && got.error() == NtStatus::EndOfFile) break;
    if (!got && done == 0) return got.error();
    if (!got) break;
    WriteParameters target;
    target.byte_offset = static_cast<int64_t>(to_offset + done);
    target.input = buffer.bytes().first(*got);
    const auto written = write(to, target);
    if (!written && done == 0) return written.error();
    if (!written) break;
    done += *written;
  }
  return done;
}

}  // namespace ntfs
