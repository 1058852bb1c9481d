#include "lfs/log_reader.h"

#include <gtest/gtest.h>

#include <set>

#include "core/ondisk/log_operations.h"
#include "tests/unit/lfs/log_samples.h"
#include "tests/unit/lfs/memory_log_store.h"

namespace ntfs::lfs {
namespace {

using ondisk::ClientRecordView;
using ondisk::ClientRestart;
using ondisk::LogOp;
using testing::append_data;
using testing::make_data;
using testing::MemoryLogStore;
using testing::StartValues;
using testing::write_restart;

/// Only the heads of these files were kept; behind them the log was never used.
std::optional<ByteVector> sample(const std::string& name, uint64_t log_bytes) {
  auto bytes = ntfs::testing::raw_sample(name);
  if (bytes) bytes->resize(std::max<size_t>(bytes->size(), log_bytes), std::byte{0xFF});
  return bytes;
}

struct Counts {
  uint64_t records = 0;
  uint64_t client = 0;
  uint64_t restart = 0;
  uint64_t undecoded = 0;
  std::set<LogOp> operations;
  Lsn last;
};

/// All records from `from` on, decoded.
Counts count_records(LogReader& reader, Lsn from) {
  Counts counts;
  auto record = reader.read(from);
  while (record) {
    EXPECT_GT(record->lsn, counts.last);
    counts.last = record->lsn;
    ++counts.records;
    const Origin origin{"log record", 0, record->lsn.raw()};
    if (record->is_restart()) {
      ++counts.restart;
      if (!ClientRestart::parse(record->data, origin)) ++counts.undecoded;
    } else {
      ++counts.client;
      const auto view = ClientRecordView::parse(record->data, record->flags, origin);
      if (view) {
        counts.operations.insert(view->redo());
        EXPECT_NE(name_of(view->redo()), "Unknown");
        EXPECT_NE(name_of(view->undo()), "Unknown");
      } else {
        ++counts.undecoded;
      }
    }
    record = reader.next();
  }
  EXPECT_EQ(record.error(), NtStatus::EndOfFile);
  return counts;
}

TEST(LogReader, ReadsAWindows7Log) {
  auto bytes = sample("LogFile_7.bin", 0x1678000);
  if (!bytes) GTEST_SKIP() << "no sample LogFile_7.bin (NTFS_WAL_IMAGES names the folder)";
  MemoryLogStore store(std::move(*bytes));
  const LogStatus status = LogFile::inspect(store).value();
  EXPECT_EQ(status.state, LogState::Clean);
  EXPECT_EQ(status.major_version, 1u);
  auto reader = LogReader::open(store).value();
  EXPECT_EQ(reader.last_lsn().raw(), 0x80541du);
  const Counts counts = count_records(reader, reader.first_readable_lsn().value());
  EXPECT_GT(counts.records, 770u);
  EXPECT_LT(counts.records, 800u);
  EXPECT_EQ(counts.undecoded, 0u);
  EXPECT_EQ(counts.last.raw(), 0x80541du);
  EXPECT_TRUE(counts.operations.contains(LogOp::InitializeFileRecordSegment));
}

TEST(LogReader, ReadsAnOpenWindows10Log) {
  auto bytes = sample("LogFile_10.bin", 0x8a0000);
  if (!bytes) GTEST_SKIP() << "no sample LogFile_10.bin (NTFS_WAL_IMAGES names the folder)";
  MemoryLogStore store(std::move(*bytes));
  const LogStatus status = LogFile::inspect(store).value();
  EXPECT_EQ(status.state, LogState::Unclean);
  EXPECT_EQ(status.major_version, 2u);
  auto reader = LogReader::open(store).value();
  const Counts counts = count_records(reader, reader.first_readable_lsn().value());
  EXPECT_EQ(counts.records, 243u);  // of this epoch; older ones lie behind the end
  EXPECT_EQ(reader.last_lsn().raw(), 0x806158u);
  EXPECT_EQ(counts.undecoded, 0u);
  EXPECT_EQ(counts.last, reader.last_lsn());
  EXPECT_EQ(reader.last_lsn(), status.last_lsn);
}

TEST(LogReader, ReadsADowngradedWindows10Log) {
  auto bytes = sample("LogFile_10_downgraded.bin", 0x8a0000);
  if (!bytes) GTEST_SKIP() << "no sample LogFile_10_downgraded.bin";
  MemoryLogStore store(std::move(*bytes));
  EXPECT_EQ(LogFile::inspect(store).value().state, LogState::Clean);
  auto reader = LogReader::open(store).value();
  const Counts counts = count_records(reader, reader.first_readable_lsn().value());
  EXPECT_EQ(counts.undecoded, 0u);
  EXPECT_EQ(counts.last, reader.last_lsn());
}

TEST(LogReader, ReadsADirtyLogWithSmallClusters) {
  auto bytes = ntfs::testing::raw_sample("js_tiny.LogFile");
  if (!bytes) GTEST_SKIP() << "no sample js_tiny.LogFile (NTFS_WAL_IMAGES names the folder)";
  MemoryLogStore store(std::move(*bytes));
  EXPECT_EQ(LogFile::inspect(store).value().state, LogState::Unclean);
  auto reader = LogReader::open(store).value();
  const Counts counts = count_records(reader, reader.oldest_lsn());
  EXPECT_EQ(counts.records, 4u);
  EXPECT_EQ(counts.undecoded, 0u);
  EXPECT_EQ(counts.last, reader.last_lsn());
  const Counts all = count_records(reader, reader.first_readable_lsn().value());
  EXPECT_GT(all.records, 780u);
  EXPECT_EQ(all.undecoded, 0u);
}

TEST(LogReader, AnEmptyLogHasNoRecords) {
  auto bytes = sample("LogFile_empty.bin", 0x200000);
  if (!bytes) bytes = ByteVector(0x200000, std::byte{0xFF});
  MemoryLogStore store(std::move(*bytes));
  EXPECT_EQ(LogFile::inspect(store).value().state, LogState::Empty);
  EXPECT_EQ(LogReader::open(store).error(), NtStatus::EndOfFile);
}

TEST(LogReader, AFormattedLogHasNoRecords) {
  MemoryLogStore store(0x200000);
  ASSERT_TRUE(LogFile::format(store).has_value());
  EXPECT_EQ(LogReader::open(store).error(), NtStatus::EndOfFile);
  MemoryLogStore corrupt(ByteVector(0x200000));
  EXPECT_EQ(LogReader::open(corrupt).error(), NtStatus::LogCorrupt);
}

/// An unclean log of several laps.
ByteVector busy_log(uint64_t record_bytes, Lsn* last) {
  const StartValues values;
  MemoryLogStore store(256 * 1024);
  const auto log = LogFile::start(store, values.start({})).value();
  for (uint64_t i = 0; i < 1500; ++i) {
    EXPECT_TRUE(append_data(*log, make_data(i, record_bytes)).has_value());
    if (i % 7 == 0) {
      EXPECT_TRUE(log->flush_to(log->last_lsn()).has_value());
    }
    if (log->used_bytes() > log->capacity_bytes() / 2) {
      EXPECT_TRUE(write_restart(*log, values.restart, log->last_lsn()).has_value());
    }
  }
  EXPECT_TRUE(log->flush_to(log->last_lsn()).has_value());
  *last = log->last_lsn();
  return store.bytes();
}

TEST(LogReader, FindsOldRecordsBeforeTheOldestThatIsNeeded) {
  Lsn last;
  MemoryLogStore store(busy_log(300, &last));
  auto reader = LogReader::open(store).value();
  EXPECT_EQ(reader.last_lsn(), last);
  const Lsn first = reader.first_readable_lsn().value();
  EXPECT_LT(first, reader.oldest_lsn());
  const Counts counts = count_records(reader, first);
  EXPECT_GT(counts.records, 600u);
  EXPECT_EQ(counts.last, last);
}

TEST(LogReader, StopsAtATornTailPage) {
  Lsn last;
  MemoryLogStore store(busy_log(300, &last));
  const auto before = LogReader::open(store).value();
  // Both copies of the last page torn: the log ends in the page before, which is in place.
  store.bytes()[kTailSlotOffset + 0x5FE] ^= std::byte{1};
  store.bytes()[kTailSlotOffset + kPageSize + 0x5FE] ^= std::byte{1};
  auto after = LogReader::open(store).value();
  EXPECT_LT(after.last_lsn(), before.last_lsn());
  EXPECT_EQ(count_records(after, after.oldest_lsn()).last, after.last_lsn());
}

// What a write that was lost in part left there is not of the log.
TEST(LogReader, ReadsNothingBehindTheEnd) {
  Lsn last;
  MemoryLogStore store(busy_log(100, &last));
  auto reader = LogReader::open(store).value();
  const Lsn behind = Lsn::from_raw(reader.last_lsn().raw() + 1);
  EXPECT_TRUE(reader.read(last).has_value());
  EXPECT_EQ(reader.read(behind).error(), NtStatus::InvalidParameter);
}

TEST(LogReader, ReportsAHoleBeforeTheRestartRecord) {
  const StartValues values;
  MemoryLogStore store(256 * 1024);
  const auto log = LogFile::start(store, values.start({})).value();
  const Lsn oldest = log->last_lsn();
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(append_data(*log, make_data(i, 300)).has_value());
  }
  ASSERT_TRUE(write_restart(*log, values.restart, oldest).has_value());
  store.bytes()[6 * kPageSize + 0x3FE] ^= std::byte{1};
  auto reader = LogReader::open(store).value();
  EXPECT_EQ(reader.last_lsn(), log->last_lsn());
  EXPECT_EQ(reader.oldest_lsn(), oldest);
  auto record = reader.read(oldest);
  uint64_t count = 0;
  for (; record; record = reader.next()) ++count;
  EXPECT_EQ(record.error(), NtStatus::LogCorrupt);
  EXPECT_GT(count, 20u);
  EXPECT_EQ(reader.read(Lsn::from_raw(7)).error(), NtStatus::InvalidParameter);
}

TEST(LogReader, SurvivesAnyBytes) {
  const uint64_t seed = 99;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::vector<ByteVector> logs;
  Lsn last;
  logs.push_back(busy_log(300, &last));
  logs.push_back(busy_log(9000, &last));
  if (auto bytes = sample("LogFile_10.bin", 0x8a0000)) logs.push_back(std::move(*bytes));
  ::testing::internal::CaptureStderr();  // thousands of reports
  for (int round = 0; round < 150; ++round) {
    MemoryLogStore store(logs[static_cast<size_t>(round) % logs.size()]);
    const uint64_t changes = 1 + random() % 200;
    for (uint64_t i = 0; i < changes; ++i) {
      // Page headers and record headers for the most part, without making the page torn.
      const uint64_t page = random() % std::min<uint64_t>(64, store.size_bytes() / kPageSize);
      const uint64_t at =
          page * kPageSize + (random() % 2 == 0 ? random() % 0x100 : random() % 0x1F0);
      store.bytes()[at] = static_cast<std::byte>(random());
    }
    auto reader = LogReader::open(store);
    if (!reader) continue;
    const auto first = reader->first_readable_lsn();
    if (!first) continue;
    auto record = reader->read(*first);
    Lsn before;
    while (record) {
      EXPECT_GT(record->lsn, before);
      before = record->lsn;
      const Origin origin{"log record", 0, before.raw()};
      const auto view = ClientRecordView::parse(record->data, record->flags, origin);
      if (view) describe_payload(view->redo(), view->redo_data());
      record = reader->next();
    }
    EXPECT_TRUE(LogFile::inspect(store).has_value());
  }
  (void)::testing::internal::GetCapturedStderr();
}

}  // namespace
}  // namespace ntfs::lfs
