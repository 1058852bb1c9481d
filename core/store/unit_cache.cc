#include "core/store/unit_cache.h"

#include <algorithm>

namespace ntfs {

bool UnitCache::copy(const Key& key, size_t offset, MutableBytes into) {
  const MutexLock lock(mutex_);
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& candidate) { return candidate.key == key; });
  if (entry == entries_.end()) return false;
  entry->last_use = ++uses_;
  std::copy_n(entry->piece.bytes().begin() + static_cast<ptrdiff_t>(offset), into.size(),
              into.begin());
  return true;
}

void UnitCache::insert(const Key& key, BufferPool::Piece piece) {
  const MutexLock lock(mutex_);
  Entry fresh{key, std::move(piece), ++uses_};
  if (entries_.size() < kMostUnits) {
    entries_.push_back(std::move(fresh));
    return;
  }
  *std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return a.last_use < b.last_use;
  }) = std::move(fresh);
}

}  // namespace ntfs
