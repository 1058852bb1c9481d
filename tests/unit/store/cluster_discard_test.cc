#include <gtest/gtest.h>

#include "core/store/cluster_allocator.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using testing::in_transaction;
using testing::MemoryDevice;
using testing::reading;
using testing::ScratchVolume;

constexpr uint64_t kCluster = 4096;
constexpr auto kDiscard = VolumeOptions::Discard::Yes;

/// Allocates `count` clusters in one run and puts bytes there.
ClusterRun written_run(ScratchVolume& scratch, uint64_t count) {
  Volume& volume = scratch.volume();
  std::vector<ClusterRun> runs;
  const auto done = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    runs = TRY(volume.clusters().allocate(transaction, ClusterCount(count), Lcn::hole()));
    return {};
  });
  EXPECT_EQ(done, NtStatus::Success);
  EXPECT_EQ(runs.size(), 1u);
  AlignedBuffer bytes(count * kCluster);
  std::fill(bytes.bytes().begin(), bytes.bytes().end(), std::byte{0x5A});
  EXPECT_TRUE(scratch.device().write(runs[0].lcn.raw() * kCluster, bytes.bytes()));
  return runs[0];
}

void free_run(Volume& volume, ClusterRun run) {
  const auto done = in_transaction(volume, [&](Transaction& transaction) {
    return volume.clusters().free_clusters(transaction, run);
  });
  ASSERT_EQ(done, NtStatus::Success);
}

/// How many bytes of the run's clusters are not zero: what was discarded reads as zeros.
uint64_t count_kept(MemoryDevice& device, ClusterRun run) {
  AlignedBuffer bytes(run.count.raw() * kCluster);
  EXPECT_TRUE(device.read(run.lcn.raw() * kCluster, bytes.bytes()));
  const auto kept = std::count_if(bytes.bytes().begin(), bytes.bytes().end(),
                                  [](std::byte byte) { return byte != std::byte{0}; });
  return static_cast<uint64_t>(kept);
}

TEST(ClusterDiscard, WaitsUntilTheFreeingIsDurableInPlace) {
  ScratchVolume scratch({.discard = kDiscard});
  Volume& volume = scratch.volume();
  const ClusterRun run = written_run(scratch, 100);
  ASSERT_TRUE(volume.checkpoint());
  free_run(volume, run);
  ASSERT_TRUE(volume.commit());
  volume.clusters().discard_freed();
  EXPECT_EQ(scratch.device().counters().discards, 0u);
  EXPECT_EQ(count_kept(scratch.device(), run), 100 * kCluster);
  ASSERT_TRUE(volume.checkpoint());
  EXPECT_EQ(scratch.device().counters().discards, 1u);
  EXPECT_EQ(count_kept(scratch.device(), run), 0u);
  EXPECT_EQ(scratch.check(), "");
}

TEST(ClusterDiscard, AsksOnceForNeighbours) {
  ScratchVolume scratch({.discard = kDiscard});
  const ClusterRun run = written_run(scratch, 90);
  const ClusterCount third(30);
  free_run(scratch.volume(), {run.lcn + third + third, third});
  free_run(scratch.volume(), {run.lcn, third});
  free_run(scratch.volume(), {run.lcn + third, third});
  ASSERT_TRUE(scratch.volume().checkpoint());
  EXPECT_EQ(scratch.device().counters().discards, 1u);
  EXPECT_EQ(count_kept(scratch.device(), run), 0u);
}

TEST(ClusterDiscard, ComesBeforeTheClustersAreUsedAgain) {
  ScratchVolume scratch({.discard = kDiscard});
  Volume& volume = scratch.volume();
  const ClusterRun run = written_run(scratch, 100);
  const ClusterCount before = volume.clusters().available();
  free_run(volume, run);
  ASSERT_TRUE(volume.journal().checkpoint());  // alone
  EXPECT_EQ(volume.clusters().available(), before);
  const auto claimed =
      reading(volume, [&] { return volume.clusters().claim(ClusterCount(1), run.lcn); });
  ASSERT_TRUE(claimed.has_value());
  EXPECT_NE(claimed->front().lcn, run.lcn);
  EXPECT_TRUE(volume.reclaim());
  EXPECT_EQ(scratch.device().counters().discards, 1u);
  EXPECT_EQ(volume.clusters().available(), before + ClusterCount(99));
}

TEST(ClusterDiscard, IsNotDoneUnlessAskedFor) {
  ScratchVolume scratch({});
  const ClusterRun run = written_run(scratch, 100);
  free_run(scratch.volume(), run);
  ASSERT_TRUE(scratch.volume().checkpoint());
  scratch.reopen();
  EXPECT_EQ(scratch.device().counters().discards, 0u);
  EXPECT_EQ(count_kept(scratch.device(), run), 100 * kCluster);
}

