#include "core/ondisk/mapping_pairs.h"

#include <gtest/gtest.h>

#include <random>

namespace ntfs::ondisk {
namespace {

constexpr Origin kOrigin{"mapping pairs", 0, 0};
constexpr uint64_t kClusters = uint64_t{1} << 40;

ByteVector bytes(std::initializer_list<unsigned> values) {
  ByteVector result;
  for (const unsigned value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

Run run_at(uint64_t vcn, uint64_t lcn, uint64_t count) {
  return {Vcn(vcn), Lcn(lcn), ClusterCount(count)};
}
Run hole_at(uint64_t vcn, uint64_t count) { return {Vcn(vcn), Lcn::hole(), ClusterCount(count)}; }

TEST(MappingPairs, DecodesTheKnownForms) {
  const ByteVector pairs = bytes({0x21, 0x18, 0x34, 0x56,  // 24 clusters at 0x5634
                                  0x11, 0x30, 0x60,        // 48 at 0x5694
                                  0x01, 0x10,              // a hole of 16
                                  0x11, 0x08, 0xF0,        // 8 at 0x5684
                                  0x00});
  const auto runs = decode_mapping_pairs(pairs, Vcn(100), Vcn(196), kClusters, kOrigin);
  ASSERT_TRUE(runs);
  const std::vector<ntfs::Run> expected = {run_at(100, 0x5634, 24), run_at(124, 0x5694, 48),
                                           hole_at(172, 16), run_at(188, 0x5684, 8)};
  EXPECT_EQ(*runs, expected);
  EXPECT_EQ(encode_mapping_pairs(expected, 100).bytes, pairs);
  EXPECT_EQ(encoded_mapping_pairs_size(expected), pairs.size());
  EXPECT_EQ(*count_mapped_clusters(pairs), ClusterCount(96));
}

TEST(MappingPairs, KeepsTheSignBitOfLengthsAndDistances) {
  const std::vector<ntfs::Run> runs = {run_at(0, 0x80, 0x80), run_at(0x80, 0x7F, 0x7F),
                                       run_at(0xFF, 0x10000, 0x8000), run_at(0x80FF, 1, 1)};
  const auto encoded = encode_mapping_pairs(runs, 100);
  EXPECT_EQ(encoded.bytes[0], std::byte{0x22});  // 0x80 takes two bytes: the high bit is the sign
  const auto decoded =
      decode_mapping_pairs(encoded.bytes, Vcn(0), encoded.next, kClusters, kOrigin);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, runs);
}

TEST(MappingPairs, EncodesAnEmptyListAsTerminator) {
  const auto encoded = encode_mapping_pairs({}, 1);
  EXPECT_EQ(encoded.bytes, bytes({0}));
  EXPECT_EQ(encoded.run_count, 0u);
  const auto decoded = decode_mapping_pairs(encoded.bytes, Vcn(0), Vcn(0), kClusters, kOrigin);
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->empty());
}

TEST(MappingPairs, StopsAtTheLastWholeRunThatFits) {
  const std::vector<ntfs::Run> runs = {run_at(5, 0x1000, 4), run_at(9, 0x2000, 4),
                                       run_at(13, 0x10, 1)};
  const size_t whole = encoded_mapping_pairs_size(runs);
  for (size_t room = 1; room <= whole + 1; ++room) {
    const auto encoded = encode_mapping_pairs(runs, room);
    EXPECT_LE(encoded.bytes.size(), room);
    EXPECT_EQ(encoded.bytes.back(), std::byte{0});
    EXPECT_EQ(encoded.run_count == runs.size(), room >= whole);
    EXPECT_EQ(encoded.next, encoded.run_count == 0 ? Vcn(5) : runs[encoded.run_count - 1].end());
    const auto decoded =
        decode_mapping_pairs(encoded.bytes, Vcn(5), encoded.next, kClusters, kOrigin);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded,
              std::vector<ntfs::Run>(runs.begin(),
                                     runs.begin() + static_cast<ptrdiff_t>(encoded.run_count)));
  }
}

TEST(MappingPairs, RoundTripsRandomRunlists) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    const Vcn lowest(random() % 1000);
    Vcn vcn = lowest;
    std::vector<ntfs::Run> runs;
    for (uint64_t i = random() % 20; i > 0; --i) {
      const ClusterCount count(1 + random() % (uint64_t{1} << (1 + random() % 30)));
      const Lcn lcn =
          random() % 4 == 0 ? Lcn::hole() : Lcn(random() % (kClusters >> (random() % 39)) / 2);
      runs.push_back({vcn, lcn, count});
      vcn = vcn + count;
    }
    const auto encoded = encode_mapping_pairs(runs, 10000);
    ASSERT_EQ(encoded.run_count, runs.size());
    ASSERT_EQ(encoded.bytes.size(), encoded_mapping_pairs_size(runs));
    const auto decoded = decode_mapping_pairs(encoded.bytes, lowest, vcn, 2 * kClusters, kOrigin);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, runs);
    EXPECT_EQ(*count_mapped_clusters(encoded.bytes), vcn - lowest);
  }
}

