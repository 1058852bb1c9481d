#include "core/store/runlist.h"

#include <gtest/gtest.h>

#include <random>

namespace ntfs {
namespace {

/// The lcn of each vcn; ~0 for holes.
using Model = std::vector<uint64_t>;
constexpr uint64_t kHole = ~uint64_t{0};

void put(Model& model, uint64_t vcn, uint64_t lcn, uint64_t count) {
  if (model.size() < vcn + count) model.resize(vcn + count, kHole);
  for (uint64_t i = 0; i < count; ++i) model[vcn + i] = lcn == kHole ? kHole : lcn + i;
}

void expect_as_model(const Runlist& runs, const Model& model) {
  ASSERT_EQ(runs.end().raw(), model.size());
  uint64_t vcn = 0;
  uint64_t allocated = 0;
  size_t index = 0;
  const ntfs::Run* before = nullptr;
  for (const ntfs::Run& run : runs.runs()) {
    ASSERT_EQ(run.vcn.raw(), vcn);
    ASSERT_EQ(runs.index_of(Vcn(vcn)), index);
    ASSERT_EQ(runs.runs()[index], run);
    ASSERT_EQ(*runs.runs().from(index), run);
    for (uint64_t i = 0; i < run.count.raw(); ++i, ++vcn) {
      ASSERT_EQ(model[vcn], run.lcn.is_hole() ? kHole : run.lcn.raw() + i);
      if (!run.lcn.is_hole()) ++allocated;
    }
    if (before != nullptr) {
      const bool both_holes = before->lcn.is_hole() && run.lcn.is_hole();
      const bool joined =
          !before->lcn.is_hole() && !run.lcn.is_hole() && before->lcn + before->count == run.lcn;
      ASSERT_FALSE(both_holes || joined) << "runs that are one";
    }
    before = &run;
    ++index;
  }
  ASSERT_EQ(index, runs.runs().size());
  ASSERT_EQ(vcn, model.size());
  ASSERT_EQ(runs.allocated().raw(), allocated);
  ASSERT_EQ(runs.index_of(runs.end()), index);
}

TEST(Runlist, AgreesWithAModelAndLeavesItsCopiesAlone) {
  constexpr uint64_t kSeed = 11;
  std::mt19937_64 random(kSeed);
  Runlist runs;
  Model model;
  struct Copy {
    Runlist runs;
    Model model;
  };
  std::vector<Copy> copies;
  for (int step = 0; step < 30000; ++step) {
    const uint64_t end = model.size();
    const uint64_t lcn = random() % 4 == 0 ? kHole : 1000 + random() % 4000;
    const uint64_t count = random() % 50 == 0 ? 1 + random() % 1500 : 1 + random() % 3;
    const uint64_t kind = random() % 100;
    if (kind < 10 && end < 8000) {
      runs.append(lcn == kHole ? Lcn::hole() : Lcn(lcn), ClusterCount(count));
      put(model, end, lcn, count);
    } else if (kind == 10 && step % 7 == 0) {
      const uint64_t to = end / 2 + random() % (end / 2 + 1);
      runs.truncate(Vcn(to));
      model.resize(std::min<uint64_t>(to, end));
    } else {
      const uint64_t vcn = random() % (std::min<uint64_t>(end, 8000) + 10);
      runs.replace(Vcn(vcn), lcn == kHole ? Lcn::hole() : Lcn(lcn), ClusterCount(count));
      put(model, vcn, lcn, count);
    }
    if (step % 500 != 0) continue;
    ASSERT_NO_FATAL_FAILURE(expect_as_model(runs, model)) << "seed " << kSeed << " step " << step;
    for (const Copy& copy : copies) ASSERT_NO_FATAL_FAILURE(expect_as_model(copy.runs, copy.model));
    if (copies.size() > 3) copies.erase(copies.begin());
    copies.push_back({runs, model});
  }
}

TEST(Runlist, FindsWhatTwoListsHaveInCommon) {
  Runlist all;
  for (uint64_t i = 0; i < 5000; ++i) all.append(Lcn(3 * i), ClusterCount(1));
  Runlist changed = all;
  EXPECT_TRUE(changed == all);
  changed.replace(Vcn(2000), Lcn::hole(), ClusterCount(10));
  EXPECT_FALSE(changed == all);
  EXPECT_EQ(all.equal_at_start(changed), 2000u);
  EXPECT_EQ(all.equal_at_end(changed), 5000u - 2010u);
  EXPECT_EQ(all.runs().size(), 5000u);
  EXPECT_EQ(changed.runs().size(), 4991u);
  Runlist made_anew;
  for (const ntfs::Run& run : changed.runs()) made_anew.append(run.lcn, run.count);
  EXPECT_TRUE(made_anew == changed);
  changed.truncate(Vcn(0));
  EXPECT_TRUE(changed.empty());
  EXPECT_EQ(changed.allocated(), ClusterCount(0));
}

TEST(Runlist, GivesThePartsOfARange) {
  Runlist runs;
  runs.append(Lcn(100), ClusterCount(10));
  runs.append(Lcn::hole(), ClusterCount(5));
  runs.append(Lcn(200), ClusterCount(10));
  const auto part = runs.runs_in(Vcn(4), Vcn(17));
  ASSERT_EQ(part.size(), 3u);
  EXPECT_EQ(part[0], (ntfs::Run{Vcn(4), Lcn(104), ClusterCount(6)}));
  EXPECT_EQ(part[1], (ntfs::Run{Vcn(10), Lcn::hole(), ClusterCount(5)}));
  EXPECT_EQ(part[2], (ntfs::Run{Vcn(15), Lcn(200), ClusterCount(2)}));
  EXPECT_EQ(runs.allocated_in(Vcn(4), ClusterCount(13)).size(), 2u);
  EXPECT_EQ(runs.first_runs(2).size(), 2u);
  EXPECT_EQ(runs.first_runs(9).size(), 3u);
  EXPECT_TRUE(runs.runs_in(Vcn(25), Vcn(30)).empty());
}

}  // namespace
}  // namespace ntfs
