#pragma once

// Collects what the checks find. One thread.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/units.h"
#include "core/check/check.h"

namespace ntfs::check {

/// The structure a finding is about.
struct Place {
  std::string_view structure;  ///< a literal
  FileReference file;
  std::string where;
};

class Findings {
 public:
  explicit Findings(size_t max_findings) : max_findings_(max_findings) {}

  void add(const Place& place, std::string expected, std::string found, std::string message);
  void add(const Place& place, uint64_t expected, uint64_t found, std::string message);
  /// Where there is nothing to compare.
  void add(const Place& place, std::string message);

  uint64_t count() const { return findings_.size() + suppressed_; }
  void move_to(CheckReport& report);

 private:
  const size_t max_findings_;
  std::vector<Finding> findings_;
  uint64_t suppressed_ = 0;
};

/// "12 (0xc)"; small values without the hexadecimal form.
std::string number(uint64_t value);
/// "record 35, sequence 2".
std::string name_reference(FileReference reference);

}  // namespace ntfs::check
