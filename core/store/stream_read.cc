#include <algorithm>

#include "core/store/stream.h"
#include "core/store/volume.h"
#include "core/store/wof_data.h"

namespace ntfs {

namespace {
constexpr size_t kBounceBytes = size_t{1} << 20;
}  // namespace

Result<size_t> Stream::read(uint64_t offset, size_t length, MutableBytes into) {
  TRY(ensure_readable());
  if (const auto data = wof()) return data->read(offset, length, into);
  const uint64_t block = volume_.data().logical_block_size();
  if (offset % block == 0) return read_aligned(offset, length, into);
  const auto piece = volume_.buffers().take(kBounceBytes);
  size_t done = 0;
  while (done < length) {
    const uint64_t at = offset + done;
    const auto skip = static_cast<size_t>(at % block);
    const size_t wanted = std::min(length - done, kBounceBytes - skip);
    const size_t got = TRY(read_aligned(at - skip, skip + wanted, piece.bytes()));
    if (got <= skip) break;
    std::copy_n(piece.bytes().begin() + static_cast<ptrdiff_t>(skip), got - skip,
                into.begin() + static_cast<ptrdiff_t>(done));
    done += got - skip;
    if (got < skip + wanted) break;
  }
  return done;
}

/// `offset` is a multiple of the device's block size.
Result<size_t> Stream::read_aligned(uint64_t offset, size_t length, MutableBytes into) {
  const SharedLock lock(mutex_);
  if (offset >= file_size_ || length == 0) return size_t{0};
  length = static_cast<size_t>(std::min<uint64_t>(length, file_size_ - offset));
  if (is_value_on_disk()) {
    TRY(read_resident_value(offset, into.first(length)));
  } else {
    TRY(read_range(offset, offset + length, into.data()));
  }
  return length;
}

// The lock is not held during the transfer. That clusters were freed shows afterwards; what was
// written over meanwhile may be read old, new, or mixed, as with any device.

Result<Stream::ReadStep> Stream::begin_read(uint64_t offset, size_t length, MutableBytes into,
                                            std::vector<IoRequest>& requests) {
  TRY(ensure_readable());
  ReadStep step;
  if (const auto data = wof()) {
    step.length = TRY(data->read(offset, length, into));
    return step;
  }
  const SharedLock lock(mutex_);
  step.count_frees = count_frees_;
  if (offset >= file_size_) return step;
  step.length = static_cast<size_t>(std::min<uint64_t>(length, file_size_ - offset));
  if (is_value_on_disk()) {
    TRY(read_resident_value(offset, into.first(step.length)));
  } else {
    TRY(plan_range(offset, offset + step.length, into.data(), requests, step.zeros));
  }
  return step;
}

bool Stream::end_read(const ReadStep& step) {
  for (const MutableBytes part : step.zeros) std::fill(part.begin(), part.end(), std::byte{0});
  const SharedLock lock(mutex_);
  return step.count_frees == count_frees_;
}

/// [from, to) as a reader sees it. What `into` has up to a multiple of 4096 is overwritten, too.
Result<> Stream::read_range(uint64_t from, uint64_t to, std::byte* into) const {
  std::vector<IoRequest> requests;
  std::vector<MutableBytes> zeros;
  TRY(plan_range(from, to, into, requests, zeros));
  if (!requests.empty()) TRY(volume_.data().transfer(requests));
  // Transfers end with a block, which may reach into what must read as zeros.
  for (const MutableBytes part : zeros) std::fill(part.begin(), part.end(), std::byte{0});
  return {};
}

/// What is encrypted, as it is on the device; the last two bytes say how many before them are too
/// many.
Result<> Stream::read_raw(uint64_t from, uint64_t to, std::byte* into) const {
  TRY(read_disk(from, to, into));
  const uint64_t end = disk_file_size_ - sizeof(le16);
  const le16 padding = le16::of(static_cast<uint16_t>(end - encrypted_size_));
  for (uint64_t at = std::max(from, end); at < to; ++at) {
    into[at - from] = bytes_of(padding)[at - end];
  }
  return {};
}

/// Copies what is buffered; adds the transfers for the rest, and what is to be zeroed after them.
/// What is compressed is read at once.
Result<> Stream::plan_range(uint64_t from, uint64_t to, std::byte* into,
                            std::vector<IoRequest>& requests,
                            std::vector<MutableBytes>& zeros) const {
  auto segment = buffer_.from(from / unit_bytes_);
  for (uint64_t at = from; at < to;) {
    uint64_t stop = to;
    std::byte* target = into + (at - from);
    if (segment != buffer_.segments().end()) {
      const uint64_t start = segment->first * unit_bytes_;
      if (start <= at) {
        stop = std::min(to, start + segment->second.count * unit_bytes_);
        std::copy_n(segment->second.memory + (at - start), stop - at, target);
        at = stop;
        ++segment;
        continue;
      }
      stop = std::min(to, start);
    }
    if (compressed_) {
      TRY(read_compressed(at, stop, target));
    } else if (encrypted_size_ != 0) {
      TRY(read_raw(at, stop, target));
    } else {
      plan_read(at, stop, target, requests, zeros);
    }
    at = stop;
  }
  return {};
}

/// The same without what is buffered.
Result<> Stream::read_disk(uint64_t from, uint64_t to, std::byte* into) const {
  if (compressed_) return read_compressed(from, to, into);
  std::vector<IoRequest> requests;
  std::vector<MutableBytes> zeros;
  plan_read(from, to, into, requests, zeros);
  if (!requests.empty()) TRY(volume_.data().transfer(requests));
  for (const MutableBytes part : zeros) std::fill(part.begin(), part.end(), std::byte{0});
  return {};
}

void Stream::plan_read(uint64_t from, uint64_t to, std::byte* into,
                       std::vector<IoRequest>& requests, std::vector<MutableBytes>& zeros) const {
  const uint64_t block = volume_.data().logical_block_size();
  const uint64_t data_end = std::min(to, disk_valid_);
  const auto runs = runs_.runs();
  uint64_t at = from;
  for (size_t i = runs_.index_of(Vcn(from / cluster_size_)); at < data_end && i < runs.size();
       ++i) {
    const uint64_t run_start = runs[i].vcn.raw() * cluster_size_;
    const uint64_t stop = std::min(data_end, runs[i].end().raw() * cluster_size_);
    std::byte* target = into + (at - from);
    if (runs[i].lcn.is_hole()) {
      zeros.emplace_back(target, stop - at);
    } else {
      const uint64_t position = runs[i].lcn.raw() * cluster_size_ + (at - run_start);
      requests.push_back(IoRequest::read(position, {target, align_up(stop - at, block)}));
    }
    at = stop;
  }
  if (at < to) zeros.emplace_back(into + (at - from), to - at);
}

}  // namespace ntfs
