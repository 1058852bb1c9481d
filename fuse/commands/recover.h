#pragma once

// `ntfs-wal recover SOURCE`: replays the log of a volume that was not unmounted, without mounting
// it, and leaves the log clean.

#include <string>

namespace ntfs::frontend {

struct RecoverOptions {
  std::string source;
  bool dry_run = false;  ///< in memory alone
  bool json = false;
};
int run_recover(const RecoverOptions& options);

}  // namespace ntfs::frontend
