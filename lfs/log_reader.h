#pragma once

// Reads a log: LFS 1.1, and LFS 2.0 with its fast pages. Finds the end the way ntfs3 does, but
// takes no page whose update sequence array says it is torn. Nothing is written. The bytes are
// hostile: every position is checked, every walk is bounded by the size of the file. Not thread
// safe.

#include <map>
#include <optional>
#include <vector>

#include "lfs/log_format.h"
#include "lfs/log_store.h"
#include "lfs/page_buffer.h"
#include "lfs/restart_area.h"

namespace ntfs::lfs {

/// One record of the log. `data` is valid until the next call of the reader.
struct RecordView {
  Lsn lsn;
  Lsn previous;
  Lsn undo_next;
  uint32_t type = 0;  ///< RecordType, or what a damaged log says
  uint32_t transaction_id = 0;
  uint16_t flags = 0;  ///< kRecordMultiPage, ...
  ByteView data;       ///< client data

  bool is_client() const { return type == static_cast<uint32_t>(RecordType::Client); }
  bool is_restart() const { return type == static_cast<uint32_t>(RecordType::ClientRestart); }
};

class LogReader {
 public:
  /// LogCorrupt: no restart page makes sense. EndOfFile: the log is empty or closed without a
  /// client, there are no records to speak of. NotSupported: version above 2.0.
  /// `store` must outlive the result.
  static Result<LogReader> open(LogStore& store);

  const RestartPage& restart() const { return restart_; }
  LogState state() const { return state_; }
  const LogGeometry& geometry() const { return geometry_; }
  /// Oldest record that a replay may need.
  Lsn oldest_lsn() const { return restart_.oldest_lsn; }
  /// The end: the last record that is whole.
  Lsn last_lsn() const { return last_; }
  /// The first record that can still be found in the file, at or before oldest_lsn().
  Lsn first_readable_lsn();

  /// The record at `lsn`. InvalidParameter: no record can be there. LogCorrupt (reported): there is
  /// none.
  Result<RecordView> read(Lsn lsn);
  /// The record behind the one read last; EndOfFile after the last record.
  Result<RecordView> next();

 private:
  struct Page {
    bool valid = false;
    uint64_t offset = 0;
    PageBuffer memory;
    const RecordPageHeader& header() const { return struct_at<RecordPageHeader>(memory.bytes()); }
  };

  LogReader(LogStore& store, const RestartPage& restart, LogState state,
            const LogGeometry& geometry);

  Result<> load_copies();
  Result<> find_end();

  LogStore* store_;
  RestartPage restart_;
  LogState state_;
  LogGeometry geometry_;
  Lsn last_;
};

}  // namespace ntfs::lfs
