#pragma once

// user.*: with streams_interface=xattr, the named streams of a file, by the name behind the dot,
// whose case counts. A value has at most 64 KiB, as for any file system of Linux; a longer stream
// is listed, and can be replaced and removed.
// Source: ntfs-3g(8) "streams_interface"; xattr(7) "Extended user attributes".

#include <string>
#include <string_view>

#include "fuse/xattr_names.h"

namespace ntfs::frontend {

/// Whether the name stands for a stream.
bool is_stream_xattr(const XattrTarget& target, std::string_view name);

/// NonexistentEaEntry; BufferOverflow: the stream is longer than a value can be.
Result<ByteVector> get_stream_xattr(const XattrTarget& target, std::string_view name);
/// ObjectNameCollision, NonexistentEaEntry (by the policy), NameTooLong, DiskFull.
Result<> set_stream_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                          XattrPolicy policy);
/// NonexistentEaEntry.
Result<> remove_stream_xattr(const XattrTarget& target, std::string_view name);
/// Appends the names of all streams, each with a NUL behind it.
Result<> list_stream_xattrs(const XattrTarget& target, std::string& names);

}  // namespace ntfs::frontend
