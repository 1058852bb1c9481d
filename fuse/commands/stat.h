#pragma once

// `ntfs-wal stat SOURCE PATH`: what a file's record says.

#include <string>

namespace ntfs::frontend {

struct StatOptions {
  std::string source;
  std::string path;
  bool json = false;
};
int run_stat(const StatOptions& options);

}  // namespace ntfs::frontend
