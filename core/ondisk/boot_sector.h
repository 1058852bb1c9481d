#pragma once

// The boot sector ($Boot, first sector of the volume; a copy stands in the sector after the last)
// and the geometry it gives. Source: ntfs.com and linux-ntfs documentation of the NTFS BPB.

#include <array>
#include <string>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"

namespace ntfs::ondisk {

constexpr size_t kBootSectorBytes = 512;
constexpr uint32_t kMinClusterBytes = 512;
constexpr uint32_t kMaxClusterBytes = 2u << 20;

struct BootSector {
  std::array<std::byte, 3> jump;
  std::array<char, 8> oem_id;  // "NTFS    ", or "NTFS+REF": clusters may be shared
  le16 bytes_per_sector;
  std::byte sectors_per_cluster;  // power of two up to 0x80; above: 2^(256 - value)
  std::array<std::byte, 7> zero;  // FAT only: reserved sectors, FATs, root entries, sectors
  std::byte media;                // 0xF8
  le16 zero_fat_sectors;
  le16 sectors_per_track;
  le16 heads;
  le32 hidden_sectors;
  le32 zero_large_sectors;
  le32 drive_signature;  // 0x00800080
  le64 total_sectors;    // without the backup boot sector
  le64 mft_lcn;
  le64 mftmirr_lcn;
  std::byte clusters_per_file_record;  // as int8: clusters, or negative: 2^-value bytes
  std::array<std::byte, 3> zero_after_record;
  std::byte clusters_per_index_block;  // likewise
  std::array<std::byte, 3> zero_after_index;
  le64 serial;
  le32 checksum;  // not used
  std::array<std::byte, 426> boot_code;
  le16 end_marker;  // 0xAA55
};
static_assert(sizeof(BootSector) == kBootSectorBytes && alignof(BootSector) == 1);
static_assert(offsetof(BootSector, media) == 0x15 && offsetof(BootSector, total_sectors) == 0x28);
static_assert(offsetof(BootSector, clusters_per_index_block) == 0x44);
static_assert(offsetof(BootSector, end_marker) == 0x1FE);

/// The shape of a volume. Every size in bytes is a power of two.
struct VolumeGeometry {
  uint32_t sector_size = 0;       ///< bytes, 512..4096
  uint32_t cluster_size = 0;      ///< bytes, 512..2 MiB
  uint32_t file_record_size = 0;  ///< bytes, 1024 or 4096
  uint32_t index_block_size = 0;  ///< bytes, 512..64 KiB
  uint64_t total_sectors = 0;     ///< without the backup boot sector
  uint64_t total_clusters = 0;    ///< whole clusters in total_sectors
  Lcn mft_lcn;
  Lcn mftmirr_lcn;
  uint64_t serial = 0;
  uint32_t hidden_sectors = 0;  ///< sectors before the volume on its disk
  uint16_t sectors_per_track = 0;
  uint16_t heads = 0;
  /// Files may share clusters, as $Extend\$Refcounts says. Such a volume is no NTFS for
  /// whoever does not know that: it would free or overwrite what others use.
  bool has_refcounts = false;

  uint64_t volume_bytes() const { return total_sectors * sector_size; }
  /// Where the copy of the boot sector stands.
  uint64_t backup_boot_sector_position() const { return total_sectors * sector_size; }
  /// Bytes that one step of an index block's vcn stands for: a cluster, or 512 where a cluster is
  /// larger than an index block.
  uint32_t index_vcn_bytes() const {
    return cluster_size <= index_block_size ? cluster_size : kMinClusterBytes;
  }
  /// The byte of the same meaning in $INDEX_ROOT: length of an index block in those steps.
  uint8_t index_block_steps() const {
    return static_cast<uint8_t>(index_block_size / index_vcn_bytes());
  }
  friend bool operator==(const VolumeGeometry&, const VolumeGeometry&) = default;
};

/// The geometry that `bytes` (at least 512, the first of the volume) give. UnrecognizedVolume: no
/// NTFS boot sector; FileCorruptError (reported): one with values that cannot be, or with a volume
/// that is larger than `device_bytes`.
Result<VolumeGeometry> parse_boot_sector(ByteView bytes, uint64_t device_bytes,
                                         const Origin& origin);

/// The boot sector of `geometry`, whose values must be possible (a bug otherwise). Its code halts
/// the machine.
std::array<std::byte, kBootSectorBytes> serialize_boot_sector(const VolumeGeometry& geometry);

std::string describe(const VolumeGeometry& geometry);

}  // namespace ntfs::ondisk
