// Each kind of request against each other kind, by two threads on one stream: whatever the threads
// are answered, some order of the requests one after the other explains it.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tests/support/sanitized.h"
#include "tests/unit/fsa/linearizability.h"
#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Mode = ByteRangeLock::Mode;
using Kind = Event::Kind;

constexpr int kCells = 20;  // of the stream when a round begins: two clusters and a half
constexpr int kMostCells = 32;
constexpr int kRequests = 4;  // of each thread in a round
constexpr int kRounds = kIsSanitized ? 10 : 40;

/// Told of the end of its oplock, and answers a break at once.
class Holder final : public OplockRequest {
 public:
  Holder(ObjectStore& store, Open& open) : store_(store), open_(open) {}
  void hold() { is_held_ = true; }
  void refuse() { is_held_ = false; }
  void complete(const OplockNotice& notice) override {
    if (notice.acknowledge_required) {
      EXPECT_TRUE(store_.acknowledge_oplock_break(open_, OplockLevel::None, answer_));
    }
    is_held_ = false;
  }
  bool is_held() const { return is_held_.load(std::memory_order_relaxed); }

 private:
  class Answer final : public OplockRequest {
    void complete(const OplockNotice&) override {}
  };
  ObjectStore& store_;
  Open& open_;
  Answer answer_;
  std::atomic<bool> is_held_{false};
};

/// One thread of a round.
struct Actor {
  Actor(OpenedStore& store, int thread, uint32_t seed)
      : s(store),
        number(thread),
        random(seed),
        key{1, static_cast<uint64_t>(thread) + 1},
        opens{store.open(0, kReadWrite, key), store.open(kSynchronous, kReadWrite, key),
              store.open(OpenMode::WriteThrough, kReadWrite, key)},
        holder(store.store(), *opens[0]) {}

  /// Begins an event by one of the opens.
  Event event(Kind kind, int open) {
    Event event;
    event.kind = kind;
    event.thread = number;
    event.open = open;
    event.is_synchronous = open == 1;
    event.at = static_cast<int>(random() % kCells);
    event.count = 1 + static_cast<int>(random() % 9);
    event.value = next_value++;
    return event;
  }
  Open& open_of(const Event& event) { return *opens[static_cast<size_t>(event.open)]; }

  OpenedStore& s;
  const int number;
  std::mt19937 random;
  const OplockKey key;
  std::array<OpenPtr, 3> opens;
  Holder holder;
  std::vector<Event> locks;  // that it holds
  uint8_t next_value = static_cast<uint8_t>(1 + 100 * number);
};

int64_t bytes_of(int cells) { return static_cast<int64_t>(cells) * int64_t{kCellBytes}; }

Cells cells_of(const ByteVector& bytes) {
  Cells cells;
  for (size_t at = 0; at + kCellBytes <= bytes.size(); at += kCellBytes) {
    const auto* cell = bytes.data() + at;
    const bool is_whole =
        std::all_of(cell, cell + kCellBytes, [cell](std::byte b) { return b == *cell; });
    cells.push_back(is_whole ? std::to_integer<uint8_t>(*cell) : kTorn);
  }
  return cells;
}

// Requests: what is asked for, and how.

void write(Actor& actor, Event& event, int64_t offset, Buffering buffering) {
  const ByteVector bytes(static_cast<size_t>(bytes_of(event.count)), std::byte{event.value});
  event.status = actor.s.write(actor.open_of(event), offset, bytes, buffering);
}
void read(Actor& actor, Event& event, Buffering buffering) {
  const auto got = actor.s.read(actor.open_of(event), bytes_of(event.at),
                                static_cast<size_t>(bytes_of(event.count)), buffering);
  event.status = got.status;
  event.cells = cells_of(got.bytes);
}
void change(Event& event, const Result<>& done) {
  event.status = done ? NtStatus::Success : done.error();
}
LockParameters range_of(const Event& event) {
  return {static_cast<uint64_t>(bytes_of(event.at)), static_cast<uint64_t>(bytes_of(event.count)),
          event.is_exclusive ? Mode::Exclusive : Mode::Shared};
}

struct Request {
  const char* name;
  Kind kind;
  int open;
  std::function<void(Actor&, Event&)> run;
};

void ask_for_oplock(Actor& actor, Event& event) {
  if (actor.holder.is_held()) {
    event.kind = Kind::HasOplock;
    event.at = actor.holder.is_held() ? 1 : 0;
    return;
  }
  actor.holder.hold();
  const auto level = event.value % 2 == 0 ? OplockLevel::Read : OplockLevel::ReadHandle;
  change(event, actor.s.store().request_oplock(*actor.opens[0], level, actor.holder));
  if (event.status != NtStatus::Success) actor.holder.refuse();
}

