#pragma once

// Requests about names: lookup, forget, create, mkdir, mknod, symlink, link, unlink, rmdir, rename,
// readlink.

#include "fuse/fuse_api.h"

namespace ntfs::frontend {

void add_namespace_operations(fuse_lowlevel_ops& operations);

}  // namespace ntfs::frontend
