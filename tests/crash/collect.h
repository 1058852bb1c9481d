#pragma once

// Crash images for other programs to judge: each with the tree that our own recovery shows.

#include <string>

#include "tests/crash/power_cut.h"
#include "tests/crash/run.h"

namespace ntfs::crash {

/// Saves the image NAME.img as it lay after the power cut, and NAME.list, the tree after our
/// recovery, line by line as tests/support/tree_lister prints it. Returns what went wrong; "" when
/// nothing did; "clean" (and saves nothing) when there was nothing to recover.
std::string collect_image(const Start& start, const DiskImage& crashed, const std::string& path);

}  // namespace ntfs::crash
