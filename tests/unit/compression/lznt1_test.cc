#include "core/compression/lznt1.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string_view>

namespace ntfs {
namespace {

using namespace std::string_view_literals;

constexpr size_t kUnitBytes = 16 * kLznt1ChunkBytes;

/// MS-XCA 3.3 "LZNT1": a string with its NUL, and what Windows makes of it.
constexpr auto kDocumentText =
    "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E "
    "F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0"sv;
constexpr std::array<uint8_t, 59> kDocumentBytes = {
    0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47,
    0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20,
    0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09,
    0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00};

enum class Content { Zeros, OneByte, Text, Records, Random, Mixed };
constexpr Content kContents[] = {Content::Zeros,   Content::OneByte, Content::Text,
                                 Content::Records, Content::Random,  Content::Mixed};

ByteVector content(Content kind, size_t size_bytes, uint32_t seed) {
  std::mt19937 random(seed);
  ByteVector bytes(size_bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    unsigned value = 0;
    switch (kind) {
      case Content::Zeros:
        break;
      case Content::OneByte:
        value = 0x5a;
        break;
      case Content::Text:
        value = static_cast<unsigned>("the cat sat on a mat, "[random() % 22]);
        break;
      case Content::Records:
        value = static_cast<unsigned>(i % 48 < 40 ? i % 48 : random());
        break;
      case Content::Random:
        value = static_cast<unsigned>(random());
        break;
      case Content::Mixed:
        value = static_cast<unsigned>((i / kLznt1ChunkBytes) % 2 == 0 ? random() : i / 100);
        break;
    }
    bytes[i] = static_cast<std::byte>(value);
  }
  return bytes;
}

ByteVector compressed(ByteView from) {
  Lznt1Compressor compressor;
  ByteVector into(from.size() + 2 * from.size() / kLznt1ChunkBytes);
  const auto used = compressor.compress(from, into);
  EXPECT_TRUE(used);
  into.resize(used.value_or(0));
  return into;
}

TEST(Lznt1, ReadsTheExampleOfTheDocument) {
  ByteVector into(kLznt1ChunkBytes, std::byte{1});
  ASSERT_TRUE(decompress_lznt1(bytes_of(kDocumentBytes), into));
  EXPECT_EQ(as_text(ByteView(into).first(kDocumentText.size())), kDocumentText);
  // What the chunk does not say is zeros.
  const auto rest = into.begin() + static_cast<ptrdiff_t>(kDocumentText.size());
  EXPECT_EQ(std::count(rest, into.end(), std::byte{0}), into.end() - rest);
}

TEST(Lznt1, GivesBackWhatWentIn) {
  for (const Content kind : kContents) {
    for (const size_t size : {kLznt1ChunkBytes, 3 * kLznt1ChunkBytes, kUnitBytes}) {
      const ByteVector from = content(kind, size, 7);
      ByteVector into(size, std::byte{1});
      ASSERT_TRUE(decompress_lznt1(compressed(from), into));
      EXPECT_EQ(into, from) << static_cast<int>(kind) << " " << size;
    }
  }
}

TEST(Lznt1, RefersBackFromEveryPlaceOfAChunk) {
  // Behind `at` random bytes the first ones come again: each width of a distance is used.
  for (size_t at = 1; at < kLznt1ChunkBytes; at += at < 600 ? 1 : 37) {
    ByteVector from = content(Content::Random, kLznt1ChunkBytes, static_cast<uint32_t>(at));
    for (size_t i = at; i < from.size(); ++i) from[i] = from[i - at];
    ByteVector into(from.size());
    const ByteVector packed = compressed(from);
    ASSERT_TRUE(decompress_lznt1(packed, into)) << at;
    ASSERT_EQ(into, from) << at;
  }
}

TEST(Lznt1, MakesWhatRepeatsSmallAndLeavesRandomBytesPlain) {
  EXPECT_LT(compressed(content(Content::Zeros, kUnitBytes, 1)).size(), 16u * 10);
  EXPECT_LT(compressed(content(Content::Text, kUnitBytes, 1)).size(), kUnitBytes * 3 / 4);
  EXPECT_EQ(compressed(content(Content::Random, kUnitBytes, 1)).size(),
            kUnitBytes + 2 * kUnitBytes / kLznt1ChunkBytes);
}

TEST(Lznt1, SaysWhenTheRoomDoesNotSuffice) {
  const ByteVector from = content(Content::Mixed, kUnitBytes, 3);
  const size_t needed = compressed(from).size();
  Lznt1Compressor compressor;
  // The compressor stops a group of items before the end.
  ByteVector enough(needed + 17);
  EXPECT_TRUE(compressor.compress(from, enough));
  for (size_t room = 0; room < needed; room += 97) {
    ByteVector into(room);
    EXPECT_FALSE(compressor.compress(from, into)) << room;
  }
}

TEST(Lznt1, TakesTheEndOfItsInputAndAHeaderOfZeroForTheEnd) {
  ByteVector into(2 * kLznt1ChunkBytes, std::byte{1});
  ASSERT_TRUE(decompress_lznt1({}, into));
  EXPECT_EQ(into, ByteVector(into.size()));
  ByteVector from = compressed(content(Content::Text, kLznt1ChunkBytes, 5));
  from.resize(from.size() + 2);
  const ByteVector junk = content(Content::Random, 500, 1);
  from.insert(from.end(), junk.begin(), junk.end());
  ASSERT_TRUE(decompress_lznt1(from, into));
  const ByteVector expected = content(Content::Text, kLznt1ChunkBytes, 5);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), into.begin()));
}

