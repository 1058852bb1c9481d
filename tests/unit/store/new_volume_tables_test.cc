// The tables that a new volume gets, against what volumes made by Windows 10 hold.

#include <gtest/gtest.h>

#include "core/store/attribute_definitions.h"
#include "core/store/default_security.h"
#include "core/store/format.h"
#include "core/store/upcase_table.h"
#include "tests/support/sha256.h"

namespace ntfs {
namespace {

std::string sha256_of(ByteView bytes) {
  support::Sha256 hash;
  hash.update({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
  return hash.hex_digest();
}

TEST(UpCaseTable, IsTheOneThatWindowsWrites) {
  const ByteVector bytes = default_upcase_bytes();
  ASSERT_EQ(bytes.size(), kUpCaseBytes);
  EXPECT_EQ(sha256_of(bytes), "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742");
}

TEST(UpCaseTable, MapsLettersAndNothingElse) {
  const std::vector<char16_t> table = default_upcase_table();
  EXPECT_EQ(table[u'a'], u'A');
  EXPECT_EQ(table[u'\u00E4'], u'\u00C4');
  EXPECT_EQ(table[u'\u00FF'], u'\u0178');
  EXPECT_EQ(table[u'\u00B5'], u'\u00B5');  // MICRO SIGN: its upper case does not lead back
  EXPECT_EQ(table[u'\u0131'], u'\u0131');  // DOTLESS I
  EXPECT_EQ(table[u'{'], u'{');
  EXPECT_EQ(table[0xFF41], 0xFF21);
  for (uint32_t unit = 0xD800; unit < 0xE000; ++unit) EXPECT_EQ(table[unit], unit);
}

TEST(AttributeDefinitions, AreTheOnesThatWindowsWrites) {
  const ByteVector bytes = attribute_definitions();
  ASSERT_EQ(bytes.size(), kAttributeDefinitionsBytes);
  EXPECT_EQ(sha256_of(bytes), "d7de5b1b2f79f45f235ceb1adbc46908ed64eae174eb90ed66aefe5f25165da3");
}

TEST(DefaultSecurity, EntriesAreWholeTwiceAndHaveTheirIds) {
  const DefaultSecurity security = build_default_security();
  ASSERT_EQ(security.entries.size(), 5u);
  const Origin origin{"$SDS"};
  uint32_t id = kReadOnlySystemSecurityId;
  for (const auto& header : security.entries) {
    EXPECT_EQ(header.security_id.get(), id++);
    const uint64_t offset = header.offset.get();
    EXPECT_EQ(offset % ondisk::kSdsAlignment, 0u);
    for (const uint64_t place : {offset, offset + ondisk::kSdsBlockBytes}) {
      const auto entry =
          ondisk::parse_sds_entry(ByteView(security.sds).subspan(place), offset, origin);
      ASSERT_TRUE(entry.has_value()) << place;
      EXPECT_TRUE(ondisk::parse_security_descriptor(entry->descriptor, origin).has_value());
    }
  }
  EXPECT_EQ(id, kDefaultDirectorySecurityId + 1);
}

TEST(DefaultSecurity, SystemDescriptorsAreThoseOfWindows) {
  const DefaultSecurity security = build_default_security();
  EXPECT_EQ(security.entries[0].hash.get(), 0x32FEC6CBu);
  EXPECT_EQ(security.entries[1].hash.get(), 0x3414C8F7u);
}

}  // namespace
}  // namespace ntfs
