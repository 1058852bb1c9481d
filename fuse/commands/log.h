#pragma once

// `ntfs-wal log SOURCE`: the records of $LogFile, oldest first.

#include <cstdint>
#include <optional>
#include <string>

namespace ntfs::frontend {

struct LogOptions {
  std::string source;
  std::optional<uint64_t> from_lsn;
  std::optional<uint32_t> transaction;
  std::optional<uint64_t> file_record;  ///< only records that change this file
  bool stats = false;                   ///< totals instead of the records
  bool json = false;
};
int run_log(const LogOptions& options);

/// "38", "38:5" or a raw file reference, decimal or hexadecimal: the record's number.
std::optional<uint64_t> parse_file_record(const std::string& text);

}  // namespace ntfs::frontend
