#pragma once

// The security descriptor of a new file, from that of its directory. Source: MS-DTYP 2.5.3.4
// "Algorithm for Creating a Security Descriptor", without a descriptor from whoever creates the
// file. The algorithm leaves open when entries are marked as inherited (DACL_AUTO_INHERIT,
// SACL_AUTO_INHERIT): on volumes of Windows they are where the directory's list is marked so, too
// (WindowsDescriptors.AreWhatFilesInherit).

#include <optional>

#include "core/ondisk/security_descriptor.h"

namespace ntfs {

/// Of a file or directory to be.
struct FileOwner {
  ondisk::Sid owner;
  ondisk::Sid group;
  friend auto operator<=>(const FileOwner&, const FileOwner&) = default;
};

/// Whether what inherits can be inherited from.
enum class Inheritor { File, Directory };

/// Who owns a new file of which nobody is known to have made it: the owner of its directory, unless
/// that is a part of the system; then Administrators.
FileOwner owner_from_parent(const ondisk::SecurityDescriptor& parent);

/// The descriptor of a new file: the inheritable entries of `parent`, or, where it has none, the
/// owner and SYSTEM may do everything. FileSystemLimitation: too long for an ACL.
Result<ondisk::SecurityDescriptor> inherit(const ondisk::SecurityDescriptor& parent,
                                           Inheritor inheritor, const FileOwner& owner);

}  // namespace ntfs
