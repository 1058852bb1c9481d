#pragma once

// `ntfs-wal check SOURCE`: verifies every structure of a volume; writes nothing.

#include <string>

namespace ntfs::frontend {

// Exit codes of `check`, as those of fsck(8) that apply.
constexpr int kCheckClean = 0;
constexpr int kCheckErrors = 4;
constexpr int kCheckCouldNotRun = 8;
constexpr int kCheckUsage = 16;  ///< for whoever reads the command line

struct CheckCommandOptions {
  std::string source;
  bool json = false;
};
int run_check(const CheckCommandOptions& options);

}  // namespace ntfs::frontend
