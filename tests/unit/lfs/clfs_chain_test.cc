// Links, chains and reading: C49 to C57; restart areas, base and space: C81 to C90.

#include <atomic>
#include <map>

#include "tests/unit/lfs/clfs_log.h"

namespace ntfs::lfs::testing {
namespace {

using Lsns = std::vector<Lsn>;

/// The records behind `start` as the mode finds them, and how the walk ended.
std::pair<Lsns, NtStatus> walk(MarshallingArea& area, Lsn start, ReadMode mode,
                               RecordFilter filter = RecordFilter::Any) {
  Lsns found;
  auto context = area.read(start, mode);
  if (!context) return {found, context.error()};
  while (true) {
    const auto next = (*context)->next(filter);
    if (!next) return {found, next.error()};
    found.push_back((*context)->record().lsn);
  }
}

// ---- Links and chains ---------------------------------------------------------------------------

TEST_F(Clfs, C49_FollowsBothChains) {
  Lsns r;
  for (uint64_t i = 0; i < 5; ++i) {
    const Lsn before = r.empty() ? Lsn() : r.back();
    r.push_back(append(text_data(i, 100), before, before).value().lsn);
  }
  const Lsn c5 = append(text_data(5, 50), r[4], r[3]).value().lsn;
  const Lsn c4 = append(text_data(6, 50), c5, r[2]).value().lsn;
  const Lsn r6 = append(text_data(7, 50), c4, c4).value().lsn;
  EXPECT_EQ(walk(*area_, r6, ReadMode::Previous),
            std::pair(Lsns{c4, c5, r[4], r[3], r[2], r[1], r[0]}, NtStatus::EndOfFile));
  EXPECT_EQ(walk(*area_, r6, ReadMode::UndoNext),
            std::pair(Lsns{c4, r[2], r[1], r[0]}, NtStatus::EndOfFile));
  EXPECT_EQ(walk(*area_, r6, ReadMode::Record), std::pair(Lsns{}, NtStatus::EndOfFile));
}

TEST_F(Clfs, C50_AChainEndsWhereNoLinkIs) {
  const Lsn lsn = append_size(10).value().lsn;
  EXPECT_EQ(walk(*area_, lsn, ReadMode::Previous), std::pair(Lsns{}, NtStatus::EndOfFile));
  EXPECT_EQ(walk(*area_, lsn, ReadMode::UndoNext), std::pair(Lsns{}, NtStatus::EndOfFile));
}

TEST_F(Clfs, C51_TheChainsAreIndependent) {
  const Lsn first = append_size(10).value().lsn;
  const Lsn second = append(text_data(1, 10), first).value().lsn;
  EXPECT_TRUE(area_->read(second, ReadMode::Record).value()->record().undo_next.is_none());
  EXPECT_EQ(walk(*area_, second, ReadMode::Previous), std::pair(Lsns{first}, NtStatus::EndOfFile));
  EXPECT_EQ(walk(*area_, second, ReadMode::UndoNext), std::pair(Lsns{}, NtStatus::EndOfFile));
}

TEST_F(Clfs, C52_RefusesLinksToWhatDoesNotExist) {
  const Lsn last = append_size(10).value().lsn;
  const State before = state();
  for (const Lsn link :
       {log_->next_lsn(), Lsn::from_raw(log_->next_lsn().raw() + 1), Lsn::from_raw(~uint64_t{0})}) {
    EXPECT_EQ(append(text_data(1, 10), link).error(), NtStatus::InvalidParameter);
    EXPECT_EQ(append(text_data(1, 10), {}, link).error(), NtStatus::InvalidParameter);
  }
  EXPECT_EQ(state(), before);
  EXPECT_TRUE(append(text_data(1, 10), last, last).has_value());
}

TEST_F(Clfs, C53_AChainEndsAtTheBase) {
  const Lsn first = append_size(10).value().lsn;
  const Lsn second = append(text_data(1, 10), first, first).value().lsn;
  ASSERT_TRUE(stream_->advance_base(second).has_value());
  const Lsn third = append(text_data(2, 10), second, first).value().lsn;
  EXPECT_EQ(walk(*area_, third, ReadMode::Previous),
            std::pair(Lsns{second}, NtStatus::LogStartOfLog));
  EXPECT_EQ(walk(*area_, third, ReadMode::UndoNext), std::pair(Lsns{}, NtStatus::LogStartOfLog));
}

TEST_F(Clfs, C54_AnotherRecordThanTheLinkMayBeNamedBackwardsOnly) {
  const Lsn first = append_size(10).value().lsn;
  const Lsn second = append_size(20).value().lsn;
  const Lsn third = append(text_data(1, 10), second, second).value().lsn;
  for (const ReadMode mode : {ReadMode::Previous, ReadMode::UndoNext}) {
    const auto context = area_->read(third, mode).value();
    EXPECT_EQ(context->next(RecordFilter::Any, third).error(), NtStatus::InvalidParameter);
    EXPECT_EQ(context->next(RecordFilter::Any, Lsn::from_raw(third.raw() + 1)).error(),
              NtStatus::InvalidParameter);
    EXPECT_EQ(context->record().lsn, third);
    ASSERT_TRUE(context->next(RecordFilter::Any, first).has_value());
    EXPECT_EQ(context->record().lsn, first);
  }
  const auto forward = area_->read(first, ReadMode::Forward).value();
  EXPECT_EQ(forward->next(RecordFilter::Any, first).error(), NtStatus::InvalidParameter);
  const auto record = area_->read(third, ReadMode::Record).value();
  EXPECT_EQ(record->next(RecordFilter::Any, first).error(), NtStatus::InvalidParameter);
}

TEST_F(Clfs, C55_EachOfManyChainsKeepsItsOwnRecords) {
  begin(1024 * kPageSize, kNoPolicy);
  constexpr size_t kThreads = 8;
  constexpr size_t kChains = 100;
  std::array<Lsns, kChains> chains;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 20; ++i) {
        for (size_t c = t; c < kChains; c += kThreads) {
          const Lsn before = chains[c].empty() ? Lsn() : chains[c].back();
          chains[c].push_back(append(text_data(c, 1 + (c * i) % 200), before, before).value().lsn);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(area_->flush().has_value());
  for (const Lsns& chain : chains) {
    const Lsns wanted(chain.rbegin() + 1, chain.rend());
    EXPECT_EQ(walk(*area_, chain.back(), ReadMode::Previous),
              std::pair(wanted, NtStatus::EndOfFile));
    EXPECT_EQ(walk(*area_, chain.back(), ReadMode::UndoNext),
              std::pair(wanted, NtStatus::EndOfFile));
  }
}

TEST_F(Clfs, C56_WalksAcrossPagesAndTheWrap) {
  Lsns lsns;
  while (log_->geometry().sequence_of(log_->next_lsn()) < 5) {
    const Lsn before = lsns.empty() ? Lsn() : lsns.back();
    const uint64_t length = lsns.size() % 7 == 0 ? 9000 : 700;
    lsns.push_back(append(text_data(lsns.size(), length), before, before).value().lsn);
    if (lsns.size() > 20) {
      ASSERT_TRUE(stream_->advance_base(lsns[lsns.size() - 20]).has_value());
    }
    if (lsns.size() % 5 == 0) {
      ASSERT_TRUE(area_->flush().has_value());
    }
    if (lsns.size() % 10 != 0 || lsns.size() <= 20) continue;
    const auto oldest = lsns.end() - 20;
    const Lsns wanted(lsns.rbegin() + 1, lsns.rbegin() + 20);
    ASSERT_EQ(walk(*area_, lsns.back(), ReadMode::Previous),
              std::pair(wanted, NtStatus::LogStartOfLog));
    ASSERT_EQ(walk(*area_, *oldest, ReadMode::Forward),
              std::pair(Lsns(oldest + 1, lsns.end()), NtStatus::EndOfFile));
  }
}

TEST_F(Clfs, C57_ReadsOneKindOfRecordsOrAll) {
  const ByteVector state = text_data(9, 64);
  const ByteView entry = state;
  const Lsn a = append_size(10).value().lsn;
  const Lsn restart = area_->write_restart_area({&entry, 1}, Lsn()).value().lsn;
  const Lsn b = append(text_data(1, 10), restart).value().lsn;
  EXPECT_EQ(walk(*area_, a, ReadMode::Forward, RecordFilter::Data),
            std::pair(Lsns{b}, NtStatus::EndOfFile));
  EXPECT_EQ(walk(*area_, a, ReadMode::Forward, RecordFilter::Restart),
            std::pair(Lsns{restart}, NtStatus::EndOfFile));
  EXPECT_EQ(walk(*area_, a, ReadMode::Forward), std::pair(Lsns{restart, b}, NtStatus::EndOfFile));
  // Nor are the records of other streams seen.
  MarshallingArea other(log_->create_stream(u"OTHER").value(), 1000, 1);
  AppendRequest request;
  request.entries = {&entry, 1};
  const Lsn foreign = other.reserve_and_append(request).value().lsn;
  const Lsn c = append_size(10).value().lsn;
  EXPECT_EQ(walk(*area_, a, ReadMode::Forward),
            std::pair(Lsns{restart, b, c}, NtStatus::EndOfFile));
  EXPECT_EQ(area_->read(foreign, ReadMode::Record).error(), NtStatus::LogRecordNonexistent);
  EXPECT_EQ(walk(other, Lsn(), ReadMode::Forward), std::pair(Lsns{}, NtStatus::EndOfFile));
}

// ---- Restart areas, base, space -----------------------------------------------------------------

class ClfsRestart {
 public:
  explicit ClfsRestart(uint64_t number, uint64_t length_bytes = 64)
      : data_(text_data(number, length_bytes)), entry_(data_) {}
  std::span<const ByteView> entries() const { return {&entry_, 1}; }
  const ByteVector& data() const { return data_; }

 private:
  ByteVector data_;
  ByteView entry_;
};

// At every write of it: the newest restart record and the base belong together, and everything
// before the record is there.
TEST_F(Clfs, C81_ARestartAreaMovesTheBaseInOneStep) {
  for (uint64_t writes = 0; writes < 6; ++writes) {
    begin(kTestLogBytes, kNoPolicy);
    const ClfsRestart first(1), second(2);
    const Lsn a = append_size(100).value().lsn;
    const Lsn r1 = area_->write_restart_area(first.entries(), Lsn()).value().lsn;
    const Lsn b = append_size(9000).value().lsn;
    store_->cut_power_after(writes);
    const Lsn r2 = area_->write_restart_area(second.entries(), b).value().lsn;
    EXPECT_GT(log_->durable_end(), r2);
    const ByteVector cut = store_->image_at_cut();
    reopen(cut.empty() ? store_->image() : cut);
    const auto newest = area_->read_restart().value();
    const ByteVector found(newest->record().data.begin(), newest->record().data.end());
    if (newest->record().lsn == r2) {
      EXPECT_EQ(found, second.data());
      EXPECT_EQ(stream_->base(), b);
      EXPECT_EQ(read_data(b), text_data(9000, 9000));
      EXPECT_EQ(area_->read(a, ReadMode::Record).error(), NtStatus::LogStartOfLog);
    } else {
      EXPECT_EQ(newest->record().lsn, r1);
      EXPECT_EQ(found, first.data());
      EXPECT_EQ(read_data(a), text_data(100, 100));
    }
    EXPECT_TRUE(!cut.empty() || newest->record().lsn == r2);
  }
}

TEST_F(Clfs, C82_RestartRecordsAreChained) {
  const ClfsRestart first(1), second(2);
  const Lsn r1 = area_->write_restart_area(first.entries(), Lsn()).value().lsn;
  ASSERT_TRUE(append_size(10).has_value());
  const Lsn r2 = area_->write_restart_area(second.entries(), Lsn()).value().lsn;
  {
    const auto context = area_->read_restart().value();
    EXPECT_EQ(context->record().lsn, r2);
    ASSERT_TRUE(context->next().has_value());
    EXPECT_EQ(context->record().lsn, r1);
    EXPECT_EQ(context->next().error(), NtStatus::LogStartOfLog);
  }
  const State before = state();
  const ClfsRestart too_long(3, LogFile::kMaximumPrivateRestartRecord + 1);
  EXPECT_EQ(area_->write_restart_area(too_long.entries(), Lsn()).error(),
            NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
  // One that would leave no room for a header behind it goes to the next page.
  const uint64_t in_page = LogGeometry::in_page(log_->geometry().offset_of(log_->next_lsn()));
  const uint64_t room = kPageSize - in_page;
  ASSERT_TRUE(append_size(room - 2 * kRecordHeaderSize - 64 - 40).has_value());
  const Lsn moved = area_->write_restart_area(first.entries(), Lsn()).value().lsn;
  EXPECT_EQ(LogGeometry::in_page(log_->geometry().offset_of(moved)), kPageDataOffset);
  const ClfsRestart longest(4, LogFile::kMaximumPrivateRestartRecord);
  const Lsn last = area_->write_restart_area(longest.entries(), Lsn()).value().lsn;
  reopen(store_->image());
  EXPECT_EQ(walk(*area_, last, ReadMode::Previous),
            std::pair(Lsns{moved, r2, r1}, NtStatus::LogStartOfLog));
}

TEST_F(Clfs, C83_AFreshLogHasNoRestartArea) {
  EXPECT_EQ(area_->read_restart().error(), NtStatus::LogNoRestart);
}

TEST_F(Clfs, C84_TheBaseMovesForwardToTheLastRecordAtMost) {
  const Lsn first = append_size(10).value().lsn;
  const Lsn second = append_size(10).value().lsn;
  const ClfsRestart restart(1);
  const Lsn beyond = log_->next_lsn();
  EXPECT_EQ(stream_->advance_base(beyond).error(), NtStatus::LogTailInvalid);
  EXPECT_EQ(area_->write_restart_area(restart.entries(), beyond).error(), NtStatus::LogTailInvalid);
  EXPECT_TRUE(stream_->advance_base(second).has_value());
  EXPECT_EQ(stream_->base(), second);
  const State before = state();
  EXPECT_EQ(stream_->advance_base(first).error(), NtStatus::LogTailInvalid);
  EXPECT_EQ(area_->write_restart_area(restart.entries(), first).error(), NtStatus::LogTailInvalid);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C85_NothingBelowTheBaseIsRead) {
  const Lsn first = append_size(10).value().lsn;
  const Lsn second = append_size(20).value().lsn;
  ASSERT_TRUE(stream_->advance_base(second).has_value());
  EXPECT_EQ(area_->read(first, ReadMode::Record).error(), NtStatus::LogStartOfLog);
  EXPECT_EQ(read_data(second), text_data(20, 20));
  EXPECT_EQ(area_->read(Lsn(), ReadMode::Forward).value()->record().lsn, second);
  EXPECT_EQ(area_->read(log_->next_lsn(), ReadMode::Record).error(),
            NtStatus::LogRecordNonexistent);
  EXPECT_EQ(area_->read(Lsn::from_raw(second.raw() + 1), ReadMode::Record).error(),
            NtStatus::LogRecordNonexistent);
}

TEST_F(Clfs, C86_ARestartRecordMayUseAReservation) {
  reserve_three();
  const ClfsRestart restart(1, 200), too_long(2, 305);
  EXPECT_EQ(
      area_->write_restart_area(too_long.entries(), Lsn(), AppendFlags::UseReservation).error(),
      NtStatus::LogReservationInvalid);
  EXPECT_EQ(records(), 3u);
  ASSERT_TRUE(
      area_->write_restart_area(restart.entries(), Lsn(), AppendFlags::UseReservation).has_value());
  EXPECT_EQ(records(), 2u);
  EXPECT_EQ(bytes(), 504u);
  EXPECT_EQ(area_->write_restart_area(restart.entries(), Lsn(), AppendFlags::ForceAppend).error(),
            NtStatus::InvalidParameter);
}

TEST_F(Clfs, C87_ARestartAreaFitsIntoAFullLogAndFreesSpace) {
  const ClfsRestart longest(1, LogFile::kMaximumPrivateRestartRecord);
  for (int lap = 0; lap < 20; ++lap) {
    Lsn last;
    while (available() >= cost(600)) last = append_size(600).value().lsn;
    ReservationSet rest = area_->make_set();
    reserve_all_of(rest);
    EXPECT_EQ(append_size(8).error(), NtStatus::LogFileFull);
    ASSERT_TRUE(area_->write_restart_area(longest.entries(), last).has_value());
    EXPECT_GT(available(), stream_->info().total_bytes * 8 / 10);
  }
}

// A restart area that frees nothing uses up what is held for it, once; it is there again when a
// base has moved.
TEST_F(Clfs, C87_ThePrivateSpaceComesBackWithTheBase) {
  const ClfsRestart longest(1, LogFile::kMaximumPrivateRestartRecord);
  const Lsn first = append_size(10).value().lsn;
  ReservationSet rest = area_->make_set();
  reserve_all_of(rest);
  ASSERT_TRUE(area_->write_restart_area(longest.entries(), first).has_value());
  EXPECT_EQ(area_->write_restart_area(longest.entries(), first).error(), NtStatus::LogFileFull);
  rest.release_all();
  ASSERT_TRUE(area_->write_restart_area(longest.entries(), stream_->last()).has_value());
  reserve_all_of(rest);
  EXPECT_TRUE(area_->write_restart_area(longest.entries(), first).error() ==
              NtStatus::LogTailInvalid);
  EXPECT_TRUE(area_->write_restart_area(longest.entries(), stream_->last()).has_value());
}

// Between the record and the page: the log from the old base on is whole.
TEST_F(Clfs, C88_NothingThatTheOldRestartAreaNeedsIsOverwritten) {
  for (uint64_t writes = 0; writes < 5; ++writes) {
    begin(kTestLogBytes, kNoPolicy);
    const ClfsRestart restart(1);
    Lsns lsns;
    for (int lap = 0; lap < 3; ++lap) {
      while (available() >= cost(2000)) lsns.push_back(append_size(2000).value().lsn);
      if (lap == 2) store_->cut_power_after(writes);
      const Lsn base = lsns[lsns.size() - 5];
      ASSERT_TRUE(area_->write_restart_area(restart.entries(), base).has_value());
      if (lap < 2) continue;
      while (available() >= cost(2000)) lsns.push_back(append_size(2000).value().lsn);
      ASSERT_TRUE(area_->flush().has_value());
    }
    const ByteVector cut = store_->image_at_cut();
    ASSERT_FALSE(cut.empty()) << writes;
    reopen(cut);
    const auto [found, end] = walk(*area_, Lsn(), ReadMode::Forward, RecordFilter::Data);
    EXPECT_EQ(end, NtStatus::EndOfFile);
    ASSERT_FALSE(found.empty());
    const Lsn base = area_->read(Lsn(), ReadMode::Forward).value()->record().lsn;
    EXPECT_EQ(base, stream_->base());
    const auto at = std::find(lsns.begin(), lsns.end(), base);
    ASSERT_NE(at, lsns.end());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], at[static_cast<long>(i) + 1]);
  }
}

TEST_F(Clfs, C89_EveryTransactionCanBeRolledBackInAFullLog) {
  struct Change {
    Lsn lsn;
    uint64_t undo_bytes;
  };
  struct Running {
    ReservationSet set;
    std::vector<Change> changes;
    Lsn last;
  };
  std::mt19937_64 random(89);
  std::vector<Running> running;
  for (int i = 0; i < 10; ++i) running.push_back({area_->make_set(), {}, Lsn()});
  const ByteVector data(4000);
  for (bool full = false; !full;) {
    Running& transaction = running[random() % running.size()];
    const uint64_t undo_bytes = 1 + random() % 2000;
    const ByteView entry = ByteView(data).first(1 + random() % 2000);
    std::array<int64_t, 1> sizes = {static_cast<int64_t>(undo_bytes)};
    AppendRequest request;
    request.entries = {&entry, 1};
    request.previous = request.undo_next = transaction.last;
    request.reserve = sizes;
    const auto done = area_->reserve_and_append(request, transaction.set);
    full = !done.has_value();
    if (!full) transaction.changes.push_back({transaction.last = done->lsn, undo_bytes});
  }
  ReservationSet rest = area_->make_set();
  reserve_all_of(rest);
  for (Running& transaction : running) {
    for (; !transaction.changes.empty(); transaction.changes.pop_back()) {
      const ByteView entry = ByteView(data).first(transaction.changes.back().undo_bytes);
      AppendRequest request;
      request.entries = {&entry, 1};
      request.previous = transaction.last;
      request.flags = AppendFlags::UseReservation;
      const auto done = area_->reserve_and_append(request, transaction.set);
      ASSERT_TRUE(done.has_value());
      transaction.last = done->lsn;
    }
    EXPECT_EQ(transaction.set.records(), 0u);
  }
}

TEST_F(Clfs, C90_OneThreadAtATimeMakesRoomInAFullLog) {
  std::atomic<int> running{0}, calls{0};
  std::atomic<bool> nested{false};
  log_->set_full_handler([&] {
    EXPECT_EQ(++running, 1);
    if (++calls == 1) {
      // No recursion: in the handler a full log is one.
      ReservationSet set = area_->make_set();
      std::array<int64_t, 1> sizes = {static_cast<int64_t>(stream_->info().total_bytes)};
      nested = set.add(sizes).error() == NtStatus::LogFullHandlerInProgress;
    }
    ASSERT_TRUE(stream_->advance_base(stream_->last()).has_value());
    --running;
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(append_size(5000).has_value());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(nested);
  EXPECT_GT(calls, 16);
  // A handler that frees nothing: the log stays full.
  log_->set_full_handler([] {});
  while (available() >= cost(1000)) ASSERT_TRUE(append_size(1000).has_value());
  EXPECT_TRUE(append_size(1000).error() == NtStatus::LogFileFull || available() < cost(1000));
}

// ---- Streams and opening ------------------------------------------------------------------------

TEST_F(Clfs, StreamsHaveTheirOwnBaseRestartAndReservations) {
  const LogStream second = log_->create_stream(u"SECOND").value();
  EXPECT_EQ(log_->create_stream(u"SECOND").error(), NtStatus::ObjectNameCollision);
  EXPECT_EQ(log_->create_stream(u"").error(), NtStatus::ObjectNameInvalid);
  EXPECT_EQ(log_->create_stream(std::u16string(65, u'x')).error(), NtStatus::ObjectNameInvalid);
  EXPECT_EQ(log_->open_stream(u"NONE").error(), NtStatus::ObjectNameNotFound);
  {
    MarshallingArea area(second, 1000, 2);
    const ClfsRestart restart(1);
    const ByteView entry = restart.data();
    AppendRequest request;
    request.entries = {&entry, 1};
    reserve_three();
    EXPECT_EQ(second.info().reserved_records, 0u);
    const Lsn ours = append_size(10).value().lsn;
    const Lsn theirs = area.reserve_and_append(request).value().lsn;
    ASSERT_TRUE(area.write_restart_area(restart.entries(), theirs).has_value());
    EXPECT_EQ(area_->read_restart().error(), NtStatus::LogNoRestart);
    EXPECT_EQ(second.base(), theirs);
    EXPECT_LE(stream_->base(), ours);
    EXPECT_EQ(stream_->last(), ours);
  }
  const Lsn last = second.last();
  const Lsn base = second.base();
  ASSERT_TRUE(area_->flush().has_value());
  reopen(store_->image());
  const LogStream again = log_->open_stream(u"SECOND").value();
  EXPECT_EQ(again.last(), last);
  EXPECT_EQ(again.base(), base);
  EXPECT_EQ(again.info().newest_restart, last);
  // As many as a restart page has room for.
  for (size_t i = 2; i < RestartPage::kMaximumClients; ++i) {
    const auto stream = log_->create_stream(std::u16string(1 + i, u'x'));
    if (!stream) {
      EXPECT_EQ(stream.error(), NtStatus::LogFileFull);  // each needs room for its restart record
      return;
    }
  }
  EXPECT_EQ(log_->create_stream(u"ONE MORE").error(), NtStatus::InsufficientResources);
}

TEST_F(Clfs, AClosedLogIsCleanAndGoesOn) {
  const Lsn lsn = append_size(5000).value().lsn;
  ASSERT_TRUE(log_->close_private().has_value());
  EXPECT_EQ(append_size(1).error(), NtStatus::FileClosed);
  EXPECT_EQ(RestartPages::read(*store_, LogKind::Private).value().state, LogState::Clean);
  reopen(store_->image());
  EXPECT_EQ(RestartPages::read(*store_, LogKind::Private).value().state, LogState::Unclean);
  EXPECT_EQ(read_data(lsn), text_data(5000, 5000));
  const Lsn next = append_size(10).value().lsn;
  EXPECT_EQ(walk(*area_, lsn, ReadMode::Forward), std::pair(Lsns{next}, NtStatus::EndOfFile));
}

}  // namespace
}  // namespace ntfs::lfs::testing
