#pragma once

// Requests about listings: opendir, readdir, readdirplus, releasedir, fsyncdir.

#include "fuse/fuse_api.h"

namespace ntfs::frontend {

void add_directory_operations(fuse_lowlevel_ops& operations);

}  // namespace ntfs::frontend
