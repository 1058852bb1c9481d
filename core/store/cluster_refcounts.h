#pragma once

// How many runs have each cluster of file data, on volumes whose files may share clusters (MS-FSA
// 2.1.1.1, ClusterRefcount). The volume keeps counts from 2 on in an index below $Extend
// (core/ondisk/cluster_references.h), memory all of them. A set bit in $Bitmap alone means 1.
//
// Invariant: a cluster becomes shared only under the locks of the streams that have it then
// (Stream::share); one that wrote to it in place would change another's data. It ceases to be so
// late: a cluster whose count fell to 1 is shared until the checkpoint after that, because a crash
// before brings the other run back. So do freed clusters wait for their reuse.
//
// Locks: changes belong to a Transaction (the metadata lock); the counts in memory by mutex_.

#include <atomic>
#include <map>
#include <vector>

#include "core/base/mutex.h"
#include "core/base/units.h"
#include "core/ondisk/cluster_references.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class ClusterRefcounts final : public Participant {
 public:
  /// `volume` must outlive the object. `file`: $Extend\$Refcounts.
  ClusterRefcounts(Volume& volume, FileReference file) : volume_(volume), file_(file) {}
  /// Reads the index. The caller holds the metadata lock (shared). FileCorruptError.
  Result<> load() EXCLUDES(mutex_);

  /// Clusters of `run` that may not be written to in place: they are shared.
  ClusterCount count_shared(ClusterRun run) EXCLUDES(mutex_);
  /// A part of `run`, as long as can be, that has one count throughout.
  struct Part {
    ClusterRun run;
    bool is_shared = false;
  };
  Part first_part(ClusterRun run) EXCLUDES(mutex_);
  Part last_part(ClusterRun run) EXCLUDES(mutex_);
  /// Whether a checkpoint would end the sharing of some clusters.
  bool has_lingering() EXCLUDES(mutex_);

  /// One more run has these clusters, which are allocated. FileSystemLimitation: too many have.
  Result<> add_reference(Transaction& transaction, ClusterRun run) EXCLUDES(mutex_);
  /// One run less has them. Returns those that none has now: the caller frees them.
  Result<std::vector<ClusterRun>> remove_reference(Transaction& transaction, ClusterRun run)
      EXCLUDES(mutex_);

 private:
  struct Extent {
    uint64_t count = 0;       ///< clusters
    uint32_t references = 0;  ///< 1: still shared, see above, until `interval` is complete
    uint64_t interval = 0;
  };
  using Extents = std::map<uint64_t, Extent>;  // by first lcn
  /// What a change puts in the place of what.
  struct Change {
    Extents before;
    Extents after;
    std::vector<ClusterRun> unreferenced;
    std::vector<ClusterRun> lingering;
  };
  /// Clusters of which one reference is left.
  struct Lingering {
    ClusterRun run;
    uint64_t interval = 0;
  };
  enum class Step { Add, Remove };
  class Planner;
  static constexpr uint64_t kNever = ~uint64_t{0};

  void transaction_ended(const Transaction& transaction, bool committed) override EXCLUDES(mutex_);
  Extents::const_iterator first_from(uint64_t lcn) const REQUIRES_SHARED(mutex_);
  void end_lingering() EXCLUDES(mutex_);
  Result<std::vector<ClusterRun>> perform(Transaction& transaction, ClusterRun run, Step step)
      EXCLUDES(mutex_);
  void replace(const Extents& old, const Extents& fresh) REQUIRES(mutex_);
  Result<> log(Transaction& transaction, const Change& change);

  Volume& volume_;
  const FileReference file_;
  SharedMutex mutex_{LockRank::ClusterBitmap};
  Extents extents_ GUARDED_BY(mutex_);
  std::vector<Lingering> lingering_ GUARDED_BY(mutex_);  // in the order of their intervals
  std::atomic<uint64_t> first_lingering_{kNever};        // interval of the first of them
  std::vector<Change> changes_ GUARDED_BY(mutex_);       // of the running transaction
};

}  // namespace ntfs
