#pragma once

// Object ids. $OBJECT_ID of a file holds the id alone; the index $O of $Extend\$ObjId leads from it
// to the file, and says where file and id come from. $OBJECT_ID of $Volume is the volume's own id.
// Source: MS-FSCC 2.1.3.1 "FILE_OBJECTID_BUFFER Type 1", linux-ntfs documentation "$OBJECT_ID".

#include <array>

#include "core/base/little_endian.h"

namespace ntfs::ondisk {

using Guid = std::array<std::byte, 16>;

/// What distributed link tracking keeps beside an id; any of it may be zero.
struct ObjectIdOrigin {
  Guid birth_volume_id;
  Guid birth_object_id;
  Guid domain_id;
  friend bool operator==(const ObjectIdOrigin&, const ObjectIdOrigin&) = default;
};
static_assert(sizeof(ObjectIdOrigin) == 48 && alignof(ObjectIdOrigin) == 1);

/// An id with what is known of it; also what controls and other drivers hand over.
struct ObjectIdBuffer {
  Guid object_id;
  ObjectIdOrigin origin;
  friend bool operator==(const ObjectIdBuffer&, const ObjectIdBuffer&) = default;
};
static_assert(sizeof(ObjectIdBuffer) == 64 && alignof(ObjectIdBuffer) == 1);

/// Data of an entry of $O, whose key is the id.
struct ObjectIdIndexData {
  le64 file_reference;
  ObjectIdOrigin origin;
};
static_assert(sizeof(ObjectIdIndexData) == 56 && alignof(ObjectIdIndexData) == 1);

}  // namespace ntfs::ondisk
