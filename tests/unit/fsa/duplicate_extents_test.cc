// MS-FSA 2.1.5.10.4 "FSCTL_DUPLICATE_EXTENTS_TO_FILE", and what becomes of shared clusters in the
// other algorithms.

#include <optional>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs::testing {
namespace {

const OpenedStore::Shape kShape{uint64_t{16} << 20, 4096, OpensLock::Yes, DeviceContent::Zeroed,
                                true};
constexpr uint32_t kAll = kReadWrite | AccessMask::ReadAttributes;

/// A store whose files may share clusters, with "file", 64 KiB of data, and "other", empty.
class DuplicateExtents : public ::testing::Test {
 protected:
  DuplicateExtents() : s_(kShape) {
    auto made = s_.store().create(*s_.store().root(), u"other", {});
    EXPECT_TRUE(made.has_value());
    other_ = *made;
    source_ = s_.open(0, kAll);
    target_ = open(other_, kAll);
    EXPECT_EQ(s_.write(*source_, 0, data_), NtStatus::Success);
  }

  OpenPtr open(const FilePtr& file, uint32_t access) {
    OpenParameters parameters;
    parameters.desired_access = access | AccessMask::Synchronize;
    auto made = s_.store().open(file, parameters);
    EXPECT_TRUE(made.has_value());
    return OpenPtr(made ? made->release() : nullptr, Closer{&s_.store()});
  }
  NtStatus duplicate(int64_t from, int64_t to, int64_t count) {
    return s_.store().duplicate_extents(*target_, *source_, {from, to, count}).error();
  }
  void set_end(int64_t size) { ASSERT_TRUE(s_.store().set_end_of_file(*target_, size)); }
  std::vector<ClusterRun> runs(const FilePtr& file) {
    const auto runs = file->data().runs();
    return runs->allocated_in(Vcn(0), runs->end() - Vcn(0));
  }
  bool are_shared(const FilePtr& file) {
    bool all = true;
    for (const ClusterRun& run : runs(file)) {
      all = all && s_.store().volume().refcounts()->count_shared(run) == run.count;
    }
    return all;
  }
  uint64_t free() { return s_.store().volume().clusters().free_clusters().raw(); }

