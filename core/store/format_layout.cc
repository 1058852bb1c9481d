#include "core/store/format_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/store/attribute_definitions.h"
#include "core/store/upcase_table.h"

namespace ntfs {

namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kTiB = 1024 * 1024 * kMiB;

/// Files begin and end at multiples of this.
constexpr uint64_t kFileAlignment = 4096;
/// Or as many as a cluster holds, all of which have a copy in $MFTMirr.
constexpr uint64_t kInitialMftRecords = 64;
/// $MFT::$BITMAP has room for the records of 64 MiB before it has to grow.
constexpr uint64_t kMftBitmapRoom = 8 * kKiB;

constexpr uint64_t kMinLogBytes = 256 * kKiB;
constexpr uint64_t kSmallLogBytes = 2 * kMiB;
constexpr uint64_t kLargeLogBytes = 64 * kMiB;
/// ntfs3 keeps offsets in the log in 32 bits.
constexpr uint64_t kMaxLogBytes = 2048 * kMiB;
/// The log's pages are 4 KiB, and their number is even: then the last page and the first record
/// page do not share a slot in ntfsrecover's cache.
constexpr uint64_t kLogUnit = 8 * kKiB;

NtStatus refuse(std::string& why, std::string text) {
  why = std::move(text);
  return NtStatus::InvalidParameter;
}

/// As Windows: the smallest from 4 KiB on with which the clusters can be counted.
uint32_t default_cluster_size(uint64_t size_bytes) {
  uint32_t cluster_size = 4 * kKiB;
  for (uint64_t limit = 16 * kTiB; size_bytes > limit && cluster_size < ondisk::kMaxClusterBytes;
       limit *= 2) {
    cluster_size *= 2;
  }
  return cluster_size;
}

uint64_t default_log_size(uint64_t size_bytes) {
  return std::clamp(size_bytes / 100, kSmallLogBytes, kLargeLogBytes);
}

Result<> choose_sizes(const FormatOptions& options, uint64_t size_bytes,
                      ondisk::VolumeGeometry& geometry, std::string& why) {
  geometry.sector_size = options.sector_size != 0 ? options.sector_size : 512;
  geometry.cluster_size =
      options.cluster_size != 0 ? options.cluster_size : default_cluster_size(size_bytes);
  geometry.file_record_size = options.record_size != 0
                                  ? options.record_size
                                  : std::max<uint32_t>(1024, geometry.sector_size);
  geometry.index_block_size = kIndexBlockBytes;
  if (geometry.sector_size != 512 && geometry.sector_size != 4096) {
    return refuse(why, fmt::format("A sector of {} bytes is not possible: choose 512 or 4096.",
                                   geometry.sector_size));
  }
  if (!is_power_of_two(geometry.cluster_size) || geometry.cluster_size < ondisk::kMinClusterBytes ||
      geometry.cluster_size > ondisk::kMaxClusterBytes) {
    return refuse(why, fmt::format("A cluster of {} bytes is not possible: choose a power of two "
                                   "from {} to {}.",
                                   geometry.cluster_size, ondisk::kMinClusterBytes,
                                   ondisk::kMaxClusterBytes));
  }
  if (geometry.cluster_size < geometry.sector_size) {
    return refuse(why, fmt::format("A cluster of {} bytes is smaller than a sector of {}: choose a "
                                   "larger cluster.",
                                   geometry.cluster_size, geometry.sector_size));
  }
  if (geometry.file_record_size != 1024 && geometry.file_record_size != 4096) {
    return refuse(why,
                  fmt::format("A file record of {} bytes is not possible: choose 1024 or 4096.",
                              geometry.file_record_size));
  }
  if (geometry.file_record_size < geometry.sector_size) {
    return refuse(why, fmt::format("A file record of {} bytes is smaller than a sector of {}: "
                                   "choose 4096.",
                                   geometry.file_record_size, geometry.sector_size));
  }
  return {};
}

Result<> count_clusters(uint64_t size_bytes, ondisk::VolumeGeometry& geometry, std::string& why) {
  geometry.total_sectors = size_bytes / geometry.sector_size - 1;  // the last is the backup's
  geometry.total_clusters = geometry.total_sectors / (geometry.cluster_size / geometry.sector_size);
  geometry.sectors_per_track = 63;
  geometry.heads = 255;
  if (geometry.total_clusters > kMaxVolumeClusters) {
    why = fmt::format(
        "{} clusters of {} bytes are more than NTFS can count ({}): choose a larger "
        "cluster, or a smaller volume.",
        geometry.total_clusters, geometry.cluster_size, kMaxVolumeClusters);
    return NtStatus::FileSystemLimitation;
  }
  return {};
}

Result<uint64_t> choose_log_size(const FormatOptions& options, uint64_t size_bytes,
                                 uint32_t cluster_size, std::string& why) {
  const uint64_t wanted = options.log_size != 0 ? options.log_size : default_log_size(size_bytes);
  const uint64_t log_bytes = align_down(wanted, std::max<uint64_t>(cluster_size, kLogUnit));
  if (log_bytes < kMinLogBytes || log_bytes > kMaxLogBytes) {
    return refuse(
        why, fmt::format("A log of {} bytes is not possible: choose 256 KiB to 2 GiB.", wanted));
  }
  return log_bytes;
}

/// Gives out the clusters from lcn 0 on.
class Placer {
 public:
  explicit Placer(uint32_t cluster_size)
      : cluster_size_(cluster_size), unit_(std::max<uint64_t>(cluster_size, kFileAlignment)) {}

