// Compressed streams. A compression unit of 16 clusters is one unit of the buffer. On disk it is
//   a hole                        zeros
//   16 clusters                   its bytes as they are ("raw")
//   fewer clusters, then a hole   chunks of LZNT1 ("packed")
// A unit is never written in place: write-back gives it new clusters, and those that it had go in
// the same transaction.

#include <algorithm>
#include <cstring>

#include "core/compression/lznt1.h"
#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// Packed bytes that are read at once, or written.
constexpr size_t kScratchBytes = size_t{1} << 20;
/// Of one step of write-back: units (each touches $Bitmap and mapping pairs), and runs that they
/// leave.
constexpr uint64_t kMostPackedUnits = 128;
constexpr size_t kMostRunsLeft = 512;
/// How often a change of the form waits for writers before it gives up.
constexpr int kMostAttempts = 100;

bool is_zero(ByteView bytes) {
  return bytes.front() == std::byte{0} &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}
}  // namespace

/// Takes the form of a stream that is compressed, or not. Nothing is buffered.
void Stream::set_form(Compression compression) {
  compressed_ = compression == Compression::Lznt1;
  clusters_per_unit_ = compressed_ ? kClustersPerCompressionUnit
                                   : std::max(kMinUnitBytes / cluster_size_, uint64_t{1});
  unit_bytes_ = clusters_per_unit_ * cluster_size_;
  buffer_.set_unit_bytes(unit_bytes_);
  cache_number_ = volume_.units().add_stream();
}

