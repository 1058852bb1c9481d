#include <gtest/gtest.h>

#include "tests/unit/store/stream_model.h"

namespace ntfs {
namespace {

using testing::Buffering;
using testing::Checked;
using testing::Fixture;
using testing::KeepSize;
using testing::kKiB;
using testing::kMiB;
using testing::pattern;
using testing::RangeKind;
using testing::read;
using testing::ScratchVolume;

constexpr ScratchVolume::Shape kSmall{32 * kMiB, 4096, 1024};
constexpr uint64_t kUnit = 64 * kKiB;

/// Bytes of which a unit takes one cluster.
ByteVector simple(size_t length, unsigned value) {
  return ByteVector(length, static_cast<std::byte>(value));
}

uint64_t count_allocated(const Runlist& runs, uint64_t vcn) {
  uint64_t total = 0;
  for (const ClusterRun& run : runs.allocated_in(Vcn(vcn), ClusterCount(16))) {
    total += run.count.raw();
  }
  return total;
}

struct CompressedFixture : Fixture {
  explicit CompressedFixture(const ScratchVolume::Shape& shape = kSmall) : Fixture(shape) {
    EXPECT_TRUE(stream().set_compression(Compression::Lznt1).has_value());
  }
  void write(uint64_t offset, ByteView bytes) {
    ASSERT_EQ(checked.write(offset, bytes, Buffering::Buffered), NtStatus::Success);
  }
  uint32_t file_attributes() {
    const SharedLock lock(volume().journal().metadata_lock());
    Attributes attributes(volume(), reference);
    const auto found = attributes.find(ondisk::AttributeType::StandardInformation);
    EXPECT_TRUE(found.has_value());
    const auto information =
        ondisk::parse_standard_information(found->view().value(), {"test", 0, 0});
    return information->file_attributes.get();
  }
  ondisk::AttributeSizes sizes_on_disk() {
    const SharedLock lock(volume().journal().metadata_lock());
    return *Attributes(volume(), reference).sizes(ondisk::AttributeType::Data, u"");
  }
};

TEST(CompressedStream, StoresEachUnitAsItFits) {
  CompressedFixture f;
  f.write(0, simple(kUnit, 1));
  f.write(kUnit, pattern(kUnit, 2));
  f.write(2 * kUnit, simple(kUnit, 0));
  f.write(3 * kUnit, pattern(5000, 3));
  f.checked.write_back_and_check();
  const auto runs = *f.stream().runs();
  EXPECT_EQ(count_allocated(runs, 0), 1u);
  EXPECT_FALSE(runs.find(Vcn(0)).lcn.is_hole());
  EXPECT_EQ(count_allocated(runs, 16), 16u);
  EXPECT_EQ(count_allocated(runs, 32), 0u);
  EXPECT_EQ(count_allocated(runs, 48), 2u);
  EXPECT_EQ(runs.end(), Vcn(64));
  const auto sizes = f.sizes_on_disk();
  EXPECT_EQ(sizes.allocated, 4 * kUnit);
  EXPECT_EQ(sizes.total_allocated, 19 * 4 * kKiB);
  EXPECT_EQ(sizes.file_size, 3 * kUnit + 5000);
  EXPECT_EQ(f.stream().sizes()->allocated, 19 * 4 * kKiB);
  EXPECT_EQ(*f.stream().next_range(0, RangeKind::Hole), 2 * kUnit);
  EXPECT_EQ(*f.stream().next_range(2 * kUnit, RangeKind::Data), 3 * kUnit);
  f.checked.check_all();
  f.checked.remount();
  f.checked.check_all();
  for (uint64_t at = 0; at < 3 * kUnit; at += 1000) f.checked.check_read(at, 999);
}

TEST(CompressedStream, GivesAUnitThatIsWrittenAgainNewClusters) {
  CompressedFixture f;
  f.write(0, pattern(kUnit, 1));
  f.write(kUnit, simple(kUnit, 1));
  f.checked.write_back_and_check();
  const auto before = *f.stream().runs();
  const auto old_raw = before.find(Vcn(0));
  const auto old_packed = before.find(Vcn(16));
  AlignedBuffer bytes(kUnit);
  ASSERT_TRUE(f.volume().device().read(old_raw.lcn.raw() * 4096, bytes.bytes()).has_value());
  f.write(100, pattern(50, 2));
  f.write(kUnit + 100, pattern(50, 3));
  f.checked.write_back_and_check();
  const auto after = *f.stream().runs();
  EXPECT_NE(after.find(Vcn(0)).lcn, old_raw.lcn);
  EXPECT_NE(after.find(Vcn(16)).lcn, old_packed.lcn);
  // A crash may bring the old runs back: what they lead to is still there.
  AlignedBuffer again(kUnit);
  ASSERT_TRUE(f.volume().device().read(old_raw.lcn.raw() * 4096, again.bytes()).has_value());
  EXPECT_EQ(testing::difference(bytes.bytes(), again.bytes()), "");
  f.checked.check_all();
}

TEST(CompressedStream, StaysResidentWhileItIsSmall) {
  CompressedFixture f;
  f.write(0, pattern(300, 1));
  f.checked.write_back_and_check();
  EXPECT_TRUE(f.is_resident());
  f.write(300, pattern(60000, 2));
  f.checked.write_back_and_check();
  EXPECT_FALSE(f.is_resident());
  f.checked.remount();
  EXPECT_TRUE(*f.stream().is_compressed());
  f.checked.check_all();
  ASSERT_EQ(f.checked.set_size(0), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_TRUE(f.is_resident());
  EXPECT_TRUE(*f.stream().is_compressed());
}

TEST(CompressedStream, ShowsZerosBehindTheValidDataOfAUnit) {
  CompressedFixture f;
  for (const bool is_raw : {false, true}) {
    f.write(0, is_raw ? pattern(2 * kUnit, 5) : simple(2 * kUnit, 7));
    f.checked.write_back_and_check();
    ASSERT_EQ(f.checked.set_size(kUnit + 10000), NtStatus::Success);
    f.checked.write_back_and_check();
    ASSERT_EQ(f.checked.set_size(3 * kUnit), NtStatus::Success);
    f.checked.write_back_and_check();
    f.checked.check_all();
    f.checked.remount();
    f.checked.check_all();
    f.write(4 * kUnit, simple(10, 8));
    f.checked.write_back_and_check();
    f.checked.remount();
    f.checked.check_all();
  }
}

TEST(CompressedStream, PunchesWholeUnitsAndZeroesParts) {
  CompressedFixture f;
  f.write(0, simple(4 * kUnit, 3));
  f.checked.write_back_and_check();
  ASSERT_EQ(f.checked.punch(kUnit / 2, 2 * kUnit), NtStatus::Success);
  EXPECT_EQ(*f.stream().next_range(0, RangeKind::Hole), kUnit);
  f.checked.check_all();
  f.checked.write_back_and_check();
  f.checked.remount();
  f.checked.check_all();
  // The part of a packed unit that has no clusters of its own.
  ASSERT_EQ(f.checked.zero(3 * kUnit + 40000, 3 * kUnit, KeepSize::No), NtStatus::Success);
  f.checked.write_back_and_check();
  f.checked.remount();
  f.checked.check_all();
  EXPECT_EQ(f.checked.allocate(0, kUnit, KeepSize::Yes), NtStatus::NotSupported);
}

TEST(CompressedStream, IsMadeOfAPlainOneAndBack) {
  Fixture plain(kSmall);
  Checked& checked = plain.checked;
  ASSERT_EQ(checked.write(0, simple(5 * kUnit + 777, 9), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(checked.write(kUnit + 5, pattern(kUnit, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(checked.set_size(9 * kUnit + 1), NtStatus::Success);
  ASSERT_EQ(checked.punch(3 * kUnit + 20000, 20000), NtStatus::Success);
  checked.write_back_and_check();
  const uint64_t before = plain.allocated().raw();
  ASSERT_TRUE(plain.stream().set_compression(Compression::Lznt1).has_value());
  EXPECT_LT(plain.allocated().raw(), before / 2);
  checked.write_back_and_check();
  checked.check_all();
  checked.remount();
  EXPECT_TRUE(*plain.stream().is_compressed());
  checked.check_all();
  ASSERT_TRUE(plain.stream().set_compression(Compression::None).has_value());
  checked.write_back_and_check();
  checked.check_all();
  checked.remount();
  EXPECT_FALSE(*plain.stream().is_compressed());
  checked.check_all();
  checked.write_back_and_check();
}

TEST(CompressedStream, MarksItsFile) {
  CompressedFixture f;
  using ondisk::FileAttributes;
  f.write(2 * kUnit, pattern(kUnit, 1));
  f.checked.write_back_and_check();
  EXPECT_EQ(f.file_attributes() & (FileAttributes::Compressed | FileAttributes::SparseFile),
            FileAttributes::Compressed);
  ASSERT_TRUE(f.stream().set_compression(Compression::None).has_value());
  // The first two units are still a hole.
  EXPECT_EQ(f.file_attributes() & (FileAttributes::Compressed | FileAttributes::SparseFile),
            FileAttributes::SparseFile);
  f.checked.write_back_and_check();
  f.checked.check_all();
}

TEST(CompressedStream, TakesManyFragments) {
  CompressedFixture f({64 * kMiB, 4096, 1024});
  const FilePtr filler = f.volume().file(f.scratch.make_file());
  // What is free lies in pieces of two clusters.
  const uint64_t clusters = f.volume().clusters().available().raw() - 3000;
  ASSERT_TRUE(filler->data().allocate(0, clusters * 4096, KeepSize::No).has_value());
  for (uint64_t vcn = 0; vcn + 8 < clusters; vcn += 8) {
    ASSERT_TRUE(filler->data().punch(vcn * 4096, 2 * 4096).has_value());
  }
  ASSERT_TRUE(f.volume().reclaim());
  for (uint64_t i = 0; i < 100; ++i) {
    f.write(i * kUnit, i % 3 == 0 ? simple(kUnit, 1 + i % 200) : pattern(kUnit, i));
    if (::testing::Test::HasFailure()) break;
  }
  f.checked.write_back_and_check();
  f.checked.check_all();
  ASSERT_EQ(f.checked.set_size(0), NtStatus::Success);
  f.checked.write_back_and_check();
}

TEST(CompressedStream, SaysWhenAUnitIsDamaged) {
  CompressedFixture f;
  f.write(0, simple(kUnit, 1));
  f.write(kUnit, simple(kUnit, 2));
  f.checked.write_back_and_check();
  const auto runs = *f.stream().runs();
  AlignedBuffer junk(4096);
  std::fill(junk.data(), junk.data() + 4096, std::byte{0xFF});
  ASSERT_TRUE(
      f.volume().device().write(runs.find(Vcn(0)).lcn.raw() * 4096, junk.bytes()).has_value());
  AlignedBuffer into(kUnit);
  EXPECT_EQ(f.stream().read(0, kUnit, into.bytes()).error(), NtStatus::FileCorruptError);
  EXPECT_EQ(f.stream().read(100, 100, into.bytes()).error(), NtStatus::FileCorruptError);
  f.checked.check_read(kUnit, kUnit);
}

TEST(CompressedStream, IsNotOfferedOnLargeClusters) {
  Fixture f({64 * kMiB, 8192, 1024});
  EXPECT_EQ(f.stream().set_compression(Compression::Lznt1).error(), NtStatus::InvalidDeviceRequest);
}

}  // namespace
}  // namespace ntfs
