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
#include "core/store/buffer_pool.h"
#include "core/store/cluster_allocator.h"
#include "core/store/cluster_refcounts.h"
#include "core/store/collation.h"
#include "core/store/file.h"
#include "core/store/journal.h"
#include "core/store/log_store.h"
#include "core/store/logged_data.h"
#include "core/store/mft.h"
#include "core/store/page_cache.h"
#include "core/store/recovery.h"
#include "core/store/unit_cache.h"
#include "core/store/usn_stream.h"

namespace ntfs {

class SecurityDescriptors;

struct VolumeOptions {
  /// A log that is not clean is replayed: in memory alone unless ReadWrite.
  enum class Access {
    AsItIs,     ///< read-only; the log is not looked at
    NoRecover,  ///< read-only; as AsItIs, with a warning, when the log cannot be replayed
    ReadOnly,   ///< refused when the log cannot be replayed
    ReadWrite,
  };
  Access access = Access::ReadWrite;
  uint64_t cache_bytes = uint64_t{256} << 20;  ///< bound of buffered data and metadata pages
  /// Longest time a change stays out of the log. Zero: until somebody asks for a commit or a
  /// checkpoint, or the log is full; no thread works beside the callers then.
  std::chrono::milliseconds commit_interval{5000};
  /// Whether changes are recorded in the change journal, where the volume has one. Without, it is
  /// stamped before the first change: its readers learn that records are missing.
  enum class UsnRecords { Yes, No };
  UsnRecords usn_records = UsnRecords::Yes;
  /// Whether data of encrypted files is refused, or shown as it is on the device, as ntfs-3g does
  /// for backups with efs_raw: up to a multiple of 512 bytes, and how many of these are too many in
  /// two more. Only volumes that are not writable show it.
  enum class Encrypted { Refused, Raw };
  Encrypted encrypted = Encrypted::Refused;
  /// Whether the device is told of freed clusters.
  using Discard = ClusterAllocator::Discard;
  Discard discard = Discard::No;
  /// When ReadWrite refuses because of a Windows that sleeps (hibernation.h).
  enum class SleepGuard {
    Possible,    ///< when it may sleep
    Known,       ///< when it does
    RemoveFile,  ///< never: ObjectStore removes hiberfil.sys, and the session is lost
  };
  SleepGuard sleep_guard = SleepGuard::Possible;
};

class Volume {
 public:
  /// Mounts; first recovers a volume that was not unmounted (recovery.h). `device` must outlive the
  /// volume. UnrecognizedVolume: not NTFS. With `why_not` filled, and nothing written: LogCorrupt
  /// and NotSupported (the log cannot be replayed), SharingViolation (Windows sleeps),
  /// DiskCorruptError (marked dirty).
  static Result<std::unique_ptr<Volume>> open(BlockDevice& device, const VolumeOptions& options,
                                              std::string& why_not);
  /// What the boot sector says. UnrecognizedVolume; FileCorruptError (reported).
  static Result<ondisk::VolumeGeometry> read_geometry(BlockDevice& device);
  /// Without close(), nothing more is written: the log stays unclean.
  ~Volume();

  /// Commits, checkpoints, leaves the log clean. No other call may follow.
  Result<> close();

  /// Everything that happened before the call is durable when it returns.
  Result<> commit();
  /// Writes all metadata in place (Journal::checkpoint); freed clusters become reusable.
  Result<> checkpoint();
  /// After DiskFull: makes freed clusters reusable by a checkpoint. False when there are none, and
  /// a retry makes no sense.
  bool reclaim();
  /// The same for a caller that holds no lock of a stream: also writes back what is buffered, whose
  /// promised space is more than it will take. False when a retry makes no sense.
  bool relieve();

  BlockDevice& device() { return device_; }
  LoggedData& data() { return *data_; }  ///< the device as file data sees it
  const ondisk::VolumeGeometry& geometry() const { return geometry_; }
  BufferPool& buffers() { return buffers_; }  ///< memory for file data
  UnitCache& units() { return units_; }
  PageCache& pages() { return *pages_; }
  Journal& journal() { return *journal_; }
  ClusterAllocator& clusters() { return *clusters_; }
  /// Null unless the volume is writable and its files may share clusters.
  ClusterRefcounts* refcounts() { return refcounts_.get(); }
  /// Takes clusters of file data from a run that had them: frees those that no other run has.
  Result<> release_clusters(Transaction& transaction, ClusterRun run);
  Mft& mft() { return *mft_; }
  SecurityDescriptors& security() { return *security_; }
  UsnStream& usn() { return *usn_; }
  const UsnStream& usn() const { return *usn_; }
  const UpCase& upcase() const { return *upcase_; }
  const VolumeOptions& options() const { return options_; }
  bool is_writable() const { return journal_->is_writable(); }
  const std::u16string& label() const { return label_; }
  const ondisk::VolumeInformation& information() const { return information_; }
  const lfs::LogStatus& log_status() const { return log_status_; }  ///< as it was at mount
  LogStoreOnVolume& log_store() { return *log_store_; }
  /// What the recovery at mount did; null when there was nothing to recover.
  const RecoveryReport* recovery() const { return recovery_ ? &recovery_->report() : nullptr; }
  /// 2^32 clusters less 64 KiB (MS-FSA product notes).
  uint64_t max_file_size() const { return (uint64_t{geometry_.cluster_size} << 32) - (64 << 10); }

