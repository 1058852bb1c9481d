#include "lfs/log_file.h"

#include <algorithm>
#include <random>

#include "lfs/log_reader.h"

namespace ntfs::lfs {

namespace {

/// Record pages that stay between the newest page and the oldest one that is needed.
constexpr uint64_t kSlackPages = 4;
/// For the records of write_restart() and close(), fillers before them included, and the filler
/// behind the end of the file.
constexpr uint64_t kRestartReserve = 4 * kPageSize;
constexpr size_t kFormatWriteBytes = size_t{4} << 20;
/// Of update sequence numbers; protect() takes the next one.
constexpr uint16_t kUpdateSequencePeriod = 0x7FF0;

RecordPageHeader& page_header(MutableBytes page) { return struct_at<RecordPageHeader>(page); }

void init_page(MutableBytes page, uint64_t sequence) {
  std::fill(page.begin(), page.end(), std::byte{0});
  auto& header = page_header(page);
  header.header.signature = {'R', 'C', 'R', 'D'};
  header.header.update_sequence_array_offset.set(offsetof(RecordPageHeader, update_sequence_array));
  header.header.update_sequence_array_count.set(kPageSize / kSequenceStride + 1);
  // Every page is a transfer of its own: numbered transfers make ntfs3 refuse a log of which only
  // some pages of the last write arrived.
  header.page_count.set(1);
  header.page_position.set(1);
  // Differs from lap to lap, so that a page torn between two laps is seen.
  header.update_sequence_array[0].set(static_cast<uint16_t>(sequence * 3 % kUpdateSequencePeriod));
}

void note_record_end(RecordPageHeader& header, Lsn lsn, uint64_t end) {
  header.flags.set(kPageRecordEnd);
  header.next_record_offset.set(static_cast<uint16_t>(end));
  header.last_end_lsn.set(lsn.raw());
}

uint64_t total_size(std::span<const ByteView> parts) {
  uint64_t total = 0;
  for (const ByteView part : parts) total += part.size();
  return total;
}

void copy_bytes(ByteView from, MutableBytes to) { std::copy(from.begin(), from.end(), to.begin()); }

/// A closed log as restart pages show it: no client; the current LSN is below all record pages.
RestartPage closed_page(const LogGeometry& geometry, uint64_t sequence, uint32_t open_log_count) {
  RestartPage page;
  page.major_version = 1;
  page.minor_version = 1;
  page.flags = kRestartCleanDismount;
  page.current_lsn = geometry.lsn_at(sequence, 0);
  page.file_size = geometry.file_size();
  page.sequence_number_bits = geometry.sequence_number_bits();
  page.open_log_count = open_log_count;
  return page;
}

/// The highest LSN that can stand in a log with these restart pages: writes since the last one
/// went around the file at most once.
Lsn highest_possible(const RestartPages& pages, const LogGeometry& geometry) {
  Lsn highest;
  for (const auto& page : pages.pages) {
    if (!page) continue;
    Lsn lsn = page->current_lsn;
    if (page->sequence_number_bits != geometry.sequence_number_bits()) {
      // The log was resized. In the new numbering one lap of the old log may be many.
      const uint64_t lap = uint64_t{1} << (64 - page->sequence_number_bits);
      lsn = Lsn::from_raw(checked_add(lsn.raw(), 2 * lap).value_or(~uint64_t{0}));
    }
    highest = std::max(highest, lsn);
  }
  return highest;
}

}  // namespace

Result<> LogFile::format(LogStore& store) {
  const LogGeometry geometry = TRY(LogGeometry::for_new_log(store.size_bytes()));
  const uint64_t whole_pages = align_down(store.size_bytes(), kPageSize);
  PageBuffer restart(2 * kPageSize);
  const RestartPage closed = closed_page(geometry, 2, std::random_device()());
  closed.serialize(restart.bytes().first(kPageSize));
  closed.serialize(restart.bytes().last(kPageSize));

  PageBuffer ones(std::min<uint64_t>(kFormatWriteBytes, whole_pages));
  std::memset(ones.bytes().data(), 0xFF, ones.size());
  std::vector<LogWrite> writes = {{0, restart.bytes()}};
  for (uint64_t at = restart.size(); at < whole_pages;) {
    const uint64_t length = std::min<uint64_t>(ones.size(), whole_pages - at);
    writes.push_back({at, ones.bytes().first(length)});
    at += length;
  }
  return store.write_durable(writes);
}

Result<LogStatus> LogFile::inspect(LogStore& store) {
  const RestartPages pages = TRY(RestartPages::read(store));
  LogStatus status;
  status.state = pages.state;
  status.size_bytes = store.size_bytes();
  if (pages.state == LogState::Empty || pages.state == LogState::Corrupt) return status;
  const RestartPage& page = pages.current();
  status.major_version = page.major_version;
  status.minor_version = page.minor_version;
  status.size_bytes = page.file_size;
  status.oldest_lsn = page.oldest_lsn;
  status.restart_lsn = page.client_restart_lsn;
  status.last_lsn = page.current_lsn;
  if (page.has_client && page.is_supported_version()) {
    const LogReader reader = TRY(LogReader::open(store));
    status.last_lsn = std::max(status.last_lsn, reader.last_lsn());
  }
  return status;
}

Result<std::unique_ptr<LogFile>> LogFile::start(LogStore& store, const LogStart& how) {
  const RestartPages old = TRY(RestartPages::read(store));
  const LogGeometry geometry = TRY(LogGeometry::for_new_log(store.size_bytes()));
  const Lsn highest = std::max(how.floor, highest_possible(old, geometry));
  // By two: pages of the present sequence + 1 may be there behind the end of the file.
  const uint64_t sequence = geometry.sequence_of(highest) + 2;
  if (sequence >= geometry.sequence_limit()) return NtStatus::FileSystemLimitation;
  auto log = std::unique_ptr<LogFile>(new LogFile(store, geometry, sequence, how));
  TRY(log->begin_epoch(how, old));
  return log;
}

LogFile::LogFile(LogStore& store, const LogGeometry& geometry, uint64_t sequence,
                 const LogStart& how)
    : store_(store),
      geometry_(geometry),
      filler_(how.filler.begin(), how.filler.end()),
      filler_transaction_id_(how.filler_transaction_id),
      open_log_count_(std::random_device()()),
      checkpoint_reserve_(
          std::min(how.checkpoint_reserve_bytes, geometry.record_pages() * kPageDataSize / 8) +
          kRestartReserve),
      sequence_(sequence - 1),  // starting the first page counts as a wrap
      next_offset_(geometry.first_record_offset()),
      tail_update_sequence_(static_cast<uint16_t>(sequence * 7 % kUpdateSequencePeriod)) {
  ASSERT(filler_transaction_id_ != 0 && !filler_.empty() && filler_.size() <= kMaximumFiller);
}

LogFile::~LogFile() = default;

// Three steps, each durable before the next: whatever a crash leaves is either the old log, or a
// closed one, or the new one.
Result<> LogFile::begin_epoch(const LogStart& how, const RestartPages& old) {
  for (const auto& page : old.pages) {
    if (page) {
      restart_update_sequence_ = std::max(restart_update_sequence_, page->update_sequence_number);
    }
  }
  const bool any = old.pages[0] || old.pages[1];
  const size_t older = any ? 1 - old.newest : 0;
  uint64_t sequence = 0;
  {
    MutexLock lock(mutex_);
    sequence = sequence_ + 1;
  }
  const RestartPage closed = closed_page(geometry_, sequence, open_log_count_);
  if (old.state == LogState::Empty) TRY(write_first_sector(closed));
  TRY(write_restart_page(older, closed));
  TRY(write_restart_page(1 - older, closed));

  Lsn restart_lsn;
  {
    MutexLock lock(mutex_);
    // Nothing is durable yet that an append could run into.
    const Lsn first = geometry_.lsn_at(sequence, next_offset_ + kPageDataOffset);
    page_oldest_ = {first, first};
    restart_lsn = append_restart_locked(how.restart_record);
    for (const Record& record : how.first_records) {
      append_locked({RecordType::Client, record.transaction_id, record.previous, record.undo_next,
                     record.parts, align_up(total_size(record.parts), 8)});
    }
    ASSERT(has_open_page_ && chunks_.size() == 1 && chunks_.front().pages == 1);
  }
  TRY(write_first_pages());

  const RestartPage open = restart_page(restart_lsn, restart_lsn, how.restart_record.size());
  TRY(write_restart_page(0, open));
  return write_restart_page(1, open);
}

/// The first record page goes home and into both tail slots (ntfsrecover wants a record page in
/// slot 0 at any time), and a dummy into the page before it, which ntfsrecover reads on its way
/// back.
Result<> LogFile::write_first_pages() {
  PageBuffer dummy(kPageSize);
  uint64_t offset = 0;
  {
    MutexLock lock(mutex_);
    fill_dummy_page(dummy.bytes(), sequence_ - 1);
    offset = chunks_.front().first_offset;
    snapshot_locked(home_page_.bytes());
    snapshot_locked(tail_page_.bytes());
  }
  protect(home_page_.bytes());
  make_tail_copy(offset);
  const std::array<LogWrite, 4> writes = {
      LogWrite{geometry_.last_page_offset(), dummy.bytes()}, LogWrite{offset, home_page_.bytes()},
      LogWrite{kTailSlotOffset, tail_page_.bytes()},
      LogWrite{kTailSlotOffset + kPageSize, tail_page_.bytes()}};
  TRY(store_.write_durable(writes));
  MutexLock lock(mutex_);
  // The final version of this page must not carry the update sequence number of this one.
  auto& number = page_header(open_page_locked()).update_sequence_array[0];
  number.set(page_header(home_page_.bytes()).update_sequence_array[0].get());
  has_older_version_ = true;
  durable_lsn_ = last_lsn_;
  durable_bytes_ = appended_bytes_;
  return {};
}

void LogFile::fill_dummy_page(MutableBytes page, uint64_t sequence) const {
  init_page(page, sequence);
  const Lsn lsn = geometry_.lsn_at(sequence, geometry_.last_page_offset() + kPageDataOffset);
  auto& header = struct_at<RecordHeader>(page, kPageDataOffset);
  header.this_lsn.set(lsn.raw());
  header.client_data_length.set(kPageDataSize - kRecordHeaderSize);
  header.record_type.set(static_cast<uint32_t>(RecordType::Client));
  header.transaction_id.set(filler_transaction_id_);
  copy_bytes(filler_, page.subspan(kPageDataOffset + kRecordHeaderSize));
  page_header(page).last_lsn.set(lsn.raw());
  note_record_end(page_header(page), lsn, kPageSize);
  protect(page);
}

// ---- Appending ----------------------------------------------------------------------------------

Result<Lsn> LogFile::append(const Record& record) {
  const uint64_t data_bytes = align_up(total_size(record.parts), 8);
  ASSERT(record.transaction_id != 0 && data_bytes != 0 && data_bytes <= kMaximumClientData);
  MutexLock lock(mutex_);
  if (failure_ != NtStatus::Success) return failure_;
  return append_locked({RecordType::Client, record.transaction_id, record.previous,
                        record.undo_next, record.parts, data_bytes});
}

uint64_t LogFile::room_locked() const { return has_open_page_ ? kPageSize - open_used_ : 0; }

MutableBytes LogFile::open_page_locked() {
  Chunk& chunk = chunks_.back();
  return chunk.page(chunk.pages - 1);
}

void LogFile::start_page_locked() {
  // Never into the oldest page that a replay may need, nor the page before it.
  ASSERT(used_pages_locked() + 2 <= geometry_.record_pages());
  if (next_offset_ == geometry_.first_record_offset()) ++sequence_;
  follows_covered_page_ =
      !chunks_.empty() && (page_header(open_page_locked()).flags.get() & kPageRecordEnd) == 0;
  const bool fits = !chunks_.empty() && chunks_.back().pages < kChunkPages &&
                    chunks_.back().first_offset + chunks_.back().pages * kPageSize == next_offset_;
  if (!fits) {
    Chunk chunk;
    chunk.first_offset = next_offset_;
    if (spare_.empty()) {
      chunk.memory = PageBuffer(kChunkPages * kPageSize);
    } else {
      chunk.memory = std::move(spare_.back());
      spare_.pop_back();
    }
    chunks_.push_back(std::move(chunk));
  }
  ++chunks_.back().pages;
  init_page(open_page_locked(), sequence_);
  next_offset_ = geometry_.next_page(next_offset_);
  open_used_ = kPageDataOffset;
  has_open_page_ = true;
}

Lsn LogFile::append_locked(const Pending& record) {
  if (room_locked() < kRecordHeaderSize) start_page_locked();
  const uint64_t cost = kRecordHeaderSize + record.data_bytes;
  const Chunk& chunk = chunks_.back();
  const uint64_t offset = chunk.first_offset + (chunk.pages - 1) * kPageSize + open_used_;
  const Lsn lsn = geometry_.lsn_at(sequence_, offset);

  RecordHeader header;
  header.this_lsn.set(lsn.raw());
  header.client_previous_lsn.set(record.previous.raw());
  header.client_undo_next_lsn.set(record.undo_next.raw());
  header.client_data_length.set(static_cast<uint32_t>(record.data_bytes));
  header.record_type.set(static_cast<uint32_t>(record.type));
  header.transaction_id.set(record.transaction_id);
  header.flags.set(cost > room_locked() ? kRecordMultiPage : 0);
  copy_bytes(bytes_of(header), open_page_locked().subspan(open_used_));
  open_used_ += kRecordHeaderSize;
  page_header(open_page_locked()).last_lsn.set(lsn.raw());

  // Copies `part` from `done` on to the pages; a page is fully given out before the next begins.
  uint64_t left = record.data_bytes;
  size_t part = 0;
  size_t done = 0;
  while (left > 0) {
    if (open_used_ == kPageSize) {
      start_page_locked();
      page_header(open_page_locked()).last_lsn.set(lsn.raw());
    }
    while (part < record.parts.size() && done == record.parts[part].size()) {
      ++part;
      done = 0;
    }
    uint64_t count = std::min(left, kPageSize - open_used_);
    if (part < record.parts.size()) {
      count = std::min<uint64_t>(count, record.parts[part].size() - done);
      copy_bytes(record.parts[part].subspan(done, count), open_page_locked().subspan(open_used_));
      done += count;
    }
    open_used_ += count;
    left -= count;
  }
  note_record_end(page_header(open_page_locked()), lsn, open_used_);
  // A record header is not split: with less room than that the page is full.
  has_open_page_ = kPageSize - open_used_ >= kRecordHeaderSize;
  last_lsn_ = lsn;
  appended_bytes_ += cost;
  return lsn;
}

void LogFile::append_filler_locked(uint64_t data_bytes) {
  const ByteView part = filler_;
  append_locked({RecordType::Client, filler_transaction_id_, Lsn(), Lsn(), {&part, 1}, data_bytes});
}

/// Fills the rest of the open page, so that the next record starts a new one. Where the filler is
/// longer than the rest, it spills into the new page; without an open page it starts one.
void LogFile::fill_page_locked() {
  const uint64_t room = std::max(room_locked(), kRecordHeaderSize) - kRecordHeaderSize;
  append_filler_locked(std::max(align_up(filler_.size(), 8), room));
}

/// Moves the end of the log out of two places where others lose their way (log_format.md,
/// "Sealing").
void LogFile::seal_locked() {
  if (follows_covered_page_) {
    if (has_open_page_) fill_page_locked();
    if (follows_covered_page_) fill_page_locked();
    ASSERT(!follows_covered_page_);
  }
  if (!has_open_page_ || next_offset_ != geometry_.next_page(geometry_.first_record_offset())) {
    return;
  }
  const auto last_end = Lsn::from_raw(page_header(open_page_locked()).last_end_lsn.get());
  if (geometry_.sequence_of(last_end) != sequence_) {
    append_filler_locked(align_up(filler_.size(), 8));
  }
}

/// ntfs3 starts its search in the page where this record begins: the whole record and the header of
/// its successor must have room there.
Lsn LogFile::append_restart_locked(ByteView client_restart_record) {
  const uint64_t data_bytes = client_restart_record.size();
  ASSERT(data_bytes % 8 == 0 && data_bytes != 0 && data_bytes <= kMaximumRestartRecord);
  seal_locked();
  if (has_open_page_ && room_locked() < data_bytes + 2 * kRecordHeaderSize) fill_page_locked();
  return append_locked(
      {RecordType::ClientRestart, 0, Lsn(), Lsn(), {&client_restart_record, 1}, data_bytes});
}

// ---- Space --------------------------------------------------------------------------------------

Lsn LogFile::base_locked() const { return std::min(page_oldest_[0], page_oldest_[1]); }

/// From the page of the oldest LSN to the page started last, both included.
uint64_t LogFile::used_pages_locked() const {
  const uint64_t base = LogGeometry::page_of(geometry_.offset_of(base_locked()));
  const uint64_t span = geometry_.file_size() - geometry_.first_record_offset();
  return (next_offset_ + span - base) % span / kPageSize;
}

// A page whose records end with less than a header's room wastes that room; so a whole page counts
// for its data less one header, and the open one likewise. With this, records of `cost` bytes
// altogether always fit where `cost` bytes are free (clfs.md has the proof).
uint64_t LogFile::free_bytes_locked() const {
  const uint64_t used = used_pages_locked() + kSlackPages;
  const uint64_t pages = geometry_.record_pages() - std::min(geometry_.record_pages(), used);
  const uint64_t room = room_locked();
  const uint64_t bytes = pages * (kPageDataSize - kRecordHeaderSize) +
                         (room > kRecordHeaderSize ? room - kRecordHeaderSize : 0);
  return bytes - std::min(bytes, checkpoint_reserve_);
}

uint64_t LogFile::capacity_bytes() const {
  const uint64_t pages = geometry_.record_pages() - kSlackPages;
  return pages * (kPageDataSize - kRecordHeaderSize) - checkpoint_reserve_;
}

uint64_t LogFile::used_bytes() const {
  MutexLock lock(mutex_);
  const uint64_t capacity = capacity_bytes();
  return capacity - std::min(capacity, free_bytes_locked());
}

Result<> LogFile::reserve(uint64_t cost_bytes) {
  MutexLock lock(mutex_);
  if (failure_ != NtStatus::Success) return failure_;
  const uint64_t free = free_bytes_locked();
  const uint64_t available = free - std::min(free, reserved_bytes_);
  if (cost_bytes > available) return NtStatus::LogFileFull;
  reserved_bytes_ += cost_bytes;
  return {};
}

void LogFile::release(uint64_t cost_bytes) {
  MutexLock lock(mutex_);
  ASSERT(cost_bytes <= reserved_bytes_);
  reserved_bytes_ -= cost_bytes;
}

uint64_t LogFile::pending_bytes() const {
  MutexLock lock(mutex_);
  return appended_bytes_ - durable_bytes_;
}

Lsn LogFile::last_lsn() const {
  MutexLock lock(mutex_);
  return last_lsn_;
}

Lsn LogFile::durable_lsn() const {
  MutexLock lock(mutex_);
  return durable_lsn_;
}

Lsn LogFile::oldest_lsn() const {
  MutexLock lock(mutex_);
  return base_locked();
}

bool LogFile::is_failed() const {
  MutexLock lock(mutex_);
  return failure_ != NtStatus::Success && failure_ != NtStatus::FileClosed;
}

}  // namespace ntfs::lfs
