#include "usn/record.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/ondisk/quiet_reports.h"
#include "usn/reason.h"

namespace ntfs::usn {
namespace {

constexpr Origin kOrigin{"change journal"};

Record sample(uint16_t major) {
  Record record;
  record.major_version = major;
  record.file = FileId::of(FileReference(42, 7));
  record.parent = FileId::of(FileReference(5, 5));
  record.usn = Usn::from_raw(0x1122334455667788);
  record.reason = Reason::DataExtend | Reason::FileCreate;
  record.source_info = Source::DataManagement;
  if (major == 4) {
    record.remaining_extents = 3;
    record.extents = {{0, 2228224}, {4194304, 65536}};
    return record;
  }
  record.timestamp = 0x01D6000000000000;
  record.security_id = 0x105;
  record.file_attributes = 0x20;
  record.name = u"n\u00E4me.txt";
  return record;
}

/// Layout from the table "Version 2" of the fact sheet, written out by hand.
TEST(UsnRecord, StandsInVersion2AsDocumented) {
  Record record = sample(2);
  record.name = u"ab";
  const ByteVector bytes = build_record(record);
  const std::array<uint8_t, 64> expected = {
      64,   0,    0,    0,    2,    0,    0,    0,     // length, versions
      42,   0,    0,    0,    0,    0,    7,    0,     // file
      5,    0,    0,    0,    0,    0,    5,    0,     // parent
      0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  // usn
      0,    0,    0,    0,    0,    0,    0xD6, 0x01,  // time
      2,    1,    0,    0,    1,    0,    0,    0,     // reason, source
      5,    1,    0,    0,    0x20, 0,    0,    0,     // security, attributes
      4,    0,    60,   0,    'a',  0,    'b',  0,     // name
  };
  ASSERT_EQ(bytes.size(), expected.size());
  EXPECT_EQ(0, std::memcmp(bytes.data(), expected.data(), expected.size()));
}

TEST(UsnRecord, NameOfVersion3BeginsAt76) {
  const ByteVector bytes = build_record(sample(3));
  EXPECT_EQ(struct_at<le16>(bytes, 0x4A).get(), 76);
  EXPECT_EQ(bytes.size(), align_up(76 + 2 * 8, 8));
}

TEST(UsnRecord, ReadsWhatItWrites) {
  for (const uint16_t major : {2, 3, 4}) {
    const Record record = sample(major);
    const ByteVector bytes = build_record(record);
    EXPECT_EQ(bytes.size() % 8, 0u);
    const auto parsed = parse_record(bytes, kOrigin);
    ASSERT_TRUE(parsed) << major;
    EXPECT_EQ(parsed->record, record);
    EXPECT_EQ(parsed->length, bytes.size());
  }
}

TEST(UsnRecord, LengthFollowsTheName) {
  for (size_t units = 0; units <= kMaxNameUnits; ++units) {
    Record record = sample(2);
    record.name.assign(units, u'x');
    ASSERT_EQ(build_record(record).size(), record_bytes(units));
  }
  EXPECT_EQ(record_bytes(kMaxNameUnits), 576u);
}

TEST(UsnRecord, RefusesLengthsThatCannotBe) {
  const ondisk::test::QuietReports quiet;
  for (const uint32_t length : {1u, 8u, 56u, 60u, 61u, 0x88u, 0x1000u, 0xFFFFFFF8u}) {
    ByteVector bytes = build_record(sample(2));
    struct_at<le32>(MutableBytes(bytes)).set(length);
    EXPECT_EQ(parse_record(bytes, kOrigin).error(), NtStatus::FileCorruptError) << length;
  }
}

TEST(UsnRecord, RefusesNamesAndExtentsOutsideTheRecord) {
  const ondisk::test::QuietReports quiet;
  struct Change {
    uint16_t major;
    size_t offset;
    uint16_t value;
  };
  for (const Change& change :
       {Change{2, 0x38, 22}, Change{2, 0x38, 3}, Change{2, 0x3A, 59}, Change{2, 0x3A, 0xFFF0},
        Change{3, 0x4A, 75}, Change{4, 0x3C, 3}, Change{4, 0x3E, 15}, Change{4, 0x3E, 0xFFFF},
        Change{2, 4, 1}, Change{2, 4, 5}}) {
    ByteVector bytes = build_record(sample(change.major));
    struct_at<le16>(MutableBytes(bytes), change.offset).set(change.value);
    EXPECT_EQ(parse_record(bytes, kOrigin).error(), NtStatus::FileCorruptError)
        << change.major << " " << change.offset << " " << change.value;
  }
}

TEST(UsnRecord, AnyBytesAreReadWithoutHarm) {
  const ondisk::test::QuietReports quiet;
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  size_t whole = 0;
  for (int round = 0; round < 20000; ++round) {
    ByteVector bytes = build_record(sample(static_cast<uint16_t>(2 + random() % 3)));
    bytes.resize(bytes.size() + 8 * (random() % 3));
    for (uint32_t changes = random() % 4; changes > 0; --changes) {
      bytes[random() % 0x50] = static_cast<std::byte>(random());
    }
    bytes.resize(random() % 8 == 0 ? random() % bytes.size() : bytes.size());
    const auto parsed = parse_record(bytes, kOrigin);
    if (!parsed) continue;
    ++whole;
    EXPECT_LE(parsed->length, bytes.size());
    EXPECT_LE(parsed->record.name.size(), kMaxNameUnits);
  }
  EXPECT_GT(whole, 1000u);
}

class Page : public testing::Test {
 protected:
  /// Appends a record whose usn is its place.
  void append(size_t name_units) {
    Record record = sample(2);
    record.usn = Usn::from_raw(kStart + bytes_.size());
    record.name.assign(name_units, u'n');
    const ByteVector more = build_record(record);
    bytes_.insert(bytes_.end(), more.begin(), more.end());
  }
  static constexpr uint64_t kStart = 0x5000;
  ByteVector bytes_;
};

TEST_F(Page, GivesItsRecordsUpToTheZeros) {
  append(1);
  append(200);
  bytes_.resize(kPageBytes);
  PageCursor cursor(bytes_, Usn::from_raw(kStart), FileReference(42, 1));
  EXPECT_EQ((*cursor.next())->usn.raw(), kStart);
  EXPECT_EQ(cursor.position().raw(), kStart + record_bytes(1));
  EXPECT_EQ((*cursor.next())->name.size(), 200u);
  const auto end = cursor.next();
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
}

TEST_F(Page, EndsWithARecordThatFillsIt) {
  while (kPageBytes - bytes_.size() >= 2 * record_bytes(0)) append(0);
  append((kPageBytes - bytes_.size() - 60) / 2);
  ASSERT_EQ(bytes_.size(), kPageBytes);
  PageCursor cursor(bytes_, Usn::from_raw(kStart), FileReference(42, 1));
  size_t count = 0;
  while (*cursor.next()) ++count;
  EXPECT_EQ(count, kPageBytes / record_bytes(0));
}

TEST_F(Page, ReportsDamageOnceAndEnds) {
  const ondisk::test::QuietReports quiet;
  append(3);
  append(3);
  struct_at<le64>(MutableBytes(bytes_), record_bytes(3) + 0x18).set(kStart);
  PageCursor cursor(bytes_, Usn::from_raw(kStart), FileReference(42, 1));
  EXPECT_TRUE(cursor.next());
  EXPECT_EQ(cursor.next().error(), NtStatus::FileCorruptError);
  const auto end = cursor.next();
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
}

TEST_F(Page, BytesBehindTheZerosAreDamage) {
  const ondisk::test::QuietReports quiet;
  append(3);
  bytes_.resize(kPageBytes);
  bytes_.back() = std::byte{1};
  PageCursor cursor(bytes_, Usn::from_raw(kStart), FileReference(42, 1));
  EXPECT_TRUE(cursor.next());
  EXPECT_EQ(cursor.next().error(), NtStatus::FileCorruptError);
}

TEST(UsnReason, EveryBitHasItsNames) {
  uint32_t all = 0;
  for (const BitName& name : reason_names()) {
    EXPECT_EQ(name.bit & (name.bit - 1), 0u);
    EXPECT_EQ(all & name.bit, 0u);
    all |= name.bit;
    EXPECT_EQ(parse_reason(name.keyword), name.bit);
    EXPECT_EQ(parse_reason(name.label), name.bit) << name.label;
    EXPECT_EQ(parse_reason("USN_REASON_" + std::string(name.keyword)), name.bit);
  }
  EXPECT_EQ(all, 0x81FFFF77u);
}

TEST(UsnReason, TextIsThatOfFsutil) {
  EXPECT_EQ(reason_labels(0x80002000), "Rename: new name | Close");
  EXPECT_EQ(reason_labels(0x02000001), "Data overwrite | 0x2000000");
  EXPECT_EQ(parse_reason("data-extend"), 2u);
  EXPECT_EQ(parse_reason("0x80000000"), Reason::Close);
  EXPECT_EQ(parse_reason("nothing"), std::nullopt);
  EXPECT_EQ(parse_reason(""), std::nullopt);
}

}  // namespace
}  // namespace ntfs::usn
