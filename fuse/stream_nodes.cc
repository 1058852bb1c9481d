#include "fuse/stream_nodes.h"

#include "core/base/assert.h"

namespace ntfs::frontend {

uint64_t StreamNodes::remember(const Node& node) {
  ASSERT(node.stream != nullptr);
  const MutexLock lock(mutex_);
  const auto [known, is_new] = ids_.try_emplace(node.stream.get(), next_);
  if (is_new) entries_.emplace(next_++, Entry{node, 0});
  ++entries_.at(known->second).lookups;
  return known->second;
}

void StreamNodes::forget(uint64_t id, uint64_t count) {
  Node forgotten;  // destroyed after the lock is released
  const MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (entry.lookups > count) {
    entry.lookups -= count;
    return;
  }
  forgotten = std::move(entry.node);
  ids_.erase(forgotten.stream.get());
  entries_.erase(found);
}

Node StreamNodes::find(uint64_t id) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() ? Node{} : found->second.node;
}

size_t StreamNodes::size() {
  const MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace ntfs::frontend
