#include "core/store/stream.h"

#include <gtest/gtest.h>

#include "core/ondisk/mapping_pairs.h"
#include "tests/unit/store/stream_model.h"

namespace ntfs {
namespace {

using testing::aligned;
using testing::Buffering;
using testing::Checked;
using testing::difference;
using testing::Fixture;
using testing::in_transaction;
using testing::KeepSize;
using testing::kMiB;
using testing::pattern;
using testing::RangeKind;
using testing::read;
using testing::ScratchVolume;

constexpr ScratchVolume::Shape kSmall{16 * kMiB, 4096, 1024};

TEST(Stream, KeepsSmallFilesResident) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(300, 1), Buffering::Buffered), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_TRUE(f.is_resident());
  ASSERT_EQ(f.checked.append(pattern(5000, 2)), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_FALSE(f.is_resident());
  f.checked.check_all();
  ASSERT_EQ(f.checked.set_size(0), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_TRUE(f.is_resident());
  f.checked.check_all();
}

TEST(Stream, ForgetsAResidentValueThatWasCut) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(300, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.stream().write_back().has_value());
  ASSERT_EQ(f.checked.set_size(0), NtStatus::Success);
  ASSERT_EQ(f.checked.set_size(300), NtStatus::Success);
  f.checked.check_all();
  f.checked.write_back_and_check();
  f.checked.check_all();
}

TEST(Stream, GivesAStreamedFileFewRuns) {
  Fixture f({160 * kMiB, 4096, 1024});
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(f.checked.write(i * kMiB, pattern(kMiB, i), Buffering::Buffered), NtStatus::Success);
  }
  f.checked.write_back_and_check();
  EXPECT_LE(f.count_runs(), 4u);
  f.checked.check_all();
}

TEST(Stream, GivesAFileThatIsWrittenOutOfOrderFewRuns) {
  Fixture f({160 * kMiB, 4096, 1024});
  // As a kernel does that writes back its pages with several requests at once.
  for (uint64_t i = 0; i < 96; ++i) {
    const uint64_t at = (i % 2 == 0 ? i + 1 : i - 1) * kMiB;
    ASSERT_EQ(f.checked.write(at, pattern(kMiB, i), Buffering::Buffered), NtStatus::Success);
    if (i % 10 == 4) {
      ASSERT_TRUE(f.stream().write_back().has_value());
    }
  }
  f.checked.write_back_and_check();
  EXPECT_LE(f.count_runs(), 4u);
  EXPECT_EQ(f.allocated().raw(), 96 * kMiB / 4096);
  f.checked.check_all();
}

TEST(Stream, LeavesHolesWhereNothingWasWritten) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(kMiB, pattern(4096, 1), Buffering::Buffered), NtStatus::Success);
  EXPECT_EQ(*f.stream().next_range(0, RangeKind::Data), kMiB);
  f.checked.write_back_and_check();
  EXPECT_EQ(f.allocated().raw(), 1u);
  EXPECT_EQ(*f.stream().next_range(0, RangeKind::Hole), 0u);
  EXPECT_EQ(*f.stream().next_range(0, RangeKind::Data), kMiB);
  EXPECT_EQ(*f.stream().next_range(kMiB, RangeKind::Hole), kMiB + 4096);
  EXPECT_EQ(f.stream().next_range(kMiB + 4096, RangeKind::Hole).error(), NtStatus::NoMoreEntries);
  f.checked.check_all();
}

TEST(Stream, FillsSmallGaps) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(4096, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.write(40000, pattern(100, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.set_size(60000), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_EQ(f.count_runs(), 1u);
  f.checked.check_all();
}

TEST(Stream, WritesInPlaceWithoutTheLog) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.checked.file().write_back().has_value());
  const auto runs = f.stream().runs();
  const lfs::Lsn before = f.volume().journal().log()->last_lsn();
  ASSERT_EQ(f.checked.write(8192, pattern(65536, 2), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.stream().write_back().has_value());
  ASSERT_EQ(f.checked.write(16384, pattern(4096, 3), Buffering::Unbuffered), NtStatus::Success);
  EXPECT_EQ(f.volume().journal().log()->last_lsn(), before);
  EXPECT_EQ(*f.stream().runs(), *runs);
  f.checked.check_all();
}

TEST(Stream, UnbufferedWritesSkipTheBuffer) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(kMiB, 1), Buffering::Unbuffered), NtStatus::Success);
  EXPECT_FALSE(f.stream().is_dirty());
  ASSERT_EQ(f.checked.write(2 * kMiB, pattern(65536, 2), Buffering::Unbuffered), NtStatus::Success);
  EXPECT_FALSE(f.stream().is_dirty());
  // Behind the end and not aligned: through the buffer, and out at once.
  ASSERT_EQ(f.checked.write(3 * kMiB + 5, pattern(777, 3), Buffering::Unbuffered),
            NtStatus::Success);
  EXPECT_FALSE(f.stream().is_dirty());
  f.checked.check_all();
  f.checked.write_back_and_check();
}