Result<bool> Stream::is_compressed() {
  TRY(ensure_loaded());
  const SharedLock lock(mutex_);
  return compressed_;
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
  if (!requests.empty()) TRY(volume_.data().transfer(requests));
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

// Promises. A buffered unit may take all its clusters. A flight has them for all its units, less
// what it has claimed, until it has landed or is abandoned: also for a unit that changes meanwhile,
// which goes out once more.

/// Clusters that must be promised, with what a write adds.
uint64_t Stream::count_needed(const NewUnits& units) const {
  uint64_t waiting = units.fresh + units.retaken;
  uint64_t in_flight = 0;
  for (const auto& [first, segment] : buffer_.segments()) {
    (segment.in_flight ? in_flight : waiting) += segment.count;
  }
  // A resident value goes out without a flight.
  const uint64_t flying = std::max(in_flight - units.retaken, flight_units_);
  return (waiting + flying) * clusters_per_unit_ - flight_claimed_;
}

Result<> Stream::promise_new_units(uint64_t first_unit, uint64_t count) {
  const uint64_t end = first_unit + count;
  NewUnits units;
  auto segment = buffer_.from(first_unit);
  for (uint64_t at = first_unit; at < end;) {
    const bool is_in = segment != buffer_.segments().end() && segment->first <= at;
    uint64_t stop = end;
    if (is_in) {
      stop = std::min(end, segment->first + segment->second.count);
      if (segment->second.in_flight) units.retaken += stop - at;
      ++segment;
    } else {
      if (segment != buffer_.segments().end()) stop = std::min(end, segment->first);
      units.fresh += stop - at;
    }
    at = stop;
  }
  if (units.fresh + units.retaken == 0) return {};
  const uint64_t needed = count_needed(units);
  if (needed <= promised_) return {};
  TRY(volume_.clusters().promise(ClusterCount(needed - promised_)));
  promised_ = needed;
  return {};
}

// Writing back.

/// Takes units as many as one transaction can give new clusters.
void Stream::collect_compressed(Flight& flight, uint64_t cursor) {
  flight.end_unit = cursor;
  uint64_t units = 0;
  size_t runs_left = 0;
  for (auto it = buffer_.from(cursor); it != buffer_.segments().end(); ++it) {
    const auto& [first, segment] = *it;
    Flight::Piece piece{first, 0, segment.memory, segment.chunk};
    while (piece.count < segment.count && units < kMostPackedUnits && runs_left < kMostRunsLeft) {
      const Vcn start(piece.end() * clusters_per_unit_);
      runs_left += runs_.allocated_in(start, ClusterCount(clusters_per_unit_)).size();
      ++piece.count;
      ++units;
    }
    if (piece.count == 0) break;
    flight.end_unit = piece.end();
    flight.pieces.push_back(std::move(piece));
  }
  for (const Flight::Piece& piece : flight.pieces) buffer_.mark(piece.first, piece.count, true);
  flight_units_ = units;
}

/// Works out what of each unit is written, and how many clusters it takes.
void Stream::pack(Flight& flight) const {
  Lznt1Compressor compressor;
  // What does not save a cluster stays as it is.
  const size_t most = unit_bytes_ - cluster_size_;
  ChunkRef chunk;
  size_t used = 0;
  for (const Flight::Piece& piece : flight.pieces) {
    for (uint64_t i = 0; i < piece.count; ++i) {
      const ByteView unit(piece.memory + i * unit_bytes_, unit_bytes_);
      if (is_zero(unit)) continue;
      if (chunk == nullptr || chunk->piece.size() - used < most) {
        chunk = make_full_chunk(volume_.buffers(), kScratchBytes);
        used = 0;
      }
      const MutableBytes into = chunk->piece.bytes().subspan(used, most);
      std::optional<size_t> length;
      if (packing_ == Compression::Lznt1) length = compressor.compress(unit, into);
      const Vcn start((piece.first + i) * clusters_per_unit_);
      if (!length) {
        flight.packed.push_back({piece.first + i, 1, unit.data(), piece.chunk});
        flight.add_stretch({start, ClusterCount(clusters_per_unit_), false, false});
        continue;
      }
      const size_t taken = align_up(*length, cluster_size_);
      std::fill(into.begin() + static_cast<ptrdiff_t>(*length),
                into.begin() + static_cast<ptrdiff_t>(taken), std::byte{0});
      flight.packed.push_back({piece.first + i, 1, into.data(), chunk});
      flight.add_stretch({start, ClusterCount(taken / cluster_size_), false, false});
      used += taken;
    }
  }
}

/// Takes the units' old clusters out of the runs to be.
void Stream::place_packed(Flight& flight) const {
  for (const Flight::Piece& piece : flight.pieces) {
    const Vcn start(piece.first * clusters_per_unit_);
    const ClusterCount count(piece.count * clusters_per_unit_);
    const auto left = runs_.allocated_in(start, count);
    flight.released.insert(flight.released.end(), left.begin(), left.end());
    flight.after.replace(start, Lcn::hole(), count);
    flight.first_change = std::min(flight.first_change, start);
    flight.end_change = start + count;
  }
}

/// Where a compressed file has grown, the unit that its valid data ended in is written again, with
/// zeros behind that. Without space it stays as it is.
void Stream::take_tail_along() {
  const ExclusiveLock lock(mutex_);
  if (!compressed_ || file_size_ <= disk_file_size_) return;
  if (has_unsafe_tail_before(divide_up(file_size_, unit_bytes_))) {
    (void)bring_in_tail().has_value();
  }
}

/// Behind the valid data of a compressed stream there are only holes, when it ends with a unit:
/// then all is valid. ntfs-3g, which knows no other compressed files, damages those where valid
/// data end before the file does.
void Stream::raise_valid(Flight& flight) const {
  uint64_t& valid = flight.sizes.valid_data_length;
  const Vcn unit(valid / unit_bytes_ * clusters_per_unit_);
  const bool is_safe =
      valid % unit_bytes_ == 0 || count_allocated(flight.after, unit, clusters_per_unit_) == 0;
  if (is_safe) valid = flight.sizes.file_size;
}

/// The runs of a compressed stream end with a unit.
void Stream::pad_to_unit(Runlist& runs) const {
  const uint64_t rest = runs.end().raw() % clusters_per_unit_;
  if (compressed_ && rest != 0) runs.append(Lcn::hole(), ClusterCount(clusters_per_unit_ - rest));
}

// Changing the form. On the way, the stream is whole in either form:
//   to compressed: units are allocated as a whole or not at all; the mark; units are written again
//   to plain: packed units are written again, raw; the mark

Result<> Stream::set_compression(Compression wanted) {
  TRY(ensure_writable());
  if (TRY(is_compressed()) == (wanted == Compression::Lznt1)) return {};
  if (cluster_size_ > ondisk::kMostCompressedClusterSize) return NtStatus::InvalidDeviceRequest;
  const MutexLock change(change_mutex_);
  if (wanted == Compression::Lznt1) return compress_all();
  packing_ = Compression::None;
  const auto done = decompress_all();
  packing_ = Compression::Lznt1;
  return done;
}

Result<> Stream::compress_all() {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    TRY(sweep(Sweep::Everything, Form::AsFits));
    TRY(fill_partial_units());
    if (!TRY(change_form(Compression::Lznt1))) continue;
    // What stays raw for want of space can be read as well.
    const auto done = rewrite(Compression::Lznt1);
    return !done && done.error() == NtStatus::DiskFull ? Result<>() : done;
  }
  return NtStatus::NotSupported;
}

