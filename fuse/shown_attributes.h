#pragma once

// What Linux sees of a file (struct stat), and what of a new file's owner and mode has to be kept
// because it differs from what would be shown anyway.

#include <sys/stat.h>

#include "core/fsa/object_store.h"

namespace ntfs::frontend {

/// Owner and permission bits of files that have none of their own.
struct ShownOwnership {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t file_mask = 022;       ///< taken from 0666
  uint32_t directory_mask = 022;  ///< taken from 0777
};

/// S_IFREG and so on.
mode_t type_bits(FileKind kind);
/// The kind for a mode with S_IF bits; File for what is none of them.
FileKind kind_of_mode(mode_t mode);

/// WSL's form of a device number, and back.
uint64_t stored_device(dev_t device);
dev_t shown_device(uint64_t device);

struct stat shown_attributes(const FileInformation& information, const ShownOwnership& ownership);

struct Creator {
  uint32_t uid = 0;
  uint32_t gid = 0;
  mode_t umask = 0;  ///< that the kernel has not applied yet
};
/// What has to be stored for a new file: `mode` and owner as far as they differ from what is shown
/// by default. Special files have their mode in any case (other drivers know them by it), devices
/// their number.
LinuxMetadata metadata_to_store(const Creator& creator, mode_t mode, dev_t device,
                                const ShownOwnership& ownership);
/// The part that makes it a special file; nothing for others.
LinuxMetadata metadata_of_special_file(mode_t mode, dev_t device);

}  // namespace ntfs::frontend
