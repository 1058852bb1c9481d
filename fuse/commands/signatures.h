#pragma once

// What a device or an image seems to hold, so that format does not destroy it by mistake.

#include <string>

#include "core/base/result.h"

namespace ntfs::frontend {

/// "data of the type ext4", "a partition table (gpt)", ...; "" when libblkid knows nothing there.
/// IoDeviceError: it cannot be read.
Result<std::string> recognize_content(const std::string& path);

}  // namespace ntfs::frontend
