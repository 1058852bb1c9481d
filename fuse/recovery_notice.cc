#include "fuse/recovery_notice.h"

#include <fmt/format.h>

#include "core/base/trace.h"

namespace ntfs::frontend {

void report_recovery(const std::string& source, const Volume& volume) {
  const RecoveryReport* report = volume.recovery();
  if (report == nullptr) return;
  const bool is_written = volume.options().access == VolumeOptions::Access::ReadWrite;
  log_line(LogLevel::Note,
           fmt::format("{}: was not unmounted. {}: {}", source,
                       is_written ? "Recovered" : "Recovered in memory, nothing is written",
                       describe(*report)));
  if (report->last_operations.empty()) return;
  log_line(LogLevel::Note, fmt::format("{}: the last operations in its log: {}", source,
                                       fmt::join(report->last_operations, ", ")));
}

}  // namespace ntfs::frontend
