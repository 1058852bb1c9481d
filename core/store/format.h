#pragma once

// A new volume: NTFS 3.1 with all system files, clean, with an empty LFS 1.1 log.
// Source: linux-ntfs documentation; compared with volumes that mkntfs and Windows made.

#include <optional>
#include <string>

#include "core/io/block_device.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/boot_sector.h"

namespace ntfs {

// Descriptors in $Secure of a new volume. Other volumes have others under the same ids, or none.
constexpr uint32_t kReadOnlySystemSecurityId = 0x100;  ///< SYSTEM and Administrators read
constexpr uint32_t kSystemSecurityId = 0x101;          ///< SYSTEM and Administrators read and write
constexpr uint32_t kRootSecurityId = 0x102;  ///< Administrators, SYSTEM all; users as on Windows
constexpr uint32_t kDefaultFileSecurityId = 0x103;  ///< Everyone all
constexpr uint32_t kDefaultDirectorySecurityId =
    0x104;  ///< the same, inherited by what is made in it

// Records of the files in $Extend on a new volume. Elsewhere only their names are sure.
constexpr uint64_t kQuotaRecord = 24;
constexpr uint64_t kObjIdRecord = 25;
constexpr uint64_t kReparseRecord = 26;
constexpr uint64_t kDeletedRecord = 27;    ///< directory for files that are unlinked and still open
constexpr uint64_t kRefcountsRecord = 28;  ///< only where clusters may be shared

constexpr uint64_t kUsnRecord = 29;  ///< only where the change journal is active

constexpr size_t kMaxLabelUnits = 32;
constexpr uint64_t kMinVolumeBytes = uint64_t{8} << 20;
/// Clusters are counted in 32 bits by every NTFS driver.
constexpr uint64_t kMaxVolumeClusters = 0xFFFFFFFF;

/// What the device holds before. Zeroed: nothing but zeros (an image that was just created), so
/// zeros need not be written.
enum class DeviceContent { Unknown, Zeroed };

struct FormatOptions {
  uint64_t size_bytes = 0;    ///< of the volume with its backup boot sector; 0: the whole device
  uint32_t cluster_size = 0;  ///< bytes, 512 to 2 MiB; 0: as Windows, 4 KiB up to 16 TiB
  uint32_t sector_size = 0;   ///< bytes, 512 or 4096; 0: 512
  uint32_t record_size = 0;   ///< bytes, 1024 or 4096; 0: 1024, or 4096 with sectors of 4096
  uint64_t log_size = 0;      ///< bytes, rounded down; 0: by size, 2 MiB to 64 MiB
  std::u16string label;       ///< up to kMaxLabelUnits
  std::optional<uint64_t> serial;        ///< random unless given
  std::optional<ondisk::FileTime> time;  ///< of all files; now unless given
  DeviceContent content = DeviceContent::Unknown;
  /// Most bytes of a change journal, which is active from the start; 0: by size, 1 MiB to 32 MiB.
  std::optional<uint64_t> usn_size;  ///< none: without a journal
  bool reflink = false;  ///< let files share clusters; other drivers then refuse the volume
};

struct FormatSummary {
  ondisk::VolumeGeometry geometry;
  uint64_t log_bytes = 0;
  uint64_t mft_records = 0;
  uint64_t free_clusters = 0;
};

/// Why format_volume() would refuse, for people: a whole sentence or more; "" if it would not.
std::string format_refusal(const FormatOptions& options, uint64_t device_bytes);

/// Makes the volume; what was on the device is gone. It is durable when this returns. The bytes
/// depend on nothing but size, options, serial and time. InvalidParameter and FileSystemLimitation
/// (more than kMaxVolumeClusters): refused, see format_refusal(), nothing written; else the
/// device's errors.
Result<FormatSummary> format_volume(BlockDevice& device, const FormatOptions& options);

}  // namespace ntfs
