#pragma once

// Set-user-ID and set-group-ID bits and capabilities, which a file loses when its data or its owner
// changes.
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

/// What `mode` becomes when the file gets a new owner.
mode_t mode_for_new_owner(mode_t mode);

}  // namespace ntfs::frontend
