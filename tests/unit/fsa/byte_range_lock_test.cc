// MS-FSA 2.1.4.10, 2.1.5.8, 2.1.5.9: byte-range locks, alone and through the store; and Linux's.

#include "core/fsa/byte_range_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Mode = ByteRangeLock::Mode;
using Kind = ByteRangeLock::Kind;

/// Opens are told apart by their addresses alone.
const Open* open_number(int number) {
  static std::array<char, 8> places;
  return reinterpret_cast<const Open*>(&places[static_cast<size_t>(number)]);
}

ByteRangeLock lock_of(int open, uint64_t offset, uint64_t length, Mode mode, LockKey key = 0) {
  return {.offset = offset, .length = length, .mode = mode, .owner = open_number(open), .key = key};
}

/// The table of the document, by the bytes that ranges hold: an empty range is a place between two.
bool meet(uint64_t offset, uint64_t length, uint64_t other, uint64_t other_length) {
  if (length != 0 && other_length != 0) {
    for (uint64_t byte = offset; byte < offset + length; ++byte) {
      if (byte >= other && byte < other + other_length) return true;
    }
    return false;
  }
  if (length == 0 && other_length == 0) return false;
  const uint64_t place = length == 0 ? offset : other;
  const uint64_t start = length == 0 ? other : offset;
  const uint64_t count = length == 0 ? other_length : length;
  return place > start && place < start + count;
}

TEST(ByteRangeLockTest, RangesMeetAsTheDocumentSays) {
  proves("L1 L2 L3 L4");
  for (uint64_t offset = 0; offset < 5; ++offset) {
    for (uint64_t length = 0; length < 5; ++length) {
      for (uint64_t other = 0; other < 5; ++other) {
        for (uint64_t other_length = 0; other_length < 5; ++other_length) {
          ByteRangeLocks locks;
          ASSERT_TRUE(locks.lock(lock_of(1, offset, length, Mode::Exclusive), nullptr));
          const RangeAccess access{other, other_length, Mode::Exclusive, open_number(2), 0};
          EXPECT_EQ(locks.conflicts(access), meet(offset, length, other, other_length))
              << offset << "+" << length << " " << other << "+" << other_length;
        }
      }
    }
  }
  ByteRangeLocks locks;
  ASSERT_TRUE(locks.lock(lock_of(1, ~uint64_t{0}, 1, Mode::Exclusive), nullptr));
  EXPECT_TRUE(
      locks.conflicts({uint64_t{1} << 63, uint64_t{1} << 63, Mode::Shared, open_number(2), 0}));
  EXPECT_FALSE(locks.conflicts(
      {uint64_t{1} << 63, (uint64_t{1} << 63) - 1, Mode::Shared, open_number(2), 0}));
}

TEST(ByteRangeLockTest, TheTableOfConflicts) {
  proves("L5 L6 L7 L8 K4");
  struct Row {
    Mode held;
    bool is_own;
    bool read, write, shared, exclusive;  // stands against it
  };
  for (const Row& row : {Row{Mode::Exclusive, true, false, false, false, true},
                         Row{Mode::Exclusive, false, true, true, true, true},
                         Row{Mode::Shared, true, false, true, false, true},
                         Row{Mode::Shared, false, false, true, false, true}}) {
    // Another open, or another key of the same.
    for (const bool differs_by_key : {false, true}) {
      const int open = row.is_own || differs_by_key ? 1 : 2;
      const LockKey key = !row.is_own && differs_by_key ? 8 : 7;
      ByteRangeLocks locks;
      ASSERT_TRUE(locks.lock(lock_of(1, 0, 10, row.held, 7), nullptr));
      EXPECT_EQ(locks.conflicts({5, 1, Mode::Shared, open_number(open), key}), row.read);
      EXPECT_EQ(locks.conflicts({5, 1, Mode::Exclusive, open_number(open), key}), row.write);
      EXPECT_EQ(locks.conflict_with(lock_of(open, 5, 1, Mode::Shared, key)).has_value(),
                row.shared);
      EXPECT_EQ(locks.lock(lock_of(open, 5, 1, Mode::Exclusive, key), nullptr).error(),
                row.exclusive ? NtStatus::LockNotGranted : NtStatus::Success);
    }
    ByteRangeLocks locks;
    ASSERT_TRUE(locks.lock(lock_of(1, 0, 10, row.held, 7), nullptr));
    EXPECT_FALSE(locks.conflicts({5, 1, Mode::Shared, open_number(1), std::nullopt}));
  }
}

