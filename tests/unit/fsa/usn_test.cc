// What operations say in the change journal: the sequences of the fact sheet, "Observed sequences"
// and "Operation to reason table".

#include <random>

#include "core/fsa/object_id.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs::testing {
namespace {

using usn::Reason;
using Sequence = std::vector<Said>;

constexpr FileReference kRoot(5, 5);

Sequence of(const std::string& name, std::initializer_list<uint32_t> reasons) {
  Sequence sequence;
  for (const uint32_t reason : reasons) sequence.push_back({name, reason, kRoot});
  return sequence;
}

class UsnTable : public ::testing::Test {
 protected:
  /// Creates and closes a file, which is no news.
  FilePtr old_file(std::u16string_view name, size_t bytes = 0) {
    FilePtr file = v_.make(name);
    EXPECT_TRUE(v_.store().write(*file, 0, ByteVector(bytes), kBuffered));
    v_.news();
    return file;
  }
  void set(File& file, const BasicInformation& information) {
    ASSERT_TRUE(v_.store().set_basic_information(file, information));
  }
  BasicInformation attributes(uint32_t bits) {
    BasicInformation information;
    information.file_attributes = bits;
    return information;
  }
  void TearDown() override { EXPECT_EQ(v_.check(), ""); }
  UsnStore v_;
};

TEST_F(UsnTable, CreateOfAnEmptyFile) {
  v_.make(u"a");
  EXPECT_EQ(v_.news(), of("a", {0x100, 0x80000100}));
}

TEST_F(UsnTable, CreateOfADirectoryAndASymbolicLink) {
  v_.make(u"d", FileKind::Directory);
  EXPECT_EQ(v_.news(), of("d", {0x100, 0x80000100}));
  CreateParameters parameters;
  parameters.kind = FileKind::Symlink;
  parameters.symlink_target = "d";
  ASSERT_TRUE(v_.store().create(*v_.root(), u"s", parameters));
  EXPECT_EQ(v_.news(), of("s", {0x100, 0x80000100}));
}

TEST_F(UsnTable, AttributesByAnotherOpen) {
  const FilePtr file = old_file(u"a");
  set(*file, attributes(ondisk::FileAttributes::Hidden));
  EXPECT_EQ(v_.news(), of("a", {0x8000, 0x80008000}));
}

TEST_F(UsnTable, WhatIsSetToWhatItIsSaysNothing) {
  const FilePtr file = old_file(u"a");
  const auto now = v_.store().query_information(*file);
  ASSERT_TRUE(now);
  BasicInformation same = attributes(now->file_attributes);
  same.times.last_write = now->last_write_time;
  set(*file, same);
  EXPECT_EQ(v_.news(), Sequence{});
}

TEST_F(UsnTable, CopyOfAFileIn) {
  CreateParameters parameters;
  parameters.holder = CreateParameters::Holder::Caller;
  const auto file = v_.store().create(*v_.root(), u"a", parameters);
  ASSERT_TRUE(file);
  auto open = v_.open(*file);
  v_.store().close(*file);
  ASSERT_EQ(v_.write(*open, 0, 10000), NtStatus::Success);
  ASSERT_EQ(v_.write(*open, 0, 100), NtStatus::Success);
  BasicInformation times;
  times.times.last_write = ondisk::FileTime::from_raw(1);
  set(**file, times);
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x100, 0x102, 0x103, 0x8103, 0x80008103}));
}

TEST_F(UsnTable, FirstWriteToAnEmptyFile) {
  proves("W10 W13");
  const FilePtr file = old_file(u"a");
  auto open = v_.open(file);
  ASSERT_EQ(v_.write(*open, 0, 100), NtStatus::Success);
  ASSERT_EQ(v_.write(*open, 100, 100), NtStatus::Success);
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x2, 0x80000002}));
}

TEST_F(UsnTable, OneWriteOverTheOldEnd) {
  const FilePtr file = old_file(u"a", 100);
  auto open = v_.open(file);
  ASSERT_EQ(v_.write(*open, 50, 100), NtStatus::Success);
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x3, 0x80000003}));
}

