#pragma once

// The byte-range locks of one stream: MS-FSA 2.1.1.9 "Per ByteRangeLock", 2.1.4.10 "Algorithm for
// Determining If a Range Access Conflicts with Byte-Range Locks", 2.1.5.8 and 2.1.5.9. Who waits is
// served in the order of asking: a request is not overtaken by one that came later and stands
// against it.
//
// Linux's locks (fcntl, flock) stand in the same list. They belong to their key alone, whatever
// open they came by, replace what the key held of the range, and can be given back in parts.
//
// Bytes are counted without signs: a range ends at 2^64 at most. Not thread safe; calls nobody.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/result.h"

namespace ntfs {

class Open;

/// Tells apart the owners of locks of one open. MS-FSA has 32 bits; FUSE's lock owners have 64.
using LockKey = uint64_t;

struct ByteRangeLock {
  enum class Mode { Shared, Exclusive };
  enum class Kind { Range, Linux };
  uint64_t offset = 0;
  uint64_t length = 0;
  Mode mode = Mode::Shared;
  const Open* owner = nullptr;
  LockKey key = 0;
  Kind kind = Kind::Range;
  uint32_t process = 0;  ///< who to name to others; means nothing here

  bool operator==(const ByteRangeLock&) const = default;
};

/// Bytes that a request is about to read (Shared) or write (Exclusive).
struct RangeAccess {
  uint64_t offset = 0;
  uint64_t length = 0;
  ByteRangeLock::Mode mode = ByteRangeLock::Mode::Shared;
  const Open* open = nullptr;
  std::optional<LockKey> key;  ///< nothing: any of the open
};

/// A lock request that waits.
class PendingLock {
 public:
  virtual ~PendingLock() = default;
  /// Called once: Success (it is locked) or Cancelled. No lock is held: it may call the store.
  virtual void complete(NtStatus status) = 0;
};

class ByteRangeLocks {
 public:
  /// Whether a held lock stands against reading or writing.
  bool conflicts(const RangeAccess& access) const;
  /// The first held lock that stands against the one wanted.
  std::optional<ByteRangeLock> conflict_with(const ByteRangeLock& wanted) const;

  /// Takes the lock. LockNotGranted when something stands against it and `waiter` is null; Pending
  /// when it waits: grant_waiting() will return the waiter.
  Result<> lock(const ByteRangeLock& wanted, PendingLock* waiter);
  /// Takes away one lock with exactly that range, owner and key: an exclusive one, else the last
  /// shared one. RangeNotLocked.
  Result<> unlock(const ByteRangeLock& held);
  /// Linux: takes away what `key` holds of the range.
  void unlock_part(uint64_t offset, uint64_t length, LockKey key);
  /// Takes away all that came by the open.
  void unlock_all(const Open& open);
  /// Takes away who waits by the open.
  std::vector<PendingLock*> withdraw_all(const Open& open);
  /// False when it does not wait any more.
  bool withdraw(const PendingLock& waiter);
  /// Who has its lock now, after others have gone; in the order of asking.
  std::vector<PendingLock*> grant_waiting();

  bool empty() const { return locks_.empty() && waiting_.empty(); }
  /// Whether one starts below `end`.
  bool has_lock_below(uint64_t end) const;
  const std::vector<ByteRangeLock>& locks() const { return locks_; }
  size_t count_waiting() const { return waiting_.size(); }

 private:
  struct Waiting {
    ByteRangeLock wanted;
    PendingLock* waiter;
  };
  void insert(const ByteRangeLock& lock);
  bool waits_for_owner_of(const ByteRangeLock& other, const ByteRangeLock& request) const;
  bool is_free(const ByteRangeLock& wanted, size_t count_before) const;

  std::vector<ByteRangeLock> locks_;
  std::vector<Waiting> waiting_;  // in the order of asking
};

}  // namespace ntfs