Result<> Stream::decompress_all() {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    TRY(sweep(Sweep::Everything, Form::AsFits));
    TRY(rewrite(Compression::None));
    if (TRY(change_form(Compression::None))) return {};
  }
  return NtStatus::NotSupported;
}

/// Of a plain stream: allocates what those ranges lack that are to be units and have clusters.
Result<> Stream::fill_partial_units() {
  constexpr uint64_t kCount = kClustersPerCompressionUnit;
  for (uint64_t unit = 0;; ++unit) {
    uint64_t allocated = 0;
    {
      const SharedLock lock(mutex_);
      const Vcn start(unit * kCount);
      if (resident_ || start >= runs_.end()) return {};
      const Run run = runs_.find(start);
      // Whole units of one run, or hole, at once.
      if (run.count.raw() >= kCount) {
        unit += run.count.raw() / kCount - 1;
        continue;
      }
      allocated = count_allocated(runs_, start, kCount);
    }
    if (allocated == 0 || allocated == kCount) continue;
    const uint64_t bytes = kCount * cluster_size_;
    TRY(fill_holes(unit * bytes, (unit + 1) * bytes));
  }
}

/// Buffers units from `unit` on that are not in the wanted form. False at the end.
Result<bool> Stream::take_in(uint64_t& unit, Compression wanted) {
  const ExclusiveLock lock(mutex_);
  if (resident_) return false;
  const uint64_t end = std::min(divide_up(disk_valid_, unit_bytes_),
                                divide_up(runs_.end().raw(), clusters_per_unit_));
  for (uint64_t taken = 0; unit < end && taken < kMostPackedUnits; ++unit) {
    const uint64_t count =
        count_allocated(runs_, Vcn(unit * clusters_per_unit_), clusters_per_unit_);
    const bool is_raw = count == clusters_per_unit_;
    if (count == 0 || is_raw == (wanted == Compression::None) || buffer_.contains(unit)) continue;
    TRY(promise_units(unit, 1));
    const auto ready = bring_in(unit, 0, 0);
    if (!ready) settle_promises();
    note_state();
    if (!ready) return ready.error();
    ++taken;
  }
  return unit < end;
}

/// Writes units again that are not in the wanted form.
Result<> Stream::rewrite(Compression wanted) {
  uint64_t unit = 0;
  for (bool goes_on = true; goes_on;) {
    auto taken = take_in(unit, wanted);
    if (!taken && taken.error() == NtStatus::DiskFull) {
      TRY(sweep(Sweep::Everything, Form::AsFits));
      (void)volume_.reclaim();
      taken = take_in(unit, wanted);
    }
    if (!taken) return taken.error();
    goes_on = *taken;
    TRY(sweep(Sweep::Everything, Form::AsFits));
  }
  return {};
}

/// False when somebody wrote meanwhile.
Result<bool> Stream::change_form(Compression wanted) {
  const ExclusiveLock lock(mutex_);
  // A resident value goes out first: its unit has another size then.
  if (is_dirty() || !buffer_.empty()) return false;
  ASSERT(promised_ == 0);
  TRY(log_form(wanted));
  set_form(wanted);
  marked_sparse_ = !resident_ && !compressed_ && runs_.allocated() != runs_.end() - Vcn(0);
  return true;
}

Result<> Stream::log_form(Compression wanted) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  Attributes attributes(volume_, file_.reference());
  TRY(attributes.set_compression(transaction, AttributeType::Data, name_, wanted));
  Runlist after = runs_;
  const uint64_t rest = after.end().raw() % kClustersPerCompressionUnit;
  if (wanted == Compression::Lznt1 && rest != 0) {
    after.append(Lcn::hole(), ClusterCount(kClustersPerCompressionUnit - rest));
    const ondisk::AttributeSizes sizes{after.end().raw() * cluster_size_, disk_file_size_,
                                       disk_valid_, after.allocated().raw() * cluster_size_};
    TRY(attributes.store_changed_runs(transaction, AttributeType::Data, name_, after, runs_.end(),
                                      after.end(), sizes));
  }
  const uint64_t allocated =
      resident_ ? align_up(disk_file_size_, 8) : runs_.allocated().raw() * cluster_size_;
  TRY(log_information(transaction, {allocated, disk_file_size_, disk_valid_}));
  transaction.commit();
  runs_ = std::move(after);
  return {};
}

}  // namespace ntfs