TEST(ByteRangeLockTest, UnlockTakesTheExclusiveElseTheLastShared) {
  proves("U-EXACT K6");
  ByteRangeLocks locks;
  ASSERT_TRUE(locks.lock(lock_of(1, 0, 10, Mode::Shared), nullptr));
  ASSERT_TRUE(locks.lock(lock_of(1, 0, 10, Mode::Shared), nullptr));
  EXPECT_EQ(locks.locks().size(), 2u) << "duplicates stand side by side";
  for (const auto& wrong : {lock_of(2, 0, 10, Mode::Shared), lock_of(1, 0, 9, Mode::Shared),
                            lock_of(1, 1, 10, Mode::Shared), lock_of(1, 0, 10, Mode::Shared, 1)}) {
    EXPECT_EQ(locks.unlock(wrong).error(), NtStatus::RangeNotLocked);
  }
  EXPECT_TRUE(locks.unlock(lock_of(1, 0, 10, Mode::Shared)));
  EXPECT_EQ(locks.locks().size(), 1u);
  EXPECT_TRUE(locks.unlock(lock_of(1, 0, 10, Mode::Shared)));
  EXPECT_EQ(locks.unlock(lock_of(1, 0, 10, Mode::Shared)).error(), NtStatus::RangeNotLocked);
  ASSERT_TRUE(locks.lock(lock_of(1, 0, 10, Mode::Exclusive), nullptr));
  ASSERT_TRUE(locks.lock(lock_of(1, 0, 10, Mode::Shared), nullptr))
      << "below the own exclusive one";
  ASSERT_TRUE(locks.unlock(lock_of(1, 0, 10, Mode::Shared)));
  EXPECT_EQ(locks.locks().front().mode, Mode::Shared);
}

class Waiter final : public PendingLock {
 public:
  void complete(NtStatus status) override {
    EXPECT_EQ(told_.load(), NtStatus::Pending) << "told twice";
    told_ = status;
  }
  NtStatus told() const { return told_; }

 private:
  std::atomic<NtStatus> told_{NtStatus::Pending};
};

class LockTest : public ::testing::Test {
 protected:
  NtStatus lock(Open& open, uint64_t offset, uint64_t length, Mode mode, PendingLock* waiter) {
    return s_.store().lock(open, {offset, length, mode}, waiter).error();
  }
  NtStatus unlock(Open& open, uint64_t offset, uint64_t length) {
    return s_.store().unlock(open, {offset, length}).error();
  }
  OpenedStore s_;
  OpenPtr a_ = s_.open();
  OpenPtr b_ = s_.open();
  OpenPtr c_ = s_.open();
};

TEST_F(LockTest, RangesHaveTheirLimits) {
  proves("K1 K2 K7");
  OpenParameters parameters;
  auto directory = s_.store().open(s_.store().root(), parameters);
  ASSERT_TRUE(directory);
  EXPECT_EQ(lock(**directory, 0, 1, Mode::Shared, nullptr), NtStatus::InvalidParameter);
  EXPECT_EQ(unlock(**directory, 0, 1), NtStatus::InvalidParameter);
  s_.store().close(std::move(*directory));
  EXPECT_EQ(lock(*a_, ~uint64_t{0}, 2, Mode::Shared, nullptr), NtStatus::InvalidLockRange);
  EXPECT_EQ(unlock(*a_, 2, ~uint64_t{0}), NtStatus::InvalidLockRange);
  EXPECT_EQ(lock(*a_, ~uint64_t{0}, 1, Mode::Shared, nullptr), NtStatus::Success);
  EXPECT_EQ(lock(*a_, 0, 0, Mode::Shared, nullptr), NtStatus::Success);
  EXPECT_EQ(lock(*a_, 1 << 20, 10, Mode::Exclusive, nullptr), NtStatus::Success) << "past the end";
}

