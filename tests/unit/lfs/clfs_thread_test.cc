// Many threads: C47, C91 to C97. C98 is these under the sanitizers.

#include <atomic>
#include <set>

#include "tests/unit/lfs/clfs_log.h"

namespace ntfs::lfs::testing {
namespace {

using namespace std::chrono_literals;

/// A number in front, and behind it what follows from it.
ByteVector stamped_data(uint64_t number, uint64_t length_bytes) {
  ByteVector data(8 + length_bytes, static_cast<std::byte>(number * 31));
  const le64 word = le64::of(number);
  std::memcpy(data.data(), &word, sizeof(word));
  return data;
}
uint64_t number_of(ByteView data) { return struct_at<le64>(data).get(); }
bool is_stamped(ByteView data) {
  const auto wanted = static_cast<std::byte>(number_of(data) * 31);
  return std::all_of(data.begin() + 8, data.end(), [&](std::byte b) { return b == wanted; });
}

TEST_F(Clfs, C47_TheBooksBalanceWhateverThreadsDo) {
  begin(2048 * kPageSize, {64 << 10, 5ms});
  std::atomic<uint64_t> appended_cost{0}, appended{0}, refused{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      const ByteVector data(1000);
      for (int i = 0; i < 400; ++i) {
        ReservationSet set = area_->make_set();
        const ByteView entry = ByteView(data).first(random() % 1000);
        std::array<int64_t, 1> sizes = {static_cast<int64_t>(1 + random() % 1000)};
        AppendRequest request;
        request.entries = {&entry, 1};
        request.reserve = sizes;
        if (random() % 10 == 0) {  // a failure
          request.previous = Lsn::from_raw(~uint64_t{0});
          EXPECT_FALSE(area_->reserve_and_append(request, set).has_value());
          EXPECT_EQ(set.records(), 0u);
          ++refused;
          continue;
        }
        ASSERT_TRUE(area_->reserve_and_append(request, set).has_value());
        appended_cost += cost(entry.size());
        ++appended;
        if (random() % 2 == 0) continue;  // freed
        request.reserve = {};
        const ByteView undo =
            ByteView(data).first(static_cast<size_t>(sizes[0]) - kRecordHeaderSize);
        request.entries = {&undo, 1};
        request.flags = AppendFlags::UseReservation;
        ASSERT_TRUE(area_->reserve_and_append(request, set).has_value());
        appended_cost += cost(undo.size());
        ++appended;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(records(), 0u);
  EXPECT_EQ(bytes(), 0u);
  uint64_t found_cost = 0, found = 0;
  const auto context = area_->read(Lsn(), ReadMode::Forward).value();
  do {
    found_cost += cost(context->record().data.size());
    ++found;
  } while (context->next());
  EXPECT_EQ(found, appended);
  EXPECT_EQ(found_cost, appended_cost);
  // What is used is what was appended, less the part of each page that counts as lost from the
  // beginning.
  const uint64_t used = stream_->info().used_bytes;
  EXPECT_LE(used, found_cost);
  EXPECT_GE(used + (found_cost / kPageDataSize + 2) * kRecordHeaderSize, found_cost);
}

TEST_F(Clfs, C91_EveryRecordOfEveryThreadIsThereOnce) {
  for (const uint64_t count : {2u, 4u, 8u, 16u}) {
    constexpr uint64_t kRecords = 24'000;
    begin(8192 * kPageSize, {64 << 10, 5ms});
    std::vector<std::vector<Lsn>> lsns(count);
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < count; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(t);
        for (uint64_t i = 0; i < kRecords / count; ++i) {
          const uint64_t number = t << 32 | i;
          lsns[t].push_back(append(stamped_data(number, random() % 2000)).value().lsn);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& of_thread : lsns) {
      EXPECT_TRUE(std::is_sorted(of_thread.begin(), of_thread.end()));
    }
    std::vector<uint64_t> next(count, 0);
    Lsn before;
    auto context = area_->read(Lsn(), ReadMode::Forward).value();
    Result<> read;
    for (; read; read = context->next()) {
      const RecordView& record = context->record();
      ASSERT_TRUE(is_stamped(record.data));
      ASSERT_GT(record.lsn, before);
      before = record.lsn;
      const uint64_t t = number_of(record.data) >> 32;
      ASSERT_LT(t, count);
      const uint64_t i = number_of(record.data) & 0xFFFFFFFF;
      ASSERT_EQ(i, next[t]++);
      ASSERT_EQ(record.lsn, lsns[t][i]);
    }
    EXPECT_EQ(read.error(), NtStatus::EndOfFile);
    for (const uint64_t n : next) EXPECT_EQ(n, kRecords / count);
    context.reset();
  }
}

TEST_F(Clfs, C92_WhoKnowsAnLsnAppendsBehindIt) {
  begin(1024 * kPageSize, kNoPolicy);
  std::atomic<uint64_t> handed{0};
  constexpr int kRounds = 200;
  const auto play = [&](bool even) {
    for (int i = 0; i < kRounds; ++i) {
      uint64_t seen = 0;
      while ((seen = handed.load(std::memory_order_acquire)) % 2 == (even ? 1 : 0)) {
        std::this_thread::yield();
      }
      const Lsn lsn = append_size(50).value().lsn;
      ASSERT_GT(lsn.raw(), seen >> 1);
      handed.store(lsn.raw() << 1 | (even ? 1 : 0), std::memory_order_release);
    }
  };
  std::thread other([&] { play(false); });
  play(true);
  other.join();
}

TEST_F(Clfs, C93_AReaderAtTheTailSeesWholeRecordsOnly) {
  begin(4096 * kPageSize, {64 << 10, 5ms});
  constexpr uint64_t kWriters = 3;
  constexpr uint64_t kRecords = 2'000;
  ASSERT_TRUE(append(stamped_data(~uint64_t{0}, 0)).has_value());
  std::vector<std::thread> writers;
  for (uint64_t t = 0; t < kWriters; ++t) {
    writers.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (uint64_t i = 0; i < kRecords; ++i) {
        ASSERT_TRUE(append(stamped_data(t << 32 | i, random() % 5000 / (1 + i % 5))).has_value());
      }
    });
  }
  uint64_t seen = 0;
  Lsn before;
  const auto context = area_->read(Lsn(), ReadMode::Forward).value();
  while (seen < kWriters * kRecords) {
    const auto next = context->next();
    if (!next) {
      ASSERT_EQ(next.error(), NtStatus::EndOfFile);
      std::this_thread::yield();
      continue;
    }
    ASSERT_TRUE(is_stamped(context->record().data));
    ASSERT_GT(context->record().lsn, before);
    before = context->record().lsn;
    ++seen;
  }
  for (std::thread& writer : writers) writer.join();
}

TEST_F(Clfs, C94_EachReadContextTakesABuffer) {
  const Lsn lsn = append_size(10).value().lsn;
  MarshallingArea area(*stream_, 1000, 2);
  auto first = area.read(lsn, ReadMode::Record).value();
  const auto second = area.read(lsn, ReadMode::Record).value();
  EXPECT_EQ(area.read(lsn, ReadMode::Record).error(), NtStatus::LogBlocksExhausted);
  first.reset();
  EXPECT_TRUE(area.read(lsn, ReadMode::Record).has_value());
  // A read that fails gives its buffer back.
  EXPECT_FALSE(area.read(log_->next_lsn(), ReadMode::Record).has_value());
  EXPECT_TRUE(area.read(lsn, ReadMode::Record).has_value());
}

TEST_F(Clfs, C95_AReadContextServesOneThreadAtATime) {
  const Lsn first = append_size(9000).value().lsn;
  const Lsn second = append(text_data(1, 9000), first).value().lsn;
  ASSERT_TRUE(append_size(9000, AppendFlags::ForceFlush).has_value());
  reopen(store_->image());  // nothing is in memory
  const auto context = area_->read(second, ReadMode::Previous).value();
  store_->hold_reads();
  std::thread reader([&] { EXPECT_TRUE(context->next().has_value()); });
  EXPECT_TRUE(store_->wait_for_held_read());
  EXPECT_EQ(context->next().error(), NtStatus::DeviceBusy);
  store_->let_reads_go();
  reader.join();
  EXPECT_EQ(context->record().lsn, first);
}

TEST_F(Clfs, C96_ARecordMustFitIntoTheAreasBuffer) {
  const Lsn lsn = append_size(2000).value().lsn;
  const Lsn behind = append(text_data(1, 10), lsn).value().lsn;
  MarshallingArea small(*stream_, 1000, 2);
  EXPECT_EQ(small.read(lsn, ReadMode::Record).error(), NtStatus::LogBlockIncomplete);
  const auto context = small.read(behind, ReadMode::Previous).value();
  EXPECT_EQ(context->next().error(), NtStatus::LogBlockIncomplete);
  const ByteVector data(1001);
  const ByteView entry = data;
  AppendRequest request;
  request.entries = {&entry, 1};
  EXPECT_EQ(small.reserve_and_append(request).error(), NtStatus::InvalidParameter);
}

// A flush ends with what was there when it began, whatever is appended meanwhile.
TEST_F(Clfs, C97_AFlushDoesNotWaitForLaterRecords) {
  begin(8192 * kPageSize, kNoPolicy);
  std::atomic<bool> stop{false};
  std::vector<std::thread> appenders;
  for (int t = 0; t < 3; ++t) {
    appenders.emplace_back([&] {
      while (!stop) {
        const auto done = append_size(700);
        if (!done) {
          ASSERT_EQ(done.error(), NtStatus::LogFileFull);
          ASSERT_TRUE(area_->flush().has_value());
          const Lsn last = stream_->last();
          if (last > stream_->base()) static_cast<void>(stream_->advance_base(last));
        }
      }
    });
  }
  store_->set_latency(200us);
  for (int i = 0; i < 200; ++i) {
    const auto done = append_size(100);
    if (!done) continue;
    const uint64_t before = store_->write_calls();
    EXPECT_GT(area_->flush_to(done->lsn).value(), done->lsn);
    // At most the rest of a flush that was under way, a whole one of up to four writes, and the
    // beginning of one for others.
    EXPECT_LE(store_->write_calls() - before, 16u);
  }
  stop = true;
  for (std::thread& appender : appenders) appender.join();
}

}  // namespace
}  // namespace ntfs::lfs::testing
