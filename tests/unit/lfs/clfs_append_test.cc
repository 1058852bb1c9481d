// Appending: single records C1 to C6, aligned entries C31 to C39, reserving and appending in one
// call C40 to C48, gather, size and placement C72 to C79.

#include "tests/unit/lfs/clfs_log.h"

namespace ntfs::lfs::testing {
namespace {

using Sizes = std::vector<int64_t>;

/// Entries of these lengths, each with bytes of its own.
struct Entries {
  explicit Entries(std::initializer_list<uint64_t> lengths) {
    for (const uint64_t length : lengths) data.push_back(text_data(data.size() + 1, length));
    for (const ByteVector& bytes : data) views.emplace_back(bytes);
  }
  Entries(const Entries&) = delete;  // the views are of this object's data
  Entries& operator=(const Entries&) = delete;
  /// What the record has to hold.
  ByteVector aligned(uint64_t alignment) const {
    ByteVector all;
    for (const ByteVector& bytes : data) {
      all.resize(align_up(all.size(), alignment));
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
  }
  AppendRequest request(uint32_t alignment) const {
    AppendRequest request;
    request.entries = views;
    request.entry_alignment = alignment;
    return request;
  }

  std::vector<ByteVector> data;
  std::vector<ByteView> views;
};

// ---- One record ---------------------------------------------------------------------------------

TEST_F(Clfs, C01_WritesASingleBuffer) {
  const uint64_t writes = store_->write_calls();
  const Appended done = append_size(100).value();
  EXPECT_EQ(done.lsn.raw(), 0x10808u);
  EXPECT_EQ(done.next.raw(), 0x1081Bu);
  EXPECT_EQ(log_->next_lsn().raw(), 0x1081Bu);
  EXPECT_EQ(records(), 0u);
  EXPECT_EQ(bytes(), 0u);
  EXPECT_EQ(store_->write_calls(), writes);
}

TEST_F(Clfs, C02_ReadsTheRecordAsItWasWritten) {
  const ByteVector data = text_data(7, 100);
  const Lsn lsn = append(data).value().lsn;
  for (int durable = 0; durable < 2; ++durable) {
    const auto context = area_->read(lsn, ReadMode::Record).value();
    const RecordView& record = context->record();
    EXPECT_EQ(ByteVector(record.data.begin(), record.data.end()), data);
    EXPECT_TRUE(record.is_client());
    EXPECT_TRUE(record.previous.is_none());
    EXPECT_TRUE(record.undo_next.is_none());
    ASSERT_TRUE(area_->flush().has_value());
  }
  // No link is 0 on the device.
  const ByteVector image = store_->image();
  const auto& header = struct_at<RecordHeader>(ByteView(image), kTailSlotOffset + kPageDataOffset);
  EXPECT_EQ(header.this_lsn.get(), lsn.raw());
  EXPECT_EQ(header.client_previous_lsn.get(), 0u);
  EXPECT_EQ(header.client_undo_next_lsn.get(), 0u);
  EXPECT_EQ(header.client_data_length.get(), 100u);
}

TEST_F(Clfs, C03_ACrashAfterALazyRecordLeavesAnEmptyLog) {
  ASSERT_TRUE(append_size(100).has_value());
  reopen(store_->image());
  EXPECT_TRUE(stream_->last().is_none());
  EXPECT_EQ(area_->read(Lsn(), ReadMode::Forward).error(), NtStatus::EndOfFile);
  EXPECT_TRUE(append_size(100).has_value());
}

TEST_F(Clfs, C04_ARecordMayBeEmpty) {
  const Lsn before = log_->next_lsn();
  const Appended done = append({}).value();
  EXPECT_EQ(done.next.raw() - before.raw(), kRecordHeaderSize / 8);
  EXPECT_TRUE(read_data(done.lsn).empty());
  const ByteVector none;
  EXPECT_TRUE(append(none).has_value());
}

TEST_F(Clfs, C05_RefusesWhatIsNoRecord) {
  const State before = state();
  AppendRequest request;
  request.entries = {static_cast<const ByteView*>(nullptr), 1};
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::InvalidParameter);
  const ByteView nowhere(static_cast<const std::byte*>(nullptr), 8);
  EXPECT_EQ(append(nowhere).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(area_->reserve_and_append({}).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C06_ARecordHasAMaximumSize) {
  MarshallingArea small(*stream_, 3000, 1);
  AppendRequest request;
  const ByteVector data(3001);
  ByteView entry = data;
  request.entries = {&entry, 1};
  const State before = state();
  EXPECT_EQ(small.reserve_and_append(request).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
  entry = entry.first(3000);
  EXPECT_TRUE(small.reserve_and_append(request).has_value());
  // The log has one of its own.
  const uint64_t most = log_->maximum_record_bytes();
  EXPECT_EQ(append_size(most + 1).error(), NtStatus::InvalidParameter);
  const Lsn lsn = append_size(most).value().lsn;
  EXPECT_EQ(read_data(lsn), text_data(most, most));
}

// ---- Aligned entries ----------------------------------------------------------------------------

TEST_F(Clfs, C31_EntriesBeginAtMultiplesOfTheAlignment) {
  const Entries entries{300, 400, 500};
  const Appended done = area_->reserve_and_append(entries.request(512)).value();
  EXPECT_EQ((done.next.raw() - done.lsn.raw()) * 8, 1576u);
  const ByteVector data = read_data(done.lsn);
  ASSERT_EQ(data.size(), 1524u);
  EXPECT_EQ(data, entries.aligned(512));
  for (size_t i = 300; i < 512; ++i) EXPECT_EQ(data[i], std::byte{0});
  for (size_t i = 912; i < 1024; ++i) EXPECT_EQ(data[i], std::byte{0});
}

TEST_F(Clfs, C32_TheLastEntryIsNotPadded) {
  const Entries a{500, 500, 500}, b{512, 512, 512}, c{300, 512, 513};
  const std::vector<std::pair<const Entries*, size_t>> rows = {{&a, 1524}, {&b, 1536}, {&c, 1537}};
  for (const auto& [entries, length] : rows) {
    const Lsn lsn = area_->reserve_and_append(entries->request(512)).value().lsn;
    const ByteVector data = read_data(lsn);
    EXPECT_EQ(data.size(), length);
    EXPECT_EQ(data, entries->aligned(512));
  }
}

TEST_F(Clfs, C33_AnEntryMayBeLongerThanTheAlignment) {
  const Entries entries{600, 1, 1};
  const Lsn lsn = area_->reserve_and_append(entries.request(512)).value().lsn;
  const ByteVector data = read_data(lsn);
  ASSERT_EQ(data.size(), 1537u);
  EXPECT_EQ(data[1024], entries.data[1][0]);
  EXPECT_EQ(data[1536], entries.data[2][0]);
}

TEST_F(Clfs, C34_AlignmentOneIsThePlainCall) {
  const Entries entries{300, 400, 500};
  const Lsn aligned = area_->reserve_and_append(entries.request(1)).value().lsn;
  AppendRequest plain;
  plain.entries = entries.views;
  const Lsn unaligned = area_->reserve_and_append(plain).value().lsn;
  EXPECT_EQ(read_data(aligned), read_data(unaligned));
  EXPECT_EQ(read_data(aligned), entries.aligned(1));
}

TEST_F(Clfs, C35_AlignmentIsAPowerOfTwo) {
  const Entries entries{300, 400};
  const State before = state();
  for (const uint32_t alignment : {0u, 3u, 511u, 513u, 0xFFFFFFFFu}) {
    EXPECT_EQ(area_->reserve_and_append(entries.request(alignment)).error(),
              NtStatus::InvalidParameter);
  }
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C36_EntriesAreAlignedInMemoryWhenRead) {
  ASSERT_TRUE(append_size(13).has_value());
  const Entries entries{300, 400, 500};
  const Lsn lsn = area_->reserve_and_append(entries.request(512)).value().lsn;
  const auto context = area_->read(lsn, ReadMode::Record).value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(context->record().data.data()) % 512, 0u);
}

TEST_F(Clfs, C37_AlignmentHoldsAcrossPagesAndTheWrap) {
  const Entries entries{3000, 400, 700, 512};
  bool wrapped = false;
  for (int i = 0; i < 200 && !wrapped; ++i) {
    const Appended done = area_->reserve_and_append(entries.request(512)).value();
    EXPECT_EQ(read_data(done.lsn), entries.aligned(512));
    wrapped =
        log_->geometry().sequence_of(done.next) > 2 && log_->geometry().sequence_of(done.lsn) == 2;
    ASSERT_TRUE(area_->flush().has_value());
    EXPECT_EQ(read_data(done.lsn), entries.aligned(512));
    ASSERT_TRUE(stream_->advance_base(done.lsn).has_value());
  }
  EXPECT_TRUE(wrapped);
}

TEST_F(Clfs, C38_AReservationMustHoldTheGapsToo) {
  const Entries entries{300, 400, 500};
  AppendRequest request = entries.request(512);
  request.flags = AppendFlags::UseReservation;
  Sizes sizes = {1516};
  ASSERT_TRUE(reserve(sizes).has_value());
  EXPECT_EQ(sizes[0], 1568);
  const State before = state();
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::LogReservationInvalid);
  EXPECT_EQ(state(), before);
  sizes = {1524};
  ASSERT_TRUE(reserve(sizes).has_value());
  EXPECT_EQ(sizes[0], 1576);
  EXPECT_TRUE(area_->reserve_and_append(request).has_value());
  EXPECT_EQ(records(), 1u);
}

TEST_F(Clfs, C39_AnAlignmentMayNotMakeARecordTooLong) {
  const Entries entries{1, 1, 1};
  const State before = state();
  for (const uint32_t alignment : {1u << 31, 1u << 20, 1u << 16}) {
    EXPECT_EQ(area_->reserve_and_append(entries.request(alignment)).error(),
              NtStatus::InvalidParameter);
  }
  EXPECT_EQ(state(), before);
}

// ---- Reserving and appending in one call --------------------------------------------------------

TEST_F(Clfs, C40_ReservesAndAppendsInOneCall) {
  const uint64_t before = available();
  Sizes sizes = {100};
  const Appended done = append_and_reserve(100, sizes).value();
  EXPECT_EQ(done.lsn.raw(), 0x10808u);
  EXPECT_EQ(sizes[0], 152);
  EXPECT_EQ(records(), 1u);
  EXPECT_EQ(bytes(), 152u);
  EXPECT_EQ(available(), before - 152 - 152);
  EXPECT_EQ(stream_->info().used_bytes, 152u);
}

TEST_F(Clfs, C41_NoRecordWithoutItsReservation) {
  Sizes all = {static_cast<int64_t>(available() - 152 - 8 - kRecordHeaderSize)};
  ASSERT_TRUE(reserve(all).has_value());
  const State before = state();
  Sizes sizes = {100};
  EXPECT_EQ(append_and_reserve(100, sizes).error(), NtStatus::LogFileFull);
  EXPECT_EQ(sizes[0], 100);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(append_size(100).value().lsn, before.next);
}

TEST_F(Clfs, C42_NoReservationWithoutItsRecord) {
  Sizes all = {static_cast<int64_t>(available() - 152 - kRecordHeaderSize)};
  ASSERT_TRUE(reserve(all).has_value());
  const State before = state();
  Sizes sizes = {100};
  EXPECT_EQ(append_and_reserve(101 - 1, sizes).error(), NtStatus::LogFileFull);
  EXPECT_EQ(sizes[0], 100);
  EXPECT_EQ(state(), before);
  EXPECT_TRUE(reserve(sizes).has_value());
}

// Memory that runs out ends the process; what can fail in the books is their bound.
TEST_F(Clfs, C43_NoRecordWhenTheReservationCannotBeBooked) {
  const State before = state();
  Sizes sizes(ReservationSet::kMaximumRecords + 1, 1);
  EXPECT_EQ(append_and_reserve(100, sizes).error(), NtStatus::InsufficientResources);
  EXPECT_EQ(sizes[0], 1);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(append_size(100).value().lsn, before.next);
}

// Everything that can fail comes before the first byte moves: a link, a failed log.
TEST_F(Clfs, C44_NoReservationWhenTheRecordCannotBeAppended) {
  const State before = state();
  Sizes sizes = {100};
  const ByteVector data = text_data(1, 100);
  const ByteView entry = data;
  AppendRequest request;
  request.entries = {&entry, 1};
  request.reserve = sizes;
  request.previous = Lsn::from_raw(before.next.raw() + 100);
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
  const Lsn last = append_size(10).value().lsn;
  store_->fail();
  EXPECT_EQ(area_->flush_to(last).error(), NtStatus::IoDeviceError);
  const State failed = state();
  request.previous = Lsn();
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(sizes[0], 100);
  EXPECT_EQ(state(), failed);
}

TEST_F(Clfs, C45_AFailedFlushLeavesBothHalves) {
  store_->fail();
  const Lsn next = log_->next_lsn();
  Sizes sizes = {100};
  EXPECT_EQ(append_and_reserve(100, sizes, AppendFlags::ForceFlush).error(),
            NtStatus::LogAppendedFlushFailed);
  EXPECT_EQ(sizes[0], 152);
  EXPECT_EQ(records(), 1u);
  EXPECT_EQ(stream_->last(), next);
  EXPECT_EQ(read_data(next), text_data(100, 100));
  EXPECT_TRUE(log_->is_failed());
  EXPECT_EQ(append_size(1).error(), NtStatus::IoDeviceError);
}

TEST_F(Clfs, C46_ACrashBeforeTheFlushTakesBothHalves) {
  Sizes sizes = {100};
  ASSERT_TRUE(append_and_reserve(100, sizes).has_value());
  reopen(store_->image());
  EXPECT_EQ(records(), 0u);
  EXPECT_EQ(bytes(), 0u);
  EXPECT_TRUE(stream_->last().is_none());
}

TEST_F(Clfs, C48_OneCallAppendsReservesAndFlushes) {
  Sizes sizes = {100, 200};
  const Appended done = append_and_reserve(100, sizes, AppendFlags::ForceFlush).value();
  EXPECT_EQ(records(), 2u);
  EXPECT_EQ(sizes, (Sizes{152, 248}));
  EXPECT_GT(log_->durable_end(), done.lsn);
  EXPECT_GE(log_->durable_end(), done.next);
  reopen(store_->image());
  EXPECT_EQ(stream_->last(), done.lsn);
  EXPECT_EQ(read_data(done.lsn), text_data(100, 100));
}

// ---- Gather, size, placement --------------------------------------------------------------------

TEST_F(Clfs, C72_GathersAnyNumberOfEntries) {
  for (const size_t count : {1u, 2u, 7u, 1000u}) {
    std::vector<ByteVector> data;
    std::vector<ByteView> entries;
    ByteVector all;
    for (size_t i = 0; i < count; ++i) data.push_back(text_data(i, i % 5 == 0 ? 0 : i % 23));
    for (const ByteVector& bytes : data) {
      entries.emplace_back(bytes);
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
    AppendRequest request;
    request.entries = entries;
    const Lsn lsn = area_->reserve_and_append(request).value().lsn;
    EXPECT_EQ(read_data(lsn), all) << count;
  }
}

TEST_F(Clfs, C73_EntriesMayNotAddUpBeyondALength) {
  const ByteVector data(64 * 1024);
  // Never read: the sum is checked first.
  const std::vector<ByteView> entries(70'000, ByteView(data));
  AppendRequest request;
  request.entries = entries;
  const State before = state();
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C74_ALongRecordFillsPagesAndTheNextBeginsBehind) {
  const Appended done = append_size(8000).value();
  EXPECT_EQ(done.lsn.raw(), 0x10808u);
  EXPECT_EQ(done.next.raw(), 0x10C08u);
  const auto context = area_->read(done.lsn, ReadMode::Record).value();
  EXPECT_EQ(context->record().flags & kRecordMultiPage, kRecordMultiPage);
  ASSERT_TRUE(area_->flush().has_value());
  ByteVector image = store_->image();
  const MutableBytes second = MutableBytes(image).subspan(0x5000, kPageSize);
  ASSERT_TRUE(try_unprotect(second));
  EXPECT_EQ(struct_at<RecordPageHeader>(second).next_record_offset.get(), 0xFF0u);
  EXPECT_EQ(append_size(1).value().lsn.raw(), 0x10C08u);
  EXPECT_EQ(read_data(done.lsn), text_data(8000, 8000));
}

TEST_F(Clfs, C75_AHeaderMayTakeTheLastBytesOfAPage) {
  ASSERT_TRUE(append_size(kPageDataSize - 2 * kRecordHeaderSize).has_value());
  const Appended done = append_size(100).value();
  EXPECT_EQ(log_->geometry().offset_of(done.lsn), 0x5000 - kRecordHeaderSize);
  EXPECT_EQ(log_->geometry().offset_of(done.next), 0x5040u + 104);
  EXPECT_EQ(read_data(done.lsn), text_data(100, 100));
  const Lsn empty_behind = append_size(kPageDataSize - 104 - 2 * kRecordHeaderSize).value().next;
  EXPECT_EQ(log_->geometry().offset_of(empty_behind), 0x6000 - kRecordHeaderSize);
  const Appended empty = append({}).value();
  EXPECT_EQ(log_->geometry().offset_of(empty.next), 0x6040u);
  const Lsn last = append_size(8).value().lsn;
  auto context = area_->read(empty.lsn, ReadMode::Forward).value();
  ASSERT_TRUE(context->next().has_value());
  EXPECT_EQ(context->record().lsn, last);
}

TEST_F(Clfs, C76_LessThanAHeaderAtThePageEndIsLeft) {
  ASSERT_TRUE(append_size(kPageDataSize - kRecordHeaderSize - 40).has_value());
  const Lsn lsn = append_size(100).value().lsn;
  EXPECT_EQ(log_->geometry().offset_of(lsn), 0x5040u);
  EXPECT_EQ(read_data(lsn), text_data(100, 100));
}

TEST_F(Clfs, C77_ARecordMayGoOnAtTheStartOfTheFile) {
  const LogGeometry& geometry = log_->geometry();
  Appended done;
  do {
    done = append_size(3000).value();
    ASSERT_TRUE(area_->flush().has_value());
    ASSERT_TRUE(stream_->advance_base(done.lsn).has_value());
  } while (geometry.sequence_of(done.next) == 2);
  // The one across the end has the old sequence, what is behind it the new one.
  EXPECT_EQ(geometry.sequence_of(done.lsn), 2u);
  EXPECT_EQ(geometry.sequence_of(done.next), 3u);
  EXPECT_GT(geometry.offset_of(done.lsn), geometry.offset_of(done.next));
  EXPECT_EQ(read_data(done.lsn), text_data(3000, 3000));
  const Lsn behind = append_size(100).value().lsn;
  EXPECT_EQ(behind, done.next);
  ASSERT_TRUE(area_->flush().has_value());
  reopen(store_->image());
  EXPECT_EQ(read_data(done.lsn), text_data(3000, 3000));
  EXPECT_EQ(read_data(behind), text_data(100, 100));
}

TEST_F(Clfs, C78_OnlyAWholePageBelowTheBaseIsFreeAgain) {
  std::vector<Lsn> lsns;
  while (available() >= cost(1000)) lsns.push_back(append_size(1000).value().lsn);
  if (available() >= cost(8)) {
    ASSERT_TRUE(append_size(available() - kRecordHeaderSize).has_value());
  }
  EXPECT_LT(available(), cost(8));
  EXPECT_EQ(append_size(1000).error(), NtStatus::LogFileFull);
  // The second record is on the first page, too.
  ASSERT_TRUE(stream_->advance_base(lsns[1]).has_value());
  EXPECT_EQ(append_size(1000).error(), NtStatus::LogFileFull);
  const auto page = [this](Lsn lsn) {
    return LogGeometry::page_of(log_->geometry().offset_of(lsn));
  };
  size_t i = 1;
  while (page(lsns[i]) == page(lsns[0])) ++i;
  ASSERT_TRUE(stream_->advance_base(lsns[i]).has_value());
  EXPECT_TRUE(append_size(1000).has_value());
}

TEST_F(Clfs, C79_PageHeadersTellWhatIsInThem) {
  const LogGeometry& geometry = log_->geometry();
  const Lsn first = append_size(5000).value().lsn;
  const Lsn second = append_size(100).value().lsn;
  ASSERT_TRUE(area_->flush().has_value());
  ByteVector image = store_->image();
  const auto page_at = [&image](uint64_t offset) -> const RecordPageHeader& {
    const MutableBytes page = MutableBytes(image).subspan(offset, kPageSize);
    EXPECT_TRUE(try_unprotect(page));
    return struct_at<RecordPageHeader>(page);
  };
  const RecordPageHeader& home = page_at(geometry.first_record_offset());
  EXPECT_EQ(home.last_lsn.get(), first.raw());
  EXPECT_EQ(home.last_end_lsn.get(), 0u);  // no record ends here
  EXPECT_EQ(home.next_record_offset.get(), 0u);
  EXPECT_EQ(home.flags.get(), 0u);
  EXPECT_EQ(home.page_count.get(), 1u);
  EXPECT_EQ(home.page_position.get(), 1u);
  const RecordPageHeader& copy = page_at(kTailSlotOffset);
  EXPECT_EQ(copy.last_lsn.get(), geometry.first_record_offset() + kPageSize);
  EXPECT_EQ(copy.last_end_lsn.get(), second.raw());
  EXPECT_EQ(copy.next_record_offset.get(), 0x40 + cost(5000) - kPageDataSize + cost(100));
  EXPECT_EQ(copy.flags.get(), kPageRecordEnd);
  EXPECT_EQ(copy.page_count.get(), 1u);
  EXPECT_EQ(copy.page_position.get(), 1u);
  const auto restart = RestartPages::read(*store_, LogKind::Private).value();
  EXPECT_EQ(restart.current().flags & kRestartSinglePageIo, 0u);
}

}  // namespace
}  // namespace ntfs::lfs::testing
