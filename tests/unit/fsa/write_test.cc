// MS-FSA 2.1.5.4 "Server Requests a Write", step by step.

#include <gtest/gtest.h>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests

constexpr int64_t kMax = INT64_MAX;

class WriteTest : public ::testing::Test {
 protected:
  void expect_unchanged(const Stream::Sizes& before) {
    const auto now = s_.sizes();
    EXPECT_EQ(now.file_size, before.file_size);
    EXPECT_EQ(now.valid_data_length, before.valid_data_length);
    EXPECT_EQ(now.mapped, before.mapped);
    EXPECT_EQ(now.allocated, before.allocated);
  }
  OpenedStore s_;
};

TEST_F(WriteTest, IsUnbufferedByTheArgumentOrByTheMode) {
  proves("W1");
  const auto plain = s_.open();
  const auto unbuffered = s_.open(OpenMode::NoIntermediateBuffering);
  EXPECT_EQ(s_.write(*plain, 1, filled(10, 1)), NtStatus::Success);
  EXPECT_EQ(s_.write(*plain, 1, filled(10, 1), kUnbuffered), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.write(*unbuffered, 1, filled(10, 1)), NtStatus::InvalidParameter);
}

TEST_F(WriteTest, UnbufferedOffsetsAndCountsAreWholeSectors) {
  proves("W2 A3");
  const auto open = s_.open(OpenMode::NoIntermediateBuffering);
  const auto before = s_.sizes();
  for (const auto& [offset, count] : std::vector<std::pair<int64_t, size_t>>{
           {1, 512}, {0, 1}, {512, 511}, {1, 0}, {513, 0}, {kMax, 512}}) {
    EXPECT_EQ(s_.write(*open, offset, filled(count, 1)), NtStatus::InvalidParameter)
        << offset << " " << count;
  }
  expect_unchanged(before);
  EXPECT_EQ(s_.write(*open, 512, filled(1024, 1)), NtStatus::Success);
  EXPECT_EQ(s_.read(*open, 512, 1024).bytes, filled(1024, 1));
}

