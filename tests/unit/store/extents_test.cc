#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

#include "core/ondisk/attribute_values.h"
#include "core/store/attribute_list.h"
#include "core/store/attributes.h"
#include "tests/support/sanitized.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordView;
using testing::in_transaction;
using testing::reading;
using testing::ScratchVolume;

constexpr uint64_t kMiB = uint64_t{1} << 20;

/// A file whose unnamed $DATA gets and loses single clusters; `runs` is what it must have.
class FragmentedFile {
 public:
  explicit FragmentedFile(ScratchVolume& scratch)
      : scratch_(scratch), file_(scratch.make_file()), first_lcn_(free_from()) {
    EXPECT_EQ(change([&](Transaction& transaction) {
                return attributes().make_nonresident(transaction, AttributeType::Data, {},
                                                     Runlist(), {});
              }),
              NtStatus::Success);
  }

  Attributes attributes() { return Attributes(scratch_.volume(), file_); }
  Result<Attributes::Found> find(AttributeType type) {
    return reading(scratch_.volume(), [&] { return attributes().find(type); });
  }
  const Runlist& runs() const { return runs_; }
  FileReference reference() const { return file_; }

  template <typename Change>
  NtStatus change(Change&& change) {
    return in_transaction(scratch_.volume(), change);
  }

  /// Puts a cluster at each vcn: at a place of the volume that only this vcn uses, so that no two
  /// runs continue each other.
  Result<> put(Transaction& transaction, const std::vector<uint64_t>& vcns) {
    const Runlist before = runs_;
    for (const uint64_t vcn : vcns) {
      const auto got = TRY(scratch_.volume().clusters().allocate(transaction, ClusterCount(1),
                                                                 Lcn(first_lcn_ + 2 * vcn)));
      runs_.replace(Vcn(vcn), got[0].lcn, ClusterCount(1));
    }
    return attributes().store_runs(transaction, AttributeType::Data, {}, before, runs_, sizes());
  }
  /// As put, at the end, saying so.
  Result<> append(Transaction& transaction) {
    const Vcn end = runs_.end();
    const auto got = TRY(scratch_.volume().clusters().allocate(transaction, ClusterCount(1),
                                                               Lcn(first_lcn_ + 2 * end.raw())));
    runs_.append(got[0].lcn, ClusterCount(1));
    return attributes().store_changed_runs(transaction, AttributeType::Data, {}, runs_, end,
                                           runs_.end(), sizes());
  }
  Result<> punch(Transaction& transaction, Vcn vcn, ClusterCount count) {
    const Runlist before = runs_;
    TRY(free_in(transaction, vcn, count));
    runs_.replace(vcn, Lcn::hole(), count);
    return attributes().store_runs(transaction, AttributeType::Data, {}, before, runs_, sizes());
  }
  Result<> truncate(Transaction& transaction, Vcn end) {
    const Runlist before = runs_;
    TRY(free_in(transaction, end, runs_.end() - end));
    runs_.truncate(end);
    return attributes().store_runs(transaction, AttributeType::Data, {}, before, runs_, sizes());
  }
  /// After an abort.
  void take_back(Runlist runs) { runs_ = std::move(runs); }

  void expect_stored() {
    const SharedLock lock(scratch_.volume().journal().metadata_lock());
    const auto stored = attributes().load_runs(AttributeType::Data, {});
    ASSERT_TRUE(stored.has_value());
    ASSERT_TRUE(*stored == runs_);
    const auto stored_sizes = attributes().sizes(AttributeType::Data, {});
    ASSERT_TRUE(stored_sizes.has_value());
    ASSERT_TRUE(*stored_sizes == sizes());
  }
  size_t extents() {
    const SharedLock lock(scratch_.volume().journal().metadata_lock());
    const auto all = attributes().all();
    EXPECT_TRUE(all.has_value());
    size_t count = 0;
    for (const auto& found : *all) count += found.view().type() == AttributeType::Data ? 1 : 0;
    return count;
  }
  ondisk::AttributeSizes sizes() const {
    const uint64_t cluster = scratch_.volume().geometry().cluster_size;
    const uint64_t allocated = runs_.end().raw() * cluster;
    return {allocated, allocated, allocated, runs_.allocated().raw() * cluster};
  }

