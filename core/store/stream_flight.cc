// One flight: clusters are claimed in memory, then the data is written, then one transaction says
// all of it, then memory follows. A failure at any point takes everything back.

#include "core/store/stream_flight.h"

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {
/// Runs that one transaction takes out of $Bitmap: a log record each.
constexpr size_t kMostClaimedRuns = 256;
/// Units of one flight that go into the log.
constexpr uint64_t kMostLogged = 8;
/// Requests handed to the device at once.
constexpr size_t kMostRequests = 1024;
}  // namespace

ClusterCount Stream::Flight::wanted() const {
  ClusterCount total;
  for (const Stretch& stretch : stretches) total += stretch.count;
  return total;
}

uint64_t Stream::Flight::count_units() const {
  uint64_t units = 0;
  for (const Piece& piece : pieces) units += piece.count;
  return units;
}

bool Stream::Flight::has_logged_units() const {
  return std::ranges::any_of(pieces, &Piece::is_logged);
}

bool Stream::Flight::changes_attribute() const {
  return changes_runs || was_resident || sizes.file_size != old_file_size ||
         sizes.valid_data_length != old_valid;
}

void Stream::Flight::add_stretch(const Stretch& stretch) {
  if (!stretches.empty()) {
    Stretch& last = stretches.back();
    if (last.end() == stretch.vcn && last.is_extra == stretch.is_extra &&
        last.is_zeroed == stretch.is_zeroed) {
      last.count += stretch.count;
      return;
    }
  }
  stretches.push_back(stretch);
}

void Stream::Flight::add_shared(const Stretch& stretch) {
  add_stretch(stretch);
  if (++shared_parts <= most_shared_parts) most_clusters = wanted().raw();
}

void Stream::Flight::add_extra(const std::vector<Stretch>& fillings) {
  if (fillings.empty()) return;
  stretches.insert(stretches.end(), fillings.begin(), fillings.end());
  std::sort(stretches.begin(), stretches.end(),
            [](const Stretch& a, const Stretch& b) { return a.vcn < b.vcn; });
}

uint64_t Stream::Flight::contiguous_units(size_t index) const {
  uint64_t units = pieces[index].count;
  for (size_t i = index + 1; i < pieces.size() && pieces[i].first == pieces[i - 1].end(); ++i) {
    units += pieces[i].count;
  }
  return units;
}

Result<> Stream::fly(Flight& flight) {
  if (flight.is_compressed) pack(flight);
  auto done = claim(flight);
  if (done) {
    take_off(flight);
    choose_logged(flight);
    done = send(flight);
    if (done) done = log(flight);
    if (!done && done.error() == NtStatus::DiskFull && volume_.reclaim()) done = log(flight);
  }
  if (done) {
    land(flight);
  } else {
    abandon(flight);
  }
  return done;
}

// Claiming.

/// Promises what the stretches need that no unit has promised; leaves them out where it may.
Result<> Stream::promise_extra(Flight& flight) {
  for (const Flight::Stretch& stretch : flight.stretches) {
    if (stretch.is_extra) flight.extra += stretch.count.raw();
  }
  if (flight.extra == 0) return {};
  const auto promised = volume_.clusters().promise(ClusterCount(flight.extra));
  if (promised || flight.needs_extra) {
    if (!promised) flight.extra = 0;
    return promised;
  }
  std::erase_if(flight.stretches, [](const Flight::Stretch& stretch) { return stretch.is_extra; });
  flight.extra = 0;
  return {};
}

Result<> Stream::claim(Flight& flight) {
  TRY(promise_extra(flight));
  ClusterCount wanted = flight.wanted();
  if (wanted == ClusterCount(0)) return {};
  if (flight.shared_parts > flight.most_shared_parts) wanted = ClusterCount(flight.most_clusters);
  Lcn hint;
  {
    const SharedLock lock(mutex_);
    hint = hint_for(flight.stretches.front().vcn);
  }
  const SharedLock metadata(volume_.journal().metadata_lock());
  auto runs = volume_.clusters().claim_promised(wanted, hint, kMostClaimedRuns);
  if (!runs) {
    if (flight.extra != 0) volume_.clusters().withdraw_promise(ClusterCount(flight.extra));
    flight.extra = 0;
    return runs.error();
  }
  flight.claimed = std::move(runs).value();
  trim(flight);
  return {};
}

