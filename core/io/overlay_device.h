#pragma once

// A read-only view of a device with some of its bytes replaced. Nothing is ever written.

#include "core/io/block_device.h"

namespace ntfs {

/// Bytes to be at `offset` of a device, whatever is there now. Both multiples of 512.
struct DevicePatch {
  uint64_t offset = 0;  ///< bytes from the start of the device
  ByteVector bytes;
};

class OverlayDevice final : public BlockDevice {
 public:
  /// `device` and `patches` must outlive the view. `patches` are in the order of their offsets, no
  /// two overlap.
  OverlayDevice(BlockDevice& device, std::span<const DevicePatch> patches)
      : device_(device), patches_(patches) {}

  uint64_t size_bytes() const override { return device_.size_bytes(); }
  uint32_t logical_block_size() const override { return device_.logical_block_size(); }
  bool is_read_only() const override { return true; }
  /// As the device's; MediaWriteProtected when a request is a write.
  Result<> transfer(std::span<const IoRequest> requests) override;
  Result<> transfer_durable(std::span<const IoRequest> writes) override;
  Result<> flush() override { return {}; }
  AlignedBuffer allocate(size_t size_bytes) override { return device_.allocate(size_bytes); }

 private:
  void lay_over(uint64_t offset, MutableBytes bytes) const;

  BlockDevice& device_;
  const std::span<const DevicePatch> patches_;
};

}  // namespace ntfs
