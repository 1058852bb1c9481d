// The part of LogFile that writes: flushes, checkpoints and the clean close.

#include <algorithm>

#include "core/base/trace.h"
#include "lfs/log_file.h"

namespace ntfs::lfs {

namespace {

/// The end of the log is never further from the last tail copy than this part of the pages.
constexpr uint64_t kTailDistance = 16;

/// Adds `page` to `writes`, as part of the last write where it continues that in file and memory.
void add_page(std::vector<LogWrite>& writes, uint64_t offset, ByteView page) {
  if (!writes.empty()) {
    LogWrite& last = writes.back();
    if (last.offset + last.bytes.size() == offset &&
        last.bytes.data() + last.bytes.size() == page.data()) {
      last.bytes = {last.bytes.data(), last.bytes.size() + page.size()};
      return;
    }
  }
  writes.push_back({offset, page});
}

}  // namespace

void LogFile::acquire_io_locked() {
  while (io_busy_) io_done_.wait(mutex_);
  io_busy_ = true;
}

/// Of those who wait for the next flush, one is woken to do it.
void LogFile::release_io_locked() {
  io_busy_ = false;
  io_done_.notify_all();
  Waiters& next = waiters_[(flush_number_ + 1) % 2];
  is_next_flush_due_ = next.count != 0;
  if (failure_ != NtStatus::Success) {
    next.calls.fetch_add(1, std::memory_order_release);
    next.calls.notify_all();
  } else if (is_next_flush_due_) {
    next.calls.fetch_add(1, std::memory_order_release);
    next.calls.notify_one();
  }
}

// Group commit. While a flush is under way, those who need a later one gather; when it is done, one
// of them does it for all. Until that one gets a processor, others join instead of writing at once
// what only they have appended. Who finds his record durable goes on without the lock.
Result<> LogFile::flush_to(Lsn lsn) {
  if (durable_.load(std::memory_order_acquire) >= lsn.raw()) return {};
  std::optional<Lsn> target;
  while (true) {
    Waiters* waiters = nullptr;
    uint32_t calls = 0;
    {
      MutexLock lock(mutex_);
      const bool was_woken = target.has_value();
      if (!was_woken) target = std::min(lsn, last_lsn_);
      if (durable_lsn_ >= *target) return {};
      if (failure_ != NtStatus::Success) return failure_;
      if (!io_busy_ && (was_woken || !is_next_flush_due_)) return flush_once_locked();
      waiters = &waiters_[(flush_number_ + (*target <= flush_cut_ ? 0 : 1)) % 2];
      ++waiters->count;
      calls = waiters->calls.load(std::memory_order_relaxed);
    }
    waiters->calls.wait(calls, std::memory_order_acquire);
    if (durable_.load(std::memory_order_acquire) >= target->raw()) return {};
  }
}

/// Writes everything appended until now. The lock is given up meanwhile.
Result<> LogFile::flush_once_locked() {
  acquire_io_locked();
  is_next_flush_due_ = false;
  const uint64_t free = free_bytes_locked();
  seal_locked();
  if (free_bytes_locked() < free) spend_held_locked(0, free - free_bytes_locked());
  complete_page_locked();
  const FlushSet set = collect_locked();
  ++flush_number_;
  flush_cut_ = set.cut;
  Waiters& served = waiters_[flush_number_ % 2];
  mutex_.unlock();
  const Result<> written = write_set(set);
  mutex_.lock();
  if (written) {
    retire_locked(set);
  } else {
    failure_ = written.error();
  }
  served.count = 0;
  served.calls.fetch_add(1, std::memory_order_release);
  release_io_locked();
  // Without the lock, which those who are woken need for their next records.
  mutex_.unlock();
  served.calls.notify_all();
  mutex_.lock();
  return written.has_value() ? Result<>() : Result<>(written.error());
}

/// Where full pages go out, the open one is filled up and goes with them: one durable write less.
/// It goes to a tail slot all the same where ntfsrecover would not find it from the last tail copy,
/// or other replayers too late (log_format.md).
void LogFile::complete_page_locked() {
  if (kind_ == LogKind::Private) return;
  uint64_t pages = 0;
  for (Chunk& chunk : chunks_) {
    for (size_t i = chunk.written; i < chunk.pages; ++i, ++pages) {
      const auto& header = struct_at<RecordPageHeader>(chunk.page(i));
      if ((header.flags.get() & kPageRecordEnd) == 0) has_covered_page_ = true;
    }
  }
  // The last page of a log that is being closed stays open.
  const bool is_closing = scan_start_ == last_lsn_;
  if (!has_open_page_ || is_closing || has_covered_page_) return;
  const uint64_t room = room_locked();
  const bool fits = room >= kRecordHeaderSize + align_up(filler_.size(), 8) &&
                    room + kRecordHeaderSize <= available_locked();
  const bool is_near = pages_since_tail_ + pages <= geometry_.record_pages() / kTailDistance;
  // A page of which an older version is elsewhere goes by itself anyway.
  const bool saves_a_write = pages > (has_older_version_ ? 2 : 1);
  if (saves_a_write && fits && is_near) fill_page_locked();
}

LogFile::FlushSet LogFile::collect_locked() {
  FlushSet set;
  set.cut = last_lsn_;
  set.end = next_locked();
  queued_end_ = std::max(queued_end_, set.end);
  set.appended_bytes = appended_bytes_;
  bool older_version = has_older_version_;
  bool wrapped = false;
  for (size_t c = 0; c < chunks_.size(); ++c) {
    Chunk& chunk = chunks_[c];
    const bool holds_open_page = has_open_page_ && c + 1 == chunks_.size();
    const size_t full = chunk.pages - (holds_open_page ? 1 : 0);
    for (size_t i = chunk.written; i < full; ++i) {
      const uint64_t offset = chunk.first_offset + i * kPageSize;
      protect(chunk.page(i));
      if (older_version) {
        set.first.push_back({offset, chunk.page(i)});
      } else {
        wrapped = wrapped || (offset == geometry_.first_record_offset() && set.full_pages != 0);
        add_page(wrapped ? set.after : set.before, offset, chunk.page(i));
      }
      older_version = false;
      ++set.full_pages;
    }
    chunk.sealed = full;
  }
  if (has_open_page_) {
    const Chunk& chunk = chunks_.back();
    set.has_tail = true;
    open_page_offset_ = chunk.first_offset + (chunk.pages - 1) * kPageSize;
    snapshot_locked(tail_page_.bytes());
  }
  return set;
}

void LogFile::snapshot_locked(MutableBytes into) {
  const MutableBytes page = open_page_locked();
  std::copy(page.begin(), page.end(), into.begin());
}

/// The pages of `set` are durable: forgets those in place.
void LogFile::retire_locked(const FlushSet& set) {
  uint64_t left = set.full_pages;
  for (Chunk& chunk : chunks_) {
    const uint64_t count = std::min<uint64_t>(left, chunk.pages - chunk.written);
    chunk.written += count;
    left -= count;
  }
  ASSERT(left == 0);
  // The page that was open is the first unwritten one now, full or not.
  has_older_version_ = set.has_tail || (set.full_pages == 0 && has_older_version_);
  pages_since_tail_ = set.has_tail ? 0 : pages_since_tail_ + set.full_pages;
  if (set.has_tail) has_covered_page_ = false;
  durable_lsn_ = set.cut;
  durable_.store(set.cut.raw(), std::memory_order_release);
  durable_end_ = set.end;
  durable_bytes_ = set.appended_bytes;
  is_pending_ = last_lsn_ > durable_lsn_;
  pending_since_ = std::chrono::steady_clock::now();
  recycle_locked();
}

void LogFile::recycle_locked() {
  while (!chunks_.empty()) {
    Chunk& chunk = chunks_.front();
    const bool may_grow = chunks_.size() == 1 && chunk.pages < kChunkPages;
    if (chunk.written < chunk.pages || may_grow) return;
    if (spare_.size() < kMaximumSpares) spare_.push_back(std::move(chunk.memory));
    chunks_.pop_front();
  }
}

// The order keeps every state that a crash can leave readable by ntfs3 and ntfsrecover; see
// lfs/log_format.md "Writing".
Result<> LogFile::write_set(const FlushSet& set) {
  for (const auto* writes : {&set.first, &set.before, &set.after}) {
    if (writes->empty()) continue;
    TRY(store_.write_durable(*writes));
  }
  if (set.has_tail) TRY(write_tail(open_page_offset_));
  trace(TraceEvent::LogFlush, set.cut.raw(), set.full_pages);
  return {};
}

/// Makes the page in tail_page_ a tail copy of the page at `target_offset`.
void LogFile::make_tail_copy(uint64_t target_offset) {
  auto& header = struct_at<RecordPageHeader>(tail_page_.bytes());
  header.last_lsn.set(target_offset);
  header.update_sequence_array[0].set(tail_update_sequence_);
  protect(tail_page_.bytes());
  tail_update_sequence_ = header.update_sequence_array[0].get();
}

Result<> LogFile::write_tail(uint64_t target_offset) {
  make_tail_copy(target_offset);
  const LogWrite write{kTailSlotOffset + tail_slot_ * kPageSize, tail_page_.bytes()};
  TRY(store_.write_durable({&write, 1}));
  tail_slot_ = 1 - tail_slot_;
  return {};
}

// ---- By policy ----------------------------------------------------------------------------------

void LogFile::start_flusher() {
  flusher_ = std::thread([this] { flush_by_policy(); });
}

void LogFile::note_pending_locked() {
  if (!policy_) return;
  if (!is_pending_) pending_since_ = std::chrono::steady_clock::now();
  const bool is_due = appended_bytes_ - durable_bytes_ >= policy_->threshold_bytes;
  if (!is_pending_ || is_due) flush_due_.notify_one();
  is_pending_ = true;
}

void LogFile::queue_flush() {
  MutexLock lock(mutex_);
  queued_end_ = next_locked();
  flush_due_.notify_one();
}

/// How long what was appended may still wait; zero: no longer.
std::chrono::milliseconds LogFile::time_to_flush_locked() const {
  constexpr std::chrono::milliseconds kNever{60000};
  if (failure_ != NtStatus::Success || durable_lsn_ >= last_lsn_) return kNever;
  const bool is_due =
      queued_end_ > durable_end_ || appended_bytes_ - durable_bytes_ >= policy_->threshold_bytes;
  if (is_due) return {};
  const auto age = std::chrono::steady_clock::now() - pending_since_;
  if (age >= policy_->maximum_delay) return {};
  return std::chrono::ceil<std::chrono::milliseconds>(policy_->maximum_delay - age);
}

/// The thread of a private log. A failed write poisons the log; everybody sees that.
void LogFile::flush_by_policy() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const auto time = time_to_flush_locked();
    if (time.count() == 0) {
      static_cast<void>(flush_once_locked());
    } else {
      flush_due_.wait_for(mutex_, time);
    }
  }
}