void lock_or_unlock(Actor& actor, Event& event) {
  if (!actor.locks.empty() && event.value % 2 == 0) {
    event.kind = Kind::Unlock;
    event.at = actor.locks.back().at;
    event.count = actor.locks.back().count;
    change(event, actor.s.store().unlock(actor.open_of(event), range_of(actor.locks.back())));
    actor.locks.pop_back();
    return;
  }
  event.is_exclusive = event.value % 3 != 0;
  change(event, actor.s.store().lock(actor.open_of(event), range_of(event), nullptr));
  if (event.status == NtStatus::Success) actor.locks.push_back(event);
}

void tell_size(Actor& actor, Event& event) {
  const auto information = actor.s.store().query_information(*actor.s.file());
  event.at = information ? static_cast<int>(information->file_size / kCellBytes) : -1;
}

const std::vector<Request>& requests() {
  static const std::vector<Request> all = {
      {"write", Kind::Write, 0, [](Actor& a, Event& e) { write(a, e, bytes_of(e.at), kBuffered); }},
      {"unbuffered write", Kind::Write, 0,
       [](Actor& a, Event& e) { write(a, e, bytes_of(e.at), kUnbuffered); }},
      {"write through", Kind::Write, 2,
       [](Actor& a, Event& e) { write(a, e, bytes_of(e.at), kBuffered); }},
      {"append", Kind::Write, 0,
       [](Actor& a, Event& e) {
         e.at = -1;
         write(a, e, kEndOfStream, kBuffered);
       }},
      {"unbuffered append", Kind::Write, 0,
       [](Actor& a, Event& e) {
         e.at = -1;
         write(a, e, kEndOfStream, kUnbuffered);
       }},
      {"write at the position", Kind::Write, 1,
       [](Actor& a, Event& e) {
         e.at = -2;
         write(a, e, kCurrentPosition, kBuffered);
       }},
      {"read", Kind::Read, 1, [](Actor& a, Event& e) { read(a, e, kBuffered); }},
      {"unbuffered read", Kind::Read, 0, [](Actor& a, Event& e) { read(a, e, kUnbuffered); }},
      {"set size", Kind::SetSize, 0,
       [](Actor& a, Event& e) {
         change(e, a.s.store().set_end_of_file(a.open_of(e), bytes_of(e.at)));
       }},
      {"set allocation", Kind::SetAllocation, 0,
       [](Actor& a, Event& e) {
         change(e, a.s.store().set_allocation(a.open_of(e), bytes_of(e.at)));
       }},
      {"zero data", Kind::ZeroData, 0,
       [](Actor& a, Event& e) {
         change(e,
                a.s.store().set_zero_data(a.open_of(e), bytes_of(e.at), bytes_of(e.at + e.count)));
       }},
      {"punch", Kind::Punch, 0,
       [](Actor& a, Event& e) {
         change(e, a.s.store().punch(a.open_of(e), static_cast<uint64_t>(bytes_of(e.at)),
                                     static_cast<uint64_t>(bytes_of(e.count))));
       }},
      {"size", Kind::Size, 0, tell_size},
      {"lock", Kind::Lock, 0, lock_or_unlock},
      {"oplock", Kind::RequestOplock, 0, ask_for_oplock},
      {"ranges", Kind::Other, 0,
       [](Actor& a, Event& e) {
         const auto ranges =
             a.s.store().query_allocated_ranges(a.open_of(e), 0, bytes_of(kMostCells), 100);
         e.status = ranges ? NtStatus::Success : ranges.error();
       }},
      {"set sparse", Kind::Other, 0,
       [](Actor& a, Event& e) {
         const auto wanted = e.value % 2 == 0 ? Stream::Sparse::Yes : Stream::Sparse::No;
         change(e, a.s.store().set_sparse(a.open_of(e), wanted));
       }},
      {"flush", Kind::Other, 0,
       [](Actor& a, Event& e) { change(e, a.s.store().flush(a.open_of(e))); }},
      {"open and close", Kind::Other, 0, [](Actor& a, Event&) { (void)a.s.open(0, kReadWrite); }},
  };
  return all;
}

class Round {
 public:
  Round(OpenedStore& s, const Request& one, const Request& other, uint32_t seed)
      : s_(s), seed_(seed) {
    reset();
    std::thread thread([&] { work(one, 0); });
    work(other, 1);
    thread.join();
  }