TEST_F(UsnTable, RewriteToShorterContent) {
  proves("E6");
  const FilePtr file = old_file(u"a", 5000);
  auto open = v_.open(file);
  ASSERT_EQ(v_.write(*open, 0, 100), NtStatus::Success);
  ASSERT_TRUE(v_.store().set_end_of_file(*open, 100));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x1, 0x5, 0x80000005}));
}

TEST_F(UsnTable, OverwriteOfANonEmptyFile) {
  const FilePtr file = old_file(u"a", 5000);
  auto open = v_.open(file);
  ASSERT_TRUE(v_.store().set_end_of_file(*open, 0));
  ASSERT_EQ(v_.write(*open, 0, 100), NtStatus::Success);
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x4, 0x6, 0x80000006}));
}

TEST_F(UsnTable, SizesThatAreSet) {
  const FilePtr file = old_file(u"a", 5000);
  ASSERT_TRUE(v_.store().set_end_of_file(*file, 5000));
  EXPECT_EQ(v_.news(), Sequence{});
  ASSERT_TRUE(v_.store().set_end_of_file(*file, 6000));
  EXPECT_EQ(v_.news(), of("a", {0x2, 0x80000002}));
  ASSERT_TRUE(v_.store().set_end_of_file(*file, 10));
  EXPECT_EQ(v_.news(), of("a", {0x4, 0x80000004}));
}

TEST_F(UsnTable, AllocationsThatAreSet) {
  const FilePtr file = old_file(u"a", 50000);
  auto open = v_.open(file);
  ASSERT_TRUE(v_.store().set_allocation(*open, 100000));
  EXPECT_EQ(v_.news(), Sequence{});
  ASSERT_TRUE(v_.store().set_allocation(*open, 4096));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x4, 0x80000004}));
}

TEST_F(UsnTable, ZeroDataAndHoles) {
  const FilePtr file = old_file(u"a", 50000);
  auto open = v_.open(file);
  ASSERT_TRUE(v_.store().set_zero_data(*open, 0, 8192));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x1, 0x80000001}));
  ASSERT_TRUE(v_.store().punch(*file, 8192, 8192));
  EXPECT_EQ(v_.news(), of("a", {0x1, 0x80000001}));
  ASSERT_TRUE(v_.store().zero(*file, 49000, 2000, KeepSize::No));
  EXPECT_EQ(v_.news(), of("a", {0x3, 0x80000003}));
  ASSERT_TRUE(v_.store().allocate(*file, 0, 60000, KeepSize::Yes));
  EXPECT_EQ(v_.news(), Sequence{});
  ASSERT_TRUE(v_.store().allocate(*file, 0, 60000, KeepSize::No));
  EXPECT_EQ(v_.news(), of("a", {0x2, 0x80000002}));
}

TEST_F(UsnTable, Sparse) {
  const FilePtr file = old_file(u"a", 50000);
  auto open = v_.open(file);
  ASSERT_TRUE(v_.store().set_sparse(*open, Stream::Sparse::Yes));
  ASSERT_TRUE(v_.store().set_sparse(*open, Stream::Sparse::Yes));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x8000, 0x80008000}));
}

TEST_F(UsnTable, NotIndexedAnyMore) {
  const FilePtr file = old_file(u"a");
  set(*file,
      attributes(ondisk::FileAttributes::Archive | ondisk::FileAttributes::NotContentIndexed));
  EXPECT_EQ(v_.news(), of("a", {0xC000, 0x8000C000}));
}

TEST_F(UsnTable, ExtendedAttributes) {
  const FilePtr file = old_file(u"a");
  BasicInformation information;
  information.linux_metadata.mode = 0100600;
  set(*file, information);
  EXPECT_EQ(v_.news(), of("a", {0x400, 0x80000400}));
}