  /// The stream of a nonresident metadata attribute, shared by all who ask. Caller holds the
  /// metadata lock. ObjectNameNotFound: no such attribute, or resident.
  Result<MetadataStreamRef> metadata_stream(FileReference file, ondisk::AttributeType type,
                                            std::u16string_view name);
  /// Registers the stream of an attribute that a transaction just made. Its runs are the caller's.
  MetadataStreamRef add_metadata_stream(FileReference file, ondisk::AttributeType type,
                                        std::u16string_view name, Runlist runs);
  /// Forgets a stream whose attribute is gone; its pages go when the transaction commits.
  void drop_metadata_stream(Transaction& transaction, const MetadataStreamRef& stream);
  /// While it stays the same, so do the answers of metadata_stream().
  uint64_t streams_version() const {
    return streams_changes_.load(std::memory_order_relaxed) + journal_->abort_count();
  }

  /// The file in memory; made when it is not. Does not look at the disk.
  FilePtr file(FileReference reference) EXCLUDES(files_mutex_);
  /// Keeps `file` in memory until its changes are written (by commit or the committer).
  void add_dirty(File& file) EXCLUDES(files_mutex_);
  /// The same for a file of which nothing is to be written but its close record. Many of them are
  /// written together, now and then by the caller.
  void add_closed(File& file) EXCLUDES(files_mutex_);
  /// Makes records of what a file has noted for the change journal, at once: one that is opened,
  /// written to and closed again and again would have more of it than a transaction can take.
  void write_notes(File& file) EXCLUDES(files_mutex_);

  // Buffered data, for the bound of memory.
  void add_buffered(uint64_t bytes) { buffered_.fetch_add(bytes, std::memory_order_relaxed); }
  void remove_buffered(uint64_t bytes) { buffered_.fetch_sub(bytes, std::memory_order_relaxed); }
  /// Whether a writer should write back some of its own units first.
  bool is_over_budget() const;

 private:
  Volume(BlockDevice& device, const VolumeOptions& options, const ondisk::VolumeGeometry& geometry,
         std::unique_ptr<Recovery> recovery);
  static Result<> write_recovered(BlockDevice& device, VolumeOptions options,
                                  const ondisk::VolumeGeometry& geometry, Recovery& recovery,
                                  std::string& why_not);
  Result<> load(std::string& why_not);
  Result<> load_mft();
  Result<Journal::Mirror> mirror_of_mft();
  Result<> load_volume_record(std::string& why_not);
  Result<> load_upcase();
  Result<> load_log_runs();
  Result<> load_refcounts();
  Result<> check_log(std::string& why_not) const;
  Result<> check_writable(std::string& why_not);
  Result<std::unique_ptr<lfs::LogFile>> start_log();
  Result<MetadataStreamRef> load_stream(FileReference file, ondisk::AttributeType type,
                                        std::u16string_view name, uint64_t id);
  Result<ByteVector> read_whole(FileReference file, ondisk::AttributeType type, uint64_t limit);
  Result<lfs::Lsn> highest_record_lsn();
  Result<> start_usn();
  enum class Notes { Written, Left };
  Result<> write_back_dirty(Notes notes, Stream::Durable durable) EXCLUDES(files_mutex_);
  Result<> keep_noted(std::span<const FilePtr> files) EXCLUDES(files_mutex_);
  Result<> write_noted(std::span<const FilePtr> files) EXCLUDES(files_mutex_);
  void close_all() EXCLUDES(files_mutex_);
  Result<> commit(Stream::Durable durable);
  Result<> commit_now(Stream::Durable durable) REQUIRES(commit_mutex_);
  void start_committer();
  void run_committer();

  std::unique_ptr<Recovery> recovery_;   // null: the log was clean
  std::unique_ptr<OverlayDevice> view_;  // what was recovered and not written
  BlockDevice& device_;
  const VolumeOptions options_;
  const ondisk::VolumeGeometry geometry_;
  BufferPool buffers_;
  UnitCache units_;
  std::u16string label_;
  ondisk::VolumeInformation information_{};
  std::unique_ptr<PageCache> pages_;
  std::unique_ptr<LogStoreOnVolume> log_store_;
  lfs::LogStatus log_status_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<LoggedData> data_;
  std::unique_ptr<ClusterAllocator> clusters_;
  std::unique_ptr<ClusterRefcounts> refcounts_;
  std::unique_ptr<Mft> mft_;
  std::unique_ptr<SecurityDescriptors> security_;
  std::unique_ptr<UsnStream> usn_;
  std::unique_ptr<UpCase> upcase_;
  Mutex commit_mutex_{LockRank::Commit};
  std::atomic<uint64_t> commits_wanted_{0};
  uint64_t commits_done_ GUARDED_BY(commit_mutex_) = 0;
  Result<> last_commit_ GUARDED_BY(commit_mutex_);
  std::atomic<uint64_t> buffered_{0};
  Mutex streams_mutex_{LockRank::FileTable};
  std::unordered_map<uint64_t, MetadataStreamRef> streams_ GUARDED_BY(streams_mutex_);
  static constexpr size_t kLeastStreams = 8192;
  size_t streams_limit_ GUARDED_BY(streams_mutex_) = kLeastStreams;  // idle ones go above it
  std::atomic<uint64_t> streams_changes_{0};
  uint64_t streams_aborts_ GUARDED_BY(streams_mutex_) = 0;  // Journal::abort_count() of streams_
  Mutex files_mutex_{LockRank::FileTable};
  // By their references: what names a file that is gone must not stand in the way of the one that
  // has its record now.
  std::unordered_map<uint64_t, std::weak_ptr<File>> files_ GUARDED_BY(files_mutex_);
  std::unordered_map<uint64_t, FilePtr> dirty_files_ GUARDED_BY(files_mutex_);
  std::vector<FilePtr> closed_files_ GUARDED_BY(files_mutex_);
  size_t files_limit_ GUARDED_BY(files_mutex_) = 1024;  // expired entries go when there are more
  std::atomic<bool> stop_committer_{false};
  std::thread committer_;
};

}  // namespace ntfs
