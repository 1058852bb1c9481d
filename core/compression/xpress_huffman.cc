#include "core/compression/xpress_huffman.h"

#include "core/compression/history_copy.h"
#include "core/compression/huffman_decoder.h"

namespace ntfs {

namespace {

constexpr size_t kSymbols = 512;
constexpr size_t kTableBytes = kSymbols / 2;
constexpr uint32_t kFirstMatch = 256;  // symbols below are bytes
constexpr uint32_t kLongLength = 15;
constexpr uint32_t kLongerLength = 255;
constexpr uint32_t kShortestMatch = 3;

using Decoder = HuffmanDecoder<kSymbols, 11>;

/// Four bits a symbol, the lower half of each byte first.
bool read_code(ByteView table, Decoder& decoder) {
  std::array<uint8_t, kSymbols> lengths;
  for (size_t i = 0; i < kTableBytes; ++i) {
    const auto pair = std::to_integer<uint8_t>(table[i]);
    lengths[2 * i] = pair & 15;
    lengths[2 * i + 1] = pair >> 4;
  }
  return decoder.build(lengths) && !decoder.is_empty();
}

/// The length of a match beyond the shortest, which may go on in the bytes behind the words.
Result<uint32_t> read_length(uint32_t symbol, BitReader& reader) {
  const uint32_t length = symbol % 16;
  if (length != kLongLength) return length;
  const uint32_t more = reader.take_byte();
  if (more != kLongerLength) return more + kLongLength;
  const uint32_t whole = reader.take_word();
  // A zero stands for 32 bits more, which no block has need of.
  if (whole < kLongLength) return NtStatus::FileCorruptError;
  return whole;
}

}  // namespace

Result<> decompress_xpress_huffman(ByteView compressed, MutableBytes out) {
  ASSERT(out.size() <= kMostXpressHuffmanBytes);
  Decoder decoder;
  if (compressed.size() < kTableBytes || !read_code(compressed.first(kTableBytes), decoder)) {
    return NtStatus::FileCorruptError;
  }
  BitReader reader(compressed.subspan(kTableBytes));
  for (size_t at = 0; at < out.size();) {
    const uint32_t symbol = decoder.decode(reader);
    if (symbol < kFirstMatch) {
      out[at++] = static_cast<std::byte>(symbol);
      continue;
    }
    const uint32_t offset_bits = (symbol - kFirstMatch) / 16;
    const size_t length = TRY(read_length(symbol, reader))
    +kShortestMatch;
    const size_t offset = (size_t{1} << offset_bits) + reader.read(offset_bits);
    if (!copy_from_history(out, at, offset, length)) return NtStatus::FileCorruptError;
    at += length;
  }
  return {};
}

}  // namespace ntfs