TEST_F(UsnTable, ObjectIds) {
  const FilePtr file = old_file(u"a");
  ObjectIdControls controls(v_.store());
  ASSERT_TRUE(controls.replace(*file, {{std::byte{1}}, {}}));
  EXPECT_EQ(v_.news(), of("a", {0x80000, 0x80080000}));
  {
    auto open = v_.open(file);
    ASSERT_TRUE(controls.create_or_get(*open));
    ASSERT_TRUE(controls.remove(*open));
    v_.store().close(std::move(open));
  }
  EXPECT_EQ(v_.news(), of("a", {0x80000, 0x80080000}));
  ASSERT_TRUE(controls.remove(*file));
  EXPECT_EQ(v_.news(), Sequence{});
}

TEST_F(UsnTable, ShortNamesAreARenameOfTheLongOne) {
  const FilePtr file = old_file(u"a long name");
  ASSERT_TRUE(v_.store().set_short_name(*file, u"ALONGN~1"));
  EXPECT_EQ(v_.news(), of("a long name", {0x1000, 0x2000, 0x80002000}));
  ASSERT_TRUE(v_.store().set_short_name(*file, u"ALONGN~1"));
  EXPECT_EQ(v_.news(), Sequence{});
  ASSERT_TRUE(v_.store().remove(*v_.root(), u"ALONGN~1", ObjectStore::RemoveKind::File));
  EXPECT_EQ(v_.news(), of("a long name", {0x80000200}));
}

TEST_F(UsnTable, Rename) {
  old_file(u"a");
  const FilePtr directory = v_.make(u"d", FileKind::Directory);
  v_.news();
  ASSERT_TRUE(
      v_.store().rename(*v_.root(), u"a", *directory, u"b", ObjectStore::RenameMode::Replace));
  const FileReference d = directory->reference();
  EXPECT_EQ(v_.news(), (Sequence{{"a", 0x1000, kRoot}, {"b", 0x2000, d}, {"b", 0x80002000, d}}));
}

TEST_F(UsnTable, TwoRenamesOfAnOpenFile) {
  const FilePtr file = old_file(u"a");
  auto open = v_.open(file);
  using Mode = ObjectStore::RenameMode;
  ASSERT_TRUE(v_.store().rename(*v_.root(), u"a", *v_.root(), u"b", Mode::NoReplace));
  ASSERT_TRUE(v_.store().rename(*v_.root(), u"b", *v_.root(), u"c", Mode::NoReplace));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), (Sequence{{"a", 0x1000, kRoot},
                                 {"b", 0x2000, kRoot},
                                 {"b", 0x3000, kRoot},
                                 {"c", 0x2000, kRoot},
                                 {"c", 0x80002000, kRoot}}));
}

TEST_F(UsnTable, RenameOverATargetWithOneName) {
  old_file(u"a");
  old_file(u"b");
  ASSERT_TRUE(
      v_.store().rename(*v_.root(), u"a", *v_.root(), u"b", ObjectStore::RenameMode::Replace));
  EXPECT_EQ(v_.news(), (Sequence{{"b", 0x80000200, kRoot},
                                 {"a", 0x1000, kRoot},
                                 {"b", 0x2000, kRoot},
                                 {"b", 0x80002000, kRoot}}));
}

TEST_F(UsnTable, RenameOverOneOfSeveralNames) {
  old_file(u"a");
  const FilePtr target = old_file(u"b");
  ASSERT_TRUE(v_.store().link(*target, *v_.root(), u"c"));
  v_.news();
  ASSERT_TRUE(
      v_.store().rename(*v_.root(), u"a", *v_.root(), u"b", ObjectStore::RenameMode::Replace));
  EXPECT_EQ(v_.news(), (Sequence{{"b", 0x10000, kRoot},
                                 {"b", 0x80010000, kRoot},
                                 {"a", 0x1000, kRoot},
                                 {"b", 0x2000, kRoot},
                                 {"b", 0x80002000, kRoot}}));
}

