#pragma once

// The files that the kernel knows, by node id: how often it looked each one up, so that it can be
// forgotten.
//
// Node id = the whole file reference and kFileBit; the root has FUSE's root id. So a node never
// means another file: what the kernel asks by an old inode does not reach a new file in the same
// record. The sequence number is the generation, too.
//
// Locks: each shard has its own (rank Frontend); never two at once.

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "core/base/mutex.h"
#include "core/ondisk/attribute_values.h"
#include "core/store/file.h"

namespace ntfs::frontend {

constexpr uint64_t kRootNode = 1;
constexpr uint64_t kRootRecord = 5;
/// Above the numbers of records that a volume can have: 0 means "none", and 1 the root.
constexpr uint64_t kFileBit = uint64_t{1} << 46;
constexpr uint64_t node_of(FileReference reference) {
  return reference.record() == kRootRecord ? kRootNode : reference.raw() | kFileBit;
}
/// The number of the file record.
constexpr uint64_t record_of(uint64_t node) {
  return node == kRootNode ? kRootRecord : node & (kFileBit - 1);
}
/// st_ino: the record's number, which tools of NTFS show, too; not 0, for which they take no file.
constexpr uint64_t shown_number(FileReference reference) {
  constexpr uint64_t kMftNumber = uint64_t{1} << 48;
  return reference.record() == 0 ? kMftNumber : reference.record();
}

class InodeTable {
 public:
  /// `root` is never forgotten.
  explicit InodeTable(FilePtr root) : root_(std::move(root)) {}

  /// Counts one lookup of `file`.
  void remember(const FilePtr& file);
  /// Takes `count` lookups back.
  void forget(uint64_t node, uint64_t count);
  /// The file with that node id; null when the kernel may not know it.
  FilePtr find(uint64_t node);
  /// Files known, without the root.
  size_t size();

  /// The time of the last write was replaced by a request that the kernel does not understand. With
  /// its write-back cache it keeps a time of its own, from `stored` on as that was, and tells it
  /// again with every change of the file until it forgets the file.
  void last_write_replaced(uint64_t node, ondisk::FileTime stored);
  /// Whether `told` is but that time. Any other one is a new one, and ends that. (Of data written
  /// in the same tick of the kernel's clock, some milliseconds, nobody can tell.)
  bool is_replaced_last_write(uint64_t node, ondisk::FileTime told);

 private:
  static constexpr size_t kShards = 16;

  /// What the kernel goes by is not before `earliest` and not after `latest`.
  struct ReplacedTime {
    ondisk::FileTime earliest;
    ondisk::FileTime latest;
  };
  struct Entry {
    FilePtr file;
    uint64_t lookups = 0;
    std::optional<ReplacedTime> last_write;
  };
  struct Shard {
    Mutex mutex{LockRank::Frontend};
    std::unordered_map<uint64_t, Entry> entries GUARDED_BY(mutex);
  };
  Shard& shard_of(uint64_t node) { return shards_[node % kShards]; }

  const FilePtr root_;
  std::array<Shard, kShards> shards_;
};

}  // namespace ntfs::frontend
