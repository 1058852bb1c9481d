#pragma once

// `ntfs-wal mount SOURCE DIR`, also as mount(8) calls it: mount.ntfs-wal SOURCE DIR [-sfnv] [-o].

#include <string>

namespace ntfs::frontend {

struct MountCommandOptions {
  std::string source;
  std::string directory;
  std::string options;  ///< as behind -o
  bool foreground = false;
  bool trace_requests = false;
  bool sloppy = false;  ///< unknown options are no error
  bool fake = false;    ///< do everything but mount
  bool verbose = false;
};
int run_mount(const MountCommandOptions& options);

/// For the name mount.ntfs-wal.
int run_mount_helper(int argc, char** argv);

}  // namespace ntfs::frontend
