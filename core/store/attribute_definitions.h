#pragma once

// The value of $AttrDef: which attribute types NTFS 3.x knows, and what they may look like. The
// same on every volume that Windows 2000 or later made. Source: linux-ntfs documentation of
// $AttrDef.

#include "core/base/bytes.h"

namespace ntfs {

constexpr size_t kAttributeDefinitionsBytes = 2560;

/// kAttributeDefinitionsBytes: 15 definitions and an empty one as the end.
ByteVector attribute_definitions();

}  // namespace ntfs
