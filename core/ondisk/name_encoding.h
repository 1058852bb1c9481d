#pragma once

// Names between Linux (bytes) and NTFS (UTF-16 code units).
//
// UTF-8 is decoded strictly. A byte that belongs to no valid sequence becomes the lone low
// surrogate U+DC00 + byte, which is in U+DC80..U+DCFF (as Python's "surrogateescape" does). Any
// other lone surrogate that a volume holds is shown in three bytes as if it were a character
// (WTF-8), and those three bytes lead back to it. Where that would give a sequence of code units
// that means something else (a pair, or an escaped byte), the three bytes are escaped one by one.
//
// Invariant: name_bytes(name_units(bytes)) == bytes for all bytes, so two names of Linux never
// become one. Names on the volume that no such bytes lead to are shown as well, but may look like
// another name; programs that write UTF-16 do not make them.

#include <string>
#include <string_view>

namespace ntfs::ondisk {

/// The code units of any bytes.
std::u16string name_units(std::string_view bytes);
/// The bytes of any code units.
std::string name_bytes(std::u16string_view units);

}  // namespace ntfs::ondisk
