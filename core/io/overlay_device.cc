#include "core/io/overlay_device.h"

#include <algorithm>

namespace ntfs {

void OverlayDevice::lay_over(uint64_t offset, MutableBytes bytes) const {
  const uint64_t end = offset + bytes.size();
  auto patch = std::partition_point(patches_.begin(), patches_.end(), [&](const DevicePatch& p) {
    return p.offset + p.bytes.size() <= offset;
  });
  for (; patch != patches_.end() && patch->offset < end; ++patch) {
    const uint64_t from = std::max(offset, patch->offset);
    const uint64_t to = std::min(end, patch->offset + patch->bytes.size());
    const ByteView part = ByteView(patch->bytes).subspan(from - patch->offset, to - from);
    std::copy(part.begin(), part.end(), bytes.begin() + static_cast<ptrdiff_t>(from - offset));
  }
}

Result<> OverlayDevice::transfer(std::span<const IoRequest> requests) {
  for (const IoRequest& request : requests) {
    if (request.kind == IoRequest::Kind::Write) return NtStatus::MediaWriteProtected;
  }
  TRY(device_.transfer(requests));
  for (const IoRequest& request : requests) lay_over(request.offset, request.memory);
  return {};
}

Result<> OverlayDevice::transfer_durable(std::span<const IoRequest> writes) {
  return writes.empty() ? Result<>() : NtStatus::MediaWriteProtected;
}

}  // namespace ntfs
