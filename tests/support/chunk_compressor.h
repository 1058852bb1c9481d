#pragma once

// Makes chunks that the decompressors of core/compression read: with every kind of block, match and
// offset, though not small ones, for all codewords of a code are about as long. What compressors in
// use make is in the tests as samples.

#include <vector>

#include "core/base/bytes.h"
#include "core/ondisk/reparse_point.h"

namespace ntfs::testing {

/// One block of Xpress Huffman, up to 64 KiB.
ByteVector compress_xpress_huffman(ByteView chunk);

enum class LzxBlock { Verbatim, Aligned, Uncompressed };
/// One chunk of LZX, up to 32 KiB, in blocks of up to `block_bytes`, of the kinds given in turn.
ByteVector compress_lzx(ByteView chunk, size_t block_bytes, const std::vector<LzxBlock>& kinds);

/// What WofCompressedData has of a file with that data, table and chunks. As Windows does, chunks
/// that compress to nothing less stand there plain.
ByteVector compress_wof(ByteView data, ondisk::WofFormat format);

}  // namespace ntfs::testing
