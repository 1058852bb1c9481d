#include "core/ondisk/attribute_values.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/ondisk/samples.h"

namespace ntfs::ondisk {
namespace {

constexpr Origin kOrigin{"attribute value", 0, 0};

TEST(FileTime, ConvertsBothWays) {
  EXPECT_EQ(FileTime::from_timespec({0, 0}).raw(), 116444736000000000u);
  EXPECT_EQ(FileTime::from_timespec({1, 199}).raw(), 116444736010000001u);
  for (const timespec time : {timespec{0, 0}, timespec{1'700'000'000, 123'456'700},
                              timespec{-1, 999'999'900}, timespec{-11'644'473'600, 0}}) {
    const timespec back = FileTime::from_timespec(time).to_timespec();
    EXPECT_EQ(back.tv_sec, time.tv_sec);
    EXPECT_EQ(back.tv_nsec, time.tv_nsec);
  }
}

TEST(FileTime, StopsAtItsEnds) {
  EXPECT_EQ(FileTime::from_timespec({-11'644'473'601, 5}).raw(), 0u);
  EXPECT_EQ(FileTime::from_timespec({INT64_MIN, 0}).raw(), 0u);
  EXPECT_EQ(FileTime::from_timespec({INT64_MAX, 0}).raw(), uint64_t{INT64_MAX});
  EXPECT_EQ(FileTime::from_raw(~uint64_t{0}).to_timespec().tv_sec,
            FileTime::from_raw(INT64_MAX).to_timespec().tv_sec);
  EXPECT_EQ(FileTime::from_raw(0).to_timespec().tv_sec, -11'644'473'600);
  EXPECT_GT(FileTime::now(), FileTime::from_timespec({1'600'000'000, 0}));
}

TEST(StandardInformationValue, ReadsBothForms) {
  StandardInformation information{};
  information.creation_time.set(1);
  information.class_id.set(2);
  information.security_id.set(3);
  information.usn.set(4);
  const ByteView bytes = bytes_of(information);
  auto parsed = parse_standard_information(bytes, kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->usn.get(), 4u);
  EXPECT_NE(describe(*parsed).find("security 3"), std::string::npos);
  parsed = parse_standard_information(bytes.first(0x30), kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->creation_time.get(), 1u);
  EXPECT_EQ(parsed->class_id.get(), 2u);
  EXPECT_EQ(parsed->security_id.get(), 0u);
  EXPECT_TRUE(parse_standard_information(ByteVector(0x60), kOrigin));
}

TEST(StandardInformationValue, RefusesOtherLengths) {
  for (const size_t length : {0u, 0x2Fu, 0x31u, 0x47u}) {
    EXPECT_FALSE(parse_standard_information(ByteVector(length), kOrigin)) << length;
  }
}

TEST(FileNameValue, RoundTrips) {
  ByteVector value = test::sample_file_name();
  EXPECT_EQ(value.size(), 0x42u + 12);
  value.resize(value.size() + 6, std::byte{9});  // what follows does not belong to it
  const auto name = FileNameView::parse(value, kOrigin);
  ASSERT_TRUE(name);
  EXPECT_EQ(name->name(), u"a name");
  EXPECT_EQ(name->parent(), FileReference(5, 5));
  EXPECT_EQ(name->name_type(), NameType::Posix);
  EXPECT_EQ(name->duplicated().file_size.get(), 123u);
  EXPECT_EQ(name->bytes().size(), 0x42u + 12);
  EXPECT_NE(describe(*name).find("\"a name\""), std::string::npos);
}

TEST(FileNameValue, RefusesWhatIsNoName) {
  const ByteVector good = test::sample_file_name();
  EXPECT_FALSE(FileNameView::parse(ByteView(good).first(0x41), kOrigin));
  EXPECT_FALSE(FileNameView::parse(ByteView(good).first(good.size() - 1), kOrigin));
  ByteVector bad = good;
  struct_at<FileNameHeader>(MutableBytes(bad)).name_length = std::byte{0};
  EXPECT_FALSE(FileNameView::parse(bad, kOrigin));
  bad = good;
  struct_at<FileNameHeader>(MutableBytes(bad)).name_type = std::byte{4};
  EXPECT_FALSE(FileNameView::parse(bad, kOrigin));
}

TEST(VolumeInformationValue, NeedsItsTwelveBytes) {
  VolumeInformation information{};
  information.flags.set(VolumeFlags::Dirty);
  const auto parsed = parse_volume_information(bytes_of(information), kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->flags.get(), VolumeFlags::Dirty);
  EXPECT_FALSE(parse_volume_information(ByteVector(11), kOrigin));
}

TEST(AttributeList, RoundTrips) {
  const ByteVector list = test::sample_attribute_list();
  EXPECT_EQ(list.size(), 0x20u + 0x20 + 0x28);
  EXPECT_EQ(attribute_list_entry_length(0), 0x20u);
  const auto entries = parse_attribute_list(list, kOrigin);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[1].lowest_vcn, Vcn(77));
  EXPECT_EQ((*entries)[2].name, u"stream");
  EXPECT_EQ((*entries)[2].reference, FileReference(32, 1));
  EXPECT_EQ(build_attribute_list(*entries), list);
  EXPECT_NE(describe((*entries)[2]).find("$DATA \"stream\""), std::string::npos);
  EXPECT_TRUE(parse_attribute_list({}, kOrigin)->empty());
}

TEST(AttributeList, RefusesBrokenEntries) {
  const std::vector<std::pair<const char*, std::function<void(AttributeListEntryHeader&)>>>
      defects = {
          {"type", [](auto& entry) { entry.type_code.set(0x81); }},
          {"END", [](auto& entry) { entry.type_code.set(0xFFFFFFFF); }},
          {"length 0", [](auto& entry) { entry.entry_length.set(0); }},
          {"length 0x18", [](auto& entry) { entry.entry_length.set(0x18); }},
          {"odd length", [](auto& entry) { entry.entry_length.set(0x22); }},
          {"long", [](auto& entry) { entry.entry_length.set(0x30); }},
          {"name length", [](auto& entry) { entry.name_length = std::byte{8}; }},
          {"name in the header", [](auto& entry) { entry.name_offset = std::byte{0x10}; }},
          {"name outside", [](auto& entry) { entry.name_offset = std::byte{0xFF}; }},
          {"vcn", [](auto& entry) { entry.lowest_vcn.set(~uint64_t{0}); }},
      };
  for (const auto& [name, break_it] : defects) {
    ByteVector list = test::sample_attribute_list();
    break_it(struct_at<AttributeListEntryHeader>(MutableBytes(list), 0x40));
    EXPECT_FALSE(parse_attribute_list(list, kOrigin)) << name;
  }
  ByteVector list = test::sample_attribute_list();
  list.resize(list.size() + 8);
  EXPECT_FALSE(parse_attribute_list(list, kOrigin));
}

TEST(ExtendedAttributes, NamesMayBeAsLongAsTheirLengthCanSay) {
  const std::vector<Ea> eas = {{0, std::string(255, 'x'), ByteVector(3)}};
  const auto parsed = parse_eas(build_eas(eas), kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, eas);
}

TEST(ExtendedAttributes, RoundTrip) {
  const ByteVector value = test::sample_eas();
  EXPECT_EQ(value.size(), 20u + 24);  // 8 + 6 + 1 + 4 -> 20; 8 + 6 + 1 + 9 = 24
  const auto eas = parse_eas(value, kOrigin);
  ASSERT_TRUE(eas);
  ASSERT_EQ(eas->size(), 2u);
  EXPECT_EQ((*eas)[0].name, "$LXMOD");
  EXPECT_EQ((*eas)[1].flags, kNeedEa);
  EXPECT_EQ((*eas)[1].value.size(), 9u);
  EXPECT_EQ(build_eas(*eas), value);
  const auto information = ea_information_of(*eas);
  ASSERT_TRUE(information);
  EXPECT_EQ(information->packed_length.get(), 15 + 20);
  EXPECT_EQ(information->need_ea_count.get(), 1);
  EXPECT_EQ(information->unpacked_length.get(), value.size());
  const auto parsed = parse_ea_information(bytes_of(*information), kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->packed_length, information->packed_length);
  EXPECT_EQ(parse_ea_information(ByteVector(7), kOrigin).error(), NtStatus::EaCorruptError);
}

TEST(ExtendedAttributes, TakeALengthOfZeroAsTheLast) {
  ByteVector value = test::sample_eas();
  struct_at<EaEntryHeader>(MutableBytes(value), 20).entry_length.set(0);
  const auto eas = parse_eas(value, kOrigin);
  ASSERT_TRUE(eas);
  EXPECT_EQ(eas->size(), 2u);
}

TEST(ExtendedAttributes, HaveALimit) {
  const std::vector<Ea> eas = {{0, "A", ByteVector(65000)}, {0, "B", ByteVector(600)}};
  EXPECT_EQ(ea_information_of(eas).error(), NtStatus::EaTooLarge);
}

TEST(ExtendedAttributes, RefuseBrokenEntries) {
  const std::vector<std::pair<const char*, std::function<void(MutableBytes)>>> defects = {
      {"no name", [](MutableBytes b) { struct_at<EaEntryHeader>(b).name_length = std::byte{0}; }},
      {"long name",
       [](MutableBytes b) { struct_at<EaEntryHeader>(b).name_length = std::byte{255}; }},
      {"unended name", [](MutableBytes b) { b[8 + 6] = std::byte{'X'}; }},
      {"long value", [](MutableBytes b) { struct_at<EaEntryHeader>(b).value_length.set(60000); }},
      {"short entry", [](MutableBytes b) { struct_at<EaEntryHeader>(b).entry_length.set(12); }},
      {"long entry", [](MutableBytes b) { struct_at<EaEntryHeader>(b).entry_length.set(48); }},
      {"rest", [](MutableBytes b) { struct_at<EaEntryHeader>(b).entry_length.set(40); }},
  };
  for (const auto& [name, break_it] : defects) {
    ByteVector value = test::sample_eas();
    break_it(value);
    EXPECT_EQ(parse_eas(value, kOrigin).error(), NtStatus::EaCorruptError) << name;
  }
}

}  // namespace
}  // namespace ntfs::ondisk
