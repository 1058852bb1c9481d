#include "fuse/name_encoding.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ntfs::frontend {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[static_cast<uint8_t>(c) >> 4];
    text += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return text;
}

TEST(NameEncoding, IsUtf8ForProperText) {
  EXPECT_EQ(name_units("plain.txt"), u"plain.txt");
  EXPECT_EQ(name_units("gr\xC3\xBC\xC3\x9F"), u"gr\u00FC\u00DF");
  EXPECT_EQ(name_units("\xE2\x82\xAC"), u"\u20AC");
  EXPECT_EQ(name_units("\xF0\x9F\x98\x80"), u"\U0001F600");
  EXPECT_EQ(name_bytes(u"\U0001F600\u20AC\u00FCx"), "\xF0\x9F\x98\x80\xE2\x82\xAC\xC3\xBCx");
}

TEST(NameEncoding, EscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(name_units("a\xFFz"), (std::u16string{u'a', char16_t{0xDCFF}, u'z'}));
  EXPECT_EQ(name_units("\x80"), (std::u16string{char16_t{0xDC80}}));
  EXPECT_EQ(name_units("\xC0\xAF"), (std::u16string{char16_t{0xDCC0}, char16_t{0xDCAF}}))
      << "overlong";
  EXPECT_EQ(name_units("\xF4\x90\x80\x80").size(), 4u) << "above U+10FFFF";
  EXPECT_EQ(name_units("\xE2\x82").size(), 2u) << "cut off";
}

TEST(NameEncoding, KeepsLoneSurrogatesOfTheVolume) {
  const std::u16string high{u'x', char16_t{0xD800}, u'y'};
  const std::u16string low{u'x', char16_t{0xDC01}, u'y'};
  EXPECT_EQ(name_bytes(high), "x\xED\xA0\x80y");
  EXPECT_EQ(name_units("x\xED\xA0\x80y"), high);
  EXPECT_EQ(name_units(name_bytes(low)), low);
}

TEST(NameEncoding, NeverJoinsTwoSurrogatesIntoACharacter) {
  const std::string pair_apart = "\xED\xA0\x80\xED\xB0\x80";  // D800 and DC00, each on its own
  const std::string character = "\xF0\x90\x80\x80";
  EXPECT_NE(name_units(pair_apart), name_units(character));
  EXPECT_EQ(name_bytes(name_units(pair_apart)), pair_apart);
  const std::string high_and_bad_byte = "\xED\xA0\x80\x80";
  EXPECT_EQ(name_bytes(name_units(high_and_bad_byte)), high_and_bad_byte);
  const std::string escape_spelled_out = "\xED\xB2\x80";  // DC80, which stands for the byte 80
  EXPECT_NE(name_units(escape_spelled_out), name_units("\x80"));
  EXPECT_EQ(name_bytes(name_units(escape_spelled_out)), escape_spelled_out);
}

/// Bytes that are often nearly UTF-8, and often full of surrogates.
std::string random_name(std::mt19937_64& random) {
  static const std::vector<std::string> pieces = {"a",
                                                  "\xED\xA0\x80",
                                                  "\xED\xAF\xBF",
                                                  "\xED\xB0\x80",
                                                  "\xED\xB2\x80",
                                                  "\xED\xB3\xBF",
                                                  "\xED\xB4\x80",
                                                  "\xED\xBF\xBF",
                                                  "\xF0\x90\x80\x80",
                                                  "\xC3\xBC",
                                                  "\x80",
                                                  "\xFF",
                                                  "\xED",
                                                  "\xA0",
                                                  "\xB2",
                                                  "\xE2\x82\xAC",
                                                  "\xF4\x8F\xBF\xBF",
                                                  "\xC0",
                                                  "\xF0\x90"};
  std::string name;
  const size_t count = 1 + random() % 8;
  for (size_t i = 0; i < count; ++i) {
    if (random() % 4 == 0) {
      const auto byte = static_cast<char>(1 + random() % 255);
      if (byte != '/') name += byte;
    } else {
      name += pieces[random() % pieces.size()];
    }
  }
  return name;
}

TEST(NameEncoding, ComesBackForAnyBytesAndKeepsNamesApart) {
  const uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  std::map<std::u16string, std::string> seen;
  for (int i = 0; i < 200000; ++i) {
    const std::string name = random_name(random);
    const std::u16string units = name_units(name);
    ASSERT_EQ(name_bytes(units), name) << hex(name) << ", seed " << seed;
    const auto [place, is_new] = seen.emplace(units, name);
    ASSERT_EQ(place->second, name) << hex(name) << ", seed " << seed;
  }
}

TEST(NameEncoding, EveryByteStringOfThreeComesBack) {
  for (uint32_t bits = 0; bits < 1u << 24; bits += 1) {
    if ((bits >> 16) < 0xC0 && bits % 7 != 0) continue;  // the interesting ones begin high
    const std::string name{static_cast<char>(bits >> 16), static_cast<char>(bits >> 8),
                           static_cast<char>(bits)};
    ASSERT_EQ(name_bytes(name_units(name)), name) << hex(name);
  }
}

TEST(NameEncoding, RefusesMoreThan255Units) {
  EXPECT_TRUE(name_from_kernel(std::string(255, 'x')));
  EXPECT_EQ(name_from_kernel(std::string(256, 'x')).error(), NtStatus::NameTooLong);
  std::string long_in_bytes;
  for (int i = 0; i < 255; ++i) long_in_bytes += "\xE2\x82\xAC";
  EXPECT_TRUE(name_from_kernel(long_in_bytes));
  EXPECT_TRUE(name_from_kernel(std::string(255, '\xFF')));
}

}  // namespace
}  // namespace ntfs::frontend
