#pragma once

// Requests about the data of files: open, read, write, release, fsync, fallocate, lseek,
// copy_file_range. FLUSH is not answered: the kernel stops asking.

#include "fuse/fuse_api.h"

namespace ntfs::frontend {

void add_file_operations(fuse_lowlevel_ops& operations);

}  // namespace ntfs::frontend
