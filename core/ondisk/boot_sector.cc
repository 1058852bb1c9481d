#include "core/ondisk/boot_sector.h"

#include <fmt/format.h>

#include <algorithm>

namespace ntfs::ondisk {

namespace {

constexpr std::array<char, 8> kOemId = {'N', 'T', 'F', 'S', ' ', ' ', ' ', ' '};
constexpr std::array<char, 8> kRefcountsOemId = {'N', 'T', 'F', 'S', '+', 'R', 'E', 'F'};
constexpr uint16_t kEndMarker = 0xAA55;
constexpr uint32_t kDriveSignature = 0x00800080;
constexpr uint32_t kMinIndexBlockBytes = 512;
constexpr uint32_t kMaxIndexBlockBytes = 64u << 10;
constexpr uint8_t kLargestPlainSectorCount = 0x80;

/// Bytes of a cluster, or 0 when the encoded value cannot be.
uint64_t decode_cluster_size(uint8_t encoded, uint32_t sector_size) {
  if (encoded <= kLargestPlainSectorCount) {
    return is_power_of_two(encoded) ? uint64_t{encoded} * sector_size : 0;
  }
  const unsigned shift = 256u - encoded;
  return shift < 32 ? uint64_t{sector_size} << shift : 0;
}

uint8_t encode_cluster_size(uint32_t cluster_size, uint32_t sector_size) {
  const uint32_t sectors = cluster_size / sector_size;
  if (sectors <= kLargestPlainSectorCount) return static_cast<uint8_t>(sectors);
  return static_cast<uint8_t>(256 - __builtin_ctz(sectors));
}

/// Bytes of a file record or index block: clusters, or as negative number the exponent. 0 when the
/// encoded value cannot be.
uint64_t decode_unit_size(uint8_t encoded, uint32_t cluster_size) {
  if (encoded < 0x80) return uint64_t{encoded} * cluster_size;
  const unsigned shift = 256u - encoded;
  return shift < 32 ? uint64_t{1} << shift : 0;
}

uint8_t encode_unit_size(uint32_t size, uint32_t cluster_size) {
  const uint32_t clusters = size / cluster_size;
  if (clusters >= 1 && clusters < 0x80) return static_cast<uint8_t>(clusters);
  return static_cast<uint8_t>(256 - __builtin_ctz(size));
}

bool is_possible_sector_size(uint64_t size) {
  return is_power_of_two(size) && size >= 512 && size <= 4096;
}
bool is_possible_cluster_size(uint64_t size) {
  return is_power_of_two(size) && size >= kMinClusterBytes && size <= kMaxClusterBytes;
}
bool is_possible_record_size(uint64_t size) { return size == 1024 || size == 4096; }
bool is_possible_index_block_size(uint64_t size) {
  return is_power_of_two(size) && size >= kMinIndexBlockBytes && size <= kMaxIndexBlockBytes;
}

Result<> parse_sizes(const BootSector& raw, VolumeGeometry& geometry, const Origin& origin) {
  const uint16_t sector_size = raw.bytes_per_sector.get();
  if (!is_possible_sector_size(sector_size)) {
    return corrupt(origin, "bytes per sector", sector_size, "512, 1024, 2048 or 4096");
  }
  const auto cluster_byte = static_cast<uint8_t>(raw.sectors_per_cluster);
  const uint64_t cluster_size = decode_cluster_size(cluster_byte, sector_size);
  if (!is_possible_cluster_size(cluster_size)) {
    return corrupt(origin, "sectors per cluster", cluster_byte, "a cluster of 512 B to 2 MiB");
  }
  geometry.sector_size = sector_size;
  geometry.cluster_size = static_cast<uint32_t>(cluster_size);

  const auto record_byte = static_cast<uint8_t>(raw.clusters_per_file_record);
  const uint64_t record_size = decode_unit_size(record_byte, geometry.cluster_size);
  if (!is_possible_record_size(record_size)) {
    return corrupt(origin, "clusters per file record", record_byte, "a record of 1 or 4 KiB");
  }
  const auto index_byte = static_cast<uint8_t>(raw.clusters_per_index_block);
  const uint64_t index_size = decode_unit_size(index_byte, geometry.cluster_size);
  if (!is_possible_index_block_size(index_size)) {
    return corrupt(origin, "clusters per index block", index_byte, "a block of 512 B to 64 KiB");
  }
  geometry.file_record_size = static_cast<uint32_t>(record_size);
  geometry.index_block_size = static_cast<uint32_t>(index_size);
  return {};
}

Result<> parse_places(const BootSector& raw, uint64_t device_bytes, VolumeGeometry& geometry,
                      const Origin& origin) {
  const uint64_t sectors = raw.total_sectors.get();
  if (sectors > device_bytes / geometry.sector_size) {
    return corrupt(origin, "total sectors", sectors, "no more than the device has");
  }
  const uint64_t clusters = sectors / (geometry.cluster_size / geometry.sector_size);
  if (clusters == 0) return corrupt(origin, "total sectors", sectors, "at least a cluster");
  geometry.total_sectors = sectors;
  geometry.total_clusters = clusters;
  const uint64_t mft = raw.mft_lcn.get();
  if (mft == 0 || mft >= clusters) return corrupt(origin, "lcn of $MFT", mft, "in the volume");
  const uint64_t mirror = raw.mftmirr_lcn.get();
  if (mirror == 0 || mirror >= clusters || mirror == mft) {
    return corrupt(origin, "lcn of $MFTMirr", mirror, "in the volume, not that of $MFT");
  }
  geometry.mft_lcn = Lcn(mft);
  geometry.mftmirr_lcn = Lcn(mirror);
  return {};
}

}  // namespace

Result<VolumeGeometry> parse_boot_sector(ByteView bytes, uint64_t device_bytes,
                                         const Origin& origin) {
  const auto raw = view_as<BootSector>(bytes);
  if (!raw || (*raw)->end_marker.get() != kEndMarker) return NtStatus::UnrecognizedVolume;
  const BootSector& sector = **raw;
  VolumeGeometry geometry;
  geometry.has_refcounts = sector.oem_id == kRefcountsOemId;
  if (!geometry.has_refcounts && sector.oem_id != kOemId) return NtStatus::UnrecognizedVolume;
  TRY(parse_sizes(sector, geometry, origin));
  TRY(parse_places(sector, device_bytes, geometry, origin));
  geometry.serial = sector.serial.get();
  geometry.hidden_sectors = sector.hidden_sectors.get();
  geometry.sectors_per_track = sector.sectors_per_track.get();
  geometry.heads = sector.heads.get();
  return geometry;
}

std::array<std::byte, kBootSectorBytes> serialize_boot_sector(const VolumeGeometry& geometry) {
  ASSERT(is_possible_sector_size(geometry.sector_size));
  ASSERT(is_possible_cluster_size(geometry.cluster_size));
  ASSERT(geometry.cluster_size >= geometry.sector_size);
  ASSERT(is_possible_record_size(geometry.file_record_size));
  ASSERT(is_possible_index_block_size(geometry.index_block_size));
  ASSERT(geometry.mft_lcn.raw() < geometry.total_clusters);
  ASSERT(geometry.mftmirr_lcn.raw() < geometry.total_clusters);

  BootSector sector{};
  sector.jump = {std::byte{0xEB}, std::byte{0x52}, std::byte{0x90}};  // to boot_code
  sector.oem_id = geometry.has_refcounts ? kRefcountsOemId : kOemId;
  sector.bytes_per_sector.set(static_cast<uint16_t>(geometry.sector_size));
  sector.sectors_per_cluster =
      std::byte{encode_cluster_size(geometry.cluster_size, geometry.sector_size)};
  sector.media = std::byte{0xF8};
  sector.sectors_per_track.set(geometry.sectors_per_track);
  sector.heads.set(geometry.heads);
  sector.hidden_sectors.set(geometry.hidden_sectors);
  sector.drive_signature.set(kDriveSignature);
  sector.total_sectors.set(geometry.total_sectors);
  sector.mft_lcn.set(geometry.mft_lcn.raw());
  sector.mftmirr_lcn.set(geometry.mftmirr_lcn.raw());
  sector.clusters_per_file_record =
      std::byte{encode_unit_size(geometry.file_record_size, geometry.cluster_size)};
  sector.clusters_per_index_block =
      std::byte{encode_unit_size(geometry.index_block_size, geometry.cluster_size)};
  sector.serial.set(geometry.serial);
  // cli; hlt; jump to the hlt.
  const std::array<std::byte, 4> halt = {std::byte{0xFA}, std::byte{0xF4}, std::byte{0xEB},
                                         std::byte{0xFD}};
  std::copy(halt.begin(), halt.end(), sector.boot_code.begin());
  sector.end_marker.set(kEndMarker);

  std::array<std::byte, kBootSectorBytes> bytes{};
  const ByteView view = bytes_of(sector);
  std::copy(view.begin(), view.end(), bytes.begin());
  return bytes;
}

std::string describe(const VolumeGeometry& geometry) {
  return fmt::format(
      "sectors of {} B, clusters of {} B, file records of {} B, index blocks of {} B; {} sectors, "
      "{} clusters{}; $MFT at lcn {}, $MFTMirr at lcn {}; serial {:016X}",
      geometry.sector_size, geometry.cluster_size, geometry.file_record_size,
      geometry.index_block_size, geometry.total_sectors, geometry.total_clusters,
      geometry.has_refcounts ? ", shared by reference counts" : "", geometry.mft_lcn.raw(),
      geometry.mftmirr_lcn.raw(), geometry.serial);
}

}  // namespace ntfs::ondisk
