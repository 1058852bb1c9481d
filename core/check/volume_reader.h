#pragma once

// Bytes of the volume at any offset, and of streams through their runs.

#include <vector>

#include "core/base/units.h"
#include "core/check/findings.h"
#include "core/io/block_device.h"
#include "core/ondisk/boot_sector.h"

namespace ntfs::check {

/// The value of one attribute: where it is, and its sizes in bytes.
struct Stream {
  bool resident = true;
  ByteVector value;        ///< resident
  std::vector<Run> runs;   ///< nonresident: from vcn 0 without gaps
  uint64_t file_size = 0;  ///< both forms
  uint64_t valid_data_length = 0;
};

class VolumeReader {
 public:
  /// Both must outlive the reader.
  VolumeReader(BlockDevice& device, Findings& findings) : device_(device), findings_(findings) {}

  void set_geometry(const ondisk::VolumeGeometry& geometry) { geometry_ = geometry; }
  const ondisk::VolumeGeometry& geometry() const { return geometry_; }
  uint64_t device_bytes() const { return device_.size_bytes(); }

  /// Bytes of the device. False, with a finding, when they cannot be read: `into` is zeros then.
  bool read(uint64_t offset, MutableBytes into);
  /// Bytes of a stream; holes, and all from its valid data length on, are zeros. The range must
  /// lie within the file size. False as read().
  bool read(const Stream& stream, uint64_t offset, MutableBytes into);
  /// The first bytes of a stream, `max_bytes` at most.
  ByteVector read_all(const Stream& stream, uint64_t max_bytes);

 private:
  bool read_valid(const Stream& stream, uint64_t offset, MutableBytes into);

  BlockDevice& device_;
  Findings& findings_;
  ondisk::VolumeGeometry geometry_;
  AlignedBuffer buffer_;
};

}  // namespace ntfs::check