  /// Everything, with what is there in the end.
  std::vector<Event> history() {
    std::vector<Event> all = events_[0];
    all.insert(all.end(), events_[1].begin(), events_[1].end());
    const auto open = s_.open();
    Event last;
    last.kind = Kind::Read;
    last.open = 3;
    last.count = 2 * kMostCells;
    all.push_back(timed(last, [&](Event& event) {
      const auto got = s_.read(*open, 0, static_cast<size_t>(bytes_of(event.count)));
      event.status = got.status;
      event.cells = cells_of(got.bytes);
    }));
    return all;
  }
  static Cells start() {
    Cells cells(kCells);
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = static_cast<uint8_t>(220 + i);
    return cells;
  }

 private:
  void reset() {
    const auto open = s_.open();
    EXPECT_TRUE(s_.store().set_end_of_file(*open, 0));
    ByteVector bytes;
    for (const uint8_t cell : start()) bytes.insert(bytes.end(), kCellBytes, std::byte{cell});
    EXPECT_EQ(s_.write(*open, 0, bytes), NtStatus::Success);
    // On the device, or still in the buffer.
    if (seed_ % 2 == 0) {
      EXPECT_TRUE(s_.file()->data().write_back());
    }
  }

  void work(const Request& request, int number) {
    Actor actor(s_, number, seed_ * 2 + static_cast<uint32_t>(number));
    std::vector<Event>& events = events_[static_cast<size_t>(number)];
    ready_.fetch_add(1, std::memory_order_relaxed);
    while (ready_.load(std::memory_order_relaxed) < 2) std::this_thread::yield();
    for (int i = 0; i < kRequests; ++i) {
      events.push_back(timed(actor.event(request.kind, request.open),
                             [&](Event& event) { request.run(actor, event); }));
    }
    // The open that locks: whoever still asks finds the way free.
    events.push_back(timed(actor.event(Kind::Close, 0), [&](Event&) { actor.opens[0].reset(); }));
  }

  /// Without order for other memory: that would hide races from ThreadSanitizer.
  template <typename Run>
  Event timed(Event event, const Run& run) {
    event.asked = clock_.fetch_add(1, std::memory_order_relaxed);
    run(event);
    event.answered = clock_.fetch_add(1, std::memory_order_relaxed);
    return event;
  }

  OpenedStore& s_;
  const uint32_t seed_;
  std::atomic<uint64_t> clock_{1};
  std::atomic<int> ready_{0};
  std::array<std::vector<Event>, 2> events_;
};

bool overlap(const Event& one, const Event& other) {
  return one.asked < other.answered && other.asked < one.answered;
}

TEST(TwoThreads, EachKindOfRequestAgainstEachOther) {
  proves("threads");
  OpenedStore s;
  size_t count_pairs = 0;
  size_t count_side_by_side = 0;
  for (size_t i = 0; i < requests().size(); ++i) {
    for (size_t j = i; j < requests().size(); ++j) {
      ++count_pairs;
      for (int round = 0; round < kRounds; ++round) {
        const auto seed =
            static_cast<uint32_t>((i * 100 + j) * 1000) + static_cast<uint32_t>(round);
        const auto history = Round(s, requests()[i], requests()[j], seed).history();
        ASSERT_TRUE(is_linearizable(history, Round::start()))
            << requests()[i].name << " and " << requests()[j].name << ", seed " << seed << "\n"
            << to_text(history);
        ASSERT_FALSE(::testing::Test::HasFailure()) << requests()[i].name << ", seed " << seed;
        for (size_t k = 0; k + 1 < history.size() / 2; ++k) {
          count_side_by_side += overlap(history[k], history[k + kRequests + 1]) ? 1 : 0;
        }
      }
    }
  }
  EXPECT_EQ(count_pairs, requests().size() * (requests().size() + 1) / 2);
  RecordProperty("side_by_side", static_cast<int>(count_side_by_side));
}

// What the search must not accept.

/// Answers that no order explains: each history is right but for one thing.
struct Planted {
  const char* what;
  std::vector<Event> history;
};

