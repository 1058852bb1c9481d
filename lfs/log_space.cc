// The part of LogFile that keeps account: what is used, reserved and free, and who may append.

#include <algorithm>

#include "lfs/log_file.h"

namespace ntfs::lfs {

namespace {

/// Record pages that stay between the newest page and the oldest one that is needed.
constexpr uint64_t kSlackPages = 4;
constexpr uint64_t kMaximumPrivateRecord = uint64_t{1} << 20;

}  // namespace

uint64_t LogFile::maximum_record_bytes() const {
  if (kind_ == LogKind::Volume) return kMaximumClientData;
  return std::min(kMaximumPrivateRecord, geometry_.record_pages() * kPageDataSize / 4);
}

/// What restart pages on the device pin.
Lsn LogFile::base_locked() const { return std::min(page_oldest_[0], page_oldest_[1]); }

/// What the streams pin.
Lsn LogFile::oldest_base_locked() const {
  Lsn oldest = next_locked();
  for (const Client& client : clients_) oldest = std::min(oldest, client.base);
  return oldest;
}

/// From the page of the oldest LSN to the page started last, both included.
uint64_t LogFile::used_pages_locked() const {
  const uint64_t base = LogGeometry::page_of(geometry_.offset_of(base_locked()));
  const uint64_t span = geometry_.file_size() - geometry_.first_record_offset();
  return (next_offset_ + span - base) % span / kPageSize;
}

// A page whose records end with less than a header's room wastes that room; so a whole page counts
// for its data less one header, and the open one likewise. With this, records of `cost` bytes
// altogether always fit where `cost` bytes are free (log_format.md, "Space"). Fillers that are due
// are counted as if they were there.
uint64_t LogFile::free_bytes_locked() const {
  const uint64_t used = used_pages_locked() + kSlackPages;
  const uint64_t pages = geometry_.record_pages() - std::min(geometry_.record_pages(), used);
  const uint64_t room = room_locked();
  const uint64_t bytes = pages * (kPageDataSize - kRecordHeaderSize) +
                         (room > kRecordHeaderSize ? room - kRecordHeaderSize : 0);
  const bool seal_is_due = kind_ == LogKind::Volume && follows_covered_page_;
  return bytes - std::min(bytes, seal_is_due ? kSealBytes : 0);
}

uint64_t LogFile::available_locked() const {
  const uint64_t free = free_bytes_locked();
  return free - std::min(free, reserved_bytes_);
}

uint64_t LogFile::checkpoint_bytes_locked() const {
  uint64_t bytes = 0;
  for (const Client& client : clients_) bytes += client.checkpoint_bytes;
  return bytes;
}

uint64_t LogFile::capacity_bytes() const {
  MutexLock lock(mutex_);
  return capacity_locked();
}

uint64_t LogFile::capacity_locked() const {
  const uint64_t pages = geometry_.record_pages() - kSlackPages;
  return pages * (kPageDataSize - kRecordHeaderSize) - checkpoint_bytes_locked();
}

uint64_t LogFile::used_bytes() const {
  MutexLock lock(mutex_);
  return used_locked();
}

uint64_t LogFile::used_locked() const {
  const uint64_t capacity = capacity_locked();
  const uint64_t free = free_bytes_locked();
  return capacity - std::min(capacity, free - std::min(free, checkpoint_bytes_locked()));
}

SpaceInfo LogFile::info(uint16_t client) const {
  MutexLock lock(mutex_);
  const Client& owner = clients_[client];
  SpaceInfo info;
  info.total_bytes = capacity_locked();
  info.available_bytes = available_locked();
  info.used_bytes = used_locked();
  info.reserved_bytes = owner.reserved_bytes;
  info.reserved_records = owner.reserved_records;
  info.abandoned_records = owner.abandoned_records;
  info.base = owner.base;
  info.last = owner.last;
  info.newest_restart = owner.restart;
  return info;
}

void LogFile::count_abandoned(uint16_t client, uint32_t records) {
  MutexLock lock(mutex_);
  clients_[client].abandoned_records += records;
}

void LogFile::change_locked(uint16_t client, const SpaceChange& change) {
  Client& owner = clients_[client];
  owner.reserved_bytes = owner.reserved_bytes - change.given_up_bytes + change.taken_bytes;
  owner.reserved_records = owner.reserved_records - change.given_up_records + change.taken_records;
  reserved_bytes_ = reserved_bytes_ - change.given_up_bytes + change.taken_bytes;
}

/// Takes `bytes` that were used out of what is held for checkpoints.
void LogFile::spend_held_locked(uint16_t client, uint64_t bytes) {
  Client& owner = clients_[client];
  const uint64_t spent = std::min(owner.held_bytes, bytes);
  owner.held_bytes -= spent;
  reserved_bytes_ -= spent;
}

/// Space may have become free: what was spent of the rooms for checkpoints comes first.
void LogFile::refill_held_locked() {
  for (Client& client : clients_) {
    const uint64_t bytes =
        std::min(client.checkpoint_bytes - client.held_bytes, available_locked());
    client.held_bytes += bytes;
    reserved_bytes_ += bytes;
  }
}

Result<Appended> LogFile::execute(uint16_t client, const Record* record,
                                  const SpaceChange& change) {
  const uint64_t data_bytes = record != nullptr ? record->data_bytes() : 0;
  const uint64_t cost = record != nullptr ? cost_of(data_bytes) : 0;
  ASSERT(data_bytes <= maximum_record_bytes());
  const auto run_locked = [&]() REQUIRES(mutex_) -> Result<Appended> {
    if (failure_ != NtStatus::Success) return failure_;
    const Client& owner = clients_[client];
    if (record != nullptr && std::max(record->previous, record->undo_next) > owner.last) {
      return NtStatus::InvalidParameter;
    }
    ASSERT(change.given_up_bytes <= owner.reserved_bytes &&
           change.given_up_records <= owner.reserved_records);
    // What is given up pays first, so that a reserved record never meets a full log.
    if (change.taken_bytes + cost > change.given_up_bytes + available_locked()) {
      return NtStatus::LogFileFull;
    }
    Appended result;
    if (record != nullptr) {
      result.lsn = append_locked(client, RecordType::Client, *record, data_bytes);
    }
    change_locked(client, change);
    result.next = next_locked();
    if (record != nullptr) note_pending_locked();
    return result;
  };

  MutexLock lock(mutex_);
  const std::thread::id self = std::this_thread::get_id();
  // Nobody takes the room that another thread makes for itself.
  if (change.taken_bytes + cost > change.given_up_bytes) {
    while (room_maker_ != std::thread::id() && room_maker_ != self) room_made_.wait(mutex_);
  }
  Result<Appended> done = run_locked();
  if (kind_ == LogKind::Volume || done || done.error() != NtStatus::LogFileFull) return done;
  const bool is_in_handler = room_maker_ == self;
  room_maker_ = self;
  for (const bool ask : {false, true}) {
    mutex_.unlock();
    const Result<> made = make_room(ask, is_in_handler);
    mutex_.lock();
    done = made ? run_locked() : Result<Appended>(made.error());
    if (done || done.error() != NtStatus::LogFileFull) break;
  }
  if (!is_in_handler) {
    room_maker_ = std::thread::id();
    room_made_.notify_all();
  }
  return done;
}

/// Writes bases that only memory knows; before that asks the handler, if `ask`.
Result<> LogFile::make_room(bool ask, bool is_in_handler) {
  if (ask) {
    if (!full_handler_) return NtStatus::LogFileFull;
    if (is_in_handler) return NtStatus::LogFullHandlerInProgress;
    full_handler_();
  }
  {
    MutexLock lock(mutex_);
    if (oldest_base_locked() <= base_locked()) return {};
  }
  return write_bases();
}

void LogFile::release(uint16_t client, const SpaceChange& change) {
  MutexLock lock(mutex_);
  ASSERT(change.given_up_bytes <= clients_[client].reserved_bytes);
  change_locked(client, change);
  refill_held_locked();
}

Result<> LogFile::advance_base(uint16_t client, Lsn new_base) {
  MutexLock lock(mutex_);
  Client& owner = clients_[client];
  if (new_base < owner.base || new_base > owner.last) return NtStatus::LogTailInvalid;
  owner.base = new_base;
  return {};
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

Lsn LogFile::next_lsn() const {
  MutexLock lock(mutex_);
  return next_locked();
}

Lsn LogFile::durable_end() const {
  MutexLock lock(mutex_);
  return durable_end_;
}

Lsn LogFile::queued_end() const {
  MutexLock lock(mutex_);
  return queued_end_;
}

bool LogFile::is_failed() const {
  MutexLock lock(mutex_);
  return failure_ != NtStatus::Success && failure_ != NtStatus::FileClosed;
}

}  // namespace ntfs::lfs
