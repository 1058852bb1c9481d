#include "lfs/log_file.h"

#include <algorithm>
#include <random>

#include "lfs/log_reader.h"

namespace ntfs::lfs {

namespace {

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
  return write_new_file(store, closed_page(geometry, 2, std::random_device()()));
}

/// Both restart pages, everything else 0xFF.
Result<> LogFile::write_new_file(LogStore& store, const RestartPage& restart) {
  const uint64_t whole_pages = align_down(store.size_bytes(), kPageSize);
  PageBuffer pages(2 * kPageSize);
  restart.serialize(pages.bytes().first(kPageSize));
  restart.serialize(pages.bytes().last(kPageSize));

  PageBuffer ones(std::min<uint64_t>(kFormatWriteBytes, whole_pages));
  std::memset(ones.bytes().data(), 0xFF, ones.size());
  std::vector<LogWrite> writes = {{0, pages.bytes()}};
  for (uint64_t at = pages.size(); at < whole_pages;) {
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
  auto log = std::unique_ptr<LogFile>(
      new LogFile(LogKind::Volume, store, geometry, sequence, std::nullopt));
  TRY(log->begin_epoch(how, old));
  return log;
}

LogFile::LogFile(LogKind kind, LogStore& store, const LogGeometry& geometry, uint64_t sequence,
                 std::optional<FlushPolicy> policy)
    : kind_(kind),
      store_(store),
      geometry_(geometry),
      policy_(policy),
      open_log_count_(std::random_device()()),
      sequence_(sequence - 1),  // starting the first page counts as a wrap
      next_offset_(geometry.first_record_offset()) {}

LogFile::~LogFile() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    flush_due_.notify_all();
  }
  if (flusher_.joinable()) flusher_.join();
}

uint64_t Record::data_bytes() const {
  uint64_t total = 0;
  for (const ByteView part : parts) total = align_up(total, part_alignment) + part.size();
  return total;
}

// Three steps, each durable before the next: whatever a crash leaves is either the old log, or a
// closed one, or the new one.
Result<> LogFile::begin_epoch(const LogStart& how, const RestartPages& old) {
  filler_.assign(how.filler.begin(), how.filler.end());
  filler_transaction_id_ = how.filler_transaction_id;
  ASSERT(filler_transaction_id_ != 0 && !filler_.empty() && filler_.size() <= kMaximumFiller);
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

  RestartPage open;
  {
    MutexLock lock(mutex_);
    // Nothing is durable yet that an append could run into.
    const Lsn first = next_locked();
    page_oldest_ = {first, first};
    Client client;
    client.name = kClientName;
    client.base = client.restart = scan_start_ = first;
    client.checkpoint_bytes = client.held_bytes = reserved_bytes_ =
        std::min(how.checkpoint_reserve_bytes, geometry_.record_pages() * kPageDataSize / 8) +
        kRestartReserve;
    clients_.push_back(std::move(client));
    append_restart_locked(0, {&how.restart_record, 1}, Lsn());
    for (const Record& record : how.first_records) {
      append_locked(0, RecordType::Client, record, record.data_bytes());
    }
    ASSERT(has_open_page_ && chunks_.size() == 1 && chunks_.front().pages == 1);
    scan_start_bytes_ = how.restart_record.size();
    open = restart_page_locked();
  }
  TRY(write_first_pages());

  TRY(write_restart_page(0, open));
  return write_restart_page(1, open);
}

/// What the tail slots hold, whoever wrote it, must not look like a part of what goes there next.
Result<> LogFile::look_at_tail_slots() {
  PageBuffer slots(2 * kPageSize);
  TRY(store_.read(kTailSlotOffset, slots.bytes()));
  tail_update_sequence_ = number_to_follow(slots.bytes());
  return {};
}

