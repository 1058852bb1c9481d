// Data that the owner of a reparse point keeps: what Windows' overlay filter compressed is read,
// what is elsewhere is refused, when the file is opened.

#include <gtest/gtest.h>

#include "core/ondisk/reparse_point.h"
#include "tests/support/chunk_compressor.h"
#include "tests/unit/compression/samples.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/ondisk/quiet_reports.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::build_reparse_point;
using ondisk::FileAttributes;
using ondisk::ReparseTag;
using ondisk::WofFormat;
using Sparse = Stream::Sparse;
using RangeKind = Stream::RangeKind;

constexpr uint32_t kCloud = 0x9000301A;

class ReparseData : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(); }

  ObjectStore& store() { return s_.store(); }
  void set(ByteView value) {
    OpenParameters parameters;
    parameters.desired_access = AccessMask::WriteAttributes;
    auto open = store().open(s_.file(), parameters);
    ASSERT_TRUE(open.has_value());
    EXPECT_EQ(store().set_reparse_point(**open, value).error(), NtStatus::Success);
    store().close(std::move(*open));
  }
  void clear(uint32_t tag) {
    OpenParameters parameters;
    parameters.desired_access = AccessMask::WriteAttributes;
    auto open = store().open(s_.file(), parameters);
    ASSERT_TRUE(open.has_value());
    const ByteVector head = build_reparse_point(tag, {});
    EXPECT_EQ(store().delete_reparse_point(**open, head).error(), NtStatus::Success);
    store().close(std::move(*open));
  }
  /// What an open for `access` is refused with.
  NtStatus refusal(uint32_t access) {
    OpenParameters parameters;
    parameters.desired_access = access;
    auto open = store().open(s_.file(), parameters);
    if (!open) return open.error();
    store().close(std::move(*open));
    return NtStatus::Success;
  }
  /// Makes of the file what Windows' overlay filter makes of one with that data.
  void compress(const ByteVector& data, WofFormat format) {
    const auto open = s_.open();
    ASSERT_TRUE(store().set_sparse(*open, Sparse::Yes));
    ASSERT_TRUE(store().set_end_of_file(*open, static_cast<int64_t>(data.size())));
    ASSERT_TRUE(store().create_stream(*s_.file(), ondisk::kWofStreamName));
    const auto stream = store().find_stream(*s_.file(), ondisk::kWofStreamName);
    ASSERT_TRUE(stream);
    const ByteVector packed = compress_wof(data, format);
    ASSERT_TRUE(store().write(**stream, 0, packed, kBuffered));
    set(ondisk::build_wof(format));
  }
  ByteVector read_all() {
    const auto open = s_.open(0, AccessMask::ReadData);
    return s_.read(*open, 0, 1 << 20).bytes;
  }
  OpenedStore s_;
};

