// Compressed streams. A compression unit of 16 clusters is one unit of the buffer. On disk it is
//   a hole                        zeros
//   16 clusters                   its bytes as they are ("raw")
//   fewer clusters, then a hole   chunks of LZNT1 ("packed")
// A unit is never written in place: write-back gives it new clusters, and those that it had go in
// the same transaction.

#include <algorithm>

#include "core/compression/lznt1.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

namespace {
/// Packed bytes that are read at once.
constexpr size_t kScratchBytes = size_t{1} << 20;
}  // namespace

/// Takes the form of a stream that is compressed, or not. Nothing is buffered.
void Stream::set_form(Compressed compressed) {
  compressed_ = compressed == Compressed::Yes;
  clusters_per_unit_ = compressed_ ? kClustersPerCompressionUnit
                                   : std::max(kMinUnitBytes / cluster_size_, uint64_t{1});
  unit_bytes_ = clusters_per_unit_ * cluster_size_;
  buffer_.set_unit_bytes(unit_bytes_);
}

// Reading.

/// One unit, as far as a reader wants it.
struct Stream::PackedUnit {
  uint64_t index = 0;
  size_t position = 0;  ///< of the packed bytes in the scratch memory
  size_t packed_bytes = 0;
};

/// [from, to) as it is on disk.
Result<> Stream::read_compressed(uint64_t from, uint64_t to, std::byte* into) const {
  const uint64_t data_end = std::min(to, std::max(disk_valid_, from));
  std::vector<PackedUnit> packed;
  std::vector<IoRequest> requests;
  std::vector<MutableBytes> zeros;
  BufferPool::Piece scratch;
  for (uint64_t at = from; at < data_end;) {
    const uint64_t index = at / unit_bytes_;
    const uint64_t stop = std::min(data_end, (index + 1) * unit_bytes_);
    std::byte* const target = into + (at - from);
    const auto clusters =
        runs_.allocated_in(Vcn(index * clusters_per_unit_), ClusterCount(clusters_per_unit_));
    ClusterCount count;
    for (const ClusterRun& run : clusters) count += run.count;
    const UnitCache::Key key{cache_number_, count_frees_, index};
    const bool is_packed = count.raw() != 0 && count.raw() != clusters_per_unit_;
    if (!is_packed) {
      plan_read(at, stop, target, requests, zeros);
    } else if (!volume_.units().copy(key, at % unit_bytes_, {target, stop - at})) {
      if (scratch.size() == 0) scratch = volume_.buffers().take(kScratchBytes);
      size_t position = packed.empty() ? 0 : packed.back().position + packed.back().packed_bytes;
      if (position + unit_bytes_ > scratch.size()) {
        TRY(unpack(requests, packed, scratch.bytes(), {from, data_end}, into));
        position = 0;
      }
      packed.push_back({index, position, count.raw() * cluster_size_});
      for (const ClusterRun& run : clusters) {
        const size_t length = run.count.raw() * cluster_size_;
        requests.push_back(IoRequest::read(run.lcn.raw() * cluster_size_,
                                           scratch.bytes().subspan(position, length)));
        position += length;
      }
    }
    at = stop;
  }
  TRY(unpack(requests, packed, scratch.bytes(), {from, data_end}, into));
  for (const MutableBytes part : zeros) std::fill(part.begin(), part.end(), std::byte{0});
  std::fill(into + (data_end - from), into + (to - from), std::byte{0});
  return {};
}

/// Transfers what was gathered, and decompresses it to where it belongs in `into`.
Result<> Stream::unpack(std::vector<IoRequest>& requests, std::vector<PackedUnit>& packed,
                        MutableBytes scratch, const ByteRange& wanted, std::byte* into) const {
  if (!requests.empty()) TRY(volume_.device().transfer(requests));
  for (const PackedUnit& unit : packed) {
    const ByteView bytes = scratch.subspan(unit.position, unit.packed_bytes);
    const uint64_t start = unit.index * unit_bytes_;
    const uint64_t from = std::max(start, wanted.from);
    const uint64_t to = std::min(start + unit_bytes_, wanted.to);
    std::byte* const target = into + (from - wanted.from);
    const bool is_whole = to - from == unit_bytes_;
    BufferPool::Piece piece;
    if (!is_whole) piece = volume_.buffers().take(unit_bytes_);
    const MutableBytes plain =
        is_whole ? MutableBytes(target, unit_bytes_) : piece.bytes().first(unit_bytes_);
    if (!decompress_lznt1(bytes, plain)) {
      return corrupt({"compression unit", file_.reference().raw(), start}, "chunk", bytes.size());
    }
    if (is_whole) continue;
    std::copy_n(plain.begin() + static_cast<ptrdiff_t>(from - start), to - from, target);
    // Who has read all that there is of it will hardly come back.
    if (from == start && to == disk_valid_) continue;
    volume_.units().insert({cache_number_, count_frees_, unit.index}, std::move(piece));
  }
  requests.clear();
  packed.clear();
  return {};
}

}  // namespace ntfs