TEST(Stream, ZerosAllocatedSpaceBeforeItIsRead) {
  Fixture f(kSmall);
  // Junk where the file will be.
  ASSERT_EQ(f.checked.write(0, pattern(4 * kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.stream().write_back().has_value());
  ASSERT_EQ(f.checked.set_size(0), NtStatus::Success);
  EXPECT_EQ(f.scratch.check(), "");
  ASSERT_EQ(f.checked.allocate(0, 8 * kMiB, KeepSize::No), NtStatus::Success);
  f.checked.check_all();
  EXPECT_EQ(f.allocated().raw(), 8 * kMiB / 4096);
  ASSERT_EQ(f.checked.write(3 * kMiB + 10, pattern(10, 2), Buffering::Buffered), NtStatus::Success);
  f.checked.write_back_and_check();
  f.checked.remount();
  f.checked.check_all();
  ASSERT_EQ(f.checked.punch(kMiB, 100000), NtStatus::Success);
  ASSERT_EQ(f.checked.allocate(kMiB, 100000, KeepSize::Yes), NtStatus::Success);
  f.checked.check_all();
  f.checked.write_back_and_check();
}

TEST(Stream, AllocatesBehindTheEndWithoutGrowing) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(10, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.allocate(0, kMiB, KeepSize::Yes), NtStatus::Success);
  EXPECT_EQ(f.stream().sizes()->file_size, 10u);
  EXPECT_EQ(f.stream().sizes()->allocated, kMiB);
  f.checked.write_back_and_check();
  ASSERT_EQ(f.checked.append(pattern(100000, 2)), NtStatus::Success);
  f.checked.write_back_and_check();
  EXPECT_EQ(f.stream().sizes()->allocated, kMiB);
  EXPECT_EQ(f.count_runs(), 1u);
  f.checked.check_all();
}

TEST(Stream, RefusesWhatIsTooLarge) {
  Fixture f(kSmall);
  const uint64_t most = f.volume().max_file_size();
  EXPECT_EQ(f.checked.write(most - 1, pattern(2, 1), Buffering::Buffered), NtStatus::FileTooLarge);
  EXPECT_EQ(f.checked.write(~uint64_t{0} - 1, pattern(10, 1), Buffering::Unbuffered),
            NtStatus::FileTooLarge);
  EXPECT_EQ(f.stream().set_size(most + 1).error(), NtStatus::FileTooLarge);
  EXPECT_EQ(f.stream().allocate(most, 1, KeepSize::Yes).error(), NtStatus::FileTooLarge);
  EXPECT_EQ(f.stream().zero(~uint64_t{0}, 5, KeepSize::Yes).error(), NtStatus::FileTooLarge);
  EXPECT_TRUE(f.stream().punch(~uint64_t{0} - 5, 100).has_value());
  ASSERT_TRUE(f.stream().set_size(most).has_value());
  EXPECT_EQ(f.stream().append(pattern(1, 1)).error(), NtStatus::FileTooLarge);
  const ByteVector last = pattern(5000, 3);
  ASSERT_TRUE(f.stream().write(most - 5000, last, Buffering::Buffered).has_value());
  EXPECT_EQ(difference(last, read(f.stream(), most - 5000, 6000)), "");
  ASSERT_TRUE(f.checked.file().write_back().has_value());
  EXPECT_EQ(f.scratch.check(), "");
  EXPECT_EQ(difference(last, read(f.stream(), most - 5000, 6000)), "");
  EXPECT_EQ(read(f.stream(), ~uint64_t{0} - 4096, 4096).size(), 0u);
}

/// Replaces $DATA by a nonresident one with these runs and sizes.
NtStatus replace_data(Volume& volume, FileReference reference, uint16_t flags,
                      const std::vector<ntfs::Run>& runs, const ondisk::AttributeSizes& sizes) {
  return in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    Attributes attributes(volume, reference);
    TRY(attributes.remove(transaction, ondisk::AttributeType::Data, u""));
    ondisk::NonresidentInit init;
    init.flags = flags;
    init.next = runs.back().end();
    init.sizes = sizes;
    const bool has_unit = (flags & ondisk::AttributeFlags::Encrypted) == 0;
    init.compression_unit = has_unit ? 4 : 0;
    const auto pairs = ondisk::encode_mapping_pairs(runs, 200);
    return attributes.insert(transaction, ondisk::build_nonresident(init, u"", pairs.bytes));
  });
}

