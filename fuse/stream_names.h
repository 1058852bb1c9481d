#pragma once

// How users come to the named streams of files, and the names of streams in paths.
//
// With streams_interface=windows a colon divides the name of a file from that of its stream:
// "file:stream". What Windows adds is understood: "file:stream:$DATA", and "file::$DATA" for the
// unnamed stream. A stream's name may have colons, which the other drivers allow; a file's may not.
// Source: ntfs-3g(8) "streams_interface"; MS-FSCC 2.1.5 "Pathname", 2.1.4 "Filename".

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ntfs::frontend {

/// Not at all, as extended attributes (user.*), or by paths.
enum class StreamsInterface { None, Xattr, Windows };

/// Whether a component of a path names a stream.
bool is_stream_path(std::string_view bytes, StreamsInterface interface);

/// A component of a path, taken apart.
struct StreamPath {
  std::u16string file;
  std::u16string stream;  ///< empty: the unnamed one
};
/// Of one that is_stream_path(). ObjectNameInvalid: a part is missing; NameTooLong: one has more
/// than 255 code units.
Result<StreamPath> stream_path_from_kernel(std::string_view bytes);

/// The name of a file, where no stream can stand. ObjectNameInvalid: it is_stream_path();
/// NameTooLong.
Result<std::u16string> file_name_from_kernel(std::string_view bytes, StreamsInterface interface);

}  // namespace ntfs::frontend
