// What is told of a file is what the last change made of it, also where it is remembered instead of
// read from the file's record.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/support/sanitized.h"
#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::FileTime;

FileTime time_at(uint64_t tick) { return FileTime::from_raw(130000000000000000 + tick * 10); }

BasicInformation with_last_write(FileTime time) {
  BasicInformation information;
  information.times.last_write = time;
  return information;
}

/// What a file should be told to be.
struct Expected {
  uint32_t links = 1;
  uint64_t size = 0;
  FileTime last_write;
  std::optional<uint32_t> mode;
  bool is_read_only = false;
};

class QueryInformationTest : public ::testing::Test {
 protected:
  /// Twice: the second answer is remembered, if any is.
  void expect_told(const Expected& expected, const std::string& after) {
    for (int i = 0; i < 2; ++i) {
      const FileInformation told = s_.information();
      EXPECT_EQ(told.link_count, expected.links) << after;
      EXPECT_EQ(told.file_size, expected.size) << after;
      EXPECT_EQ(told.last_write_time, expected.last_write) << after;
      EXPECT_EQ(told.linux_metadata.mode, expected.mode) << after;
      EXPECT_EQ((told.file_attributes & ondisk::FileAttributes::ReadOnly) != 0,
                expected.is_read_only)
          << after;
    }
  }
  void set(const BasicInformation& information) {
    ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), information));
  }
  OpenedStore s_;
};

TEST_F(QueryInformationTest, TellsWhatTheLastChangeMade) {
  constexpr uint32_t kSeed = 11;
  RecordProperty("seed", kSeed);
  std::mt19937 random(kSeed);
  ObjectStore& store = s_.store();
  Expected expected;
  set(with_last_write(expected.last_write = time_at(0)));
  for (uint64_t step = 1; step <= (kIsSanitized ? 400u : 4000u); ++step) {
    std::string what;
    switch (random() % 8) {
      case 0:
        what = "times";
        set(with_last_write(expected.last_write = time_at(step)));
        break;
      case 1: {
        what = "mode";
        BasicInformation information;
        expected.mode = information.linux_metadata.mode = 0100000 | (random() & 0777);
        set(information);
        break;
      }
      case 2: {
        what = "attributes";
        expected.is_read_only = !expected.is_read_only;
        BasicInformation information;
        information.file_attributes = expected.is_read_only ? ondisk::FileAttributes::ReadOnly : 0;
        set(information);
        break;
      }
      case 3:
        what = "link";
        if (expected.links != 1) break;
        ASSERT_TRUE(store.link(*s_.file(), *store.root(), u"other"));
        ++expected.links;
        break;
      case 4:
        what = "unlink";
        if (expected.links == 1) break;
        ASSERT_TRUE(store.remove(*store.root(), u"other", ObjectStore::RemoveKind::File));
        --expected.links;
        break;
      case 5: {
        what = "write";
        const ByteVector bytes = filled(1 + random() % 3000, 1);
        ASSERT_TRUE(store.write(*s_.file(), expected.size, bytes, kBuffered));
        expected.size += bytes.size();
        set(with_last_write(expected.last_write = time_at(step)));
        break;
      }
      case 6:
        what = "end of file";
        ASSERT_TRUE(store.set_end_of_file(s_.file()->data(), expected.size = random() % 9000));
        set(with_last_write(expected.last_write = time_at(step)));
        break;
      default:
        what = "flush";
        ASSERT_TRUE(store.flush());
        break;
    }
    expect_told(expected, what + " in step " + std::to_string(step));
    if (HasFailure()) return;
  }
  s_.remount();
  expect_told(expected, "remount");
  s_.check();
}

// Noted times leave memory for the record: in between, too, a reader finds them.
TEST_F(QueryInformationTest, TimesNeverGoBackWhileTheyAreLogged) {
  std::atomic<bool> ends{false};
  set(with_last_write(time_at(0)));
  std::thread reader([&] {
    FileTime last = time_at(0);
    while (!ends) {
      const FileTime now = s_.information().last_write_time;
      EXPECT_GE(now.raw(), last.raw());
      last = now;
    }
  });
  for (uint64_t step = 1; step <= (kIsSanitized ? 300u : 3000u); ++step) {
    set(with_last_write(time_at(step)));
    EXPECT_TRUE(s_.file()->write_back());
  }
  ends = true;
  reader.join();
  s_.check();
}

TEST_F(QueryInformationTest, AFileIsHeldAgainWithoutALockOnlyWhileItIsHeld) {
  EXPECT_FALSE(s_.file()->hold_again());
  OpenPtr open = s_.open();
  EXPECT_TRUE(s_.file()->hold_again());
  EXPECT_EQ(s_.file()->holders().load(), 2u);
  ASSERT_TRUE(s_.store().remove(*s_.store().root(), u"file", ObjectStore::RemoveKind::File));
  open.reset();
  EXPECT_EQ(s_.information().link_count, 0u);
  EXPECT_FALSE(s_.file()->remains());
  s_.store().close(s_.file());
  EXPECT_TRUE(s_.file()->remains());
  EXPECT_FALSE(s_.file()->hold_again());
}

}  // namespace
}  // namespace ntfs
