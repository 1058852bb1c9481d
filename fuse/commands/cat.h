#pragma once

// `ntfs-wal cat SOURCE PATH`: the data of a file, on stdout.

#include <string>

namespace ntfs::frontend {

struct CatOptions {
  std::string source;
  std::string path;
};
int run_cat(const CatOptions& options);

}  // namespace ntfs::frontend
