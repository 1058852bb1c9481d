#pragma once

// LZX with a window of 32 KiB in chunks that stand for themselves, as Windows' images (WIM) and
// file compression (WOF) have it: no header, addresses behind E8 bytes always translated.
// Source: MS-PATCH 2 "LZX DELTA" (codes, blocks, matches), and the Windows Imaging File Format
// paper, "LZX Compression", for what differs.

#include "core/base/bytes.h"

namespace ntfs {

constexpr size_t kLzxChunkBytes = size_t{32} << 10;

/// Fills `out`, up to kLzxChunkBytes, which is as long as the chunk was when it was compressed.
/// FileCorruptError (not reported): `compressed` is no such chunk; `out` may be filled in part.
Result<> decompress_lzx(ByteView compressed, MutableBytes out);

}  // namespace ntfs
