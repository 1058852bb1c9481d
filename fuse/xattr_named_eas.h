#pragma once

// security.* and trusted.*: extended attributes of NTFS of the same name, as ntfs3 keeps them. What
// is allowed is the kernel's to say: root alone sets either (or who may give capabilities), and
// root alone sees trusted.*. All of a file together have at most 64 KiB. Source: xattr(7) "Extended
// security attributes", "Trusted extended attributes".

#include <string>
#include <string_view>

#include "fuse/xattr_names.h"

namespace ntfs::frontend {

bool is_ea_xattr(std::string_view name);

/// NonexistentEaEntry.
Result<ByteVector> get_ea_xattr(const XattrTarget& target, std::string_view name);
/// ObjectNameCollision, NonexistentEaEntry (by the policy), NameTooLong, EaTooLarge, DiskFull.
Result<> set_ea_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                      XattrPolicy policy);
/// NonexistentEaEntry.
Result<> remove_ea_xattr(const XattrTarget& target, std::string_view name);
/// Appends the names of those that the caller may see, each with a NUL behind it.
Result<> list_ea_xattrs(const XattrTarget& target, std::string& names);

}  // namespace ntfs::frontend
