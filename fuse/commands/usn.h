#pragma once

// `ntfs-wal usn query|read|watch|create|delete|track SOURCE|DIR`: the change journal.

#include <cstdint>
#include <optional>
#include <string>

namespace ntfs::frontend {

struct UsnOptions {
  std::string source;             ///< a volume, or a directory on a mount
  std::optional<uint64_t> since;  ///< usn; none: the oldest record, to watch: the next one
  bool until_now = false;         ///< stop where the journal ends when the command begins
  uint32_t reasons = 0;           ///< only records with one of them; 0: all
  bool only_close = false;        ///< only records of a last close
  std::string path;               ///< pattern of glob(7), "*" matches "/", too; "": all
  uint64_t maximum_size = 0;      ///< bytes
  uint64_t allocation_delta = 0;  ///< bytes; 0: by the maximum size
  uint64_t range_chunk = 0;       ///< bytes; 0: chosen
  uint64_t range_threshold = 0;   ///< bytes; 0: chosen
  bool json = false;
};

int run_usn_query(const UsnOptions& options);
int run_usn_read(const UsnOptions& options);
int run_usn_watch(const UsnOptions& options);
int run_usn_create(const UsnOptions& options);
int run_usn_delete(const UsnOptions& options);
int run_usn_track(const UsnOptions& options);

/// Words separated by commas: "create", "delete", "rename", "data", or what usn::parse_reason
/// takes.
std::optional<uint32_t> parse_usn_reasons(const std::string& text);

}  // namespace ntfs::frontend