/// Where the clusters of `vcn` would continue those before.
Lcn Stream::hint_for(Vcn vcn) const {
  const auto runs = runs_.runs();
  size_t index = std::min(runs_.index_of(vcn), runs.size());
  constexpr size_t kMostSteps = 4;
  for (size_t i = 0; i < kMostSteps && index > 0; ++i) {
    --index;
    if (!runs[index].lcn.is_hole()) return runs[index].lcn + runs[index].count;
  }
  return Lcn::hole();
}

/// After a claim that got less than was wanted, in as many runs as one transaction may take: keeps
/// of the flight what goes into them. The promises of the rest stand.
void Stream::trim(Flight& flight) {
  uint64_t room = 0;
  for (const ClusterRun& run : flight.claimed) room += run.count.raw();
  if (room == flight.wanted().raw()) return;
  Vcn cut;
  for (const Flight::Stretch& stretch : flight.stretches) {
    cut = stretch.vcn + ClusterCount(std::min(room, stretch.count.raw()));
    if (room < stretch.count.raw()) break;
    room -= stretch.count.raw();
  }
  flight.is_trimmed = true;
  flight.sets_file_size = false;
  flight.end_unit = cut.raw() / clusters_per_unit_;
  cut = Vcn(flight.end_unit * clusters_per_unit_);
  std::erase_if(flight.stretches, [&](const Flight::Stretch& s) { return s.vcn >= cut; });
  ASSERT(!flight.stretches.empty());
  Flight::Stretch& last = flight.stretches.back();
  last.count = std::min(last.end(), cut) - last.vcn;
  std::erase_if(flight.pieces, [&](const Flight::Piece& p) { return p.first >= flight.end_unit; });
  std::erase_if(flight.packed, [&](const Flight::Piece& p) { return p.first >= flight.end_unit; });
  if (!flight.pieces.empty()) {
    Flight::Piece& piece = flight.pieces.back();
    piece.count = std::min(piece.end(), flight.end_unit) - piece.first;
  }
  std::vector<ClusterRun> surplus;
  uint64_t kept = flight.wanted().raw();
  size_t count_kept = 0;
  for (ClusterRun& run : flight.claimed) {
    const ClusterCount keep(std::min(kept, run.count.raw()));
    if (keep < run.count) surplus.push_back({run.lcn + keep, run.count - keep});
    run.count = keep;
    kept -= keep.raw();
    if (keep != ClusterCount(0)) ++count_kept;
  }
  flight.claimed.resize(count_kept);
  volume_.clusters().unclaim_to_promise(surplus);
}