// ---- Restart pages ------------------------------------------------------------------------------

RestartPage LogFile::restart_page_locked() const {
  RestartPage page;
  page.kind = kind_;
  page.major_version = 1;
  page.minor_version = 1;
  page.current_lsn = scan_start_;
  page.last_lsn_data_length = static_cast<uint32_t>(scan_start_bytes_);
  page.file_size = geometry_.file_size();
  page.sequence_number_bits = geometry_.sequence_number_bits();
  page.open_log_count = open_log_count_;
  if (kind_ == LogKind::Volume) {
    page.has_client = true;
    page.oldest_lsn = clients_[0].base;
    page.client_restart_lsn = clients_[0].restart;
    return page;
  }
  // Bases move without restart records here; no search may begin before them.
  if (durable_lsn_ > scan_start_) {
    page.current_lsn = durable_lsn_;
    page.last_lsn_data_length = 0;
  }
  for (const Client& client : clients_) {
    page.clients.push_back({client.name, client.base, client.restart});
  }
  return page;
}

void LogFile::make_restart_page(RestartPage content) {
  content.update_sequence_number = restart_update_sequence_;
  content.serialize(restart_buffer_.bytes());
  restart_update_sequence_ =
      struct_at<RestartPageHeader>(restart_buffer_.bytes()).update_sequence_array.get();
}

