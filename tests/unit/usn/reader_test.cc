// Reading $J: what we build, what Windows wrote, and what is broken. The samples are found in the
// directory that NTFS_WAL_IMAGES names, or beside the source tree; without them the tests that need
// them are skipped.

#include "usn/reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/usn/memory_records.h"
#include "usn/reason.h"

namespace ntfs::usn {
namespace {

namespace fs = std::filesystem;
using testing::MemoryRecords;

const FileReference kJournal(42, 1);
const Usn kEnd = Usn::from_raw(~uint64_t{0} >> 1);

Record record_of(uint64_t number, size_t name_units) {
  Record record;
  record.file = FileId::of(FileReference(number, 3));
  record.parent = FileId::of(FileReference(5, 5));
  record.timestamp = 132000000000000000 + number;
  record.reason = Reason::FileCreate;
  record.file_attributes = 0x20;
  record.name.assign(name_units, static_cast<char16_t>(u'a' + number % 26));
  return record;
}

struct ReadAll {
  std::vector<Record> records;
  uint64_t count_damaged = 0;
  Usn position;
  NtStatus status = NtStatus::Success;
};
ReadAll read_all(RecordSource& source, Usn from = Usn(), Usn end = kEnd) {
  Reader reader(source, kJournal, from, end);
  ReadAll all;
  while (true) {
    auto record = reader.next();
    if (!record) all.status = record.error();
    if (!record || !*record) break;
    all.records.push_back(std::move(**record));
  }
  all.count_damaged = reader.count_damaged();
  all.position = reader.position();
  return all;
}

/// `count` records of random names.
std::vector<Record> fill(MemoryRecords& source, uint64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Record> records;
  for (uint64_t i = 0; i < count; ++i) {
    records.push_back(record_of(100 + i, 1 + random() % 255));
    source.append(records.back());
  }
  return records;
}

TEST(UsnReader, ReadsAllRecordsOverGapsAtPageEnds) {
  MemoryRecords source;
  const auto records = fill(source, 1000, 1);
  const ReadAll all = read_all(source);
  EXPECT_EQ(all.records, records);
  EXPECT_EQ(all.count_damaged, 0u);
  EXPECT_EQ(all.position, source.next());
}

TEST(UsnReader, HasARecordAtUsnZero) {
  MemoryRecords source;
  fill(source, 1, 1);
  ASSERT_EQ(read_all(source).records.size(), 1u);
  EXPECT_EQ(read_all(source).records[0].usn, Usn());
}

TEST(UsnReader, BeginsAndEndsWhereItIsTold) {
  MemoryRecords source;
  const auto records = fill(source, 300, 2);
  for (size_t from = 0; from < records.size(); from += 37) {
    for (size_t to = from; to < records.size(); to += 41) {
      const ReadAll all = read_all(source, records[from].usn, records[to].usn);
      ASSERT_EQ(all.records.size(), to - from);
      ASSERT_TRUE(std::equal(all.records.begin(), all.records.end(), &records[from]));
      ASSERT_TRUE(is_record_start(source, kJournal, all.position));
    }
  }
}

TEST(UsnReader, GoesOnWhereItStopped) {
  MemoryRecords source;
  auto expected = fill(source, 10, 3);
  const Usn stopped = read_all(source).position;
  // The next record does not fit in the page: a gap comes first.
  const auto more = fill(source, 50, 4);
  EXPECT_TRUE(*is_record_start(source, kJournal, stopped));
  EXPECT_EQ(read_all(source, stopped).records, more);
}

TEST(UsnReader, ReadsNothingOfAHole) {
  MemoryRecords source;
  constexpr uint64_t kHead = uint64_t{10} << 30;
  source.begin_at(kHead);
  const auto records = fill(source, 20, 5);
  EXPECT_EQ(read_all(source).records, records);
  EXPECT_GE(records[0].usn.raw(), uint64_t{1} << 32);
  const uint64_t pages = (source.next().raw() - kHead + kPageBytes - 1) / kPageBytes;
  EXPECT_EQ(source.count_reads(), pages);
}

TEST(UsnReader, PassesOverHolesInTheMiddle) {
  MemoryRecords source;
  auto records = fill(source, 20, 6);
  source.skip_to(align_up(source.next().raw(), kPageBytes) + (uint64_t{10} << 30));
  const auto more = fill(source, 20, 7);
  records.insert(records.end(), more.begin(), more.end());
  EXPECT_EQ(read_all(source).records, records);
  EXPECT_LE(source.count_reads(), 20u);
}

TEST(UsnReader, ReadsVersions3And4Between) {
  MemoryRecords source;
  std::vector<Record> records;
  for (const uint16_t version : {2, 3, 4, 4, 3, 2}) {
    Record record = record_of(50, 9);
    record.major_version = version;
    if (version == 4) {
      record.name.clear();
      record.timestamp = 0;
      record.file_attributes = 0;
      record.extents = {{0, 4096}, {1 << 20, 8192}};
    }
    source.append(record);
    records.push_back(record);
  }
  EXPECT_EQ(read_all(source).records, records);
}

/// A flaw costs the rest of its page, not more.
TEST(UsnReader, PassesOverADamagedPage) {
  const ondisk::test::QuietReports quiet;
  for (const uint32_t length : {1u, 60u, 0xFFFFFFFFu, 0u, 4096u}) {
    MemoryRecords source;
    const auto records = fill(source, 100, 8);
    const Usn broken = records[40].usn;
    struct_at<le32>(MutableBytes(source.page_at(broken)), broken.raw() % kPageBytes).set(length);
    const ReadAll all = read_all(source);
    std::vector<Record> expected;
    const uint64_t page = broken.raw() / kPageBytes;
    for (const Record& record : records) {
      const bool is_lost = record.usn >= broken && record.usn.raw() / kPageBytes == page;
      if (!is_lost) expected.push_back(record);
    }
    ASSERT_LT(expected.size(), records.size());
    EXPECT_EQ(all.records, expected) << length;
    EXPECT_EQ(all.count_damaged, 1u);
  }
}

TEST(UsnReader, BelievesNoRecordThatIsNotWhereItSays) {
  const ondisk::test::QuietReports quiet;
  MemoryRecords source;
  const auto records = fill(source, 3, 9);
  struct_at<le64>(MutableBytes(source.page_at(Usn())), records[1].usn.raw() + 0x18).set(8);
  const ReadAll all = read_all(source);
  EXPECT_EQ(all.records.size(), 1u);
  EXPECT_EQ(all.count_damaged, 1u);
}

TEST(UsnReader, PassesOverWhatCannotBeReadAndStopsWhenTheDeviceFails) {
  MemoryRecords source;
  const auto records = fill(source, 60, 10);
  const Usn broken = records[30].usn;
  source.make_unreadable(broken, NtStatus::FileCorruptError);
  const ReadAll all = read_all(source);
  EXPECT_EQ(all.count_damaged, 1u);
  EXPECT_LT(all.records.size(), records.size());
  EXPECT_EQ(all.records.back(), records.back());
  source.make_unreadable(broken, NtStatus::IoDeviceError);
  EXPECT_EQ(read_all(source).status, NtStatus::IoDeviceError);
}

TEST(UsnReader, EndsForAnyBytes) {
  const ondisk::test::QuietReports quiet;
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    MemoryRecords source;
    source.begin_at((random() % 100) * 8);
    const auto records = fill(source, 30, random());
    for (int i = 0; i < 20; ++i) {
      const Usn at = records[random() % records.size()].usn;
      ByteVector& page = source.page_at(at);
      // Mostly in the head of a record.
      page[(at.raw() + random() % 64) % kPageBytes] = static_cast<std::byte>(random());
    }
    const ReadAll all = read_all(source);
    ASSERT_EQ(all.status, NtStatus::Success);
    ASSERT_LE(all.records.size(), records.size());
    for (size_t i = 1; i < all.records.size(); ++i) {
      ASSERT_LT(all.records[i - 1].usn, all.records[i].usn);
    }
    ASSERT_TRUE(is_record_start(source, kJournal, Usn::from_raw(random() % 40000)));
  }
}

TEST(UsnReader, KnowsWhereRecordsStart) {
  MemoryRecords source;
  const auto records = fill(source, 200, 12);
  std::set<uint64_t> starts = {source.next().raw()};
  for (const Record& record : records) {
    starts.insert(record.usn.raw());
    starts.insert(record.usn.raw() + record_bytes(record.name.size()));  // of a gap, too
    starts.insert(align_down(record.usn.raw(), kPageBytes));
  }
  for (uint64_t at = 0; at <= source.next().raw() + 64; at += 4) {
    ASSERT_EQ(*is_record_start(source, kJournal, Usn::from_raw(at)), starts.contains(at)) << at;
  }
}

// What Windows wrote.

std::optional<std::string> sample(const std::string& name) {
  const char* named = std::getenv("NTFS_WAL_IMAGES");
  fs::path directory = named != nullptr
                           ? fs::path(named)
                           : fs::path(__FILE__).parent_path() / "../../../../shared/images";
  if (!fs::is_directory(directory)) directory = "../shared/images";
  const fs::path packed = directory / "raw" / (name + ".xz");
  if (!fs::exists(packed)) return std::nullopt;
  FILE* pipe = popen(("xz -dc '" + packed.string() + "'").c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  std::string bytes;
  std::array<char, 65536> part;
  for (size_t n = 0; (n = fread(part.data(), 1, part.size(), pipe)) != 0;) {
    bytes.append(part.data(), n);
  }
  return pclose(pipe) == 0 ? std::optional(bytes) : std::nullopt;
}

using Fields = std::map<std::string, std::string>;

std::string trimmed(std::string text) {
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

/// The records of `fsutil usn readjournal`: their fields by label.
std::vector<Fields> parse_fsutil(const std::string& text) {
  std::vector<Fields> records;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string label = trimmed(line.substr(0, colon));
    if (label == "Usn") records.emplace_back();
    if (records.empty()) continue;
    const bool is_extent = line.starts_with("    [");
    records.back()[is_extent ? "Extent" : label] =
        is_extent ? trimmed(line) : trimmed(line.substr(std::min(colon + 2, line.size())));
  }
  return records;
}

std::string hexadecimal(const char* format, uint64_t value) {
  std::array<char, 40> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

/// The same of a record of ours, for what fsutil says of times and of attributes by name.
Fields fields_of(Record record) {
  const bool is_v4 = record.major_version == 4;
  if (!is_v4) record.major_version = 3;  // as Windows tells it
  Fields fields = {
      {"Usn", std::to_string(record.usn.raw())},
      {"Reason", hexadecimal("0x%08lx: ", record.reason) + reason_labels(record.reason)},
      {"File ID", hexadecimal("%032lx", record.file.low)},
      {"Parent file ID", hexadecimal("%032lx", record.parent.low)},
      {"Major version", std::to_string(record.major_version)},
      {"Minor version", std::to_string(record.minor_version)},
      {"Record length", std::to_string(build_record(record).size())},
  };
  if (is_v4) {
    fields["Number of extents"] = std::to_string(record.extents.size());
    fields["Remaining extents"] = std::to_string(record.remaining_extents);
    fields["Extent"] = "    [1: " + std::to_string(record.extents.at(0).offset) + ", " +
                       std::to_string(record.extents.at(0).length) + "]";
  } else {
    fields["File name"] = std::string(record.name.begin(), record.name.end());
    fields["File name length"] = std::to_string(2 * record.name.size());
    fields["Security ID"] = std::to_string(record.security_id);
  }
  return fields;
}

TEST(UsnReader, AgreesWithWindowsOnItsOwnJournal) {
  const auto bytes = sample("usnjrnlj.bin");
  const auto listing = sample("usnjrnlj.fsutil.txt");
  if (!bytes || !listing) GTEST_SKIP() << "no raw/usnjrnlj.* (NTFS_WAL_IMAGES names the folder)";
  MemoryRecords source(text_bytes(*bytes), Usn());
  const auto expected = parse_fsutil(*listing);
  ASSERT_EQ(expected.size(), 268u);
  constexpr uint64_t kNext = 29792;  // when Windows was asked
  const ReadAll all = read_all(source, Usn(), Usn::from_raw(kNext));
  ASSERT_EQ(all.records.size(), expected.size());
  EXPECT_EQ(all.count_damaged, 0u);
  for (size_t i = 0; i < expected.size(); ++i) {
    for (const auto& [label, value] : fields_of(all.records[i])) {
      ASSERT_TRUE(expected[i].contains(label)) << label << " of record " << i;
      ASSERT_EQ(value, expected[i].at(label)) << label << " of record " << i;
    }
  }
}

TEST(UsnReader, ReadsAPieceOfALargeJournal) {
  const auto bytes = sample("go-ntfs.usn.sample.bin");
  if (!bytes) GTEST_SKIP() << "no raw/go-ntfs.usn.sample.bin (NTFS_WAL_IMAGES names the folder)";
  const auto whole = text_bytes(*bytes);
  const Usn base = parse_record(whole, {"sample"})->record.usn;
  EXPECT_EQ(base.raw(), 0x12A16C30u);
  MemoryRecords source(whole.first(align_down(whole.size(), 8)), base);
  const ondisk::test::QuietReports quiet;  // its last record is cut short
  const ReadAll all = read_all(source);
  // Each step of the walk by the records' own lengths, gaps apart.
  size_t count = 0;
  for (size_t at = 0; at + 60 <= whole.size();) {
    const uint32_t length = struct_at<le32>(whole, at).get();
    if (length == 0) {
      at += kPageBytes - (base.raw() + at) % kPageBytes;
      continue;
    }
    if (at + length > whole.size()) break;
    ASSERT_LT(count, all.records.size());
    EXPECT_EQ(all.records[count].usn.raw(), base.raw() + at);
    ++count;
    at += length;
  }
  EXPECT_EQ(count, all.records.size());
  EXPECT_GT(count, 100u);
}

}  // namespace
}  // namespace ntfs::usn
