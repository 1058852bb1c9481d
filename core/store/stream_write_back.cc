// Write-back: which units go to the device next, and in what they end. How each step is done is in
// stream_flight.cc.

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/stream_flight.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// Data of one step.
constexpr uint64_t kFlightBytes = uint64_t{32} << 20;
/// Stretches without clusters in one step: each may touch a record of its own (redo and undo of its
/// mapping pairs are up to 2 KiB).
constexpr size_t kMostStretches = 256;
/// A gap behind the runs of up to this is allocated and zeroed: no hole, the file stays in one run.
constexpr uint64_t kSmallGap = 64 << 10;
/// ... or of up to this, when at least as much data follows: writes that came out of order.
constexpr uint64_t kStreamGap = 4 << 20;
}  // namespace

Result<> Stream::write_back(Durable durable) {
  if (!is_dirty()) return {};
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  // What was written before the file got its reparse point goes out, too.
  if (cannot_write_ != NtStatus::Success) return cannot_write_.load();
  const MutexLock change(change_mutex_);
  return sweep(durable == Durable::AtOnce ? Sweep::Urgent : Sweep::Everything, Form::AsFits);
}

Result<> Stream::write_back(uint64_t offset, uint64_t length) {
  if (!is_dirty()) return {};
  {
    const SharedLock lock(mutex_);
    const uint64_t first = offset / unit_bytes_;
    if (length == 0 || !buffer_.overlaps(first, (offset + length - 1) / unit_bytes_ - first + 1)) {
      return {};
    }
  }
  return write_back();
}

/// From the lowest unit up, once. What is buffered behind its back meanwhile stays for the next.
Result<> Stream::sweep(Sweep kind, Form form) {
  const auto done = sweep_steps(kind, form);
  if (!done && done.error() == NtStatus::ObjectNameNotFound) forget();
  if (is_dirty()) volume_.add_dirty(file_);
  return done;
}

Result<> Stream::sweep_steps(Sweep kind, Form form) {
  TRY(drop_unsafe_tail());
  take_tail_along();
  if (form == Form::Nonresident) {
    const ExclusiveLock lock(mutex_);
    TRY(keep_resident_value());
  } else if (TRY(write_back_resident())) {
    return {};
  }
  uint64_t limit = 0;
  {
    // A writer that goes on behind the end must not keep this from ending.
    const SharedLock lock(mutex_);
    limit = std::max<uint64_t>(divide_up(file_size_, unit_bytes_), 1);
  }
  for (uint64_t cursor = 0; cursor < limit;) {
    Flight flight;
    if (!begin_flight(flight, cursor, kind)) break;
    TRY(fly(flight));
    if (kind == Sweep::Relief || flight.sets_file_size) return {};
    cursor = flight.end_unit;
  }
  if (form == Form::AsFits) return {};
  Flight flight;
  if (!begin_conversion(flight)) return {};
  return fly(flight);
}

/// For a resident stream of which nothing is buffered. False when there is nothing to do.
bool Stream::begin_conversion(Flight& flight) {
  const SharedLock lock(mutex_);
  if (!resident_) return false;
  ASSERT(disk_file_size_ == 0);
  flight.file_size = file_size_;
  flight.sets_file_size = true;
  note_disk_state(flight);
  return true;
}

/// The file is gone: nothing is left to be written.
void Stream::forget() {
  const ExclusiveLock lock(mutex_);
  drop_units(0, ~uint64_t{0} / unit_bytes_);
  file_size_ = disk_file_size_;
  note_state();
}

// Resident results.

