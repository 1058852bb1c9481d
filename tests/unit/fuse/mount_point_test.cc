#include "fuse/mount_point.h"

#include <gtest/gtest.h>

namespace ntfs::frontend {
namespace {

TEST(MountPoint, ReadsALineOfTheMountTable) {
  const auto entry = parse_mount_line(
      "361 29 0:56 / /mnt/with\\040space rw,relatime shared:1 master:2 - fuse.ntfs-wal "
      "/var/tmp/disk.img rw,user_id=0");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->device, "0:56");
  EXPECT_EQ(entry->directory, "/mnt/with space");
  EXPECT_EQ(entry->type, kMountType);
  EXPECT_EQ(entry->source, "/var/tmp/disk.img");
}

TEST(MountPoint, ReadsALineWithoutOptionalFields) {
  const auto entry = parse_mount_line("25 1 0:22 / /proc rw - proc proc rw");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->type, "proc");
}

TEST(MountPoint, RefusesOtherLines) {
  for (const char* line : {"", "1 2 3", "25 1 0:22 / /proc rw proc proc rw", "- - - -"}) {
    EXPECT_FALSE(parse_mount_line(line)) << line;
  }
}

TEST(MountPoint, FindsTheMountOfTheRoot) {
  EXPECT_TRUE(find_mount("/"));
  EXPECT_FALSE(find_mount("/there/is/nothing/here"));
}

TEST(MountPoint, MakesPathsAbsolute) {
  EXPECT_EQ(absolute_path("/"), "/");
  EXPECT_EQ(absolute_path("/proc/"), "/proc");
  EXPECT_EQ(absolute_path("/proc/self/../sys"), "/proc/sys");
}

}  // namespace
}  // namespace ntfs::frontend
