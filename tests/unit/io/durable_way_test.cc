#include "core/io/durable_way.h"

#include <gtest/gtest.h>

namespace ntfs {
namespace {

using std::chrono::microseconds;
using Way = DurableWay::Way;

/// Writes until the choice is made; how many went each way.
std::array<size_t, 2> choose(DurableWay& way, microseconds dsync, microseconds flush) {
  std::array<size_t, 2> counts{};
  while (!way.is_chosen()) {
    const Way next = way.next();
    // Every fourth write meets other work of the device.
    const auto disturbed = microseconds(counts[static_cast<size_t>(next)] % 4 == 3 ? 50'000 : 0);
    ++counts[static_cast<size_t>(next)];
    way.took(next, (next == Way::Dsync ? dsync : flush) + disturbed);
  }
  return counts;
}

TEST(DurableWay, TriesBothWaysInTurnAndTakesTheCheaper) {
  DurableWay fua;
  const auto counts = choose(fua, microseconds(40), microseconds(90));
  EXPECT_EQ(counts[0], DurableWay::kTrials);
  EXPECT_EQ(counts[1], DurableWay::kTrials);
  EXPECT_EQ(fua.next(), Way::Dsync);
  DurableWay without_fua;
  choose(without_fua, microseconds(4000), microseconds(3000));
  EXPECT_EQ(without_fua.next(), Way::Flush);
}

TEST(DurableWay, StaysWithItsChoice) {
  DurableWay way;
  choose(way, microseconds(40), microseconds(90));
  for (int i = 0; i < 100; ++i) way.took(Way::Dsync, microseconds(1'000'000));
  EXPECT_EQ(way.next(), Way::Dsync);
}

}  // namespace
}  // namespace ntfs
