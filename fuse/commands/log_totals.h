#pragma once

// What `ntfs-wal log --stats` sums up over the records that go by.

#include <map>
#include <string>

#include "core/ondisk/log_operations.h"
#include "lfs/log_reader.h"

namespace ntfs::frontend {

class LogTotals {
 public:
  /// `geometry` must outlive the object.
  explicit LogTotals(const lfs::LogGeometry& geometry) : geometry_(geometry) {}

  void take(const lfs::RecordView& record, const ondisk::ClientRecordView& client);
  void take_restart(const lfs::RecordView& record);
  /// How full the log is: from the oldest record that a replay may need to the end.
  void take_space(const lfs::LogReader& reader);

  std::string as_json() const;
  void print() const;

 private:
  struct Operation {
    uint64_t count = 0;
    uint64_t bytes = 0;  ///< of the records, headers included
  };
  /// A transaction that has records and did not end yet.
  struct Transaction {
    uint64_t records = 0;
    bool is_rolled_back = false;  ///< its last records undo earlier ones
  };

  void note_lsn(lfs::Lsn lsn);

  const lfs::LogGeometry& geometry_;
  uint64_t count_records_ = 0;
  uint64_t count_restart_records_ = 0;
  uint64_t bytes_ = 0;
  uint64_t count_committed_ = 0;
  uint64_t count_rolled_back_ = 0;
  uint64_t count_wraps_ = 0;
  uint64_t last_offset_ = 0;
  std::map<std::string, Operation> operations_;  // by the name of the redo operation
  std::map<uint32_t, Transaction> open_;         // by transaction id
  uint64_t log_bytes_ = 0;
  uint64_t used_bytes_ = 0;
};

}  // namespace ntfs::frontend
