// MS-FSA 2.1.5.4 "Server Requests a Write". The order of the checks is that of the document; the
// numbers W1 to W28 are those of the conformance table (docs/conformance.md).

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/fsa/usn_post.h"

namespace ntfs {

namespace {
constexpr uint64_t kMaxLongLong = 0x7fffffffffffffff;
}  // namespace

Result<size_t> ObjectStore::write(Open& open, const WriteParameters& parameters) {
  const uint64_t count = parameters.input.size();
  // Not in the document: what a directory holds is not written.
  if (open.is_directory()) return NtStatus::InvalidDeviceRequest;
  // W1: "If UnBuffered is TRUE or Open.Mode.FILE_NO_INTERMEDIATE_BUFFERING is TRUE".
  const bool is_unbuffered = parameters.buffering == Buffering::Unbuffered || open.is_unbuffered();
  // W2: alignment, of offsets that are offsets.
  if (is_unbuffered && parameters.byte_offset >= 0 &&
      !is_aligned(static_cast<uint64_t>(parameters.byte_offset), count)) {
    return NtStatus::InvalidParameter;
  }
  for (;;) {
    // W3: "If ByteOffset equals -2, then set ByteOffset to Open.CurrentByteOffset."
    const int64_t asked = parameters.byte_offset == kCurrentPosition ? open.current_byte_offset()
                                                                     : parameters.byte_offset;
    // W4: Open.File.Volume.IsReadOnly.
    TRY(check_data());
    // W5: "(ByteOffset + ByteCount) > MAXLONGLONG and (ByteOffset >= 0)".
    const bool is_at_end = asked < 0;
    const auto at = static_cast<uint64_t>(asked);
    if (!is_at_end && count > kMaxLongLong - at) return NtStatus::InvalidParameter;
    // W6: nothing to write, nothing happens.
    if (count == 0) return size_t{0};
    // From here on the size of the stream, its locks and its oplock stay what they are.
    Passage passage(open.state_, is_at_end ? Passage::Width::Exclusive : Passage::Width::Shared);
    const auto moved = write_now(open, parameters, passage,
                                 is_at_end ? std::nullopt : std::optional<uint64_t>(at));
    if (!moved) return moved.error();
    // An oplock was broken: everything may have changed meanwhile.
    if (!*moved) continue;
    // W23: "If Open.Mode.FILE_WRITE_THROUGH is TRUE, the cache write will also trigger a flush",
    // and what makes the data reachable goes with it.
    if ((open.mode() & OpenMode::WriteThrough) != 0) TRY(volume_->commit());
    // W24: FILE_SYNCHRONOUS_IO_ALERT or FILE_SYNCHRONOUS_IO_NONALERT.
    if (open.is_synchronous()) open.current_byte_offset_ = static_cast<int64_t>(**moved + count);
    // W28: BytesWritten, STATUS_SUCCESS.
    return static_cast<size_t>(count);
  }
}

/// W7 to W27, with the passage held. `wanted`: nothing for the end of the stream. Returns the
/// offset written to; nothing when the request has to start again.
Result<std::optional<uint64_t>> ObjectStore::write_now(Open& open,
                                                       const WriteParameters& parameters,
                                                       Passage& passage,
                                                       std::optional<uint64_t> wanted) {
  const uint64_t count = parameters.input.size();
  const bool is_unbuffered = parameters.buffering == Buffering::Unbuffered || open.is_unbuffered();
  if (!wanted && open.state_ != nullptr) {
    // W7, W8: "If (ByteOffset < 0), set ByteOffset to Open.Stream.Size." Where opens do not lock,
    // the stream does it under its own lock, and nobody needs to know the offset before.
    const Stream::Sizes sizes = TRY(open.stream().sizes());
    wanted = sizes.file_size;
  }
  // -1 and -2 may lead to offsets that are not aligned, which the document forgets.
  if (is_unbuffered && !is_aligned(wanted.value_or(0), count)) return NtStatus::InvalidParameter;
  // W7, W9: "If (ByteOffset + ByteCount) > MAXFILESIZE". What is added fits: see W5.
  const uint64_t most = volume_->max_file_size();
  if (count > most || wanted.value_or(0) > most - count) return NtStatus::InvalidParameter;
  if (wanted) {
    // W11: "If Open.Stream.Oplock is not empty" (2.1.4.12, "WRITE").
    if (TRY(passage.break_oplock(open, OplockOperation::Write)) == Passage::Way::Again) {
      return std::optional<uint64_t>();
    }
    // W12: 2.1.4.10, with IsExclusive TRUE and LockIntent FALSE.
    TRY(passage.check_locks({.offset = *wanted,
                             .length = count,
                             .mode = ByteRangeLock::Mode::Exclusive,
                             .open = &open,
                             .key = parameters.key}));
  }
  // W10, W13: the reasons for the change journal. The document posts them after W12, too.
  UsnPost post(*open.file(), TRY(reasons_of_write(open.stream(), wanted, count)));
  Stream::Sizes before;
  if (open.state_ != nullptr) before = TRY(open.stream().sizes());
  const uint64_t offset = TRY(transfer_write(open, parameters, wanted));
  note_written(open.stream(), offset, count);
  post.keep();
  // W25: 2.1.4.17 "Algorithm for Noting That a File Has Been Modified".
  note_file_modified(open);
  // PendingNotifications, which the document forgets here.
  if (open.state_ != nullptr && offset + count > std::min(before.file_size, before.mapped)) {
    open.state_->note_change(size_filter(open));
  }
  return std::optional<uint64_t>(offset);
}

/// W14 to W22, W26 and W27: the stream does them in one, so that nobody sees half of it. Buffered
/// data has its space promised (W15, W22); what lies between the valid data length and the offset
/// reads as zeros from then on (W19, W21). Unbuffered data goes to the device past the buffer where
/// nothing of it is buffered, and else with it, which ends with an empty buffer (W16, W17, W20).
/// Size and ValidDataLength are raised with the data (W26, W27).
Result<uint64_t> ObjectStore::transfer_write(Open& open, const WriteParameters& parameters,
                                             std::optional<uint64_t> wanted) {
  Stream& stream = open.stream();
  const bool is_unbuffered = parameters.buffering == Buffering::Unbuffered || open.is_unbuffered();
  const auto done = with_reclaim(*volume_, [&]() -> Result<uint64_t> {
    if (!wanted) {
      return is_unbuffered ? stream.append_unbuffered(parameters.input)
                           : stream.append(parameters.input);
    }
    TRY(stream.write(*wanted, parameters.input,
                     is_unbuffered ? Buffering::Unbuffered : Buffering::Buffered));
    return *wanted;
  });
  // Past the largest file after all: the end was elsewhere.
  if (!done && done.error() == NtStatus::FileTooLarge) return NtStatus::InvalidParameter;
  if (!done) return done.error();
  return *done;
}

bool ObjectStore::is_aligned(uint64_t offset, uint64_t length) const {
  const uint64_t sector = volume_->geometry().sector_size;
  return offset % sector == 0 && length % sector == 0;
}

uint32_t ObjectStore::size_filter(const Open& open) {
  return open.named_stream() != nullptr ? NotifyFilter::StreamSize : NotifyFilter::Size;
}

void ObjectStore::note_file_modified(Open& open) const {
  const uint32_t user_set = open.user_set_times();
  FileTimes times;
  const auto now = ondisk::FileTime::now();
  if ((user_set & UserSetTimes::LastWrite) == 0) times.last_write = now;
  if ((user_set & UserSetTimes::Change) == 0) times.change = now;
  if ((user_set & UserSetTimes::LastAccess) == 0) times.last_access = now;
  open.file()->note_modified(times);
  if (open.state_ == nullptr) return;
  const bool is_named = open.named_stream() != nullptr;
  open.state_->note_change(is_named ? NotifyFilter::StreamWrite : NotifyFilter::LastWrite);
}

void ObjectStore::note_file_changed(Open& open) const {
  FileTimes times;
  if ((open.user_set_times() & UserSetTimes::Change) == 0) times.change = ondisk::FileTime::now();
  open.file()->note_modified(times);
}

void ObjectStore::note_file_accessed(Open& open) const {
  if ((open.user_set_times() & UserSetTimes::LastAccess) != 0 || !volume_->is_writable()) return;
  FileTimes times;
  times.last_access = ondisk::FileTime::now();
  open.file()->note_times(times);
}

}  // namespace ntfs