Result<> LogFile::write_restart_page(size_t index, const RestartPage& content) {
  make_restart_page(content);
  const LogWrite write{index * kPageSize, restart_buffer_.bytes()};
  TRY(store_.write_durable({&write, 1}));
  restart_index_ = 1 - index;
  return {};
}

/// An empty log is told by its 0xFF; with the later sectors of a restart page alone it would be a
/// damaged one, which nobody mounts. So the first sector, which has all that matters, goes ahead.
Result<> LogFile::write_first_sector(const RestartPage& content) {
  make_restart_page(content);
  const MutableBytes rest = restart_buffer_.bytes().subspan(kSequenceStride);
  std::fill(rest.begin(), rest.end(), std::byte{0xFF});
  const LogWrite write{0, restart_buffer_.bytes()};
  return store_.write_durable({&write, 1});
}

Result<Appended> LogFile::write_restart(uint16_t client, std::span<const ByteView> parts,
                                        Lsn new_base, const SpaceChange& given_up) {
  const uint64_t data_bytes = Record{0, Lsn(), Lsn(), parts}.data_bytes();
  const bool volume = kind_ == LogKind::Volume;
  if (data_bytes > (volume ? kMaximumRestartRecord : kMaximumPrivateRestartRecord)) {
    return NtStatus::InvalidParameter;
  }
  ASSERT(!volume || (data_bytes % 8 == 0 && data_bytes != 0));
  const MutexLock restart_lock(restart_mutex_);
  Appended result;
  {
    MutexLock lock(mutex_);
    if (failure_ != NtStatus::Success) return failure_;
    const Client& owner = clients_[client];
    if (new_base.is_none()) {
      new_base = owner.base;
    } else if (new_base < owner.base || new_base > owner.last) {
      return NtStatus::LogTailInvalid;
    }
    // It may have to go into the next page: what is left of this one counts.
    const uint64_t most = 2 * plain_record_cost(data_bytes) + kRecordHeaderSize +
                          (volume ? kSealBytes + kRecordHeaderSize + kMaximumFiller : 0);
    if (most > given_up.given_up_bytes + owner.held_bytes + available_locked()) {
      return NtStatus::LogFileFull;
    }
    const uint64_t free = free_bytes_locked();
    result.lsn =
        append_restart_locked(client, parts, owner.restart >= new_base ? owner.restart : Lsn());
    result.next = next_locked();
    const uint64_t spent = free - std::min(free, free_bytes_locked());
    change_locked(client, given_up);
    spend_held_locked(client, spent - std::min(spent, given_up.given_up_bytes));
  }
  if (!flush_to(result.lsn)) return NtStatus::LogAppendedFlushFailed;

  MutexLock lock(mutex_);
  Client& owner = clients_[client];
  owner.restart = scan_start_ = result.lsn;
  owner.base = std::max(owner.base, new_base);
  scan_start_bytes_ = data_bytes;
  // The other page pins the log from the checkpoint before on. Where that is much, it is rewritten
  // as well: the space is free at once and not after one more checkpoint.
  if (!write_restart_pages_locked(geometry_.record_pages() / 4)) {
    return NtStatus::LogAppendedFlushFailed;
  }
  return result;
}

