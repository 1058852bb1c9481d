#pragma once

// The security descriptors that $Secure of a new volume begins with (ids: core/store/format.h).
// The first two, and that of the root directory, are those that Windows puts there.

#include <vector>

#include "core/ondisk/security_descriptor.h"

namespace ntfs {

struct DefaultSecurity {
  ByteVector sds;                               ///< the value of $SDS, copies included
  std::vector<ondisk::SdsEntryHeader> entries;  ///< in order of their ids
};

DefaultSecurity build_default_security();

}  // namespace ntfs
