#pragma once

// Set-user-ID and set-group-ID bits and capabilities, which a file loses when its data or its owner
// changes; and what rights a caller has, where the kernel does not look at them.
//
// The answer to INIT promises the kernel to take them away (FUSE_HANDLE_KILLPRIV_V2, channel.h).
// Without that promise the kernel asks for the extended attribute security.capability before every
// single write(2), though the data only goes to its cache; with it, once for each file that it
// knows. Source: Linux, include/uapi/linux/fuse.h "FUSE_HANDLE_KILLPRIV_V2"; chown(2), write(2).

#include "core/fsa/object_store.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

class Filesystem;

/// For a change of the data by `request`, before it: takes them away; the bits unless root makes
/// it.
Result<> drop_privileges(Filesystem& filesystem, File& file, fuse_req_t request);

/// What `mode` becomes then, and when the file gets a new owner.
mode_t mode_without_privileges(mode_t mode);

/// Whether who asks has all rights, or is a member of the group.
bool is_in_group(fuse_req_t request, gid_t group);

/// For a change of one file that the kernel takes for one of its directory (a named stream's name):
/// AccessDenied for those who may not write to it. Where it has an access control list, only its
/// owner may.
Result<> check_may_write(Filesystem& filesystem, File& file, fuse_req_t request);

}  // namespace ntfs::frontend
