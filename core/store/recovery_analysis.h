#pragma once

// First pass of a recovery: what the last checkpoint says, and what has happened to transactions
// and attributes since. Log sheet 6 "Checkpoints" and 7.1 "analysis".

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/ondisk/log_operations.h"
#include "lfs/log_reader.h"

namespace ntfs {

/// An attribute that records name by its slot.
struct LoggedAttribute {
  ondisk::OpenAttribute attribute;
  std::u16string name;
};

/// The open attribute table, as it is at one place of the log.
class OpenAttributeTable {
 public:
  /// Learns from an OpenNonresidentAttribute record. FileCorruptError (reported).
  Result<> open(const ondisk::ClientRecordView& record, lfs::Lsn lsn);
  void set(uint16_t slot, const ondisk::OpenAttribute& attribute) {
    slots_[slot] = {attribute, {}};
  }
  void set_name(uint16_t slot, std::u16string name);
  /// Null when the slot was never opened.
  const LoggedAttribute* find(uint16_t slot) const;

 private:
  std::unordered_map<uint16_t, LoggedAttribute> slots_;
};

/// Clusters that were freed while old records still speak of them (DeleteDirtyClusters).
class DeletedClusters {
 public:
  void add(Lcn first, ClusterCount count, lfs::Lsn lsn);
  /// Whether `lcn` was freed by a record after `lsn`.
  bool is_deleted_after(Lcn lcn, lfs::Lsn lsn) const;

 private:
  struct Range {
    uint64_t end;
    lfs::Lsn lsn;
  };
  std::map<uint64_t, Range> ranges_;  // first lcn -> where it ends, when it was freed
};

struct LogAnalysis {
  struct Transaction {
    ondisk::TransactionState state = ondisk::TransactionState::Active;
    lfs::Lsn first;
    lfs::Lsn undo_next;
  };
  /// A page that may not have been on the device at the checkpoint.
  struct DirtyCluster {
    lfs::Lsn oldest_lsn;
    bool is_freed = false;
  };
  struct Cluster {  ///< of an attribute
    uint16_t slot = 0;
    Vcn vcn;
    friend auto operator<=>(const Cluster&, const Cluster&) = default;
  };
  struct Moved {
    lfs::Lsn lsn;
    Lcn lcn;
  };

  lfs::Lsn check_point_start;  ///< none: nothing was logged before the checkpoint
  lfs::Lsn redo_start;         ///< first record to redo; none: there is nothing to redo or undo
  lfs::Lsn end;                ///< last record
  /// What the checkpoint says of the change journal: its file (0: there was none), and the first
  /// record of a file that was not closed.
  FileReference usn_file;
  uint64_t usn_restart_offset = 0;
  OpenAttributeTable opened_at_checkpoint;
  OpenAttributeTable opened_at_end;
  std::map<Cluster, DirtyCluster> dirty;         ///< at the checkpoint
  std::map<uint32_t, Transaction> transactions;  ///< that had not ended; by id
  std::map<Cluster, Moved> moved;                ///< HotFix: where the cluster is now
  DeletedClusters deleted;
  uint64_t records = 0;                   ///< scanned
  uint64_t committed = 0;                 ///< transactions that ended
  std::deque<lfs::Lsn> latest_committed;  ///< where the last of them began

  /// The transactions to take back: active ones that did something, by id.
  std::vector<uint32_t> losers() const;
};

/// Errors, with `why_not` filled: LogCorrupt (a record or table is missing or makes no sense),
/// NotSupported (an operation that nobody knows). Else the device's.
Result<LogAnalysis> analyze_log(lfs::LogReader& reader, std::string& why_not);

/// Whether it is documented what `op` does.
bool is_known_operation(ondisk::LogOp op);

/// Fills `why_not` and returns `status`.
NtStatus refuse_recovery(std::string& why_not, NtStatus status, std::string_view reason);

}  // namespace ntfs
