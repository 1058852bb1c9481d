#include "core/ondisk/boot_sector.h"

#include <gtest/gtest.h>

#include <functional>

namespace ntfs::ondisk {
namespace {

constexpr Origin kOrigin{"boot sector", 0, 0};
constexpr uint64_t kHuge = uint64_t{1} << 50;

VolumeGeometry geometry_of(uint32_t sector_size, uint32_t cluster_size, uint32_t record_size,
                           uint32_t index_block_size) {
  VolumeGeometry geometry;
  geometry.sector_size = sector_size;
  geometry.cluster_size = cluster_size;
  geometry.file_record_size = record_size;
  geometry.index_block_size = index_block_size;
  geometry.total_clusters = 1000;
  geometry.total_sectors = uint64_t{1000} * (cluster_size / sector_size);
  geometry.mft_lcn = Lcn(4);
  geometry.mftmirr_lcn = Lcn(500);
  geometry.serial = 0x1122334455667788;
  geometry.hidden_sectors = 2048;
  geometry.sectors_per_track = 63;
  geometry.heads = 255;
  return geometry;
}

TEST(BootSector, RoundTripsEveryPossibleShape) {
  for (uint32_t sector = 512; sector <= 4096; sector *= 2) {
    for (uint32_t cluster = sector; cluster <= kMaxClusterBytes; cluster *= 2) {
      for (const uint32_t record : {1024u, 4096u}) {
        for (uint32_t index = 512; index <= 65536; index *= 2) {
          const VolumeGeometry geometry = geometry_of(sector, cluster, record, index);
          const auto bytes = serialize_boot_sector(geometry);
          const auto parsed = parse_boot_sector(bytes, kHuge, kOrigin);
          ASSERT_TRUE(parsed) << sector << ' ' << cluster << ' ' << record << ' ' << index;
          EXPECT_EQ(*parsed, geometry);
        }
      }
    }
  }
}

TEST(BootSector, VolumesWithSharedClustersCarryAnotherNameThatOthersDoNotKnow) {
  VolumeGeometry geometry = geometry_of(512, 4096, 1024, 4096);
  geometry.has_refcounts = true;
  auto bytes = serialize_boot_sector(geometry);
  EXPECT_EQ(as_text(ByteView(bytes).subspan(3, 8)), "NTFS+REF");
  const auto parsed = parse_boot_sector(bytes, kHuge, kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, geometry);
  bytes[10] = std::byte{'X'};
  EXPECT_EQ(parse_boot_sector(bytes, kHuge, kOrigin).error(), NtStatus::UnrecognizedVolume);
}

TEST(BootSector, StoresLargeClustersAsNegativeExponent) {
  const auto bytes = serialize_boot_sector(geometry_of(512, 2u << 20, 1024, 4096));
  const auto& raw = struct_at<BootSector>(bytes);
  EXPECT_EQ(raw.sectors_per_cluster, std::byte{0xF4});
  EXPECT_EQ(raw.clusters_per_file_record, std::byte{0xF6});
  EXPECT_EQ(raw.clusters_per_index_block, std::byte{0xF4});
}

TEST(BootSector, CountsIndexBlocksInSectorsWhereClustersAreLarger) {
  EXPECT_EQ(geometry_of(512, 4096, 1024, 4096).index_vcn_bytes(), 4096u);
  EXPECT_EQ(geometry_of(512, 4096, 1024, 4096).index_block_steps(), 1);
  EXPECT_EQ(geometry_of(512, 512, 1024, 4096).index_block_steps(), 8);
  EXPECT_EQ(geometry_of(512, 65536, 1024, 4096).index_vcn_bytes(), 512u);
  EXPECT_EQ(geometry_of(512, 65536, 1024, 4096).index_block_steps(), 8);
}

TEST(BootSector, DropsTheRestOfAClusterAtTheEnd) {
  VolumeGeometry geometry = geometry_of(512, 4096, 1024, 4096);
  geometry.total_sectors += 7;
  const auto parsed = parse_boot_sector(serialize_boot_sector(geometry), kHuge, kOrigin);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->total_clusters, 1000u);
}

TEST(BootSector, DoesNotRecognizeOtherBytes) {
  auto bytes = serialize_boot_sector(geometry_of(512, 4096, 1024, 4096));
  EXPECT_EQ(parse_boot_sector(ByteView(bytes).first(511), kHuge, kOrigin).error(),
            NtStatus::UnrecognizedVolume);
  struct_at<BootSector>(MutableBytes(bytes)).end_marker.set(0);
  EXPECT_EQ(parse_boot_sector(bytes, kHuge, kOrigin).error(), NtStatus::UnrecognizedVolume);
  bytes = serialize_boot_sector(geometry_of(512, 4096, 1024, 4096));
  struct_at<BootSector>(MutableBytes(bytes)).oem_id[0] = 'M';
  EXPECT_EQ(parse_boot_sector(bytes, kHuge, kOrigin).error(), NtStatus::UnrecognizedVolume);
}

TEST(BootSector, RefusesValuesThatCannotBe) {
  const std::vector<std::pair<const char*, std::function<void(BootSector&)>>> defects = {
      {"sector 0", [](BootSector& raw) { raw.bytes_per_sector.set(0); }},
      {"sector 256", [](BootSector& raw) { raw.bytes_per_sector.set(256); }},
      {"sector 8192", [](BootSector& raw) { raw.bytes_per_sector.set(8192); }},
      {"sector 513", [](BootSector& raw) { raw.bytes_per_sector.set(513); }},
      {"cluster 0", [](BootSector& raw) { raw.sectors_per_cluster = std::byte{0}; }},
      {"cluster 3", [](BootSector& raw) { raw.sectors_per_cluster = std::byte{3}; }},
      {"cluster 4 MiB", [](BootSector& raw) { raw.sectors_per_cluster = std::byte{0xF3}; }},
      {"cluster 2^127", [](BootSector& raw) { raw.sectors_per_cluster = std::byte{0x81}; }},
      {"record 0", [](BootSector& raw) { raw.clusters_per_file_record = std::byte{0}; }},
      {"record 8 KiB", [](BootSector& raw) { raw.clusters_per_file_record = std::byte{2}; }},
      {"record 512", [](BootSector& raw) { raw.clusters_per_file_record = std::byte{0xF7}; }},
      {"record 2^127", [](BootSector& raw) { raw.clusters_per_file_record = std::byte{0x81}; }},
      {"index 0", [](BootSector& raw) { raw.clusters_per_index_block = std::byte{0}; }},
      {"index 256", [](BootSector& raw) { raw.clusters_per_index_block = std::byte{0xF8}; }},
      {"index 128 KiB", [](BootSector& raw) { raw.clusters_per_index_block = std::byte{32}; }},
      {"index 3 clusters", [](BootSector& raw) { raw.clusters_per_index_block = std::byte{3}; }},
      {"no sectors", [](BootSector& raw) { raw.total_sectors.set(7); }},
      {"all sectors", [](BootSector& raw) { raw.total_sectors.set(~uint64_t{0}); }},
      {"mft 0", [](BootSector& raw) { raw.mft_lcn.set(0); }},
      {"mft outside", [](BootSector& raw) { raw.mft_lcn.set(1000); }},
      {"mirror 0", [](BootSector& raw) { raw.mftmirr_lcn.set(0); }},
      {"mirror outside", [](BootSector& raw) { raw.mftmirr_lcn.set(1000); }},
      {"mirror on mft", [](BootSector& raw) { raw.mftmirr_lcn.set(4); }},
  };
  for (const auto& [name, break_it] : defects) {
    auto bytes = serialize_boot_sector(geometry_of(512, 4096, 1024, 4096));
    break_it(struct_at<BootSector>(MutableBytes(bytes)));
    EXPECT_EQ(parse_boot_sector(bytes, kHuge, kOrigin).error(), NtStatus::FileCorruptError) << name;
  }
}

TEST(BootSector, RefusesAVolumeLargerThanItsDevice) {
  const VolumeGeometry geometry = geometry_of(512, 4096, 1024, 4096);
  const auto bytes = serialize_boot_sector(geometry);
  EXPECT_TRUE(parse_boot_sector(bytes, geometry.volume_bytes(), kOrigin));
  EXPECT_EQ(parse_boot_sector(bytes, geometry.volume_bytes() - 1, kOrigin).error(),
            NtStatus::FileCorruptError);
}

}  // namespace
}  // namespace ntfs::ondisk
