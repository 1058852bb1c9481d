#pragma once

// What files stand for that are not what their record says: links of Windows, WSL and Interix, and
// the special files of the latter two. And where links lead, in the words of Linux.
//
// Windows names targets from a drive. Which drive a volume is, it does not say; so, as ntfs-3g
// does:
//   \??\C:\dir         ROOT/.NTFS-3G/C:/dir if there is ROOT/.NTFS-3G/C:, which the user makes;
//                      else ROOT/dir if the volume has that; else ROOT/.NTFS-3G/C:/dir
//   \dir               ROOT/dir
//   dir                dir, from the directory of the link
//   \??\Volume{...}\   ROOT/.NTFS-3G/Volume{...}
//   what else          as it is
// Case does not count in these names; what the volume has of a path comes in the case that it has
// there. ROOT is where the volume is mounted.
// Sources: MS-FSCC 2.1.2 "Reparse Point Data Structures"; for Interix, what ntfs-3g and Windows'
// Subsystem for UNIX write.

#include <optional>
#include <string>
#include <string_view>

#include "core/fsa/object_store.h"

namespace ntfs {

/// The kind of file that a reparse tag stands for; File or Directory for tags of other kinds.
FileKind kind_of(uint32_t reparse_tag, bool is_directory);

/// Whether the file is a directory to Linux: to Windows, links to directories are, too. The caller
/// holds the metadata lock.
Result<bool> is_directory(Volume& volume, FileReference file);

/// Where a link leads. Of a name surrogate of another kind, "unsupported reparse tag 0x..."; the
/// same for a link that cannot be read. IoReparseTagInvalid: not a link. `root`: ROOT, without a
/// slash at its end. The caller holds the metadata lock.
Result<std::string> link_target(Volume& volume, std::string_view root, FileReference link,
                                ByteView reparse_value);

/// What a file with the system attribute is to Interix.
struct InterixFile {
  FileKind kind = FileKind::File;
  std::string target;   ///< of a symbolic link
  uint64_t device = 0;  ///< as in LinuxMetadata
};
/// Such files are no longer, in bytes.
constexpr uint64_t kMostInterixBytes = 8 + 2 * 4096;
/// `data`: all of the file's. A hidden file is no fifo and no socket.
InterixFile interix_file(ByteView data, uint32_t file_attributes);

}  // namespace ntfs
