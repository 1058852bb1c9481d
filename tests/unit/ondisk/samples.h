#pragma once

// Valid structures that use every part of the format, to be read back and to be broken.

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"

namespace ntfs::ondisk::test {

/// The value of a $FILE_NAME "a name" in the root directory.
ByteVector sample_file_name();

/// A directory's record, 1 KiB: standard information, name, a named stream, index root with two
/// entries, index allocation in two parts (vcn 0 to 4, 4 to 8).
ByteVector sample_file_record();

/// $INDEX_ROOT with subnodes and three entries.
ByteVector sample_index_root();
/// An INDX buffer at vcn 2: a leaf with twenty file names.
ByteVector sample_name_block();
/// An INDX buffer at vcn 3: a view with ten entries.
ByteVector sample_view_block();

/// Puts `entry` before the END entry of the node that begins at `node_offset` of `bytes`.
void append_entry(MutableBytes bytes, size_t node_offset, ByteView entry);

/// Three entries, the last with a name.
ByteVector sample_attribute_list();
/// Two entries.
ByteVector sample_eas();

}  // namespace ntfs::ondisk::test
