#pragma once

// Log lines for people, corruption reports, and a ring of typed events per thread that ASSERT
// dumps. Thread safe; takes no lock.

#include <cstdint>
#include <string>
#include <string_view>

namespace ntfs {

enum class LogLevel { Error, Warning, Note };

/// One line to stderr ("ntfs-wal: ..."), and to syslog once log_to_syslog() was called (a daemon).
void log_line(LogLevel level, std::string_view text);
void log_to_syslog();

/// Logs a corruption and keeps it as this thread's last report.
void report_corruption(std::string_view text);
/// This thread's last corruption report, or "" if there was none; for error messages of commands.
std::string last_corruption();

enum class TraceEvent : uint8_t { LogFlush, PageWrite, TransactionEnd, Checkpoint, DataWrite };

/// Puts an event into this thread's ring (the last 256 are kept). `a`, `b`: as the event needs.
void trace(TraceEvent event, uint64_t a, uint64_t b);
/// Prints this thread's ring, oldest first, to stderr.
void dump_trace();

}  // namespace ntfs
