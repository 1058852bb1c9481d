#include "fuse/inode_table.h"

namespace ntfs::frontend {

void InodeTable::remember(const FilePtr& file) {
  const uint64_t node = node_of(file->reference());
  if (node == kRootNode) return;
  Shard& shard = shard_of(node);
  const MutexLock lock(shard.mutex);
  Entry& entry = shard.entries[node];
  ++entry.lookups;
  if (entry.file == nullptr) entry.file = file;
}

void InodeTable::forget(uint64_t node, uint64_t count) {
  FilePtr forgotten;  // destroyed after the lock is released
  Shard& shard = shard_of(node);
  const MutexLock lock(shard.mutex);
  const auto found = shard.entries.find(node);
  if (found == shard.entries.end()) return;
  Entry& entry = found->second;
  if (entry.lookups > count) {
    entry.lookups -= count;
    return;
  }
  forgotten = std::move(entry.file);
  shard.entries.erase(found);
}

FilePtr InodeTable::find(uint64_t node) {
  if (node == kRootNode) return root_;
  Shard& shard = shard_of(node);
  const MutexLock lock(shard.mutex);
  const auto found = shard.entries.find(node);
  return found == shard.entries.end() ? nullptr : found->second.file;
}

size_t InodeTable::size() {
  size_t count = 0;
  for (Shard& shard : shards_) {
    const MutexLock lock(shard.mutex);
    count += shard.entries.size();
  }
  return count;
}

void InodeTable::last_write_replaced(uint64_t node, ondisk::FileTime stored) {
  Shard& shard = shard_of(node);
  const MutexLock lock(shard.mutex);
  const auto found = shard.entries.find(node);
  if (found == shard.entries.end()) return;
  std::optional<ReplacedTime>& replaced = found->second.last_write;
  // After the first time, `stored` is what was set before, of which the kernel does not know.
  if (replaced) return;
  // Data may have been written since, and the kernel not have told of it yet.
  replaced = ReplacedTime{.earliest = stored, .latest = ondisk::FileTime::now()};
}

bool InodeTable::is_replaced_last_write(uint64_t node, ondisk::FileTime told) {
  Shard& shard = shard_of(node);
  const MutexLock lock(shard.mutex);
  const auto found = shard.entries.find(node);
  if (found == shard.entries.end()) return false;
  std::optional<ReplacedTime>& replaced = found->second.last_write;
  if (!replaced) return false;
  if (told < replaced->earliest || told > replaced->latest) {
    replaced.reset();
    return false;
  }
  replaced = ReplacedTime{.earliest = told, .latest = told};
  return true;
}

}  // namespace ntfs::frontend