Event made(Kind kind, int thread, uint64_t asked, uint64_t answered) {
  Event event;
  event.kind = kind;
  event.thread = thread;
  event.asked = asked;
  event.answered = answered;
  return event;
}
Event write_of(int thread, int at, uint8_t value, uint64_t asked, uint64_t answered) {
  Event event = made(Kind::Write, thread, asked, answered);
  event.at = at;
  event.count = 1;
  event.value = value;
  return event;
}
Event read_of(int thread, Cells cells, uint64_t asked, uint64_t answered) {
  Event event = made(Kind::Read, thread, asked, answered);
  event.count = 9;
  event.cells = std::move(cells);
  return event;
}
Event lock_of(int thread, NtStatus status, uint64_t asked, uint64_t answered) {
  Event event = made(Kind::Lock, thread, asked, answered);
  event.count = 2;
  event.is_exclusive = true;
  event.status = status;
  return event;
}
Event oplock_of(Kind kind, int at, uint64_t asked, uint64_t answered) {
  Event event = made(kind, 0, asked, answered);
  event.at = at;
  return event;
}

TEST(Linearizability, AcceptsWhatSomeOrderExplains) {
  const Cells start = {9, 9};
  const auto ok = NtStatus::Success;
  const std::vector<std::vector<Event>> histories = {
      {write_of(0, 0, 1, 1, 4), read_of(1, {9, 9}, 2, 3)},
      {write_of(0, 0, 1, 1, 4), read_of(1, {1, 9}, 2, 3)},
      {write_of(0, -1, 1, 1, 4), write_of(1, -1, 2, 2, 3), read_of(0, {9, 9, 2, 1}, 5, 6)},
      {lock_of(0, ok, 1, 4), lock_of(1, NtStatus::LockNotGranted, 2, 3)},
      // A write breaks an oplock, and has its effect later.
      {oplock_of(Kind::RequestOplock, 0, 1, 2), write_of(1, 0, 1, 3, 8),
       oplock_of(Kind::HasOplock, 0, 4, 5), read_of(0, {9, 9}, 6, 7), read_of(0, {1, 9}, 9, 10)},
  };
  for (const auto& history : histories) {
    EXPECT_TRUE(is_linearizable(history, start)) << to_text(history);
  }
}

TEST(Linearizability, FindsPlantedViolations) {
  const Cells start = {9, 9};
  const auto ok = NtStatus::Success;
  const std::vector<Planted> all = {
      {"a read of what was overwritten before",
       {write_of(0, 0, 1, 1, 2), read_of(1, {9, 9}, 3, 4)}},
      {"a read of what nobody wrote", {write_of(0, 0, 1, 1, 4), read_of(1, {2, 9}, 2, 3)}},
      {"a torn cell", {write_of(0, 0, 1, 1, 4), read_of(1, {kTorn, 9}, 2, 3)}},
      {"a lost append",
       {write_of(0, -1, 1, 1, 4), write_of(1, -1, 2, 2, 3), read_of(0, {9, 9, 2}, 5, 6)}},
      {"two reads that see two writes in different orders",
       {write_of(0, 0, 1, 1, 9), read_of(1, {1, 9}, 2, 3), read_of(1, {9, 9}, 4, 5)}},
      {"a write lost under a truncation",
       {made(Kind::SetSize, 0, 1, 2), write_of(1, 1, 3, 3, 4), read_of(0, {9, 3}, 5, 6)}},
      {"a lock granted twice", {lock_of(0, ok, 1, 4), lock_of(1, ok, 2, 3)}},
      {"a lock refused although there is none",
       {lock_of(0, NtStatus::LockNotGranted, 1, 2), write_of(1, 0, 1, 3, 4)}},
      {"a write through another's lock", {lock_of(0, ok, 1, 2), write_of(1, 0, 1, 3, 4)}},
      {"an oplock that outlives a write",
       {oplock_of(Kind::RequestOplock, 0, 1, 2), write_of(1, 0, 1, 3, 4),
        oplock_of(Kind::HasOplock, 1, 5, 6)}},
      {"an oplock granted under a lock",
       {lock_of(1, ok, 1, 2), oplock_of(Kind::RequestOplock, 0, 3, 4)}},
  };
  for (const Planted& planted : all) {
    EXPECT_FALSE(is_linearizable(planted.history, start)) << planted.what;
  }
}

/// An append as somebody might write it who forgets that others append, too.
void append_in_two_steps(Actor& actor, Event& event) {
  event.at = -1;
  const int64_t end = static_cast<int64_t>(actor.s.sizes().file_size);
  std::this_thread::yield();
  write(actor, event, end, kBuffered);
}

TEST(Linearizability, FindsARaceInAStoreThatHasOne) {
  OpenedStore s;
  const Request broken{"append in two steps", Kind::Write, 0, append_in_two_steps};
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    if (!is_linearizable(Round(s, broken, broken, seed).history(), Round::start())) return;
  }
  FAIL() << "every append came out whole";
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
