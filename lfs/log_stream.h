#pragma once

// One stream of a log: its records in order, as if they were a log of their own. A name for one of
// the log's clients; copies are the same stream. Thread safe, as LogFile is.

#include "lfs/log_file.h"

namespace ntfs::lfs {

class LogStream {
 public:
  /// `log` must outlive the stream. From LogFile::create_stream and open_stream.
  LogStream(LogFile& log, uint16_t client) : log_(&log), client_(client) {}

  /// Oldest record that the stream needs; initially where its first record goes.
  Lsn base() const { return info().base; }
  /// None before the first record.
  Lsn last() const { return info().last; }
  /// Moves the base: base() <= lsn <= last(). In memory; durable with the next restart record, or
  /// when space is short. LogTailInvalid: out of range.
  Result<> advance_base(Lsn lsn) { return log_->advance_base(client_, lsn); }
  SpaceInfo info() const { return log_->info(client_); }

  LogFile& log() const { return *log_; }
  uint16_t client() const { return client_; }
  friend bool operator==(const LogStream&, const LogStream&) = default;

 private:
  LogFile* log_;
  uint16_t client_;
};

}  // namespace ntfs::lfs
