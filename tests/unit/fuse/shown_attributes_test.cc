#include "fuse/shown_attributes.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

namespace ntfs::frontend {
namespace {

constexpr ShownOwnership kOwnership{1000, 1001, 0022, 0027};

FileInformation information_of(FileKind kind) {
  FileInformation information;
  information.reference = FileReference(42, 3);
  information.kind = kind;
  information.link_count = 1;
  return information;
}

TEST(ShownAttributes, GivesFilesWithoutMetadataTheMountsOwnerAndMasks) {
  const auto file = shown_attributes(information_of(FileKind::File), kOwnership);
  EXPECT_EQ(file.st_mode, static_cast<mode_t>(S_IFREG | 0644));
  EXPECT_EQ(file.st_uid, 1000u);
  EXPECT_EQ(file.st_gid, 1001u);
  EXPECT_EQ(file.st_ino, 42u);
  EXPECT_EQ(shown_attributes(information_of(FileKind::Directory), kOwnership).st_mode,
            static_cast<mode_t>(S_IFDIR | 0750));
  EXPECT_EQ(shown_attributes(information_of(FileKind::Symlink), kOwnership).st_mode,
            static_cast<mode_t>(S_IFLNK | 0777));
}

TEST(ShownAttributes, StoredMetadataCountsMore) {
  FileInformation information = information_of(FileKind::File);
  information.linux_metadata.uid = 5;
  information.linux_metadata.mode = S_IFREG | 04711;
  const auto shown = shown_attributes(information, kOwnership);
  EXPECT_EQ(shown.st_mode, static_cast<mode_t>(S_IFREG | 04711));
  EXPECT_EQ(shown.st_uid, 5u);
  EXPECT_EQ(shown.st_gid, 1001u);
}

TEST(ShownAttributes, BelievesTheFilesKindNotTheStoredType) {
  FileInformation information = information_of(FileKind::File);
  information.linux_metadata.mode = S_IFBLK | 0600;
  EXPECT_EQ(shown_attributes(information, kOwnership).st_mode, static_cast<mode_t>(S_IFREG | 0600));
}

TEST(ShownAttributes, CountsBlocksOf512Bytes) {
  FileInformation information = information_of(FileKind::File);
  information.file_size = 5000;
  information.allocated_size = 8192;
  const auto shown = shown_attributes(information, kOwnership);
  EXPECT_EQ(shown.st_size, 5000);
  EXPECT_EQ(shown.st_blocks, 16);
}

TEST(ShownAttributes, StoresOnlyWhatDiffersFromTheDefault) {
  EXPECT_TRUE(metadata_to_store({1000, 1001}, S_IFREG | 0644, 0, kOwnership).empty());
  EXPECT_TRUE(metadata_to_store({1000, 1001}, S_IFDIR | 0750, 0, kOwnership).empty());
  EXPECT_TRUE(metadata_to_store({1000, 1001}, S_IFLNK | 0777, 0, kOwnership).empty());
  const auto executable = metadata_to_store({1000, 1001}, S_IFREG | 0755, 0, kOwnership);
  EXPECT_EQ(executable.mode, uint32_t{S_IFREG | 0755});
  EXPECT_FALSE(executable.uid);
  const auto foreign = metadata_to_store({0, 0}, S_IFREG | 0644, 0, kOwnership);
  EXPECT_EQ(foreign.uid, 0u);
  EXPECT_EQ(foreign.gid, 0u);
  EXPECT_FALSE(foreign.mode);
}

TEST(ShownAttributes, StoresTheModeOfSpecialFilesAlways) {
  for (const mode_t type : {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK}) {
    const auto stored = metadata_to_store({1000, 1001}, type | 0644, 0, kOwnership);
    EXPECT_EQ(stored.mode, uint32_t{type | 0644});
  }
}

TEST(ShownAttributes, OnlySpecialFilesAreKnownByTheirMetadata) {
  EXPECT_TRUE(metadata_of_special_file(S_IFREG | 0600, 0).empty());
  EXPECT_TRUE(metadata_of_special_file(S_IFDIR | 0700, 0).empty());
  EXPECT_TRUE(metadata_of_special_file(S_IFLNK | 0777, 0).empty());
  const auto device = metadata_of_special_file(S_IFCHR | 0600, makedev(1, 3));
  EXPECT_EQ(device.mode, uint32_t{S_IFCHR | 0600});
  EXPECT_EQ(device.device, uint64_t{1} | uint64_t{3} << 32);
  EXPECT_FALSE(device.uid || device.gid);
}

TEST(ShownAttributes, KeepsDeviceNumbersAsWslDoes) {
  const dev_t device = makedev(8, 17);
  const auto stored = metadata_to_store({1000, 1001}, S_IFBLK | 0644, device, kOwnership);
  EXPECT_EQ(stored.device, uint64_t{8} | uint64_t{17} << 32);
  FileInformation information = information_of(FileKind::BlockDevice);
  information.linux_metadata = stored;
  EXPECT_EQ(shown_attributes(information, kOwnership).st_rdev, device);
}

}  // namespace
}  // namespace ntfs::frontend