TEST_F(LockTest, WaitersAreServedInTheOrderOfAsking) {
  proves("K4 K5 K6 U-EXACT");
  ASSERT_EQ(lock(*a_, 0, 10, Mode::Exclusive, nullptr), NtStatus::Success);
  EXPECT_EQ(lock(*b_, 5, 10, Mode::Exclusive, nullptr), NtStatus::LockNotGranted);
  Waiter first, second, third, apart;
  EXPECT_EQ(lock(*b_, 5, 10, Mode::Exclusive, &first), NtStatus::Pending);
  EXPECT_EQ(lock(*c_, 12, 1, Mode::Shared, &second), NtStatus::Pending)
      << "free, but behind one that waits";
  EXPECT_EQ(lock(*c_, 0, 1, Mode::Shared, &third), NtStatus::Pending);
  EXPECT_EQ(lock(*c_, 20, 1, Mode::Exclusive, &apart), NtStatus::Success) << "elsewhere";
  EXPECT_EQ(unlock(*a_, 0, 10), NtStatus::Success);
  EXPECT_EQ(first.told(), NtStatus::Success);
  EXPECT_EQ(second.told(), NtStatus::Pending);
  EXPECT_EQ(third.told(), NtStatus::Success);
  EXPECT_EQ(unlock(*b_, 5, 10), NtStatus::Success);
  EXPECT_EQ(second.told(), NtStatus::Success);
  EXPECT_EQ(apart.told(), NtStatus::Pending) << "answered by the call";
}

TEST_F(LockTest, AnExclusiveRequestIsNotStarvedByReaders) {
  proves("K5");
  ASSERT_EQ(lock(*a_, 0, 10, Mode::Shared, nullptr), NtStatus::Success);
  Waiter writer, reader;
  EXPECT_EQ(lock(*b_, 0, 10, Mode::Exclusive, &writer), NtStatus::Pending);
  EXPECT_EQ(lock(*c_, 0, 10, Mode::Shared, &reader), NtStatus::Pending);
  EXPECT_EQ(unlock(*a_, 0, 10), NtStatus::Success);
  EXPECT_EQ(writer.told(), NtStatus::Success);
  EXPECT_EQ(reader.told(), NtStatus::Pending);
  EXPECT_EQ(unlock(*b_, 0, 10), NtStatus::Success);
  EXPECT_EQ(reader.told(), NtStatus::Success);
}

TEST_F(LockTest, AWaitCanBeCancelled) {
  proves("K5");
  ASSERT_EQ(lock(*a_, 0, 10, Mode::Shared, nullptr), NtStatus::Success);
  Waiter writer, reader, other;
  ASSERT_EQ(lock(*b_, 0, 10, Mode::Exclusive, &writer), NtStatus::Pending);
  ASSERT_EQ(lock(*c_, 0, 10, Mode::Shared, &reader), NtStatus::Pending);
  s_.store().cancel(b_->stream(), writer);
  EXPECT_EQ(writer.told(), NtStatus::Cancelled);
  EXPECT_EQ(reader.told(), NtStatus::Success) << "it waited behind the writer alone";
  s_.store().cancel(c_->stream(), reader);
  EXPECT_EQ(reader.told(), NtStatus::Success) << "too late";
  ASSERT_EQ(lock(*b_, 0, 1, Mode::Exclusive, &other), NtStatus::Pending);
  s_.store().cancel(*b_);
  EXPECT_EQ(other.told(), NtStatus::Cancelled);
}

