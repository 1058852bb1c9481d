#include "lfs/log_reader.h"

#include <algorithm>

namespace ntfs::lfs {

namespace {

constexpr size_t kNoCopy = ~size_t{0};

const RecordPageHeader& header_of(ByteView page) { return struct_at<RecordPageHeader>(page); }
Lsn last_lsn_of(const RecordPageHeader& header) { return Lsn::from_raw(header.last_lsn.get()); }
Lsn last_end_of(const RecordPageHeader& header) { return Lsn::from_raw(header.last_end_lsn.get()); }

/// Undoes the fix-up of a record page; false if it is none, or torn.
bool open_page(MutableBytes page) {
  const auto& signature = struct_at<MultiSectorHeader>(page).signature;
  return std::string_view(signature.data(), signature.size()) == "RCRD" && try_unprotect(page);
}

Origin record_origin(Lsn lsn) { return {"log record (its LSN)", 0, lsn.raw()}; }

}  // namespace

LogReader::LogReader(LogStore& store, const RestartPage& restart, LogState state,
                     const LogGeometry& geometry)
    : store_(&store),
      restart_(restart),
      state_(state),
      geometry_(geometry),
      groups_(kGroups),
      records_(geometry) {}

Result<LogReader> LogReader::open(LogStore& store, LogKind kind) {
  const RestartPages pages = TRY(RestartPages::read(store, kind));
  if (pages.state == LogState::Corrupt) {
    corrupt({"log file", 0, 0}, "restart pages", 0, "one that is valid");
    return NtStatus::LogCorrupt;
  }
  if (pages.state == LogState::Empty) return NtStatus::EndOfFile;
  const RestartPage& restart = pages.current();
  if (!restart.is_supported_version()) return NtStatus::NotSupported;
  if (kind == LogKind::Volume && !restart.has_client) return NtStatus::EndOfFile;
  const LogGeometry geometry = TRY(restart.geometry());
  LogReader reader(store, restart, pages.state, geometry);
  if (restart.major_version >= 2) {
    TRY(reader.load_fast_pages());
  } else {
    TRY(reader.load_tail_copies());
  }
  TRY(reader.find_end());
  return reader;
}

// ---- Pages --------------------------------------------------------------------------------------

Result<> LogReader::load_tail_copies() {
  for (size_t slot = 0; slot < 2; ++slot) {
    Copy copy{0, PageBuffer(kPageSize)};
    TRY(store_->read(kTailSlotOffset + slot * kPageSize, copy.memory.bytes()));
    if (!open_page(copy.memory.bytes())) continue;
    auto& header = struct_at<RecordPageHeader>(copy.memory.bytes());
    copy.target = header.last_lsn.get();
    if (!geometry_.is_record_page(copy.target)) continue;
    header.last_lsn = header.last_end_lsn;  // as it is in place
    copies_.push_back(std::move(copy));
  }
  return {};
}

/// LFS 2.0: the better page of each pair, as long as they follow each other.
Result<> LogReader::load_fast_pages() {
  PageBuffer memory(2 * kFastPairs * kPageSize);
  TRY(store_->read(kFastPageOffset, memory.bytes()));
  for (size_t pair = 0; pair < kFastPairs; ++pair) {
    std::optional<Copy> best;
    for (const size_t index : {pair, pair + kFastPairs}) {
      const MutableBytes bytes = memory.bytes().subspan(index * kPageSize, kPageSize);
      if (!open_page(bytes)) continue;
      const auto& header = header_of(bytes);
      const uint64_t target = header.copy_of_offset.get();
      if (!geometry_.is_record_page(target)) continue;
      // Versions of one page: the later one has later records, or more of the last one.
      const auto rank = [](const RecordPageHeader& h) {
        return std::pair(h.last_lsn.get(), h.last_end_lsn.get());
      };
      if (best && rank(best->header()) >= rank(header)) continue;
      best = Copy{target, PageBuffer(kPageSize)};
      std::copy(bytes.begin(), bytes.end(), best->memory.bytes().begin());
    }
    if (!best) break;
    if (!copies_.empty()) {
      const Copy& before = copies_.back();
      const bool follows = best->target == geometry_.next_page(before.target) &&
                           last_lsn_of(best->header()) >= last_lsn_of(before.header());
      if (!follows) break;
    }
    copies_.push_back(std::move(*best));
  }
  return {};
}

/// The page in its place; nothing if it is not whole. Valid until the next call.
Result<std::optional<ByteView>> LogReader::place_page(uint64_t page) {
  const uint64_t group_bytes = kGroupPages * kPageSize;
  const uint64_t first = align_down(page, group_bytes);
  Group& group = groups_[first / group_bytes % kGroups];
  if (group.first_offset != first) {
    if (group.memory.size() == 0) group.memory = PageBuffer(group_bytes);
    group.first_offset.reset();
    const uint64_t length = std::min(group_bytes, geometry_.file_size() - first);
    TRY(store_->read(first, group.memory.bytes().first(length)));
    for (size_t i = 0; i < kGroupPages; ++i) {
      const bool in_file = (i + 1) * kPageSize <= length;
      group.valid[i] = in_file && open_page(group.memory.bytes().subspan(i * kPageSize, kPageSize));
    }
    group.first_offset = first;
  }
  const size_t index = (page - first) / kPageSize;
  if (!group.valid[index]) return std::optional<ByteView>();
  return std::optional<ByteView>(group.memory.bytes().subspan(page - first, kPageSize));
}

Result<std::optional<ByteView>> LogReader::page_at(uint64_t page) {
  const auto copy = replaced_.find(page);
  if (copy != replaced_.end()) {
    return std::optional<ByteView>(copies_[copy->second].memory.bytes());
  }
  return place_page(page);
}

// ---- The end of the log -------------------------------------------------------------------------

bool LogReader::belongs(Lsn lsn, const Search& search) const {
  return lsn == search.last_ok ||
         (lsn > search.last_ok && geometry_.sequence_of(lsn) == search.expected_sequence);
}

/// Pages that Windows wrote in one transfer are numbered 1..count; a page out of order was left
/// over by another transfer. The first page looked at may stand anywhere in its transfer.
bool LogReader::is_in_order(const RecordPageHeader& header, const Search& search) const {
  const uint16_t count = header.page_count.get();
  const uint16_t position = header.page_position.get();
  const bool begins = search.page_position == search.page_count;
  const bool fits =
      search.at_first_page ||
      (begins ? position == 1 : position == search.page_position + 1 && count == search.page_count);
  return fits && position != 0 && position <= count;
}

void LogReader::accept(const RecordPageHeader& header, Search& search) {
  search.last_ok = last_lsn_of(header);
  const Lsn end = last_end_of(header);
  if ((header.flags.get() & kPageRecordEnd) != 0 && end >= last_ &&
      geometry_.can_hold_record(end)) {
    last_ = end;
  }
}

/// Index of the newest copy of `page` that can belong to the log, or kNoCopy.
size_t LogReader::best_copy(uint64_t page, const Search& search) const {
  size_t best = kNoCopy;
  for (size_t i = 0; i < copies_.size(); ++i) {
    const auto& header = copies_[i].header();
    if (copies_[i].target != page || !belongs(last_lsn_of(header), search)) continue;
    if (best == kNoCopy || last_lsn_of(header) > last_lsn_of(copies_[best].header())) best = i;
  }
  return best;
}

// From the page of the restart area's current LSN on, as long as pages continue each other. Where a
// copy is newer than the page in place, or that one does not count, the copy stands for it:
//
//   page in place      | copy            | the page is   | and then
//   -------------------+-----------------+---------------+---------------------------------------
//   fits               | none, or older  | that in place | goes on
//   fits               | newer           | the copy      | the log ends (1.1), goes on (2.0)
//   torn, old, missing | fits            | the copy      | the log ends (1.1), goes on (2.0)
//   torn, old, missing | none            | not in it     | the log has ended before
Result<> LogReader::find_end() {
  const Lsn start = restart_.current_lsn;
  Search search;
  search.expected_sequence = geometry_.sequence_of(start);
  uint64_t page = geometry_.first_record_offset();
  if (geometry_.can_hold_record(start)) {
    page = LogGeometry::page_of(geometry_.offset_of(start));
    search.last_ok = start;
    last_ = start;
  } else if (geometry_.is_record_page(geometry_.offset_of(start))) {
    page = geometry_.offset_of(start);  // of a private log that was opened again
  }
  const bool fast = restart_.major_version >= 2;
  for (uint64_t count = 0; count < geometry_.record_pages(); ++count) {
    const std::optional<ByteView> in_place = TRY(place_page(page));
    const RecordPageHeader* place = in_place ? &header_of(*in_place) : nullptr;
    if (place != nullptr &&
        (!belongs(last_lsn_of(*place), search) || !is_in_order(*place, search))) {
      place = nullptr;
    }
    const size_t copy = best_copy(page, search);
    const bool use_copy =
        copy != kNoCopy &&
        (place == nullptr || last_lsn_of(copies_[copy].header()) > last_lsn_of(*place) ||
         (fast && last_lsn_of(copies_[copy].header()) == last_lsn_of(*place)));
    if (use_copy) {
      replaced_[page] = copy;
      accept(copies_[copy].header(), search);
      if (!fast) break;
      search.page_count = search.page_position = 1;
    } else if (place != nullptr) {
      accept(*place, search);
      search.page_count = place->page_count.get();
      search.page_position = place->page_position.get();
    } else {
      break;
    }
    search.at_first_page = false;
    page = geometry_.next_page(page);
    if (page == geometry_.first_record_offset()) ++search.expected_sequence;
  }
  return {};
}

// ---- Records ------------------------------------------------------------------------------------

Result<RecordView> LogReader::read(Lsn lsn) {
  // Behind the end, a write that was lost in part may have left whole records.
  if (!geometry_.can_hold_record(lsn) || lsn > last_) return NtStatus::InvalidParameter;
  RecordReader::Finding finding;
  const std::optional<RecordView> record = TRY(records_.fetch(*this, lsn, finding));
  if (record) return *record;
  corrupt(record_origin(lsn), finding.field, finding.value);
  return NtStatus::LogCorrupt;
}

Result<RecordView> LogReader::next() {
  const Lsn before = records_.current();
  if (before >= last_) return NtStatus::EndOfFile;
  const Lsn lsn = TRY(records_.successor(*this));
  if (lsn > last_) return NtStatus::EndOfFile;
  RecordReader::Finding finding;
  std::optional<RecordView> record = TRY(records_.fetch(*this, lsn, finding));
  if (record) return *record;
  if (before < oldest_lsn()) {
    record = TRY(records_.search_forward(*this, records_.place_of(lsn), oldest_lsn()));
    if (record) return *record;
  }
  corrupt(record_origin(lsn), finding.field, finding.value);
  return NtStatus::LogCorrupt;
}

Result<Lsn> LogReader::first_readable_lsn() {
  const Lsn oldest = oldest_lsn();
  if (!geometry_.can_hold_record(oldest)) return last_;
  RecordReader::Place place = records_.place_of(oldest);
  place.in_page = kPageDataOffset;
  const uint64_t end_page = LogGeometry::page_of(geometry_.offset_of(last_));
  // Backwards, as long as the page before is of this lap and not the one where the log ends.
  for (uint64_t count = 0; count < geometry_.record_pages(); ++count) {
    const uint64_t before = geometry_.previous_page(place.page);
    const bool wraps = before == geometry_.last_page_offset();
    if (before == end_page || (wraps && place.sequence < 2)) break;
    const uint64_t sequence = place.sequence - (wraps ? 1 : 0);
    const std::optional<ByteView> page = TRY(page_at(before));
    if (!page) break;
    const Lsn lsn = last_lsn_of(header_of(*page));
    // A page in the middle of a long record names a record that begins before it.
    if (lsn >= geometry_.lsn_at(sequence, before + kPageSize - 8)) break;
    if (lsn < geometry_.lsn_at(sequence - 1, geometry_.last_page_offset())) break;
    place.page = before;
    place.sequence = sequence;
  }
  const std::optional<RecordView> record = TRY(records_.search_forward(*this, place, oldest));
  return record ? record->lsn : oldest;
}

}  // namespace ntfs::lfs
