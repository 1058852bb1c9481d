#include "core/ondisk/utf16.h"

#include <gtest/gtest.h>

namespace ntfs::ondisk {
namespace {

TEST(Utf16, RoundTripsThroughBytes) {
  const std::u16string text = u"Grüße \xD83D\xDE00";
  const ByteVector bytes = utf16_bytes(text);
  EXPECT_EQ(bytes.size(), 2 * text.size());
  EXPECT_EQ(bytes[0], std::byte{'G'});
  EXPECT_EQ(bytes[1], std::byte{0});
  EXPECT_EQ(utf16_from(bytes), text);
  EXPECT_TRUE(utf16_equals(bytes, text));
  EXPECT_FALSE(utf16_equals(bytes, u"Gruesse"));
  EXPECT_FALSE(utf16_equals(ByteView(bytes).first(2), text));
}

TEST(Utf16, ShowsSurrogatePairsAndEscapesWhatIsNoText) {
  EXPECT_EQ(to_display(u"a\u00E9\u20AC\xD83D\xDE00"), "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(to_display(std::u16string(1, char16_t{0xD83D})), "\\uD83D");
  EXPECT_EQ(to_display(std::u16string{char16_t{0xDE00}, u'x'}), "\\uDE00x");
  EXPECT_EQ(to_display(u"a\nb"), "a\\u000Ab");
}

}  // namespace
}  // namespace ntfs::ondisk
