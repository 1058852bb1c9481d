// Each kind of request against each other kind, by two threads on one stream.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Mode = ByteRangeLock::Mode;

constexpr size_t kBlock = 4096;
constexpr int kBlocks = 16;
constexpr int kRounds = 12;

struct Actor {
  OpenedStore& s;
  Open& open;
  std::mt19937 random;
  int number;
  int64_t block() { return static_cast<int64_t>(random() % kBlocks * kBlock); }
};
using Kind = std::function<void(Actor&)>;

/// Told and answered by whoever breaks it.
class Yielding final : public OplockRequest {
 public:
  explicit Yielding(ObjectStore& store) : store_(store) {}
  /// Closed before this goes.
  void hold(Open& open) { open_ = &open; }
  void complete(const OplockNotice& notice) override {
    if (notice.acknowledge_required) {
      EXPECT_TRUE(store_.acknowledge_oplock_break(*open_, OplockLevel::None, answer_));
    }
    is_over_ = true;
  }
  bool is_over() const { return is_over_; }

 private:
  class Answer final : public OplockRequest {
    void complete(const OplockNotice&) override {}
  };
  ObjectStore& store_;
  Open* open_ = nullptr;
  Answer answer_;
  std::atomic<bool> is_over_{false};
};

/// Blocks are of one byte each: a write is seen as a whole.
void expect_whole(const ByteVector& bytes) {
  for (size_t at = 0; at + kBlock <= bytes.size(); at += kBlock) {
    const auto* block = bytes.data() + at;
    EXPECT_TRUE(std::all_of(block, block + kBlock, [block](std::byte b) { return b == *block; }));
  }
}

const std::vector<std::pair<const char*, Kind>>& kinds() {
  static const std::vector<std::pair<const char*, Kind>> all = {
      {"write",
       [](Actor& a) {
         const NtStatus status = a.s.write(a.open, a.block(), ByteVector(kBlock, std::byte{0x11}));
         EXPECT_TRUE(status == NtStatus::Success || status == NtStatus::FileLockConflict);
       }},
      {"unbuffered write",
       [](Actor& a) {
         const NtStatus status =
             a.s.write(a.open, a.block(), ByteVector(kBlock, std::byte{0x22}), kUnbuffered);
         EXPECT_TRUE(status == NtStatus::Success || status == NtStatus::FileLockConflict);
       }},
      {"append",
       [](Actor& a) {
         const NtStatus status =
             a.s.write(a.open, kEndOfStream, ByteVector(kBlock, std::byte{0x33}));
         EXPECT_TRUE(status == NtStatus::Success || status == NtStatus::FileLockConflict);
       }},
      {"read",
       [](Actor& a) {
         const auto got = a.s.read(a.open, 0, kBlocks * kBlock);
         if (got.status == NtStatus::Success) expect_whole(got.bytes);
       }},
      {"set size",
       [](Actor& a) {
         EXPECT_TRUE(a.s.store().set_end_of_file(a.open, a.block() + int64_t{kBlock}));
       }},
      {"set allocation",
       [](Actor& a) {
         EXPECT_TRUE(a.s.store().set_allocation(a.open, a.block() + int64_t{kBlock}));
       }},
      {"zero data",
       [](Actor& a) {
         const int64_t at = a.block();
         const auto done = a.s.store().set_zero_data(a.open, at, at + int64_t{kBlock});
         EXPECT_TRUE(done || done.error() == NtStatus::FileLockConflict);
       }},
      {"ranges",
       [](Actor& a) {
         EXPECT_TRUE(a.s.store().query_allocated_ranges(a.open, 0, kBlocks * kBlock, 100));
       }},
      {"lock",
       [](Actor& a) {
         const LockParameters range{static_cast<uint64_t>(a.block()), kBlock, Mode::Exclusive};
         const auto locked = a.s.store().lock(a.open, range, nullptr);
         if (!locked) return;
         // Nobody else changes it now.
         const auto at = static_cast<int64_t>(range.offset);
         const ByteVector mine(kBlock, static_cast<std::byte>(0x40 + a.number));
         EXPECT_EQ(a.s.write(a.open, at, mine), NtStatus::Success);
         EXPECT_TRUE(a.s.store().unlock(a.open, range));
       }},
      {"oplock",
       [](Actor& a) {
         Yielding holder(a.s.store());
         const auto open = a.s.open(0, kReadWrite, {1, static_cast<uint64_t>(a.number) + 1});
         holder.hold(*open);
         const auto granted = a.s.store().request_oplock(*open, OplockLevel::ReadHandle, holder);
         if (granted) (void)a.s.read(*open, 0, kBlock);
       }},
      {"flush", [](Actor& a) { EXPECT_TRUE(a.s.store().flush(a.open)); }},
      {"open", [](Actor& a) { (void)a.s.open(); }},
  };
  return all;
}

void run_pair(const Kind& one, const Kind& other) {
  OpenedStore s;
  std::atomic<int> ready{0};
  const auto work = [&](const Kind& kind, int number) {
    const auto open = s.open();
    Actor actor{s, *open, std::mt19937(static_cast<uint32_t>(number)), number};
    ++ready;
    while (ready.load() < 2) std::this_thread::yield();
    for (int round = 0; round < kRounds; ++round) kind(actor);
  };
  std::thread thread([&] { work(one, 0); });
  work(other, 1);
  thread.join();
  const auto sizes = s.sizes();
  EXPECT_LE(sizes.valid_data_length, sizes.file_size);
  EXPECT_TRUE(s.store().flush());
  const auto open = s.open();
  const auto left = s.read(*open, 0, kBlocks * kBlock);
  if (left.status == NtStatus::Success) expect_whole(left.bytes);
}

TEST(TwoThreads, EachKindOfRequestAgainstEachOther) {
  proves("threads");
  for (size_t i = 0; i < kinds().size(); ++i) {
    for (size_t j = i; j < kinds().size(); ++j) {
      SCOPED_TRACE(std::string(kinds()[i].first) + " and " + kinds()[j].first);
      run_pair(kinds()[i].second, kinds()[j].second);
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(TwoThreads, AppendsNeverOverlap) {
  proves("W8 A15");
  for (const OpensLock locks : {OpensLock::No, OpensLock::Yes}) {
    OpenedStore s({.opens_lock = locks});
    constexpr int kThreads = 4;
    constexpr int kRecords = 100;
    std::vector<std::thread> threads;
    for (int number = 0; number < kThreads; ++number) {
      threads.emplace_back([&s, number] {
        const auto open = s.open();
        for (int i = 0; i < kRecords; ++i) {
          EXPECT_EQ(
              s.write(*open, kEndOfStream, ByteVector(100, static_cast<std::byte>(number + 1))),
              NtStatus::Success);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const auto open = s.open();
    const ByteVector all = s.read(*open, 0, 1 << 20).bytes;
    ASSERT_EQ(all.size(), 100u * kThreads * kRecords);
    std::array<int, kThreads> count{};
    for (size_t at = 0; at < all.size(); at += 100) {
      const auto* record = all.data() + at;
      ASSERT_TRUE(
          std::all_of(record, record + 100, [record](std::byte b) { return b == *record; }));
      ++count[std::to_integer<size_t>(*record) - 1];
    }
    for (const int records : count) EXPECT_EQ(records, kRecords);
  }
}

}  // namespace
}  // namespace ntfs
