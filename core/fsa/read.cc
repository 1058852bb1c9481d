// MS-FSA 2.1.5.3 "Server Requests a Read". The numbers R1 to R15 are those of the conformance table
// (docs/conformance.md).

#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"

namespace ntfs {

namespace {
constexpr uint64_t kMaxLongLong = 0x7fffffffffffffff;
}  // namespace

/// R1 to R4: what is wrong whatever the stream holds.
Result<> ObjectStore::check_read(Open& open, const ReadParameters& parameters) const {
  // Not in the document: what a directory holds is not read.
  if (open.is_directory()) return NtStatus::InvalidDeviceRequest;
  // R1: the argument or the mode. R2: alignment.
  const bool is_unbuffered = parameters.buffering == Buffering::Unbuffered || open.is_unbuffered();
  const auto offset = static_cast<uint64_t>(parameters.byte_offset);
  if (is_unbuffered && parameters.byte_offset >= 0 && !is_aligned(offset, parameters.length)) {
    return NtStatus::InvalidParameter;
  }
  // R3: no offset has a meaning of its own here.
  if (parameters.byte_offset < 0) return NtStatus::InvalidParameter;
  // R4: "(ByteOffset + ByteCount) > MAXLONGLONG".
  if (parameters.length > kMaxLongLong - offset) return NtStatus::InvalidParameter;
  return {};
}

Result<size_t> ObjectStore::read(Open& open, const ReadParameters& parameters) {
  TRY(check_read(open, parameters));
  // R5: nothing to read, nothing happens.
  if (parameters.length == 0) return size_t{0};
  const auto offset = static_cast<uint64_t>(parameters.byte_offset);
  for (;;) {
    Passage passage(open.state_, Passage::Width::Shared);
    // R6: 2.1.4.12, "READ".
    if (TRY(passage.break_oplock(open, OplockOperation::Read)) == Passage::Way::Again) continue;
    // R7: 2.1.4.10 with IsExclusive FALSE, over all that was asked for: a locked range past the end
    // is told before the end is.
    TRY(passage.check_locks({.offset = offset,
                             .length = parameters.length,
                             .mode = ByteRangeLock::Mode::Shared,
                             .open = &open,
                             .key = parameters.key}));
    TRY(begin_read(open, parameters));
    // R9, R11 to R13: the stream clips at its size, and gives zeros from its valid data length on.
    const size_t length = TRY(open.stream().read(offset, parameters.length, parameters.into));
    return finish_read(open, parameters, length);
  }
}

/// R10: unbuffered, what is cached of the range goes to the device first.
Result<> ObjectStore::begin_read(Open& open, const ReadParameters& parameters) const {
  if (parameters.buffering == Buffering::Buffered && !open.is_unbuffered()) return {};
  return open.stream().write_back(static_cast<uint64_t>(parameters.byte_offset), parameters.length);
}

Result<size_t> ObjectStore::finish_read(Open& open, const ReadParameters& parameters,
                                        size_t length) const {
  // R8: "If ByteOffset is greater than or equal to Open.Stream.Size".
  if (length == 0) return NtStatus::EndOfFile;
  // R14: FILE_SYNCHRONOUS_IO_ALERT or FILE_SYNCHRONOUS_IO_NONALERT.
  if (open.is_synchronous()) {
    open.current_byte_offset_ = parameters.byte_offset + static_cast<int64_t>(length);
  }
  // R15: 2.1.4.20 "Algorithm for Noting That a File Has Been Accessed".
  note_file_accessed(open);
  return length;
}

namespace {

Stream& stream_of(const DataRead& read) {
  return read.open != nullptr ? read.open->stream() : read.file->data();
}

ReadParameters parameters_of(const DataRead& read) {
  return {.byte_offset = static_cast<int64_t>(read.offset),
          .length = read.length,
          .into = read.into,
          .buffering = read.buffering,
          .key = read.key};
}

}  // namespace

/// What can be said of one of several reads before its data is there. True: `done` is the answer.
bool ObjectStore::answer_early(DataRead& read) {
  if (read.open == nullptr) return false;
  const ReadParameters parameters = parameters_of(read);
  if (read.open->state_ != nullptr) {
    read.done = this->read(*read.open, parameters);
    return true;
  }
  auto checked = check_read(*read.open, parameters);
  if (checked && read.length != 0) checked = begin_read(*read.open, parameters);
  if (checked && read.length != 0) return false;
  read.done = checked ? Result<size_t>(size_t{0}) : checked.error();
  return true;
}

void ObjectStore::read(std::span<DataRead> reads) {
  const uint64_t block = volume_->data().logical_block_size();
  std::vector<IoRequest> requests;
  std::vector<std::pair<DataRead*, Stream::ReadStep>> steps;
  steps.reserve(reads.size());
  const auto finish = [this](DataRead& read, Result<size_t> done) {
    read.done = std::move(done);
    if (read.open == nullptr || !read.done) return;
    read.done = finish_read(*read.open, parameters_of(read), *read.done);
  };
  for (DataRead& read : reads) {
    if (answer_early(read)) continue;
    Stream& stream = stream_of(read);
    if (reads.size() == 1 || read.offset % block != 0) {
      finish(read, stream.read(read.offset, read.length, read.into));
      continue;
    }
    auto step = stream.begin_read(read.offset, read.length, read.into, requests);
    if (step) {
      steps.emplace_back(&read, std::move(*step));
    } else {
      read.done = step.error();
    }
  }
  const bool is_transferred = requests.empty() || volume_->data().transfer(requests).has_value();
  for (auto& [read, step] : steps) {
    Stream& stream = stream_of(*read);
    if (stream.end_read(step) && is_transferred) {
      finish(*read, step.length);
    } else {
      // By itself: it fails, or not, for itself.
      finish(*read, stream.read(read->offset, read->length, read->into));
    }
  }
}

}  // namespace ntfs