/// False when the stream is not resident or does not stay so.
Result<bool> Stream::write_back_resident() {
  ByteVector value;
  {
    const ExclusiveLock lock(mutex_);
    if (!resident_ || file_size_ > unit_bytes_) return false;
    if (is_value_on_disk()) return file_size_ == disk_file_size_;  // as it is there
    const SharedLock metadata(volume_.journal().metadata_lock());
    Attributes attributes(volume_, file_.reference());
    if (file_size_ > TRY(attributes.resident_room(AttributeType::Data, name_))) return false;
    value.resize(file_size_);
    const auto segment = buffer_.from(0);
    if (segment != buffer_.segments().end() && segment->first == 0) {
      std::copy_n(segment->second.memory, value.size(), value.begin());
      buffer_.mark(0, 1, true);
    }
  }
  auto logged = log_value(value);
  const ExclusiveLock lock(mutex_);
  if (!logged || !*logged) {
    buffer_.mark(0, 1, false);
    return logged;
  }
  disk_file_size_ = value.size();
  buffer_.erase_in_flight(0, 1);
  settle_promises();
  note_state();
  return true;
}

/// False when the value does not fit into the record any more.
Result<bool> Stream::log_value(ByteView value) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  Attributes attributes(volume_, file_.reference());
  if (value.size() > TRY(attributes.resident_room(AttributeType::Data, name_))) return false;
  TRY(attributes.set_value(transaction, AttributeType::Data, name_, value));
  TRY(log_information(transaction, {align_up(value.size(), 8), value.size(), value.size()}));
  transaction.commit();
  return true;
}

// Nonresident results.

/// Marks the next units from `cursor` on as in flight. False when there is nothing to do.
bool Stream::begin_flight(Flight& flight, uint64_t cursor, Sweep kind) {
  const ExclusiveLock lock(mutex_);
  flight.is_urgent = kind == Sweep::Urgent;
  flight.file_size = file_size_;
  note_disk_state(flight);
  flight.is_compressed = compressed_;
  if (compressed_) {
    collect_compressed(flight, cursor);
  } else {
    collect(flight, cursor, kind);
  }
  const bool has_units = !flight.pieces.empty();
  if (!has_units && (kind == Sweep::Relief || file_size_ == disk_file_size_)) return false;
  flight.sets_file_size = !has_units || buffer_.from(flight.end_unit) == buffer_.segments().end();
  if (!compressed_) fill_gaps(flight);
  return true;
}

void Stream::note_disk_state(Flight& flight) const {
  flight.most_shared_parts = most_shared_parts();
  flight.was_resident = resident_;
  flight.old_file_size = resident_ ? 0 : disk_file_size_;
  flight.old_valid = disk_valid_;
  flight.old_end = runs_.end();
  flight.had_holes = runs_.allocated() != runs_.end() - Vcn(0);
}

/// Takes the units, and what clusters they lack up to the end of the file.
void Stream::collect(Flight& flight, uint64_t cursor, Sweep kind) {
  const uint64_t most_units = std::max<uint64_t>(kFlightBytes / unit_bytes_, 1);
  const uint64_t runs_end = runs_.end().raw() / clusters_per_unit_;
  uint64_t units = 0;
  flight.end_unit = cursor;
  for (auto it = buffer_.from(cursor); it != buffer_.segments().end(); ++it) {
    const auto& [first, segment] = *it;
    if (units >= most_units || flight.stretches.size() >= kMostStretches) break;
    // What is missing in a gap may be on its way: better a little later than a hole.
    const bool is_gap = first > std::max(flight.end_unit, runs_end);
    if (kind == Sweep::Relief && is_gap && units > buffer_.count_units() / 8) break;
    flight.pieces.push_back({first, segment.count, segment.memory, segment.chunk});
    flight.end_unit = first + segment.count;
    units += segment.count;
    add_missing(flight, first, segment.count);
  }
  for (const Flight::Piece& piece : flight.pieces) buffer_.mark(piece.first, piece.count, true);
}

