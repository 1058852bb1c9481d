#pragma once

// Names of Linux, as the store has them: see core/ondisk/name_encoding.h.

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/ondisk/name_encoding.h"

namespace ntfs::frontend {

using ondisk::name_bytes;
using ondisk::name_units;

/// name_units of one component of a path. NameTooLong: more than 255 code units.
Result<std::u16string> name_from_kernel(std::string_view bytes);

}  // namespace ntfs::frontend