  const ByteVector data_ = filled(65536, 1);
  OpenedStore s_;
  FilePtr other_;
  OpenPtr source_;
  OpenPtr target_;
};

TEST_F(DuplicateExtents, RangesAreWholeClusters) {
  proves("D3 D4");
  set_end(65536);
  EXPECT_EQ(duplicate(1, 0, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(duplicate(0, 512, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(duplicate(0, 0, 100), NtStatus::InvalidParameter);
  EXPECT_EQ(duplicate(-4096, 0, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(duplicate(0, -4096, 4096), NtStatus::InvalidParameter);
  EXPECT_EQ(duplicate(0, 0, -4096), NtStatus::InvalidParameter);
  EXPECT_EQ(duplicate(0, 0, 0), NtStatus::Success);
  EXPECT_TRUE(runs(other_).empty());
}

TEST_F(DuplicateExtents, AccessAndKindAreChecked) {
  proves("D5 D6");
  set_end(65536);
  OpenPtr directory = open(s_.store().root(), kAll);
  EXPECT_EQ(s_.store().duplicate_extents(*directory, *source_, {0, 0, 4096}).error(),
            NtStatus::NotSupported);
  EXPECT_EQ(s_.store().duplicate_extents(*target_, *directory, {0, 0, 4096}).error(),
            NtStatus::InvalidParameter);
  OpenPtr blind = s_.open(0, AccessMask::ReadData);
  EXPECT_EQ(s_.store().duplicate_extents(*target_, *blind, {0, 0, 4096}).error(),
            NtStatus::InvalidParameter);
  OpenPtr reader = open(other_, AccessMask::ReadData);
  EXPECT_EQ(s_.store().duplicate_extents(*reader, *source_, {0, 0, 4096}).error(),
            NtStatus::AccessDenied);
}

TEST_F(DuplicateExtents, BothFilesMustHaveTheRange) {
  proves("D7");
  EXPECT_EQ(duplicate(0, 0, 4096), NtStatus::NotSupported);
  set_end(8192);
  EXPECT_EQ(duplicate(0, 0, 12288), NtStatus::NotSupported);
  EXPECT_EQ(duplicate(65536, 0, 4096), NtStatus::NotSupported);
  EXPECT_EQ(duplicate(0, 0, 8192), NtStatus::Success);
  // Up to the end of the clusters that they end in.
  ASSERT_TRUE(s_.store().set_end_of_file(*source_, 60000));
  set_end(60000);
  EXPECT_EQ(duplicate(0, 0, 61440), NtStatus::Success);
  EXPECT_EQ(s_.store().query_information(*other_)->file_size, 60000u);
  s_.check();
}

TEST_F(DuplicateExtents, ASparseSourceNeedsASparseTarget) {
  proves("D9");
  set_end(65536);
  ASSERT_TRUE(s_.store().set_sparse(*source_, Stream::Sparse::Yes));
  EXPECT_EQ(duplicate(0, 0, 4096), NtStatus::NotSupported);
  ASSERT_TRUE(s_.store().set_sparse(*target_, Stream::Sparse::Yes));
  EXPECT_EQ(duplicate(0, 0, 4096), NtStatus::Success);
  s_.check();
}

TEST_F(DuplicateExtents, LocksStandAgainstIt) {
  proves("D10");
  set_end(65536);
  OpenPtr holder = s_.open(0, kAll);
  LockParameters lock{0, 100, ByteRangeLock::Mode::Exclusive};
  ASSERT_TRUE(s_.store().lock(*holder, lock, nullptr));
  EXPECT_EQ(duplicate(0, 0, 4096), NtStatus::FileLockConflict);
  EXPECT_EQ(duplicate(4096, 4096, 4096), NtStatus::Success);
  ASSERT_TRUE(s_.store().unlock(*holder, lock));
  lock.mode = ByteRangeLock::Mode::Shared;
  ASSERT_TRUE(s_.store().lock(*holder, lock, nullptr));
  EXPECT_EQ(duplicate(0, 0, 4096), NtStatus::Success);
  OpenPtr other = open(other_, kAll);
  ASSERT_TRUE(s_.store().lock(*other, lock, nullptr));
  EXPECT_EQ(duplicate(0, 0, 4096), NtStatus::FileLockConflict);
}

TEST_F(DuplicateExtents, BothHaveTheClustersAndTheirNumberIsCounted) {
  proves("D11 A18");
  set_end(65536);
  ASSERT_TRUE(s_.store().flush());
  const uint64_t own = other_->data().sizes()->allocated / 4096;
  const uint64_t free_before = free();
  ASSERT_EQ(duplicate(0, 0, 65536), NtStatus::Success);
  EXPECT_EQ(free(), free_before + own);  // what the target had before is given up
  EXPECT_EQ(runs(s_.file()), runs(other_));
  EXPECT_TRUE(are_shared(other_));
  EXPECT_EQ(s_.read(*target_, 0, 65536).bytes, data_);
  EXPECT_EQ(s_.sizes().allocated, other_->data().sizes()->allocated);
  // What was there is given up; the source's hole becomes one.
  ASSERT_EQ(duplicate(0, 32768, 8192), NtStatus::Success);
  EXPECT_EQ(s_.read(*target_, 32768, 8192).bytes, filled(8192, 1));
  s_.check();
}

TEST_F(DuplicateExtents, ItIsRememberedAfterARemountAndACrash) {
  set_end(65536);
  ASSERT_EQ(duplicate(0, 0, 65536), NtStatus::Success);
  ASSERT_TRUE(s_.store().flush());
  source_.reset();
  target_.reset();
  other_.reset();
  s_.crash();
  other_ = *s_.store().lookup(*s_.store().root(), u"other");
  EXPECT_TRUE(are_shared(other_));
  other_.reset();
  s_.remount();
  other_ = *s_.store().lookup(*s_.store().root(), u"other");
  EXPECT_TRUE(are_shared(other_));
  target_ = open(other_, kAll);
  EXPECT_EQ(s_.read(*target_, 0, 65536).bytes, data_);
  s_.check();
}

TEST_F(DuplicateExtents, CopiesOfWholeClustersShareThem) {
  ASSERT_TRUE(s_.store().set_end_of_file(*source_, 65000));
  ASSERT_TRUE(s_.store().flush());
  const uint64_t free_before = free();
  EXPECT_EQ(*s_.store().copy_range(*source_, 0, *target_, 0, 1 << 20), 65000u);
  EXPECT_EQ(free(), free_before);
  EXPECT_TRUE(are_shared(other_));
  EXPECT_EQ(s_.store().query_information(*other_)->file_size, 65000u);
  // Into the middle: the rest of the last cluster is the target's.
  EXPECT_EQ(*s_.store().copy_range(*source_, 4096, *target_, 8192, 10000), 10000u);
  ByteVector expected(data_.begin(), data_.begin() + 65000);
  std::copy_n(data_.begin() + 4096, 10000, expected.begin() + 8192);
  EXPECT_EQ(s_.read(*target_, 0, 65536).bytes, expected);
  EXPECT_EQ(*s_.store().copy_range(*source_, 100, *target_, 8192, 10000), 10000u);
  EXPECT_EQ(s_.read(*target_, 8192, 10000).bytes,
            ByteVector(data_.begin() + 100, data_.begin() + 10100));
  s_.check();
}

// W18, and the rest of what writes to a file.

using WriteToSharedClusters = DuplicateExtents;

TEST_F(WriteToSharedClusters, CopiesThemFirst) {
  proves("W18 A9");
  for (const Buffering buffering : {kBuffered, kUnbuffered}) {
    set_end(65536);
    ASSERT_EQ(duplicate(0, 0, 65536), NtStatus::Success);
    const auto shared = runs(s_.file());
    const ByteVector mine = filled(512, 7);
    ASSERT_EQ(s_.write(*target_, 512, mine, buffering), NtStatus::Success);
    ASSERT_TRUE(s_.store().flush());
    EXPECT_EQ(runs(s_.file()), shared);
    EXPECT_EQ(s_.raw(0, 4096), ByteVector(data_.begin(), data_.begin() + 4096));
    ByteVector expected = data_;
    std::copy(mine.begin(), mine.end(), expected.begin() + 512);
    EXPECT_EQ(s_.read(*target_, 0, 65536).bytes, expected);
    EXPECT_EQ(s_.read(*source_, 0, 65536).bytes, data_);
    s_.check();
  }
}

TEST_F(WriteToSharedClusters, IsToldOfAFullDiskBeforeAnythingIsCached) {
  proves("W22 A8 A10 A11");
  ASSERT_EQ(*s_.store().copy_range(*source_, 0, *target_, 0, 65536), 65536u);
  s_.fill_but(2);
  ASSERT_EQ(s_.write(*target_, 0, filled(8192, 3)), NtStatus::Success);
  EXPECT_EQ(s_.write(*target_, 16384, filled(4096, 3)), NtStatus::DiskFull);
  ASSERT_TRUE(s_.store().flush());
  EXPECT_EQ(s_.write(*target_, 16384, filled(4096, 3), kUnbuffered), NtStatus::DiskFull);
  EXPECT_EQ(s_.read(*target_, 0, 8192).bytes, filled(8192, 3));
  EXPECT_EQ(s_.read(*source_, 0, 65536).bytes, data_);
  s_.check();
}

TEST_F(WriteToSharedClusters, CuttingAFileGivesItsReferencesUp) {
  proves("E9 N5");
  set_end(65536);
  ASSERT_EQ(duplicate(0, 0, 65536), NtStatus::Success);
  const uint64_t free_before = free();
  set_end(10000);
  ASSERT_TRUE(s_.store().set_allocation(*target_, 4096));
  EXPECT_EQ(s_.store().query_information(*other_)->file_size, 4096u);
  s_.check();
  EXPECT_EQ(free(), free_before);
  EXPECT_EQ(s_.read(*source_, 0, 65536).bytes, data_);
  // The last name of the last owner gone, the clusters are free.
  source_.reset();
  target_.reset();
  ASSERT_TRUE(s_.store().remove(*s_.store().root(), u"file", ObjectStore::RemoveKind::File));
  s_.check();
  EXPECT_EQ(free(), free_before + 15);
  ASSERT_TRUE(s_.store().remove(*s_.store().root(), u"other", ObjectStore::RemoveKind::File));
  s_.check();
  EXPECT_EQ(free(), free_before + 16);
}

TEST_F(WriteToSharedClusters, ZerosAreTheFilesOwn) {
  set_end(65536);
  ASSERT_EQ(duplicate(0, 0, 65536), NtStatus::Success);
  ASSERT_TRUE(s_.store().set_zero_data(*target_, 100, 30000));
  EXPECT_EQ(s_.read(*source_, 0, 65536).bytes, data_);
  EXPECT_EQ(s_.read(*target_, 100, 29900).bytes, ByteVector(29900));
  s_.check();
}

TEST(DuplicateExtentsElsewhere, IsRefusedWithoutCountsAndOnAReadOnlyVolume) {
  proves("D2 D8");
  OpenedStore plain;
  OpenPtr open = plain.open(0, kAll);
  EXPECT_EQ(plain.store().duplicate_extents(*open, *open, {0, 0, 4096}).error(),
            NtStatus::InvalidDeviceRequest);
  OpenedStore counted(kShape);
  OpenPtr source = counted.open(0, kAll);
  ASSERT_EQ(counted.write(*source, 0, filled(8192, 1)), NtStatus::Success);
  OpenedStore elsewhere(kShape);
  OpenPtr target = elsewhere.open(0, kAll);
  ASSERT_TRUE(elsewhere.store().set_end_of_file(*target, 8192));
  EXPECT_EQ(elsewhere.store().duplicate_extents(*target, *source, {0, 0, 4096}).error(),
            NtStatus::InvalidParameter);
  source.reset();
  counted.remount(VolumeOptions::Access::ReadOnly);
  source = counted.open(0, AccessMask::ReadData);
  EXPECT_EQ(counted.store().duplicate_extents(*source, *source, {0, 4096, 4096}).error(),
            NtStatus::MediaWriteProtected);
}

}  // namespace
}  // namespace ntfs::testing