TEST(MappingPairs, RefusesBrokenPairs) {
  struct Case {
    const char* name;
    ByteVector pairs;
    uint64_t next;
  };
  const std::vector<Case> cases = {
      {"no bytes", {}, 0},
      {"no terminator", bytes({0x11, 0x01, 0x01}), 1},
      {"no length field", bytes({0x10, 0x01, 0x00}), 1},
      {"length field of 9 bytes", bytes({0x09, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 1},
      {"distance field of 9 bytes", bytes({0x91, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}), 1},
      {"cut in the length", bytes({0x14, 0x01, 0x00}), 1},
      {"cut in the distance", bytes({0x41, 0x01, 0x01, 0x00}), 1},
      {"length 0", bytes({0x11, 0x00, 0x01, 0x00}), 0},
      {"length negative", bytes({0x11, 0xFF, 0x01, 0x00}), 1},
      {"length beyond any volume", bytes({0x08, 0, 0, 0, 0, 0, 0, 0, 0x7F, 0}), 1},
      {"too many clusters", bytes({0x11, 0x02, 0x01, 0x00}), 1},
      {"too few clusters", bytes({0x11, 0x02, 0x01, 0x00}), 3},
      {"lcn -1", bytes({0x11, 0x01, 0xFF, 0x00}), 1},
      {"lcn below 0 later", bytes({0x11, 0x01, 0x05, 0x11, 0x01, 0xFA, 0x00}), 2},
      {"lcn = volume", bytes({0x21, 0x01, 0x64, 0x00, 0x00}), 1},
      {"run over the end", bytes({0x11, 0x02, 0x63, 0x00}), 2},
      {"lcn overflow",
       bytes({0x11, 0x01, 0x10, 0x81, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0}), 2},
  };
  for (const Case& c : cases) {
    const auto runs = decode_mapping_pairs(c.pairs, Vcn(0), Vcn(c.next), 100, kOrigin);
    EXPECT_EQ(runs.error(), NtStatus::FileCorruptError) << c.name;
  }
  EXPECT_TRUE(decode_mapping_pairs(bytes({0x11, 1, 0x63, 0}), Vcn(0), Vcn(1), 100, kOrigin));
}

TEST(MappingPairs, CountsNothingInBrokenPairs) {
  for (const ByteVector& pairs :
       {ByteVector{}, bytes({0x11, 0x01, 0x01}), bytes({0x10, 0x01, 0x00}),
        bytes({0x11, 0x00, 0x01, 0x00}), bytes({0x14, 0x01, 0x00}),
        bytes({0x07, 0, 0,    0,    0, 0, 0, 0x7F, 0x07, 0, 0,    0, 0,
               0,    0, 0x7F, 0x07, 0, 0, 0, 0,    0,    0, 0x7F, 0})}) {
    EXPECT_FALSE(count_mapped_clusters(pairs));
  }
}

}  // namespace
}  // namespace ntfs::ondisk