TEST_F(UsnTable, Exchange) {
  old_file(u"a");
  old_file(u"b");
  ASSERT_TRUE(
      v_.store().rename(*v_.root(), u"a", *v_.root(), u"b", ObjectStore::RenameMode::Exchange));
  EXPECT_EQ(v_.news(), (Sequence{{"a", 0x1000, kRoot},
                                 {"b", 0x2000, kRoot},
                                 {"b", 0x80002000, kRoot},
                                 {"b", 0x1000, kRoot},
                                 {"a", 0x2000, kRoot},
                                 {"a", 0x80002000, kRoot}}));
}

TEST_F(UsnTable, HardLinks) {
  const FilePtr file = old_file(u"a");
  ASSERT_TRUE(v_.store().link(*file, *v_.root(), u"b"));
  EXPECT_EQ(v_.news(), of("b", {0x10000, 0x80010000}));
  ASSERT_TRUE(v_.store().remove(*v_.root(), u"a", ObjectStore::RemoveKind::File));
  EXPECT_EQ(v_.news(), of("a", {0x10000, 0x80010000}));
  ASSERT_TRUE(v_.store().remove(*v_.root(), u"b", ObjectStore::RemoveKind::File));
  EXPECT_EQ(v_.news(), of("b", {0x80000200}));
}

TEST_F(UsnTable, Delete) {
  old_file(u"a", 100000);
  ASSERT_TRUE(v_.store().remove(*v_.root(), u"a", ObjectStore::RemoveKind::File));
  EXPECT_EQ(v_.news(), of("a", {0x80000200}));
  v_.make(u"d", FileKind::Directory);
  v_.news();
  ASSERT_TRUE(v_.store().remove(*v_.root(), u"d", ObjectStore::RemoveKind::Directory));
  EXPECT_EQ(v_.news(), of("d", {0x80000200}));
}

TEST_F(UsnTable, DeleteOfAnOpenFile) {
  const FilePtr file = old_file(u"a");
  auto open = v_.open(file);
  ASSERT_TRUE(v_.store().remove(*v_.root(), u"a", ObjectStore::RemoveKind::File));
  EXPECT_EQ(v_.news(), of("a", {0x200}));
  ASSERT_EQ(v_.write(*open, 0, 10), NtStatus::Success);
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), of("a", {0x202, 0x80000202}));
}

TEST_F(UsnTable, ClosesWithTheVeryLastHandle) {
  const FilePtr file = old_file(u"a");
  auto one = v_.open(file);
  auto other = v_.open(file);
  ASSERT_EQ(v_.write(*one, 0, 10), NtStatus::Success);
  v_.store().close(std::move(one));
  EXPECT_EQ(v_.news(), of("a", {0x2}));
  v_.store().close(std::move(other));
  EXPECT_EQ(v_.news(), of("a", {0x80000002}));
}

TEST_F(UsnTable, AnyNumberOfClosesWaitsForASync) {
  const FilePtr file = old_file(u"a");
  for (int i = 0; i < 40000; ++i) {
    auto open = v_.open(file);
    ASSERT_EQ(v_.write(*open, i, 1), NtStatus::Success);
    v_.store().close(std::move(open));
  }
  ASSERT_TRUE(v_.store().flush());
  EXPECT_EQ(v_.check(), "");
}

TEST(UsnAfterACrash, ClosesAnyNumberOfFiles) {
  UsnStore v({.bytes = uint64_t{64} << 20, .usn_size = uint64_t{8} << 20});
  constexpr int kFiles = 6000;
  for (int i = 0; i < kFiles; ++i) {
    const std::string name = std::to_string(i);
    const FilePtr file = v.make(std::u16string(name.begin(), name.end()));
    const std::unique_ptr<Open> open = v.open(file);
    ASSERT_EQ(v.write(*open, 0, 10), NtStatus::Success);
  }
  ASSERT_TRUE(v.store().flush());
  const usn::Usn start = v.usn().next();
  v.crash();
  size_t closes = 0;
  for (const usn::Record& record : v.records(start)) {
    closes += (record.reason & usn::Reason::Close) != 0 ? 1 : 0;
  }
  EXPECT_EQ(closes, size_t{kFiles});
  EXPECT_EQ(v.check(), "");
}

