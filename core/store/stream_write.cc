#include <algorithm>
#include <cstring>

#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

namespace {
/// Writes with at least this much in whole units are copied before the lock is taken.
constexpr uint64_t kLargeWrite = 64 << 10;
constexpr uint64_t kChunkBytes = 1 << 20;
/// Buffered bytes of one stream at which a writer begins to write back, while others go on.
constexpr uint64_t kReliefBytes = 16 << 20;
/// ... at which every writer waits for that.
constexpr uint64_t kMostBuffered = 48 << 20;
constexpr int kAttempts = 3;
}  // namespace

struct Stream::Prepared {
  struct Part {
    ChunkRef chunk;
    uint64_t units = 0;
  };
  std::vector<Part> parts;
  uint64_t first_unit = 0;
  uint64_t end_unit = 0;
  uint64_t unit_bytes = 0;
};

Result<> Stream::write(uint64_t offset, ByteView from, Buffering buffering) {
  if (from.empty()) return {};
  TRY(check_end(offset, from.size()));
  TRY(ensure_writable());
  if (buffering == Buffering::Unbuffered) return write_unbuffered(offset, from);
  TRY(relieve());
  TRY(write_buffered({offset}, from));
  return {};
}

Result<uint64_t> Stream::append(ByteView from) {
  TRY(ensure_writable());
  TRY(relieve());
  return write_buffered({}, from);
}

Result<uint64_t> Stream::append_unbuffered(ByteView from) {
  TRY(ensure_writable());
  TRY(relieve());
  const uint64_t offset = TRY(write_buffered({std::nullopt, volume_.geometry().sector_size}, from));
  TRY(write_back());
  return offset;
}

/// Before a write: keeps the buffers of this stream, and those of the volume, within bounds.
Result<> Stream::relieve() {
  const uint64_t buffered = buffered_bytes_.load(std::memory_order_relaxed);
  const bool is_over_budget = volume_.is_over_budget();
  if (is_over_budget) volume_.journal().wake();
  if (buffered < kReliefBytes && !(is_over_budget && buffered != 0)) return {};
  const bool must_wait = is_over_budget || buffered >= kMostBuffered;
  if (relieving_.exchange(true) && !must_wait) return {};
  Result<> done;
  {
    const MutexLock change(change_mutex_);
    // While this thread waited, another may have done it.
    if (buffered_bytes_.load() >= kReliefBytes || volume_.is_over_budget()) {
      done = sweep(Sweep::Relief, Form::AsFits);
    }
  }
  relieving_ = false;
  // A failure shows again when the data is written back for good; but the buffer must not grow.
  return must_wait ? done : Result<>();
}

/// Returns the offset.
Result<uint64_t> Stream::write_buffered(const Place& place, ByteView from) {
  const Prepared prepared = place.offset ? prepare(*place.offset, from) : Prepared{};
  for (int attempt = 1;; ++attempt) {
    auto done = try_buffer(place, from, prepared);
    if (done || done.error() != NtStatus::DiskFull || attempt == kAttempts) return done;
    if (attempt == 1 && volume_.reclaim()) continue;
    // What is written back takes the clusters that it needs, often fewer than were promised.
    (void)write_back().has_value();
    (void)volume_.reclaim();
  }
}

Stream::Prepared Stream::prepare(uint64_t offset, ByteView from) const {
  Prepared prepared;
  const uint64_t unit_bytes = unit_bytes_;
  const uint64_t first = divide_up(offset, unit_bytes);
  const uint64_t end = (offset + from.size()) / unit_bytes;
  if (end <= first || (end - first) * unit_bytes < kLargeWrite) return prepared;
  prepared.unit_bytes = unit_bytes;
  prepared.first_unit = first;
  prepared.end_unit = end;
  const uint64_t most = std::max<uint64_t>(kChunkBytes / unit_bytes, 1);
  for (uint64_t unit = first; unit < end;) {
    const uint64_t units = std::min(end - unit, most);
    const ByteView part =
        from.subspan(unit * unit_bytes - offset, static_cast<size_t>(units * unit_bytes));
    ChunkRef chunk = make_full_chunk(volume_.buffers(), part.size());
    std::memcpy(chunk->piece.bytes().data(), part.data(), part.size());
    prepared.parts.push_back({std::move(chunk), units});
    unit += units;
  }
  return prepared;
}

Result<uint64_t> Stream::try_buffer(const Place& place, ByteView from, const Prepared& prepared) {
  const ExclusiveLock lock(mutex_);
  const uint64_t offset = place.offset.value_or(file_size_);
  if (offset % place.multiple_of != 0) return NtStatus::InvalidParameter;
  if (from.empty()) return offset;
  TRY(check_end(offset, from.size()));
  TRY(keep_resident_value());
  const uint64_t end = offset + from.size();
  const uint64_t first = offset / unit_bytes_;
  if (has_unsafe_tail_before(first)) TRY(bring_in_tail());
  TRY(promise_units(first, divide_up(end, unit_bytes_) - first));
  const auto ready = bring_in_edges(offset, end);
  if (!ready) {
    settle_promises();
    note_state();
    return ready.error();
  }
  // The stream may have become compressed, or plain, since it was prepared.
  copy_in(offset, from, prepared.unit_bytes == unit_bytes_ ? prepared : Prepared{});
  file_size_ = std::max(file_size_, end);
  valid_ = std::max(valid_, end);
  note_state();
  return offset;
}

