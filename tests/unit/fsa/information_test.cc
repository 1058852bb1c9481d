// MS-FSA 2.1.5.15: sizes, position and mode of an open; 2.1.5.10: sparse streams, zeroing,
// allocated ranges; 2.1.5.1: what an open may ask for.

#include <gtest/gtest.h>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Sparse = Stream::Sparse;

class InformationTest : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(); }
  NtStatus status(const Result<>& result) { return result.error(); }
  ondisk::FileTime past() const { return ondisk::FileTime::from_raw(130000000000000000); }
  void reset_times() {
    BasicInformation information;
    information.times = {past(), past(), past(), past()};
    ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), information));
  }
  OpenedStore s_;
};

TEST_F(InformationTest, AnOpenAsksForWhatGoesTogether) {
  proves("C1 C2 C5");
  const auto open = [&](uint32_t access, uint32_t mode) {
    OpenParameters parameters;
    parameters.desired_access = access;
    parameters.mode = mode;
    auto made = s_.store().open(s_.file(), parameters);
    if (!made) return made.error();
    s_.store().close(std::move(*made));
    return NtStatus::Success;
  };
  constexpr uint32_t kBoth = OpenMode::Synchronous;
  EXPECT_EQ(open(kReadWrite, 0), NtStatus::Success);
  EXPECT_EQ(open(kReadWrite, OpenMode::SynchronousIoAlert), NtStatus::InvalidParameter);
  EXPECT_EQ(open(kReadWrite | AccessMask::Synchronize, OpenMode::SynchronousIoAlert),
            NtStatus::Success);
  EXPECT_EQ(open(kReadWrite | AccessMask::Synchronize, kBoth), NtStatus::InvalidParameter);
  EXPECT_EQ(open(AccessMask::AppendData, OpenMode::NoIntermediateBuffering),
            NtStatus::InvalidParameter);
  EXPECT_EQ(open(kReadWrite, 0x1000), NtStatus::InvalidParameter);
  EXPECT_EQ(open(0, 0), NtStatus::AccessDenied);
  EXPECT_EQ(open(0x00020000 | 0x00000200, 0), NtStatus::AccessDenied);
}

TEST_F(InformationTest, AnOpenKeepsAnUnlinkedFile) {
  proves("X0");
  auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(10000, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().remove(*s_.store().root(), u"file", ObjectStore::RemoveKind::File));
  EXPECT_EQ(s_.read(*open, 0, 10000).bytes, filled(10000, 1));
  open.reset();
  EXPECT_EQ(s_.store().open(s_.file(), {}).error(), NtStatus::ObjectNameNotFound);
}

TEST_F(InformationTest, EndOfFileHasItsLimits) {
  proves("E1 E2");
  const auto open = s_.open();
  const auto reader = s_.open(0, AccessMask::ReadData);
  const auto most = static_cast<int64_t>(s_.store().volume().max_file_size());
  EXPECT_EQ(status(s_.store().set_end_of_file(*open, -1)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(s_.store().set_end_of_file(*open, most + 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(s_.store().set_end_of_file(*reader, most + 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(s_.store().set_end_of_file(*reader, 1)), NtStatus::AccessDenied);
  EXPECT_EQ(status(s_.store().set_end_of_file(*open, most)), NtStatus::Success);
  EXPECT_EQ(status(s_.store().set_end_of_file(*open, 0)), NtStatus::Success);
}

TEST_F(InformationTest, EndOfFileGrowsAndCuts) {
  proves("E5 E7 E8 E10 E11 E12 E13");
  const auto open = s_.open();
  const auto other = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(20000, 1)), NtStatus::Success);
  ASSERT_TRUE(s_.store().lock(*other, {0, 100000, ByteRangeLock::Mode::Exclusive}, nullptr));
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 1 << 20)) << "locks are not asked";
  EXPECT_EQ(s_.sizes().valid_data_length, 20000u);
  EXPECT_EQ(s_.sizes().mapped, 1u << 20);
  ASSERT_TRUE(s_.store().flush());
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 5000));
  EXPECT_EQ(s_.sizes().mapped, 8192u) << "whole clusters go at once";
  EXPECT_EQ(s_.sizes().valid_data_length, 5000u);
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 12000));
  ByteVector expected = filled(20000, 1);
  expected.resize(5000);
  expected.resize(12000);
  EXPECT_EQ(s_.read(*other, 0, 12000).bytes, expected);
  reset_times();
  ASSERT_TRUE(s_.store().set_end_of_file(*open, 12000));
  EXPECT_NE(s_.information().last_write_time.raw(), past().raw()) << "equal counts as modified";
}