TEST_F(LockTest, CloseGivesAllBack) {
  proves("X10");
  ASSERT_EQ(lock(*a_, 0, 10, Mode::Exclusive, nullptr), NtStatus::Success);
  ASSERT_EQ(lock(*a_, 50, 10, Mode::Exclusive, nullptr), NtStatus::Success);
  ASSERT_EQ(lock(*b_, 100, 10, Mode::Exclusive, nullptr), NtStatus::Success);
  Waiter waits_for_a, of_a;
  ASSERT_EQ(lock(*c_, 0, 100, Mode::Exclusive, &waits_for_a), NtStatus::Pending);
  ASSERT_EQ(lock(*a_, 100, 1, Mode::Shared, &of_a), NtStatus::Pending);
  a_.reset();
  EXPECT_EQ(waits_for_a.told(), NtStatus::Success);
  EXPECT_EQ(of_a.told(), NtStatus::Cancelled);
}

TEST_F(LockTest, OnlySomeOperationsAsk) {
  proves("5.4 E12");
  ASSERT_EQ(s_.write(*a_, 0, filled(8192, 1)), NtStatus::Success);
  ASSERT_EQ(lock(*a_, 0, 8192, Mode::Exclusive, nullptr), NtStatus::Success);
  EXPECT_EQ(s_.store().set_zero_data(*b_, 0, 1).error(), NtStatus::FileLockConflict);
  EXPECT_TRUE(s_.store().set_end_of_file(*b_, 100));
  EXPECT_TRUE(s_.store().set_allocation(*b_, 0));
  EXPECT_TRUE(s_.store().flush(*b_));
  EXPECT_TRUE(s_.store().write(*s_.file(), 0, filled(10, 1), kBuffered)) << "paging";
  EXPECT_TRUE(s_.store().rename(*s_.store().root(), u"file", *s_.store().root(), u"file2",
                                ObjectStore::RenameMode::Replace));
}

// Linux's.

struct LinuxLocks {
  NtStatus set(LockKey key, uint64_t offset, uint64_t length, Mode mode, int open = 1) {
    ByteRangeLock lock = lock_of(open, offset, length, mode, key);
    lock.kind = Kind::Linux;
    return locks.lock(lock, nullptr).error();
  }
  /// "r", "w" or "-" for each of the first bytes, as the key holds them.
  std::string held(LockKey key, size_t bytes) const {
    std::string text(bytes, '-');
    for (const ByteRangeLock& lock : locks.locks()) {
      if (lock.key != key) continue;
      for (uint64_t at = lock.offset; at < std::min<uint64_t>(lock.offset + lock.length, bytes);
           ++at) {
        EXPECT_EQ(text[at], '-') << "held twice";
        text[at] = lock.mode == Mode::Exclusive ? 'w' : 'r';
      }
    }
    return text;
  }
  ByteRangeLocks locks;
};

TEST(LinuxLockTest, ReplacesAndSplitsWhatTheOwnerHolds) {
  LinuxLocks l;
  ASSERT_EQ(l.set(1, 2, 6, Mode::Shared), NtStatus::Success);
  ASSERT_EQ(l.set(1, 4, 2, Mode::Exclusive), NtStatus::Success);
  EXPECT_EQ(l.held(1, 10), "--rrwwrr--");
  ASSERT_EQ(l.set(1, 0, 3, Mode::Exclusive, 2), NtStatus::Success) << "through another open";
  EXPECT_EQ(l.held(1, 10), "wwwrwwrr--");
  EXPECT_EQ(l.set(2, 5, 1, Mode::Shared), NtStatus::LockNotGranted);
  EXPECT_EQ(l.set(2, 3, 1, Mode::Exclusive), NtStatus::LockNotGranted);
  EXPECT_EQ(l.set(2, 6, 2, Mode::Shared), NtStatus::Success);
  EXPECT_EQ(l.set(1, 6, 1, Mode::Exclusive), NtStatus::LockNotGranted);
  l.locks.unlock_part(1, 5, 1);
  EXPECT_EQ(l.held(1, 10), "w-----rr--");
  EXPECT_EQ(l.held(2, 10), "------rr--");
  l.locks.unlock_part(0, uint64_t{1} << 63, 1);
  EXPECT_EQ(l.held(1, 10), "----------");
}

