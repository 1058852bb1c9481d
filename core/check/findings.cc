#include "core/check/findings.h"

#include <fmt/format.h>

namespace ntfs {

std::string to_line(const Finding& finding) {
  std::string line = finding.structure;
  if (finding.file_reference != 0) {
    const auto reference = FileReference::from_raw(finding.file_reference);
    line += fmt::format(" of file {}-{}", reference.record(), reference.sequence());
  }
  if (!finding.where.empty()) line += fmt::format(", {}", finding.where);
  line += fmt::format(": {}", finding.message);
  if (!finding.expected.empty() || !finding.found.empty()) {
    line += fmt::format(" (expected {}, found {})", finding.expected, finding.found);
  }
  return line;
}

namespace check {

void Findings::add(const Place& place, std::string expected, std::string found,
                   std::string message) {
  if (findings_.size() >= max_findings_) {
    ++suppressed_;
    return;
  }
  findings_.push_back({std::string(place.structure), place.file.raw(), place.where,
                       std::move(expected), std::move(found), std::move(message)});
}

void Findings::add(const Place& place, uint64_t expected, uint64_t found, std::string message) {
  add(place, number(expected), number(found), std::move(message));
}

void Findings::add(const Place& place, std::string message) {
  add(place, std::string(), std::string(), std::move(message));
}

void Findings::move_to(CheckReport& report) {
  report.errors = std::move(findings_);
  report.suppressed = suppressed_;
}

std::string number(uint64_t value) {
  return value < 10 ? fmt::format("{}", value) : fmt::format("{} ({:#x})", value, value);
}

std::string name_reference(FileReference reference) {
  return fmt::format("record {}, sequence {}", reference.record(), reference.sequence());
}

}  // namespace check
}  // namespace ntfs
