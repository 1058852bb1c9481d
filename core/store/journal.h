#pragma once

// What a Transaction writes to and a checkpoint empties: the log, the table of open attributes, the
// dirty pages.
//
// Rules (log sheet 7.6 "Recommended commit design", 9.3 "Checkpoints"):
// - Pages reach the device in checkpoints only. A checkpoint holds the metadata lock while it notes
//   which pages are dirty. Then it makes the log durable (write-ahead), copies the pages bit by bit
//   and writes the copies; whoever changes a page first leaves its image for the checkpoint. So
//   what is written holds whole transactions only, all of them in the durable log.
// - An interval is the time between two such moments. Clusters and file records freed in interval
//   N are reused only when completed_interval() >= N: no record of the log that a replay may read
//   then speaks of them.
// - The tables of a checkpoint are empty: no transaction is open, no page of an older interval is
//   dirty, and slots of open attributes are opened again (0x1C) in each interval before use. A slot
//   is given to another attribute only when it was opened in neither the current nor the previous
//   interval.

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/ondisk/log_operations.h"
#include "core/store/log_store.h"
#include "core/store/page_cache.h"
#include "lfs/log_file.h"
#include "lfs/marshalling_area.h"
#include "usn/usn.h"

namespace ntfs {

class Transaction;
struct TransactionMemory;

class Journal {
 public:
  struct Mirror {  ///< $MFTMirr: copies of the first file records
    uint64_t offset_bytes = 0;
    uint64_t count_records = 0;
  };

  /// All references must outlive the journal.
  Journal(BlockDevice& device, PageCache& pages, const ondisk::VolumeGeometry& geometry);
  ~Journal();
  /// From here on the volume can be changed. Before any other thread knows the journal.
  void start(std::unique_ptr<lfs::LogFile> log, LogStoreOnVolume& store, Mirror mirror);

  /// Shared: reading metadata. Exclusive: a Transaction, and the head of a checkpoint.
  SharedMutex& metadata_lock() { return metadata_lock_; }

  /// False when the volume is mounted read-only, or after a failed log or page write.
  bool is_writable() const { return log_ != nullptr && !failed_.load(std::memory_order_acquire); }
  /// Stops all further changes (a write failed); says why once.
  void fail(NtStatus status, std::string_view what);

  /// Makes every committed transaction durable, and all file data written before the call.
  Result<> flush() EXCLUDES(metadata_lock_);
  /// Makes every committed transaction durable, writes all dirty pages, and frees the log.
  Result<> checkpoint() EXCLUDES(metadata_lock_);
  /// Checkpoint, then the clean dismount of the log. No transaction may follow.
  Result<> close() EXCLUDES(metadata_lock_);

  /// The running interval. Guarded by the metadata lock.
  uint64_t interval() const { return interval_; }
  /// All changes of intervals up to this one are on the device in place.
  uint64_t completed_interval() const { return completed_.load(std::memory_order_acquire); }
  /// Whether a checkpoint is due: the log has filled, or pages too many are dirty.
  bool wants_checkpoint() const;
  /// Waits until a flush or checkpoint is due, `wake` was called, or `timeout` has passed.
  void wait_for_work(std::chrono::milliseconds timeout) EXCLUDES(work_mutex_);
  void wake() EXCLUDES(work_mutex_);
  /// Whether anything was changed since the last checkpoint.
  bool has_changes() const { return changed_.load(std::memory_order_acquire); }
  /// Log space that each transaction sets aside, 0 on a volume that cannot be changed.
  uint64_t transaction_bytes() const;
  /// Bytes appended to the log and not yet durable.
  uint64_t pending_bytes() const { return log_ ? log_->pending_bytes() : 0; }
  const lfs::LogFile* log() const { return log_.get(); }

  /// What checkpoints say of the change journal from now on: its file, and the first record that a
  /// recovery needs. Guarded by the metadata lock.
  void set_usn_restart(FileReference file, usn::Usn restart) { usn_ = {file, restart}; }

  /// Raised by each aborted transaction: what was derived from pages before must be derived anew.
  uint64_t abort_count() const { return aborts_.load(std::memory_order_acquire); }

 private:
  friend class Transaction;
  /// What a transaction may open; with fewer free slots a checkpoint comes first.
  static constexpr size_t kSlotsOfTransaction = 32;
  struct UsnRestart {
    FileReference file;
    usn::Usn first;
  };
  /// What a checkpoint writes: the dirty pages at one moment.
  struct Snapshot {
    std::vector<PageRef> pages;
    lfs::Lsn start;  ///< last record before the checkpoint
    uint64_t interval = 0;
    UsnRestart usn;
  };

  /// Opens `stream` in this interval if it is not; the record joins the transaction's chain.
  Result<> ensure_open(MetadataStream& stream, Transaction& transaction);
  Result<uint32_t> assign_slot(const MetadataStream& stream);
  bool has_free_slots() const;
  void wake_if_due() EXCLUDES(work_mutex_);
  /// Makes the log durable up to `last`, and all file data before that.
  Result<> flush_to(lfs::Lsn last);
  /// Before a change of `page`.
  void mark_dirty(const PageRef& page);
  Snapshot take_snapshot() REQUIRES(checkpoint_mutex_) EXCLUDES(metadata_lock_);
  Result<> write_snapshot(Snapshot& snapshot) EXCLUDES(metadata_lock_);
  void learn_numbers(std::span<const PageRef> pages, MutableBytes memory);
  void copy_pages(std::span<const PageRef> pages, MutableBytes memory,
                  std::vector<IoRequest>& writes) EXCLUDES(metadata_lock_);
  void add_writes(const MetadataPage& page, const PagePlace& place, ByteView bytes,
                  std::vector<IoRequest>& writes) const;
  Result<> checkpoint_locked() REQUIRES(checkpoint_mutex_);
  ByteVector restart_record(lfs::Lsn start, const UsnRestart& usn) const;

  BlockDevice& device_;
  PageCache& pages_;
  const ondisk::VolumeGeometry geometry_;
  std::unique_ptr<lfs::LogFile> log_;           // set once; null: never changed
  LogStoreOnVolume* log_store_ = nullptr;       // that of log_; set with it
  std::unique_ptr<lfs::MarshallingArea> area_;  // set once, with the log
  Mirror mirror_;                               // set once, with the log
  std::atomic<bool> failed_{false};
  std::atomic<bool> changed_{false};
  std::atomic<uint64_t> completed_{0};
  std::atomic<uint64_t> dirty_bytes_{0};
  std::atomic<uint64_t> aborts_{0};
  Mutex checkpoint_mutex_{LockRank::Checkpoint};
  mutable SharedMutex metadata_lock_{LockRank::Metadata};

  Mutex work_mutex_{LockRank::Device};
  ConditionVariable work_;
  bool work_due_ GUARDED_BY(work_mutex_) = false;

  struct Slot {
    uint64_t stream_file = 0;  // raw file reference of the owner
    uint64_t stream_id = 0;
    uint64_t opened_interval = 0;  // 0 = free
  };
  // Guarded by metadata_lock_ (exclusive); the analysis cannot follow a lock that a Transaction
  // holds.
  std::vector<Slot> slots_;
  uint64_t interval_ = 1;
  UsnRestart usn_;
  uint64_t slots_in_use_ = 0;
  std::unique_ptr<TransactionMemory> transaction_memory_;
  std::vector<PageRef> dirty_;  // each dirty page once; some may have been forgotten since
};

}  // namespace ntfs