 private:
  /// Somewhere behind what format put on the volume.
  uint64_t free_from() const { return scratch_.volume().geometry().total_clusters / 8; }
  Result<> free_in(Transaction& transaction, Vcn vcn, ClusterCount count) {
    for (const ClusterRun& run : runs_.allocated_in(vcn, count)) {
      TRY(scratch_.volume().clusters().free_clusters(transaction, run));
    }
    return {};
  }

  ScratchVolume& scratch_;
  const FileReference file_;
  const uint64_t first_lcn_;
  Runlist runs_;
};

TEST(Extents, GrowToAHundredThousandFragmentsAtTheEndAndShrinkAgain) {
  ScratchVolume scratch({.size_bytes = 1024 * kMiB});
  FragmentedFile file(scratch);
  constexpr uint64_t kFragments = testing::kIsSanitized ? 20000 : 100000;
  for (uint64_t i = 0; i < kFragments; ++i) {
    ASSERT_EQ(file.change([&](Transaction& transaction) { return file.append(transaction); }),
              NtStatus::Success);
    if (i % 5000 == 4999) {
      ASSERT_NO_FATAL_FAILURE(file.expect_stored());
    }
  }
  EXPECT_EQ(file.runs().runs().size(), kFragments);
  EXPECT_LT(file.extents(), 700u);
  ASSERT_EQ(scratch.check(), "");
  scratch.reopen();
  ASSERT_NO_FATAL_FAILURE(file.expect_stored());
  for (uint64_t left = kFragments; left > 0;) {
    left -= std::min<uint64_t>(left, 777);
    ASSERT_EQ(file.change(
                  [&](Transaction& transaction) { return file.truncate(transaction, Vcn(left)); }),
              NtStatus::Success);
    if (left % 5 == 0) {
      ASSERT_NO_FATAL_FAILURE(file.expect_stored());
    }
  }
  EXPECT_EQ(file.extents(), 1u);
  ASSERT_EQ(scratch.check(), "");
}

class ExtentsOverShapes : public ::testing::TestWithParam<ScratchVolume::Shape> {};

TEST_P(ExtentsOverShapes, FillAHoleInRandomOrderAndPunchItAgain) {
  ScratchVolume scratch(GetParam());
  FragmentedFile file(scratch);
  constexpr uint64_t kSeed = 5;
  std::mt19937_64 random(kSeed);
  constexpr uint64_t kClusters = testing::kIsSanitized ? 3000 : 12000;
  std::vector<uint64_t> order(kClusters);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  // The last one first: all others fill the hole before it.
  std::iter_swap(order.begin(), std::find(order.begin(), order.end(), kClusters - 1));
  for (size_t at = 0; at < order.size();) {
    const size_t count = std::min<size_t>(1 + random() % 8, order.size() - at);
    const std::vector<uint64_t> vcns(order.begin() + static_cast<ptrdiff_t>(at),
                                     order.begin() + static_cast<ptrdiff_t>(at + count));
    ASSERT_EQ(file.change([&](Transaction& transaction) { return file.put(transaction, vcns); }),
              NtStatus::Success)
        << "seed " << kSeed << " at " << at;
    at += count;
    if (at % 16 == 0) {
      ASSERT_NO_FATAL_FAILURE(file.expect_stored()) << "seed " << kSeed << " at " << at;
    }
  }
  ASSERT_NO_FATAL_FAILURE(file.expect_stored());
  ASSERT_EQ(file.runs().runs().size(), kClusters);
  ASSERT_EQ(scratch.check(), "");
  const size_t most = file.extents();
  for (int step = 0; file.runs().allocated().raw() > 0; ++step) {
    ASSERT_LT(step, 20000);
    const uint64_t vcn =
        step < 2000 ? random() % kClusters : static_cast<uint64_t>(step - 2000) * 200 % kClusters;
    const uint64_t count = step < 2000 ? 1 + random() % 4 : 200;
    const ClusterCount length(std::min(count, kClusters - vcn));
    ASSERT_EQ(file.change([&](Transaction& transaction) {
      return file.punch(transaction, Vcn(vcn), length);
    }),
              NtStatus::Success)
        << "seed " << kSeed << " step " << step;
    if (step % 16 == 0) {
      ASSERT_NO_FATAL_FAILURE(file.expect_stored()) << "seed " << kSeed << " step " << step;
    }
  }
  ASSERT_NO_FATAL_FAILURE(file.expect_stored());
  EXPECT_LT(file.extents(), most / 2 + 2);
  ASSERT_EQ(scratch.check(), "");
}

