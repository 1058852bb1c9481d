// Data of a file: MS-FSA 2.1.5.3 "Server Requests a Read", 2.1.5.4 "Server Requests a Write",
// 2.1.5.15.5 "FileEndOfFileInformation", 2.1.5.10 FSCTLs for ranges. The whole algorithms come with
// their own issue; sizes, zeros and errors are theirs already.

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"

namespace ntfs {

namespace {
constexpr uint64_t kCopyBytes = 1 << 20;
}  // namespace

Result<> ObjectStore::check_data() const {
  return volume_->is_writable() ? Result<>() : NtStatus::MediaWriteProtected;
}

void ObjectStore::note_data_change(File& file) const {
  if (options_.data_times == DataTimes::SetByStore) {
    file.note_modified();
  } else {
    file.note_archive();
  }
}

Result<size_t> ObjectStore::read(File& file, uint64_t offset, size_t length, MutableBytes into) {
  return file.data().read(offset, length, into);
}

void ObjectStore::read(std::span<DataRead> reads) {
  const uint64_t block = volume_->device().logical_block_size();
  std::vector<IoRequest> requests;
  std::vector<std::pair<DataRead*, Stream::ReadStep>> steps;
  steps.reserve(reads.size());
  for (DataRead& read : reads) {
    Stream& stream = read.file->data();
    if (reads.size() == 1 || read.offset % block != 0) {
      read.done = stream.read(read.offset, read.length, read.into);
      continue;
    }
    auto step = stream.begin_read(read.offset, read.length, read.into, requests);
    if (step) {
      steps.emplace_back(&read, std::move(*step));
    } else {
      read.done = step.error();
    }
  }
  const bool is_transferred = requests.empty() || volume_->device().transfer(requests).has_value();
  for (auto& [read, step] : steps) {
    Stream& stream = read->file->data();
    if (stream.end_read(step) && is_transferred) {
      read->done = step.length;
    } else {
      // By itself: it fails, or not, for itself.
      read->done = stream.read(read->offset, read->length, read->into);
    }
  }
}

Result<> ObjectStore::write(File& file, uint64_t offset, ByteView from, Buffering buffering) {
  TRY(check_data());
  TRY(with_reclaim(*volume_, [&] { return file.data().write(offset, from, buffering); }));
  note_data_change(file);
  return {};
}

Result<uint64_t> ObjectStore::append(File& file, ByteView from) {
  TRY(check_data());
  const uint64_t offset = TRY(with_reclaim(*volume_, [&] { return file.data().append(from); }));
  note_data_change(file);
  return offset;
}

Result<> ObjectStore::set_end_of_file(File& file, uint64_t size) {
  TRY(check_data());
  TRY(with_reclaim(*volume_, [&] { return file.data().set_size(size); }));
  note_data_change(file);
  return {};
}

Result<> ObjectStore::allocate(File& file, uint64_t offset, uint64_t length, KeepSize keep) {
  TRY(check_data());
  TRY(with_reclaim(*volume_, [&] { return file.data().allocate(offset, length, keep); }));
  note_data_change(file);
  return {};
}

Result<> ObjectStore::punch(File& file, uint64_t offset, uint64_t length) {
  TRY(check_data());
  TRY(with_reclaim(*volume_, [&] { return file.data().punch(offset, length); }));
  note_data_change(file);
  return {};
}

Result<> ObjectStore::zero(File& file, uint64_t offset, uint64_t length, KeepSize keep) {
  TRY(check_data());
  TRY(with_reclaim(*volume_, [&] { return file.data().zero(offset, length, keep); }));
  note_data_change(file);
  return {};
}

Result<uint64_t> ObjectStore::next_range(File& file, uint64_t offset, RangeKind kind) {
  return file.data().next_range(offset, kind);
}

Result<uint64_t> ObjectStore::copy_range(File& from, uint64_t from_offset, File& to,
                                         uint64_t to_offset, uint64_t length) {
  TRY(check_data());
  AlignedBuffer buffer = volume_->device().allocate(std::min(align_up(length, 4096), kCopyBytes));
  uint64_t done = 0;
  while (done < length) {
    const size_t part = std::min<uint64_t>(length - done, buffer.size());
    const size_t got = TRY(from.data().read(from_offset + done, part, buffer.bytes()));
    if (got == 0) break;
    const auto written =
        to.data().write(to_offset + done, buffer.bytes().first(got), Buffering::Buffered);
    if (!written) {
      if (done == 0) return written.error();
      break;
    }
    done += got;
  }
  if (done != 0) note_data_change(to);
  return done;
}

}  // namespace ntfs