TEST_F(InformationTest, AllocationIsSetInWholeClusters) {
  proves("N1 N2 N3 N4 N5 N6 N7");
  const auto open = s_.open();
  const auto reader = s_.open(0, AccessMask::ReadData);
  ObjectStore& store = s_.store();
  EXPECT_EQ(status(store.set_allocation(*open, -1)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_allocation(*reader, 1)), NtStatus::AccessDenied);
  ASSERT_EQ(s_.write(*open, 0, filled(10000, 1)), NtStatus::Success);
  ASSERT_TRUE(store.flush());
  reset_times();
  ASSERT_TRUE(store.set_allocation(*open, 100000));
  EXPECT_EQ(s_.sizes().mapped, 102400u);
  EXPECT_EQ(s_.sizes().allocated, 102400u);
  EXPECT_EQ(s_.sizes().file_size, 10000u);
  EXPECT_EQ(s_.information().last_write_time.raw(), past().raw());
  EXPECT_EQ(s_.information().change_time.raw(), past().raw()) << "growing touches no time";
  ASSERT_TRUE(store.set_allocation(*open, 10001));
  EXPECT_EQ(s_.sizes().mapped, 12288u);
  EXPECT_EQ(s_.sizes().file_size, 10000u) << "the same last cluster";
  EXPECT_EQ(s_.information().last_write_time.raw(), past().raw());
  EXPECT_NE(s_.information().change_time.raw(), past().raw());
  ASSERT_TRUE(store.set_allocation(*open, 8000));
  EXPECT_EQ(s_.sizes().file_size, 8192u) << "cut to whole clusters";
  EXPECT_EQ(s_.sizes().valid_data_length, 8192u);
  EXPECT_NE(s_.information().last_write_time.raw(), past().raw());
  EXPECT_EQ(status(store.set_allocation(*open, 64 << 20)), NtStatus::DiskFull);
  EXPECT_EQ(s_.sizes().mapped, 8192u);
  ASSERT_TRUE(store.set_allocation(*open, 0));
  EXPECT_EQ(s_.sizes().file_size, 0u);
}

TEST_F(InformationTest, ValidDataLengthShowsWhatTheDeviceHolds) {
  proves("D-VDL");
  OpenParameters parameters;
  parameters.desired_access = kReadWrite;
  parameters.manage_volume = ManageVolumeAccess::Yes;
  ObjectStore& store = s_.store();
  auto made = store.open(s_.file(), parameters);
  ASSERT_TRUE(made);
  const OpenPtr open(made->release(), Closer{&store});
  ASSERT_EQ(s_.write(*open, 0, filled(64 << 10, 1)), NtStatus::Success);
  ASSERT_TRUE(store.flush());
  const ByteVector old = s_.raw(0, 64 << 10);
  ASSERT_TRUE(store.set_end_of_file(*open, 4096));
  ASSERT_TRUE(store.set_end_of_file(*open, 1 << 20));
  EXPECT_EQ(status(store.set_valid_data_length(*open, 1 << 20)), NtStatus::InvalidParameter)
      << "a hole has nothing to show";
  ASSERT_TRUE(store.set_end_of_file(*open, 0));
  ASSERT_TRUE(store.set_end_of_file(*open, 64 << 10));
  ASSERT_TRUE(store.set_sparse(*open, Sparse::Yes));
  ASSERT_TRUE(store.set_sparse(*open, Sparse::No));
  EXPECT_EQ(s_.sizes().allocated, 64u << 10);
  EXPECT_EQ(s_.read(*open, 0, 64 << 10).bytes, ByteVector(64 << 10));
  const auto plain = s_.open();
  EXPECT_EQ(status(store.set_valid_data_length(*plain, 1)), NtStatus::PrivilegeNotHeld);
  EXPECT_EQ(status(store.set_valid_data_length(*open, (64 << 10) + 1)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_valid_data_length(*open, -1)), NtStatus::InvalidParameter);
  ASSERT_TRUE(store.set_valid_data_length(*open, 60000));
  EXPECT_EQ(s_.sizes().valid_data_length, 60000u);
  EXPECT_EQ(status(store.set_valid_data_length(*open, 59999)), NtStatus::InvalidParameter);
  const ByteVector device = s_.raw(0, 60000);
  EXPECT_EQ(s_.read(*open, 0, 60000).bytes, device);
}

