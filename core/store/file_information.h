#pragma once

// What is told of a file: by its records, and by what is noted of it in memory.

#include <cstdint>
#include <memory>
#include <optional>

#include "core/ondisk/attribute_values.h"
#include "core/store/page_cache.h"

namespace ntfs {

enum class FileKind { File, Directory, Symlink, Fifo, CharacterDevice, BlockDevice, Socket };

/// Owner and mode as WSL keeps them in extended attributes; each may be missing.
struct LinuxMetadata {
  std::optional<uint32_t> uid;     ///< $LXUID
  std::optional<uint32_t> gid;     ///< $LXGID
  std::optional<uint32_t> mode;    ///< $LXMOD: type and permission bits as in st_mode
  std::optional<uint64_t> device;  ///< $LXDEV: major in the low, minor in the high 32 bits
  bool empty() const { return !uid && !gid && !mode && !device; }
};

struct FileInformation {
  FileReference reference;
  FileKind kind = FileKind::File;
  uint64_t file_size = 0;        ///< bytes; of a symlink: of its target
  uint64_t allocated_size = 0;   ///< bytes really allocated
  uint32_t link_count = 0;       ///< names without DOS ones; 1 for a directory
  uint32_t file_attributes = 0;  ///< ondisk::FileAttributes
  uint32_t reparse_tag = 0;      ///< 0: none
  bool has_eas = false;          ///< extended attributes, those of linux_metadata included
  uint32_t security_id = 0;      ///< in $Secure; 0: its descriptor is its own, or there is none
  ondisk::FileTime creation_time;
  ondisk::FileTime last_write_time;
  ondisk::FileTime change_time;
  ondisk::FileTime last_access_time;
  LinuxMetadata linux_metadata;

  /// Takes times, attributes and security id.
  void take(const ondisk::StandardInformation& standard);
};

/// What a file's only record says, as long as no transaction changes it. What is noted of the file
/// is not in it.
struct RecordMemo {
  bool is_current() const;

  ondisk::StandardInformation standard;
  FileInformation information;
  std::weak_ptr<const MetadataPage> page;
  uint64_t changes;
};

}  // namespace ntfs
