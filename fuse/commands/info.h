#pragma once

// `ntfs-wal info SOURCE`: geometry, label, log, change journal, free space.

#include <string>

namespace ntfs::frontend {

struct InfoOptions {
  std::string source;
  bool json = false;
};
int run_info(const InfoOptions& options);

}  // namespace ntfs::frontend
