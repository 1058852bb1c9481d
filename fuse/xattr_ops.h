#pragma once

// Requests about extended attributes: setxattr, getxattr, listxattr, removexattr.
//
// Names of the namespace system.* are found in the table of xattr_names.h, those of user.* are
// named streams (xattr_streams.h).

#include <string>
#include <string_view>

#include "fuse/fuse_api.h"
#include "fuse/xattr_names.h"

namespace ntfs::frontend {

void add_xattr_operations(fuse_lowlevel_ops& operations);

/// NonexistentEaEntry, NotSupported (no such name, or not readable), BufferOverflow (too long).
Result<ByteVector> get_xattr(const XattrTarget& target, std::string_view name);
/// ObjectNameCollision, NonexistentEaEntry (by the policy), PrivilegeNotHeld (not the owner),
/// NotSupported.
Result<> set_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                   XattrPolicy policy);
/// NonexistentEaEntry, PrivilegeNotHeld, NotSupported.
Result<> remove_xattr(const XattrTarget& target, std::string_view name);
/// The names, each with a NUL behind it.
Result<std::string> list_xattrs(const XattrTarget& target);

}  // namespace ntfs::frontend
