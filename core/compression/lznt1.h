#pragma once

// LZNT1: chunks of 4096 bytes, each a header of 16 bits and either plain bytes or flag bytes with
// literals and back references into the same chunk. NTFS compresses files with it.
// Source: MS-XCA 2.5 "LZNT1 Algorithm Details".

#include <array>
#include <optional>

#include "core/base/bytes.h"

namespace ntfs {

constexpr size_t kLznt1ChunkBytes = 4096;

/// Decompresses `from`, up to a header of zero or its end, into `into`. What the chunks do not say
/// becomes zeros. FileCorruptError (quiet: the caller knows the place): a chunk that is not whole,
/// reaches before its own start, or does not fit.
Result<> decompress_lznt1(ByteView from, MutableBytes into);

/// Compresses greedily. Has tables of 24 KiB; may be used again and again, by one thread at a time.
class Lznt1Compressor {
 public:
  /// Compresses `from`, a multiple of 4096 bytes (so that every reader takes plain chunks). Returns
  /// the bytes used of `into`; nothing when they do not suffice.
  std::optional<size_t> compress(ByteView from, MutableBytes into);

 private:
  struct Match {
    size_t length = 0;
    size_t distance = 0;
  };
  std::optional<size_t> compress_chunk(const std::byte* from, MutableBytes into);
  Match find(const std::byte* from, size_t at, size_t longest) const;
  void note(const std::byte* from, size_t at);

  static constexpr unsigned kHashBits = 12;
  std::array<uint16_t, 1 << kHashBits> newest_{};   // hash -> position + 1, of this chunk
  std::array<uint16_t, kLznt1ChunkBytes> older_{};  // position -> position + 1
};

}  // namespace ntfs