TEST(Lznt1, RefusesWhatCannotBe) {
  ByteVector into(kLznt1ChunkBytes);
  const auto refuses = [&](std::initializer_list<unsigned> values) {
    ByteVector from;
    for (const unsigned value : values) from.push_back(static_cast<std::byte>(value));
    const auto done = decompress_lznt1(from, into);
    return !done && done.error() == NtStatus::FileCorruptError;
  };
  EXPECT_TRUE(refuses({0x03, 0xB0, 0x01, 0x00, 0x00, 0x00}));       // refers back from the start
  EXPECT_TRUE(refuses({0x04, 0xB0, 0x02, 'a', 0x00, 0x10, 0x00}));  // before the start
  EXPECT_FALSE(refuses({0x04, 0xB0, 0x02, 'a', 0x00, 0x00, 0x00}));
  EXPECT_TRUE(refuses({0x02, 0xB0, 0x02, 'a', 0x00}));              // half a reference
  EXPECT_TRUE(refuses({0x02, 0x90, 0x00, 'a', 'b'}));               // another signature
  EXPECT_TRUE(refuses({0x20, 0xB0, 0x00, 'a', 'b'}));               // longer than its input
  EXPECT_TRUE(refuses({0x04, 0xB0, 0x02, 'a', 0xFE, 0x0F, 0x00}));  // longer than a chunk
}

/// Whatever the bytes say, it ends, within its memory (AddressSanitizer sees it).
TEST(Lznt1, EndsOnBytesThatAreDamaged) {
  ByteVector into(2 * kLznt1ChunkBytes);
  for (const Content kind : {Content::Text, Content::Records, Content::Mixed}) {
    const ByteVector good = compressed(content(kind, into.size(), 11));
    size_t refused = 0;
    for (size_t at = 0; at < good.size(); ++at) {
      ByteVector bad = good;
      for (const unsigned change : {0x01u, 0x80u, 0xFFu}) {
        bad[at] = good[at] ^ static_cast<std::byte>(change);
        if (!decompress_lznt1(bad, into)) ++refused;
      }
      const ByteVector cut(good.begin(), good.begin() + static_cast<ptrdiff_t>(at));
      if (!decompress_lznt1(cut, into)) ++refused;
    }
    EXPECT_GT(refused, 0u);
  }
}

}  // namespace
}  // namespace ntfs