/// Units that the write covers in part must be whole in the buffer before.
Result<> Stream::bring_in_edges(uint64_t offset, uint64_t end) {
  const uint64_t first = offset / unit_bytes_;
  const uint64_t last = (end - 1) / unit_bytes_;
  const uint64_t skip = offset % unit_bytes_;
  const uint64_t rest = end - last * unit_bytes_;
  if (first == last) {
    if (rest - skip == unit_bytes_) return {};
    return bring_in(first, skip, rest);
  }
  const bool had_first = buffer_.contains(first);
  if (skip != 0) TRY(bring_in(first, skip, unit_bytes_));
  if (rest == unit_bytes_) return {};
  const auto done = bring_in(last, 0, rest);
  if (!done && skip != 0 && !had_first) buffer_.erase(first, 1);
  return done;
}

/// Buffers a unit of which [written_from, written_to) will be overwritten. Its promise is there.
Result<> Stream::bring_in(uint64_t unit, uint64_t written_from, uint64_t written_to) {
  if (buffer_.contains(unit)) return {};
  const uint64_t start = unit * unit_bytes_;
  const uint64_t on_disk = std::min<uint64_t>(std::max(disk_valid_, start) - start, unit_bytes_);
  std::byte* memory = buffer_.add(unit);
  const bool is_replaced = written_from == 0 && written_to >= on_disk;
  if (on_disk == 0 || is_replaced) {
    std::memset(memory, 0, unit_bytes_);
    return {};
  }
  const auto read = read_disk(start, start + unit_bytes_, memory);
  if (!read) buffer_.erase(unit, 1);
  return read;
}

void Stream::copy_in(uint64_t offset, ByteView from, const Prepared& prepared) {
  const uint64_t end = offset + from.size();
  if (prepared.parts.empty()) buffer_.expect(from.size());
  for (uint64_t at = offset; at < end;) {
    uint64_t unit = at / unit_bytes_;
    if (!prepared.parts.empty() && unit == prepared.first_unit && at % unit_bytes_ == 0) {
      for (const Prepared::Part& part : prepared.parts) {
        buffer_.insert(unit, part.units, part.chunk->piece.bytes().data(), part.chunk);
        unit += part.units;
      }
      at = unit * unit_bytes_;
      continue;
    }
    const uint64_t stop = std::min(end, (unit + 1) * unit_bytes_);
    std::byte* memory = buffer_.contains(unit) ? buffer_.modify(unit) : buffer_.add(unit);
    std::memcpy(memory + at % unit_bytes_, from.data() + (at - offset), stop - at);
    at = stop;
  }
}

/// Zeroes a part of one unit, in the buffer, unless it reads as zeros anyway.
Result<> Stream::zero_edge(uint64_t from, uint64_t to) {
  if (from >= to) return {};
  const uint64_t unit = from / unit_bytes_;
  if (!buffer_.contains(unit)) {
    const uint64_t stop = std::min(to, disk_valid_);
    if (from >= stop) return {};
    const Vcn first(unit * clusters_per_unit_);
    if (count_allocated(runs_, first, clusters_per_unit_) == 0) return {};
    TRY(promise_units(unit, 1));
    const uint64_t start = unit * unit_bytes_;
    const auto ready = bring_in(unit, from - start, to - start);
    if (!ready) {
      settle_promises();
      return ready;
    }
  }
  std::memset(buffer_.modify(unit) + from % unit_bytes_, 0, to - from);
  return {};
}

// Unbuffered writes.
//   allocated, below the valid data length, nothing buffered there: in place, side by side
//   whole units: clusters, data, sizes in one go, from the caller's memory
//   else, and where the stream is compressed: through the buffer, and out at once

Result<> Stream::write_unbuffered(uint64_t offset, ByteView from) {
  const uint64_t block = volume_.data().logical_block_size();
  const bool is_aligned = offset % block == 0 && from.size() % block == 0 &&
                          reinterpret_cast<uintptr_t>(from.data()) % block == 0;
  if (is_aligned) {
    {
      const SharedLock lock(mutex_);
      if (is_plain_overwrite(offset, from.size())) return overwrite(offset, from);
    }
    if (offset % unit_bytes_ == 0 && from.size() % unit_bytes_ == 0) {
      const auto done = write_through(offset, from);
      // Where space is short the buffered way tries harder.
      if (!done && done.error() != NtStatus::DiskFull) return done.error();
      if (done && *done) return {};
    }
  }
  TRY(relieve());
  TRY(write_buffered({offset}, from));
  return write_back();
}

bool Stream::is_plain_overwrite(uint64_t offset, uint64_t length) const {
  const uint64_t end = offset + length;
  // On disk, the valid data length may be ahead: whole units go out.
  if (resident_ || compressed_ || end > std::min(valid_, disk_valid_)) return false;
  const uint64_t first_unit = offset / unit_bytes_;
  if (buffer_.overlaps(first_unit, divide_up(end, unit_bytes_) - first_unit)) return false;
  const uint64_t first = offset / cluster_size_;
  const uint64_t count = divide_up(end, cluster_size_) - first;
  return count_allocated(runs_, Vcn(first), count) == count &&
         count_shared(volume_.refcounts(), runs_, Vcn(first), count) == 0;
}

Result<> Stream::overwrite(uint64_t offset, ByteView from) {
  std::vector<IoRequest> requests;
  uint64_t at = offset;
  const uint64_t end = offset + from.size();
  while (at < end) {
    const Run run = runs_.find(Vcn(at / cluster_size_));
    const uint64_t stop = std::min(end, run.end().raw() * cluster_size_);
    const uint64_t position = run.lcn.raw() * cluster_size_ + at % cluster_size_;
    requests.push_back(IoRequest::write(position, from.subspan(at - offset, stop - at)));
    at = stop;
  }
  return volume_.data().transfer(requests);
}

}  // namespace ntfs
