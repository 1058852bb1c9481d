#include "fuse/user_mapping.h"

#include <gtest/gtest.h>

#include "core/ondisk/well_known_sids.h"

namespace ntfs::frontend {
namespace {

using ondisk::Sid;

const Sid kJohn{5, {21, 3141592653, 589793238, 462643383, 1008}};
const Sid kMary{5, {21, 3141592653, 589793238, 462643383, 1009}};
const Sid kSmith{5, {21, 3141592653, 589793238, 462643383, 513}};
const Sid kPattern{5, {21, 3141592653, 589793238, 462643383, 10000}};

std::optional<uint32_t> user_named(const std::string& name) {
  return name == "john" ? std::optional<uint32_t>(1000) : std::nullopt;
}
std::optional<uint32_t> group_named(const std::string& name) {
  return name == "smith" ? std::optional<uint32_t>(100) : std::nullopt;
}

struct Parsed {
  UserMapping mapping;
  std::vector<std::string> problems;
};
Parsed parse(std::string_view text) {
  Parsed parsed;
  parsed.mapping = UserMapping::parse(text, {user_named, group_named}, parsed.problems);
  return parsed;
}

TEST(UserMapping, ReadsTheExampleOfTheManPage) {
  const auto [mapping, problems] = parse(
      "# who is who\n"
      "john::S-1-5-21-3141592653-589793238-462643383-1008\n"
      "1001::S-1-5-21-3141592653-589793238-462643383-1009\r\n"
      "\n"
      ":smith:S-1-5-21-3141592653-589793238-462643383-513\n"
      "::S-1-5-21-3141592653-589793238-462643383-10000");
  EXPECT_TRUE(problems.empty());
  EXPECT_TRUE(mapping.is_usable());
  EXPECT_EQ(mapping.sid_of_user(1000), kJohn);
  EXPECT_EQ(mapping.sid_of_user(1001), kMary);
  EXPECT_EQ(mapping.sid_of_group(100), kSmith);
  EXPECT_EQ(mapping.uid_of(kJohn), 1000u);
  EXPECT_EQ(mapping.gid_of(kSmith), 100u);
  // A user is no group.
  EXPECT_EQ(mapping.gid_of(kJohn), 0u);
  EXPECT_EQ(mapping.uid_of(kSmith), 0u);
}

TEST(UserMapping, RootIsAdministrators) {
  const auto [mapping, problems] = parse("john:smith:S-1-5-21-1-2-3-1008");
  EXPECT_EQ(mapping.sid_of_user(0), ondisk::administrators());
  EXPECT_EQ(mapping.sid_of_group(0), ondisk::administrators());
  EXPECT_EQ(mapping.uid_of(ondisk::administrators()), 0u);
  EXPECT_EQ(mapping.uid_of(ondisk::local_system()), 0u);
  EXPECT_EQ(mapping.gid_of(kMary), 0u);
  EXPECT_FALSE(mapping.sid_of_user(77));
  EXPECT_FALSE(mapping.sid_of_group(77));
}

TEST(UserMapping, AWholeLineIsUserAndGroup) {
  const auto [mapping, problems] = parse(
      "john:smith:S-1-5-21-3141592653-589793238-462643383-1008\n"
      ":100:S-1-5-21-3141592653-589793238-462643383-513\n");
  EXPECT_TRUE(mapping.is_usable());
  EXPECT_EQ(mapping.sid_of_user(1000), kJohn);
  // The line for the group alone counts first; read back, both are it.
  EXPECT_EQ(mapping.sid_of_group(100), kSmith);
  EXPECT_EQ(mapping.gid_of(kJohn), 100u);
  EXPECT_EQ(mapping.gid_of(kSmith), 100u);
}

TEST(UserMapping, APatternMapsEverybodyElse) {
  const auto [mapping, problems] = parse("::S-1-5-21-3141592653-589793238-462643383-10000\n");
  ASSERT_TRUE(mapping.is_usable());
  EXPECT_EQ(mapping.sid_of_user(1), (Sid{5, {21, 3141592653, 589793238, 462643383, 10002}}));
  EXPECT_EQ(mapping.sid_of_group(1), (Sid{5, {21, 3141592653, 589793238, 462643383, 10003}}));
  EXPECT_EQ(mapping.sid_of_user(0xC0000001),
            (Sid{5, {21, 3141592653, 589793238, 462643386, 10002}}));
  for (const uint32_t id : {1u, 2u, 1000u, 0x3FFFFFFFu, 0x40000001u, 0xFFFFFFFEu}) {
    const Sid user = *mapping.sid_of_user(id);
    const Sid group = *mapping.sid_of_group(id);
    EXPECT_EQ(mapping.uid_of(user), id);
    EXPECT_EQ(mapping.gid_of(group), id);
    EXPECT_EQ(mapping.uid_of(group), 0u);
    EXPECT_EQ(mapping.gid_of(user), 0u);
  }
  EXPECT_EQ(mapping.uid_of(kPattern), 0u);
  EXPECT_EQ(mapping.uid_of(kJohn), 0u);  // less than the pattern
  EXPECT_EQ(mapping.uid_of(Sid{5, {21, 3141592653, 589793239, 462643383, 10002}}), 0u);
  EXPECT_EQ(mapping.uid_of(Sid{5, {21, 3141592653, 589793238, 462643387, 10002}}), 0u);
  EXPECT_EQ(mapping.uid_of(Sid{5, {32, 10002}}), 0u);
}

TEST(UserMapping, TellsWhatItLeavesOut) {
  const auto [mapping, problems] = parse(
      "nonsense\n"
      "john:S-1-5-21-1-2-3-1008\n"
      "nobody::S-1-5-21-1-2-3-1008\n"
      ":nobody:S-1-5-21-1-2-3-1008\n"
      "john::S-1-5-32-544\n"
      "john::S-1-5-21-1-2-3-99999999999\n"
      "john::S-1-5-4\n"
      "::S-1-5-21-1-2-3-999\n"
      ":smith:S-1-5-4\n");
  EXPECT_EQ(problems.size(), 8u);
  EXPECT_FALSE(mapping.is_usable());  // no user
  EXPECT_EQ(mapping.gid_of(Sid{5, {4}}), 100u);
}

}  // namespace
}  // namespace ntfs::frontend
