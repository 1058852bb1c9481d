#pragma once

// The file with the user mapping: .NTFS-3G/UserMapping on the volume, or where the option
// usermapping= says. Source: ntfs-3g(8).

#include <optional>
#include <string>

#include "core/fsa/object_store.h"
#include "fuse/user_mapping.h"

namespace ntfs::frontend {

/// `path`: of the host when it begins with '/', else on the volume; "" for the usual one, which
/// need not exist or say anything. Nothing, and `problem` says why, when there is no mapping but
/// one was asked for. What is wrong with lines is logged.
std::optional<UserMapping> load_user_mapping(ObjectStore& store, const std::string& path,
                                             std::string& problem);

}  // namespace ntfs::frontend
