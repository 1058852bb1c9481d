#pragma once

// Where the system files of a new volume stand. All but $MFTMirr follow each other from lcn 0 on,
// $MFT last: it grows into the free space behind it. $MFTMirr is in the middle of the volume.
// Every file begins and ends at a multiple of 4 KiB, so a page never holds parts of two files.

#include <array>
#include <string>

#include "core/ondisk/boot_sector.h"
#include "core/store/format.h"

namespace ntfs {

struct VolumeLayout {
  ondisk::VolumeGeometry geometry;
  ClusterRun boot;
  ClusterRun attribute_definitions;
  ClusterRun upcase;
  ClusterRun sds;
  ClusterRun root_index;
  ClusterRun mft_bitmap;
  ClusterRun bitmap;
  ClusterRun log_file;
  ClusterRun mft;
  ClusterRun mftmirr;

  uint64_t mft_records = 0;
  /// Records that $MFTMirr repeats: 4, or what a cluster holds if that is more.
  uint64_t mirrored_records = 0;
  uint64_t bitmap_bytes = 0;  ///< of $Bitmap: multiple of 8

  uint64_t offset_of(const ClusterRun& run) const { return run.lcn.raw() * geometry.cluster_size; }
  uint64_t mft_bitmap_bytes() const { return align_up(divide_up(mft_records, 8), 8); }
  uint64_t bytes_in(const ClusterRun& run) const { return run.count.raw() * geometry.cluster_size; }
  /// Everything that is allocated.
  std::array<ClusterRun, 10> runs() const {
    return {
        boot,   attribute_definitions, upcase, sds, root_index, mft_bitmap, bitmap, log_file, mft,
        mftmirr};
  }
};

constexpr uint64_t kBootBytes = 8192;
constexpr uint32_t kIndexBlockBytes = 4096;

/// The layout for `options`, with serial 0. `sds_bytes`: size of $SDS. On a refusal `why` says the
/// reason. InvalidParameter, FileSystemLimitation.
Result<VolumeLayout> plan_layout(const FormatOptions& options, uint64_t device_bytes,
                                 uint64_t sds_bytes, std::string& why);

}  // namespace ntfs
