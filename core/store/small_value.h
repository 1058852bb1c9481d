#pragma once

// Attributes whose whole value is read at once, resident or not: reparse points, extended
// attributes, security descriptors. The caller holds the metadata lock.

#include <string_view>

#include "core/ondisk/attribute_record.h"

namespace ntfs {

class Volume;

/// The whole value; ObjectNameNotFound when there is no such attribute. At most 64 KiB
/// (FileCorruptError above).
Result<ByteVector> read_small_value(Volume& volume, FileReference file, ondisk::AttributeType type);
/// The same of an attribute with a name.
Result<ByteVector> read_small_value(Volume& volume, FileReference file, ondisk::AttributeType type,
                                    std::u16string_view name);

}  // namespace ntfs