TEST(ClusterDiscard, ReusesWhatTheDeviceWouldNotDiscard) {
  ScratchVolume scratch({.discard = kDiscard});
  Volume& volume = scratch.volume();
  scratch.device().refuse_discards();
  const ClusterCount before = volume.clusters().available();
  free_run(volume, written_run(scratch, 100));
  ASSERT_TRUE(volume.checkpoint());
  EXPECT_EQ(volume.clusters().available(), before);
  // And it is not asked again.
  free_run(volume, written_run(scratch, 100));
  ASSERT_TRUE(volume.journal().checkpoint());
  const auto all = reading(volume, [&] { return volume.clusters().claim(before, Lcn::hole()); });
  EXPECT_TRUE(all.has_value());
}

TEST(ClusterDiscard, TrimsWhatIsFreeAndNothingElse) {
  ScratchVolume scratch({});
  Volume& volume = scratch.volume();
  const ClusterRun run = written_run(scratch, 100);
  const ClusterCount half(50);
  free_run(volume, {run.lcn, half});
  // Freed, and not yet to be touched.
  const ClusterRun whole{Lcn(0), ClusterCount(volume.geometry().total_clusters)};
  ASSERT_TRUE(volume.clusters().trim(whole, ClusterCount(1)));
  EXPECT_EQ(count_kept(scratch.device(), run), 100 * kCluster);
  ASSERT_TRUE(volume.checkpoint());
  ASSERT_TRUE(volume.clusters().promise(ClusterCount(1000)));
  const ClusterCount available = volume.clusters().available() + half;
  const auto trimmed = volume.clusters().trim(whole, ClusterCount(1));
  ASSERT_TRUE(trimmed.has_value());
  EXPECT_GE(*trimmed, available);
  EXPECT_EQ(count_kept(scratch.device(), run), 50 * kCluster);
  EXPECT_EQ(volume.clusters().available(), available);
  volume.clusters().withdraw_promise(ClusterCount(1000));
  free_run(volume, {run.lcn + half, half});  // what no file has
  EXPECT_EQ(scratch.check(), "");
  scratch.reopen();
  EXPECT_EQ(scratch.check(), "");
}

TEST(ClusterDiscard, TrimsWithinTheRangeAndNoShortPieces) {
  ScratchVolume scratch({});
  Volume& volume = scratch.volume();
  const ClusterRun run = written_run(scratch, 100);
  const ClusterCount ten(10);
  free_run(volume, {run.lcn + ten, ten});
  free_run(volume, {run.lcn + ten + ten + ten, ClusterCount(20)});
  ASSERT_TRUE(volume.checkpoint());
  const auto trimmed = volume.clusters().trim(run, ClusterCount(11));
  ASSERT_TRUE(trimmed.has_value());
  EXPECT_EQ(*trimmed, ClusterCount(20));
  EXPECT_EQ(count_kept(scratch.device(), run), 80 * kCluster);
  const auto rest = volume.clusters().trim({run.lcn, ClusterCount(15)}, ClusterCount(1));
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(*rest, ClusterCount(5));
  EXPECT_EQ(count_kept(scratch.device(), run), 75 * kCluster);
}

TEST(ClusterDiscard, TrimsALongRunInPieces) {
  ScratchVolume scratch({.size_bytes = uint64_t{2} << 30});
  Volume& volume = scratch.volume();
  const ClusterRun whole{Lcn(0), ClusterCount(volume.geometry().total_clusters)};
  const uint64_t least = (uint64_t{300} << 20) / kCluster;
  const auto trimmed = volume.clusters().trim(whole, ClusterCount(least));
  ASSERT_TRUE(trimmed.has_value());
  // The rest of a long run counts although it is short.
  EXPECT_GT(trimmed->raw() * 10, volume.clusters().available().raw() * 9);
  EXPECT_GE(scratch.device().counters().discards, 6u);
  EXPECT_EQ(scratch.check(), "");
}

TEST(ClusterDiscard, SaysWhenTheDeviceCannotTrim) {
  ScratchVolume scratch({});
  scratch.device().refuse_discards();
  const ClusterCount available = scratch.volume().clusters().available();
  const ClusterRun whole{Lcn(0), ClusterCount(scratch.volume().geometry().total_clusters)};
  const auto trimmed = scratch.volume().clusters().trim(whole, ClusterCount(1));
  ASSERT_FALSE(trimmed.has_value());
  EXPECT_EQ(trimmed.error(), NtStatus::NotSupported);
  EXPECT_EQ(scratch.volume().clusters().available(), available);
}

}  // namespace
}  // namespace ntfs
