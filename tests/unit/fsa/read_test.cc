// MS-FSA 2.1.5.3 "Server Requests a Read", step by step.

#include <gtest/gtest.h>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests

constexpr int64_t kMax = INT64_MAX;

class ReadTest : public ::testing::Test {
 protected:
  OpenedStore s_;
};

TEST_F(ReadTest, UnbufferedRangesAreWholeSectors) {
  proves("R1 R2");
  const auto plain = s_.open();
  const auto unbuffered = s_.open(OpenMode::NoIntermediateBuffering);
  ASSERT_EQ(s_.write(*plain, 0, filled(4096, 1)), NtStatus::Success);
  EXPECT_EQ(s_.read(*plain, 1, 10).status, NtStatus::Success);
  EXPECT_EQ(s_.read(*plain, 1, 10, kUnbuffered).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*unbuffered, 1, 512).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*unbuffered, 0, 511).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*unbuffered, 1, 0).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*unbuffered, 512, 512).status, NtStatus::Success);
}

TEST_F(ReadTest, NegativeOffsetsMeanNothing) {
  proves("R3 R4 R5");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(10, 1)), NtStatus::Success);
  EXPECT_EQ(s_.read(*open, -1, 10).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*open, -2, 10).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*open, -1, 0).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*open, kMax, 1).status, NtStatus::InvalidParameter);
  EXPECT_EQ(s_.read(*open, kMax, 0).status, NtStatus::Success) << "nothing is asked for";
  EXPECT_EQ(s_.read(*open, 100, 0).status, NtStatus::Success) << "before the end is looked at";
}

TEST_F(ReadTest, LocksComeBeforeTheEnd) {
  proves("R7 R8 L5 L6 L8");
  using Mode = ByteRangeLock::Mode;
  const auto open = s_.open();
  const auto other = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(100, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().lock(*open, {200, 10, Mode::Exclusive, 3}, nullptr));
  ASSERT_TRUE(s_.store().lock(*open, {300, 10, Mode::Shared, 3}, nullptr));
  EXPECT_EQ(s_.read(*other, 200, 1).status, NtStatus::FileLockConflict);
  EXPECT_EQ(s_.read(*other, 0, 201).status, NtStatus::FileLockConflict)
      << "the count is not clipped";
  EXPECT_EQ(s_.read(*other, 0, 200).bytes, filled(100, 1));
  EXPECT_EQ(s_.read(*other, 300, 1).status, NtStatus::EndOfFile);
  EXPECT_EQ(s_.read(*open, 200, 1, kBuffered, 4).status, NtStatus::FileLockConflict);
  EXPECT_EQ(s_.read(*open, 200, 1, kBuffered, 3).status, NtStatus::EndOfFile);
}

TEST_F(ReadTest, EndsAtTheEndOfTheFile) {
  proves("R8 R9");
  const auto open = s_.open();
  EXPECT_EQ(s_.read(*open, 0, 1).status, NtStatus::EndOfFile);
  ASSERT_EQ(s_.write(*open, 0, filled(1000, 1)), NtStatus::Success);
  EXPECT_EQ(s_.read(*open, 0, 4096).bytes, filled(1000, 1));
  EXPECT_EQ(s_.read(*open, 999, 10).bytes.size(), 1u);
  EXPECT_EQ(s_.read(*open, 1000, 10).status, NtStatus::EndOfFile);
  EXPECT_EQ(s_.read(*open, 0, 1024, kUnbuffered).bytes, filled(1000, 1));
  EXPECT_EQ(s_.read(*open, 1024, 512, kUnbuffered).status, NtStatus::EndOfFile);
}

