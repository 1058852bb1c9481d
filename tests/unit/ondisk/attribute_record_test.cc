#include "core/ondisk/attribute_record.h"

#include <gtest/gtest.h>

#include <functional>

namespace ntfs::ondisk {
namespace {

constexpr Origin kOrigin{"attribute", 0, 0};

ByteVector pairs_of_one_run() {
  return {std::byte{0x11}, std::byte{4}, std::byte{0x20}, std::byte{0}};
}

ByteVector resident_sample() {
  return build_resident(AttributeType::Data, u"stream", AttributeFlags::Encrypted, 7,
                        text_bytes("hello"), Indexed::No);
}

NonresidentInit nonresident_init(uint16_t flags) {
  NonresidentInit init;
  init.type = AttributeType::Data;
  init.flags = flags;
  init.instance = 3;
  init.lowest = Vcn(0);
  init.next = Vcn(4);
  init.sizes = {
      .allocated = 16384, .file_size = 9000, .valid_data_length = 8000, .total_allocated = 8192};
  init.compression_unit = flags != 0 ? 4 : 0;
  return init;
}

ByteVector nonresident_sample(uint16_t flags) {
  return build_nonresident(nonresident_init(flags), u"name", pairs_of_one_run());
}

TEST(AttributeRecord, BuildsAndReadsAResidentRecord) {
  const ByteVector record = resident_sample();
  EXPECT_EQ(record.size(), 0x18u + 16 + 8);
  EXPECT_EQ(record.size(), resident_length(6, 5));
  const auto view = AttributeView::parse(record, 0, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type(), AttributeType::Data);
  EXPECT_EQ(view->length(), record.size());
  EXPECT_TRUE(view->is_resident());
  EXPECT_TRUE(view->name_equals(u"stream"));
  EXPECT_FALSE(view->name_equals(u""));
  EXPECT_EQ(view->name(), u"stream");
  EXPECT_TRUE(view->is_encrypted());
  EXPECT_EQ(view->instance(), 7);
  EXPECT_EQ(view->value_offset(), 0x28);
  EXPECT_EQ(as_text(view->value()), "hello");
  EXPECT_EQ(view->value_length(), 5u);
  EXPECT_FALSE(view->is_indexed());
  EXPECT_NE(describe(*view).find("$DATA \"stream\""), std::string::npos);
}

TEST(AttributeRecord, PutsTheValueOfAnUnnamedResidentRecordAt0x18) {
  const ByteVector record =
      build_resident(AttributeType::FileName, u"", 0, 2, text_bytes("key"), Indexed::Yes);
  const auto view = AttributeView::parse(record, 0, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->value_offset(), 0x18);
  EXPECT_TRUE(view->is_indexed());
  EXPECT_FALSE(view->has_name());
  EXPECT_TRUE(view->name_equals(u""));
}

TEST(AttributeRecord, ReadsAnEmptyResidentValue) {
  const ByteVector record = build_resident(AttributeType::Data, u"", 0, 0, {}, Indexed::No);
  EXPECT_EQ(record.size(), 0x18u);
  const auto view = AttributeView::parse(record, 0, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->value().empty());
}

TEST(AttributeRecord, BuildsAndReadsANonresidentRecord) {
  const ByteVector record = nonresident_sample(0);
  EXPECT_EQ(record.size(), 0x40u + 8 + 8);
  const auto view = AttributeView::parse(record, 0, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->is_resident());
  EXPECT_EQ(view->name(), u"name");
  EXPECT_EQ(view->lowest_vcn(), Vcn(0));
  EXPECT_EQ(view->next_vcn(), Vcn(4));
  EXPECT_EQ(view->mapping_pairs_offset(), 0x48);
  EXPECT_EQ(view->mapping_pairs_offset(), nonresident_mapping_pairs_offset(4, 0, Vcn(0)));
  EXPECT_FALSE(view->has_total_allocated());
  EXPECT_EQ(view->total_allocated(), 16384u);
  EXPECT_EQ(view->value_length(), 9000u);
  const ByteVector pairs = pairs_of_one_run();
  EXPECT_TRUE(std::equal(pairs.begin(), pairs.end(), view->mapping_pairs().begin()));
  EXPECT_NE(describe(*view).find("nonresident"), std::string::npos);
}

TEST(AttributeRecord, HasTotalAllocatedWhereSparseOrCompressed) {
  for (const uint16_t flags : {AttributeFlags::Sparse, AttributeFlags::Compressed}) {
    const ByteVector record = nonresident_sample(flags);
    const auto view = AttributeView::parse(record, 0, kOrigin);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->mapping_pairs_offset(), 0x50);
    EXPECT_TRUE(view->has_total_allocated());
    EXPECT_EQ(view->sizes(), nonresident_init(flags).sizes);
    EXPECT_EQ(view->compression_unit(), 4);
    EXPECT_EQ(view->is_sparse(), flags == AttributeFlags::Sparse);
    EXPECT_EQ(view->is_compressed(), flags == AttributeFlags::Compressed);
  }
}

TEST(AttributeRecord, LeavesSizesOutOfContinuations) {
  NonresidentInit init = nonresident_init(AttributeFlags::Sparse);
  init.lowest = Vcn(100);
  init.next = Vcn(104);
  const ByteVector record = build_nonresident(init, u"", pairs_of_one_run());
  const auto view = AttributeView::parse(record, 0, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->mapping_pairs_offset(), 0x40);
  EXPECT_EQ(view->lowest_vcn(), Vcn(100));
  EXPECT_FALSE(view->has_total_allocated());
  EXPECT_EQ(view->allocated_size(), 0u);
}

TEST(AttributeRecord, ReadsAnEmptyNonresidentValue) {
  NonresidentInit init;
  const ByteVector record = build_nonresident(init, u"", ByteVector(1));
  const auto view = AttributeView::parse(record, 0, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->next_vcn(), Vcn(0));
}

using Defect = std::pair<const char*, std::function<void(MutableBytes)>>;

void expect_refused(const ByteVector& good, const std::vector<Defect>& defects) {
  ASSERT_TRUE(AttributeView::parse(good, 0, kOrigin));
  for (const auto& [name, break_it] : defects) {
    ByteVector bad = good;
    break_it(bad);
    EXPECT_EQ(AttributeView::parse(bad, 0, kOrigin).error(), NtStatus::FileCorruptError) << name;
  }
}

AttributeHeader& header_of(MutableBytes bytes) { return struct_at<AttributeHeader>(bytes); }
ResidentForm& resident_of(MutableBytes bytes) { return struct_at<ResidentForm>(bytes); }
NonresidentForm& form_of(MutableBytes bytes) { return struct_at<NonresidentForm>(bytes); }

TEST(AttributeRecord, RefusesBrokenHeaders) {
  expect_refused(
      resident_sample(),
      {
          {"type 0", [](MutableBytes b) { header_of(b).type_code.set(0); }},
          {"type 0x88", [](MutableBytes b) { header_of(b).type_code.set(0x88); }},
          {"type 0x110", [](MutableBytes b) { header_of(b).type_code.set(0x110); }},
          {"type END", [](MutableBytes b) { header_of(b).type_code.set(0xFFFFFFFF); }},
          {"length 0", [](MutableBytes b) { header_of(b).record_length.set(0); }},
          {"length 0x10", [](MutableBytes b) { header_of(b).record_length.set(0x10); }},
          {"odd length", [](MutableBytes b) { header_of(b).record_length.set(0x2C); }},
          {"long", [](MutableBytes b) { header_of(b).record_length.set(0x1000); }},
          {"huge", [](MutableBytes b) { header_of(b).record_length.set(0xFFFFFFF8); }},
          {"form 2", [](MutableBytes b) { header_of(b).form_code = std::byte{2}; }},
          {"name in the header", [](MutableBytes b) { header_of(b).name_offset.set(0x10); }},
          {"name in the value", [](MutableBytes b) { header_of(b).name_offset.set(0x20); }},
          {"name outside", [](MutableBytes b) { header_of(b).name_offset.set(0xFFFE); }},
          {"long name", [](MutableBytes b) { header_of(b).name_length = std::byte{255}; }},
          {"value in the header", [](MutableBytes b) { resident_of(b).value_offset.set(0x10); }},
          {"value outside", [](MutableBytes b) { resident_of(b).value_offset.set(0x1000); }},
          {"long value", [](MutableBytes b) { resident_of(b).value_length.set(9); }},
          {"huge value", [](MutableBytes b) { resident_of(b).value_length.set(0xFFFFFFFF); }},
          {"too short to be nonresident",
           [](MutableBytes b) { header_of(b).form_code = std::byte{1}; }},
      });
}

TEST(AttributeRecord, RefusesBrokenNonresidentForms) {
  expect_refused(
      nonresident_sample(AttributeFlags::Sparse),
      {
          {"highest", [](MutableBytes b) { form_of(b).highest_vcn.set(uint64_t{1} << 60); }},
          {"highest below lowest", [](MutableBytes b) { form_of(b).lowest_vcn.set(6); }},
          {"unit", [](MutableBytes b) { form_of(b).compression_unit = std::byte{17}; }},
          {"pairs in the header",
           [](MutableBytes b) { form_of(b).mapping_pairs_offset.set(0x40); }},
          {"pairs at the end",
           [](MutableBytes b) {
             form_of(b).mapping_pairs_offset.set(static_cast<uint16_t>(b.size()));
           }},
          {"pairs over the name",
           [](MutableBytes b) { form_of(b).mapping_pairs_offset.set(0x4C); }},
          {"name in the header", [](MutableBytes b) { header_of(b).name_offset.set(0x40); }},
          {"allocated", [](MutableBytes b) { form_of(b).allocated_size.set(~uint64_t{0}); }},
          {"file size", [](MutableBytes b) { form_of(b).file_size.set(16385); }},
          {"valid data length", [](MutableBytes b) { form_of(b).valid_data_length.set(9001); }},
          {"total allocated",
           [](MutableBytes b) { struct_at<NonresidentSparseForm>(b).total_allocated.set(16385); }},
      });
}

TEST(AttributeRecord, RefusesAnOffsetWithoutRoom) {
  const ByteVector record = resident_sample();
  EXPECT_FALSE(AttributeView::parse(record, record.size(), kOrigin));
  EXPECT_FALSE(AttributeView::parse(record, record.size() + 1, kOrigin));
  EXPECT_FALSE(AttributeView::parse(ByteView(record).first(0x17), 0, kOrigin));
}

}  // namespace
}  // namespace ntfs::ondisk