/// Gaps behind the runs are holes to be; but small ones in a file without holes get clusters, too.
void Stream::fill_gaps(Flight& flight) const {
  if (flight.had_holes) return;
  const Vcn limit(divide_up(flight.file_size, cluster_size_));
  std::vector<Flight::Stretch> fillings;
  Vcn covered = flight.old_end;
  for (size_t i = 0; i < flight.pieces.size(); ++i) {
    const Vcn start(flight.pieces[i].first * clusters_per_unit_);
    if (start > covered) {
      const uint64_t gap = (start - covered).raw() * cluster_size_;
      const bool is_stream = gap <= kStreamGap && flight.contiguous_units(i) * unit_bytes_ >= gap;
      if (gap > kSmallGap && !is_stream) return flight.add_extra(fillings);
      fillings.push_back({covered, start - covered, true, false});
    }
    covered = std::max(covered, Vcn(flight.pieces[i].end() * clusters_per_unit_));
  }
  if (flight.sets_file_size && covered < limit &&
      (limit - covered).raw() * cluster_size_ <= kSmallGap) {
    // Behind the valid data length: nobody reads what stands there.
    fillings.push_back({covered, limit - covered, true, false});
  }
  flight.add_extra(fillings);
}

/// Adds those of the units' clusters that have no lcn, none behind the end of the file; and those
/// that are shared.
void Stream::add_missing(Flight& flight, uint64_t first_unit, uint64_t count) const {
  const Vcn limit(divide_up(flight.file_size, cluster_size_));
  const Vcn stop = std::min(Vcn((first_unit + count) * clusters_per_unit_), limit);
  const auto runs = runs_.runs();
  Vcn at(first_unit * clusters_per_unit_);
  for (size_t i = runs_.index_of(at); at < stop; ++i) {
    const bool is_behind = i >= runs.size();
    const Vcn next = is_behind ? stop : std::min(stop, runs[i].end());
    if (is_behind || runs[i].lcn.is_hole()) {
      flight.add_stretch({at, next - at, false, false});
    } else {
      add_shared(flight, {at, runs[i].lcn + (at - runs[i].vcn), next - at});
    }
    at = next;
  }
}

/// Adds what is shared of a run.
void Stream::add_shared(Flight& flight, const Run& run) const {
  if (volume_.refcounts() == nullptr) return;
  for (ClusterCount done; done < run.count;) {
    const auto part = volume_.refcounts()->first_part({run.lcn + done, run.count - done});
    if (part.is_shared) {
      flight.add_shared({run.vcn + done, part.run.count, false, false});
    }
    done += part.run.count;
  }
}

// Unbuffered writes that need clusters or move the valid data length.

/// False when it has to go through the buffer.
Result<bool> Stream::write_through(uint64_t offset, ByteView from) {
  const MutexLock change(change_mutex_);
  // What lies below goes first.
  if (is_dirty()) TRY(sweep(Sweep::Everything, Form::AsFits));
  TRY(drop_unsafe_tail());
  while (!from.empty()) {
    Flight flight;
    if (!TRY(begin_direct(flight, offset, from))) return false;
    TRY(fly(flight));
    const uint64_t done = flight.end_unit * unit_bytes_ - offset;
    offset += done;
    from = from.subspan(done);
  }
  return true;
}

Result<bool> Stream::begin_direct(Flight& flight, uint64_t offset, ByteView from) {
  const ExclusiveLock lock(mutex_);
  const uint64_t first = offset / unit_bytes_;
  const uint64_t count = from.size() / unit_bytes_;
  if (is_value_on_disk() || compressed_ || buffer_.overlaps(first, count)) return false;
  if (has_unsafe_tail_before(first)) return false;
  TRY(promise_units(first, count));
  // Nobody changes what is in flight.
  auto* memory = const_cast<std::byte*>(from.data());
  buffer_.insert(first, count, memory, nullptr);
  flight.pieces.push_back({first, count, memory, nullptr});
  flight.is_foreign = true;
  flight.end_unit = first + count;
  flight.file_size_before = file_size_;
  file_size_ = std::max(file_size_, offset + from.size());
  valid_ = std::max(valid_, offset + from.size());
  flight.file_size = file_size_;
  flight.sets_file_size = buffer_.count_units() == count;
  note_disk_state(flight);
  add_missing(flight, first, count);
  fill_gaps(flight);
  note_state();
  return true;
}

}  // namespace ntfs
