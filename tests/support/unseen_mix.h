#pragma once

// Structures whose update sequence number does not tell them from what they take the place of: a
// crash could leave strides of both, and the mix would look whole (core/base/multi_sector.h).

#include <string>

#include "core/base/bytes.h"

namespace ntfs::testing {

/// Looks at the FILE, INDX, RCRD and RSTR structures in `now`, which is written to `offset` bytes,
/// where `before` stands. Says which one it is; empty: none. Both are equally long; what begins at
/// a multiple of 512 bytes and is whole in `now` is looked at.
std::string unseen_mix(ByteView before, ByteView now, uint64_t offset);

}  // namespace ntfs::testing
