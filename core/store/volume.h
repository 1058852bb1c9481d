#pragma once

// A volume in use: owns the page cache, the journal, the allocators and the files in memory, and
// the thread that commits. Members stand in construction order, the thread last.

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/boot_sector.h"
#include "core/store/attributes.h"
#include "core/store/cluster_allocator.h"
#include "core/store/collation.h"
#include "core/store/file.h"
#include "core/store/journal.h"
#include "core/store/log_store.h"
#include "core/store/mft.h"
#include "core/store/page_cache.h"

namespace ntfs {

struct VolumeOptions {
  enum class Access { ReadOnly, ReadWrite };
  Access access = Access::ReadWrite;
  uint64_t cache_bytes = uint64_t{256} << 20;       ///< bound of buffered data and metadata pages
  std::chrono::milliseconds commit_interval{5000};  ///< longest time a change stays out of the log
};

class Volume {
 public:
  /// Mounts. `device` must outlive the volume. UnrecognizedVolume: not NTFS; LogCorrupt with
  /// `why_not` filled: read-write refused because the log is unclean, the volume hibernated or
  /// dirty.
  static Result<std::unique_ptr<Volume>> open(BlockDevice& device, const VolumeOptions& options,
                                              std::string& why_not);
  /// Without close(), nothing more is written: the log stays unclean.
  ~Volume();

  /// Commits, checkpoints, leaves the log clean. No other call may follow.
  Result<> close();

  /// Everything that happened before the call is durable when it returns.
  Result<> commit();
  /// Commit, and all pages in place (frees log and clusters).
  Result<> checkpoint();
  /// After DiskFull: whether freed clusters became available, so that a retry makes sense.
  bool reclaim();

  /// Held shared by every request that changes something, exclusively while a commit takes its cut.
  SharedMutex& gate() { return gate_; }

  BlockDevice& device() { return device_; }
  const ondisk::VolumeGeometry& geometry() const { return geometry_; }
  PageCache& pages() { return *pages_; }
  Journal& journal() { return *journal_; }
  ClusterAllocator& clusters() { return *clusters_; }
  Mft& mft() { return *mft_; }
  const UpCase& upcase() const { return *upcase_; }
  const VolumeOptions& options() const { return options_; }
  bool is_writable() const { return journal_->is_writable(); }
  const std::u16string& label() const { return label_; }
  const ondisk::VolumeInformation& information() const { return information_; }
  uint64_t max_file_size() const;

  /// The stream of a nonresident metadata attribute, shared by all who ask. Caller holds the
  /// metadata lock. ObjectNameNotFound: no such attribute, or resident.
  Result<MetadataStreamRef> metadata_stream(FileReference file, ondisk::AttributeType type,
                                            std::u16string_view name);
  /// Registers the stream of an attribute that a transaction just made. Its runs are the caller's.
  MetadataStreamRef add_metadata_stream(FileReference file, ondisk::AttributeType type,
                                        std::u16string_view name, Runlist runs);
  /// Forgets a stream whose attribute is gone, with its pages.
  void drop_metadata_stream(const MetadataStreamRef& stream);

  /// The file in memory; made when it is not. Does not look at the disk.
  FilePtr file(FileReference reference) EXCLUDES(files_mutex_);
  /// Keeps `file` in memory until its changes are written (by commit or the committer).
  void add_dirty(File& file) EXCLUDES(files_mutex_);

  // Buffered data, for the bound of memory.
  void add_buffered(uint64_t bytes);
  void remove_buffered(uint64_t bytes) { buffered_.fetch_sub(bytes, std::memory_order_relaxed); }
  /// Whether a writer should write back some of its own units first.
  bool is_over_budget() const;

 private:
  Volume(BlockDevice& device, const VolumeOptions& options, const ondisk::VolumeGeometry& geometry);
  Result<> load(std::string& why_not);
  Result<> load_mft();
  Result<> load_volume_record(std::string& why_not);
  Result<> load_upcase();
  Result<> load_log(std::string& why_not);
  Result<bool> is_hibernated();
  Result<ByteVector> read_whole(FileReference file, ondisk::AttributeType type, uint64_t limit);
  Result<lfs::Lsn> highest_record_lsn();
  Result<> write_back_dirty() EXCLUDES(files_mutex_);
  Result<> commit_now();
  void run_committer();

  BlockDevice& device_;
  const VolumeOptions options_;
  const ondisk::VolumeGeometry geometry_;
  std::u16string label_;
  ondisk::VolumeInformation information_{};
  std::unique_ptr<PageCache> pages_;
  std::unique_ptr<LogStoreOnVolume> log_store_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<ClusterAllocator> clusters_;
  std::unique_ptr<Mft> mft_;
  std::unique_ptr<UpCase> upcase_;
  SharedMutex gate_{LockRank::Volume};
  Mutex commit_mutex_{LockRank::Commit};
  std::atomic<uint64_t> commits_started_{0};
  std::atomic<uint64_t> buffered_{0};
  // Guarded by the metadata lock for writing, streams_mutex_ besides for concurrent readers.
  Mutex streams_mutex_{LockRank::FileTable};
  std::unordered_map<uint64_t, MetadataStreamRef> streams_ GUARDED_BY(streams_mutex_);
  Mutex files_mutex_{LockRank::FileTable};
  std::unordered_map<uint64_t, std::weak_ptr<File>> files_ GUARDED_BY(files_mutex_);
  std::unordered_map<uint64_t, FilePtr> dirty_files_ GUARDED_BY(files_mutex_);
  Mutex committer_mutex_{LockRank::Device};
  ConditionVariable committer_wakes_;
  bool stop_committer_ GUARDED_BY(committer_mutex_) = false;
  bool committer_due_ GUARDED_BY(committer_mutex_) = false;
  std::thread committer_;
};

}  // namespace ntfs
