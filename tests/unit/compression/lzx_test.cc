#include "core/compression/lzx.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/little_endian.h"
#include "tests/support/chunk_compressor.h"
#include "tests/unit/compression/samples.h"

namespace ntfs {
namespace {

using testing::compress_lzx;
using testing::from_hex;
using testing::kLzxOfCode;
using testing::kLzxOfWords;
using testing::LzxBlock;

std::string decompressed(ByteView compressed, size_t length) {
  ByteVector out(length);
  if (!decompress_lzx(compressed, out)) return {};
  return std::string(as_text(out));
}

TEST(Lzx, ReadsWhatACompressorInUseMakes) {
  const ByteVector words = testing::words(1500);
  EXPECT_EQ(decompressed(from_hex(kLzxOfWords), words.size()), as_text(words));
}

TEST(Lzx, PutsBackTheAddressesOfCalls) {
  const ByteVector code = testing::machine_code(1200);
  EXPECT_EQ(decompressed(from_hex(kLzxOfCode), code.size()), as_text(code));
}

TEST(Lzx, GivesBackChunksInEveryKindOfBlock) {
  using Kinds = std::vector<LzxBlock>;
  const std::vector<Kinds> mixes = {
      {LzxBlock::Verbatim},
      {LzxBlock::Aligned},
      {LzxBlock::Uncompressed},
      {LzxBlock::Uncompressed, LzxBlock::Verbatim, LzxBlock::Aligned},
      {LzxBlock::Verbatim, LzxBlock::Uncompressed, LzxBlock::Uncompressed, LzxBlock::Aligned}};
  for (const size_t length : {1, 9, 4000, 32767, 32768}) {
    for (const size_t block_bytes : {1001, 5000, 32768}) {
      for (size_t mix = 0; mix < mixes.size(); ++mix) {
        const ByteVector bytes = testing::runs_and_noise(length, static_cast<unsigned>(mix + 1));
        const ByteVector compressed = compress_lzx(bytes, block_bytes, mixes[mix]);
        EXPECT_EQ(decompressed(compressed, length), as_text(bytes))
            << length << " in blocks of " << block_bytes << ", mix " << mix;
      }
    }
  }
}

TEST(Lzx, PutsBackAddressesAtTheirEdges) {
  // Near the start, across the length of the image, and in the last bytes, which are left alone.
  ByteVector bytes(100, std::byte{0x90});
  const auto call = [&](size_t at, int32_t address) {
    bytes[at] = std::byte{0xE8};
    struct_at<le32>(MutableBytes(bytes), at + 1).set(static_cast<uint32_t>(address));
  };
  call(0, 0);
  call(10, -10);
  call(20, -21);
  call(30, 11'999'969);
  call(40, 11'999'960);
  call(50, 12'000'000);
  call(60, -1);
  call(70, 5);
  call(89, 7);
  call(95, 7);
  EXPECT_EQ(decompressed(compress_lzx(bytes, 100, {LzxBlock::Verbatim}), bytes.size()),
            as_text(bytes));
}

TEST(Lzx, RefusesWhatIsNoChunk) {
  ByteVector out(600);
  const auto refuses = [&](ByteView bytes) {
    return decompress_lzx(bytes, out).error() == NtStatus::FileCorruptError;
  };
  EXPECT_TRUE(refuses({}));
  EXPECT_TRUE(refuses(ByteVector(1000))) << "a block of no kind";
  EXPECT_TRUE(refuses(from_hex("0020"))) << "an empty block";
  EXPECT_TRUE(refuses(from_hex("0030"))) << "a longer block than the chunk is";
  const ByteVector plain = compress_lzx(testing::words(600), 600, {LzxBlock::Uncompressed});
  EXPECT_TRUE(decompress_lzx(plain, out));
  EXPECT_TRUE(refuses(ByteView(plain).first(plain.size() - 5)));
}

/// The sanitizers make this test sharp.
TEST(Lzx, SurvivesEveryChangeOfAByte) {
  size_t count_read = 0;
  const auto read = [&](ByteView bytes, size_t length) {
    ByteVector out(length);
    count_read += decompress_lzx(bytes, out) ? 1 : 0;
  };
  const std::vector<LzxBlock> kinds = {LzxBlock::Aligned, LzxBlock::Uncompressed,
                                       LzxBlock::Verbatim};
  for (const ByteVector& good : {from_hex(kLzxOfWords), from_hex(kLzxOfCode),
                                 compress_lzx(testing::runs_and_noise(1500, 1), 500, kinds)}) {
    for (size_t at = 0; at < good.size(); ++at) {
      for (const int change : {0x01, 0x10, 0x80, 0xFF}) {
        ByteVector bytes = good;
        bytes[at] ^= static_cast<std::byte>(change);
        read(bytes, 1500);
      }
      read(ByteView(good).first(at), 1500);
    }
  }
  EXPECT_GT(count_read, 0u);  // what changes a literal alone
}

}  // namespace
}  // namespace ntfs