/// The first record page goes home and into both tail slots (ntfsrecover wants a record page in
/// slot 0 at any time), and a dummy into the page before it, which ntfsrecover reads on its way
/// back.
Result<> LogFile::write_first_pages() {
  TRY(look_at_tail_slots());
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
  durable_end_ = queued_end_ = next_locked();
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

/// Where the next record's header stands.
Lsn LogFile::next_locked() const {
  if (room_locked() >= kRecordHeaderSize) {
    const Chunk& chunk = chunks_.back();
    return geometry_.lsn_at(sequence_,
                            chunk.first_offset + (chunk.pages - 1) * kPageSize + open_used_);
  }
  const bool wraps = next_offset_ == geometry_.first_record_offset();
  return geometry_.lsn_at(sequence_ + (wraps ? 1 : 0), next_offset_ + kPageDataOffset);
}

/// Puts the first `count` of `bytes`, and zeros behind them, into the record at `lsn`. A page is
/// fully given out before the next begins.
void LogFile::put_locked(ByteView bytes, uint64_t count, Lsn lsn) {
  while (count > 0) {
    if (open_used_ == kPageSize) {
      start_page_locked();
      page_header(open_page_locked()).last_lsn.set(lsn.raw());
    }
    const uint64_t piece = std::min(count, kPageSize - open_used_);
    const ByteView part = bytes.first(std::min<uint64_t>(piece, bytes.size()));
    copy_bytes(part, open_page_locked().subspan(open_used_));
    bytes = bytes.subspan(part.size());
    open_used_ += piece;
    count -= piece;
  }
}

/// `data_bytes`: at least record.data_bytes(); the rest is zero.
Lsn LogFile::append_locked(uint16_t client, RecordType type, const Record& record,
                           uint64_t data_bytes) {
  const Lsn lsn = next_locked();
  if (room_locked() < kRecordHeaderSize) start_page_locked();
  RecordHeader header;
  header.this_lsn.set(lsn.raw());
  header.client_previous_lsn.set(record.previous.raw());
  header.client_undo_next_lsn.set(record.undo_next.raw());
  header.client_data_length.set(static_cast<uint32_t>(data_bytes));
  header.client_index.set(client);
  header.record_type.set(static_cast<uint32_t>(type));
  header.transaction_id.set(record.transaction_id);
  header.flags.set(kRecordHeaderSize + data_bytes > room_locked() ? kRecordMultiPage : 0);
  copy_bytes(bytes_of(header), open_page_locked().subspan(open_used_));
  open_used_ += kRecordHeaderSize;
  page_header(open_page_locked()).last_lsn.set(lsn.raw());

  uint64_t done = 0;
  for (const ByteView part : record.parts) {
    const uint64_t at = align_up(done, record.part_alignment);
    put_locked({}, at - done, lsn);
    put_locked(part, part.size(), lsn);
    done = at + part.size();
  }
  put_locked({}, data_bytes - done, lsn);
  open_used_ = align_up(open_used_, 8);
  note_record_end(page_header(open_page_locked()), lsn, open_used_);
  // A record header is not split: with less room than that the page is full.
  has_open_page_ = kPageSize - open_used_ >= kRecordHeaderSize;
  last_lsn_ = clients_[client].last = lsn;
  appended_bytes_ += plain_record_cost(data_bytes);
  return lsn;
}

void LogFile::append_filler_locked(uint64_t data_bytes) {
  const ByteView part = filler_;
  append_locked(0, RecordType::Client, {filler_transaction_id_, Lsn(), Lsn(), {&part, 1}},
                data_bytes);
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
  if (kind_ == LogKind::Private) return;
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
Lsn LogFile::append_restart_locked(uint16_t client, std::span<const ByteView> parts, Lsn previous) {
  const Record record{0, previous, Lsn(), parts};
  const uint64_t data_bytes = record.data_bytes();
  seal_locked();
  if (has_open_page_ && room_locked() < plain_record_cost(data_bytes) + kRecordHeaderSize) {
    if (kind_ == LogKind::Volume) {
      fill_page_locked();
    } else {
      has_open_page_ = false;
    }
  }
  return append_locked(client, RecordType::ClientRestart, record, data_bytes);
}

}  // namespace ntfs::lfs
