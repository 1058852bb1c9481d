// Reserving space and writing to it: C7 to C30.

#include <algorithm>

#include "tests/unit/lfs/clfs_log.h"

namespace ntfs::lfs::testing {
namespace {

using Sizes = std::vector<int64_t>;

TEST_F(Clfs, C07_ReservesSpaceForASetOfRecords) {
  const Lsn next = log_->next_lsn();
  const uint64_t before = available();
  Sizes sizes = {100, 200, 300};
  const Appended done = reserve(sizes).value();
  EXPECT_TRUE(done.lsn.is_none());
  EXPECT_EQ(records(), 3u);
  EXPECT_EQ(bytes(), 752u);
  EXPECT_GE(bytes(), 600 + 3 * kRecordHeaderSize);
  EXPECT_EQ(sizes, (Sizes{152, 248, 352}));
  EXPECT_EQ(log_->next_lsn(), next);
  EXPECT_EQ(available(), before - 752);
}

TEST_F(Clfs, C08_AligningIsACalculation) {
  const State before = state();
  const Sizes sizes = {100, 200, 300};
  for (int i = 0; i < 2; ++i) {
    const ReservationPlan plan = area_->align_reserved(sizes).value();
    EXPECT_EQ(plan.total_bytes(), 752u);
    EXPECT_EQ(plan.records(), 3u);
  }
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C09_AllocatesWhatWasAligned) {
  const Sizes sizes = {100, 200, 300};
  ASSERT_TRUE(area_->alloc_reserved(area_->align_reserved(sizes).value()).has_value());
  EXPECT_EQ(records(), 3u);
  EXPECT_EQ(bytes(), 752u);
  // The single sizes are known: one of 300 can be written, then none that large any more.
  EXPECT_TRUE(append_size(300, AppendFlags::UseReservation).has_value());
  EXPECT_EQ(append_size(300, AppendFlags::UseReservation).error(), NtStatus::LogReservationInvalid);
}

TEST_F(Clfs, C10_AllocatesNothingButAPlan) {
  const State before = state();
  EXPECT_EQ(area_->alloc_reserved(ReservationPlan()).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(area_->alloc_reserved(area_->align_reserved({}).value()).error(),
            NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C11_AlignsPositiveSizesOnly) {
  for (const Sizes& sizes : {Sizes{100, 0}, Sizes{-1}, Sizes{100, -200, 300}}) {
    EXPECT_EQ(area_->align_reserved(sizes).error(), NtStatus::InvalidParameter);
  }
}

TEST_F(Clfs, C12_ReservesToTheLastByteAndNoFurther) {
  const uint64_t all = available();
  for (uint64_t excess = 1; excess <= 8; ++excess) {
    const State before = state();
    Sizes sizes = {static_cast<int64_t>(all - kRecordHeaderSize + excess)};
    EXPECT_EQ(reserve(sizes).error(), NtStatus::LogFileFull);
    EXPECT_EQ(sizes[0], static_cast<int64_t>(all - kRecordHeaderSize + excess));
    EXPECT_EQ(state(), before);
  }
  Sizes sizes = {static_cast<int64_t>(all - kRecordHeaderSize)};
  EXPECT_TRUE(reserve(sizes).has_value());
  EXPECT_EQ(available(), 0u);
  EXPECT_EQ(sizes[0], static_cast<int64_t>(all));
}

TEST_F(Clfs, C13_ReservesAllOrNone) {
  const State before = state();
  Sizes sizes = {100, static_cast<int64_t>(available())};
  const Sizes given = sizes;
  EXPECT_EQ(reserve(sizes).error(), NtStatus::LogFileFull);
  EXPECT_EQ(sizes, given);
  EXPECT_EQ(state(), before);
  sizes = {100, std::numeric_limits<int64_t>::max()};
  EXPECT_EQ(reserve(sizes).error(), NtStatus::LogFileFull);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C14_RefusesAReservationOfNothing) {
  const State before = state();
  Sizes sizes = {100, 0};
  EXPECT_EQ(reserve(sizes).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(sizes, (Sizes{100, 0}));
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C15_AWriteToReservedSpaceTakesOneReservation) {
  reserve_three();
  const Lsn next = log_->next_lsn();
  const Appended done = append_size(200, AppendFlags::UseReservation).value();
  EXPECT_EQ(done.lsn, next);
  EXPECT_EQ(records(), 2u);
  EXPECT_EQ(bytes(), 504u);
  EXPECT_EQ(read_data(done.lsn), text_data(200, 200));
  // 100 and 300 are left.
  Sizes release = {-100, -300};
  ASSERT_TRUE(reserve(release).has_value());
  EXPECT_EQ(release, (Sizes{-152, -352}));
}

TEST_F(Clfs, C16_TheSmallestReservationThatFitsIsTaken) {
  reserve_three();
  const uint64_t before = available();
  ASSERT_TRUE(append_size(150, AppendFlags::UseReservation).has_value());
  EXPECT_EQ(records(), 2u);
  EXPECT_EQ(bytes(), 504u);
  EXPECT_EQ(available(), before + 48);  // 248 reserved, 200 used
  Sizes release = {-100, -300};
  ASSERT_TRUE(reserve(release).has_value());
  EXPECT_EQ(release, (Sizes{-152, -352}));
}

TEST_F(Clfs, C17_WhatFitsIsDecidedByCost) {
  reserve_three();
  const State before = state();
  EXPECT_EQ(append_size(305, AppendFlags::UseReservation).error(), NtStatus::LogReservationInvalid);
  EXPECT_EQ(state(), before);
  EXPECT_TRUE(append_size(304, AppendFlags::UseReservation).has_value());
  EXPECT_EQ(records(), 2u);
  EXPECT_EQ(bytes(), 400u);
}

TEST_F(Clfs, C18_NothingReservedNothingUsed) {
  const State before = state();
  EXPECT_EQ(append_size(1, AppendFlags::UseReservation).error(), NtStatus::LogReservationInvalid);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C19_NegativeSizesReleaseTheNearestReservation) {
  const std::vector<std::pair<int64_t, int64_t>> rows = {
      {-200, -248}, {-210, -248}, {-250, -352}, {-1000, -352}};
  for (const auto& [size, freed] : rows) {
    reserve_three();
    Sizes sizes = {size};
    ASSERT_TRUE(reserve(sizes).has_value());
    EXPECT_EQ(sizes[0], freed) << size;
    EXPECT_EQ(records(), 2u);
    EXPECT_EQ(bytes(), 752u - static_cast<uint64_t>(-freed));
    area_->reservations().release_all();
  }
  const State before = state();
  Sizes sizes = {-200};
  EXPECT_EQ(reserve(sizes).error(), NtStatus::LogRecordsReservedInvalid);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C20_ReservesAndReleasesInOneStep) {
  reserve_three();
  Sizes sizes = {50, -200};
  ASSERT_TRUE(reserve(sizes).has_value());
  EXPECT_EQ(sizes, (Sizes{104, -248}));
  EXPECT_EQ(records(), 3u);
  EXPECT_EQ(bytes(), 752u + 104 - 248);
  const State before = state();
  sizes = {static_cast<int64_t>(available() + 1000), -300};
  EXPECT_EQ(reserve(sizes).error(), NtStatus::LogFileFull);
  EXPECT_EQ(state(), before);
  // The other way round, with what the release gives.
  sizes = {static_cast<int64_t>(available() + 352 - kRecordHeaderSize), -300};
  EXPECT_TRUE(reserve(sizes).has_value());
  EXPECT_EQ(available(), 0u);
}

TEST_F(Clfs, C21_NeverReservesAndUsesAReservationAtOnce) {
  reserve_three();
  const State before = state();
  const ByteVector data = text_data(1, 100);
  const ByteView entry = data;
  Sizes sizes = {100};
  AppendRequest request;
  request.reserve = sizes;
  request.flags = AppendFlags::UseReservation;
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::InvalidParameter);
  request.entries = {&entry, 1};
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C22_AReservedRecordNeverMeetsAFullLog) {
  Sizes sizes;
  for (uint64_t left = available(); left >= cost(1000); left -= cost(1000)) sizes.push_back(1000);
  ASSERT_TRUE(reserve(sizes).has_value());
  ReservationSet rest = area_->make_set();
  ASSERT_TRUE(rest.set_aside(available()).has_value());
  EXPECT_EQ(available(), 0u);
  EXPECT_EQ(append_size(1).error(), NtStatus::LogFileFull);
  for (uint32_t left = records(); left != 0; --left) {
    ASSERT_EQ(records(), left);
    ASSERT_TRUE(append_size(1000, AppendFlags::UseReservation).has_value());
  }
}

// Sizes, their order and where the log stands at random: page spans and wraps are all there.
TEST_F(Clfs, C23_AReservedRecordNeverMeetsAFullLogInWhateverOrder) {
  const uint64_t first_seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "first seed " << first_seed);
  ByteVector data(12'000);
  int wraps = 0;
  for (int round = 0; round < 10'000; ++round) {
    std::mt19937_64 random(first_seed + static_cast<uint64_t>(round));
    const int64_t most = random() % 2 == 0 ? 12'000 : 600;
    Sizes sizes;
    int64_t all = static_cast<int64_t>(available());
    while (true) {
      const auto size = static_cast<int64_t>(random() % static_cast<uint64_t>(most + 1));
      all -= static_cast<int64_t>(cost(static_cast<uint64_t>(size)));
      if (all < 0) break;
      sizes.push_back(size);
    }
    std::erase(sizes, 0);
    Sizes costs = sizes;
    if (!sizes.empty()) {
      ASSERT_TRUE(reserve(costs).has_value());
    }
    std::shuffle(sizes.begin(), sizes.end(), random);
    const Lsn before = log_->next_lsn();
    for (const int64_t size : sizes) {
      ASSERT_TRUE(append(ByteView(data).first(static_cast<size_t>(size)), {}, {},
                         AppendFlags::UseReservation)
                      .has_value())
          << "round " << round;
    }
    ASSERT_EQ(records(), 0u);
    ASSERT_EQ(bytes(), 0u);
    if (log_->geometry().sequence_of(log_->next_lsn()) != log_->geometry().sequence_of(before)) {
      ++wraps;
    }
    // The next round begins somewhere else. Its space: what was written is not needed.
    if (!stream_->last().is_none()) {
      ASSERT_TRUE(stream_->advance_base(stream_->last()).has_value());
      ASSERT_TRUE(append(ByteView(data).first(random() % 5000)).has_value());
    }
  }
  EXPECT_GT(wraps, 100);
}

TEST_F(Clfs, C24_FreesRecordsAndTheirBytes) {
  reserve_three();
  ASSERT_TRUE(area_->free_reserved(1, -152).has_value());
  EXPECT_EQ(records(), 2u);
  EXPECT_EQ(bytes(), 600u);
}

TEST_F(Clfs, C25_FreesAllButSome) {
  reserve_three();
  ASSERT_TRUE(area_->free_reserved(1, 352).has_value());
  EXPECT_EQ(records(), 1u);
  EXPECT_EQ(bytes(), 352u);
  EXPECT_TRUE(append_size(300, AppendFlags::UseReservation).has_value());
}

TEST_F(Clfs, C26_FreesNoMoreThanIsReserved) {
  reserve_three();
  const State before = state();
  EXPECT_EQ(area_->free_reserved(4, -752).error(), NtStatus::LogRecordsReservedInvalid);
  EXPECT_EQ(area_->free_reserved(4, 752).error(), NtStatus::LogRecordsReservedInvalid);
  EXPECT_EQ(area_->free_reserved(3, -760).error(), NtStatus::LogSpaceReservedInvalid);
  EXPECT_EQ(area_->free_reserved(2, 760).error(), NtStatus::LogSpaceReservedInvalid);
  EXPECT_EQ(area_->free_reserved(1, -153).error(), NtStatus::LogSpaceReservedInvalid);
  EXPECT_EQ(area_->free_reserved(2, -352).error(), NtStatus::LogSpaceReservedInvalid);
  EXPECT_EQ(area_->free_reserved(0, -152).error(), NtStatus::LogSpaceReservedInvalid);
  EXPECT_EQ(state(), before);
  // Every combination there is, is found.
  EXPECT_TRUE(area_->free_reserved(2, -(152 + 352)).has_value());
  EXPECT_EQ(bytes(), 248u);
}

TEST_F(Clfs, C27_AReservationThatIsDroppedIsFree) {
  const State before = state();
  {
    ReservationSet set = area_->make_set();
    Sizes sizes = {100, 200};
    ASSERT_TRUE(set.add(sizes).has_value());
    ReservationSet moved = std::move(set);
    EXPECT_EQ(moved.records(), 2u);
    EXPECT_EQ(set.records(), 0u);
    EXPECT_EQ(records(), 2u);
    ReservationSet other = area_->make_set();
    ASSERT_TRUE(other.add(sizes = {50}).has_value());
    other = std::move(moved);  // what it held is released
    EXPECT_EQ(records(), 2u);
    static_assert(!std::is_copy_constructible_v<ReservationSet>);
  }
  EXPECT_EQ(state(), before);
}

TEST_F(Clfs, C28_ASetDoesNotTouchAnothersReservations) {
  ReservationSet a = area_->make_set();
  ReservationSet b = area_->make_set();
  Sizes sizes = {200};
  ASSERT_TRUE(a.add(sizes).has_value());
  const State before = state();
  const ByteVector data = text_data(1, 100);
  const ByteView entry = data;
  AppendRequest request;
  request.entries = {&entry, 1};
  request.flags = AppendFlags::UseReservation;
  EXPECT_EQ(area_->reserve_and_append(request, b).error(), NtStatus::LogReservationInvalid);
  EXPECT_EQ(area_->reserve_and_append(request).error(), NtStatus::LogReservationInvalid);
  EXPECT_EQ(state(), before);
  EXPECT_TRUE(area_->reserve_and_append(request, a).has_value());
  // Nor one stream those of another.
  const LogStream second = log_->create_stream(u"SECOND").value();
  ReservationSet foreign(second);
  EXPECT_EQ(area_->reserve_and_append(request, foreign).error(), NtStatus::InvalidParameter);
}

TEST_F(Clfs, C29_AnAreaThatGoesReleasesItsReservations) {
  reserve_three();
  area_.reset();
  EXPECT_EQ(records(), 0u);
  EXPECT_EQ(bytes(), 0u);
  EXPECT_EQ(stream_->info().abandoned_records, 3u);
  make_area();
}

TEST_F(Clfs, C30_ReservationsDoNotOutliveACrash) {
  reserve_three();
  ASSERT_TRUE(append_size(100, AppendFlags::ForceFlush).has_value());
  reopen(store_->image());
  EXPECT_EQ(records(), 0u);
  EXPECT_EQ(bytes(), 0u);
  EXPECT_EQ(append_size(100, AppendFlags::UseReservation).error(), NtStatus::LogReservationInvalid);
}

}  // namespace
}  // namespace ntfs::lfs::testing