TEST_F(UsnTable, NothingChangedIsNoRecord) {
  const FilePtr file = old_file(u"a", 100);
  auto open = v_.open(file);
  AlignedBuffer into(4096);
  ASSERT_TRUE(v_.store().read(*open, {.byte_offset = 0, .length = 100, .into = into.bytes()}));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), Sequence{});
}

TEST_F(UsnTable, AFailureSaysNothing) {
  const FilePtr file = old_file(u"a", 50000);
  auto open = v_.open(file);
  const auto grown = v_.store().set_allocation(*open, int64_t{1} << 40);
  EXPECT_FALSE(grown);
  EXPECT_FALSE(v_.store().allocate(*open, 0, uint64_t{1} << 32, KeepSize::No));
  EXPECT_FALSE(v_.store().create(*v_.root(), u"a", {}));
  EXPECT_FALSE(v_.store().remove(*v_.root(), u"b", ObjectStore::RemoveKind::File));
  v_.store().close(std::move(open));
  EXPECT_EQ(v_.news(), Sequence{});
}

TEST_F(UsnTable, TimesOfTheCacheAreNoRequest) {
  const FilePtr file = old_file(u"a");
  BasicInformation times;
  times.times.last_write = times.times.change = ondisk::FileTime::now();
  times.times_of = BasicInformation::TimesOf::WrittenData;
  set(*file, times);
  EXPECT_EQ(v_.news(), Sequence{});
}

TEST_F(UsnTable, TheRootIsItsOwnParent) {
  set(*v_.root(), attributes(ondisk::FileAttributes::Archive));
  EXPECT_EQ(v_.news(), of(".", {0x8000, 0x80008000}));
}

TEST_F(UsnTable, EachFileKnowsItsLastRecord) {
  const FilePtr file = old_file(u"a", 100);
  ASSERT_TRUE(
      v_.store().rename(*v_.root(), u"a", *v_.root(), u"b", ObjectStore::RenameMode::Replace));
  v_.make(u"c");
  v_.news();
  uint64_t last = 0;
  for (const usn::Record& record : v_.records(usn::Usn())) {
    if (record.file.reference() == file->reference()) last = record.usn.raw();
  }
  EXPECT_NE(last, 0u);
  EXPECT_EQ(v_.usn_of(file->reference()), last);
}

TEST_F(UsnTable, AttributesAreThoseOfTheMoment) {
  old_file(u"a");
  v_.make(u"d", FileKind::Directory);
  const auto records = v_.records(usn::Usn());
  EXPECT_EQ(records.front().file_attributes, ondisk::FileAttributes::Archive);
  EXPECT_EQ(records.back().file_attributes, ondisk::FileAttributes::Directory);
  EXPECT_EQ(records.back().security_id, 0u);
}

// Log records say places in a cluster with 16 bits.
TEST(UsnOnLargeClusters, RecordsFarIntoAClusterSurviveACrash) {
  constexpr uint64_t kFarBytes = uint64_t{64} << 10;
  UsnStore store({.bytes = uint64_t{96} << 20,
                  .cluster_size = 2 << 20,
                  .usn_size = uint64_t{4} << 20,
                  .data_times = DataTimes::SetByStore});
  for (int i = 0; store.usn().next().raw() < 3 * kFarBytes; ++i) {
    const std::string name = "file " + std::to_string(i);
    ASSERT_NE(store.make(std::u16string(name.begin(), name.end())), nullptr);
  }
  ASSERT_TRUE(store.store().flush());
  const auto written = store.records(usn::Usn());
  store.crash();
  EXPECT_EQ(store.records(usn::Usn()), written);
  EXPECT_EQ(store.check(), "");
}

}  // namespace
}  // namespace ntfs::testing
