// Files with many names: each change of the file is repeated in the directory entry of each.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests

constexpr int kMostNames = 1024;

std::u16string numbered(const char* what, int number, size_t length) {
  const std::string text = fmt::format("{} {:04} ", what, number);
  std::u16string name(text.begin(), text.end());
  name.resize(std::max(length, name.size()), u'x');
  return name;
}

/// The smallest log, and every name in an index block that holds few others.
class ManyNames : public ::testing::Test {
 protected:
  ObjectStore& store() { return store_.store(); }
  void check() { store_.check(OpenedStore::Entries::RepeatTheirFiles); }

  OpenedStore store_{OpenedStore::Shape{.bytes = uint64_t{32} << 20}};
};

TEST_F(ManyNames, OfOneDirectoryFollowTheFileOnASmallLog) {
  const FilePtr place = store_.make(*store().root(), u"place", FileKind::Directory);
  for (int i = 1; i < kMostNames; ++i) {
    ASSERT_TRUE(store().link(*store_.file(), *place, numbered("link", i, 230)));
    store_.make(*place, numbered("more", i, 230), FileKind::File);
  }
  ASSERT_EQ(store().link(*store_.file(), *place, u"one too many").error(), NtStatus::TooManyLinks);

  ASSERT_TRUE(store().write(*store_.file(), 0, filled(300'000, 1), kBuffered));
  check();
  ASSERT_TRUE(store().set_end_of_file(*store_.file(), 5));
  ASSERT_TRUE(store().set_ea(*store_.file(), "NAME", filled(20, 2)));
  check();
}

TEST_F(ManyNames, OfManyDirectoriesFollowTheFileOnASmallLog) {
  for (int i = 1; i < 200; ++i) {
    const FilePtr place =
        store_.make(*store().root(), numbered("place", i, 0), FileKind::Directory);
    for (int j = 0; j < 4; ++j) store_.make(*place, numbered("other", j, 200), FileKind::File);
    ASSERT_TRUE(store().link(*store_.file(), *place, u"link"));
  }
  ASSERT_TRUE(store().write(*store_.file(), 0, filled(300'000, 1), kBuffered));
  check();
}

}  // namespace
}  // namespace ntfs
