#pragma once

// The device of a volume, opened so that every structure of the volume can be read and written.

#include <memory>
#include <string>

#include "core/io/uring_device.h"

namespace ntfs::frontend {

/// As UringDevice::open(). A volume whose sectors are smaller than the blocks that direct transfers
/// need here (an image on a file system that wants 4096, a copy of a volume on a disk with such
/// sectors) goes through the page cache.
Result<std::unique_ptr<UringDevice>> open_volume_device(const std::string& source,
                                                        UringDevice::Access access,
                                                        UringDevice::Options options = {});

}  // namespace ntfs::frontend
