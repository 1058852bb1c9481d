#include "fuse/posix_acl.h"

#include <gtest/gtest.h>

#include "core/base/little_endian.h"

namespace ntfs::frontend {
namespace {

using Tag = PosixAcl::Tag;

struct Row {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = PosixAcl::kNoId;
};

ByteVector value_of(const std::vector<Row>& rows, uint32_t version = 2) {
  ByteVector value;
  const auto append = [&](ByteView bytes) {
    value.insert(value.end(), bytes.begin(), bytes.end());
  };
  append(bytes_of(le32::of(version)));
  for (const Row& row : rows) {
    append(bytes_of(le16::of(row.tag)));
    append(bytes_of(le16::of(row.permissions)));
    append(bytes_of(le32::of(row.id)));
  }
  return value;
}

const std::vector<Row> kPlain = {{0x01, 6}, {0x04, 4}, {0x20, 0}};
const std::vector<Row> kFull = {{0x01, 7},      {0x02, 6, 1001}, {0x02, 4, 1002}, {0x04, 5},
                                {0x08, 7, 100}, {0x10, 6},       {0x20, 1}};

TEST(PosixAcl, SurvivesParsingAndBuilding) {
  for (const auto& rows : {kPlain, kFull}) {
    const auto acl = PosixAcl::parse(value_of(rows));
    ASSERT_TRUE(acl);
    EXPECT_EQ(acl->entries().size(), rows.size());
    EXPECT_EQ(acl->build(), value_of(rows));
  }
}

TEST(PosixAcl, ShowsAsAMode) {
  EXPECT_EQ(PosixAcl::parse(value_of(kPlain))->mode(), 0640u);
  EXPECT_TRUE(PosixAcl::parse(value_of(kPlain))->is_mode());
  EXPECT_EQ(PosixAcl::parse(value_of(kFull))->mode(), 0761u);  // the mask's, not the group's
  EXPECT_FALSE(PosixAcl::parse(value_of(kFull))->is_mode());
}

TEST(PosixAcl, TakesAModeOver) {
  auto plain = *PosixAcl::parse(value_of(kPlain));
  plain.set_mode(0751);
  EXPECT_EQ(plain.build(), value_of({{0x01, 7}, {0x04, 5}, {0x20, 1}}));
  auto full = *PosixAcl::parse(value_of(kFull));
  full.set_mode(0640);
  EXPECT_EQ(full.build(), value_of({{0x01, 6},
                                    {0x02, 6, 1001},
                                    {0x02, 4, 1002},
                                    {0x04, 5},
                                    {0x08, 7, 100},
                                    {0x10, 4},
                                    {0x20, 0}}));
}

TEST(PosixAcl, IsInheritedWithinTheMode) {
  auto full = *PosixAcl::parse(value_of(kFull));
  EXPECT_EQ(full.restrict_to(S_IFREG | S_ISGID | 0666), mode_t{S_IFREG | S_ISGID | 0660});
  EXPECT_EQ(full.build(), value_of({{0x01, 6},
                                    {0x02, 6, 1001},
                                    {0x02, 4, 1002},
                                    {0x04, 5},
                                    {0x08, 7, 100},
                                    {0x10, 6},
                                    {0x20, 0}}));
  auto plain = *PosixAcl::parse(value_of(kPlain));
  EXPECT_EQ(plain.restrict_to(0777), 0640u);
}

TEST(PosixAcl, RefusesWhatIsNone) {
  EXPECT_FALSE(PosixAcl::parse({}));
  EXPECT_FALSE(PosixAcl::parse(value_of({})));
  EXPECT_FALSE(PosixAcl::parse(value_of(kPlain, 1)));
  const ByteVector full = value_of(kFull);
  for (size_t length = 0; length < full.size(); ++length) {
    EXPECT_FALSE(PosixAcl::parse(ByteView(full).first(length))) << length;
  }
  const std::vector<Row> bad[] = {
      {{0x01, 6}, {0x04, 4}},                                   // nobody else
      {{0x01, 6}, {0x04, 4}, {0x20, 0}, {0x20, 0}},             // twice
      {{0x01, 6}, {0x20, 0}, {0x04, 4}},                        // out of order
      {{0x01, 6}, {0x02, 4, 7}, {0x04, 4}, {0x20, 0}},          // no mask
      {{0x01, 6}, {0x04, 4}, {0x10, 4}, {0x10, 4}, {0x20, 0}},  // two masks
      {{0x01, 8}, {0x04, 4}, {0x20, 0}},                        // a fourth bit
      {{0x01, 6}, {0x04, 4}, {0x20, 0}, {0x40, 0}},             // unknown
      {{0x03, 6}, {0x04, 4}, {0x20, 0}},                        // two at once
      {{0x00, 6}, {0x01, 6}, {0x04, 4}, {0x20, 0}},
  };
  for (const auto& rows : bad) EXPECT_FALSE(PosixAcl::parse(value_of(rows)));
}

}  // namespace
}  // namespace ntfs::frontend
