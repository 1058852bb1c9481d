#pragma once

// `ntfs-wal ls SOURCE PATH`: the entries of a directory.

#include <string>

namespace ntfs::frontend {

struct LsOptions {
  std::string source;
  std::string path = "/";
  bool is_long = false;  ///< with type, size, time, file reference
  bool json = false;
};
int run_ls(const LsOptions& options);

}  // namespace ntfs::frontend
