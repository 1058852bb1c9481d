#include "core/ondisk/log_operations.h"

#include <gtest/gtest.h>

#include <random>

namespace ntfs::ondisk {
namespace {

const Origin kOrigin{"log record", 0, 0};

ByteVector bytes(std::initializer_list<unsigned> values) {
  ByteVector result;
  for (const unsigned value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

TEST(LogOp, HasTheDocumentedNames) {
  EXPECT_EQ(name_of(LogOp::Noop), "Noop");
  EXPECT_EQ(name_of(LogOp::UpdateMappingPairs), "UpdateMappingPairs");
  EXPECT_EQ(name_of(LogOp::ForgetTransaction), "ForgetTransaction");
  EXPECT_EQ(name_of(LogOp::ZeroEndOfFileRecord), "ZeroEndOfFileRecord");
  EXPECT_EQ(name_of(static_cast<LogOp>(0x26)), "Unknown");
  EXPECT_EQ(name_of(static_cast<LogOp>(0xFFFF)), "Unknown");
}

// The record of the format's worked example.
TEST(ClientRecord, HasTheDocumentedBytes) {
  const Lcn lcn(0x14);
  ClientRecord record;
  record.redo = record.undo = LogOp::UpdateResidentValue;
  record.target = {slot_offset(0), 0x150, 0x18, 0, 2, Vcn(0x10)};
  record.lcns = {&lcn, 1};
  record.redo_data = text_bytes("HELLO\n");
  record.undo_data = text_bytes("hello\n");
  const ByteVector encoded = encode(record);
  EXPECT_EQ(encoded.size(), 0x38u);
  EXPECT_EQ(encoded.size(), encoded_size(record));
  EXPECT_EQ(as_text(ByteView(encoded).subspan(0x28, 6)), "HELLO\n");
  EXPECT_EQ(as_text(ByteView(encoded).subspan(0x30, 6)), "hello\n");
  const ByteVector head = bytes({0x07, 0, 0x07, 0,    0x28, 0, 0x06, 0, 0x30, 0, 0x06, 0, 0x18, 0,
                                 0x01, 0, 0x50, 0x01, 0x18, 0, 0,    0, 0x02, 0, 0x10, 0, 0,    0,
                                 0,    0, 0,    0,    0x14, 0, 0,    0, 0,    0, 0,    0});
  EXPECT_TRUE(std::equal(head.begin(), head.end(), encoded.begin()));
}

TEST(ClientRecord, ReadsWhatItWrote) {
  const std::array<Lcn, 3> lcns = {Lcn(5), Lcn(6), Lcn(100)};
  const ByteVector redo(13, std::byte{1});
  const ByteVector undo(700, std::byte{2});
  ClientRecord record;
  record.redo = LogOp::AddIndexEntryAllocation;
  record.undo = LogOp::DeleteIndexEntryAllocation;
  record.target = {slot_offset(3), 0, 0x58, 2, 8, Vcn(9)};
  record.lcns = lcns;
  record.redo_data = redo;
  record.undo_data = undo;
  const ByteVector encoded = encode(record);
  const auto view = ClientRecordView::parse(encoded, 0, kOrigin).value();
  EXPECT_EQ(view.redo(), record.redo);
  EXPECT_EQ(view.undo(), record.undo);
  EXPECT_EQ(view.target().target_attribute, 0x90u);
  EXPECT_EQ(view.target().attribute_offset, 0x58u);
  EXPECT_EQ(view.target().cluster_block_offset, 2u);
  EXPECT_EQ(view.target().target_vcn, Vcn(9));
  ASSERT_EQ(view.lcn_count(), 3u);
  EXPECT_EQ(view.lcn(2), Lcn(100));
  EXPECT_TRUE(
      std::equal(redo.begin(), redo.end(), view.redo_data().begin(), view.redo_data().end()));
  EXPECT_TRUE(
      std::equal(undo.begin(), undo.end(), view.undo_data().begin(), view.undo_data().end()));
}

TEST(ClientRecord, AlwaysHasRoomForAnLcnAndSharesEqualPayloads) {
  const auto range = BitRange{7, 3}.encode();
  const Lcn lcn(1);
  ClientRecord record;
  record.redo = LogOp::SetBitsInNonresidentBitMap;
  record.undo = LogOp::ClearBitsInNonresidentBitMap;
  record.target.target_attribute = slot_offset(1);
  record.lcns = {&lcn, 1};
  record.redo_data = record.undo_data = range;
  const ByteVector encoded = encode(record);
  EXPECT_EQ(encoded.size(), 0x30u);
  const auto view = ClientRecordView::parse(encoded, 0, kOrigin).value();
  EXPECT_EQ(BitRange::parse(view.undo_data(), kOrigin).value().first, 7u);
  EXPECT_EQ(describe_payload(view.redo(), view.redo_data()), "bits 7 count 3");
  EXPECT_EQ(filler_record().size(), 0x28u);
  const ByteVector filler = filler_record();
  EXPECT_EQ(ClientRecordView::parse(filler, 0, kOrigin).value().redo(), LogOp::ForgetTransaction);
}

TEST(ClientRecord, RefusesWhatDoesNotFit) {
  const Lcn lcn(1);
  const ByteVector data(16, std::byte{1});
  ClientRecord record;
  record.redo = record.undo = LogOp::UpdateResidentValue;
  record.target.target_attribute = slot_offset(0);
  record.lcns = {&lcn, 1};
  record.redo_data = data;
  record.undo_data = ByteView(data).first(8);
  const ByteVector good = encode(record);
  ASSERT_TRUE(ClientRecordView::parse(good, 0, kOrigin).has_value());
  struct Row {
    size_t offset;
    uint16_t value;
  };
  for (const Row& row : {Row{4, 0x29}, Row{4, 0x20}, Row{6, 0xFFFF}, Row{8, 0x48}, Row{8, 0x3C},
                         Row{0xA, 0x100}, Row{0xC, 0}, Row{0xE, 0xFFFF}, Row{0xE, 6}}) {
    ByteVector bad = good;
    struct_at<le16>(MutableBytes(bad), row.offset).set(row.value);
    EXPECT_FALSE(ClientRecordView::parse(bad, 0, kOrigin).has_value()) << row.offset;
  }
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ClientRecordView::parse(ByteView(good).first(length), 0, kOrigin).has_value());
  }
}

TEST(ClientRecord, KnowsOmittedPayloads) {
  const ByteVector data(16, std::byte{1});
  const Lcn lcn(1);
  ClientRecord record;
  record.redo = record.undo = LogOp::UpdateNonresidentValue;
  record.target.target_attribute = slot_offset(0);
  record.lcns = {&lcn, 1};
  record.redo_data = data;
  ByteVector encoded = encode(record);
  encoded.resize(0x28);
  EXPECT_FALSE(ClientRecordView::parse(encoded, 0, kOrigin).has_value());
  const auto view = ClientRecordView::parse(encoded, 0x0002, kOrigin).value();
  EXPECT_EQ(view.redo_length(), 16u);
  EXPECT_TRUE(view.redo_data().empty());
}

TEST(OpenAttribute, IsReadInBothVersions) {
  OpenAttribute open;
  open.file = FileReference(5, 5);
  open.type_code = 0xA0;
  open.bytes_per_index = 4096;
  open.open_lsn = lfs::Lsn::from_raw(0x100808);
  const auto encoded = open.encode();
  EXPECT_EQ(struct_at<le32>(ByteView(encoded), 0).get(), 0xFFFFFFFFu);
  const auto again = OpenAttribute::parse(encoded, kOrigin).value();
  EXPECT_EQ(again.file, open.file);
  EXPECT_EQ(again.type_code, 0xA0u);
  EXPECT_EQ(again.bytes_per_index, 4096u);
  EXPECT_EQ(again.open_lsn, open.open_lsn);
  OpenAttributeEntry0 old{};
  old.file_reference.set(FileReference(6, 6).raw());
  old.type_code.set(0x80);
  EXPECT_EQ(OpenAttribute::parse(bytes_of(old), kOrigin).value().file, FileReference(6, 6));
  EXPECT_FALSE(OpenAttribute::parse(ByteView(encoded).first(0x20), kOrigin).has_value());
}

TEST(RestartTable, LinksEveryFreeEntry) {
  const std::vector<std::optional<OpenAttribute>> slots = {
      std::nullopt, OpenAttribute{FileReference(5, 5), 0xA0, 4096, {}}, std::nullopt, std::nullopt};
  const ByteVector table = encode_open_attributes(slots);
  const ByteView view(table);
  const auto& header = struct_at<RestartTableHeader>(view);
  EXPECT_EQ(header.entry_count.get(), 4u);
  EXPECT_EQ(header.allocated_count.get(), 1u);
  EXPECT_EQ(header.first_free.get(), 0x18u);
  EXPECT_EQ(header.last_free.get(), 0x18u + 3 * 0x28);
  EXPECT_EQ(struct_at<le32>(view, 0x18).get(), 0x18u + 2 * 0x28);
  EXPECT_EQ(struct_at<le32>(view, 0x18 + 2 * 0x28).get(), 0x18u + 3 * 0x28);
  EXPECT_EQ(struct_at<le32>(view, 0x18 + 3 * 0x28).get(), 0u);
  const auto parsed = RestartTable::parse(table, kOrigin).value();
  ASSERT_EQ(parsed.entry_count(), 4u);
  EXPECT_FALSE(parsed.entry(0).has_value());
  ASSERT_TRUE(parsed.entry(1).has_value());
  EXPECT_EQ(OpenAttribute::parse(*parsed.entry(1), kOrigin).value().file, FileReference(5, 5));
  EXPECT_EQ(parsed.offset_of(1), slot_offset(1));
  EXPECT_FALSE(RestartTable::parse(view.first(0x17), kOrigin).has_value());
  EXPECT_FALSE(RestartTable::parse(view.first(0x40), kOrigin).has_value());
}

TEST(AttributeNames, AreReadAsWritten) {
  const std::vector<OpenAttributeName> names = {{slot_offset(1), u"$I30"}, {slot_offset(4), u"$J"}};
  const ByteVector dump = encode_names(names);
  EXPECT_EQ(dump.size(), 4u + 8 + 2 + 4 + 4 + 2 + 4);
  const auto parsed = parse_names(dump, kOrigin).value();
  ASSERT_EQ(parsed.size(), 2u);
  EXPECT_EQ(parsed[1].slot, slot_offset(4));
  EXPECT_EQ(parsed[1].name, u"$J");
  EXPECT_FALSE(parse_names(ByteView(dump).first(9), kOrigin).has_value());
}

TEST(ClientRestart, IsReadAsWrittenAndInShortForms) {
  ClientRestart restart;
  restart.check_point_start = lfs::Lsn::from_raw(5);
  restart.open_attributes = {lfs::Lsn::from_raw(6), 0x40};
  restart.bytes_per_cluster = 4096;
  restart.oldest_lsn = lfs::Lsn::from_raw(5);
  const auto encoded = restart.encode();
  EXPECT_EQ(encoded.size(), 0x70u);
  EXPECT_EQ(struct_at<le32>(ByteView(encoded), 0).get(), 1u);
  const auto parsed = ClientRestart::parse(encoded, kOrigin).value();
  EXPECT_EQ(parsed.open_attributes.length_bytes, 0x40u);
  EXPECT_EQ(parsed.bytes_per_cluster, 4096u);
  EXPECT_EQ(parsed.oldest_lsn.raw(), 5u);
  const auto shorter = ClientRestart::parse(ByteView(encoded).first(0x40), kOrigin).value();
  EXPECT_EQ(shorter.bytes_per_cluster, 0u);
  EXPECT_FALSE(ClientRestart::parse(ByteView(encoded).first(0x3F), kOrigin).has_value());
}

TEST(DirtyPage, IsReadInBothVersions) {
  ByteVector entry(0x30);
  struct_at<le32>(MutableBytes(entry), 0x04).set(0x18);
  struct_at<le32>(MutableBytes(entry), 0x0C).set(2);
  struct_at<le64>(MutableBytes(entry), 0x10).set(7);
  struct_at<le64>(MutableBytes(entry), 0x20).set(50);
  const auto page = DirtyPage::parse(entry, 1, kOrigin).value();
  EXPECT_EQ(page.vcn, Vcn(7));
  ASSERT_EQ(page.lcns.size(), 2u);
  EXPECT_EQ(page.lcns[0], Lcn(50));
  EXPECT_FALSE(DirtyPage::parse(entry, 0, kOrigin).has_value());  // two do not fit there
}

TEST(NewAttributeSizes, KeepTheOrderOfTheLog) {
  const ByteVector encoded = NewAttributeSizes{3, 1, 2, std::nullopt}.encode();
  EXPECT_EQ(encoded.size(), 24u);
  EXPECT_EQ(struct_at<le64>(ByteView(encoded), 8).get(), 1u);
  EXPECT_EQ(describe_payload(LogOp::SetNewAttributeSizes, encoded), "allocated 3 valid 1 data 2");
  const ByteVector total = NewAttributeSizes{3, 1, 2, 9}.encode();
  EXPECT_EQ(NewAttributeSizes::parse(total, kOrigin).value().total_allocated, 9u);
  EXPECT_FALSE(NewAttributeSizes::parse(ByteView(total).first(23), kOrigin).has_value());
}

TEST(LogOperations, SurviveAnyBytes) {
  std::mt19937 random(5);
  ::testing::internal::CaptureStderr();  // thousands of reports
  for (int round = 0; round < 2000; ++round) {
    ByteVector data(random() % 0x90);
    for (auto& byte : data) byte = static_cast<std::byte>(random() % 3 == 0 ? random() : 0);
    const auto view = ClientRecordView::parse(data, static_cast<uint16_t>(random() % 8), kOrigin);
    if (view && view->lcn_count() > 0) (void)view->lcn(view->lcn_count() - 1);
    const auto table = RestartTable::parse(data, kOrigin);
    for (size_t i = 0; table && i < table->entry_count(); ++i) (void)table->entry(i);
    (void)parse_names(data, kOrigin);
    (void)ClientRestart::parse(data, kOrigin);
    (void)DirtyPage::parse(data, random() % 2, kOrigin);
    for (uint16_t op = 0; op < 0x28; ++op) (void)describe_payload(static_cast<LogOp>(op), data);
  }
  (void)::testing::internal::GetCapturedStderr();
}

}  // namespace
}  // namespace ntfs::ondisk
