#include "usn/written_ranges.h"

#include <algorithm>
#include <utility>

namespace ntfs::usn {

namespace {
uint64_t end_of(const Extent& extent) { return extent.offset + extent.length; }
}  // namespace

void WrittenRanges::add(Extent written, uint64_t file_size, const RangeTracking& tracking) {
  is_large_ = is_large_ || file_size >= tracking.file_size_threshold;
  if (written.length == 0) return;
  uint64_t begin = align_down(written.offset, tracking.chunk_size);
  uint64_t end = align_up(end_of(written), tracking.chunk_size);
  // All that overlap or touch it become one with it.
  const auto first = std::find_if(extents_.begin(), extents_.end(),
                                  [&](const Extent& extent) { return end_of(extent) >= begin; });
  const auto last = std::find_if(first, extents_.end(),
                                 [&](const Extent& extent) { return extent.offset > end; });
  if (first != last) {
    begin = std::min(begin, first->offset);
    end = std::max(end, end_of(*std::prev(last)));
  }
  const auto at = extents_.erase(first, last);
  extents_.insert(at, {begin, end - begin});
  if (extents_.size() > kMostExtents) join_nearest();
}

void WrittenRanges::join_nearest() {
  size_t nearest = 1;
  const auto gap = [&](size_t i) { return extents_[i].offset - end_of(extents_[i - 1]); };
  for (size_t i = 2; i < extents_.size(); ++i) {
    if (gap(i) < gap(nearest)) nearest = i;
  }
  extents_[nearest - 1].length = end_of(extents_[nearest]) - extents_[nearest - 1].offset;
  extents_.erase(extents_.begin() + static_cast<ptrdiff_t>(nearest));
}

std::vector<Extent> WrittenRanges::take() {
  const bool is_told = std::exchange(is_large_, false);
  std::vector<Extent> extents = std::exchange(extents_, {});
  if (!is_told) extents.clear();
  return extents;
}

}  // namespace ntfs::usn
