// libFuzzer target: a sound volume with any log, through recovery. Beyond what the sanitizers see:
// what recovery wants to write lies on the volume, in order, apart from each other, and touches
// neither the log nor the boot sector; and the volume as it would be can be looked at.

#include <cstdint>

#include "core/store/recovery.h"
#include "core/store/volume.h"
#include "tests/fuzz/log_image.h"
#include "tests/fuzz/recovery_volume.h"

namespace ntfs {
namespace {

struct Fixture {
  std::unique_ptr<testing::MemoryDevice> device = fuzz::make_volume();
  ondisk::VolumeGeometry geometry = *Volume::read_geometry(*device);
  std::unique_ptr<LogStoreOnVolume> log = std::move(*find_log(*device, geometry));
};

void put_log(Fixture& fixture, ByteView image) {
  const ByteVector bytes = fuzz::decode_log(image);
  const uint64_t length = std::min<uint64_t>(bytes.size(), fixture.log->size_bytes());
  AlignedBuffer buffer(fixture.log->size_bytes());
  std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{0xFF});
  std::copy_n(bytes.begin(), length, buffer.bytes().begin());
  const lfs::LogWrite write{0, buffer.bytes()};
  fixture.log->write_durable({&write, 1}).value();
}

void judge(const Fixture& fixture, std::span<const DevicePatch> patches) {
  uint64_t last_end = ondisk::kBootSectorBytes;
  for (const DevicePatch& patch : patches) {
    const uint64_t end = patch.offset + patch.bytes.size();
    ASSERT(patch.offset >= last_end && end <= fixture.device->size_bytes());
    ASSERT(patch.offset % 512 == 0 && !patch.bytes.empty() && patch.bytes.size() % 512 == 0);
    last_end = end;
    for (const Run& run : fixture.log->runs().runs()) {
      const uint64_t first = run.lcn.raw() * fixture.geometry.cluster_size;
      const uint64_t behind = first + run.count.raw() * fixture.geometry.cluster_size;
      ASSERT(end <= first || patch.offset >= behind);
    }
  }
}

void look_at(BlockDevice& view) {
  VolumeOptions options;
  options.access = VolumeOptions::Access::AsItIs;
  options.cache_bytes = 1 << 20;
  std::string why_not;
  const auto volume = Volume::open(view, options, why_not);
  if (!volume) return;
  const SharedLock lock((*volume)->journal().metadata_lock());
  for (uint64_t number = 0; number < 100; ++number) (void)(*volume)->mft().record(number);
}

}  // namespace
}  // namespace ntfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static ntfs::Fixture fixture;
  ntfs::put_log(fixture, {reinterpret_cast<const std::byte*>(data), size});
  std::string why_not;
  const auto recovery = ntfs::Recovery::replay(*fixture.device, fixture.geometry, why_not);
  if (!recovery || *recovery == nullptr) return 0;
  ntfs::judge(fixture, (*recovery)->patches());
  ntfs::OverlayDevice view(*fixture.device, (*recovery)->patches());
  ntfs::look_at(view);
  return 0;
}
