// The part of LogFile that creates and opens private logs, and their streams.

#include <algorithm>
#include <random>

#include "lfs/log_file.h"
#include "lfs/log_reader.h"
#include "lfs/log_stream.h"
#include "lfs/record_cursor.h"

namespace ntfs::lfs {

namespace {

constexpr uint64_t kFirstSequence = 2;
constexpr size_t kMaximumNameUnits = 64;
/// Room for the longest restart record, wherever it has to go.
constexpr uint64_t kRestartRoom =
    2 * plain_record_cost(LogFile::kMaximumPrivateRestartRecord) + kRecordHeaderSize;

}  // namespace

Result<std::unique_ptr<LogFile>> LogFile::create_private(LogStore& store, FlushPolicy policy) {
  const LogGeometry geometry = TRY(LogGeometry::for_new_log(store.size_bytes()));
  auto log = std::unique_ptr<LogFile>(
      new LogFile(LogKind::Private, store, geometry, kFirstSequence, policy));
  RestartPage page;
  {
    MutexLock lock(log->mutex_);
    log->durable_end_ = log->queued_end_ = log->next_locked();
    log->page_oldest_ = {log->durable_end_, log->durable_end_};
    log->scan_start_ = geometry.lsn_at(kFirstSequence, geometry.first_record_offset());
    page = log->restart_page_locked();
  }
  TRY(write_new_file(store, page));
  log->start_flusher();
  return log;
}

Result<std::unique_ptr<LogFile>> LogFile::open_private(LogStore& store, FlushPolicy policy) {
  const RestartPages restart = TRY(RestartPages::read(store, LogKind::Private));
  LogReader reader = TRY(LogReader::open(store, LogKind::Private));
  const LogGeometry& geometry = reader.geometry();
  // By two: a lost write may have left behind the present sequence and the one after it.
  const Lsn highest = std::max(reader.last_lsn(), reader.restart().current_lsn);
  const uint64_t sequence = geometry.sequence_of(highest) + 2;
  if (sequence >= geometry.sequence_limit()) return NtStatus::FileSystemLimitation;
  auto log =
      std::unique_ptr<LogFile>(new LogFile(LogKind::Private, store, geometry, sequence, policy));
  TRY(log->recover(reader, restart));
  log->start_flusher();
  return log;
}

// The log goes on in the page behind the last record, two sequences later. A crash before the
// restart pages say so leaves the log as it was found.
Result<> LogFile::recover(LogReader& reader, const RestartPages& restart) {
  const RestartPage& found = restart.current();
  const uint64_t start = geometry_.offset_of(found.current_lsn);
  uint64_t next = geometry_.is_record_page(start) ? start : geometry_.first_record_offset();
  TRY(look_at_tail_slots());
  if (!reader.last_lsn().is_none()) {
    TRY(reader.read(reader.last_lsn()));
    next = geometry_.next_page(reader.end().page);
    TRY(trim_last_page(reader));
  }
  for (const auto& page : restart.pages) {
    if (page) {
      restart_update_sequence_ = std::max(restart_update_sequence_, page->update_sequence_number);
    }
  }
  restart_index_ = 1 - restart.newest;

  MutexLock lock(mutex_);
  next_offset_ = next;
  const uint64_t sequence = sequence_ + 1;  // of the next page
  if (next != geometry_.first_record_offset()) sequence_ = sequence;
  scan_start_ = geometry_.lsn_at(sequence, next);
  for (const RestartClient& entry : found.clients) {
    Client client;
    client.name = entry.name;
    client.base = entry.oldest_lsn;
    client.restart = entry.restart_lsn;
    client.checkpoint_bytes = kRestartRoom;
    clients_.push_back(std::move(client));
  }
  durable_end_ = queued_end_ = next_locked();
  const Lsn oldest = oldest_base_locked();
  page_oldest_ = {oldest, oldest};
  mutex_.unlock();
  // None of what is found may lie behind the end.
  const Result<> walked =
      find_last_records(reader.last_lsn().is_none() ? found.current_lsn : reader.last_lsn());
  mutex_.lock();
  TRY(walked);
  refill_held_locked();
  return write_restart_pages_locked(0);
}

/// What a lost write left of records behind the last whole one in its page must not be found again.
Result<> LogFile::trim_last_page(LogReader& reader) {
  const RecordReader::Place end = reader.end();
  const std::optional<ByteView> page = TRY(reader.page_at(end.page));
  if (!page) return NtStatus::LogCorrupt;
  std::copy(page->begin(), page->end(), home_page_.bytes().begin());
  auto& header = struct_at<RecordPageHeader>(home_page_.bytes());
  const bool is_trimmed = header.last_lsn.get() == reader.last_lsn().raw();
  const bool is_in_place = reader.is_in_place(end.page);
  if (is_trimmed && is_in_place) return {};
  const MutableBytes rest = home_page_.bytes().subspan(end.in_page);
  std::fill(rest.begin(), rest.end(), std::byte{0});
  header.last_lsn.set(reader.last_lsn().raw());
  header.last_end_lsn.set(reader.last_lsn().raw());
  header.flags.set(kPageRecordEnd);
  header.next_record_offset.set(static_cast<uint16_t>(end.in_page));
  if (is_in_place) {
    // The only copy: one more before it is overwritten.
    std::copy(home_page_.bytes().begin(), home_page_.bytes().end(), tail_page_.bytes().begin());
    TRY(write_tail(end.page));
  }
  TRY(store_.read(end.page, restart_buffer_.bytes()));
  protect_after(home_page_.bytes(), number_to_follow(restart_buffer_.bytes()));
  const LogWrite write{end.page, home_page_.bytes()};
  return store_.write_durable({&write, 1});
}

/// Walks the whole log, at most to `end`. Before any other thread knows it.
Result<> LogFile::find_last_records(Lsn end) {
  uint64_t next_page = 0;
  Lsn oldest;
  {
    MutexLock lock(mutex_);
    last_lsn_ = end;
    oldest = base_locked();
    next_page = next_offset_;
  }
  RecordCursor cursor(*this);
  Lsn last;
  std::vector<Lsn> lasts;
  for (auto lsn = TRY(cursor.first_from(oldest)); lsn;) {
    if (LogGeometry::page_of(geometry_.offset_of(*lsn)) == next_page) break;
    const auto record = TRY(cursor.at(*lsn));
    if (!record) break;
    last = record->lsn;
    if (record->client_index >= lasts.size()) lasts.resize(record->client_index + size_t{1});
    lasts[record->client_index] = last;
    lsn = TRY(cursor.following());
  }
  MutexLock lock(mutex_);
  last_lsn_ = durable_lsn_ = last;
  for (size_t i = 0; i < std::min(lasts.size(), clients_.size()); ++i) clients_[i].last = lasts[i];
  return {};
}

// ---- Streams ------------------------------------------------------------------------------------

Result<LogStream> LogFile::create_stream(std::u16string_view name) {
  if (kind_ == LogKind::Volume) return NtStatus::NotSupported;
  if (name.empty() || name.size() > kMaximumNameUnits) return NtStatus::ObjectNameInvalid;
  uint16_t index = 0;
  {
    MutexLock lock(mutex_);
    if (failure_ != NtStatus::Success) return failure_;
    for (const Client& client : clients_) {
      if (client.name == name) return NtStatus::ObjectNameCollision;
    }
    if (clients_.size() == RestartPage::kMaximumClients) return NtStatus::InsufficientResources;
    Client client;
    client.name = name;
    client.base = next_locked();
    client.checkpoint_bytes = kRestartRoom;
    if (client.checkpoint_bytes > available_locked()) return NtStatus::LogFileFull;
    client.held_bytes = client.checkpoint_bytes;
    reserved_bytes_ += client.held_bytes;
    index = static_cast<uint16_t>(clients_.size());
    clients_.push_back(std::move(client));
  }
  TRY(write_bases());
  return LogStream(*this, index);
}

Result<LogStream> LogFile::open_stream(std::u16string_view name) {
  MutexLock lock(mutex_);
  for (size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].name == name) return LogStream(*this, static_cast<uint16_t>(i));
  }
  return NtStatus::ObjectNameNotFound;
}

}  // namespace ntfs::lfs