/// Works out runs and sizes as they will be, and tells writers of them.
void Stream::take_off(Flight& flight) {
  const ExclusiveLock lock(mutex_);
  flight.after = runs_;
  flight.first_change = flight.old_end;
  flight.end_change = Vcn(0);
  if (flight.is_compressed) place_packed(flight);
  size_t index = 0;
  ClusterCount used;
  for (const Flight::Stretch& stretch : flight.stretches) {
    flight.first_change = std::min(flight.first_change, stretch.vcn);
    if (volume_.refcounts() != nullptr && !flight.is_compressed) {
      const auto left = runs_.allocated_in(stretch.vcn, stretch.count);
      flight.released.insert(flight.released.end(), left.begin(), left.end());
    }
    for (Vcn at = stretch.vcn; at < stretch.end();) {
      const ClusterRun& run = flight.claimed[index];
      const ClusterCount count = std::min(stretch.end() - at, run.count - used);
      flight.after.replace(at, run.lcn + used, count);
      at = at + count;
      used += count;
      if (used == run.count) {
        ++index;
        used = ClusterCount(0);
      }
    }
    flight.end_change = std::max(flight.end_change, stretch.end());
  }
  ondisk::AttributeSizes& sizes = flight.sizes;
  sizes.valid_data_length = flight.old_valid;
  if (!flight.pieces.empty()) {
    const uint64_t end = std::min(flight.pieces.back().end() * unit_bytes_, flight.file_size);
    sizes.valid_data_length = std::max(flight.old_valid, end);
  }
  sizes.file_size = flight.sets_file_size ? flight.file_size
                                          : std::max(flight.old_file_size, sizes.valid_data_length);
  if (flight.is_compressed && flight.sets_file_size) raise_valid(flight);
  const Vcn end(divide_up(sizes.file_size, cluster_size_));
  if (flight.after.end() < end) flight.after.append(Lcn::hole(), end - flight.after.end());
  pad_to_unit(flight.after);
  if (flight.after.end() != flight.old_end) {
    flight.end_change = std::max(flight.after.end(), flight.old_end);
  }
  flight.changes_runs = flight.end_change != Vcn(0);
  sizes.allocated = flight.after.end().raw() * cluster_size_;
  sizes.total_allocated = flight.after.allocated().raw() * cluster_size_;

  promised_ += flight.extra;
  promised_ -= flight.wanted().raw();
  if (flight.is_compressed) {
    flight_units_ = flight.count_units();
    flight_claimed_ = flight.wanted().raw();
  }
  planned_ = &flight.after;
  if (flight.is_trimmed) {
    const uint64_t rest = ~uint64_t{0} / unit_bytes_ - flight.end_unit;
    if (flight.is_foreign) {
      buffer_.erase_in_flight(flight.end_unit, rest);
    } else {
      buffer_.mark(flight.end_unit, rest, false);
    }
  }
  if (flight.extra != 0 || flight.is_trimmed) settle_promises();
}

// Data.

/// Whether the log can hold the data of this stream.
bool Stream::can_log_units() const {
  const SharedLock lock(mutex_);
  return name_.empty() && !compressed_ && cluster_size_ == LoggedData::kClusterBytes;
}

/// Of what will be made durable at once: a few units that go with a change of the attribute, all of
/// them; and those that the log held last, unless they are many. Others that it held last are
/// written in place behind a checkpoint.
void Stream::choose_logged(Flight& flight) const {
  const LoggedData& data = volume_.data();
  const bool is_small = flight.changes_attribute() && flight.count_units() <= kMostLogged;
  if (!flight.is_urgent || (!is_small && data.is_settled()) || !can_log_units()) return;
  const auto is_logged = [&](uint64_t unit) {
    const PageRef page = data.find(flight.after.find(Vcn(unit)).lcn);
    if (page == nullptr) return is_small;
    // Clusters that were moved, or belong to two files, have another name in the log.
    return page->stream()->file == file_.reference() && page->index() == unit;
  };
  std::vector<Flight::Piece> pieces;
  uint64_t count_logged = 0;
  for (const Flight::Piece& piece : flight.pieces) {
    for (uint64_t unit = piece.first; unit < piece.end(); ++unit) {
      const bool logged = is_logged(unit);
      if (logged && ++count_logged > kMostLogged) return;
      if (unit == piece.first || logged != pieces.back().is_logged) {
        std::byte const* memory = piece.memory + (unit - piece.first) * unit_bytes_;
        pieces.push_back({unit, 0, memory, piece.chunk, logged});
      }
      ++pieces.back().count;
    }
  }
  flight.pieces = std::move(pieces);
}

Result<> Stream::send(const Flight& flight) {
  std::vector<IoRequest> requests;
  for (const Flight::Piece& piece : flight.packed) TRY(add_piece(flight, piece, requests));
  for (const Flight::Stretch& stretch : flight.stretches) {
    if (!stretch.is_zeroed) continue;
    TRY(add_zeros(flight.after, stretch.vcn.raw() * cluster_size_,
                  stretch.end().raw() * cluster_size_, requests));
  }
  uint64_t zeroed = flight.old_valid;
  for (const Flight::Piece& piece : flight.pieces) {
    if (flight.is_compressed) break;
    const uint64_t start = piece.first * unit_bytes_;
    if (start > zeroed) TRY(add_zeros(flight.after, zeroed, start, requests));
    zeroed = std::max(zeroed, piece.end() * unit_bytes_);
    if (!piece.is_logged) TRY(add_piece(flight, piece, requests));
  }
  return requests.empty() ? Result<>() : volume_.data().transfer(requests);
}