TEST_P(ExtentsOverShapes, StandAsBeforeAfterAnAbort) {
  ScratchVolume scratch(GetParam());
  FragmentedFile file(scratch);
  constexpr uint64_t kSeed = 9;
  std::mt19937_64 random(kSeed);
  constexpr uint64_t kClusters = 4000;
  for (int step = 0; step < 600; ++step) {
    const Runlist before = file.runs();
    const size_t extents = file.extents();
    const auto change = [&](Transaction& transaction) -> Result<> {
      if (random() % 8 == 0 && before.end().raw() > 0) {
        return file.truncate(transaction, Vcn(random() % before.end().raw()));
      }
      std::set<uint64_t> vcns;
      while (vcns.size() < 20) vcns.insert(random() % kClusters);
      std::vector<uint64_t> free;
      for (const uint64_t vcn : vcns) {
        const bool is_taken = Vcn(vcn) < before.end() && !before.find(Vcn(vcn)).lcn.is_hole();
        if (!is_taken) free.push_back(vcn);
      }
      return file.put(transaction, free);
    };
    if (step % 3 == 0) {
      {
        Transaction transaction(scratch.volume().journal());
        ASSERT_TRUE(transaction.begin().has_value());
        ASSERT_TRUE(change(transaction).has_value());
      }
      file.take_back(before);
      ASSERT_EQ(file.extents(), extents);
    } else {
      ASSERT_EQ(file.change(change), NtStatus::Success) << "seed " << kSeed << " step " << step;
    }
    ASSERT_NO_FATAL_FAILURE(file.expect_stored()) << "seed " << kSeed << " step " << step;
    if (step % 100 == 99) {
      ASSERT_EQ(scratch.check(), "") << "seed " << kSeed << " step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ExtentsOverShapes,
    ::testing::Values(ScratchVolume::Shape{.size_bytes = 256 * kMiB},
                      ScratchVolume::Shape{.size_bytes = 64 * kMiB, .cluster_size = 512},
                      ScratchVolume::Shape{.size_bytes = 256 * kMiB, .record_size = 4096}));

TEST(Extents, HolesMakeAFileSparse) {
  ScratchVolume scratch({});
  FragmentedFile file(scratch);
  ASSERT_EQ(file.change([&](Transaction& transaction) { return file.append(transaction); }),
            NtStatus::Success);
  ASSERT_FALSE(file.find(AttributeType::Data)->view().is_sparse());
  ASSERT_EQ(file.change([&](Transaction& transaction) { return file.put(transaction, {20}); }),
            NtStatus::Success);
  const auto data = file.find(AttributeType::Data);
  ASSERT_TRUE(data.has_value());
  EXPECT_TRUE(data->view().is_sparse());
  EXPECT_TRUE(data->view().has_total_allocated());
  EXPECT_EQ(data->view().total_allocated(), 2 * 4096u);
  EXPECT_EQ(data->view().compression_unit(), 4);
  const auto information = file.find(AttributeType::StandardInformation);
  const auto& value = struct_at<ondisk::StandardInformation>(information->view().value());
  EXPECT_EQ(value.file_attributes.get(), ondisk::FileAttributes::SparseFile);
  EXPECT_EQ(scratch.check(), "");
}

TEST(Extents, ALongRunlistIsStoredAtOnce) {
  ScratchVolume scratch({.size_bytes = 256 * kMiB});
  const FileReference file = scratch.make_file();
  Attributes attributes(scratch.volume(), file);
  Runlist runs;
  ASSERT_EQ(in_transaction(scratch.volume(),
                           [&](Transaction& transaction) -> Result<> {
                             for (uint64_t i = 0; i < 2000; ++i) {
                               const auto got = TRY(scratch.volume().clusters().allocate(
                                   transaction, ClusterCount(1), Lcn(9000 + 3 * i)));
                               runs.append(got[0].lcn, got[0].count);
                             }
                             const uint64_t bytes = 2000 * 4096;
                             return attributes.make_nonresident(transaction, AttributeType::Data,
                                                                {}, runs, {bytes, bytes, 5, bytes});
                           }),
            NtStatus::Success);
  const auto stored =
      reading(scratch.volume(), [&] { return attributes.load_runs(AttributeType::Data, {}); });
  EXPECT_TRUE(*stored == runs);
  EXPECT_EQ(scratch.check(), "");
}

TEST(Extents, OfTheMftItselfStartInItsFirstRecord) {
  ScratchVolume scratch({.size_bytes = 16 * kMiB, .cluster_size = 1024});
  Volume& volume = scratch.volume();
  // Only single free clusters are left, so $MFT gets a fragment for each.
  std::vector<ClusterRun> holes;
  {
    const SharedLock lock(volume.journal().metadata_lock());
    const auto all = volume.clusters().claim(volume.clusters().available(), Lcn(0));
    ASSERT_TRUE(all.has_value());
    for (const ClusterRun& run : *all) {
      for (uint64_t i = 0; i + 1 < run.count.raw(); i += 2) {
        holes.push_back({run.lcn + ClusterCount(i), ClusterCount(1)});
      }
    }
    volume.clusters().unclaim(holes);
  }
  for (int i = 0; i < 900; ++i) scratch.make_file();
  Attributes attributes(volume, FileReference(ondisk::kMftRecord, 1));
  const auto all = reading(volume, [&] { return attributes.all(); });
  ASSERT_TRUE(all.has_value());
  size_t extents = 0;
  for (const auto& found : *all) {
    if (found.view().type() != AttributeType::Data) continue;
    if (extents++ == 0) {
      EXPECT_EQ(found.page->index(), 0u);
    }
  }
  EXPECT_GT(extents, 2u);
  const auto stored =
      reading(volume, [&] { return attributes.load_runs(AttributeType::Data, {}); });
  EXPECT_TRUE(*stored == volume.mft().records()->runs);
  EXPECT_EQ(scratch.check(), "");
  scratch.reopen();
  EXPECT_EQ(scratch.check(), "");
}

TEST(Extents, ThatDoNotFollowEachOtherAreReported) {
  const ondisk::test::QuietReports quiet;
  ScratchVolume scratch({.size_bytes = 64 * kMiB});
  FragmentedFile file(scratch);
  for (int i = 0; i < 600; ++i) {
    ASSERT_EQ(file.change([&](Transaction& transaction) { return file.append(transaction); }),
              NtStatus::Success);
  }
  const auto list = file.find(AttributeType::AttributeList);
  ASSERT_TRUE(list.has_value());
  ASSERT_TRUE(list->view().is_resident());
  const ByteVector good(list->view().value().begin(), list->view().value().end());
  std::mt19937_64 random(2);
  for (int round = 0; round < 1000; ++round) {
    ByteVector bad = good;
    bad[random() % bad.size()] = static_cast<std::byte>(random());
    Transaction transaction(scratch.volume().journal());
    ASSERT_TRUE(transaction.begin().has_value());
    Attributes attributes = file.attributes();
    ASSERT_TRUE(attributes.update_value(transaction, *list, 0, bad).has_value());
    (void)attributes.load_runs(AttributeType::Data, {});
    (void)attributes.find(AttributeType::Data, {}, Vcn(random() % 600));
    const Runlist before = file.runs();
    (void)file.put(transaction, {700 + static_cast<uint64_t>(round)});
    file.take_back(before);
    (void)file.punch(transaction, Vcn(random() % 500), ClusterCount(random() % 200));
    file.take_back(before);
  }
  ASSERT_NO_FATAL_FAILURE(file.expect_stored());
  EXPECT_EQ(scratch.check(), "");
}

}  // namespace
}  // namespace ntfs
