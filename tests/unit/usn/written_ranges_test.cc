#include "usn/written_ranges.h"

#include <gtest/gtest.h>

#include <ostream>

namespace ntfs::usn {

void PrintTo(const Extent& extent, std::ostream* out) {
  *out << extent.offset << "+" << extent.length;
}

namespace {

using Extents = std::vector<Extent>;
constexpr RangeTracking kTracking{4096, 10000};
constexpr uint64_t kLarge = 1 << 20;

TEST(WrittenRanges, AreToldInWholeChunksAndOnce) {
  WrittenRanges ranges;
  ranges.add({5000, 1}, kLarge, kTracking);
  EXPECT_EQ(ranges.take(), (Extents{{4096, 4096}}));
  EXPECT_EQ(ranges.take(), Extents{});
}

TEST(WrittenRanges, OfSmallFilesAreNotTold) {
  WrittenRanges ranges;
  ranges.add({0, 100}, 9999, kTracking);
  EXPECT_EQ(ranges.take(), Extents{});
}

TEST(WrittenRanges, OfAFileThatGrowsAreToldFromItsFirstByte) {
  WrittenRanges ranges;
  ranges.add({0, 100}, 100, kTracking);
  ranges.add({8192, 1808}, 10000, kTracking);
  EXPECT_EQ(ranges.take(), (Extents{{0, 4096}, {8192, 4096}}));
}

TEST(WrittenRanges, ThatTouchOrOverlapAreOne) {
  WrittenRanges ranges;
  ranges.add({16384, 4096}, kLarge, kTracking);
  ranges.add({0, 4096}, kLarge, kTracking);
  ranges.add({32768, 4096}, kLarge, kTracking);
  ranges.add({4096, 12288}, kLarge, kTracking);
  EXPECT_EQ(ranges.take(), (Extents{{0, 20480}, {32768, 4096}}));
}

TEST(WrittenRanges, ThatAreNearestAreOneWhenThereAreTooMany) {
  WrittenRanges ranges;
  for (uint64_t i = 0; i < WrittenRanges::kMostExtents; ++i) {
    ranges.add({i * 16384, 4096}, kLarge, kTracking);
  }
  ranges.add({7 * 16384 + 8192, 4096}, kLarge, kTracking);
  const Extents told = ranges.take();
  ASSERT_EQ(told.size(), WrittenRanges::kMostExtents);
  EXPECT_EQ(told[7], (Extent{7 * 16384, 12288}));
}

}  // namespace
}  // namespace ntfs::usn
