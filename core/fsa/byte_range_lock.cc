#include "core/fsa/byte_range_lock.h"

#include <algorithm>

namespace ntfs {

namespace {

using Mode = ByteRangeLock::Mode;
using Kind = ByteRangeLock::Kind;

/// MS-FSA 2.1.4.10: an empty range at 0 meets nothing; elsewhere it lies between two bytes.
template <typename One, typename Other>
bool overlap(const One& one, const Other& other) {
  if (one.offset == 0 && one.length == 0) return false;
  if (other.offset == 0 && other.length == 0) return false;
  const uint64_t last = one.offset + one.length - 1;
  const uint64_t other_last = other.offset + other.length - 1;
  return one.offset <= other_last && last >= other.offset;
}

bool is_own(const ByteRangeLock& held, const ByteRangeLock& wanted) {
  if (wanted.kind == Kind::Linux) return held.kind == Kind::Linux && held.key == wanted.key;
  return held.owner == wanted.owner && held.key == wanted.key;
}

/// Whether `held`, a lock or a request for one, stands against the other.
bool stands_against(const ByteRangeLock& held, const ByteRangeLock& wanted) {
  if (!overlap(held, wanted)) return false;
  const bool is_own_lock = is_own(held, wanted);
  // Linux: it takes the place of the own one.
  if (wanted.kind == Kind::Linux && is_own_lock) return false;
  if (held.mode == Mode::Shared) return wanted.mode == Mode::Exclusive;
  return !is_own_lock || wanted.mode == Mode::Exclusive;
}

}  // namespace

bool ByteRangeLocks::conflicts(const RangeAccess& access) const {
  return std::any_of(locks_.begin(), locks_.end(), [&](const ByteRangeLock& held) {
    if (!overlap(held, access)) return false;
    if (held.mode == Mode::Shared) return access.mode == Mode::Exclusive;
    return held.owner != access.open || (access.key && held.key != *access.key);
  });
}

std::optional<ByteRangeLock> ByteRangeLocks::conflict_with(const ByteRangeLock& wanted) const {
  const auto found = std::find_if(locks_.begin(), locks_.end(), [&](const ByteRangeLock& held) {
    return stands_against(held, wanted);
  });
  if (found == locks_.end()) return std::nullopt;
  return *found;
}

/// Whether the request waits for a lock that the owner of `other` holds.
bool ByteRangeLocks::waits_for_owner_of(const ByteRangeLock& other,
                                        const ByteRangeLock& request) const {
  return std::ranges::any_of(locks_, [&](const ByteRangeLock& held) {
    return is_own(held, other) && stands_against(held, request);
  });
}

bool ByteRangeLocks::is_free(const ByteRangeLock& wanted, size_t count_before) const {
  if (conflict_with(wanted)) return false;
  return std::none_of(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(count_before),
                      [&](const Waiting& earlier) {
                        // Two requests of one owner do not keep each other waiting, and nobody
                        // waits behind who waits for him: neither would ever go on.
                        return !is_own(earlier.wanted, wanted) &&
                               stands_against(earlier.wanted, wanted) &&
                               !waits_for_owner_of(wanted, earlier.wanted);
                      });
}

Result<> ByteRangeLocks::lock(const ByteRangeLock& wanted, PendingLock* waiter) {
  if (waiter == nullptr) {
    if (conflict_with(wanted)) return NtStatus::LockNotGranted;
  } else if (!is_free(wanted, waiting_.size())) {
    waiting_.push_back({wanted, waiter});
    return NtStatus::Pending;
  }
  insert(wanted);
  return {};
}

void ByteRangeLocks::insert(const ByteRangeLock& lock) {
  if (lock.kind == Kind::Linux) unlock_part(lock.offset, lock.length, lock.key);
  locks_.push_back(lock);
}

Result<> ByteRangeLocks::unlock(const ByteRangeLock& held) {
  auto found = locks_.end();
  for (auto it = locks_.begin(); it != locks_.end(); ++it) {
    const bool matches = it->kind == Kind::Range && it->offset == held.offset &&
                         it->length == held.length && is_own(*it, held);
    if (!matches) continue;
    found = it;
    if (it->mode == Mode::Exclusive) break;
  }
  if (found == locks_.end()) return NtStatus::RangeNotLocked;
  locks_.erase(found);
  return {};
}

void ByteRangeLocks::unlock_part(uint64_t offset, uint64_t length, LockKey key) {
  const ByteRangeLock part{.offset = offset, .length = length, .key = key, .kind = Kind::Linux};
  std::vector<ByteRangeLock> pieces;
  std::erase_if(locks_, [&](const ByteRangeLock& held) {
    if (!is_own(held, part) || !overlap(held, part)) return false;
    const uint64_t last = held.offset + held.length - 1;
    const uint64_t part_last = offset + length - 1;
    ByteRangeLock piece = held;
    if (held.offset < offset) {
      piece.length = offset - held.offset;
      pieces.push_back(piece);
    }
    if (last > part_last) {
      piece.offset = part_last + 1;
      piece.length = last - part_last;
      pieces.push_back(piece);
    }
    return true;
  });
  locks_.insert(locks_.end(), pieces.begin(), pieces.end());
}

void ByteRangeLocks::unlock_all(const Open& open) {
  std::erase_if(locks_, [&](const ByteRangeLock& held) { return held.owner == &open; });
}

std::vector<PendingLock*> ByteRangeLocks::withdraw_all(const Open& open) {
  std::vector<PendingLock*> cancelled;
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (waiting.wanted.owner != &open) return false;
    cancelled.push_back(waiting.waiter);
    return true;
  });
  return cancelled;
}

bool ByteRangeLocks::withdraw(const PendingLock& waiter) {
  return std::erase_if(waiting_,
                       [&](const Waiting& waiting) { return waiting.waiter == &waiter; }) != 0;
}

std::vector<PendingLock*> ByteRangeLocks::grant_waiting() {
  std::vector<PendingLock*> granted;
  for (size_t i = 0; i < waiting_.size();) {
    if (!is_free(waiting_[i].wanted, i)) {
      ++i;
      continue;
    }
    insert(waiting_[i].wanted);
    granted.push_back(waiting_[i].waiter);
    waiting_.erase(waiting_.begin() + static_cast<ptrdiff_t>(i));
  }
  return granted;
}

bool ByteRangeLocks::has_lock_below(uint64_t end) const {
  return std::any_of(locks_.begin(), locks_.end(),
                     [end](const ByteRangeLock& held) { return held.offset < end; });
}

}  // namespace ntfs
