// Whatever a page is written over, in whatever way the page was made: strides of both never look
// like one.

#include "tests/support/unseen_mix.h"
#include "tests/unit/fsa/opened_store.h"

namespace ntfs::testing {
namespace {

class TornPageTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  static constexpr int kFiles = 300;

  TornPageTest() : s_(OpenedStore::Shape{.cluster_size = GetParam()}) { begin(); }

  /// What is on the device is in order so far.
  void begin() { before_ = s_.device().clone(); }
  /// A checkpoint, and what it wrote over what.
  void expect_seen() {
    ASSERT_TRUE(s_.store().volume().checkpoint());
    constexpr size_t kPart = size_t{1} << 20;
    ByteVector before(kPart);
    ByteVector now(kPart);
    for (uint64_t at = 0; at < s_.device().size_bytes(); at += kPart) {
      ASSERT_TRUE(before_->read(at, before));
      ASSERT_TRUE(s_.device().read(at, now));
      EXPECT_EQ(unseen_mix(before, now, at), "");
    }
    begin();
  }

  FilePtr root() { return s_.store().root(); }
  static std::u16string name(int number) {
    std::u16string text(60, u'n');
    for (const char c : std::to_string(number)) text.push_back(static_cast<char16_t>(c));
    return text;
  }
  /// Files whose records are more than a stride long.
  void fill(File& directory, int files) {
    const ByteVector bytes = filled(400, files);
    for (int i = 0; i < files; ++i) {
      const FilePtr file = s_.make(directory, name(i), FileKind::File);
      ASSERT_TRUE(s_.store().write(*file, 0, bytes, kBuffered));
    }
    ASSERT_TRUE(s_.store().flush());
  }
  void empty(File& directory, int files) {
    for (int i = 0; i < files; ++i) {
      ASSERT_TRUE(s_.store().remove(directory, name(i), ObjectStore::RemoveKind::File));
    }
  }

  OpenedStore s_;
  std::unique_ptr<MemoryDevice> before_;
};

TEST_P(TornPageTest, NewRecordsAndIndexBlocksShowIt) {
  const FilePtr directory = s_.make(*root(), u"directory", FileKind::Directory);
  fill(*directory, kFiles);
  expect_seen();
}

TEST_P(TornPageTest, ThoseThatAreUsedAgainShowIt) {
  const FilePtr first = s_.make(*root(), u"first", FileKind::Directory);
  fill(*first, kFiles);
  expect_seen();
  for (const std::u16string other : {u"second", u"third"}) {
    empty(*first, kFiles);
    expect_seen();
    fill(*s_.make(*root(), other, FileKind::Directory), kFiles);
    expect_seen();
    fill(*first, kFiles);
    expect_seen();
    empty(*first, kFiles);
    fill(*first, kFiles);
    expect_seen();
  }
}

TEST_P(TornPageTest, ThoseThatWereReadShowIt) {
  {
    const FilePtr directory = s_.make(*root(), u"directory", FileKind::Directory);
    fill(*directory, kFiles);
    expect_seen();
    empty(*directory, kFiles / 2);
  }
  s_.remount();
  begin();
  const FilePtr directory = *s_.store().lookup(*root(), u"directory");
  fill(*s_.make(*root(), u"other", FileKind::Directory), kFiles);
  expect_seen();
  empty(**s_.store().lookup(*root(), u"other"), kFiles);
  expect_seen();
}

TEST_P(TornPageTest, WhatARecoveryWritesShowsIt) {
  const FilePtr directory = s_.make(*root(), u"directory", FileKind::Directory);
  fill(*directory, kFiles);
  s_.crash();
  expect_seen();
}

INSTANTIATE_TEST_SUITE_P(Clusters, TornPageTest, ::testing::Values(512, 4096, 65536),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace ntfs::testing
