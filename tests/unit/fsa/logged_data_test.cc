// Small writes that are to be durable at once stand in the log, and reach their place later.

#include <array>
#include <atomic>
#include <thread>

#include "core/store/format.h"
#include "tests/unit/fsa/opened_store.h"

namespace ntfs::testing {
namespace {

constexpr uint64_t kUnit = LoggedData::kClusterBytes;
/// In place at the start of each test, and not in the log.
constexpr uint64_t kPlaced = 16 * kUnit;

class LoggedDataTest : public ::testing::Test {
 protected:
  void SetUp() override { begin({}); }
  void begin(const OpenedStore::Shape& shape) {
    open_.reset();
    s_ = std::make_unique<OpenedStore>(shape);
    open_ = s_->open();
    content_.clear();
    write(0, filled(kPlaced, 1));
    ASSERT_TRUE(s_->store().flush());
    ASSERT_TRUE(checkpoint());
    ASSERT_EQ(s_->raw(0, kPlaced), content_);
  }

  Result<> checkpoint() { return s_->store().volume().checkpoint(); }
  uint64_t count_checkpoints() { return s_->store().volume().journal().completed_interval(); }
  void write(uint64_t offset, const ByteVector& bytes, Buffering buffering = kBuffered) {
    content_.resize(std::max<size_t>(content_.size(), offset + bytes.size()));
    std::ranges::copy(bytes, content_.begin() + static_cast<ptrdiff_t>(offset));
    ASSERT_EQ(s_->write(*open_, static_cast<int64_t>(offset), bytes, buffering), NtStatus::Success);
  }
  /// Appends units and makes them durable: they are in the log and not in place.
  void append_logged(uint64_t units, int seed) {
    const uint64_t at = content_.size();
    write(at, filled(units * kUnit, seed));
    ASSERT_TRUE(s_->store().flush());
    ASSERT_NE(s_->raw(at, units * kUnit), filled(units * kUnit, seed));
  }
  void expect_content() {
    EXPECT_EQ(s_->sizes().file_size, content_.size());
    // Past the buffer, and with parts of units at both ends.
    const std::array<std::pair<size_t, size_t>, 3> edges = {{{0, 0}, {512, 100}, {kUnit + 7, 1}}};
    for (const auto& [front, back] : edges) {
      const ByteVector expected(content_.begin() + static_cast<ptrdiff_t>(front),
                                content_.end() - static_cast<ptrdiff_t>(back));
      EXPECT_EQ(s_->read(*open_, static_cast<int64_t>(front), expected.size()).bytes, expected);
    }
  }
  void expect_content_after_crash() {
    open_.reset();
    s_->crash();
    open_ = s_->open();
    expect_content();
    s_->check();
  }

