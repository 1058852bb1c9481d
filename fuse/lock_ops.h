#pragma once

#include "fuse/fuse_api.h"

namespace ntfs::frontend {

/// GETLK, SETLK, SETLKW, FLOCK, and FLUSH, which gives locks back: only for mounts with
/// locks=mandatory. Without them the kernel keeps the locks.
void add_lock_operations(fuse_lowlevel_ops& operations);

}  // namespace ntfs::frontend
