#pragma once

// Names as they stand on disk: UTF-16LE code units at any alignment, lone surrogates allowed.

#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace ntfs::ondisk {

/// The code units of `bytes`; a last odd byte is not looked at.
std::u16string utf16_from(ByteView bytes);
/// Whether `bytes` are exactly the code units of `text`.
bool utf16_equals(ByteView bytes, std::u16string_view text);
ByteVector utf16_bytes(std::u16string_view text);
/// Writes the code units of `text` to the front of `into`, which must have room.
void put_utf16(MutableBytes into, std::u16string_view text);

/// For people: UTF-8, with control characters and lone surrogates as \uXXXX.
std::string to_display(std::u16string_view text);

}  // namespace ntfs::ondisk