/// Hands over what has gathered when it is much.
Result<> Stream::send_if_many(std::vector<IoRequest>& requests) {
  if (requests.size() < kMostRequests) return {};
  TRY(volume_.data().transfer(requests));
  requests.clear();
  return {};
}

Result<> Stream::add_piece(const Flight& flight, const Flight::Piece& piece,
                           std::vector<IoRequest>& requests) {
  const Vcn start(piece.first * clusters_per_unit_);
  const Vcn stop(piece.end() * clusters_per_unit_);
  const auto runs = flight.after.runs();
  for (size_t i = flight.after.index_of(start); i < runs.size() && runs[i].vcn < stop; ++i) {
    // In the last unit there may be holes behind the end of the file; in a packed one, behind it.
    if (runs[i].lcn.is_hole()) continue;
    const Vcn from = std::max(runs[i].vcn, start);
    const Vcn to = std::min(runs[i].end(), stop);
    const ByteView memory(piece.memory + (from - start).raw() * cluster_size_,
                          (to - from).raw() * cluster_size_);
    const uint64_t position = (runs[i].lcn + (from - runs[i].vcn)).raw() * cluster_size_;
    if (!requests.empty()) {
      IoRequest& last = requests.back();
      if (last.offset + last.memory.size() == position &&
          last.memory.data() + last.memory.size() == memory.data()) {
        last.memory = {last.memory.data(), last.memory.size() + memory.size()};
        continue;
      }
    }
    requests.push_back(IoRequest::write(position, memory));
    TRY(send_if_many(requests));
  }
  return {};
}

/// Zeros for what is allocated of [from, to); `to` is the end of a cluster.
Result<> Stream::add_zeros(const Runlist& runs, uint64_t from, uint64_t to,
                           std::vector<IoRequest>& requests) {
  const uint64_t block = volume_.data().logical_block_size();
  if (from % block != 0) {
    TRY(zero_block_tail(runs, from));
    from = align_up(from, block);
  }
  const ByteView zeros = volume_.buffers().zeros();
  const auto list = runs.runs();
  for (size_t i = runs.index_of(Vcn(from / cluster_size_)); i < list.size(); ++i) {
    const uint64_t start = list[i].vcn.raw() * cluster_size_;
    if (start >= to) break;
    if (list[i].lcn.is_hole()) continue;
    const uint64_t stop = std::min(to, list[i].end().raw() * cluster_size_);
    for (uint64_t at = std::max(from, start); at < stop;) {
      const uint64_t length = std::min<uint64_t>(zeros.size(), stop - at);
      const uint64_t position = list[i].lcn.raw() * cluster_size_ + (at - start);
      requests.push_back(IoRequest::write(position, zeros.first(length)));
      TRY(send_if_many(requests));
      at += length;
    }
  }
  return {};
}

/// Zeroes the rest of the block that `from` lies in.
Result<> Stream::zero_block_tail(const Runlist& runs, uint64_t from) {
  const Vcn vcn(from / cluster_size_);
  if (vcn >= runs.end()) return {};
  const Run run = runs.find(vcn);
  if (run.lcn.is_hole()) return {};
  const uint64_t block = volume_.data().logical_block_size();
  const auto piece = volume_.buffers().take(block);
  const MutableBytes bytes = piece.bytes().first(block);
  const uint64_t position = align_down(run.lcn.raw() * cluster_size_ + from % cluster_size_, block);
  TRY(volume_.data().read(position, bytes));
  std::fill(bytes.begin() + static_cast<ptrdiff_t>(from % block), bytes.end(), std::byte{0});
  return volume_.data().write(position, bytes);
}

