#include "core/fsa/stream_state.h"

#include <algorithm>

namespace ntfs {

namespace {

/// After all locks are released: whoever is told may call the store.
void tell(const std::vector<PendingLock*>& waiters, NtStatus status) {
  for (PendingLock* waiter : waiters) waiter->complete(status);
}

void tell(DirectoryWatches::Completions& completions) {
  for (auto& each : completions) each.request->complete(each.status, std::move(each.events));
}

}  // namespace

// Opens. C16: MS-FSA 2.1.5.1.2.2 "Algorithm to Check Sharing Access to an Existing Stream or
// Directory".

namespace {

/// What others have to share with an open of that access; nothing: it does not take part.
uint32_t shares_needed(uint32_t access) {
  uint32_t needed = 0;
  if ((access & (AccessMask::ReadData | AccessMask::Execute)) != 0) needed |= ShareAccess::Read;
  if ((access & (AccessMask::WriteData | AccessMask::AppendData)) != 0) {
    needed |= ShareAccess::Write;
  }
  if ((access & AccessMask::Delete) != 0) needed |= ShareAccess::Delete;
  return needed;
}

bool is_shared_between(const Open& one, const Open& other) {
  const uint32_t needs = shares_needed(one.granted_access());
  const uint32_t others_needs = shares_needed(other.granted_access());
  if (needs == 0 || others_needs == 0) return true;
  return (needs & ~other.share_access()) == 0 && (others_needs & ~one.share_access()) == 0;
}

}  // namespace

bool StreamState::try_admit(const Open& open) {
  const MutexLock lock(mutex_);
  const bool is_admitted = std::all_of(opens_.begin(), opens_.end(), [&](const Open* other) {
    return is_shared_between(open, *other);
  });
  if (is_admitted) opens_.push_back(&open);
  return is_admitted;
}

Result<> StreamState::admit(const Open& open) {
  if (try_admit(open)) return {};
  TRY(break_oplock(&open, OplockOperation::OpenBreakHandle));
  return try_admit(open) ? Result<>() : NtStatus::SharingViolation;
}

Result<> StreamState::check_removal() {
  const MutexLock lock(mutex_);
  const bool is_shared = std::all_of(opens_.begin(), opens_.end(), [](const Open* open) {
    return shares_needed(open->granted_access()) == 0 ||
           (open->share_access() & ShareAccess::Delete) != 0;
  });
  return is_shared ? Result<>() : NtStatus::SharingViolation;
}

void StreamState::remove(const Open& open) {
  OplockEffects effects;
  std::vector<PendingLock*> cancelled;
  std::vector<PendingLock*> granted;
  DirectoryWatches::Completions watches;
  for (bool is_removed = false; !is_removed;) {
    // Whoever is being told of a break may answer by this open: that comes first.
    wait_until_told();
    const ExclusiveLock passage(passage_);
    const MutexLock lock(mutex_);
    if (count_telling_ != 0) continue;
    std::erase(opens_, &open);
    oplock_.close(open.oplock_owner_, effects);
    note_effects(effects);
    locks_.unlock_all(open);
    cancelled = locks_.withdraw_all(open);
    granted = locks_.grant_waiting();
    watches_.close(open, watches);
    note_state();
    is_removed = true;
  }
  deliver(effects);
  tell(cancelled, NtStatus::Cancelled);
  tell(granted, NtStatus::Success);
  tell(watches);
}

void StreamState::wait_until_told() {
  const MutexLock lock(mutex_);
  while (count_telling_ != 0) told_.wait(mutex_);
}

/// After all locks are released: whoever is told may call the store.
void StreamState::deliver(const OplockEffects& effects) {
  if (effects.completions.empty()) return;
  for (const auto& [request, notice] : effects.completions) request->complete(notice);
  const MutexLock lock(mutex_);
  if (--count_telling_ == 0) told_.notify_all();
}

void StreamState::note_state() {
  has_locks_ = !locks_.empty();
  has_oplock_ = !oplock_.empty();
}

// Byte-range locks.

Result<> StreamState::lock(const ByteRangeLock& wanted, PendingLock* waiter, BreaksOplock breaks) {
  for (;;) {
    Break begun;
    std::optional<Result<>> done;
    std::vector<PendingLock*> granted;
    {
      // No oplock is granted between the break and the lock.
      const ExclusiveLock passage(passage_);
      const MutexLock lock(mutex_);
      if (breaks == BreaksOplock::Yes) {
        begin_break(wanted.owner, OplockOperation::LockControl, begun);
      }
      if (begun.empty()) {
        done = locks_.lock(wanted, waiter);
        // Linux: it may have taken the place of a stronger one.
        if (*done) granted = locks_.grant_waiting();
        note_state();
      }
    }
    tell(granted, NtStatus::Success);
    if (done) return *done;
    TRY(finish_break(begun));
  }
}

Result<> StreamState::unlock(const ByteRangeLock& held) {
  std::vector<PendingLock*> granted;
  {
    const ExclusiveLock passage(passage_);
    const MutexLock lock(mutex_);
    TRY(locks_.unlock(held));
    granted = locks_.grant_waiting();
    note_state();
  }
  tell(granted, NtStatus::Success);
  return {};
}

void StreamState::unlock_part(uint64_t offset, uint64_t length, LockKey key) {
  std::vector<PendingLock*> granted;
  {
    const ExclusiveLock passage(passage_);
    const MutexLock lock(mutex_);
    locks_.unlock_part(offset, length, key);
    granted = locks_.grant_waiting();
    note_state();
  }
  tell(granted, NtStatus::Success);
}

std::optional<ByteRangeLock> StreamState::conflict_with(const ByteRangeLock& wanted) {
  const MutexLock lock(mutex_);
  return locks_.conflict_with(wanted);
}

void StreamState::cancel(PendingLock& waiter) {
  std::vector<PendingLock*> granted;
  {
    const ExclusiveLock passage(passage_);
    const MutexLock lock(mutex_);
    if (!locks_.withdraw(waiter)) return;
    // Others may have waited behind it alone.
    granted = locks_.grant_waiting();
    note_state();
  }
  waiter.complete(NtStatus::Cancelled);
  tell(granted, NtStatus::Success);
}

// Oplocks.

Result<OplockSituation> StreamState::situation(const Open& open) {
  OplockSituation result;
  result.is_directory = open.is_directory();
  result.is_synchronous = open.is_synchronous();
  result.is_deleted = open.file()->is_unlinked();
  if (!open.is_directory() && !locks_.empty()) {
    result.has_range_lock = locks_.has_lock_below(TRY(open.stream().sizes()).mapped);
  }
  result.is_sole_open = opens_.size() == 1;
  const OplockKey key = open.oplock_owner_.target_key;
  result.others_share_key = std::all_of(opens_.begin(), opens_.end(), [&](const Open* other) {
    return other == &open || (!key.empty() && other->oplock_owner_.target_key == key);
  });
  return result;
}

Result<> StreamState::request_oplock(const Open& open, OplockLevel level, OplockRequest& request) {
  return change_oplock(&Oplock::request, open, level, request);
}

Result<> StreamState::acknowledge_oplock_break(const Open& open, OplockLevel level,
                                               OplockRequest& request) {
  return change_oplock(&Oplock::acknowledge, open, level, request);
}

Result<> StreamState::change_oplock(OplockChange change, const Open& open, OplockLevel level,
                                    OplockRequest& request) {
  OplockEffects effects;
  {
    const ExclusiveLock passage(passage_);
    const MutexLock lock(mutex_);
    const OplockSituation now = TRY(situation(open));
    TRY((oplock_.*change)(open.oplock_owner_, level, request, now, effects));
    note_effects(effects);
    note_state();
  }
  deliver(effects);
  return {};
}

void StreamState::note_effects(const OplockEffects& effects) {
  if (!effects.completions.empty()) ++count_telling_;
  if (effects.released.empty()) return;
  for (OplockWait* wait : effects.released) static_cast<Wait*>(wait)->is_over = true;
  released_.notify_all();
}

void StreamState::begin_break(const Open* open, OplockOperation operation, Break& begun) {
  begun.wait.open = open;
  if (open != nullptr) begun.wait.owner = &open->oplock_owner_;
  begun.waits = oplock_.check(operation, begun.wait, begun.effects);
  note_effects(begun.effects);
  has_oplock_ = !oplock_.empty();
}

Result<> StreamState::finish_break(Break& begun) {
  deliver(begun.effects);
  if (!begun.waits) return {};
  const MutexLock lock(mutex_);
  while (!begun.wait.is_over) released_.wait(mutex_);
  return begun.wait.is_cancelled ? NtStatus::Cancelled : Result<>();
}

Result<> StreamState::break_oplock(const Open* open, OplockOperation operation) {
  while (has_oplock_) {
    Break begun;
    {
      const MutexLock lock(mutex_);
      begin_break(open, operation, begun);
    }
    if (begun.empty()) break;
    TRY(finish_break(begun));
  }
  return {};
}

void StreamState::cancel(const Open& open) {
  std::vector<PendingLock*> cancelled;
  std::vector<PendingLock*> granted;
  DirectoryWatches::Completions watches;
  {
    const ExclusiveLock passage(passage_);
    const MutexLock lock(mutex_);
    watches_.cancel(open, NtStatus::Cancelled, watches);
    cancelled = locks_.withdraw_all(open);
    granted = locks_.grant_waiting();
    note_state();
    const std::vector<OplockWait*> waits = oplock_.waits();
    for (OplockWait* each : waits) {
      auto* wait = static_cast<Wait*>(each);
      if (wait->open != &open) continue;
      oplock_.withdraw(*wait);
      wait->is_over = true;
      wait->is_cancelled = true;
    }
    released_.notify_all();
  }
  tell(cancelled, NtStatus::Cancelled);
  tell(granted, NtStatus::Success);
  tell(watches);
}

// Watches.

Result<> StreamState::watch(const Open& open, const NotifyParameters& parameters,
                            NotifyRequest& request) {
  DirectoryWatches::Completions completions;
  {
    const MutexLock lock(mutex_);
    if (open.file()->is_unlinked()) return NtStatus::DeletePending;
    watches_.ask(open, parameters, request, completions);
  }
  tell(completions);
  return {};
}

void StreamState::report(std::span<const NotifyEvent> events, uint32_t filter,
                         NotifyParameters::Depth depth) {
  DirectoryWatches::Completions completions;
  {
    const MutexLock lock(mutex_);
    watches_.report(events, filter, depth, completions);
  }
  tell(completions);
}

void StreamState::end_watches() {
  DirectoryWatches::Completions completions;
  {
    const MutexLock lock(mutex_);
    watches_.remove_all(completions);
  }
  tell(completions);
}

// Passages.

Passage::Passage(StreamState* state, Width width) NO_THREAD_SAFETY_ANALYSIS : state_(state),
                                                                              width_(width) {
  if (state_ == nullptr) return;
  if (width_ == Width::Exclusive) {
    state_->passage_.lock();
  } else {
    state_->passage_.lock_shared();
  }
}

Passage::~Passage() { end(); }

void Passage::end() NO_THREAD_SAFETY_ANALYSIS {
  if (state_ == nullptr) return;
  if (width_ == Width::Exclusive) {
    state_->passage_.unlock();
  } else {
    state_->passage_.unlock_shared();
  }
  state_ = nullptr;
}

Result<Passage::Way> Passage::break_oplock(const Open& open, OplockOperation operation) {
  if (state_ == nullptr || !state_->has_oplock_) return Way::Free;
  StreamState& state = *state_;
  StreamState::Break begun;
  {
    const MutexLock lock(state.mutex_);
    state.begin_break(&open, operation, begun);
  }
  if (begun.empty()) return Way::Free;
  end();
  TRY(state.finish_break(begun));
  return Way::Again;
}

Result<> Passage::check_locks(const RangeAccess& access) {
  if (state_ == nullptr || !state_->has_locks_) return {};
  const MutexLock lock(state_->mutex_);
  return state_->locks_.conflicts(access) ? NtStatus::FileLockConflict : Result<>();
}

}  // namespace ntfs
