#pragma once

// `ntfs-wal extents SOURCE PATH`: where the data of a file stands on the volume.

#include <string>

namespace ntfs::frontend {

struct ExtentsOptions {
  std::string source;
  std::string path;
  bool json = false;
};
int run_extents(const ExtentsOptions& options);

}  // namespace ntfs::frontend
