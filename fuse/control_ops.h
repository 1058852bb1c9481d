#pragma once

// Requests of ioctl(2): the controls of the change journal, see usn_ioctl.h.

#include "fuse/fuse_api.h"

namespace ntfs::frontend {

void add_control_operations(fuse_lowlevel_ops& operations);

}  // namespace ntfs::frontend
