#pragma once

// Extended attributes of NTFS: $EA, the list of them, and $EA_INFORMATION, its sums. Both are
// there, or neither. All calls: the caller holds the metadata lock (exclusively with a
// Transaction).

#include <vector>

#include "core/store/transaction.h"
#include "core/store/volume.h"

namespace ntfs {

/// Largest $EA. MS-FSA 2.1.5.15.6 "FileFullEaInformation".
constexpr size_t kMostEaBytes = (64 << 10) - 5;

/// All of the file, in their order; none is no error. EaCorruptError.
Result<std::vector<ondisk::Ea>> read_eas(Volume& volume, FileReference file);
/// Makes `eas` all that the file has. The names in directories, which repeat the size, are the
/// caller's matter. EaTooLarge.
Result<> write_eas(Transaction& transaction, Volume& volume, FileReference file,
                   const std::vector<ondisk::Ea>& eas);

}  // namespace ntfs
