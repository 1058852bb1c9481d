#pragma once

// `ntfs-wal umount DIR`: unmounts and returns when the volume is clean on the device.

#include <string>

namespace ntfs::frontend {

int run_umount(const std::string& directory);

}  // namespace ntfs::frontend
