#include "core/store/collation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "core/base/little_endian.h"
#include "core/ondisk/attribute_values.h"
#include "core/store/upcase_table.h"
#include "tests/unit/ondisk/quiet_reports.h"

namespace ntfs {
namespace {

using ondisk::Collation;

const UpCase& upcase() {
  static const UpCase table = std::move(UpCase::parse(default_upcase_bytes())).value();
  return table;
}

ByteVector disk_name(std::u16string_view name) {
  ByteVector bytes;
  for (const char16_t unit : name) {
    bytes.push_back(static_cast<std::byte>(unit & 0xFF));
    bytes.push_back(static_cast<std::byte>(unit >> 8));
  }
  return bytes;
}

ByteVector words(std::initializer_list<uint32_t> values) {
  ByteVector bytes;
  for (const uint32_t value : values) {
    const le32 raw = le32::of(value);
    bytes.insert(bytes.end(), bytes_of(raw).begin(), bytes_of(raw).end());
  }
  return bytes;
}

int sign(std::strong_ordering order) { return order < 0 ? -1 : order > 0 ? 1 : 0; }

/// By the definition: fold both, compare; if equal, compare as they are.
int slow_order(std::u16string_view a, std::u16string_view b) {
  const auto fold = [](std::u16string_view name) {
    std::u16string folded(name);
    for (char16_t& unit : folded) unit = upcase()(unit);
    return folded;
  };
  const int folded = fold(a).compare(fold(b));
  const int order = folded != 0 ? folded : a.compare(b);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

TEST(Collation, ShortUpCaseTableIsRefused) {
  const ondisk::test::QuietReports quiet;
  EXPECT_EQ(UpCase::parse(ByteVector(0x1FFFF)).error(), NtStatus::FileCorruptError);
  EXPECT_TRUE(UpCase::parse(ByteVector(0x20001)).has_value());
}

TEST(Collation, NamesGoByFoldedUnitsThenByUnits) {
  const std::vector<std::u16string> ordered = {
      u"",       u"$MFT",   u"A",      u"a",      u"AB",         u"Ab",    u"aB",
      u"ab",     u"abc",    u"ABCD",   u"b",      u"Z",          u"z",     u"_",
      u"\u00C4", u"\u00E4", u"\u0416", u"\u0436", u"\U0001F600", u"\uFFFD"};
  for (size_t i = 0; i < ordered.size(); ++i) {
    for (size_t j = 0; j < ordered.size(); ++j) {
      EXPECT_EQ(sign(compare_names(ordered[i], ordered[j], upcase())), i < j   ? -1
                                                                       : i > j ? 1
                                                                               : 0)
          << i << " " << j;
    }
  }
}

TEST(Collation, NamesOnDiskAndInMemoryAgreeWithTheDefinition) {
  std::mt19937 random(7);
  const std::u16string alphabet = u"aAbBcC019._\u00E4\u00C4\u00DF\u0131\u0416\u0436";
  for (int round = 0; round < 20000; ++round) {
    std::array<std::u16string, 2> names;
    const size_t common = random() % 20;
    for (size_t i = 0; i < common; ++i) names[0] += alphabet[random() % alphabet.size()];
    names[1] = names[0];
    for (auto& name : names) {
      const size_t more = random() % 3;
      for (size_t i = 0; i < more; ++i) name += alphabet[random() % alphabet.size()];
    }
    if (!names[1].empty() && random() % 2 == 0) {
      names[1][random() % names[1].size()] = alphabet[random() % alphabet.size()];
    }
    const int expected = slow_order(names[0], names[1]);
    ASSERT_EQ(sign(compare_names(names[0], names[1], upcase())), expected);
    ASSERT_EQ(sign(compare_names(disk_name(names[0]), disk_name(names[1]), upcase())), expected);
    ASSERT_EQ(sign(compare_names(names[1], names[0], upcase())), -expected);
  }
}

TEST(Collation, EqualIgnoringCaseKnowsMoreThanAscii) {
  EXPECT_TRUE(equal_ignoring_case(std::u16string_view(u"Stra\u00DFE"), u"STRA\u00DFe", upcase()));
  EXPECT_TRUE(equal_ignoring_case(std::u16string_view(u"\u00E4\u0436"), u"\u00C4\u0416", upcase()));
  EXPECT_FALSE(equal_ignoring_case(std::u16string_view(u"ab"), u"abc", upcase()));
  EXPECT_FALSE(equal_ignoring_case(std::u16string_view(u"abcdef"), u"abcdeg", upcase()));
  EXPECT_TRUE(
      equal_ignoring_case(disk_name(u"LongerName.TXT"), disk_name(u"longernamE.txt"), upcase()));
}

TEST(Collation, FileNameKeysGoByTheirNameOnly) {
  const ondisk::DuplicatedInformation none{};
  const auto key = [&](uint64_t parent, std::u16string_view name) {
    return ondisk::build_file_name(FileReference(parent, 1), none, ondisk::NameType::Posix, name);
  };
  EXPECT_EQ(sign(compare_keys(Collation::FileName, key(5, u"a"), key(9, u"a"), upcase())), 0);
  EXPECT_EQ(sign(compare_keys(Collation::FileName, key(9, u"a"), key(5, u"B"), upcase())), -1);
  EXPECT_EQ(name_in_key(key(5, u"xyz")).size(), 6u);
}

TEST(Collation, NumbersGoByValueNotByByte) {
  const auto order = [](Collation rule, const ByteVector& a, const ByteVector& b) {
    return sign(compare_keys(rule, a, b, upcase()));
  };
  EXPECT_EQ(order(Collation::NtofsUlong, words({0x100}), words({0xFF})), 1);
  EXPECT_EQ(order(Collation::NtofsSecurityHash, words({1, 9}), words({1, 10})), -1);
  EXPECT_EQ(order(Collation::NtofsSecurityHash, words({2, 0}), words({1, 10})), 1);
  EXPECT_EQ(order(Collation::NtofsUlongs, words({1, 2, 3}), words({1, 2})), 1);
  EXPECT_EQ(order(Collation::NtofsUlongs, words({1, 2, 3, 4}), words({1, 2, 3, 4})), 0);
  EXPECT_EQ(order(Collation::Binary, words({0x100}), words({0xFF})), -1);
  EXPECT_EQ(order(Collation::NtofsSid, words({0x0101}), words({0x0201})), -1);
}

TEST(Collation, AnyBytesAreSafeUnderAnyRule) {
  std::mt19937 random(11);
  for (int round = 0; round < 5000; ++round) {
    std::array<ByteVector, 2> keys;
    for (auto& key : keys) {
      key.resize(random() % 100);
      for (auto& byte : key) byte = static_cast<std::byte>(random());
    }
    for (const uint32_t rule : {0x00u, 0x01u, 0x02u, 0x10u, 0x11u, 0x12u, 0x13u, 0x77u}) {
      const auto collation = static_cast<Collation>(rule);
      const int order = sign(compare_keys(collation, keys[0], keys[1], upcase()));
      ASSERT_EQ(order, -sign(compare_keys(collation, keys[1], keys[0], upcase())));
    }
  }
}

}  // namespace
}  // namespace ntfs
