#pragma once

// What a device seems to hold, so that format does not destroy it by mistake.

#include <string_view>

#include "core/io/block_device.h"

namespace ntfs::frontend {

/// "an NTFS volume", "an ext file system", ...; "" when nothing is recognized.
Result<std::string_view> recognize_content(BlockDevice& device);

}  // namespace ntfs::frontend
