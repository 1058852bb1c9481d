// The part of LogFile that writes: flushes, checkpoints and the clean close.

#include <algorithm>

#include "core/base/trace.h"
#include "lfs/log_file.h"

namespace ntfs::lfs {

namespace {

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

void LogFile::release_io_locked() {
  io_busy_ = false;
  io_done_.notify_all();
}

Result<> LogFile::flush_to(Lsn lsn) {
  MutexLock lock(mutex_);
  const Lsn target = std::min(lsn, last_lsn_);
  while (true) {
    if (failure_ != NtStatus::Success && failure_ != NtStatus::FileClosed) return failure_;
    if (durable_lsn_ >= target) return {};
    if (failure_ != NtStatus::Success) return failure_;
    if (!io_busy_) break;
    io_done_.wait(mutex_);  // whoever is writing may write ours, too
  }
  return flush_once_locked();
}

/// Writes everything appended until now. The lock is given up meanwhile.
Result<> LogFile::flush_once_locked() {
  acquire_io_locked();
  seal_locked();
  const FlushSet set = collect_locked();
  mutex_.unlock();
  const Result<> written = write_set(set);
  mutex_.lock();
  if (written) {
    retire_locked(set);
  } else {
    failure_ = written.error();
  }
  release_io_locked();
  return written.has_value() ? Result<>() : Result<>(written.error());
}

LogFile::FlushSet LogFile::collect_locked() {
  FlushSet set;
  set.cut = last_lsn_;
  set.appended_bytes = appended_bytes_;
  bool older_version = has_older_version_;
  bool wrapped = false;
  for (size_t c = 0; c < chunks_.size(); ++c) {
    Chunk& chunk = chunks_[c];
    const bool holds_open_page = has_open_page_ && c + 1 == chunks_.size();
    const size_t full = chunk.pages - (holds_open_page ? 1 : 0);
    for (size_t i = chunk.written; i < full; ++i) {
      const uint64_t offset = chunk.first_offset + i * kPageSize;
      if (older_version) {
        set.first.push_back({offset, chunk.page(i)});
      } else {
        wrapped = wrapped || (offset == geometry_.first_record_offset() && set.full_pages != 0);
        add_page(wrapped ? set.after : set.before, offset, chunk.page(i));
      }
      older_version = false;
      ++set.full_pages;
    }
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
  durable_lsn_ = set.cut;
  durable_bytes_ = set.appended_bytes;
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
    for (const LogWrite& write : *writes) {
      // Full pages belong to the flush alone: nobody reads or changes them any more.
      const MutableBytes bytes(const_cast<std::byte*>(write.bytes.data()), write.bytes.size());
      for (uint64_t at = 0; at < bytes.size(); at += kPageSize) {
        protect(bytes.subspan(at, kPageSize));
      }
    }
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

// ---- Restart pages ------------------------------------------------------------------------------

RestartPage LogFile::restart_page(Lsn restart_lsn, Lsn oldest, uint64_t data_bytes) const {
  RestartPage page;
  page.major_version = 1;
  page.minor_version = 1;
  page.has_client = true;
  page.current_lsn = restart_lsn;
  page.oldest_lsn = oldest;
  page.client_restart_lsn = restart_lsn;
  page.file_size = geometry_.file_size();
  page.sequence_number_bits = geometry_.sequence_number_bits();
  page.last_lsn_data_length = static_cast<uint32_t>(data_bytes);
  page.open_log_count = open_log_count_;
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

Result<Lsn> LogFile::write_restart(ByteView client_restart_record, Lsn new_oldest) {
  Lsn lsn;
  {
    MutexLock lock(mutex_);
    if (failure_ != NtStatus::Success) return failure_;
    lsn = append_restart_locked(client_restart_record);
    ASSERT(new_oldest <= lsn && new_oldest >= std::max(page_oldest_[0], page_oldest_[1]));
  }
  TRY(flush_to(lsn));
  const RestartPage page = restart_page(lsn, new_oldest, client_restart_record.size());

  MutexLock lock(mutex_);
  acquire_io_locked();
  NtStatus failure = failure_;
  // The other page pins the log from the checkpoint before on. Where that is much, it is rewritten
  // as well: the space is free at once and not after one more checkpoint.
  for (int round = 0; round < 2 && failure == NtStatus::Success; ++round) {
    if (round == 1 && used_pages_locked() < geometry_.record_pages() / 4) break;
    const size_t index = restart_index_;
    mutex_.unlock();
    const Result<> written = write_restart_page(index, page);
    mutex_.lock();
    if (written) {
      page_oldest_[index] = new_oldest;
    } else {
      failure = failure_ = written.error();
    }
  }
  release_io_locked();
  if (failure != NtStatus::Success) return failure;
  return lsn;
}

Result<> LogFile::close(ByteView client_restart_record) {
  RestartPage page;
  Lsn lsn;
  {
    MutexLock lock(mutex_);
    if (failure_ != NtStatus::Success) return failure_;
    // Nothing before the last record is needed any more.
    const Lsn oldest = last_lsn_;
    lsn = append_restart_locked(client_restart_record);
    page = restart_page(lsn, oldest, client_restart_record.size());
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

}  // namespace ntfs::lfs
