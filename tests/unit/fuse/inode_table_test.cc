#include "fuse/inode_table.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/store/scratch_volume.h"

namespace ntfs::frontend {
namespace {

class InodeTableTest : public ::testing::Test {
 protected:
  FilePtr file(uint64_t record, uint16_t sequence) {
    return volume_.volume().file(FileReference(record, sequence));
  }
  static uint64_t node(uint64_t record) { return node_of(FileReference(record, 1)); }
  testing::ScratchVolume volume_{{}};
  InodeTable table_{file(5, 5)};
};

TEST_F(InodeTableTest, GivesEachFileANodeOfItsOwn) {
  EXPECT_EQ(node_of(FileReference(5, 5)), kRootNode);
  EXPECT_NE(node_of(FileReference(64, 1)), node_of(FileReference(64, 2)));
  EXPECT_NE(node_of(FileReference(0, 0)), 0u) << "means no node";
  EXPECT_NE(node_of(FileReference(1, 0)), kRootNode);
  EXPECT_EQ(shown_number(FileReference(5, 5)), 5u);
  EXPECT_EQ(shown_number(FileReference(64, 7)), 64u);
  EXPECT_NE(shown_number(FileReference(0, 1)), 0u);
  for (const uint64_t record : {0u, 1u, 5u, 6u, 64u}) {
    EXPECT_EQ(record_of(node_of(FileReference(record, 1))), record);
  }
}

TEST_F(InodeTableTest, KnowsTheRootAlways) {
  table_.forget(kRootNode, 1000);
  ASSERT_NE(table_.find(kRootNode), nullptr);
  EXPECT_EQ(table_.find(kRootNode)->reference(), FileReference(5, 5));
}

TEST_F(InodeTableTest, ForgetsAfterAsManyLookupsAsItCounted) {
  const FilePtr known = file(64, 1);
  table_.remember(known);
  table_.remember(known);
  table_.remember(known);
  const uint64_t node = node_of(known->reference());
  table_.forget(node, 2);
  EXPECT_EQ(table_.find(node), known);
  table_.forget(node, 1);
  EXPECT_EQ(table_.find(node), nullptr);
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(InodeTableTest, IgnoresWhatItDoesNotKnow) {
  table_.forget(node(77), 1);
  EXPECT_EQ(table_.find(node(77)), nullptr);
}

TEST_F(InodeTableTest, NeverTakesAFileForALaterOneInTheSameRecord) {
  const FilePtr gone = file(64, 1);
  table_.remember(gone);
  const FilePtr later = file(64, 2);
  table_.remember(later);
  EXPECT_EQ(table_.find(node_of(gone->reference())), gone);
  EXPECT_EQ(table_.find(node_of(later->reference())), later);
  table_.forget(node_of(gone->reference()), 1);
  EXPECT_EQ(table_.find(node_of(gone->reference())), nullptr);
  EXPECT_EQ(table_.find(node_of(later->reference())), later);
}

TEST_F(InodeTableTest, KnowsTheTimeThatTheKernelRepeatsAfterItWasReplaced) {
  const auto time = [](uint64_t raw) { return ondisk::FileTime::from_raw(raw); };
  table_.remember(file(64, 1));
  EXPECT_FALSE(table_.is_replaced_last_write(node(64), time(1000))) << "nothing was replaced";
  table_.last_write_replaced(node(64), time(1000));
  EXPECT_TRUE(table_.is_replaced_last_write(node(64), time(1005)))
      << "data was written before that";
  table_.last_write_replaced(node(64), time(7));
  EXPECT_TRUE(table_.is_replaced_last_write(node(64), time(1005))) << "and again";
  EXPECT_FALSE(table_.is_replaced_last_write(node(64), time(1006))) << "a new one";
  EXPECT_FALSE(table_.is_replaced_last_write(node(64), time(1005))) << "from then on all are";
}

TEST_F(InodeTableTest, TakesTimesBeforeAndAfterAReplacementForNewOnes) {
  const auto time = [](uint64_t raw) { return ondisk::FileTime::from_raw(raw); };
  table_.remember(file(64, 1));
  table_.last_write_replaced(node(64), time(1000));
  EXPECT_FALSE(table_.is_replaced_last_write(node(64), time(999)));
  table_.last_write_replaced(node(64), time(1000));
  EXPECT_FALSE(table_.is_replaced_last_write(node(64), time(uint64_t{1} << 60)));
  table_.last_write_replaced(node(64), time(1000));
  const FilePtr later = file(64, 2);
  table_.remember(later);
  EXPECT_FALSE(table_.is_replaced_last_write(node_of(later->reference()), time(1000)))
      << "of another file";
  table_.last_write_replaced(node(65), time(1000));
  EXPECT_FALSE(table_.is_replaced_last_write(node(65), time(1000))) << "not known";
}

TEST_F(InodeTableTest, CountsRightFromSeveralThreads) {
  constexpr uint64_t kFiles = 50;
  constexpr int kRounds = 2000;
  const auto work = [&] {
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t record = 100 + static_cast<uint64_t>(round) % kFiles;
      table_.remember(file(record, 1));
      EXPECT_NE(table_.find(node(record)), nullptr);
      table_.forget(node(record), 1);
    }
  };
  std::thread one(work);
  std::thread other(work);
  one.join();
  other.join();
  EXPECT_EQ(table_.size(), 0u);
}

}  // namespace
}  // namespace ntfs::frontend