TEST_F(WriteTest, UnbufferedEndAndPositionMustBeAlignedToo) {
  proves("A1 A2");
  const auto plain = s_.open();
  const auto open = s_.open(OpenMode::NoIntermediateBuffering | kSynchronous);
  ASSERT_EQ(s_.write(*plain, 0, filled(100, 1)), NtStatus::Success);
  EXPECT_EQ(s_.write(*open, kEndOfStream, filled(512, 2)), NtStatus::InvalidParameter);
  ASSERT_TRUE(s_.store().set_end_of_file(*plain, 1024));
  EXPECT_EQ(s_.write(*open, kEndOfStream, filled(100, 2)), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.write(*open, kEndOfStream, filled(512, 2)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().file_size, 1536u);
  EXPECT_EQ(s_.read(*plain, 1024, 512).bytes, filled(512, 2));
}

TEST_F(WriteTest, MinusTwoIsTheCurrentPosition) {
  proves("W3 W24");
  const auto open = s_.open(kSynchronous);
  ASSERT_EQ(s_.write(*open, 100, filled(50, 1)), NtStatus::Success);
  EXPECT_EQ(open->current_byte_offset(), 150);
  ASSERT_EQ(s_.write(*open, kCurrentPosition, filled(20, 2)), NtStatus::Success);
  EXPECT_EQ(open->current_byte_offset(), 170);
  EXPECT_EQ(s_.read(*open, 150, 20).bytes, filled(20, 2));
  // What is not synchronous has no position.
  const auto other = s_.open();
  ASSERT_EQ(s_.write(*other, 500, filled(5, 3)), NtStatus::Success);
  EXPECT_EQ(other->current_byte_offset(), 0);
}

TEST(WriteToAReadOnlyVolume, IsRefusedBetweenAlignmentAndTheLimits) {
  proves("W4 A3");
  OpenedStore s;
  s.remount(VolumeOptions::Access::ReadOnly);
  const auto open = s.open();
  EXPECT_EQ(s.write(*open, 0, filled(1, 1)), NtStatus::MediaWriteProtected);
  EXPECT_EQ(s.write(*open, 0, {}), NtStatus::MediaWriteProtected);
  EXPECT_EQ(s.write(*open, kMax, filled(1, 1)), NtStatus::MediaWriteProtected);
  EXPECT_EQ(s.write(*open, 1, filled(1, 1), kUnbuffered), NtStatus::InvalidParameter);
}

TEST_F(WriteTest, EndsBelowMaxlonglong) {
  proves("W5 A3");
  const auto open = s_.open();
  EXPECT_EQ(s_.write(*open, kMax, filled(1, 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.write(*open, kMax - 9, filled(10, 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.write(*open, kMax, {}), NtStatus::Success)
      << "a count of zero comes before MAXFILESIZE";
}

TEST_F(WriteTest, OfNothingDoesNothing) {
  proves("W6 A3");
  const auto holder = s_.open();
  const auto open = s_.open(kSynchronous);
  ASSERT_EQ(s_.write(*open, 0, filled(100, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  const auto before = s_.sizes();
  const auto times = s_.information();
  // A lock in the way is not looked at.
  ASSERT_TRUE(s_.store().lock(*holder, {0, 100, ByteRangeLock::Mode::Exclusive}, nullptr));
  for (const int64_t offset : {int64_t{0}, int64_t{50}, int64_t{1} << 40, kEndOfStream}) {
    EXPECT_EQ(s_.write(*open, offset, {}), NtStatus::Success);
  }
  expect_unchanged(before);
  EXPECT_EQ(open->current_byte_offset(), 100);
  EXPECT_EQ(s_.information().last_write_time.raw(), times.last_write_time.raw());
  EXPECT_FALSE(s_.file()->has_noted());
}

TEST_F(WriteTest, NegativeOffsetsAreTheEndOfTheStream) {
  proves("W7 W8 A4 A5");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, kEndOfStream, filled(10, 1)), NtStatus::Success);
  ASSERT_EQ(s_.write(*open, kEndOfStream, filled(20, 2)), NtStatus::Success);
  ASSERT_EQ(s_.write(*open, -7, filled(30, 3)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().file_size, 60u);
  EXPECT_EQ(s_.read(*open, 10, 20).bytes, filled(20, 2));
  EXPECT_EQ(s_.read(*open, 30, 30).bytes, filled(30, 3));
}

TEST_F(WriteTest, EndsAtTheLargestFileSize) {
  proves("W9 A3");
  const auto open = s_.open();
  const auto most = static_cast<int64_t>(s_.store().volume().max_file_size());
  EXPECT_EQ(most, 0xfffffff0000) << "with clusters of 4096 bytes: the constant of the older text";
  EXPECT_EQ(s_.write(*open, most, filled(1, 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.write(*open, most - 4, filled(5, 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.sizes().file_size, 0u);
  EXPECT_EQ(s_.write(*open, most - 5, filled(5, 1)), NtStatus::Success);
  EXPECT_EQ(s_.write(*open, kEndOfStream, filled(1, 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(s_.sizes().file_size, static_cast<uint64_t>(most));
}

TEST_F(WriteTest, LocksOfOthersAndOwnSharedOnesStandAgainstIt) {
  proves("W12 A14 L5 L6 L7");
  using Mode = ByteRangeLock::Mode;
  const auto open = s_.open();
  const auto other = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(4096, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().lock(*open, {0, 10, Mode::Exclusive, 5}, nullptr));
  ASSERT_TRUE(s_.store().lock(*open, {20, 10, Mode::Shared, 5}, nullptr));
  const auto before = s_.sizes();
  EXPECT_EQ(s_.write(*open, 0, filled(10, 2), kBuffered, 5), NtStatus::Success);
  EXPECT_EQ(s_.write(*open, 0, filled(10, 3), kBuffered, 6), NtStatus::FileLockConflict);
  EXPECT_EQ(s_.write(*other, 9, filled(1, 3), kBuffered, 5), NtStatus::FileLockConflict);
  EXPECT_EQ(s_.write(*other, 10, filled(10, 3)), NtStatus::Success);
  EXPECT_EQ(s_.write(*open, 29, filled(1, 3), kBuffered, 5), NtStatus::FileLockConflict);
  EXPECT_EQ(s_.write(*open, 0, filled(512, 3), kUnbuffered, 5), NtStatus::FileLockConflict);
  expect_unchanged(before);
  EXPECT_EQ(s_.read(*open, 0, 10, kBuffered, 5).bytes, filled(10, 2));
  // The lock behind the end is met by an append.
  ASSERT_TRUE(s_.store().lock(*other, {4096, 1, Mode::Exclusive}, nullptr));
  EXPECT_EQ(s_.write(*open, kEndOfStream, filled(1, 1)), NtStatus::FileLockConflict);
}

TEST_F(WriteTest, AGapReadsAsZerosAndIsZeroedOnTheDevice) {
  proves("W14 W19 W21 W26 W27");
  for (const Buffering buffering : {kBuffered, kUnbuffered}) {
    OpenedStore s;
    auto open = s.open();
    // Clusters full of old bytes that belong to the file, but are not valid.
    ASSERT_EQ(s.write(*open, 0, filled(256 << 10, 9)), NtStatus::Success);
    ASSERT_TRUE(s.store().flush());
    ASSERT_TRUE(s.store().set_end_of_file(*open, 0));
    ASSERT_TRUE(s.store().flush());
    ASSERT_TRUE(s.store().set_allocation(*open, 256 << 10));
    EXPECT_EQ(s.write(*open, 128 << 10, filled(4096, 2), buffering), NtStatus::Success);
    EXPECT_EQ(s.sizes().file_size, (128u << 10) + 4096);
    EXPECT_EQ(s.sizes().valid_data_length, (128u << 10) + 4096);
    EXPECT_EQ(s.read(*open, 0, 128 << 10).bytes, ByteVector(128 << 10));
    ASSERT_TRUE(s.store().flush());
    ASSERT_TRUE(s.store().volume().checkpoint());
    EXPECT_EQ(s.raw(0, 128 << 10), ByteVector(128 << 10));
    EXPECT_EQ(s.raw(128 << 10, 4096), filled(4096, 2));
    open.reset();
    s.crash();
    const auto again = s.open();
    EXPECT_EQ(s.read(*again, 0, 128 << 10).bytes, ByteVector(128 << 10));
  }
}

TEST_F(WriteTest, GrowsTheAllocationInWholeClusters) {
  proves("W15 A21");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(5000, 1)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().mapped, 8192u);
  EXPECT_EQ(s_.sizes().allocated, 8192u);
  ASSERT_EQ(s_.write(*open, 8000, filled(192, 1)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().mapped, 8192u);
  ASSERT_EQ(s_.write(*open, 8192, filled(1, 1)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().mapped, 12288u);
  ASSERT_TRUE(s_.store().flush());
  EXPECT_EQ(s_.sizes().mapped, 12288u);
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 0));
  ASSERT_EQ(s_.write(*open, 0, filled(100, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  EXPECT_EQ(s_.sizes().mapped, 104u) << "resident";
}

TEST_F(WriteTest, AFullDiskIsToldBeforeAnythingIsCached) {
  proves("W15 W22 A8 A10 A17");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(8192, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  s_.fill_but(2);
  for (const Buffering buffering : {kBuffered, kUnbuffered}) {
    const auto before = s_.sizes();
    EXPECT_EQ(s_.write(*open, 8192, filled(3 * 4096, 2), buffering), NtStatus::DiskFull);
    expect_unchanged(before);
    EXPECT_EQ(s_.write(*open, 4096, filled(4 * 4096, 2), buffering), NtStatus::DiskFull);
    expect_unchanged(before);
    EXPECT_EQ(s_.read(*open, 0, 16384).bytes, filled(8192, 1)) << "not even its first part";
  }
  // Exactly what there is.
  EXPECT_EQ(s_.write(*open, 8192, filled(2 * 4096, 3)), NtStatus::Success);
  EXPECT_EQ(s_.write(*open, 16384, filled(1, 3)), NtStatus::DiskFull);
  EXPECT_TRUE(s_.store().flush()) << "what was taken can always be written";
  EXPECT_EQ(s_.raw(8192, 8192), filled(8192, 3));
}

TEST_F(WriteTest, UnbufferedDataGoesWithWhatIsCachedOfItsRange) {
  proves("W16 W17 W20 A6 A22");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(16384, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  ASSERT_EQ(s_.write(*open, 4096, filled(4096, 2)), NtStatus::Success);
  EXPECT_NE(s_.raw(4096, 4096), filled(4096, 2)) << "still cached";
  // One sector of the cached page.
  ASSERT_EQ(s_.write(*open, 4096 + 512, filled(512, 3), kUnbuffered), NtStatus::Success);
  ByteVector expected = filled(4096, 2);
  const ByteVector sector = filled(512, 3);
  std::copy(sector.begin(), sector.end(), expected.begin() + 512);
  EXPECT_EQ(s_.raw(4096, 4096), expected);
  EXPECT_EQ(s_.read(*open, 4096, 4096).bytes, expected);
  EXPECT_FALSE(s_.file()->data().is_dirty()) << "nothing of it stays cached";
  // Neither a gap nor an end is needed for the data to go.
  ASSERT_EQ(s_.write(*open, 8192, filled(4096, 4), kUnbuffered), NtStatus::Success);
  EXPECT_EQ(s_.raw(8192, 4096), filled(4096, 4));
  ASSERT_EQ(s_.write(*open, 16384, filled(4096, 5), kUnbuffered), NtStatus::Success);
  EXPECT_EQ(s_.raw(16384, 4096), filled(4096, 5));
}

TEST_F(WriteTest, AFailedDeviceFailsTheUnbufferedWrite) {
  proves("W19 W20 A11 A12");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(8192, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  const auto before = s_.sizes();
  s_.device().fail_write(1);
  EXPECT_EQ(s_.write(*open, 8192, filled(4096, 2), kUnbuffered), NtStatus::IoDeviceError);
  expect_unchanged(before);
  EXPECT_EQ(s_.read(*open, 8192, 10).status, NtStatus::EndOfFile);
  EXPECT_EQ(s_.write(*open, 8192, filled(4096, 3), kUnbuffered), NtStatus::Success);
}

TEST_F(WriteTest, BufferedDataIsReadBackAndReachesTheDeviceLater) {
  proves("W22");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(20000, 1)), NtStatus::Success);
  EXPECT_EQ(s_.read(*open, 0, 20000).bytes, filled(20000, 1));
  EXPECT_TRUE(s_.raw(0, 4096).empty());
  ASSERT_TRUE(s_.store().flush(*open));
  ASSERT_TRUE(s_.store().volume().checkpoint());
  EXPECT_EQ(s_.raw(0, 20000), filled(20000, 1));
}

TEST_F(WriteTest, WriteThroughSurvivesACrash) {
  proves("W23 A13");
  for (const Buffering buffering : {kBuffered, kUnbuffered}) {
    OpenedStore s;
    ASSERT_TRUE(s.store().flush());
    {
      const auto open = s.open(OpenMode::WriteThrough);
      ASSERT_EQ(s.write(*open, 0, filled(16384, 1), buffering), NtStatus::Success);
      const auto plain = s.open();
      ASSERT_EQ(s.write(*plain, 16384, filled(4096, 2)), NtStatus::Success);
    }
    s.crash();
    const auto open = s.open();
    EXPECT_EQ(s.read(*open, 0, 32768).bytes, filled(16384, 1));
  }
}

TEST_F(WriteTest, NotesTheTimesThatTheOpenLeavesToTheStore) {
  proves("W25 A19 A20 8.1");
  const auto past = ondisk::FileTime::from_raw(130000000000000000);
  const auto reset = [&] {
    BasicInformation information;
    information.times = {past, past, past, past};
    information.file_attributes = 0;
    ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), information));
  };
  const auto open = s_.open();
  for (uint32_t kept = 0; kept < 8; ++kept) {
    reset();
    s_.store().set_user_set_times(*open, kept);
    ASSERT_EQ(s_.write(*open, 0, filled(10, 1)), NtStatus::Success);
    const auto now = s_.information();
    const auto is_kept = [&](uint32_t which) { return (kept & which) != 0; };
    EXPECT_EQ(now.last_write_time.raw() == past.raw(), is_kept(UserSetTimes::LastWrite)) << kept;
    EXPECT_EQ(now.change_time.raw() == past.raw(), is_kept(UserSetTimes::Change)) << kept;
    EXPECT_EQ(now.last_access_time.raw() == past.raw(), is_kept(UserSetTimes::LastAccess)) << kept;
    EXPECT_EQ(now.creation_time.raw(), past.raw());
    EXPECT_NE(now.file_attributes & ondisk::FileAttributes::Archive, 0u);
  }
}

TEST_F(WriteTest, NeverShrinksAndAlwaysWritesAll) {
  proves("W26 W27 W28");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(3 << 20, 1)), NtStatus::Success);
  ASSERT_EQ(s_.write(*open, 100, filled(10, 2)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().file_size, 3u << 20);
  EXPECT_EQ(s_.sizes().valid_data_length, 3u << 20);
}

TEST_F(WriteTest, TakesItsClustersFromTheFreeSpace) {
  proves("A18");
  const auto open = s_.open();
  ASSERT_TRUE(s_.store().flush());
  const uint64_t before = s_.store().query_store().clusters_free;
  ASSERT_EQ(s_.write(*open, 0, filled(5 * 4096, 1), kUnbuffered), NtStatus::Success);
  EXPECT_EQ(s_.store().query_store().clusters_free, before - 5);
  ASSERT_EQ(s_.write(*open, 4096, filled(4096, 2), kUnbuffered), NtStatus::Success);
  EXPECT_EQ(s_.store().query_store().clusters_free, before - 5) << "it has them";
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 0));
  ASSERT_TRUE(s_.store().flush());
  EXPECT_EQ(s_.store().query_store().clusters_free, before);
}

TEST_F(WriteTest, IsDurableAfterAFlushOfItsOpen) {
  proves("9.3");
  auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(10000, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush(*open));
  open.reset();
  s_.crash();
  open = s_.open();
  EXPECT_EQ(s_.read(*open, 0, 20000).bytes, filled(10000, 1));
  open.reset();
  s_.remount(VolumeOptions::Access::ReadOnly);
  open = s_.open(0, AccessMask::ReadData);
  EXPECT_EQ(s_.store().flush(*open).error(), NtStatus::MediaWriteProtected);
}

TEST_F(WriteTest, GoesToNoDirectory) {
  OpenParameters parameters;
  parameters.desired_access = kReadWrite;
  auto directory = s_.store().open(s_.store().root(), parameters);
  ASSERT_TRUE(directory);
  EXPECT_EQ(s_.write(**directory, 0, filled(1, 1)), NtStatus::InvalidDeviceRequest);
  EXPECT_EQ(s_.read(**directory, 0, 1).status, NtStatus::InvalidDeviceRequest);
  s_.store().close(std::move(*directory));
}

}  // namespace
}  // namespace ntfs