/// Makes bases durable that were advanced in memory. Both pages: they carry the current LSN of a
/// page that may be there already, and of two that carry the same the first one counts.
Result<> LogFile::write_bases() {
  const MutexLock restart_lock(restart_mutex_);
  TRY(flush_to(last_lsn()));
  MutexLock lock(mutex_);
  return write_restart_pages_locked(0);
}

/// The older restart page, then the other one if at least `least_used` pages are in use. The lock
/// is given up meanwhile.
Result<> LogFile::write_restart_pages_locked(uint64_t least_used) {
  acquire_io_locked();
  const RestartPage page = restart_page_locked();
  const Lsn oldest = oldest_base_locked();
  NtStatus failure = failure_;
  for (int round = 0; round < 2 && failure == NtStatus::Success; ++round) {
    if (round == 1 && used_pages_locked() < least_used) break;
    const size_t index = restart_index_;
    mutex_.unlock();
    const Result<> written = write_restart_page(index, page);
    mutex_.lock();
    if (written) {
      page_oldest_[index] = oldest;
    } else {
      failure = failure_ = written.error();
    }
  }
  refill_held_locked();
  release_io_locked();
  return failure == NtStatus::Success ? Result<>() : Result<>(failure);
}

Result<> LogFile::close(ByteView client_restart_record) {
  RestartPage page;
  Lsn lsn;
  {
    MutexLock lock(mutex_);
    if (failure_ != NtStatus::Success) return failure_;
    // Nothing before the last record is needed any more.
    clients_[0].base = last_lsn_;
    lsn = append_restart_locked(0, {&client_restart_record, 1}, Lsn());
    clients_[0].restart = scan_start_ = lsn;
    scan_start_bytes_ = client_restart_record.size();
    page = restart_page_locked();
    page.flags = kRestartCleanDismount;
  }
  TRY(flush_to(lsn));

  MutexLock lock(mutex_);
  acquire_io_locked();
  if (failure_ != NtStatus::Success) {
    release_io_locked();
    return failure_;
  }
  ASSERT(last_lsn_ == lsn && has_open_page_);  // close() comes after the last append
  snapshot_locked(home_page_.bytes());
  snapshot_locked(tail_page_.bytes());
  open_page_offset_ = chunks_.back().first_offset + (chunks_.back().pages - 1) * kPageSize;
  failure_ = NtStatus::FileClosed;
  mutex_.unlock();
  Result<> written = write_final_pages();
  for (int i = 0; i < 2 && written; ++i) written = write_restart_page(restart_index_, page);
  mutex_.lock();
  if (!written) failure_ = written.error();
  release_io_locked();
  return written;
}