TEST_F(InformationTest, PositionAndModeKeepToTheirRules) {
  proves("P1 P2");
  ObjectStore& store = s_.store();
  const auto open = s_.open(kSynchronous);
  const auto unbuffered = s_.open(OpenMode::NoIntermediateBuffering);
  EXPECT_EQ(status(store.set_position(*open, -1)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_position(*unbuffered, 100)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_position(*unbuffered, 1024)), NtStatus::Success);
  EXPECT_EQ(status(store.set_position(*open, 100)), NtStatus::Success);
  EXPECT_EQ(s_.write(*open, kCurrentPosition, filled(10, 1)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().file_size, 110u);
  EXPECT_EQ(s_.write(*unbuffered, kCurrentPosition, filled(512, 1)), NtStatus::Success);
  EXPECT_EQ(s_.sizes().file_size, 1536u);
  constexpr uint32_t kThrough = OpenMode::WriteThrough;
  EXPECT_EQ(status(store.set_mode(*open, 0)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_mode(*open, OpenMode::Synchronous)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_mode(*open, OpenMode::NoIntermediateBuffering | kSynchronous)),
            NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_mode(*open, OpenMode::SynchronousIoAlert | kThrough)),
            NtStatus::Success);
  EXPECT_EQ(open->mode(), OpenMode::SynchronousIoAlert | kThrough);
  EXPECT_EQ(status(store.set_mode(*unbuffered, kThrough)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_mode(*unbuffered, OpenMode::SequentialOnly)), NtStatus::Success);
  EXPECT_TRUE(unbuffered->is_unbuffered());
}

TEST_F(InformationTest, ZeroDataKeepsTheSize) {
  proves("F-ZERO");
  ObjectStore& store = s_.store();
  const auto open = s_.open();
  const auto other = s_.open();
  EXPECT_EQ(status(store.set_zero_data(*open, -1, 10)), NtStatus::InvalidParameter);
  EXPECT_EQ(status(store.set_zero_data(*open, 10, 9)), NtStatus::InvalidParameter);
  for (const Sparse sparse : {Sparse::No, Sparse::Yes}) {
    ASSERT_TRUE(store.set_end_of_file(*open, 0));
    ASSERT_EQ(s_.write(*open, 0, filled(256 << 10, 1)), NtStatus::Success);
    ASSERT_TRUE(store.set_sparse(*open, sparse));
    ASSERT_TRUE(store.flush());
    ASSERT_TRUE(store.set_zero_data(*open, 1000, (128 << 10) + 5));
    ASSERT_TRUE(store.set_zero_data(*open, 200 << 10, 1 << 20));
    ByteVector expected = filled(256 << 10, 1);
    std::fill(expected.begin() + 1000, expected.begin() + (128 << 10) + 5, std::byte{0});
    std::fill(expected.begin() + (200 << 10), expected.end(), std::byte{0});
    EXPECT_EQ(s_.read(*open, 0, 256 << 10).bytes, expected);
    EXPECT_EQ(s_.sizes().file_size, 256u << 10);
    ASSERT_TRUE(store.flush());
    EXPECT_EQ(s_.sizes().allocated < (100u << 10), sparse == Sparse::Yes);
  }
  ASSERT_TRUE(store.lock(*other, {0, 10, ByteRangeLock::Mode::Shared}, nullptr));
  EXPECT_EQ(status(store.set_zero_data(*other, 5, 20)), NtStatus::FileLockConflict);
  EXPECT_EQ(status(store.set_zero_data(*open, 10, 20)), NtStatus::Success);
}

