#include "core/ondisk/file_record.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/index_block.h"
#include "tests/unit/ondisk/samples.h"

namespace ntfs::ondisk {
namespace {

using test::sample_file_record;

constexpr Origin kOrigin{"file record", 0, 0};

FileRecordHeader& header_of(MutableBytes record) { return struct_at<FileRecordHeader>(record); }

/// The attribute of that type in a valid record, to be broken.
MutableBytes attribute_in(MutableBytes record, AttributeType type) {
  const auto found = FileRecordView::of_valid(record).find(type);
  EXPECT_TRUE(found.has_value());
  return record.subspan(found->offset(), found->length());
}

TEST(FileRecord, FormatsAnEmptyRecord) {
  for (const size_t size : {size_t{1024}, size_t{4096}}) {
    ByteVector record(size, std::byte{0xAA});
    FileRecordInit init;
    init.record_number = 0x123456789ABC;
    init.sequence = 9;
    format_file_record(record, init);
    const auto view = FileRecordView::parse(record, kOrigin);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->first_attribute_offset(), size == 1024 ? 0x38 : 0x48);
    EXPECT_EQ(view->used_bytes(), view->first_attribute_offset() + 8u);
    EXPECT_EQ(view->total_bytes(), size);
    EXPECT_EQ(view->sequence(), 9);
    EXPECT_FALSE(view->in_use());
    EXPECT_TRUE(view->is_base());
    EXPECT_TRUE(view->has_record_number());
    EXPECT_EQ(view->reference(), FileReference(0x123456789ABC, 9));
    EXPECT_TRUE(view->lsn().is_none());
    EXPECT_EQ(view->begin(), view->end());
    EXPECT_EQ(view->end_marker_offset(), view->first_attribute_offset());
  }
}

TEST(FileRecord, SurvivesProtection) {
  ByteVector record(1024);
  format_file_record(record, {});
  ByteVector copy = record;
  protect(copy);
  ASSERT_TRUE(unprotect(copy, kOrigin));
  struct_at<le16>(MutableBytes(copy), 0x30).set(1);  // the counter alone went on
  EXPECT_EQ(copy, record);
}

TEST(FileRecord, FindsAttributes) {
  const ByteVector record = sample_file_record();
  const auto view = FileRecordView::parse(record, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->in_use());
  EXPECT_TRUE(view->is_directory());
  size_t count = 0;
  for (const AttributeView attribute : *view) {
    EXPECT_EQ(view->attribute_at(attribute.offset())->offset(), attribute.offset());
    EXPECT_TRUE(view->is_attribute_boundary(attribute.offset()));
    EXPECT_FALSE(view->attribute_at(attribute.offset() + 8));
    ++count;
  }
  EXPECT_EQ(count, 6u);
  EXPECT_TRUE(view->is_attribute_boundary(view->end_marker_offset()));
  EXPECT_FALSE(view->attribute_at(view->end_marker_offset()));
  EXPECT_EQ(view->end_marker_offset() + kEndMarkerBytes, view->used_bytes());

  EXPECT_TRUE(view->find(AttributeType::StandardInformation));
  EXPECT_FALSE(view->find(AttributeType::Data));
  EXPECT_EQ(as_text(view->find(AttributeType::Data, u"s")->value()), "stream");
  EXPECT_FALSE(view->find(AttributeType::Ea));
  EXPECT_EQ(view->find(AttributeType::IndexAllocation, u"$I30", Vcn(0))->next_vcn(), Vcn(4));
  EXPECT_EQ(view->find(AttributeType::IndexAllocation, u"$I30", Vcn(4))->lowest_vcn(), Vcn(4));
  EXPECT_FALSE(view->find(AttributeType::IndexAllocation, u"$I30", Vcn(5)));
  EXPECT_TRUE(view->find(AttributeType::Data, u"s", Vcn(0)));
  EXPECT_TRUE(view->find_instance(AttributeType::FileName, 1));
  EXPECT_FALSE(view->find_instance(AttributeType::FileName, 2));
}

TEST(FileRecord, DescribesItself) {
  const ByteVector record = sample_file_record();
  const std::string text = describe(FileRecordView::of_valid(record));
  EXPECT_NE(text.find("file record 30-2"), std::string::npos);
  EXPECT_NE(text.find("$FILE_NAME"), std::string::npos);
  EXPECT_NE(text.find("\"a name\""), std::string::npos);
  EXPECT_NE(text.find("$INDEX_ALLOCATION \"$I30\""), std::string::npos);
}

TEST(FileRecord, RefusesBrokenHeaders) {
  const std::vector<std::pair<const char*, std::function<void(FileRecordHeader&)>>> defects = {
      {"signature", [](auto& h) { h.multi_sector.signature[0] = 'B'; }},
      {"array count", [](auto& h) { h.multi_sector.update_sequence_array_count.set(4); }},
      {"odd array", [](auto& h) { h.multi_sector.update_sequence_array_offset.set(0x31); }},
      {"early array", [](auto& h) { h.multi_sector.update_sequence_array_offset.set(0x28); }},
      {"late array", [](auto& h) { h.multi_sector.update_sequence_array_offset.set(0x1FA); }},
      {"total", [](auto& h) { h.total_bytes.set(4096); }},
      {"odd first", [](auto& h) { h.first_attribute_offset.set(0x3C); }},
      {"first in the array", [](auto& h) { h.first_attribute_offset.set(0x30); }},
      {"first outside", [](auto& h) { h.first_attribute_offset.set(0xFFF8); }},
      {"odd used", [](auto& h) { h.used_bytes.set(h.used_bytes.get() + 4); }},
      {"used 0", [](auto& h) { h.used_bytes.set(0); }},
      {"used too small", [](auto& h) { h.used_bytes.set(h.used_bytes.get() - 8); }},
      {"used > total", [](auto& h) { h.used_bytes.set(1032); }},
      {"used huge", [](auto& h) { h.used_bytes.set(0xFFFFFFF8); }},
  };
  for (const auto& [name, break_it] : defects) {
    ByteVector record = sample_file_record();
    break_it(header_of(record));
    EXPECT_EQ(FileRecordView::parse(record, kOrigin).error(), NtStatus::FileCorruptError) << name;
  }
  EXPECT_FALSE(FileRecordView::parse(ByteView(sample_file_record()).first(1016), kOrigin));
  EXPECT_FALSE(FileRecordView::parse({}, kOrigin));
}

TEST(FileRecord, RefusesBrokenAttributes) {
  const std::vector<std::pair<const char*, std::function<void(MutableBytes)>>> defects = {
      {"no END",
       [](MutableBytes record) {
         const auto view = FileRecordView::of_valid(record);
         struct_at<le32>(record, view.end_marker_offset()).set(0x80);
       }},
      {"descending types",
       [](MutableBytes record) {
         struct_at<le32>(attribute_in(record, AttributeType::FileName)).set(0x100);
       }},
      {"length 0",
       [](MutableBytes record) {
         const MutableBytes attribute = attribute_in(record, AttributeType::FileName);
         struct_at<AttributeHeader>(attribute).record_length.set(0);
       }},
      {"length over the used bytes",
       [](MutableBytes record) {
         const MutableBytes attribute = attribute_in(record, AttributeType::FileName);
         struct_at<AttributeHeader>(attribute).record_length.set(1000);
       }},
      {"$STANDARD_INFORMATION length",
       [](MutableBytes record) {
         const MutableBytes attribute = attribute_in(record, AttributeType::StandardInformation);
         struct_at<ResidentForm>(attribute).value_length.set(0x40);
       }},
      {"$FILE_NAME length",
       [](MutableBytes record) {
         const MutableBytes attribute = attribute_in(record, AttributeType::FileName);
         struct_at<ResidentForm>(attribute).value_length.set(0x44);
       }},
      {"$INDEX_ROOT entries",
       [](MutableBytes record) {
         const auto root = FileRecordView::of_valid(record).find(AttributeType::IndexRoot, u"$I30");
         const size_t value = root->offset() + root->value_offset();
         struct_at<IndexHeader>(record, value + kIndexHeaderInRoot).used_bytes.set(0);
       }},
      {"nonresident $FILE_NAME",
       [](MutableBytes record) {
         const auto part =
             FileRecordView::of_valid(record).find(AttributeType::IndexAllocation, u"$I30");
         ByteVector moved(1024);
         FileRecordInit init;
         format_file_record(moved, init);
         const ByteView bytes = part->bytes();
         std::copy(bytes.begin(), bytes.end(), moved.begin() + 0x38);
         struct_at<le32>(MutableBytes(moved), 0x38).set(0x30);
         struct_at<le32>(MutableBytes(moved), 0x38 + bytes.size()).set(0xFFFFFFFF);
         header_of(moved).used_bytes.set(static_cast<uint32_t>(0x40 + bytes.size()));
         std::copy(moved.begin(), moved.end(), record.begin());
       }},
  };
  for (const auto& [name, break_it] : defects) {
    ByteVector record = sample_file_record();
    break_it(record);
    EXPECT_EQ(FileRecordView::parse(record, kOrigin).error(), NtStatus::FileCorruptError) << name;
  }
}

TEST(FileRecord, ReadsTheHeaderOfOldVolumes) {
  ByteVector record(1024);
  format_file_record(record, {});
  header_of(record).multi_sector.update_sequence_array_offset.set(0x2A);
  const auto view = FileRecordView::parse(record, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->has_record_number());
}

}  // namespace
}  // namespace ntfs::ondisk
