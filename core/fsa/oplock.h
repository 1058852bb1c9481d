#pragma once

// The opportunistic lock of one stream: what its holders may keep in a cache of their own, and how
// it is taken back before somebody else does what they must know of. MS-FSA 2.1.1.10 "Per Oplock";
// 2.1.4.12 "Algorithm to Check for an Oplock Break", 2.1.4.13 (state of shared oplocks), 2.1.5.18
// "Server Requests an Oplock", 2.1.5.19 "Server Acknowledges an Oplock Break".
//
// The State of MS-FSA is what the list of holders says. A state machine and nothing else: it does
// not wait and calls nobody. What is to be told goes into OplockEffects, for a caller without
// locks. Not thread safe.

#include <cstdint>
#include <vector>

#include "core/base/result.h"

namespace ntfs {

/// Granular levels are sets of Read, Handle (2) and Write (4); the others are the legacy ones.
enum class OplockLevel : uint8_t {
  None = 0,
  Read = 1,
  ReadHandle = 3,
  ReadWrite = 5,
  ReadWriteHandle = 7,
  LevelTwo = 8,
  LevelOne = 16,
  Batch = 32,
};

/// Says which opens belong together (of one client). An empty key equals none.
struct OplockKey {
  uint64_t high = 0;
  uint64_t low = 0;
  bool empty() const { return high == 0 && low == 0; }
  bool operator==(const OplockKey&) const = default;
};

/// An open, as oplocks see it: its address is its identity.
struct OplockOwner {
  OplockKey target_key;
  OplockKey parent_key;  ///< of the directory's holder that need not be told
};

/// What an operation asks of an oplock: fact sheet of MS-FSA 2.1.4.12, Operation and OpParams.
enum class OplockOperation {
  OpenAttributes,  ///< OPEN for attributes and SYNCHRONIZE alone
  Open,
  OpenToOverwrite,
  OpenBreakHandle,  ///< OPEN_BREAK_H: an open that others' sharing modes stand against
  Read,
  FlushData,
  Write,
  LockControl,
  SetSize,  ///< end of file, allocation, valid data length
  ZeroData,
  Rename,  ///< link and short name, too
  Delete,  ///< disposition
  SetSecurity,
  ParentChange  ///< PARENT_OBJECT: a name in the directory that holds the oplock
};

/// How a request that was granted, or an acknowledgement, ends: the break notice.
struct OplockNotice {
  NtStatus status = NtStatus::Success;
  OplockLevel new_level = OplockLevel::None;
  bool acknowledge_required = false;
};

/// A request for an oplock, or an acknowledgement, while it is pending.
class OplockRequest {
 public:
  virtual ~OplockRequest() = default;
  /// Called once for each request that was taken, at the latest when the open is closed: closing
  /// waits until it has returned. No lock is held: it may call the store, but not close an open of
  /// the same stream.
  virtual void complete(const OplockNotice& notice) = 0;
};

/// An operation that waits for acknowledgements.
struct OplockWait {
  const OplockOwner* owner = nullptr;  ///< null: an operation without an open
};

/// What has to be told after a call, without locks.
struct OplockEffects {
  struct Completion {
    OplockRequest* request;
    OplockNotice notice;
  };
  std::vector<Completion> completions;
  std::vector<OplockWait*> released;  ///< wait no more: they start again
};

/// What the stream is like when an oplock is asked for.
struct OplockSituation {
  bool is_directory = false;
  bool is_synchronous = false;   ///< the open is
  bool is_deleted = false;       ///< the stream is
  bool has_range_lock = false;   ///< one that starts below the allocation size
  bool is_sole_open = true;      ///< of the stream
  bool others_share_key = true;  ///< all other opens have the key of this one
};

class Oplock {
 public:
  struct Holder {
    const OplockOwner* owner = nullptr;
    OplockLevel level = OplockLevel::None;
    OplockRequest* request = nullptr;  ///< pending; null while breaking
    bool is_breaking = false;          ///< told, and has to acknowledge
    OplockLevel target = OplockLevel::None;
  };

  /// Asks for `level`. On success `request` completes once: at once for None, else when the oplock
  /// is broken, switched or closed. InvalidParameter, OplockNotGranted.
  Result<> request(const OplockOwner& owner, OplockLevel level, OplockRequest& request,
                   const OplockSituation& situation, OplockEffects& effects);
  /// Breaks what stands against `operation`. True: it has to wait, and `wait` (which must live
  /// until it is released or withdrawn) is queued; then it asks again.
  bool check(OplockOperation operation, OplockWait& wait, OplockEffects& effects);
  /// Answers a break: `level` is what the owner would keep. On success `request` completes once: at
  /// once unless something is kept. InvalidParameter, InvalidOplockProtocol.
  Result<> acknowledge(const OplockOwner& owner, OplockLevel level, OplockRequest& request,
                       const OplockSituation& situation, OplockEffects& effects);
  /// Takes away all that the owner holds: an implicit acknowledgement.
  void close(const OplockOwner& owner, OplockEffects& effects);
  /// Takes a waiting operation out of the queue: it was cancelled.
  void withdraw(const OplockWait& wait);

  bool empty() const { return holders_.empty(); }
  const std::vector<Holder>& holders() const { return holders_; }
  const std::vector<OplockWait*>& waits() const { return waits_; }

 private:
  struct Demand;
  static Demand demand_of(OplockOperation operation);
  static bool break_holder(Holder& holder, const Demand& demand, OplockEffects& effects);
  static bool break_exclusive(Holder& holder, const Demand& demand, OplockEffects& effects);
  static bool break_read_handle(Holder& holder, const Demand& demand, OplockEffects& effects);
  Result<> check_grant(const OplockOwner& owner, OplockLevel level,
                       const OplockSituation& situation) const;
  bool may_share(const OplockOwner& owner, OplockLevel level) const;
  bool may_exclude(const OplockOwner& owner, OplockLevel level,
                   const OplockSituation& situation) const;
  void switch_over(const OplockOwner& owner, OplockLevel level, OplockEffects& effects);
  Result<> acknowledge_legacy(Holder& holder, OplockLevel level, OplockRequest& request,
                              OplockEffects& effects);
  Result<> acknowledge_granular(Holder& holder, OplockLevel level, OplockRequest& request,
                                const OplockSituation& situation, OplockEffects& effects);
  void release_waits(OplockEffects& effects);

  std::vector<Holder> holders_;
  std::vector<OplockWait*> waits_;
};

}  // namespace ntfs
