#pragma once

// Data for the tests of the decompressors, and what a compressor in use (wimlib 1.13) makes of it.

#include <string_view>

#include "core/base/bytes.h"

namespace ntfs::testing {

/// Text out of few words.
ByteVector words(size_t length_bytes);
/// Moves and calls, with addresses behind E8 bytes.
ByteVector machine_code(size_t length_bytes);
/// Letters at random, and runs: what compresses little and has long matches.
ByteVector runs_and_noise(size_t length_bytes, unsigned seed);

ByteVector from_hex(std::string_view text);

/// words(1500) in Xpress Huffman and in LZX, machine_code(1200) in LZX.
extern const std::string_view kXpressOfWords;
extern const std::string_view kLzxOfWords;
extern const std::string_view kLzxOfCode;

}  // namespace ntfs::testing
