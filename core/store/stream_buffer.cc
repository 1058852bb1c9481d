#include "core/store/stream_buffer.h"

#include <algorithm>
#include <cstring>

namespace ntfs {

namespace {
/// Chunks for single units double in size, so that a small file takes little.
constexpr size_t kLargestOpenChunk = size_t{1} << 20;
}  // namespace

ChunkRef make_full_chunk(BufferPool& pool, size_t size_bytes) {
  auto chunk = std::make_shared<Chunk>();
  chunk->piece = pool.take(size_bytes);
  chunk->used_bytes = chunk->piece.size();
  return chunk;
}

StreamBuffer::Segments::const_iterator StreamBuffer::from(uint64_t unit) const {
  auto it = segments_.upper_bound(unit);
  if (it != segments_.begin()) {
    const auto before = std::prev(it);
    if (unit - before->first < before->second.count) return before;
  }
  return it;
}

StreamBuffer::Segments::iterator StreamBuffer::find(uint64_t unit) {
  auto it = segments_.upper_bound(unit);
  if (it == segments_.begin()) return segments_.end();
  --it;
  return unit - it->first < it->second.count ? it : segments_.end();
}

bool StreamBuffer::contains(uint64_t unit) const { return overlaps(unit, 1); }

bool StreamBuffer::overlaps(uint64_t first, uint64_t count) const {
  const auto it = from(first);
  return it != segments_.end() && it->first < first + count;
}

/// Makes `unit` the first of its segment, if it is in one.
void StreamBuffer::split_at(uint64_t unit) {
  const auto it = find(unit);
  if (it == segments_.end() || it->first == unit) return;
  Segment tail = it->second;
  const uint64_t skipped = unit - it->first;
  it->second.count = skipped;
  tail.count -= skipped;
  tail.memory += skipped * unit_bytes_;
  segments_.emplace_hint(std::next(it), unit, std::move(tail));
}

/// Memory for one unit.
std::byte* StreamBuffer::carve() {
  if (open_ == nullptr || open_->piece.size() - open_->used_bytes < unit_bytes_) {
    const size_t bytes = std::max(next_bytes_, unit_bytes_);
    open_ = std::make_shared<Chunk>();
    open_->piece = pool_.take(bytes);
    next_bytes_ = std::max(std::min(bytes * 2, kLargestOpenChunk), unit_bytes_);
  }
  std::byte* memory = open_->piece.bytes().data() + open_->used_bytes;
  open_->used_bytes += unit_bytes_;
  return memory;
}

void StreamBuffer::expect(size_t bytes) {
  next_bytes_ = std::max(next_bytes_, std::min(bytes, kLargestOpenChunk));
}

/// Adds a unit whose memory was carved; joins it to the segment before where that goes on so.
void StreamBuffer::put(uint64_t unit, std::byte* memory) {
  ++count_units_;
  const auto after = segments_.upper_bound(unit);
  if (after != segments_.begin()) {
    const auto before = std::prev(after);
    Segment& segment = before->second;
    if (!segment.in_flight && segment.chunk == open_ && before->first + segment.count == unit &&
        segment.memory + segment.count * unit_bytes_ == memory) {
      ++segment.count;
      return;
    }
  }
  segments_.emplace_hint(after, unit, Segment{1, memory, open_, false});
}

std::byte* StreamBuffer::modify(uint64_t unit) {
  auto it = find(unit);
  ASSERT(it != segments_.end());
  std::byte* memory = it->second.memory + (unit - it->first) * unit_bytes_;
  if (!it->second.in_flight) return memory;
  std::byte* copy = carve();
  std::memcpy(copy, memory, unit_bytes_);
  const ChunkRef chunk = open_;
  erase(unit, 1);
  open_ = chunk;  // erase() lets go of it when nothing is left
  put(unit, copy);
  return copy;
}

std::byte* StreamBuffer::add(uint64_t unit) {
  std::byte* memory = carve();
  put(unit, memory);
  return memory;
}

void StreamBuffer::insert(uint64_t first, uint64_t count, std::byte* memory, ChunkRef chunk) {
  erase(first, count);
  const bool in_flight = chunk == nullptr;
  segments_.emplace(first, Segment{count, memory, std::move(chunk), in_flight});
  count_units_ += count;
}

void StreamBuffer::erase(uint64_t first, uint64_t count) {
  if (!overlaps(first, count)) return;
  split_at(first);
  split_at(first + count);
  auto it = segments_.lower_bound(first);
  while (it != segments_.end() && it->first < first + count) {
    count_units_ -= it->second.count;
    it = segments_.erase(it);
  }
  shrink_if_empty();
}

void StreamBuffer::mark(uint64_t first, uint64_t count, bool in_flight) {
  split_at(first);
  split_at(first + count);
  auto it = segments_.lower_bound(first);
  for (; it != segments_.end() && it->first < first + count; ++it) it->second.in_flight = in_flight;
}

void StreamBuffer::erase_in_flight(uint64_t first, uint64_t count) {
  split_at(first);
  split_at(first + count);
  auto it = segments_.lower_bound(first);
  while (it != segments_.end() && it->first < first + count) {
    if (!it->second.in_flight) {
      ++it;
      continue;
    }
    count_units_ -= it->second.count;
    it = segments_.erase(it);
  }
  shrink_if_empty();
}

void StreamBuffer::shrink_if_empty() {
  if (!segments_.empty()) return;
  open_ = nullptr;
  next_bytes_ = 0;
}

}  // namespace ntfs
