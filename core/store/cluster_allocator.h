#pragma once

// Free space: $Bitmap, plus what memory knows better: runs that are claimed for data on its way to
// the device, runs freed but not yet reusable, and space promised to buffered data.
//
// Locks: bitmap pages by Journal::metadata_lock; the rest by mutex_.

#include <map>
#include <vector>

#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/store/page_cache.h"

namespace ntfs {

class Journal;
class Transaction;

class ClusterAllocator {
 public:
  /// `bitmap`: the stream of $Bitmap. References must outlive the allocator.
  ClusterAllocator(PageCache& pages, Journal& journal, MetadataStreamRef bitmap,
                   const ondisk::VolumeGeometry& geometry);
  /// Counts the free clusters. Reads the whole $Bitmap once.
  Result<> load();

  /// Clusters that are free for new data: not allocated, claimed, awaiting a checkpoint or
  /// promised.
  ClusterCount available() const EXCLUDES(mutex_);
  /// Clusters not allocated (for statfs): available() plus those awaiting a checkpoint.
  ClusterCount free_clusters() const EXCLUDES(mutex_);
  /// Whether a checkpoint would make clusters reusable.
  bool has_freed() const EXCLUDES(mutex_);

  /// Promises `count` clusters to buffered data, to be claimed when it is written. DiskFull.
  Result<> promise(ClusterCount count) EXCLUDES(mutex_);
  void withdraw_promise(ClusterCount count) EXCLUDES(mutex_);

  /// Whether a claim takes from what promise() set aside.
  enum class From { Free, Promised };
  /// Takes `wanted` clusters in memory, in as few runs as found near `hint`, all or none, so that
  /// no one else takes them; the bits are set later by `set_allocated`. DiskFull. Caller holds
  /// Journal::metadata_lock (shared is enough). With From::Promised the promise shrinks by as much.
  Result<std::vector<ClusterRun>> claim(ClusterCount wanted, Lcn hint, From from) EXCLUDES(mutex_);
  /// Gives claimed runs back (their data was not written or is of no use).
  void unclaim(const std::vector<ClusterRun>& runs) EXCLUDES(mutex_);

  /// Sets the bits of a claimed run. The claim ends when the transaction does.
  Result<> set_allocated(Transaction& transaction, ClusterRun run);
  /// Claims and sets, for metadata.
  Result<std::vector<ClusterRun>> allocate(Transaction& transaction, ClusterCount wanted, Lcn hint);
  /// As allocate, taking only clusters that lie directly behind `lcn` (growth of $MFT in its zone);
  /// gives fewer, or none.
  Result<ClusterRun> allocate_at(Transaction& transaction, Lcn lcn, ClusterCount wanted);
  /// Clears the bits. The clusters become reusable when the checkpoint after the commit is durable.
  Result<> free_clusters(Transaction& transaction, ClusterRun run);

  /// Clusters that data avoids while there is other space, so that $MFT grows in one piece.
  void set_mft_zone(ClusterRun zone) EXCLUDES(mutex_);

 private:
  friend class Transaction;
  struct Freed {
    ClusterRun run;
    uint64_t interval;
  };

  /// Called by Transaction at its end. On abort, what was allocated is unclaimed.
  void finish(const std::vector<ClusterRun>& allocated, const std::vector<ClusterRun>& freed,
              uint64_t interval, bool committed) EXCLUDES(mutex_);
  Result<> change_bits(Transaction& transaction, ClusterRun run, bool set);
  Result<ClusterRun> find_free(Lcn from, Lcn to, uint64_t wanted) REQUIRES(mutex_);
  void take(ClusterRun run) REQUIRES(mutex_);
  void give_back(ClusterRun run) REQUIRES(mutex_);
  void reclaim() REQUIRES(mutex_);

  PageCache& pages_;
  Journal& journal_;
  const MetadataStreamRef bitmap_;
  const uint64_t total_clusters_;
  mutable Mutex mutex_{LockRank::ClusterBitmap};
  // Runs whose bits are clear (or may be) but that must not be handed out: lcn -> length.
  std::map<uint64_t, uint64_t> taken_ GUARDED_BY(mutex_);
  std::vector<Freed> freed_ GUARDED_BY(mutex_);
  uint64_t freed_clusters_ GUARDED_BY(mutex_) = 0;
  uint64_t unallocated_ GUARDED_BY(mutex_) = 0;  // clear bits that are not claimed or freed
  uint64_t promised_ GUARDED_BY(mutex_) = 0;
  ClusterRun mft_zone_ GUARDED_BY(mutex_){};
  std::vector<uint32_t> page_free_ GUARDED_BY(mutex_);  // clear bits of each page of $Bitmap
  uint64_t cursor_ GUARDED_BY(mutex_) = 0;
};

}  // namespace ntfs
