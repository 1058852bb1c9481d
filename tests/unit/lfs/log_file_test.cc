#include "lfs/log_file.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "tests/unit/lfs/memory_log_store.h"

namespace ntfs::lfs {
namespace {

using testing::append_data;
using testing::make_data;
using testing::MemoryLogStore;
using testing::release;
using testing::reserve;
using testing::StartValues;
using testing::write_restart;

constexpr uint64_t kSmallLog = 256 * 1024;

struct Written {
  Lsn lsn;
  ByteVector data;
};

/// A log, what was appended to it, and the checks of what a reader finds.
class LogFileTest : public ::testing::Test {
 protected:
  void begin(uint64_t size_bytes, Lsn floor = {}) {
    store_ = std::make_unique<MemoryLogStore>(size_bytes);
    ASSERT_TRUE(LogFile::format(*store_).has_value());
    restart(floor);
  }
  void restart(Lsn floor) {
    log_.reset();
    log_ = LogFile::start(*store_, values_.start(floor)).value();
    written_.clear();
    written_[log_->last_lsn()] = values_.restart;
  }
  Lsn append(uint64_t length_bytes, bool from_reserved = false) {
    ByteVector data = make_data(++number_, length_bytes);
    const Lsn lsn = append_data(*log_, data, from_reserved).value();
    written_[lsn] = std::move(data);
    return lsn;
  }
  /// A restart record for everything up to now; what is older is free after it.
  void checkpoint() {
    const Lsn oldest = log_->last_lsn();
    const Lsn lsn = write_restart(*log_, values_.restart, oldest).value();
    written_[lsn] = values_.restart;
  }

  /// Reads the log in `store`: all records from the oldest on have to be there in order, with their
  /// contents, at least to `durable`.
  static void check(LogStore& store, const std::map<Lsn, ByteVector>& written, Lsn durable) {
    auto reader = LogReader::open(store);
    ASSERT_TRUE(reader.has_value());
    ASSERT_GE(reader->last_lsn(), durable);
    auto record = reader->read(reader->oldest_lsn());
    ASSERT_TRUE(record.has_value());
    auto expected = written.find(reader->oldest_lsn());
    ASSERT_NE(expected, written.end());
    while (record) {
      if (record->transaction_id != 0x40) {  // fillers
        ASSERT_NE(expected, written.end());
        ASSERT_EQ(record->lsn.raw(), expected->first.raw());
        ASSERT_TRUE(std::equal(record->data.begin(), record->data.end(), expected->second.begin(),
                               expected->second.end()));
        ++expected;
      }
      record = reader->next();
    }
    ASSERT_EQ(record.error(), NtStatus::EndOfFile);
    ASSERT_TRUE(expected == written.end() || expected->first > durable);
  }
  void check() { check(*store_, written_, log_->durable_lsn()); }

