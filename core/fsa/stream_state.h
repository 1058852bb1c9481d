#pragma once

// What a stream keeps in memory for its opens, on stores whose opens may lock: MS-FSA 2.1.1.5 "Per
// Stream", Oplock and ByteRangeLockList, with the operations that wait for them. A stream has one
// from its first open on.
//
// Each request for data goes through a Passage: whoever is granted a lock or an oplock finds no
// data on its way that was looked at before.

#include <atomic>
#include <vector>

#include "core/base/mutex.h"
#include "core/fsa/byte_range_lock.h"
#include "core/fsa/change_notify.h"
#include "core/fsa/open.h"
#include "core/fsa/oplock.h"
#include "core/store/stream.h"

namespace ntfs {

class StreamState final : public StreamExtension {
 public:
  /// Adds an open that no other's sharing mode stands against, nor its own against others. Waits
  /// for those who keep handles open in a cache. SharingViolation, Cancelled.
  Result<> admit(const Open& open) EXCLUDES(passage_, mutex_);
  /// What a removal by name would need as an open. SharingViolation.
  Result<> check_removal() EXCLUDES(mutex_);
  /// Ends locks, oplocks and waiting operations of the open.
  void remove(const Open& open) EXCLUDES(passage_, mutex_);

  // See ByteRangeLocks.
  enum class BreaksOplock { No, Yes };
  Result<> lock(const ByteRangeLock& wanted, PendingLock* waiter, BreaksOplock breaks)
      EXCLUDES(passage_, mutex_);
  Result<> unlock(const ByteRangeLock& held) EXCLUDES(passage_, mutex_);
  void unlock_part(uint64_t offset, uint64_t length, LockKey key) EXCLUDES(passage_, mutex_);
  std::optional<ByteRangeLock> conflict_with(const ByteRangeLock& wanted) EXCLUDES(mutex_);
  /// Ends a wait, with Cancelled. Without effect when it is over.
  void cancel(PendingLock& waiter) EXCLUDES(passage_, mutex_);
  /// The same for all that waits by the open: locks, and operations behind an oplock.
  void cancel(const Open& open) EXCLUDES(passage_, mutex_);

  // See Oplock.
  Result<> request_oplock(const Open& open, OplockLevel level, OplockRequest& request)
      EXCLUDES(passage_, mutex_);
  Result<> acknowledge_oplock_break(const Open& open, OplockLevel level, OplockRequest& request)
      EXCLUDES(passage_, mutex_);
  /// MS-FSA 2.1.4.12: breaks what stands against the operation, and waits for acknowledgements.
  /// `open`: null for an operation without one. Cancelled.
  Result<> break_oplock(const Open* open, OplockOperation operation) EXCLUDES(passage_, mutex_);

  // Of a directory, see DirectoryWatches.
  /// DeletePending: it was removed.
  Result<> watch(const Open& open, const NotifyParameters& parameters, NotifyRequest& request)
      EXCLUDES(passage_, mutex_);
  void report(std::span<const NotifyEvent> events, uint32_t filter, NotifyParameters::Depth depth)
      EXCLUDES(passage_, mutex_);
  void end_watches() EXCLUDES(passage_, mutex_);
  // PendingNotifications: NotifyFilter bits to be told when an open of the file is closed.
  void note_change(uint32_t filter) { pending_notifications_ |= filter; }
  uint32_t take_changes() { return pending_notifications_.exchange(0); }

 private:
  friend class Passage;
  /// An operation that waits in break_oplock, on that function's stack.
  struct Wait : OplockWait {
    const Open* open = nullptr;
    bool is_over = false;
    bool is_cancelled = false;
  };

  bool try_admit(const Open& open) EXCLUDES(mutex_);
  Result<OplockSituation> situation(const Open& open) REQUIRES(mutex_);
  /// Of one operation: what its check changed, and itself while it waits.
  struct Break {
    OplockEffects effects;
    Wait wait;
    bool waits = false;
    bool empty() const { return !waits && effects.completions.empty(); }
  };
  void begin_break(const Open* open, OplockOperation operation, Break& begun) REQUIRES(mutex_);
  Result<> finish_break(Break& begun) EXCLUDES(passage_, mutex_);
  using OplockChange = decltype(&Oplock::request);
  Result<> change_oplock(OplockChange change, const Open& open, OplockLevel level,
                         OplockRequest& request) EXCLUDES(passage_, mutex_);
  /// For each set of effects, when it has come about; deliver() goes with it.
  void note_effects(const OplockEffects& effects) REQUIRES(mutex_);
  void deliver(const OplockEffects& effects) EXCLUDES(passage_, mutex_);
  void wait_until_told() EXCLUDES(passage_, mutex_);
  void note_state() REQUIRES(mutex_);

  SharedMutex passage_{LockRank::StreamPassage};
  Mutex mutex_{LockRank::StreamState};
  ConditionVariable released_;
  ConditionVariable told_;
  uint64_t count_telling_ GUARDED_BY(mutex_) = 0;  // sets of effects that are being told
  std::vector<const Open*> opens_ GUARDED_BY(mutex_);
  ByteRangeLocks locks_ GUARDED_BY(mutex_);
  Oplock oplock_ GUARDED_BY(mutex_);
  DirectoryWatches watches_ GUARDED_BY(mutex_);
  std::atomic<uint32_t> pending_notifications_{0};
  std::atomic<bool> has_locks_{false};   // becomes true with passage_ held exclusively only
  std::atomic<bool> has_oplock_{false};  // the same
};

/// One request's way to the data of a stream, from its checks to its end.
class Passage {
 public:
  enum class Width { Shared, Exclusive };
  /// Nothing to do where `state` is null.
  Passage(StreamState* state, Width width);
  ~Passage();
  Passage(const Passage&) = delete;
  Passage& operator=(const Passage&) = delete;

  enum class Way { Free, Again };
  /// MS-FSA 2.1.4.12. Free: no oplock stands against the operation, and none is granted until the
  /// passage ends. Again: one did; holders were told, and waited for, and the passage has ended:
  /// the request starts again with a new one. Cancelled.
  Result<Way> break_oplock(const Open& open, OplockOperation operation);
  /// FileLockConflict.
  Result<> check_locks(const RangeAccess& access);

 private:
  void end();

  StreamState* state_;
  const Width width_;
};

}  // namespace ntfs
