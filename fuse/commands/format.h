#pragma once

// `ntfs-wal format SOURCE`: makes a new volume.

#include <cstdint>
#include <string>

namespace ntfs::frontend {

struct FormatCommandOptions {
  std::string source;
  std::string label;
  uint64_t size_bytes = 0;  ///< 0: the whole of what is there; sizes below likewise
  uint64_t cluster_size = 0;
  uint64_t sector_size = 0;
  uint64_t record_size = 0;
  uint64_t log_size = 0;
  uint64_t usn_size = 0;  ///< bytes; 0: by size
  bool no_usn = false;
  bool reflink = false;
  bool force = false;  ///< also over another file system
  bool json = false;
};
int run_format(const FormatCommandOptions& options);

}  // namespace ntfs::frontend
