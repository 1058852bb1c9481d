#include <gtest/gtest.h>

#include "tests/unit/store/stream_model.h"

namespace ntfs {
namespace {

using testing::Buffering;
using testing::Fixture;
using testing::KeepSize;
using testing::kMiB;
using testing::pattern;
using testing::RangeKind;
using testing::ScratchVolume;

constexpr ScratchVolume::Shape kSmall{32 * kMiB, 4096, 1024};

TEST(StreamShift, MovesClustersAndNoData) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(100 * 4096 + 5, 1), Buffering::Buffered), NtStatus::Success);
  f.checked.write_back_and_check();
  const auto before = *f.stream().runs();
  ASSERT_EQ(f.checked.collapse(10 * 4096, 30 * 4096), NtStatus::Success);
  EXPECT_EQ(f.allocated().raw(), 71u);
  EXPECT_EQ(f.stream().runs()->find(Vcn(10)).lcn, before.find(Vcn(40)).lcn);
  f.checked.write_back_and_check();
  f.checked.check_all();
  ASSERT_EQ(f.checked.insert(20 * 4096, 7 * 4096), NtStatus::Success);
  EXPECT_EQ(f.allocated().raw(), 71u);
  EXPECT_EQ(*f.stream().next_range(0, RangeKind::Hole), 20u * 4096);
  f.checked.write_back_and_check();
  f.checked.check_all();
  f.checked.remount();
  f.checked.check_all();
}

TEST(StreamShift, TakesWhatIsBufferedAlong) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(300, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.insert(0, 4096), NtStatus::Success);
  ASSERT_EQ(f.checked.write(50000, pattern(9000, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.collapse(8192, 8192), NtStatus::Success);
  f.checked.check_all();
  f.checked.write_back_and_check();
}

TEST(StreamShift, KeepsTheValidDataLengthInPlace) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(50000, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.allocate(0, kMiB, KeepSize::No), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_EQ(f.stream().sizes()->valid_data_length, 50000u);
  ASSERT_EQ(f.checked.insert(4096, 4096), NtStatus::Success);
  EXPECT_EQ(f.stream().sizes()->valid_data_length, 54096u);
  ASSERT_EQ(f.checked.insert(81920, 4096), NtStatus::Success);
  EXPECT_EQ(f.stream().sizes()->valid_data_length, 54096u);
  ASSERT_EQ(f.checked.collapse(40960, 40960), NtStatus::Success);
  EXPECT_EQ(f.stream().sizes()->valid_data_length, 40960u);
  f.checked.check_all();
  f.checked.write_back_and_check();
  f.checked.remount();
  f.checked.check_all();
}

/// As ext4 and XFS refuse.
TEST(StreamShift, RefusesPartsOfClustersAndTheEnd) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(100000, 1), Buffering::Buffered), NtStatus::Success);
  for (const uint64_t offset : {1u, 512u, 4095u}) {
    EXPECT_EQ(f.checked.collapse(offset, 4096), NtStatus::InvalidParameter);
    EXPECT_EQ(f.checked.collapse(4096, offset), NtStatus::InvalidParameter);
    EXPECT_EQ(f.checked.insert(offset, 4096), NtStatus::InvalidParameter);
    EXPECT_EQ(f.checked.insert(4096, offset), NtStatus::InvalidParameter);
  }
  EXPECT_EQ(f.checked.collapse(0, 0), NtStatus::InvalidParameter);
  EXPECT_EQ(f.checked.collapse(0, 102400), NtStatus::InvalidParameter);
  EXPECT_EQ(f.checked.insert(102400, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(f.checked.insert(0, uint64_t{1} << 45), NtStatus::FileTooLarge);
  EXPECT_EQ(f.checked.insert(0, ~uint64_t{4095}), NtStatus::FileTooLarge);
  ASSERT_EQ(f.checked.set_size(8192), NtStatus::Success);
  EXPECT_EQ(f.checked.collapse(4096, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(f.checked.insert(8192, 4096), NtStatus::InvalidParameter);
  f.checked.check_all();
}

TEST(StreamShift, MovesWholeCompressionUnits) {
  Fixture f(kSmall);
  ASSERT_TRUE(f.stream().set_compression(Compression::Lznt1).has_value());
  constexpr uint64_t kUnit = 65536;
  for (uint64_t i = 0; i < 6; ++i) {
    const ByteVector bytes = i % 2 == 0 ? pattern(kUnit, i) : ByteVector(kUnit, std::byte{7});
    ASSERT_EQ(f.checked.write(i * kUnit, bytes, Buffering::Buffered), NtStatus::Success);
  }
  EXPECT_EQ(f.checked.collapse(4096, kUnit), NtStatus::InvalidParameter);
  EXPECT_EQ(f.checked.insert(kUnit, 4096), NtStatus::InvalidParameter);
  ASSERT_EQ(f.checked.collapse(kUnit, 2 * kUnit), NtStatus::Success);
  ASSERT_EQ(f.checked.insert(kUnit, kUnit), NtStatus::Success);
  f.checked.check_all();
  f.checked.write_back_and_check();
  f.checked.remount();
  f.checked.check_all();
}

}  // namespace
}  // namespace ntfs
