#include "fuse/volume_device.h"

#include "core/store/volume.h"

namespace ntfs::frontend {

namespace {
constexpr uint32_t kLeastSector = 512;
}

Result<std::unique_ptr<UringDevice>> open_volume_device(const std::string& source,
                                                        UringDevice::Access access,
                                                        UringDevice::Options options) {
  {
    auto device = TRY(UringDevice::open(source, access, options));
    const uint32_t block_size = device->logical_block_size();
    if (block_size <= kLeastSector) return device;
    const auto geometry = Volume::read_geometry(*device);
    if (!geometry || geometry->sector_size >= block_size) return device;
    options.max_block_size = geometry->sector_size;
  }
  return UringDevice::open(source, access, options);
}

}  // namespace ntfs::frontend
