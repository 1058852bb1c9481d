#include "core/store/cluster_allocator.h"

#include <gtest/gtest.h>
#include <time.h>

#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using testing::reading;
using testing::ScratchVolume;

/// Takes everything, and gives back `count` single clusters that do not touch, and what metadata
/// may need.
void fragment(Volume& volume, uint64_t count) {
  auto& clusters = volume.clusters();
  const auto all = reading(volume, [&] { return clusters.claim(clusters.available(), Lcn(0)); });
  ASSERT_TRUE(all.has_value());
  std::vector<ClusterRun> pieces;
  for (const ClusterRun& run : *all) {
    for (Lcn lcn = run.lcn; lcn + ClusterCount(1) < run.end() && pieces.size() < count;) {
      pieces.push_back({lcn, ClusterCount(1)});
      lcn = lcn + ClusterCount(2);
    }
  }
  ASSERT_EQ(pieces.size(), count);
  clusters.unclaim(pieces);
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

TEST(ClusterAllocator, ClaimsAsManyRunsAsWereAskedForAndKeepsTheRestPromised) {
  ScratchVolume scratch({});
  auto& clusters = scratch.volume().clusters();
  fragment(scratch.volume(), 2000);
  const ClusterCount available = clusters.available();
  ASSERT_TRUE(clusters.promise(ClusterCount(1000)));
  const auto claimed = reading(scratch.volume(), [&] {
    return clusters.claim_promised(ClusterCount(1000), Lcn::hole(), 100);
  });
  ASSERT_TRUE(claimed.has_value());
  EXPECT_EQ(claimed->size(), 100u);
  for (const ClusterRun& run : *claimed) EXPECT_EQ(run.count, ClusterCount(1));
  EXPECT_EQ(clusters.available(), available - ClusterCount(1000));
  clusters.unclaim_to_promise(*claimed);
  EXPECT_EQ(clusters.available(), available - ClusterCount(1000));
  clusters.withdraw_promise(ClusterCount(1000));
  EXPECT_EQ(clusters.available(), available);
}

TEST(ClusterAllocator, TakesSpaceInSmallPiecesWithoutASearchForEach) {
  ScratchVolume scratch({.size_bytes = uint64_t{512} << 20});
  auto& clusters = scratch.volume().clusters();
  constexpr uint64_t kPieces = 40000;
  fragment(scratch.volume(), kPieces);
  const double start = cpu_seconds();
  const auto claimed =
      reading(scratch.volume(), [&] { return clusters.claim(ClusterCount(kPieces), Lcn::hole()); });
  // A search for each took 128 times as long: seconds.
  EXPECT_LT(cpu_seconds() - start, 1.0);
  ASSERT_TRUE(claimed.has_value());
  uint64_t total = 0;
  for (const ClusterRun& run : *claimed) total += run.count.raw();
  EXPECT_EQ(total, kPieces);
}

TEST(ClusterAllocator, PrefersTheLongerOnesOfManyPieces) {
  ScratchVolume scratch({});
  Volume& volume = scratch.volume();
  auto& clusters = volume.clusters();
  const auto all = reading(volume, [&] { return clusters.claim(clusters.available(), Lcn(0)); });
  ASSERT_TRUE(all.has_value());
  const ClusterRun space =
      *std::max_element(all->begin(), all->end(),
                        [](const ClusterRun& a, const ClusterRun& b) { return a.count < b.count; });
  std::vector<ClusterRun> pieces;
  for (uint64_t i = 0; i < 60; ++i) {
    pieces.push_back({space.lcn + ClusterCount(100 * i), ClusterCount(i % 6 == 5 ? 50 : 1)});
  }
  clusters.unclaim(pieces);
  const auto claimed =
      reading(volume, [&] { return clusters.claim(ClusterCount(300), Lcn::hole()); });
  ASSERT_TRUE(claimed.has_value());
  EXPECT_EQ(claimed->size(), 6u);
}

}  // namespace
}  // namespace ntfs
