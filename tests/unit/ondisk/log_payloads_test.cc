// describe_payload: what the log command says of the payloads of records.

#include <gtest/gtest.h>

#include <random>

#include "core/ondisk/log_operations.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/ondisk/samples.h"

namespace ntfs::ondisk {
namespace {

bool says(const std::string& text, std::string_view words) {
  return text.find(words) != std::string::npos;
}

ByteVector bytes_from(std::initializer_list<int> values) {
  ByteVector bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// The attribute records of the sample file record, one behind the other, with the END marker.
ByteVector sample_attributes() {
  const ByteVector record = test::sample_file_record();
  const auto view = FileRecordView::of_valid(record);
  const ByteView all = ByteView(record).first(view.used_bytes());
  const ByteView attributes = all.subspan((*view.begin()).offset());
  return {attributes.begin(), attributes.end()};
}

TEST(LogPayload, NamesWhatAFileRecordHolds) {
  ByteVector record = test::sample_file_record();
  record.resize(FileRecordView::of_valid(record).used_bytes());  // as it stands in the log
  const std::string text = describe_payload(LogOp::InitializeFileRecordSegment, record);
  EXPECT_TRUE(says(text, "file record ")) << text;
  EXPECT_TRUE(says(text, "; 0x038 $STANDARD_INFORMATION length ")) << text;
  EXPECT_TRUE(says(text, "\"a name\" type ")) << text;
  EXPECT_TRUE(says(text, "$INDEX_ALLOCATION \"$I30\"")) << text;
  EXPECT_FALSE(says(text, "\n"));
}

TEST(LogPayload, TellsAttributesWithTheirValues) {
  const ByteVector attributes = sample_attributes();
  const std::string all = describe_payload(LogOp::WriteEndOfFileRecordSegment, attributes);
  EXPECT_TRUE(says(all, "$STANDARD_INFORMATION")) << all;
  EXPECT_TRUE(says(all, "\"a name\"")) << all;
  EXPECT_TRUE(all.ends_with("; END")) << all;
  for (const LogOp op : {LogOp::CreateAttribute, LogOp::DeleteAttribute}) {
    const std::string one = describe_payload(op, attributes);
    EXPECT_TRUE(one.starts_with("0x000 $STANDARD_INFORMATION")) << one;
    EXPECT_TRUE(says(one, " created ")) << one;
    EXPECT_FALSE(says(one, "END"));
  }
}

TEST(LogPayload, TellsIndexEntriesOfNamesAndOfViews) {
  const ByteVector names = test::sample_name_block();
  const IndexEntryView first = *IndexBlockView::of_valid(names).node().begin();
  const ByteView entry =
      ByteView(names).subspan(kIndexHeaderInBlock + first.offset(), first.length());
  for (const LogOp op : {LogOp::AddIndexEntryAllocation, LogOp::DeleteIndexEntryAllocation,
                         LogOp::AddIndexEntryRoot, LogOp::WriteEndOfIndexBuffer}) {
    const std::string text = describe_payload(op, entry);
    EXPECT_TRUE(says(text, " file ")) << text;
    EXPECT_TRUE(says(text, "\" type ")) << text;
  }
  const ByteVector view = test::sample_view_block();
  const IndexEntryView key = *IndexBlockView::of_valid(view).node().begin();
  const ByteView rest = ByteView(view).subspan(kIndexHeaderInBlock + key.offset());
  const std::string text = describe_payload(LogOp::WriteEndOfIndexBuffer, rest);
  EXPECT_TRUE(says(text, " key ")) << text;
  EXPECT_TRUE(says(text, " bytes of data; ")) << text;
  EXPECT_TRUE(says(text, " END")) << text;
}

TEST(LogPayload, TellsRunsSizesAndBits) {
  // 3 clusters at 100, then 2 at 90, then a hole of 5.
  const ByteVector pairs = bytes_from({0x11, 3, 100, 0x11, 2, 0xF6, 0x01, 5, 0});
  EXPECT_EQ(describe_payload(LogOp::UpdateMappingPairs, pairs),
            "mapping pairs: 3 clusters at +100; 2 clusters at -10; hole of 5; END");
  EXPECT_EQ(describe_payload(LogOp::UpdateMappingPairs, ByteView(pairs).first(4)),
            "mapping pairs: 3 clusters at +100; ...");
  EXPECT_EQ(describe_payload(LogOp::UpdateMappingPairs, bytes_from({0x90, 1})), "9001");
  EXPECT_EQ(describe_payload(LogOp::SetNewAttributeSizes,
                             NewAttributeSizes{4096, 10, 20, std::nullopt}.encode()),
            "allocated 4096 valid 10 data 20");
  const auto bits = BitRange{7, 3}.encode();
  EXPECT_EQ(describe_payload(LogOp::ClearBitsInNonresidentBitMap, bits), "bits 7 count 3");
  EXPECT_EQ(describe_payload(LogOp::ForgetTransaction, {}), "");
  EXPECT_EQ(describe_payload(LogOp::UpdateNonresidentValue, bytes_from({1, 0xAB})), "01ab");
}

TEST(LogPayload, TellsWhatAnIndexRepeatsOfAFile) {
  DuplicatedInformation information{};
  information.creation_time.set(116444736000000000);  // 1970
  information.file_size.set(77);
  const std::string text = describe_payload(LogOp::UpdateFileNameRoot, bytes_of(information));
  EXPECT_TRUE(says(text, "created 1970-01-01T00:00:00.0000000Z")) << text;
  EXPECT_TRUE(says(text, "size 77 of 0")) << text;
}

TEST(LogPayload, TellsTheDumpsOfACheckpointEntryByEntry) {
  const std::array<std::optional<OpenAttribute>, 2> slots = {
      std::nullopt, OpenAttribute{FileReference(5, 6), 0xA0, 4096, {}}};
  EXPECT_EQ(describe_payload(LogOp::OpenAttributeTableDump, encode_open_attributes(slots)),
            "2 slots; 0x40: file 5-6 $INDEX_ALLOCATION index block 4096");
  const std::array<OpenAttributeName, 1> names = {OpenAttributeName{slot_offset(1), u"$I30"}};
  EXPECT_EQ(describe_payload(LogOp::AttributeNamesDump, encode_names(names)), "0x40: \"$I30\"");
  ByteVector transaction(0x28);
  transaction[4] = std::byte{1};
  transaction[8] = std::byte{0x42};
  const std::array<ByteView, 1> transactions = {transaction};
  const ByteVector table = encode_restart_table(0x28, transactions);
  EXPECT_EQ(describe_payload(LogOp::TransactionTableDump, table),
            "1 slots; 0x18: state 1 first 0x42 previous 0x0 undo next 0x0 undo records 0 bytes 0");
  ByteVector dirty(0x28);
  dirty[4] = std::byte{0x18};
  dirty[0xC] = std::byte{1};
  dirty[0x20] = std::byte{9};
  const std::array<ByteView, 1> pages = {dirty};
  EXPECT_EQ(describe_payload(LogOp::DirtyPageTableDump, encode_restart_table(0x28, pages)),
            "1 slots; 0x18: slot 0x18 vcn 0 bytes 0 oldest 0x0 lcns 9");
}

TEST(LogPayload, SurvivesAnyPieceOfAnything) {
  const test::QuietReports quiet;
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::array<ByteVector, 4> samples = {sample_attributes(), test::sample_file_record(),
                                             test::sample_name_block(), test::sample_view_block()};
  for (int round = 0; round < 4000; ++round) {
    ByteVector piece = samples[random() % samples.size()];
    const size_t from = random() % 2 == 0 ? 0 : random() % piece.size();
    piece.erase(piece.begin(), piece.begin() + static_cast<ptrdiff_t>(from));
    piece.resize(random() % (piece.size() + 1));
    for (unsigned i = 0; i < random() % 4 && !piece.empty(); ++i) {
      piece[random() % std::min<size_t>(piece.size(), 120)] = static_cast<std::byte>(random());
    }
    for (uint16_t op = 0; op < 0x28; ++op) {
      EXPECT_LT(describe_payload(static_cast<LogOp>(op), piece).size(), 40'000u);
    }
  }
}

}  // namespace
}  // namespace ntfs::ondisk
