#pragma once

// What a recovery did, in words for who mounts or looks at a volume.

#include <string>

#include "core/store/volume.h"

namespace ntfs::frontend {

/// Says on stderr, and in the system's log, what a recovery did, if there was one.
void report_recovery(const std::string& source, const Volume& volume);

}  // namespace ntfs::frontend