TEST_F(ReparseData, WofFilesAreReadDecompressed) {
  const ByteVector data = words(200'001);
  compress(data, WofFormat::Xpress8K);
  EXPECT_EQ(read_all(), data);
  s_.remount();
  EXPECT_EQ(read_all(), data);
  const auto open = s_.open(0, AccessMask::ReadData);
  EXPECT_EQ(s_.read(*open, 100'000, 50, kUnbuffered).status, NtStatus::InvalidParameter);
  const OpenedStore::Answer part = s_.read(*open, 99'999, 333);
  EXPECT_EQ(part.bytes, ByteVector(data.begin() + 99'999, data.begin() + 99'999 + 333));
  EXPECT_EQ(s_.information().file_size, data.size());
  const uint64_t allocated = s_.information().allocated_size;
  EXPECT_GT(allocated, 0u);
  EXPECT_LT(allocated, data.size());
  // The hole that it is on disk does not show.
  EXPECT_EQ(*store().next_range(*s_.file(), 5, RangeKind::Data), 5u);
  EXPECT_EQ(*store().next_range(*s_.file(), 5, RangeKind::Hole), data.size());
}

TEST_F(ReparseData, SeveralReadsAtOnceAreDecompressed) {
  const ByteVector data = words(50'000);
  compress(data, WofFormat::Lzx);
  AlignedBuffer memory(3 * 4096);
  std::vector<DataRead> reads(3);
  for (size_t i = 0; i < reads.size(); ++i) {
    reads[i].file = s_.file().get();
    reads[i].offset = 512 * i * 32;
    reads[i].length = 4096;
    reads[i].into = memory.bytes().subspan(i * 4096, 4096);
  }
  store().read(reads);
  for (const DataRead& read : reads) {
    ASSERT_TRUE(read.done);
    const auto from = data.begin() + static_cast<ptrdiff_t>(read.offset);
    EXPECT_TRUE(std::equal(read.into.begin(), read.into.end(), from));
  }
}

TEST_F(ReparseData, WofFilesAreNotWrittenTo) {
  compress(words(5000), WofFormat::Xpress4K);
  EXPECT_EQ(refusal(AccessMask::WriteData), NtStatus::NotSupported);
  EXPECT_EQ(refusal(AccessMask::AppendData), NtStatus::NotSupported);
  EXPECT_EQ(refusal(AccessMask::ReadData), NtStatus::Success);
  EXPECT_EQ(store().set_end_of_file(*s_.file(), 0).error(), NtStatus::NotSupported);
  EXPECT_EQ(store().write(*s_.file(), 0, filled(1, 1), kBuffered).error(), NtStatus::NotSupported);
  // Names and attributes are as ever.
  ASSERT_TRUE(store().link(*s_.file(), *store().root(), u"second"));
  clear(ReparseTag::Wof);
  EXPECT_EQ(read_all(), ByteVector(5000)) << "a hole again";
  EXPECT_EQ(refusal(kReadWrite), NtStatus::Success);
}

TEST_F(ReparseData, WhatWofFilesAreReadFromDoesNotChange) {
  const ByteVector data = words(5000);
  compress(data, WofFormat::Xpress4K);
  EXPECT_EQ(read_all(), data);
  const auto stream = *store().find_stream(*s_.file(), ondisk::kWofStreamName);
  const ByteVector packed = *store().read_stream(*s_.file(), ondisk::kWofStreamName);
  const auto refused = [&] {
    EXPECT_EQ(stream->check_writable().error(), NtStatus::NotSupported);
    EXPECT_EQ(store().write(*stream, 0, filled(4, 1), kBuffered).error(), NtStatus::NotSupported);
    EXPECT_EQ(store().set_end_of_file(*stream, 0).error(), NtStatus::NotSupported);
    EXPECT_EQ(store().set_stream(*s_.file(), ondisk::kWofStreamName, filled(4, 1)).error(),
              NtStatus::NotSupported);
  };
  refused();
  // What was written before goes out, whenever that is.
  ASSERT_TRUE(store().flush());
  refused();
  EXPECT_EQ(*store().read_stream(*s_.file(), ondisk::kWofStreamName), packed);
  EXPECT_EQ(read_all(), data);
  clear(ReparseTag::Wof);
  ASSERT_TRUE(store().write(*stream, 0, filled(4, 1), kBuffered));
  EXPECT_NE(*store().read_stream(*s_.file(), ondisk::kWofStreamName), packed);
}

TEST_F(ReparseData, DamagedWofFilesGiveAnError) {
  const ondisk::test::QuietReports quiet;
  const ByteVector data = words(5000);
  compress(data, WofFormat::Xpress4K);
  clear(ReparseTag::Wof);
  const auto stream = store().find_stream(*s_.file(), ondisk::kWofStreamName);
  ASSERT_TRUE(store().write(**stream, 0, filled(4, 1), kBuffered));
  set(ondisk::build_wof(WofFormat::Xpress4K));
  auto open = s_.open(0, AccessMask::ReadData);
  EXPECT_EQ(s_.read(*open, 0, 10).status, NtStatus::FileCorruptError);
  open.reset();
  ASSERT_TRUE(store().remove_stream(*s_.file(), ondisk::kWofStreamName));
  s_.remount();
  const auto again = s_.open(0, AccessMask::ReadData);
  EXPECT_EQ(s_.read(*again, 0, 10).status, NtStatus::FileCorruptError);
}

TEST_F(ReparseData, DataElsewhereIsRefusedWhenItIsOpened) {
  const ondisk::test::QuietReports quiet;
  constexpr auto kRefused = NtStatus::IoReparseTagNotHandled;
  // A WOF file whose data is in an image of Windows.
  ByteVector in_image = ondisk::build_wof(WofFormat::Lzx);
  struct_at<le32>(MutableBytes(in_image), 12).set(1);
  for (const ByteVector& value : {build_reparse_point(ReparseTag::Dedup, filled(16, 1)),
                                  build_reparse_point(0x8000001B, filled(16, 1)), in_image}) {
    const uint32_t tag = struct_at<le32>(ByteView(value)).get();
    set(value);
    EXPECT_EQ(refusal(AccessMask::ReadData), kRefused);
    EXPECT_EQ(refusal(AccessMask::WriteData), kRefused);
    EXPECT_EQ(refusal(AccessMask::ReadAttributes), NtStatus::Success);
    AlignedBuffer memory(4096);
    EXPECT_EQ(store().read(*s_.file(), 0, 1, memory.bytes()).error(), kRefused);
    EXPECT_EQ(store().set_end_of_file(*s_.file(), 1).error(), kRefused);
    clear(tag);
  }
  EXPECT_EQ(refusal(kReadWrite), NtStatus::Success);
}

TEST_F(ReparseData, CloudFilesThatAreHereAreRead) {
  const ondisk::test::QuietReports quiet;
  s_.write(*s_.open(), 0, filled(5000, 1));
  set(build_reparse_point(kCloud, filled(100, 1)));
  EXPECT_EQ(read_all(), filled(5000, 1));
  EXPECT_EQ(refusal(AccessMask::WriteData), NtStatus::IoReparseTagNotHandled);
  BasicInformation information;
  information.file_attributes = FileAttributes::Offline;
  ASSERT_TRUE(store().set_basic_information(*s_.file(), information));
  s_.remount();
  EXPECT_EQ(refusal(AccessMask::ReadData), NtStatus::IoReparseTagNotHandled);
}

}  // namespace
}  // namespace ntfs