  StartValues values_;
  std::unique_ptr<MemoryLogStore> store_;
  std::unique_ptr<LogFile> log_;
  std::map<Lsn, ByteVector> written_;
  uint64_t number_ = 0;
};

TEST_F(LogFileTest, AFormattedLogIsCleanAndClosed) {
  MemoryLogStore store(ByteVector(0x200000));
  ASSERT_TRUE(LogFile::format(store).has_value());
  const LogStatus status = LogFile::inspect(store).value();
  EXPECT_EQ(status.state, LogState::Clean);
  EXPECT_EQ(status.major_version, 1u);
  EXPECT_EQ(status.minor_version, 1u);
  EXPECT_EQ(status.size_bytes, 0x200000u);
  EXPECT_EQ(store.barriers(), 1u);
  EXPECT_EQ(store.bytes()[0x2000], std::byte{0xFF});
  EXPECT_EQ(store.bytes()[0x1FFFFF], std::byte{0xFF});
  MemoryLogStore tiny(ByteVector(0x20000));
  EXPECT_EQ(LogFile::format(tiny).error(), NtStatus::DiskFull);
}

TEST_F(LogFileTest, IsUncleanFromStartToClose) {
  begin(0x200000);
  EXPECT_EQ(LogFile::inspect(*store_).value().state, LogState::Unclean);
  append(100);
  append(5000);
  ASSERT_TRUE(log_->close(values_.restart).has_value());
  const LogStatus status = LogFile::inspect(*store_).value();
  EXPECT_EQ(status.state, LogState::Clean);
  EXPECT_EQ(status.last_lsn, log_->last_lsn());
  EXPECT_EQ(status.restart_lsn, log_->last_lsn());
  EXPECT_LT(status.oldest_lsn, status.restart_lsn);
  EXPECT_EQ(append_data(*log_, make_data(1, 8)).error(), NtStatus::FileClosed);
  EXPECT_FALSE(log_->is_failed());
  written_[log_->last_lsn()] = values_.restart;
  check();
}

TEST_F(LogFileTest, BeginsEveryEpochTwoSequencesLater) {
  begin(0x200000);
  const LogGeometry& geometry = log_->geometry();
  EXPECT_EQ(log_->last_lsn(), geometry.lsn_at(4, 0x4040));
  append(100);
  ASSERT_TRUE(log_->close(values_.restart).has_value());
  restart({});
  EXPECT_EQ(log_->last_lsn(), log_->geometry().lsn_at(6, 0x4040));
  // Without a close as well, and never below the floor.
  restart(log_->geometry().lsn_at(1000, 0x8000));
  EXPECT_EQ(log_->last_lsn(), log_->geometry().lsn_at(1002, 0x4040));
  append(100);
  ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
  check();
  const Lsn impossible = Lsn::from_raw(~uint64_t{0});
  EXPECT_EQ(LogFile::start(*store_, values_.start(impossible)).error(),
            NtStatus::FileSystemLimitation);
}

TEST_F(LogFileTest, StartsInAnEmptyLogAndAfterAResize) {
  store_ = std::make_unique<MemoryLogStore>(0x200000);
  restart({});
  const Lsn before = log_->last_lsn();
  append(100);
  ASSERT_TRUE(log_->close(values_.restart).has_value());
  store_->bytes().resize(0x800000, std::byte{0xFF});
  restart({});
  EXPECT_GT(log_->last_lsn(), before);
  append(20000);
  ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
  check();
}

TEST_F(LogFileTest, PutsTheFirstRecordsBesideTheRestartRecord) {
  store_ = std::make_unique<MemoryLogStore>(0x200000);
  const ByteVector open = make_data(7, 0x50);
  const ByteView part = open;
  Record record;
  record.transaction_id = 0x18;
  record.parts = {&part, 1};
  LogStart how = values_.start({});
  how.first_records = {&record, 1};
  const auto log = LogFile::start(*store_, how).value();
  EXPECT_EQ(log->durable_lsn(), log->last_lsn());
  auto reader = LogReader::open(*store_).value();
  EXPECT_TRUE(reader.read(reader.oldest_lsn()).value().is_restart());
  const RecordView second = reader.next().value();
  EXPECT_EQ(second.lsn, log->last_lsn());
  EXPECT_TRUE(std::equal(second.data.begin(), second.data.end(), open.begin(), open.end()));
}

TEST_F(LogFileTest, KeepsRecordsOfEverySizeAcrossPages) {
  begin(0x200000);
  for (uint64_t length = 8; length <= 4200; length += 8) {
    append(length);
    if (length % 1000 == 0) {
      ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
    }
    if (log_->used_bytes() > log_->capacity_bytes() / 2) checkpoint();
  }
  checkpoint();
  append(kMaximumClientData);
  append(8);
  ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
  check();
}

TEST_F(LogFileTest, GathersThePartsOfARecord) {
  begin(0x200000);
  const ByteVector a = make_data(1, 24), b, c = make_data(2, 5000);
  const std::array<ByteView, 4> parts = {a, b, ByteView(c).first(13), ByteView(c).subspan(13)};
  Record record;
  record.transaction_id = 0x18;
  record.previous = Lsn::from_raw(5);
  record.undo_next = Lsn::from_raw(6);
  record.parts = parts;
  const Lsn lsn = log_->execute(0, &record, {}).value().lsn;
  ASSERT_TRUE(log_->flush_to(lsn).has_value());
  auto reader = LogReader::open(*store_).value();
  const RecordView view = reader.read(lsn).value();
  EXPECT_EQ(view.previous.raw(), 5u);
  EXPECT_EQ(view.undo_next.raw(), 6u);
  EXPECT_EQ(view.transaction_id, 0x18u);
  ASSERT_EQ(view.data.size(), a.size() + c.size());
  EXPECT_TRUE(std::equal(c.begin(), c.end(), view.data.begin() + 24));
}

TEST_F(LogFileTest, FlushesOnlyWhatIsNotDurable) {
  begin(0x200000);
  const Lsn first = append(100);
  const Lsn second = append(100);
  EXPECT_GT(log_->pending_bytes(), 200u);
  uint64_t before = store_->barriers();
  ASSERT_TRUE(log_->flush_to(first).has_value());
  EXPECT_EQ(log_->durable_lsn(), second);
  EXPECT_EQ(log_->pending_bytes(), 0u);
  EXPECT_EQ(store_->barriers(), before + 1);
  ASSERT_TRUE(log_->flush_to(second).has_value());
  EXPECT_EQ(store_->barriers(), before + 1);
  // Many new pages: the one that was open, all the others, the copy of the open one.
  before = store_->barriers();
  for (int i = 0; i < 200; ++i) append(3000);
  ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
  EXPECT_EQ(store_->barriers(), before + 3);
  check();
}

TEST_F(LogFileTest, RestartRecordsNeverSpillNorEndAtThePageEnd) {
  begin(kSmallLog);
  for (uint64_t i = 0; i < 600; ++i) {
    append(8 + 8 * (i % 61));
    checkpoint();
    ASSERT_LE(LogGeometry::in_page(log_->geometry().offset_of(log_->last_lsn())) + 0xA0 + 0x30,
              kPageSize);
    if (i % 50 == 0) {
      ASSERT_NO_FATAL_FAILURE(check());
    }
  }
}

TEST_F(LogFileTest, ReservesUntilFullAndACheckpointFreesTheSpace) {
  begin(kSmallLog);
  const ByteVector data = make_data(1, 1000);
  for (int lap = 0; lap < 10; ++lap) {
    uint64_t count = 0;
    Lsn first;
    for (auto lsn = append_data(*log_, data); lsn; lsn = append_data(*log_, data)) {
      if (first.is_none()) first = *lsn;
      ++count;
    }
    EXPECT_GT(count, kSmallLog / 1048 * 7 / 10);
    EXPECT_EQ(append_data(*log_, data).error(), NtStatus::LogFileFull);
    EXPECT_GE(log_->used_bytes() + record_cost(1000), log_->capacity_bytes());
    ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
    EXPECT_LT(log_->oldest_lsn(), first);
    // At the full log: the restart record has its own room.
    ASSERT_TRUE(write_restart(*log_, values_.restart, log_->last_lsn()).has_value());
    EXPECT_LT(log_->used_bytes(), kPageSize);
  }
  ASSERT_TRUE(log_->close(values_.restart).has_value());
}

TEST_F(LogFileTest, OutstandingReservationsCount) {
  begin(kSmallLog);
  const uint64_t all = log_->capacity_bytes() - log_->used_bytes();
  ASSERT_TRUE(reserve(*log_, all).has_value());
  EXPECT_EQ(reserve(*log_, 1).error(), NtStatus::LogFileFull);
  release(*log_, 100);
  EXPECT_TRUE(reserve(*log_, 100).has_value());
  release(*log_, all);
}

TEST_F(LogFileTest, ReservedRecordsAlwaysFitWhateverTheirSizes) {
  begin(kSmallLog);
  std::mt19937_64 random(1);
  for (int lap = 0; lap < 200; ++lap) {
    const uint64_t all = log_->capacity_bytes() - log_->used_bytes();
    ASSERT_TRUE(reserve(*log_, all).has_value());
    uint64_t left = all;
    while (true) {
      const uint64_t length = 8 * (1 + random() % (lap % 2 == 0 ? 20 : 1500));
      if (record_cost(length) > left) break;
      left -= record_cost(length);
      append(length, true);
    }
    release(*log_, left);
    checkpoint();
    ASSERT_NO_FATAL_FAILURE(check());
  }
}

TEST_F(LogFileTest, AFailedWritePoisonsTheLog) {
  begin(0x200000);
  append(100);
  store_->fail_after(0);
  EXPECT_EQ(log_->flush_to(log_->last_lsn()).error(), NtStatus::IoDeviceError);
  EXPECT_TRUE(log_->is_failed());
  EXPECT_EQ(append_data(*log_, make_data(1, 8)).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(log_->flush_to(log_->last_lsn()).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(reserve(*log_, 1).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(write_restart(*log_, values_.restart, log_->oldest_lsn()).error(),
            NtStatus::IoDeviceError);
  EXPECT_EQ(log_->close(values_.restart).error(), NtStatus::IoDeviceError);
}

TEST_F(LogFileTest, EveryFailingWriteIsReported) {
  for (uint64_t calls = 0; calls < 8; ++calls) {
    MemoryLogStore store(kSmallLog);
    ASSERT_TRUE(LogFile::format(store).has_value());
    store.fail_after(calls);
    auto log = LogFile::start(store, values_.start({}));
    if (!log) {
      EXPECT_EQ(log.error(), NtStatus::IoDeviceError);
      continue;
    }
    EXPECT_TRUE(append_data(**log, make_data(1, 9000)).has_value());
    EXPECT_FALSE((*log)->close(values_.restart).has_value() && calls < 7);
  }
}

TEST_F(LogFileTest, ManyThreadsAppendAndFlush) {
  begin(0x400000);
  constexpr int kThreads = 4;
  constexpr int kRecords = 700;
  Mutex order(LockRank::Metadata);
  std::map<Lsn, ByteVector> written = written_;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRecords; ++i) {
        const auto number = static_cast<uint64_t>(t * kRecords + i);
        ByteVector data = make_data(number, 8 + number * 37 % 1200);
        Lsn lsn;
        {
          MutexLock lock(order);
          lsn = append_data(*log_, data).value();
          written[lsn] = std::move(data);
        }
        if (i % 3 == t % 3) {
          EXPECT_TRUE(log_->flush_to(lsn).has_value());
          EXPECT_GE(log_->durable_lsn(), lsn);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
  check(*store_, written, log_->last_lsn());
}

// Flushes, restart pages and a failing device take turns at the log's I/O; nobody is left waiting.
TEST_F(LogFileTest, EveryoneWhoWaitsForAFlushReturns) {
  constexpr int kThreads = 24;
  begin(0x400000);
  store_->fail_after(600);  // before the log can be full
  std::atomic<int> count_failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const ByteVector data = make_data(static_cast<uint64_t>(t), 200);
      while (true) {
        const auto lsn = append_data(*log_, data);
        const auto flushed = lsn ? log_->flush_to(*lsn) : Result<>(lsn.error());
        if (!flushed) break;
        EXPECT_GE(log_->durable_lsn(), *lsn);
      }
      ++count_failed;
    });
  }
  threads.emplace_back([&] {
    while (write_restart(*log_, values_.restart, log_->last_lsn())) std::this_thread::yield();
    ++count_failed;
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count_failed.load(), kThreads + 1);
  EXPECT_TRUE(log_->is_failed());
}

/// What the device holds when power fails: all calls before `calls`, and of the next one only some
/// of its sectors.
ByteVector crashed_image(const ByteVector& before, const MemoryLogStore& store, size_t calls,
                         std::mt19937_64* random, uint64_t atom_bytes) {
  ByteVector image = before;
  for (size_t i = 0; i < calls; ++i) {
    for (const auto& write : store.history()[i]) {
      std::memcpy(image.data() + write.offset, write.bytes.data(), write.bytes.size());
    }
  }
  if (random == nullptr || calls == store.history().size()) return image;
  for (const auto& write : store.history()[calls]) {
    for (uint64_t at = 0; at < write.bytes.size(); at += atom_bytes) {
      if ((*random)() % 2 == 0) continue;
      std::memcpy(image.data() + write.offset + at, write.bytes.data() + at, atom_bytes);
    }
  }
  return image;
}

TEST_F(LogFileTest, WhatIsDurableSurvivesACrashAtAnyPoint) {
  const uint64_t seed = 20240;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  begin(kSmallLog);
  const ByteVector before = store_->bytes();
  store_->keep_history();
  std::vector<std::pair<size_t, Lsn>> durable;  // after so many calls, up to this LSN
  durable.emplace_back(0, log_->durable_lsn());
  for (int i = 0; i < 400; ++i) {
    const uint64_t count = 1 + random() % 8;
    for (uint64_t r = 0; r < count; ++r) append(8 + random() % (random() % 9 == 0 ? 9000 : 300));
    if (log_->used_bytes() > log_->capacity_bytes() / 2) {
      checkpoint();
    } else {
      ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
    }
    durable.emplace_back(store_->history().size(), log_->durable_lsn());
  }
  size_t known = 0;
  for (size_t calls = 0; calls <= store_->history().size(); ++calls) {
    while (known + 1 < durable.size() && durable[known + 1].first <= calls) ++known;
    for (const uint64_t atom : {uint64_t{0}, kPageSize, uint64_t{512}}) {
      MemoryLogStore crashed(
          crashed_image(before, *store_, calls, atom == 0 ? nullptr : &random, atom));
      SCOPED_TRACE(::testing::Message() << "calls " << calls << " atom " << atom);
      ASSERT_NO_FATAL_FAILURE(check(crashed, written_, durable[known].second));
    }
  }
}

TEST_F(LogFileTest, ACrashDuringStartOrCloseLeavesALogThatMakesSense) {
  begin(kSmallLog);
  append(100);
  ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
  const ByteVector before = store_->bytes();
  store_->keep_history();
  restart({});
  append(5000);
  ASSERT_TRUE(log_->close(values_.restart).has_value());
  std::mt19937_64 random(3);
  for (size_t calls = 0; calls <= store_->history().size(); ++calls) {
    for (int variant = 0; variant < 20; ++variant) {
      MemoryLogStore crashed(crashed_image(before, *store_, calls, &random, 512));
      const LogState state = LogFile::inspect(crashed).value().state;
      EXPECT_TRUE(state == LogState::Unclean || state == LogState::Clean) << calls;
      auto again = LogFile::start(crashed, values_.start({}));
      ASSERT_TRUE(again.has_value());
      EXPECT_GE((*again)->last_lsn(), log_->geometry().lsn_at(6, 0x4040));
    }
  }
}

TEST_F(LogFileTest, RewritesEveryPageWithAnotherUpdateSequenceNumber) {
  begin(kSmallLog);
  store_->keep_history();
  for (int i = 0; i < 1500; ++i) {
    append(500);
    if (i % 3 == 0) {
      ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value());
    }
    if (log_->used_bytes() > log_->capacity_bytes() / 2) checkpoint();
  }
  ASSERT_TRUE(log_->close(values_.restart).has_value());
  std::map<uint64_t, uint16_t> last;
  for (const auto& call : store_->history()) {
    for (const auto& write : call) {
      for (uint64_t at = 0; at < write.bytes.size(); at += kPageSize) {
        const auto number = struct_at<le16>(ByteView(write.bytes), at + 0x1FE).get();
        EXPECT_NE(number, 0u);
        const auto [entry, is_new] = last.try_emplace(write.offset + at, number);
        EXPECT_TRUE(is_new || entry->second != number) << "at " << write.offset + at;
        entry->second = number;
      }
    }
  }
}

}  // namespace
}  // namespace ntfs::lfs