TEST(Stream, SurvivesImpossibleSizes) {
  Fixture f(kSmall);
  constexpr uint64_t kHuge = uint64_t{1} << 52;
  const std::vector<ntfs::Run> hole = {{Vcn(0), Lcn::hole(), ClusterCount(kHuge / 4096)}};
  ASSERT_EQ(replace_data(f.volume(), f.reference, ondisk::AttributeFlags::Sparse, hole,
                         {kHuge, kHuge, kHuge, 0}),
            NtStatus::Success);
  AlignedBuffer buffer(8192);
  EXPECT_EQ(*f.stream().read(kHuge - 5, 4096, buffer.bytes()), 5u);
  EXPECT_EQ(*f.stream().read(~uint64_t{0}, 4096, buffer.bytes()), 0u);
  EXPECT_EQ(*f.stream().next_range(5, RangeKind::Hole), 5u);
  EXPECT_EQ(f.stream().next_range(5, RangeKind::Data).error(), NtStatus::NoMoreEntries);
  EXPECT_EQ(f.stream().append(pattern(1, 1)).error(), NtStatus::FileTooLarge);
  EXPECT_EQ(f.stream().allocate(0, f.volume().max_file_size(), KeepSize::Yes).error(),
            NtStatus::DiskFull);
  ASSERT_TRUE(f.stream().write(5 * kMiB, pattern(100, 1), Buffering::Buffered).has_value());
  ASSERT_TRUE(f.checked.file().write_back().has_value());
  EXPECT_EQ(f.allocated().raw(), 1u);
  ASSERT_TRUE(f.stream().punch(0, ~uint64_t{0}).has_value());
  EXPECT_EQ(f.allocated().raw(), 0u);
  ASSERT_TRUE(f.stream().set_size(4 * kMiB).has_value());
  EXPECT_EQ(f.scratch.check(), "");
  ASSERT_TRUE(f.stream().discard().has_value());
  EXPECT_EQ(f.scratch.check(), "");
}

TEST(Stream, RefusesEncryptedDataAndUnknownCompression) {
  ScratchVolume scratch(kSmall);
  constexpr uint16_t kOtherMethod = 0x0002;
  for (const uint16_t flag : {ondisk::AttributeFlags::Encrypted, kOtherMethod}) {
    const FileReference reference = scratch.make_file();
    std::vector<ntfs::Run> list;
    ASSERT_EQ(in_transaction(scratch.volume(),
                             [&](Transaction& transaction) -> Result<> {
                               const auto runs = TRY(scratch.volume().clusters().allocate(
                                   transaction, ClusterCount(16), Lcn::hole()));
                               Vcn at;
                               for (const ClusterRun& run : runs) {
                                 list.push_back({at, run.lcn, run.count});
                                 at = at + run.count;
                               }
                               return {};
                             }),
              NtStatus::Success);
    ASSERT_EQ(replace_data(scratch.volume(), reference, flag, list, {65536, 65536, 65536, 65536}),
              NtStatus::Success);
    const NtStatus expected =
        flag == ondisk::AttributeFlags::Encrypted ? NtStatus::AccessDenied : NtStatus::NotSupported;
    const FilePtr file = scratch.volume().file(reference);
    AlignedBuffer buffer(4096);
    EXPECT_EQ(file->data().read(0, 10, buffer.bytes()).error(), expected);
    EXPECT_EQ(file->data().write(0, pattern(10, 1), Buffering::Buffered).error(), expected);
    EXPECT_EQ(file->data().set_size(0).error(), expected);
    EXPECT_EQ(file->data().sizes()->file_size, 65536u);
    EXPECT_EQ(scratch.check(), "");
    const auto free = scratch.volume().clusters().free_clusters();
    ASSERT_TRUE(file->data().discard().has_value());
    EXPECT_EQ(scratch.volume().clusters().free_clusters(), free + ClusterCount(16));
    EXPECT_EQ(scratch.check(), "");
  }
}

