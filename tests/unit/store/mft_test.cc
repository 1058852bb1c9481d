#include "core/store/mft.h"

#include <gtest/gtest.h>

#include "core/base/trace.h"
#include "tests/unit/check/volume_editor.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/store/crashed_volume.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using testing::in_transaction;
using testing::reading;
using testing::ScratchVolume;
using testing::VolumeEditor;

constexpr uint64_t kFreeRecord = 40;
constexpr uint64_t kOtherNumber = 7;

void say_other_number(MutableBytes record) {
  struct_at<ondisk::FileRecordHeader>(record).record_number_low.set(kOtherNumber);
}

TEST(Mft, TakesFreeRecordsWhateverTheirNumber) {
  ScratchVolume scratch({});
  scratch.reopen_after(
      [&] { VolumeEditor(scratch.device()).edit_record(kFreeRecord, say_other_number); });
  const std::string before = last_corruption();
  const auto page = reading(scratch.volume(), [&] { return scratch.volume().mft().record(40); });
  EXPECT_TRUE(page.has_value());
  EXPECT_EQ(last_corruption(), before);
  uint64_t number = 0;
  while (number < kFreeRecord) number = scratch.make_file().record();
  EXPECT_EQ(number, kFreeRecord);
  EXPECT_EQ(scratch.check(), "");
}

TEST(Mft, RefusesRecordsInUseWithAnotherNumber) {
  const ondisk::test::QuietReports quiet;
  ScratchVolume scratch({});
  uint64_t number = 0;
  while (number < kFreeRecord) number = scratch.make_file().record();
  scratch.reopen_after(
      [&] { VolumeEditor(scratch.device()).edit_record(number, say_other_number); });
  const auto page =
      reading(scratch.volume(), [&] { return scratch.volume().mft().record(number); });
  ASSERT_FALSE(page.has_value());
  EXPECT_EQ(page.error(), NtStatus::FileCorruptError);
}

TEST(Mft, CopiesOnlyTheRecordsThatItsMirrorHolds) {
  constexpr uint64_t kMirrorBytes = 4096;  // of a cluster of twice that
  ScratchVolume scratch({.cluster_size = 8192});
  VolumeEditor editor(scratch.device());
  const uint64_t mirror = editor.geometry().mftmirr_lcn.raw() * editor.geometry().cluster_size;
  const ByteVector behind(kMirrorBytes, std::byte{0xA5});
  scratch.reopen_after([&] {
    editor.edit_attribute(ondisk::kMftMirrRecord, AttributeType::Data, u"", [](MutableBytes bytes) {
      auto& form = struct_at<ondisk::NonresidentForm>(bytes);
      form.file_size.set(kMirrorBytes);
      form.valid_data_length.set(kMirrorBytes);
    });
    editor.write(mirror + kMirrorBytes, behind);
  });
  // The records of $MFT and of the root: one in front of the mirror's end, one behind it.
  for (const FileReference file :
       {FileReference(ondisk::kMftRecord, 1), FileReference(ondisk::kRootRecord, 5)}) {
    ASSERT_EQ(in_transaction(
                  scratch.volume(),
                  [&](Transaction& transaction) -> Result<> {
                    Attributes attributes(scratch.volume(), file);
                    const auto found = attributes.find(AttributeType::StandardInformation);
                    ByteVector value(found->view().value().begin(), found->view().value().end());
                    value[0] ^= std::byte{1};
                    return attributes.set_value(transaction, AttributeType::StandardInformation,
                                                u"", value);
                  }),
              NtStatus::Success);
  }
  ASSERT_TRUE(scratch.volume().close());
  EXPECT_EQ(editor.read(mirror + kMirrorBytes, kMirrorBytes), behind);
  EXPECT_EQ(editor.read(mirror, kMirrorBytes),
            editor.read(editor.record_position(0), kMirrorBytes));
}

TEST(Mft, KeepsNoCopiesOfOtherRecordsThanSystemFiles) {
  ScratchVolume scratch({.cluster_size = 65536});
  const VolumeEditor editor(scratch.device());
  const uint64_t mirror = editor.geometry().mftmirr_lcn.raw() * editor.geometry().cluster_size;
  const uint64_t first = mirror + ondisk::kFirstUserRecord * editor.geometry().file_record_size;
  const size_t length = mirror + editor.geometry().cluster_size - first;
  const ByteVector before = editor.read(first, length);
  EXPECT_GE(scratch.make_file().record(), ondisk::kFirstUserRecord);
  ASSERT_TRUE(scratch.volume().close());
  EXPECT_EQ(editor.read(first, length), before);
}

