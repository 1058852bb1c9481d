#pragma once

// What passes between libfuse and the kernel, with what libfuse has no name for (before its
// versions 3.17 and 3.18): the promise to drop privileges (privileges.h), and the rings
// (request_rings.h).

#include "core/base/result.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

/// All that the session sends and receives passes here from now on. After fuse_session_mount; the
/// session's user data is a RequestContext.
Result<> open_channel(fuse_session* session);

}  // namespace ntfs::frontend