TEST(Stream, KeepsWhatCouldNotBeWritten) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.checked.file().write_back().has_value());
  const ClusterCount free = f.volume().clusters().free_clusters();
  for (uint64_t nth = 1; nth <= 3; ++nth) {
    for (uint64_t i = 0; i < 6; ++i) {
      ASSERT_EQ(f.checked.write((1 + i * 3) * 100000, pattern(30000, i), Buffering::Buffered),
                NtStatus::Success);
    }
    f.scratch.device().fail_write(nth);
    EXPECT_EQ(f.stream().write_back().error(), NtStatus::IoDeviceError);
    EXPECT_TRUE(f.stream().is_dirty());
    f.checked.check_all();
    f.checked.write_back_and_check();
    f.checked.check_all();
  }
  f.scratch.device().fail_write(1);
  EXPECT_EQ(f.checked.write(4 * kMiB, pattern(kMiB, 9), Buffering::Unbuffered),
            NtStatus::IoDeviceError);
  f.checked.check_all();
  f.checked.write_back_and_check();
  ASSERT_EQ(f.checked.set_size(kMiB), NtStatus::Success);
  EXPECT_EQ(f.scratch.check(), "");
  EXPECT_EQ(f.volume().clusters().free_clusters(), free);
}

TEST(Stream, WritesNothingToAVolumeThatBecameReadOnly) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.stream().write_back().has_value());
  ASSERT_EQ(f.checked.write(8192, pattern(4096, 2), Buffering::Buffered), NtStatus::Success);
  f.volume().journal().fail(NtStatus::IoDeviceError, "a write of the log that a test made up");
  EXPECT_EQ(f.stream().write_back().error(), NtStatus::MediaWriteProtected);
  EXPECT_TRUE(f.stream().is_dirty());
}

TEST(Stream, ReportsDataThatCannotBeRead) {
  Fixture f(kSmall);
  ASSERT_EQ(f.checked.write(0, pattern(kMiB, 1), Buffering::Buffered), NtStatus::Success);
  ASSERT_TRUE(f.stream().write_back().has_value());
  const ntfs::Run run = f.stream().runs()->find(Vcn(10));
  f.scratch.device().fail_reads(run.lcn.raw() * 4096, 4096);
  AlignedBuffer buffer(kMiB);
  EXPECT_EQ(f.stream().read(0, kMiB, buffer.bytes()).error(), NtStatus::IoDeviceError);
  // A part of a unit cannot be overwritten without the rest; nothing changes.
  EXPECT_EQ(f.stream().write(10 * 4096 + 5, pattern(10, 2), Buffering::Buffered).error(),
            NtStatus::IoDeviceError);
  EXPECT_FALSE(f.stream().is_dirty());
  ASSERT_EQ(f.checked.write(10 * 4096, pattern(4096, 3), Buffering::Buffered), NtStatus::Success);
  f.checked.check_all();
  f.scratch.device().clear_faults();
  f.checked.write_back_and_check();
}

TEST(Stream, SaysDiskFullWhenAWriteIsBuffered) {
  Fixture f({10 * kMiB, 4096, 1024});
  NtStatus status = NtStatus::Success;
  const ClusterCount free = f.volume().clusters().free_clusters();
  uint64_t seed = 0;
  while (status == NtStatus::Success) status = f.checked.append(pattern(50000, ++seed));
  EXPECT_EQ(status, NtStatus::DiskFull);
  EXPECT_GT(f.checked.model().size() + kMiB, free.raw() * 4096);
  f.checked.check_all();
  f.checked.write_back_and_check();
  f.checked.check_all();
  EXPECT_EQ(f.checked.write(0, pattern(200000, 1), Buffering::Buffered), NtStatus::Success);
  EXPECT_EQ(f.checked.allocate(0, 20 * kMiB, KeepSize::No), NtStatus::DiskFull);
  EXPECT_EQ(f.stream().sizes()->file_size, f.checked.model().size());
  f.checked.write_back_and_check();
  f.checked.check_all();
  ASSERT_TRUE(f.stream().discard().has_value());
  EXPECT_EQ(f.scratch.check(), "");
  EXPECT_EQ(f.volume().clusters().free_clusters(), free);
  // Space that was given back is used again.
  EXPECT_TRUE(f.stream().write(0, pattern(5 * kMiB, 1), Buffering::Buffered).has_value());
}

TEST(Stream, HandlesManyFragments) {
  Fixture f({256 * kMiB, 4096, 1024});
  constexpr uint64_t kCount = 6000;
  const ByteVector unit = pattern(4096, 7);
  ASSERT_EQ(f.checked.set_size(kCount * 8192), NtStatus::Success);
  ASSERT_TRUE(f.stream().write_back().has_value());
  for (uint64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(f.checked.write(i * 8192 + 4096, unit, Buffering::Buffered), NtStatus::Success);
  }
  f.checked.write_back_and_check();
  EXPECT_GE(f.count_runs(), 2 * kCount - 1);
  f.checked.remount();
  f.checked.check_all();
  ASSERT_EQ(f.checked.punch(10000, kCount * 4096 + 77), NtStatus::Success);
  f.checked.check_all();
  f.checked.write_back_and_check();
  for (uint64_t i = kCount; i-- > 0;) {
    ASSERT_EQ(f.checked.write(i * 8192, unit, Buffering::Buffered), NtStatus::Success);
  }
  f.checked.write_back_and_check();
  f.checked.check_all();
  ASSERT_EQ(f.checked.set_size(kCount * 2048), NtStatus::Success);
  f.checked.write_back_and_check();
  f.checked.check_all();
  ASSERT_TRUE(f.stream().discard().has_value());
  EXPECT_EQ(f.scratch.check(), "");
}

