#pragma once

// Walks the records of a log that is being written, of all its streams. Sees what was appended,
// durable or not. Not thread safe; the log may be used by other threads meanwhile.

#include "lfs/log_file.h"
#include "lfs/record_reader.h"

namespace ntfs::lfs {

class RecordCursor : private PageSource {
 public:
  /// `log` must outlive the cursor.
  explicit RecordCursor(LogFile& log);

  /// The record at `lsn`; nothing if there is none. Errors: the store's.
  Result<std::optional<RecordView>> at(Lsn lsn);
  /// Length of the client data of the record at `lsn`; nothing if there is none.
  Result<std::optional<uint64_t>> length_at(Lsn lsn);
  /// Where the first record at or behind `lsn` begins; nothing if the log ends before.
  Result<std::optional<Lsn>> first_from(Lsn lsn);
  /// Where the record behind the one that at() gave last begins; nothing at the end of the log.
  Result<std::optional<Lsn>> following();

 private:
  Result<std::optional<ByteView>> page_at(uint64_t page) override;

  LogFile& log_;
  RecordReader records_;
  uint64_t page_offset_ = 0;  // of the page in page_
  LogFile::PageState page_state_ = LogFile::PageState::Missing;
  PageBuffer page_{kPageSize};
};

}  // namespace ntfs::lfs
