// MS-FSA 2.1.5.10.33 "FSCTL_SET_COMPRESSION", what new files take over, and what the change journal
// says of it.

#include "tests/unit/fsa/usn_store.h"

namespace ntfs::testing {
namespace {

using ondisk::FileAttributes;
using usn::Reason;
using Sequence = std::vector<Said>;

constexpr FileReference kRoot(5, 5);
constexpr size_t kUnit = 65536;

class CompressionTest : public ::testing::Test {
 protected:
  FilePtr make_in(File& directory, std::u16string_view name, FileKind kind = FileKind::File) {
    CreateParameters parameters;
    parameters.kind = kind;
    parameters.symlink_target = "target";
    auto made = v_.store().create(directory, name, parameters);
    EXPECT_TRUE(made.has_value());
    return made ? *made : nullptr;
  }
  bool is_compressed(File& file) {
    return (v_.store().query_information(file)->file_attributes & FileAttributes::Compressed) != 0;
  }
  NtStatus set(File& file, Compression wanted) {
    return v_.store().set_compression(file, wanted).error();
  }
  void TearDown() override { EXPECT_EQ(v_.check(), ""); }
  UsnStore v_;
};

TEST_F(CompressionTest, IsTakenOverFromTheDirectory) {
  const FilePtr directory = v_.make(u"d", FileKind::Directory);
  const FilePtr before = make_in(*directory, u"before");
  ASSERT_EQ(set(*directory, Compression::Lznt1), NtStatus::Success);
  EXPECT_EQ(*v_.store().query_compression(*directory), Compression::Lznt1);
  const FilePtr file = make_in(*directory, u"file");
  const FilePtr below = make_in(*directory, u"below", FileKind::Directory);
  const FilePtr link = make_in(*directory, u"link", FileKind::Symlink);
  EXPECT_FALSE(is_compressed(*before));
  EXPECT_TRUE(is_compressed(*file));
  EXPECT_TRUE(is_compressed(*below));
  EXPECT_FALSE(is_compressed(*link));
  EXPECT_TRUE(is_compressed(*make_in(*below, u"deep")));
  ASSERT_TRUE(v_.store().write(*file, 0, ByteVector(4 * kUnit, std::byte{5}),
                               ObjectStore::Buffering::Buffered));
  ASSERT_TRUE(v_.store().flush());
  EXPECT_EQ(v_.store().query_information(*file)->allocated_size, 4u * 4096);
  ASSERT_EQ(set(*directory, Compression::None), NtStatus::Success);
  EXPECT_FALSE(is_compressed(*make_in(*directory, u"after")));
  EXPECT_TRUE(is_compressed(*file));
  v_.remount();
  const auto entries = v_.store().query_directory(*v_.store().file(directory->reference()));
  ASSERT_TRUE(entries);
  for (const DirectoryEntry& entry : *entries) {
    const bool expected = entry.name == u"file" || entry.name == u"below";
    EXPECT_EQ((entry.file_attributes & FileAttributes::Compressed) != 0, expected)
        << std::string(entry.name.begin(), entry.name.end());
  }
}

TEST_F(CompressionTest, IsToldToTheChangeJournal) {
  const FilePtr file = v_.make(u"a");
  const FilePtr directory = v_.make(u"d", FileKind::Directory);
  ASSERT_TRUE(v_.store().write(*file, 0, ByteVector(2 * kUnit, std::byte{5}),
                               ObjectStore::Buffering::Buffered));
  v_.news();
  const uint32_t changed = Reason::CompressionChange;
  for (const Compression wanted : {Compression::Lznt1, Compression::None}) {
    ASSERT_EQ(set(*file, wanted), NtStatus::Success);
    EXPECT_EQ(v_.news(), (Sequence{{"a", changed, kRoot}, {"a", changed | Reason::Close, kRoot}}));
    ASSERT_EQ(set(*directory, wanted), NtStatus::Success);
    EXPECT_EQ(v_.news(), (Sequence{{"d", changed, kRoot}, {"d", changed | Reason::Close, kRoot}}));
    // What is so already is no news.
    ASSERT_EQ(set(*file, wanted), NtStatus::Success);
    ASSERT_EQ(set(*directory, wanted), NtStatus::Success);
    EXPECT_EQ(v_.news(), Sequence{});
  }
}

TEST_F(CompressionTest, IsForFilesAndDirectoriesOnSmallClusters) {
  const FilePtr link = make_in(*v_.root(), u"link", FileKind::Symlink);
  EXPECT_EQ(set(*link, Compression::Lznt1), NtStatus::InvalidDeviceRequest);
  UsnStore large({uint64_t{64} << 20, 65536, std::nullopt, DataTimes::SetByStore});
  const FilePtr file = large.make(u"a");
  EXPECT_EQ(large.store().set_compression(*file, Compression::Lznt1).error(),
            NtStatus::InvalidDeviceRequest);
  EXPECT_EQ(large.check(), "");
}

TEST_F(CompressionTest, RangesMoveByOpensThatMayWrite) {
  const FilePtr file = v_.make(u"a");
  ASSERT_TRUE(v_.store().write(*file, 0, ByteVector(kUnit, std::byte{5}),
                               ObjectStore::Buffering::Buffered));
  v_.news();
  auto open = v_.open(file);
  ASSERT_TRUE(v_.store().collapse(*open, 4096, 8192));
  EXPECT_EQ(v_.store().query_information(*file)->file_size, kUnit - 8192);
  ASSERT_TRUE(v_.store().insert(*open, 0, 4096));
  EXPECT_EQ(v_.store().query_information(*file)->file_size, kUnit - 4096);
  EXPECT_EQ(v_.store().collapse(*open, 0, kUnit).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(v_.store().insert(*open, ~uint64_t{0}, 4096).error(), NtStatus::InvalidParameter);
  v_.store().close(std::move(open));
  const uint32_t first = Reason::DataOverwrite | Reason::DataTruncation;
  const uint32_t both = first | Reason::DataExtend;
  EXPECT_EQ(
      v_.news(),
      (Sequence{{"a", first, kRoot}, {"a", both, kRoot}, {"a", both | Reason::Close, kRoot}}));
  OpenParameters reading;
  reading.desired_access = AccessMask::ReadData;
  auto reader = v_.store().open(file, reading);
  ASSERT_TRUE(reader);
  EXPECT_EQ(v_.store().collapse(**reader, 0, 4096).error(), NtStatus::AccessDenied);
  EXPECT_EQ(v_.store().insert(**reader, 0, 4096).error(), NtStatus::AccessDenied);
  v_.store().close(std::move(*reader));
}

}  // namespace
}  // namespace ntfs::testing
