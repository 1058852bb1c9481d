#pragma once

// Requests about attributes: getattr, setattr, statfs. Permissions are the kernel's matter
// (default_permissions).

#include "fuse/fuse_api.h"

namespace ntfs::frontend {

void add_attribute_operations(fuse_lowlevel_ops& operations);

}  // namespace ntfs::frontend