/// A transaction that makes $MFT grow, and comes to nothing.
void grow_and_take_back(Volume& volume) {
  const size_t runs = volume.mft().records()->runs.runs().size();
  {
    Transaction transaction(volume.journal());
    ASSERT_TRUE(transaction.begin());
    const uint64_t before = volume.mft().total_records();
    while (volume.mft().total_records() == before) {
      ASSERT_TRUE(volume.mft().allocate(transaction));
    }
    EXPECT_GT(volume.mft().records()->runs.runs().size(), runs);
  }
  EXPECT_EQ(volume.mft().records()->runs.runs().size(), runs);
}

TEST(Mft, GrowsInSmallPiecesFarBeyondTheExtensionRecordsSetAside) {
  ScratchVolume scratch({.size_bytes = uint64_t{512} << 20});
  auto& clusters = scratch.volume().clusters();
  const auto all =
      reading(scratch.volume(), [&] { return clusters.claim(clusters.available(), Lcn(0)); });
  ASSERT_TRUE(all.has_value());
  std::vector<ClusterRun> pieces;
  for (const ClusterRun& run : *all) {
    for (Lcn lcn = run.lcn; lcn < run.end(); lcn = lcn + ClusterCount(2)) {
      pieces.push_back({lcn, ClusterCount(1)});
    }
  }
  clusters.unclaim(pieces);
  const auto runs = [&] { return scratch.volume().mft().records()->runs.runs().size(); };
  constexpr size_t kRuns =
      9000;  // of which 16 to 23, and what lies in the first extent, hold a part
  uint64_t last = 0;
  for (int i = 0; i < 100000 && runs() < kRuns; ++i) {
    last = scratch.make_file().record();
    if (i % 3000 == 2999) grow_and_take_back(scratch.volume());
    if (i == 9000) {
      ASSERT_EQ(scratch.check(), "");
    }
  }
  ASSERT_GE(runs(), kRuns);
  const size_t before = runs();
  EXPECT_EQ(scratch.check(), "");
  scratch.reopen();
  EXPECT_EQ(runs(), before);
  EXPECT_TRUE(
      reading(scratch.volume(), [&] { return scratch.volume().mft().record(last); }).has_value());
  EXPECT_GT(scratch.make_file().record(), 0u);
  EXPECT_EQ(scratch.check(), "");
}

/// Leaves only single clusters of the volume free.
void leave_single_clusters(ObjectStore& store) {
  constexpr uint64_t kCluster = 4096;
  const FilePtr filler = *store.create(*store.root(), u"filler", {});
  ASSERT_TRUE(store.flush());
  const uint64_t clusters = store.volume().clusters().available().raw() - 4;
  ASSERT_TRUE(store.allocate(*filler, 0, clusters * kCluster, ObjectStore::KeepSize::No));
  for (uint64_t i = 0; i < clusters; i += 2) {
    ASSERT_TRUE(store.punch(*filler, i * kCluster, kCluster));
  }
  ASSERT_TRUE(store.flush());
  ASSERT_TRUE(store.volume().checkpoint());
}

void make_file(ObjectStore& store, const std::string& name) {
  ASSERT_TRUE(store.create(*store.root(), std::u16string(name.begin(), name.end()), {}));
}

TEST(Mft, SurvivesCrashesWhereItsExtentsNeedAList) {
  constexpr int kRounds = 4;
  constexpr int kFilesARound = 700;
  constexpr size_t kRecords = 3;
  constexpr int kMoreFiles = 100;
  const auto device = testing::make_volume(32 << 20, 4096);
  const auto store = testing::mount(*device);
  ASSERT_NE(store, nullptr);
  leave_single_clusters(*store);
  const auto records = [](ObjectStore& of) {
    return reading(of.volume(), [&] {
      Attributes attributes(of.volume(), FileReference(ondisk::kMftRecord, 1));
      return attributes.all_of(AttributeType::Data)->size();
    });
  };
  ASSERT_EQ(records(*store), 1u);
  int made = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kFilesARound; ++i) {
      make_file(*store, "file " + std::to_string(made++));
    }
    ASSERT_TRUE(store->flush());
    const auto crashed = device->clone();
    if (round == 2) {
      ASSERT_TRUE(store->volume().checkpoint());
    }
    EXPECT_EQ(testing::recover(*crashed), testing::tree_of(*store)) << "round " << round;
    // What was recovered takes more files.
    const auto again = testing::mount(*crashed);
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(records(*again), records(*store));
    for (int i = 0; i < kMoreFiles; ++i) {
      make_file(*again, "more " + std::to_string(i));
    }
    ASSERT_TRUE(again->dismount());
    testing::checked_tree(*crashed);
  }
  EXPECT_GE(records(*store), kRecords);
}

}  // namespace
}  // namespace ntfs