// The transaction, and the end.

Result<> Stream::log(const Flight& flight) {
  // In place: times are logged with the file.
  if (!flight.changes_attribute() && !flight.has_logged_units()) return {};
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  for (const ClusterRun& run : flight.claimed) {
    TRY(volume_.clusters().set_allocated(transaction, run));
  }
  for (const ClusterRun& run : flight.released) TRY(volume_.release_clusters(transaction, run));
  Attributes attributes(volume_, file_.reference());
  if (flight.was_resident) {
    TRY(attributes.make_nonresident(transaction, AttributeType::Data, name_, flight.after,
                                    flight.sizes));
  } else if (flight.changes_runs) {
    TRY(attributes.store_changed_runs(transaction, AttributeType::Data, name_, flight.after,
                                      flight.first_change, flight.end_change, flight.sizes));
  } else if (flight.changes_attribute()) {
    TRY(attributes.set_sizes(transaction, AttributeType::Data, name_, flight.sizes));
  }
  TRY(log_information(transaction, {flight.sizes.total_allocated, flight.sizes.file_size,
                                    flight.sizes.valid_data_length}));
  const auto logged = log_units(transaction, flight);
  if (!logged) {
    // A replay puts them in place, whoever has these clusters by then.
    volume_.journal().fail(logged.error(), "a write of the log");
    return logged;
  }
  transaction.commit();
  return {};
}

/// What they hold up to the valid data length: nothing behind it is read.
Result<> Stream::log_units(Transaction& transaction, const Flight& flight) {
  if (!flight.has_logged_units()) return {};
  if (logged_as_ == nullptr) {
    logged_as_ = std::make_shared<MetadataStream>();
    logged_as_->file = file_.reference();
    logged_as_->type = AttributeType::Data;
    logged_as_->id = metadata_stream_id(file_.reference().record(), AttributeType::Data, name_);
  }
  for (const Flight::Piece& piece : flight.pieces) {
    for (uint64_t unit = piece.first; piece.is_logged && unit < piece.end(); ++unit) {
      const uint64_t start = unit * unit_bytes_;
      const uint64_t end = std::min(start + unit_bytes_, flight.sizes.valid_data_length);
      const ByteView bytes(piece.memory + (unit - piece.first) * unit_bytes_,
                           align_up(end - start, sizeof(le64)));
      const Lcn lcn = flight.after.find(Vcn(unit)).lcn;
      TRY(volume_.data().log(transaction, logged_as_, Vcn(unit), lcn, bytes));
    }
  }
  return {};
}

void Stream::land(Flight& flight) {
  const ExclusiveLock lock(mutex_);
  planned_ = nullptr;
  flight_units_ = 0;
  flight_claimed_ = 0;
  if (flight.changes_runs || flight.was_resident) runs_ = std::move(flight.after);
  if (!flight.released.empty()) ++count_frees_;
  resident_ = false;
  disk_file_size_ = flight.sizes.file_size;
  disk_valid_ = flight.sizes.valid_data_length;
  for (const Flight::Piece& piece : flight.pieces)
    buffer_.erase_in_flight(piece.first, piece.count);
  settle_promises();
  note_state();
}

void Stream::abandon(Flight& flight) {
  const ExclusiveLock lock(mutex_);
  planned_ = nullptr;
  flight_units_ = 0;
  flight_claimed_ = 0;
  if (!flight.claimed.empty()) {
    promised_ += flight.wanted().raw();
    volume_.clusters().unclaim_to_promise(flight.claimed);
  }
  for (const Flight::Piece& piece : flight.pieces) {
    if (flight.is_foreign) {
      buffer_.erase_in_flight(piece.first, piece.count);
    } else {
      buffer_.mark(piece.first, piece.count, false);
    }
  }
  if (flight.is_foreign && file_size_ == flight.file_size) {
    file_size_ = std::max(flight.file_size_before, disk_file_size_);
    valid_ = std::min(valid_, file_size_);
  }
  settle_promises();
  note_state();
}

}  // namespace ntfs