TEST_F(LockTest, OfLinuxGivesWayToWaitersWhenItBecomesWeaker) {
  const auto set = [&](Open& open, LockKey key, Mode mode, PendingLock* waiter) {
    LockParameters wanted{0, 10, mode};
    wanted.key = key;
    wanted.kind = Kind::Linux;
    return s_.store().lock(open, wanted, waiter).error();
  };
  ASSERT_EQ(set(*a_, 1, Mode::Exclusive, nullptr), NtStatus::Success);
  Waiter reader;
  ASSERT_EQ(set(*b_, 2, Mode::Shared, &reader), NtStatus::Pending);
  ASSERT_EQ(set(*a_, 1, Mode::Shared, nullptr), NtStatus::Success);
  EXPECT_EQ(reader.told(), NtStatus::Success);
}

TEST_F(LockTest, OfLinuxBecomesStrongerBeforeThoseThatWaitForIt) {
  const auto set = [&](Open& open, LockKey key, uint64_t offset, Mode mode, PendingLock* waiter) {
    LockParameters wanted{offset, 10, mode};
    wanted.key = key;
    wanted.kind = Kind::Linux;
    return s_.store().lock(open, wanted, waiter).error();
  };
  ASSERT_EQ(set(*a_, 1, 0, Mode::Shared, nullptr), NtStatus::Success);
  Waiter writer;
  ASSERT_EQ(set(*b_, 2, 0, Mode::Exclusive, &writer), NtStatus::Pending);
  Waiter stronger;
  EXPECT_EQ(set(*a_, 1, 0, Mode::Exclusive, &stronger), NtStatus::Success)
      << "behind who waits for it, it would wait for ever";
  EXPECT_EQ(writer.told(), NtStatus::Pending);
  b_.reset();
  EXPECT_EQ(writer.told(), NtStatus::Cancelled);
}

TEST(LinuxLockTest, AgreesWithAByteForByteModel) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr size_t kBytes = 12;
  LinuxLocks l;
  std::array<std::string, 3> model;
  model.fill(std::string(kBytes, '-'));
  for (int step = 0; step < 20000; ++step) {
    const size_t owner = random() % 3;
    const size_t from = random() % kBytes;
    const size_t to = from + 1 + random() % (kBytes - from);
    const int what = static_cast<int>(random() % 3);
    const char mark = what == 0 ? '-' : what == 1 ? 'r' : 'w';
    bool may = true;
    for (size_t other = 0; other < 3; ++other) {
      for (size_t at = from; at < to && other != owner && mark != '-'; ++at) {
        if (model[other][at] == 'w' || (mark == 'w' && model[other][at] == 'r')) may = false;
      }
    }
    if (mark == '-') {
      l.locks.unlock_part(from, to - from, owner + 1);
    } else {
      const Mode mode = mark == 'w' ? Mode::Exclusive : Mode::Shared;
      ASSERT_EQ(l.set(owner + 1, from, to - from, mode, static_cast<int>(random() % 2)),
                may ? NtStatus::Success : NtStatus::LockNotGranted);
    }
    if (may)
      std::fill(model[owner].begin() + static_cast<ptrdiff_t>(from),
                model[owner].begin() + static_cast<ptrdiff_t>(to), mark);
    ASSERT_EQ(l.held(owner + 1, kBytes), model[owner]);
  }
}

}  // namespace
}  // namespace ntfs
