#pragma once

// Owner, group and mode as an access control list, and the way back, as ntfs-3g maps them with a
// user mapping: what one of the two writes, the other shows. Lists that Windows made come out as
// near as nine bits can.
//
// The entries, in this order: what the owner would get as anybody else and shall not have is denied
// to it; directories deny everybody that files made in them are executed; grants to the owner; what
// the group would get as anybody and shall not have is denied to it; grants to the group, if it has
// more than anybody; grants to everybody; all to Administrators and SYSTEM; the bits for
// set-user-ID, set-group-ID and sticky in a grant to nobody (S-1-0-0), as Cygwin has them. Where
// root is owner or group, these are Administrators, and denials would hit them: there are none, and
// the first grant is the owner's.
//
// Source: ntfs-3g, the comments in libntfs-3g/acls.c; compared with what it writes.

#include <sys/stat.h>

#include "core/ondisk/security_descriptor.h"
#include "core/store/security_inheritance.h"

namespace ntfs::frontend {

/// `mode`: with its type, of which only S_IFDIR counts.
ondisk::SecurityDescriptor descriptor_of_mode(mode_t mode, const FileOwner& owner);

/// What of a descriptor Linux can show.
struct ModeAndOwner {
  mode_t mode = 0;  ///< permission bits
  FileOwner owner;
};
/// The owner is the first account that may make itself the owner: what Windows has as the owner is
/// often Administrators, or whoever made the directory.
ModeAndOwner mode_of_descriptor(const ondisk::SecurityDescriptor& descriptor);

}  // namespace ntfs::frontend
