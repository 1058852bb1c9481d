#pragma once

// Free space: $Bitmap, plus what memory knows better: runs that are claimed for data on its way to
// the device, runs freed but not yet reusable, and space promised to buffered data.
//
// Locks: bitmap pages by Journal::metadata_lock; the rest by mutex_. Sources: cluster_allocator.cc,
// cluster_discard.cc (what the device is told of free clusters).

#include <atomic>
#include <map>
#include <vector>

#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/store/page_cache.h"
#include "core/store/transaction.h"

namespace ntfs {

class Journal;

class ClusterAllocator final : public Participant {
 public:
  /// Whether the device is told of freed clusters before they are used again.
  enum class Discard { No, Yes };

  /// `bitmap`: the stream of $Bitmap. References must outlive the allocator.
  ClusterAllocator(PageCache& pages, Journal& journal, BlockDevice& device,
                   MetadataStreamRef bitmap, const ondisk::VolumeGeometry& geometry,
                   Discard discard);
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

  /// Takes `wanted` clusters in memory, in as few runs as found near `hint`, all or none, so that
  /// no one else takes them; the bits are set later by `set_allocated`. DiskFull. Caller holds
  /// Journal::metadata_lock (shared is enough).
  Result<std::vector<ClusterRun>> claim(ClusterCount wanted, Lcn hint) EXCLUDES(mutex_);
  /// The same out of what promise() set aside, which shrinks by as much. In `most_runs` runs at
  /// most: fewer clusters than wanted where space is in many small ones.
  Result<std::vector<ClusterRun>> claim_promised(ClusterCount wanted, Lcn hint, size_t most_runs)
      EXCLUDES(mutex_);
  /// Gives claimed runs back (their data was not written or is of no use).
  void unclaim(const std::vector<ClusterRun>& runs) EXCLUDES(mutex_);
  /// The same for runs of claim_promised: the promise is as before the claim.
  void unclaim_to_promise(const std::vector<ClusterRun>& runs) EXCLUDES(mutex_);

  /// Sets the bits of a claimed run. The claim ends with the commit; after an abort it still
  /// stands.
  Result<> set_allocated(Transaction& transaction, ClusterRun run);
  /// Claims and sets, for metadata.
  Result<std::vector<ClusterRun>> allocate(Transaction& transaction, ClusterCount wanted, Lcn hint);
  /// As allocate, taking only clusters that lie directly behind `lcn` (growth of $MFT in its zone);
  /// gives fewer, or none.
  Result<ClusterRun> allocate_at(Transaction& transaction, Lcn lcn, ClusterCount wanted);
  /// Clears the bits. The clusters become reusable when the checkpoint after the commit is durable.
  Result<> free_clusters(Transaction& transaction, ClusterRun run);

  /// With Discard::Yes: tells the device of the clusters freed before the last checkpoint, which
  /// are reusable from then on. A device that refuses is not asked again.
  void discard_freed() EXCLUDES(discard_mutex_, mutex_);
  /// Tells the device of the free runs in `range` that have at least `least` clusters, except what
  /// is promised to data. Returns how many clusters. NotSupported, the device's errors.
  Result<ClusterCount> trim(ClusterRun range, ClusterCount least) EXCLUDES(discard_mutex_, mutex_);

  /// Clusters that data avoids while there is other space, so that $MFT grows in one piece.
  void set_mft_zone(ClusterRun zone) EXCLUDES(mutex_);

 private:
  struct Freed {
    ClusterRun run;
    uint64_t interval;
  };
  struct Allocating {
    ClusterRun run;
    bool claimed_here;  // by allocate(): on abort the claim ends, too
  };
  struct Freeing {
    ClusterRun run;
    bool allocated_here;  // by the same transaction: taken already
  };

  void transaction_ended(const Transaction& transaction, bool committed) override EXCLUDES(mutex_);
  Result<ClusterRun> start_freeing(ClusterRun run) REQUIRES(mutex_);
  Result<> change_bits(Transaction& transaction, ClusterRun run, bool set);
  Result<ClusterRun> free_run_from(uint64_t lcn, uint64_t end, uint64_t most) REQUIRES(mutex_);
  Result<uint64_t> first_clear(uint64_t lcn, uint64_t end, bool clear) REQUIRES(mutex_);
  Result<> find_runs(uint64_t from, uint64_t end, uint64_t wanted, std::vector<ClusterRun>& seen)
      REQUIRES(mutex_);
  Result<ClusterRun> find_wide_run(uint64_t start, uint64_t wanted) REQUIRES(mutex_);
  Result<ByteView> page_bytes(uint64_t page_index) REQUIRES(mutex_);
  Result<std::vector<ClusterRun>> search(uint64_t wanted, uint64_t start) REQUIRES(mutex_);
  Result<std::vector<ClusterRun>> claim_locked(uint64_t wanted, Lcn hint, size_t most_runs)
      REQUIRES(mutex_);
  uint64_t take_into(ClusterRun run, std::vector<ClusterRun>& runs) REQUIRES(mutex_);
  /// Takes free clusters out of the counts, or puts them back.
  void count_free(ClusterRun run, bool free) REQUIRES(mutex_);
  void take(ClusterRun run) REQUIRES(mutex_);
  void give_back(ClusterRun run) REQUIRES(mutex_);
  void reclaim() REQUIRES(mutex_);
  Result<> discard(ClusterRun run) REQUIRES(discard_mutex_);
  std::vector<ClusterRun> extract_completed() EXCLUDES(mutex_);
  void make_reusable(ClusterRun run) EXCLUDES(mutex_);
  Result<ClusterRun> take_for_trim(Lcn from, Lcn end, uint64_t least, Lcn& whole_end)
      EXCLUDES(mutex_);

  PageCache& pages_;
  Journal& journal_;
  BlockDevice& device_;
  const MetadataStreamRef bitmap_;
  const uint32_t cluster_size_;
  const uint64_t total_clusters_;
  const uint64_t slack_;  // clusters that are never promised, for metadata
  std::atomic<bool> discards_;
  Mutex discard_mutex_{LockRank::Checkpoint};  // one range of the device at a time
  mutable Mutex mutex_{LockRank::ClusterBitmap};
  // Runs that must not be handed out although their bits are clear (claimed, or freed and not yet
  // reusable): lcn -> length, merged.
  std::map<uint64_t, uint64_t> taken_ GUARDED_BY(mutex_);
  std::vector<Freed> freed_ GUARDED_BY(mutex_);
  uint64_t freed_clusters_ GUARDED_BY(mutex_) = 0;
  uint64_t unallocated_ GUARDED_BY(mutex_) = 0;  // clear bits that are not taken
  uint64_t promised_ GUARDED_BY(mutex_) = 0;
  ClusterRun mft_zone_ GUARDED_BY(mutex_){};
  std::vector<uint32_t> page_free_ GUARDED_BY(mutex_);  // unallocated_, by page of $Bitmap
  uint64_t cursor_ GUARDED_BY(mutex_) = 0;
  PageRef page_ GUARDED_BY(mutex_);  // the page of $Bitmap that was looked at last
  // Of the running transaction.
  std::vector<Allocating> allocating_ GUARDED_BY(mutex_);
  std::vector<Freeing> freeing_ GUARDED_BY(mutex_);
};

}  // namespace ntfs