TEST_F(ReadTest, UnbufferedSendsWhatIsCachedFirst) {
  proves("R10 R12");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(64 << 10, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  ASSERT_EQ(s_.write(*open, 4096, filled(4096, 2)), NtStatus::Success);
  EXPECT_EQ(s_.read(*open, 32 << 10, 4096, kUnbuffered).status, NtStatus::Success);
  EXPECT_NE(s_.raw(4096, 4096), filled(4096, 2)) << "another range";
  EXPECT_EQ(s_.read(*open, 4096 + 512, 512, kUnbuffered).status, NtStatus::Success);
  EXPECT_EQ(s_.raw(4096, 4096), filled(4096, 2));
}

TEST_F(ReadTest, GivesZerosPastTheValidDataLengthWithoutTheDevice) {
  proves("R11 R13");
  const auto open = s_.open(0, kReadWrite);
  ASSERT_EQ(s_.write(*open, 0, filled(8192, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 1 << 20));
  ASSERT_TRUE(s_.store().set_allocation(*open, 1 << 20));
  ASSERT_TRUE(s_.store().flush());
  EXPECT_EQ(s_.sizes().valid_data_length, 8192u);
  s_.device().reset_counters();
  for (const Buffering buffering : {kBuffered, kUnbuffered}) {
    EXPECT_EQ(s_.read(*open, 64 << 10, 4096, buffering).bytes, ByteVector(4096));
  }
  EXPECT_EQ(s_.device().counters().reads, 0u);
  ByteVector expected = filled(8192, 1);
  expected.erase(expected.begin(), expected.begin() + 4096);
  expected.resize(8192);
  EXPECT_EQ(s_.read(*open, 4096, 8192, kUnbuffered).bytes, expected);
}

TEST_F(ReadTest, MovesThePositionOfSynchronousOpens) {
  proves("R14");
  const auto open = s_.open(kSynchronous);
  ASSERT_EQ(s_.write(*open, 0, filled(1000, 1)), NtStatus::Success);
  EXPECT_EQ(s_.read(*open, 990, 100).bytes.size(), 10u);
  EXPECT_EQ(open->current_byte_offset(), 1000);
  EXPECT_EQ(s_.read(*open, 2000, 100).status, NtStatus::EndOfFile);
  EXPECT_EQ(open->current_byte_offset(), 1000);
  const auto other = s_.open();
  EXPECT_EQ(s_.read(*other, 0, 100).status, NtStatus::Success);
  EXPECT_EQ(other->current_byte_offset(), 0);
}

TEST_F(ReadTest, NotesTheAccess) {
  proves("R15 8.3");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(10, 1)), NtStatus::Success);
  const auto past = ondisk::FileTime::from_raw(130000000000000000);
  BasicInformation information;
  information.times = {past, past, past, past};
  for (const bool is_kept : {true, false}) {
    ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), information));
    s_.store().set_user_set_times(*open, is_kept ? UserSetTimes::LastAccess : 0);
    EXPECT_EQ(s_.read(*open, 0, 10).status, NtStatus::Success);
    EXPECT_EQ(s_.information().last_access_time.raw() == past.raw(), is_kept);
    EXPECT_EQ(s_.information().last_write_time.raw(), past.raw());
    EXPECT_EQ(s_.information().change_time.raw(), past.raw());
  }
}

TEST_F(ReadTest, SeveralTogetherAreEachCheckedForThemselves) {
  proves("R2 R3 R7 R8");
  for (const OpensLock locks : {OpensLock::No, OpensLock::Yes}) {
    OpenedStore s({.opens_lock = locks});
    const auto open = s.open();
    const auto other = s.open();
    ASSERT_EQ(s.write(*open, 0, filled(8192, 1)), NtStatus::Success);
    if (locks == OpensLock::Yes) {
      ASSERT_TRUE(s.store().lock(*other, {0, 1, ByteRangeLock::Mode::Exclusive}, nullptr));
    }
    std::vector<AlignedBuffer> memory;
    std::vector<DataRead> reads(5);
    for (DataRead& read : reads) {
      read.open = open.get();
      read.file = s.file().get();
      read.length = 512;
      memory.emplace_back(4096);
      read.into = memory.back().bytes();
    }
    reads[1].offset = 4096;
    reads[2].offset = 1;
    reads[2].buffering = kUnbuffered;
    reads[3].offset = 8192;
    reads[4].offset = uint64_t{1} << 63;
    s.store().read(reads);
    EXPECT_EQ(reads[0].done.has_value(), locks == OpensLock::No);
    if (!reads[0].done) {
      EXPECT_EQ(reads[0].done.error(), NtStatus::FileLockConflict);
    }
    ASSERT_TRUE(reads[1].done);
    EXPECT_TRUE(std::equal(reads[1].into.begin(), reads[1].into.begin() + 512,
                           filled(8192, 1).begin() + 4096));
    EXPECT_EQ(reads[2].done.error(), NtStatus::InvalidParameter);
    EXPECT_EQ(reads[3].done.error(), NtStatus::EndOfFile);
    EXPECT_EQ(reads[4].done.error(), NtStatus::InvalidParameter);
  }
}

}  // namespace
}  // namespace ntfs
