#pragma once

// Xpress compression with Huffman codes, as Windows' file compression (WOF) has it in chunks of 4,
// 8 and 16 KiB.
// Source: MS-XCA 2.2 "LZ77+Huffman Decompression Algorithm Details".

#include "core/base/bytes.h"

namespace ntfs {

/// One block decompressed is no longer.
constexpr size_t kMostXpressHuffmanBytes = size_t{64} << 10;

/// Fills `out`, whose size is that of the block when it was compressed. FileCorruptError (not
/// reported): `compressed` is no such block; `out` may be filled in part.
Result<> decompress_xpress_huffman(ByteView compressed, MutableBytes out);

}  // namespace ntfs