  ClusterRun place(uint64_t bytes) {
    const ClusterRun run{next_, ClusterCount(align_up(bytes, unit_) / cluster_size_)};
    next_ = run.end();
    return run;
  }
  void skip_to(Lcn lcn) {
    next_ = std::max(next_, Lcn(align_up(lcn.raw(), unit_ / cluster_size_)));
  }
  Lcn next() const { return next_; }

 private:
  const uint32_t cluster_size_;
  const uint64_t unit_;
  Lcn next_{0};
};

}  // namespace

Result<VolumeLayout> plan_layout(const FormatOptions& options, uint64_t device_bytes,
                                 uint64_t sds_bytes, std::string& why) {
  const uint64_t size_bytes = options.size_bytes != 0 ? options.size_bytes : device_bytes;
  if (size_bytes > device_bytes) {
    return refuse(why, fmt::format("A volume of {} bytes does not fit on a device of {}.",
                                   size_bytes, device_bytes));
  }
  if (size_bytes < kMinVolumeBytes) {
    return refuse(why, fmt::format("{} bytes are too few for a volume: it takes at least 8 MiB.",
                                   size_bytes));
  }
  if (options.label.size() > kMaxLabelUnits || options.label.find(u'\0') != options.label.npos) {
    return refuse(why, fmt::format("The label is not possible: it may have up to {} UTF-16 code "
                                   "units, and no NUL.",
                                   kMaxLabelUnits));
  }

  VolumeLayout layout;
  ondisk::VolumeGeometry& geometry = layout.geometry;
  TRY(choose_sizes(options, size_bytes, geometry, why));
  TRY(count_clusters(size_bytes, geometry, why));
  const uint64_t log_bytes = TRY(choose_log_size(options, size_bytes, geometry.cluster_size, why));
  const uint32_t record_size = geometry.file_record_size;
  layout.bitmap_bytes = align_up(divide_up(geometry.total_clusters, 8), 8);
  layout.mirrored_records = std::max<uint64_t>(4, geometry.cluster_size / record_size);
  layout.mft_records = std::max(kInitialMftRecords, layout.mirrored_records);

  Placer placer(geometry.cluster_size);
  layout.boot = placer.place(kBootBytes);
  layout.attribute_definitions = placer.place(kAttributeDefinitionsBytes);
  layout.upcase = placer.place(kUpCaseBytes);
  layout.sds = placer.place(sds_bytes);
  layout.root_index = placer.place(kIndexBlockBytes);
  layout.mft_bitmap = placer.place(kMftBitmapRoom);
  layout.bitmap = placer.place(layout.bitmap_bytes);
  layout.log_file = placer.place(log_bytes);
  layout.mft = placer.place(layout.mft_records * record_size);
  placer.skip_to(Lcn(geometry.total_clusters / 2));
  layout.mftmirr = placer.place(layout.mirrored_records * record_size);
  if (placer.next() > Lcn(geometry.total_clusters)) {
    return refuse(why,
                  fmt::format("The system files, with a log of {} bytes, do not fit on a volume "
                              "of {} bytes.",
                              log_bytes, size_bytes));
  }
  geometry.has_refcounts = options.reflink;
  geometry.mft_lcn = layout.mft.lcn;
  geometry.mftmirr_lcn = layout.mftmirr.lcn;
  return layout;
}

}  // namespace ntfs