  std::unique_ptr<OpenedStore> s_;
  OpenPtr open_;
  ByteVector content_;
};

// Each flush fills whole pages of the log, which go out together; now and then the last one is left
// open, and goes to a tail slot.
TEST_F(LoggedDataTest, OneDurableWriteDoes) {
  constexpr int kRounds = 40;
  uint64_t more = 0;
  for (int round = 0; round < kRounds; ++round) {
    write(content_.size(), filled(kUnit, round));
    s_->device().reset_counters();
    ASSERT_TRUE(s_->store().flush());
    const auto counters = s_->device().counters();
    EXPECT_EQ(counters.transfers, counters.durable_transfers) << "something else was written";
    more += counters.durable_transfers - 1;
  }
  EXPECT_LE(more, kRounds / 4u);
  EXPECT_NE(s_->raw(kPlaced, kUnit), filled(kUnit, 0)) << "in place already";
  expect_content();
  ASSERT_TRUE(checkpoint());
  EXPECT_EQ(s_->raw(0, content_.size()), content_);
  expect_content();
}

TEST_F(LoggedDataTest, ACrashLosesNothingOfIt) {
  append_logged(5, 2);
  expect_content();
  write(content_.size(), filled(100, 3));
  ASSERT_TRUE(s_->store().flush());
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, MuchDataGoesToItsPlaceAtOnce) {
  write(kPlaced, filled(9 * kUnit, 2));
  ASSERT_TRUE(s_->store().flush());
  EXPECT_EQ(s_->raw(0, content_.size()), content_);
}

TEST_F(LoggedDataTest, DataThatChangesNothingElseGoesToItsPlaceAtOnce) {
  write(kUnit, filled(kUnit, 2));
  ASSERT_TRUE(s_->store().flush());
  EXPECT_EQ(s_->raw(0, content_.size()), content_);
}

TEST_F(LoggedDataTest, ClustersOfOtherSizesAreNotLogged) {
  for (const uint32_t cluster_size : {512u, 65536u}) {
    OpenedStore::Shape shape;
    shape.cluster_size = cluster_size;
    begin(shape);
    write(kPlaced, filled(kUnit, 2));
    ASSERT_TRUE(s_->store().flush());
    EXPECT_EQ(s_->raw(0, content_.size()), content_);
  }
}

TEST_F(LoggedDataTest, ARepeatedWriteLogsOnlyWhatDiffers) {
  append_logged(1, 2);
  const auto used = [this] { return s_->store().volume().journal().log()->used_bytes(); };
  for (int round = 0; round < 10; ++round) {
    const uint64_t before = used();
    write(kPlaced + 100 * static_cast<uint64_t>(round), filled(80, 50 + round));
    ASSERT_TRUE(s_->store().flush());
    EXPECT_LT(used() - before, 1500u);
  }
  EXPECT_EQ(s_->raw(0, kPlaced), ByteVector(content_.begin(), content_.begin() + kPlaced));
  EXPECT_NE(s_->raw(0, content_.size()), content_) << "still in the log";
  expect_content();
  expect_content_after_crash();
}

// The log has a cluster up to the end of the data; behind that the device holds what was there.
TEST_F(LoggedDataTest, AGapBehindWhatIsLoggedIsZero) {
  write(kPlaced, filled(99, 2));
  ASSERT_TRUE(s_->store().flush());
  const auto runs = s_->file()->data().runs();
  ASSERT_TRUE(runs);
  AlignedBuffer stale(kUnit);
  std::ranges::fill(stale.bytes(), std::byte{0xF5});
  ASSERT_TRUE(
      s_->device().write(runs->find(Vcn(kPlaced / kUnit)).lcn.raw() * kUnit, stale.bytes()));
  for (const uint64_t at : {3000, 1500}) {  // behind the end, and before it
    write(kPlaced + at, filled(200, 3));
    ASSERT_TRUE(s_->store().flush());
  }
  expect_content();
  expect_content_after_crash();
}

// A replay must not put the logged bytes over them.
TEST_F(LoggedDataTest, AWriteInPlaceComesBehindACheckpoint) {
  append_logged(2, 2);
  const uint64_t before = count_checkpoints();
  write(kPlaced + 512, filled(1024, 3), kUnbuffered);
  EXPECT_EQ(count_checkpoints(), before + 1);
  EXPECT_EQ(s_->raw(0, content_.size()), content_);
  write(kPlaced, filled(kUnit, 4), kUnbuffered);
  EXPECT_EQ(count_checkpoints(), before + 1) << "in place already";
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, ZeroingInPlaceComesBehindACheckpoint) {
  append_logged(4, 2);
  ASSERT_TRUE(s_->store().zero(*open_, kPlaced, 2 * kUnit, KeepSize::Yes));
  std::fill_n(content_.begin() + kPlaced, 2 * kUnit, std::byte{0});
  expect_content();
  ASSERT_TRUE(s_->store().flush());
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, ALaterWriteBackOfMuchMoreKeepsTheLastBytes) {
  append_logged(1, 2);
  write(kPlaced + 50, filled(64 * kUnit, 3));
  ASSERT_TRUE(s_->file()->data().write_back());
  EXPECT_EQ(s_->raw(0, content_.size()), content_);
  ASSERT_TRUE(s_->store().flush());
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, UrgentDataOfManyUnitsTakesTheLoggedOnesAlong) {
  append_logged(1, 2);
  const uint64_t before = count_checkpoints();
  write(kPlaced + 50, filled(64 * kUnit, 3));
  ASSERT_TRUE(s_->store().flush());
  EXPECT_EQ(count_checkpoints(), before) << "nothing was in the way";
  expect_content();
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, MovedClustersKeepTheirBytes) {
  append_logged(6, 2);
  ASSERT_TRUE(s_->store().collapse(*open_, 2 * kUnit, kUnit));
  content_.erase(content_.begin() + 2 * kUnit, content_.begin() + 3 * kUnit);
  expect_content();
  ASSERT_TRUE(s_->store().insert(*open_, 0, 4 * kUnit));
  content_.insert(content_.begin(), 4 * kUnit, std::byte{0});
  expect_content();
  // Another name in the log: in place.
  write(content_.size() - kUnit, filled(2 * kUnit, 3));
  ASSERT_TRUE(s_->store().flush());
  expect_content();
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, WhatIsCutOffAndWrittenAgainIsNew) {
  append_logged(4, 2);
  for (const uint64_t size : {kPlaced + kUnit + 10, kPlaced + 5, uint64_t{0}}) {
    ASSERT_TRUE(s_->store().set_end_of_file(*open_, size));
    content_.resize(size);
    write(size + 20, filled(3 * kUnit, static_cast<int>(size % 100)));
    ASSERT_TRUE(s_->store().flush());
    expect_content();
    const ByteVector kept = content_;
    expect_content_after_crash();
    content_ = kept;
  }
}

TEST_F(LoggedDataTest, ClonesReadThemAndPartFromThem) {
  OpenedStore::Shape shape;
  shape.reflink = true;
  begin(shape);
  append_logged(4, 2);
  const FilePtr original = s_->file();
  FilePtr clone = s_->make(*s_->store().root(), u"clone", FileKind::File);
  Stream& copy = clone->data();
  ASSERT_TRUE(copy.share(original->data(), kPlaced, 0, 4 * kUnit));
  const ByteVector shared(content_.begin() + kPlaced, content_.end());
  const auto expect_clone = [&](const ByteVector& expected) {
    AlignedBuffer memory(4 * kUnit);
    ASSERT_EQ(copy.read(0, expected.size(), memory.bytes()).value(), expected.size());
    EXPECT_EQ(ByteVector(memory.data(), memory.data() + expected.size()), expected);
  };
  expect_clone(shared);
  const ByteVector other = filled(kUnit, 9);
  ASSERT_TRUE(copy.write(kUnit, other, kBuffered));
  ByteVector parted = shared;
  std::ranges::copy(other, parted.begin() + kUnit);
  ASSERT_TRUE(s_->store().flush());
  expect_clone(parted);
  write(kPlaced + 2 * kUnit, filled(kUnit, 10));
  ASSERT_TRUE(s_->store().flush());
  expect_clone(parted);
  expect_content();
  clone.reset();
  expect_content_after_crash();
}

TEST_F(LoggedDataTest, OneAppendsAnotherReadsAThirdOverwrites) {
  constexpr uint64_t kUnits = 300;
  const auto appended = [](uint64_t unit) { return filled(kUnit, static_cast<int>(unit)); };
  const auto written_over = [](uint64_t unit) { return filled(kUnit, static_cast<int>(unit) + 7); };
  std::atomic<uint64_t> durable{0};
  std::array<std::atomic<bool>, kUnits> is_over{};
  const auto while_appending = [&](const auto& use) {
    return std::thread([&, use] {
      const OpenPtr open = s_->open();
      for (uint64_t i = 0; durable < kUnits; ++i) {
        const uint64_t end = durable;
        // The newest ones, and one here and there.
        if (end != 0) use(*open, i % 3 == 0 ? (i * 31) % end : end - 1);
      }
    });
  };
  std::thread reader = while_appending([&](Open& open, uint64_t unit) {
    const bool was_over = is_over[unit];
    const ByteVector seen =
        s_->read(open, static_cast<int64_t>(kPlaced + unit * kUnit), kUnit).bytes;
    EXPECT_TRUE((!was_over && seen == appended(unit)) || seen == written_over(unit)) << unit;
  });
  std::thread writer = while_appending([&](Open& open, uint64_t unit) {
    EXPECT_EQ(s_->write(open, static_cast<int64_t>(kPlaced + unit * kUnit), written_over(unit),
                        kUnbuffered),
              NtStatus::Success);
    is_over[unit] = true;
  });
  for (uint64_t unit = 0; unit < kUnits; ++unit) {
    write(content_.size(), appended(unit));
    EXPECT_TRUE(s_->store().flush());
    durable = unit + 1;
  }
  reader.join();
  writer.join();
  for (uint64_t unit = 0; unit < kUnits; ++unit) {
    if (!is_over[unit]) continue;
    std::ranges::copy(written_over(unit),
                      content_.begin() + static_cast<ptrdiff_t>(kPlaced + unit * kUnit));
  }
  expect_content();
  expect_content_after_crash();
}

// What was promised is in the log, and nowhere else.
TEST_F(LoggedDataTest, AFailedCheckpointDoesNotHideThem) {
  append_logged(3, 2);
  s_->device().fail_write(1);
  ASSERT_FALSE(checkpoint());
  s_->device().clear_faults();
  expect_content();
  EXPECT_NE(s_->write(*open_, 0, filled(kUnit, 3), kUnbuffered), NtStatus::Success);
  expect_content_after_crash();
}

}  // namespace
}  // namespace ntfs::testing
