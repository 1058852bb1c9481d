#include "fuse/byte_size.h"

#include <gtest/gtest.h>

namespace ntfs::frontend {
namespace {

TEST(ByteSize, ReadsWhatUsersWrite) {
  EXPECT_EQ(parse_byte_size("512"), 512u);
  EXPECT_EQ(parse_byte_size("4K"), 4096u);
  EXPECT_EQ(parse_byte_size("4k"), 4096u);
  EXPECT_EQ(parse_byte_size("8MiB"), uint64_t{8} << 20);
  EXPECT_EQ(parse_byte_size("16T"), uint64_t{16} << 40);
  EXPECT_EQ(parse_byte_size("0"), 0u);
}

TEST(ByteSize, RefusesTheRest) {
  for (const char* text : {"", "K", "-1", "1.5G", "4X", "4KK", "0x10", " 1", "1 ",
                           "99999999999999999999", "99999999999T"}) {
    EXPECT_FALSE(parse_byte_size(text)) << text;
  }
}

TEST(ByteSize, ShowsSizesForPeople) {
  EXPECT_EQ(format_byte_size(0), "0 B");
  EXPECT_EQ(format_byte_size(512), "512 B");
  EXPECT_EQ(format_byte_size(4096), "4 KiB");
  EXPECT_EQ(format_byte_size(1536), "1.5 KiB");
  EXPECT_EQ(format_byte_size(uint64_t{1} << 40), "1 TiB");
}

}  // namespace
}  // namespace ntfs::frontend
