#pragma once

// The units of one stream that are buffered: segments of neighbouring units whose memory is
// contiguous, so that they go to the device in one transfer. Not thread safe: the stream's lock
// guards it.
//
// In flight: a segment whose memory is being written to the device, without the lock. Its bytes do
// not change until it has landed: a change of one of its units goes to a copy, which takes its
// place.

#include <map>
#include <memory>

#include "core/store/buffer_pool.h"

namespace ntfs {

/// Memory that units lie in, one behind the other; freed with the last segment that uses it.
struct Chunk {
  BufferPool::Piece piece;
  size_t used_bytes = 0;
};
using ChunkRef = std::shared_ptr<Chunk>;

/// A chunk with at least `size_bytes`, all of it used.
ChunkRef make_full_chunk(BufferPool& pool, size_t size_bytes);

class StreamBuffer {
 public:
  struct Segment {
    uint64_t count = 0;  ///< units
    std::byte* memory = nullptr;
    ChunkRef chunk;  ///< null: memory of a caller who waits until the segment has landed
    bool in_flight = false;
  };
  using Segments = std::map<uint64_t, Segment>;  ///< by first unit

  /// `pool` must outlive the buffer. `unit_bytes`: a power of two, 4096 to kLargestPiece.
  StreamBuffer(BufferPool& pool, size_t unit_bytes) : pool_(pool), unit_bytes_(unit_bytes) {}
  /// Nothing is in it.
  void set_unit_bytes(size_t unit_bytes) {
    ASSERT(segments_.empty());
    unit_bytes_ = unit_bytes;
  }

  const Segments& segments() const { return segments_; }
  bool empty() const { return segments_.empty(); }
  uint64_t count_units() const { return count_units_; }
  /// The segment that holds `unit`, or the next one behind it.
  Segments::const_iterator from(uint64_t unit) const;
  bool contains(uint64_t unit) const;
  bool overlaps(uint64_t first, uint64_t count) const;

  /// Memory of a unit that is in, to be changed: copied first when it is in flight.
  std::byte* modify(uint64_t unit);
  /// Adds a unit that is not in; its memory holds anything.
  std::byte* add(uint64_t unit);
  /// Says how many bytes are about to be added unit by unit.
  void expect(size_t bytes);
  /// Puts units in, in place of those that are there. With a chunk they are an ordinary segment,
  /// without they are in flight.
  void insert(uint64_t first, uint64_t count, std::byte* memory, ChunkRef chunk);
  void erase(uint64_t first, uint64_t count);

  /// Sets or takes back the mark on what there is of [first, first + count).
  void mark(uint64_t first, uint64_t count, bool in_flight);
  /// Erases what is in flight of [first, first + count): it has landed.
  void erase_in_flight(uint64_t first, uint64_t count);

 private:
  Segments::iterator find(uint64_t unit);
  void split_at(uint64_t unit);
  std::byte* carve();
  void put(uint64_t unit, std::byte* memory);
  void shrink_if_empty();

  BufferPool& pool_;
  size_t unit_bytes_;
  Segments segments_;
  uint64_t count_units_ = 0;
  ChunkRef open_;          // where the next single unit goes
  size_t next_bytes_ = 0;  // size of the next chunk for single units
};

}  // namespace ntfs
