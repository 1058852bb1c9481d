#include "core/ondisk/security_descriptor.h"

#include <gtest/gtest.h>

#include "core/ondisk/index_block.h"
#include "tests/unit/ondisk/quiet_reports.h"

namespace ntfs::ondisk {
namespace {

const Origin kOrigin{"security descriptor"};

Ace allow(const Sid& sid, uint32_t access_mask, uint8_t flags) {
  Ace ace;
  ace.flags = flags;
  ace.access_mask = access_mask;
  ace.sid = sid;
  return ace;
}

SecurityDescriptor sample() {
  SecurityDescriptor descriptor;
  descriptor.owner = Sid{5, {18}};
  descriptor.group = Sid{5, {32, 544}};
  descriptor.dacl.emplace();
  descriptor.dacl->aces = {allow({5, {18}}, AccessMask::FileRead, 0),
                           allow({5, {32, 544}}, AccessMask::FileRead, 0)};
  return descriptor;
}

TEST(SecurityDescriptor, HashIsTheOneThatWindowsKeeps) {
  // The descriptor 0x100 of every volume that Windows 10 formats.
  EXPECT_EQ(security_hash(build_security_descriptor(sample())), 0x32FEC6CBu);
}

TEST(SecurityDescriptor, SurvivesBuildingAndParsing) {
  SecurityDescriptor descriptor = sample();
  descriptor.sacl.emplace();
  Ace label;
  label.type = Ace::kMandatoryLabel;
  label.access_mask = 1;
  label.sid = Sid{16, {0x1000}};
  Ace object_ace;  // a type that is kept as it is
  object_ace.type = 5;
  object_ace.body = ByteVector(36, std::byte{7});
  descriptor.sacl->aces = {label, object_ace};
  const ByteVector bytes = build_security_descriptor(descriptor);
  const auto parsed = parse_security_descriptor(bytes, kOrigin);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->control, DescriptorControl::SelfRelative | DescriptorControl::DaclPresent |
                                 DescriptorControl::SaclPresent);
  descriptor.control = parsed->control;
  EXPECT_EQ(*parsed, descriptor);
  EXPECT_EQ(build_security_descriptor(*parsed), bytes);
}

TEST(SecurityDescriptor, EveryTruncationIsRefused) {
  const test::QuietReports quiet;
  const ByteVector bytes = build_security_descriptor(sample());
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto parsed = parse_security_descriptor(ByteView(bytes).first(length), kOrigin);
    EXPECT_FALSE(parsed.has_value()) << length;
  }
}

TEST(SecurityDescriptor, BrokenBytesNeverCrash) {
  const test::QuietReports quiet;
  const ByteVector good = build_security_descriptor(sample());
  for (size_t position = 0; position < good.size(); ++position) {
    for (const int value : {0x00, 0x01, 0x7F, 0xFF}) {
      ByteVector bytes = good;
      bytes[position] = std::byte(value);
      const auto parsed = parse_security_descriptor(bytes, kOrigin);
      if (!parsed) continue;
      EXPECT_FALSE(describe(*parsed).empty());
    }
  }
}

TEST(SecurityDescriptor, SidReadsAsPeopleWriteIt) {
  EXPECT_EQ(to_text({5, {32, 544}}), "S-1-5-32-544");
  const ByteVector bytes = build_sid({5, {32, 544}});
  EXPECT_EQ(bytes.size(), sid_length({5, {32, 544}}));
  const auto parsed = parse_sid(bytes, kOrigin);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(*parsed, (Sid{5, {32, 544}}));
}

TEST(SecurityDescriptor, SdsEntryKnowsItsPlaceAndItsHash) {
  const test::QuietReports quiet;
  const ByteVector descriptor = build_security_descriptor(sample());
  const ByteVector entry = build_sds_entry(0x100, 0x80, descriptor);
  const auto parsed = parse_sds_entry(entry, 0x80, kOrigin);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->header.security_id.get(), 0x100u);
  EXPECT_TRUE(std::equal(descriptor.begin(), descriptor.end(), parsed->descriptor.begin(),
                         parsed->descriptor.end()));
  EXPECT_FALSE(parse_sds_entry(entry, 0x90, kOrigin).has_value());
  ByteVector broken = entry;
  broken.back() ^= std::byte{1};
  EXPECT_FALSE(parse_sds_entry(broken, 0x80, kOrigin).has_value());
  EXPECT_FALSE(parse_sds_entry(ByteView(entry).first(entry.size() - 1), 0x80, kOrigin).has_value());
}

TEST(SecurityDescriptor, IndexEntriesHaveTheSizesThatWindowsUses) {
  const ByteVector sds = build_sds_entry(0x100, 0, build_security_descriptor(sample()));
  const auto& header = struct_at<SdsEntryHeader>(ByteView(sds));
  const ByteVector sii = build_sii_entry(header);
  EXPECT_EQ(sii.size(), 0x28u);
  EXPECT_EQ(IndexEntryView::of_valid(sii, 0).data_offset(), 0x14u);
  const ByteVector sdh = build_sdh_entry(header);
  EXPECT_EQ(sdh.size(), 0x30u);
  const IndexEntryView view = IndexEntryView::of_valid(sdh, 0);
  EXPECT_EQ(view.key().size(), 8u);
  EXPECT_EQ(view.data().size(), sizeof(SdsEntryHeader));
  EXPECT_EQ(as_text(ByteView(sdh).last(4)), std::string_view("I\0I\0", 4));
}

}  // namespace
}  // namespace ntfs::ondisk
