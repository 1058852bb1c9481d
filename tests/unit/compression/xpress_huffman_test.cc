#include "core/compression/xpress_huffman.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <random>
#include <string>

#include "tests/support/chunk_compressor.h"
#include "tests/unit/compression/samples.h"

namespace ntfs {
namespace {

using testing::compress_xpress_huffman;
using testing::from_hex;
using testing::kXpressOfWords;

constexpr size_t kTableBytes = 256;

/// What `compressed` gives, or nothing.
std::string decompressed(ByteView compressed, size_t length) {
  ByteVector out(length);
  if (!decompress_xpress_huffman(compressed, out)) return {};
  return std::string(as_text(out));
}

struct TableByte {
  size_t position;
  uint8_t value;
};
ByteVector block(std::initializer_list<TableByte> table, std::string_view stream) {
  ByteVector bytes(kTableBytes);
  for (const TableByte& byte : table) bytes[byte.position] = static_cast<std::byte>(byte.value);
  const ByteVector rest = from_hex(stream);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return bytes;
}

/// MS-XCA 3.2 "LZ77+Huffman": the first example, literals alone.
TEST(XpressHuffman, ReadsTheAlphabetOfTheDocument) {
  const ByteVector bytes = block({{48, 0x50},
                                  {49, 0x55},
                                  {50, 0x55},
                                  {51, 0x55},
                                  {52, 0x55},
                                  {53, 0x55},
                                  {54, 0x55},
                                  {55, 0x55},
                                  {56, 0x55},
                                  {57, 0x55},
                                  {58, 0x55},
                                  {59, 0x45},
                                  {60, 0x44},
                                  {61, 0x04},
                                  {128, 0x04}},
                                 "d8523ed794115be9195ff9d67cdf8d0400000000");
  EXPECT_EQ(decompressed(bytes, 26), "abcdefghijklmnopqrstuvwxyz");
}

/// The second: a match whose length takes a byte and a word.
TEST(XpressHuffman, ReadsTheLongMatchOfTheDocument) {
  const ByteVector bytes =
      block({{48, 0x30}, {49, 0x23}, {128, 0x02}, {143, 0x20}}, "a8dc0000ff2601");
  std::string expected;
  for (int i = 0; i < 100; ++i) expected += "abc";
  EXPECT_EQ(decompressed(bytes, 300), expected);
}

TEST(XpressHuffman, ReadsWhatACompressorInUseMakes) {
  const ByteVector words = testing::words(1500);
  EXPECT_EQ(decompressed(from_hex(kXpressOfWords), words.size()), as_text(words));
}

TEST(XpressHuffman, ReadsCodewordsLongerThanItsTable) {
  // Symbols 'a' to 'o' with 1 to 15 bits, and 'p' with 15.
  ByteVector bytes(kTableBytes);
  for (uint32_t i = 0; i < 16; ++i) {
    const uint32_t symbol = 'a' + i;
    const uint32_t length = std::min(i + 1, 15u);
    bytes[symbol / 2] |= static_cast<std::byte>(symbol % 2 != 0 ? length << 4 : length);
  }
  // o: fourteen ones and a zero; p: fifteen ones; n: thirteen ones and a zero; a: 0.
  // 1111'1111'1111'1101 1111'1111'1111'1111 1111'1111'1110'0000
  const ByteVector stream = from_hex("fdffffffe0ff0000");
  bytes.insert(bytes.end(), stream.begin(), stream.end());
  EXPECT_EQ(decompressed(bytes, 4), "opna");
}

TEST(XpressHuffman, GivesBackBlocksOfAllLengths) {
  for (const size_t length : {1, 2, 3, 100, 4095, 4096, 8192, 16384, 65536}) {
    for (unsigned seed = 1; seed <= 3; ++seed) {
      const ByteVector bytes = testing::runs_and_noise(length, seed);
      const ByteVector compressed = compress_xpress_huffman(bytes);
      EXPECT_EQ(decompressed(compressed, length), as_text(bytes)) << length << " seed " << seed;
    }
  }
}

TEST(XpressHuffman, RefusesWhatIsNoBlock) {
  ByteVector out(64);
  const ByteVector good = compress_xpress_huffman(testing::words(64));
  ASSERT_TRUE(decompress_xpress_huffman(good, out));
  const auto refuses = [&](ByteView bytes) {
    return decompress_xpress_huffman(bytes, out).error() == NtStatus::FileCorruptError;
  };
  EXPECT_TRUE(refuses(ByteView(good).first(kTableBytes - 1)));
  EXPECT_TRUE(refuses(ByteVector(kTableBytes + 64))) << "no symbol has a codeword";
  ByteVector incomplete = good;
  incomplete[0] = std::byte{0};
  EXPECT_TRUE(refuses(incomplete));
  ByteVector too_many = good;
  too_many[0] = std::byte{0x11};
  EXPECT_TRUE(refuses(too_many));
  // The first symbol is 287, a match from before the start.
  EXPECT_TRUE(refuses(block({{48, 0x30}, {49, 0x23}, {128, 0x02}, {143, 0x20}}, "0080000000")));
  // A length that a shorter form has.
  EXPECT_TRUE(refuses(block({{48, 0x30}, {49, 0x23}, {128, 0x02}, {143, 0x20}}, "a8dc0000ff0e00")));
  // A match that goes on behind the end.
  EXPECT_TRUE(refuses(block({{48, 0x30}, {49, 0x23}, {128, 0x02}, {143, 0x20}}, "a8dc0000ff2601")));
}

/// The sanitizers make this test sharp.
TEST(XpressHuffman, SurvivesEveryChangeOfAByte) {
  const ByteVector good = from_hex(kXpressOfWords);
  ByteVector out(1500);
  size_t count_read = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    for (const int change : {0x01, 0x10, 0x80, 0xFF}) {
      ByteVector bytes = good;
      bytes[at] ^= static_cast<std::byte>(change);
      count_read += decompress_xpress_huffman(bytes, out) ? 1 : 0;
    }
    count_read += decompress_xpress_huffman(ByteView(good).first(at), out) ? 1 : 0;
  }
  EXPECT_GT(count_read, 0u);  // what changes a literal alone
}

}  // namespace
}  // namespace ntfs