TEST(Stream, UsesAFragmentedVolume) {
  ScratchVolume scratch({20 * kMiB, 512, 1024});
  // Every second unit of the volume, so that free space is in runs of 4 KiB.
  Checked comb(scratch, scratch.make_file());
  while (comb.append(pattern(100000, 1)) == NtStatus::Success) {
  }
  comb.write_back_and_check();
  for (uint64_t at = 0; at + 8192 < comb.model().size(); at += 8192) {
    ASSERT_EQ(comb.punch(at, 4096), NtStatus::Success);
  }
  comb.write_back_and_check();
  Checked checked(scratch, scratch.make_file());
  ASSERT_EQ(checked.write(0, pattern(3 * kMiB, 2), Buffering::Buffered), NtStatus::Success);
  checked.write_back_and_check();
  checked.check_all();
  ASSERT_EQ(checked.write(3 * kMiB, pattern(kMiB, 3), Buffering::Unbuffered), NtStatus::Success);
  checked.write_back_and_check();
  ASSERT_EQ(checked.allocate(4 * kMiB, kMiB / 2, KeepSize::No), NtStatus::Success);
  checked.check_all();
  checked.write_back_and_check();
  comb.check_all();
}

/// A read whose transfer comes later: what it returns, as far as it stands in its memory.
struct BegunRead {
  BegunRead(Stream& stream, uint64_t offset, size_t length) : buffer(align_up(length, 4096)) {
    auto begun = stream.begin_read(offset, length, buffer.bytes(), requests);
    EXPECT_TRUE(begun.has_value());
    if (begun) step = std::move(*begun);
  }
  ByteVector bytes() { return {buffer.data(), buffer.data() + step.length}; }

  AlignedBuffer buffer;
  std::vector<IoRequest> requests;
  Stream::ReadStep step;
};

TEST(Stream, LeavesTheTransferOfAReadToTheCaller) {
  Fixture f(kSmall);
  const ByteVector disk = pattern(3 * 4096 + 100, 1);
  ASSERT_EQ(f.checked.write(0, disk, Buffering::Buffered), NtStatus::Success);
  f.checked.write_back_and_check();
  const ByteVector buffered = pattern(4096, 2);
  ASSERT_EQ(f.checked.write(4096, buffered, Buffering::Buffered), NtStatus::Success);
  ASSERT_EQ(f.checked.set_size(5 * 4096), NtStatus::Success);
  BegunRead all(f.stream(), 0, 6 * 4096);
  BegunRead behind(f.stream(), 5 * 4096, 4096);
  EXPECT_FALSE(all.requests.empty());
  EXPECT_TRUE(behind.requests.empty());
  ASSERT_TRUE(f.scratch.device().transfer(all.requests).has_value());
  EXPECT_TRUE(f.stream().end_read(all.step));
  EXPECT_TRUE(f.stream().end_read(behind.step));
  EXPECT_EQ(difference(f.checked.model(), all.bytes()), "");
  EXPECT_EQ(behind.step.length, 0u);
}

TEST(Stream, SaysWhenClustersWereFreedWhileTheyWereRead) {
  Fixture f(kSmall);
  const auto change = [&](auto&& what) {
    ASSERT_EQ(f.checked.write(0, pattern(8 * 4096, 1), Buffering::Buffered), NtStatus::Success);
    f.checked.write_back_and_check();
    BegunRead begun(f.stream(), 0, 8 * 4096);
    ASSERT_FALSE(begun.requests.empty());
    what();
    EXPECT_FALSE(f.stream().end_read(begun.step));
    f.checked.check_all();
  };
  change([&] { ASSERT_EQ(f.checked.punch(4096, 4096), NtStatus::Success); });
  change([&] { ASSERT_EQ(f.checked.set_size(4096), NtStatus::Success); });
  change([&] { ASSERT_EQ(f.checked.set_size(0), NtStatus::Success); });
}

}  // namespace
}  // namespace ntfs