TEST_F(InformationTest, SparseIsAMarkThatHolesNeed) {
  proves("F-SPARSE");
  ObjectStore& store = s_.store();
  const auto open = s_.open();
  const auto reader = s_.open(0, AccessMask::ReadData);
  EXPECT_EQ(status(store.set_sparse(*reader, Sparse::Yes)), NtStatus::AccessDenied);
  const auto is_marked = [&] {
    return (s_.information().file_attributes & ondisk::FileAttributes::SparseFile) != 0;
  };
  ASSERT_TRUE(store.set_sparse(*open, Sparse::Yes));
  EXPECT_TRUE(is_marked());
  ASSERT_EQ(s_.write(*open, 1 << 20, filled(4096, 1)), NtStatus::Success);
  ASSERT_TRUE(store.flush());
  EXPECT_EQ(s_.sizes().allocated, 4096u);
  ASSERT_TRUE(store.set_sparse(*open, Sparse::No));
  EXPECT_FALSE(is_marked());
  EXPECT_EQ(s_.sizes().allocated, (1u << 20) + 4096);
  EXPECT_EQ(s_.read(*open, 0, 1 << 20).bytes, ByteVector(1 << 20));
  EXPECT_EQ(s_.read(*open, 1 << 20, 4096).bytes, filled(4096, 1));
  ASSERT_TRUE(store.set_sparse(*open, Sparse::Yes));
  EXPECT_TRUE(is_marked());
  ASSERT_TRUE(store.flush());
}

TEST_F(InformationTest, AllocatedRangesAreMergedAndTrimmed) {
  proves("F-RANGES");
  ObjectStore& store = s_.store();
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(100, 1)), NtStatus::Success);
  const auto query = [&](int64_t from, int64_t length, size_t most) {
    auto answer = store.query_allocated_ranges(*open, from, length, most);
    if (!answer) return AllocatedRanges{answer.error(), {}};
    return std::move(*answer);
  };
  EXPECT_EQ(query(10, 5000, 1).ranges, (std::vector<StreamRange>{{10, 5000}}));
  EXPECT_EQ(query(-1, 1, 1).status, NtStatus::InvalidParameter);
  EXPECT_EQ(query(1, -1, 1).status, NtStatus::InvalidParameter);
  EXPECT_EQ(query(INT64_MAX, 1, 1).status, NtStatus::InvalidParameter);
  EXPECT_EQ(query(0, 10, 0).status, NtStatus::BufferTooSmall);
  EXPECT_TRUE(query(0, 0, 0).ranges.empty());
  ASSERT_TRUE(store.set_sparse(*open, Sparse::Yes));
  ASSERT_EQ(s_.write(*open, 0, filled(8192, 1)), NtStatus::Success);
  ASSERT_EQ(s_.write(*open, 1 << 20, filled(8192, 1)), NtStatus::Success);
  ASSERT_EQ(s_.write(*open, 2 << 20, filled(4096, 1)), NtStatus::Success);
  ASSERT_TRUE(store.flush());
  EXPECT_EQ(query(100, 4 << 20, 9).ranges,
            (std::vector<StreamRange>{{100, 8092}, {1 << 20, 8192}, {2 << 20, 4096}}));
  EXPECT_EQ(query(0, (1 << 20) + 1, 9).ranges, (std::vector<StreamRange>{{0, 8192}, {1 << 20, 1}}));
  const auto some = query(0, 4 << 20, 2);
  EXPECT_EQ(some.status, NtStatus::BufferOverflow);
  EXPECT_EQ(some.ranges.size(), 2u);
  EXPECT_TRUE(query(10000, 1000, 9).ranges.empty());
}

TEST_F(InformationTest, CopiesFromOneOpenToAnother) {
  const auto from = s_.open();
  ASSERT_EQ(s_.write(*from, 0, filled(3 << 20, 1)), NtStatus::Success);
  const auto made = s_.store().create(*s_.store().root(), u"copy", {});
  ASSERT_TRUE(made);
  OpenParameters parameters;
  parameters.desired_access = kReadWrite;
  auto to = s_.store().open(*made, parameters);
  ASSERT_TRUE(to);
  EXPECT_EQ(*s_.store().copy_range(*from, 1000, **to, 50, 4 << 20), (3u << 20) - 1000);
  EXPECT_EQ(s_.read(**to, 50, 100).bytes, s_.read(*from, 1000, 100).bytes);
  ASSERT_TRUE(s_.store().lock(**to, {0, 100, ByteRangeLock::Mode::Shared}, nullptr));
  EXPECT_EQ(s_.store().copy_range(*from, 0, **to, 0, 10).error(), NtStatus::FileLockConflict);
  s_.store().close(std::move(*to));
}

}  // namespace
}  // namespace ntfs
