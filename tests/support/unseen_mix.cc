#include "tests/support/unseen_mix.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/base/multi_sector.h"

namespace ntfs::testing {

std::string unseen_mix(ByteView before, ByteView now, uint64_t offset) {
  constexpr std::array<std::string_view, 4> kSignatures = {"FILE", "INDX", "RCRD", "RSTR"};
  for (size_t at = 0; at + kSequenceStride <= now.size(); at += kSequenceStride) {
    const auto signature = as_text(now.subspan(at, 4));
    if (std::ranges::find(kSignatures, signature) == kSignatures.end()) continue;
    const auto& header = struct_at<MultiSectorHeader>(now, at);
    const size_t array = header.update_sequence_array_offset.get();
    const size_t words = header.update_sequence_array_count.get();
    if (array + 2 > kSequenceStride || words > 1 + (now.size() - at) / kSequenceStride) continue;
    const auto number = now.subspan(at + array, 2);
    for (size_t stride = 0; stride + 1 < words; ++stride) {
      const auto old = before.subspan(at + stride * kSequenceStride, kSequenceStride);
      const auto fresh = now.subspan(at + stride * kSequenceStride, kSequenceStride);
      if (!std::ranges::equal(old.last(2), number) || std::ranges::equal(old, fresh)) continue;
      return fmt::format(
          "{} at {:#x}: its update sequence number stands at the end of stride {} "
          "of what it takes the place of",
          signature, offset + at, stride);
    }
  }
  return {};
}

}  // namespace ntfs::testing
