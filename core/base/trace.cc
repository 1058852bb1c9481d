#include "core/base/trace.h"

#include <syslog.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "core/base/assert.h"

namespace ntfs {

namespace {

struct Event {
  TraceEvent kind;
  uint64_t a;
  uint64_t b;
};

struct Ring {
  std::array<Event, 256> events{};
  uint64_t written = 0;
};

thread_local Ring ring;
thread_local std::string last_report;
std::atomic<bool> use_syslog{false};

constexpr std::string_view name_of(TraceEvent kind) {
  switch (kind) {
    case TraceEvent::LogFlush:
      return "log-flush";
    case TraceEvent::PageWrite:
      return "page-write";
    case TraceEvent::TransactionEnd:
      return "transaction-end";
    case TraceEvent::Checkpoint:
      return "checkpoint";
    case TraceEvent::DataWrite:
      return "data-write";
  }
  return "?";
}

int syslog_priority(LogLevel level) {
  switch (level) {
    case LogLevel::Error:
      return LOG_ERR;
    case LogLevel::Warning:
      return LOG_WARNING;
    case LogLevel::Note:
      return LOG_NOTICE;
  }
  return LOG_ERR;
}

}  // namespace

void log_line(LogLevel level, std::string_view text) {
  std::string line = "ntfs-wal: ";
  if (level == LogLevel::Warning) line += "warning: ";
  line.append(text);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
  if (use_syslog.load(std::memory_order_relaxed)) {
    syslog(LOG_DAEMON | syslog_priority(level), "%.*s", static_cast<int>(text.size()), text.data());
  }
}

void log_to_syslog() {
  openlog("ntfs-wal", LOG_PID, LOG_DAEMON);
  use_syslog = true;
}

void report_corruption(std::string_view text) {
  last_report = text;
  log_line(LogLevel::Error, text);
}

std::string last_corruption() { return last_report; }

void trace(TraceEvent event, uint64_t a, uint64_t b) {
  ring.events[ring.written++ % ring.events.size()] = {event, a, b};
}

void dump_trace() {
  const uint64_t size = ring.events.size();
  for (uint64_t i = ring.written > size ? ring.written - size : 0; i < ring.written; ++i) {
    const Event& event = ring.events[i % size];
    std::fprintf(stderr, "trace %llu %s %#llx %#llx\n", static_cast<unsigned long long>(i),
                 name_of(event.kind).data(), static_cast<unsigned long long>(event.a),
                 static_cast<unsigned long long>(event.b));
  }
}

void assertion_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "ntfs-wal: bug: %s does not hold (%s:%d)\n", expression, file, line);
  dump_trace();
  std::abort();
}

}  // namespace ntfs