Result<> LogFile::close_private() {
  const MutexLock restart_lock(restart_mutex_);
  TRY(flush_to(last_lsn()));
  MutexLock lock(mutex_);
  acquire_io_locked();
  if (failure_ != NtStatus::Success) {
    release_io_locked();
    return failure_;
  }
  RestartPage page = restart_page_locked();
  page.flags = kRestartCleanDismount;
  failure_ = NtStatus::FileClosed;
  mutex_.unlock();
  Result<> written;
  for (int i = 0; i < 2 && written; ++i) written = write_restart_page(restart_index_, page);
  mutex_.lock();
  if (!written) failure_ = written.error();
  release_io_locked();
  return written;
}

/// The open page in place and in the tail slot that does not hold it yet: everybody who looks at
/// the closed log finds the same.
Result<> LogFile::write_final_pages() {
  protect(home_page_.bytes());
  make_tail_copy(open_page_offset_);
  const std::array<LogWrite, 2> writes = {
      LogWrite{open_page_offset_, home_page_.bytes()},
      LogWrite{kTailSlotOffset + tail_slot_ * kPageSize, tail_page_.bytes()}};
  return store_.write_durable(writes);
}

// ---- Reading back -------------------------------------------------------------------------------

Result<LogFile::PageState> LogFile::read_page(uint64_t offset, MutableBytes into) {
  {
    MutexLock lock(mutex_);
    // Newest first: a chunk that is all written may still hold the page's last lap.
    for (size_t c = chunks_.size(); c-- > 0;) {
      Chunk& chunk = chunks_[c];
      if (offset < chunk.first_offset || offset >= chunk.first_offset + chunk.pages * kPageSize) {
        continue;
      }
      const size_t index = (offset - chunk.first_offset) / kPageSize;
      const MutableBytes page = chunk.page(index);
      std::copy(page.begin(), page.end(), into.begin());
      if (index < chunk.sealed) ASSERT(try_unprotect(into));
      const bool is_last = c + 1 == chunks_.size() && index + 1 == chunk.pages;
      return is_last && has_open_page_ ? PageState::Open : PageState::Full;
    }
  }
  TRY(store_.read(offset, into));
  const auto& signature = struct_at<MultiSectorHeader>(into).signature;
  const bool is_page = std::string_view(signature.data(), signature.size()) == "RCRD";
  return is_page && try_unprotect(into) ? PageState::Full : PageState::Missing;
}

}  // namespace ntfs::lfs
