// Flushing: policy, force flags, durability C58 to C71. C69, the crash matrix, is
// log_end_model_test.cc.

#include <atomic>
#include <map>

#include "tests/unit/lfs/clfs_log.h"

namespace ntfs::lfs::testing {
namespace {

using namespace std::chrono_literals;

TEST_F(Clfs, C58_AForcedAppendIsQueuedAndVisibleAtOnce) {
  store_->hold_writes();
  const Lsn durable = log_->durable_end();
  const Appended done = append_size(9000, AppendFlags::ForceAppend).value();
  EXPECT_TRUE(store_->wait_for_held_write());
  EXPECT_GE(log_->queued_end(), done.next);
  EXPECT_EQ(log_->durable_end(), durable);
  {
    MarshallingArea other(*stream_, 10'000, 1);
    const auto context = other.read(done.lsn, ReadMode::Record).value();
    const ByteView data = context->record().data;
    EXPECT_EQ(ByteVector(data.begin(), data.end()), text_data(9000, 9000));
    context->next().error();
    store_->let_writes_go();
  }
  ASSERT_TRUE(area_->flush().has_value());
  EXPECT_GE(log_->durable_end(), done.next);
}

TEST_F(Clfs, C59_AQueuedRecordExistsAfterACrashOnlyWithAllBeforeIt) {
  // Wherever the power goes: what is there is a prefix.
  for (uint64_t writes = 0; writes < 8; ++writes) {
    begin(kTestLogBytes, kNoPolicy);
    const uint64_t before = store_->write_calls();
    store_->cut_power_after(writes);
    std::vector<Lsn> lsns;
    for (uint64_t i = 0; i < 40; ++i) {
      const auto flags = i % 8 == 7 ? AppendFlags::ForceAppend : AppendFlags::None;
      lsns.push_back(append_size(1 + i * 97 % 3000, flags).value().lsn);
    }
    ASSERT_TRUE(area_->flush().has_value());
    const ByteVector cut = store_->image_at_cut();
    if (store_->write_calls() - before <= writes) break;
    reopen(cut);
    size_t count = 0;
    auto context = area_->read(Lsn(), ReadMode::Forward);
    Result<> next = context ? Result<>() : Result<>(context.error());
    for (; next; next = (*context)->next()) {
      ASSERT_LT(count, lsns.size());
      EXPECT_EQ((*context)->record().lsn, lsns[count++]);
    }
    EXPECT_EQ(next.error(), NtStatus::EndOfFile);
  }
}

TEST_F(Clfs, C60_AForcedFlushIsOnTheDevice) {
  for (uint64_t i = 0; i < 20; ++i) {
    const Lsn lazy = append_size(i * 77).value().lsn;
    const Lsn lsn = append_size(i * 200, AppendFlags::ForceFlush).value().lsn;
    EXPECT_GT(log_->durable_end(), lsn);
    reopen(store_->image());
    EXPECT_EQ(stream_->last(), lsn);
    EXPECT_EQ(read_data(lsn), text_data(i * 200, i * 200));
    EXPECT_EQ(read_data(lazy), text_data(i * 77, i * 77));
    ASSERT_TRUE(stream_->advance_base(lsn).has_value());
  }
}

TEST_F(Clfs, C61_PendingBytesBeyondTheThresholdAreFlushed) {
  begin(256 * kPageSize, {64 << 10, 1h});
  const uint64_t writes = store_->write_calls();
  const uint64_t pages = store_->pages_written();
  store_->hold_writes();
  uint64_t pending = 0;
  Lsn end;
  while (pending < (64 << 10)) {
    end = append_size(500).value().next;
    pending += cost(500);
  }
  EXPECT_TRUE(store_->wait_for_held_write());
  store_->let_writes_go();
  EXPECT_TRUE(store_->wait_for_write_calls(writes + 2));
  ASSERT_TRUE(area_->flush().has_value());
  EXPECT_GE(log_->durable_end(), end);
  // One set for them all: full pages at once, the open one's copy; nothing for each record.
  EXPECT_LE(store_->write_calls() - writes, 4u);
  EXPECT_LE(store_->pages_written() - pages, 20u);
}

TEST_F(Clfs, C61_BelowTheThresholdNothingIsWritten) {
  const uint64_t writes = store_->write_calls();
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(append_size(500).has_value());
  EXPECT_EQ(store_->write_calls(), writes);
}

TEST_F(Clfs, C62_ALazyRecordIsDurableAfterTheMaximumDelay) {
  begin(kTestLogBytes, {uint64_t{1} << 40, 5ms});
  const uint64_t writes = store_->write_calls();
  const Appended done = append_size(100).value();
  EXPECT_TRUE(store_->wait_for_write_calls(writes + 1));
  EXPECT_TRUE(store_->write_calls() == writes + 1);
  ASSERT_TRUE(area_->flush_to(done.lsn).has_value());  // when the write is over, no second one
  EXPECT_EQ(store_->write_calls(), writes + 1);
}

TEST_F(Clfs, C63_WhatIsDurableIsNotWrittenAgain) {
  const Lsn lsn = append_size(100, AppendFlags::ForceFlush).value().lsn;
  const uint64_t writes = store_->write_calls();
  EXPECT_GT(area_->flush_to(lsn).value(), lsn);
  EXPECT_EQ(store_->write_calls(), writes);
}

TEST_F(Clfs, C64_FlushingToNothingFlushesAll) {
  const Appended done = append_size(100).value();
  EXPECT_GE(area_->flush_to(Lsn()).value(), done.next);
  const Appended more = append_size(100).value();
  EXPECT_GE(area_->flush().value(), more.next);
  // The same through a call that appends and reserves nothing.
  const Appended last = append_size(100).value();
  AppendRequest request;
  request.flags = AppendFlags::ForceFlush;
  ASSERT_TRUE(area_->reserve_and_append(request).has_value());
  EXPECT_GE(log_->durable_end(), last.next);
}

TEST_F(Clfs, C65_RefusesToFlushToWhatDoesNotExist) {
  EXPECT_EQ(area_->flush_to(log_->next_lsn()).error(), NtStatus::InvalidParameter);
  ASSERT_TRUE(append_size(100).has_value());
  const State before = state();
  EXPECT_EQ(area_->flush_to(log_->next_lsn()).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C66_ManyForcedFlushesShareWrites) {
  begin(256 * kPageSize, kNoPolicy);
  store_->set_latency(1ms);
  constexpr int kThreads = 16;
  constexpr int kCalls = 10;
  const uint64_t writes = store_->write_calls();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kCalls; ++i) {
        const Appended done = append_size(100, AppendFlags::ForceFlush).value();
        EXPECT_LT(done.lsn, log_->durable_end());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(store_->write_calls() - writes, kThreads * kCalls / 2);
}

TEST_F(Clfs, C67_TheDurableEndOnlyRises) {
  begin(256 * kPageSize, {4096, 1ms});
  std::atomic<bool> stop{false};
  std::thread watcher([&] {
    Lsn before;
    while (!stop) {
      const Lsn durable = log_->durable_end();
      const Lsn queued = log_->queued_end();
      const Lsn next = log_->next_lsn();
      EXPECT_GE(durable, before);
      EXPECT_GE(queued, durable);
      EXPECT_GE(next, queued);
      before = durable;
    }
  });
  for (uint64_t i = 0; i < 2000; ++i) {
    const auto flags = i % 3 == 0   ? AppendFlags::ForceFlush
                       : i % 3 == 1 ? AppendFlags::ForceAppend
                                    : AppendFlags::None;
    const Appended done = append_size(i % 700, flags).value();
    if (flags == AppendFlags::ForceFlush) {
      EXPECT_GE(log_->durable_end(), done.next);
    }
    if (i % 100 == 0) {
      ASSERT_TRUE(stream_->advance_base(done.lsn).has_value());
    }
  }
  stop = true;
  watcher.join();
}

TEST_F(Clfs, C68_AnAreaThatGoesLeavesEverythingDurable) {
  const Lsn lsn = append_size(9000).value().lsn;
  area_.reset();
  reopen(store_->image());
  EXPECT_EQ(stream_->last(), lsn);
  EXPECT_EQ(read_data(lsn), text_data(9000, 9000));
}

// Work, a crash after any write, opening again, more work, and again. Volumes' logs: the tests of
// the same number in log_end_model_test.cc.
TEST_F(Clfs, C70_NothingOfALostWriteReappears) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    begin(kTestLogBytes, kNoPolicy);
    Lsn highest;  // of all that ever was
    Lsn acknowledged;
    uint64_t number = 0;
    std::map<Lsn, uint64_t> written;  // number of the record
    for (int life = 0; life < 6; ++life) {
      store_->cut_power_after(random() % 12);
      for (int i = 0; i < 60; ++i) {
        const uint64_t length = 8 + random() % (random() % 4 == 0 ? 9000 : 400);
        if (available() < cost(length)) {
          ASSERT_TRUE(stream_->advance_base(stream_->last()).has_value());
        }
        ByteVector data = text_data(++number, length);
        const Lsn lsn = append(data).value().lsn;
        ASSERT_GT(lsn, highest) << "an LSN is used again";
        highest = lsn;
        written[lsn] = number;
        if (random() % 6 != 0) continue;
        ASSERT_TRUE(area_->flush().has_value());
        if (store_->image_at_cut().empty()) acknowledged = lsn;
      }
      const ByteVector cut = store_->image_at_cut();
      reopen(cut.empty() ? store_->image() : cut);
      ASSERT_GE(std::max(stream_->last(), stream_->base()), acknowledged);
      ASSERT_LE(stream_->last(), highest);
      // What is found was written in one life and not lost in it: a walk without gaps.
      std::vector<Lsn> found;
      auto context = area_->read(Lsn(), ReadMode::Forward);
      Result<> next = context ? Result<>() : Result<>(context.error());
      for (; next; next = (*context)->next()) {
        const RecordView& record = (*context)->record();
        const auto at = written.find(record.lsn);
        ASSERT_NE(at, written.end());
        const ByteVector data = text_data(at->second, record.data.size());
        ASSERT_TRUE(std::equal(data.begin(), data.end(), record.data.begin()));
        found.push_back(record.lsn);
      }
      ASSERT_EQ(next.error(), NtStatus::EndOfFile);
      if (!found.empty()) {
        ASSERT_EQ(found.back(), stream_->last());
      }
      // The lost ones never were.
      const Lsn last = found.empty() ? Lsn() : found.back();
      auto expected_at = written.lower_bound(stream_->base());
      for (const Lsn lsn : found) {
        ASSERT_NE(expected_at, written.end());
        ASSERT_EQ(expected_at->first, lsn);
        ++expected_at;
      }
      written.erase(written.upper_bound(last), written.end());
    }
  }
}

TEST_F(Clfs, C71_AFailedWritePoisonsTheLog) {
  const Lsn durable = append_size(9000, AppendFlags::ForceFlush).value().lsn;
  const Lsn before_all = log_->next_lsn();
  store_->hold_writes();
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      if (append_size(100, AppendFlags::ForceFlush).error() == NtStatus::LogAppendedFlushFailed) {
        ++failed;
      }
    });
  }
  EXPECT_TRUE(store_->wait_for_held_write());
  // All four have appended before the device fails.
  const Lsn all = Lsn::from_raw(before_all.raw() + 4 * cost(100) / 8);
  while (log_->next_lsn() < all) std::this_thread::yield();
  const Lsn end = log_->durable_end();
  store_->fail();
  store_->let_writes_go();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 4);
  EXPECT_TRUE(log_->is_failed());
  const State before = state();
  EXPECT_EQ(append_size(100).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(area_->flush().error(), NtStatus::IoDeviceError);
  std::array<int64_t, 1> sizes = {100};
  EXPECT_EQ(reserve(sizes).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(log_->durable_end(), end);
  EXPECT_EQ(read_data(durable), text_data(9000, 9000));
}

}  // namespace
}  // namespace ntfs::lfs::testing
