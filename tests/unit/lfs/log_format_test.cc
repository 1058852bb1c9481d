#include "lfs/log_format.h"

#include <gtest/gtest.h>

namespace ntfs::lfs {
namespace {

TEST(LogGeometry, MatchesLogsMadeByWindows) {
  const auto seven = LogGeometry::from_disk(0x1678000, 42, kFirstRecordOffset).value();
  EXPECT_EQ(seven.sequence_of(Lsn::from_raw(0x80541d)), 2u);
  EXPECT_EQ(seven.offset_of(Lsn::from_raw(0x80541d)), 0x2a0e8u);
  EXPECT_EQ(seven.lsn_at(2, 0x2a0e8).raw(), 0x80541du);
  const auto ten = LogGeometry::from_disk(0x8a0000, 43, kFirstRecordOffset2).value();
  EXPECT_EQ(ten.sequence_of(Lsn::from_raw(0x806158)), 4u);
  EXPECT_EQ(ten.offset_of(Lsn::from_raw(0x806158)), 0x30ac0u);
}

TEST(LogGeometry, CountsOneMoreBitForAPowerOfTwo) {
  const auto log = LogGeometry::for_new_log(0x200000).value();
  EXPECT_EQ(log.sequence_number_bits(), 45u);
  EXPECT_EQ(log.lsn_at(2, 0x4040).raw(), 0x100808u);
  EXPECT_EQ(log.lsn_at(2, 0x1ff040).raw(), 0x13fe08u);
  EXPECT_EQ(log.lsn_at(3, 0x4040).raw(), 0x180808u);
  EXPECT_EQ(LogGeometry::for_new_log(0x4000000).value().lsn_at(2, 0x4040).raw(), 0x2000808u);
}

TEST(LogGeometry, UsesAnEvenNumberOfPages) {
  EXPECT_EQ(LogGeometry::for_new_log(0x200000 + 3 * 4096 + 512).value().file_size(), 0x202000u);
  EXPECT_EQ(LogGeometry::for_new_log(uint64_t{1} << 40).value().file_size(), kMaximumLogBytes);
  EXPECT_EQ(LogGeometry::for_new_log(kMinimumLogBytes - 1).error(), NtStatus::DiskFull);
}

TEST(LogGeometry, RefusesSequenceBitsThatDoNotFitTheSize) {
  EXPECT_TRUE(LogGeometry::from_disk(0x200000, 45, kFirstRecordOffset).has_value());
  EXPECT_TRUE(LogGeometry::from_disk(0x200000, 46, kFirstRecordOffset).has_value());
  EXPECT_FALSE(LogGeometry::from_disk(0x200000, 44, kFirstRecordOffset).has_value());
  EXPECT_FALSE(LogGeometry::from_disk(0x210000, 46, kFirstRecordOffset).has_value());
  EXPECT_FALSE(LogGeometry::from_disk(0x200000, 0, kFirstRecordOffset).has_value());
  EXPECT_FALSE(LogGeometry::from_disk(0, 67, kFirstRecordOffset).has_value());
}

TEST(LogGeometry, RefusesSizesThatNobodyMakes) {
  EXPECT_TRUE(LogGeometry::from_disk(kMaximumForeignLogBytes, 34, kFirstRecordOffset).has_value());
  EXPECT_FALSE(LogGeometry::from_disk(kMaximumForeignLogBytes + kPageSize, 34, kFirstRecordOffset)
                   .has_value());
}

TEST(LogGeometry, KnowsWhereRecordsCannotBe) {
  const auto log = LogGeometry::for_new_log(0x200000).value();
  EXPECT_TRUE(log.can_hold_record(log.lsn_at(2, 0x4040)));
  EXPECT_TRUE(log.can_hold_record(log.lsn_at(2, 0x4fd0)));
  EXPECT_FALSE(log.can_hold_record(log.lsn_at(2, 0x4fd8)));    // a header would be split
  EXPECT_FALSE(log.can_hold_record(log.lsn_at(2, 0x4038)));    // page header
  EXPECT_FALSE(log.can_hold_record(log.lsn_at(2, 0x3040)));    // tail copy
  EXPECT_FALSE(log.can_hold_record(log.lsn_at(2, 0x200040)));  // behind the end
  EXPECT_FALSE(log.can_hold_record(log.lsn_at(2, 0)));
  EXPECT_FALSE(log.can_hold_record(Lsn()));
}

TEST(LogGeometry, GoesAroundTheEnd) {
  const auto log = LogGeometry::for_new_log(0x200000).value();
  EXPECT_EQ(log.next_page(0x1ff000), 0x4000u);
  EXPECT_EQ(log.previous_page(0x4000), 0x1ff000u);
  EXPECT_EQ(log.next_page(0x4000), 0x5000u);
}

}  // namespace
}  // namespace ntfs::lfs
