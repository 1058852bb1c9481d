#pragma once

// What the last transactions in a log did, in the words of a user.

#include <string>
#include <vector>

#include "core/ondisk/boot_sector.h"
#include "core/store/recovery_analysis.h"
#include "lfs/log_reader.h"

namespace ntfs {

/// The last `most` committed operations that give, take or change names, oldest first:
/// `create "a"`, `remove "b"`, `rename "c" to "d"`, `move "e"`, `link "f"`. What cannot be read is
/// left out.
std::vector<std::string> describe_last_operations(lfs::LogReader& reader,
                                                  const LogAnalysis& analysis,
                                                  const ondisk::VolumeGeometry& geometry,
                                                  size_t most);

}  // namespace ntfs
