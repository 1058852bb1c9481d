#pragma once

// The log as it is written: LFS 1.1, one client. Appends fill pages in memory; flush_to brings them
// to the store in the order that keeps the log readable by every replayer after a crash at any
// point (the page write protocol in lfs/log_format.md, "Writing").
//
// Locks: mutex_ (rank Log) guards positions and pages; nothing holds it during I/O. Whoever sets
// io_busy_ under it owns the log's I/O (tail slots, restart pages) until it clears the flag.
//
// Invariants: durable_lsn <= last_lsn. A page that holds a record at or above the oldest LSN of
// either restart page on the device is never overwritten.

#include <array>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "core/base/mutex.h"
#include "lfs/log_format.h"
#include "lfs/log_store.h"
#include "lfs/page_buffer.h"
#include "lfs/restart_area.h"

namespace ntfs::lfs {

/// A client record (type 1) to append. The views need to live during the call only.
struct Record {
  uint32_t transaction_id = 0;      ///< never 0
  Lsn previous;                     ///< record of the same transaction before this one, or none
  Lsn undo_next;                    ///< next record to undo after this one, or none
  std::span<const ByteView> parts;  ///< gathered in order; together <= kMaximumClientData bytes
};

/// For info, probe and mount: what the log of a volume is like.
struct LogStatus {
  LogState state = LogState::Corrupt;
  uint16_t major_version = 0;  ///< 0 when Empty or Corrupt
  uint16_t minor_version = 0;
  uint64_t size_bytes = 0;  ///< of the log in use; of the whole file when Empty or Corrupt
  Lsn oldest_lsn;           ///< oldest that a replay may need; none without client
  Lsn restart_lsn;          ///< latest client restart record; none without client or checkpoint
  Lsn last_lsn;             ///< end of the log; without client, the LSN of the restart page
};

/// How a new epoch of the log begins.
struct LogStart {
  /// Every new LSN will be larger than this one, and than all LSNs found in the log's own pages.
  Lsn floor;
  /// Client data of the first client restart record (type 2), at most kMaximumRestartRecord.
  ByteView restart_record;
  /// Type 1 records to have on the device right behind it, e.g. the Open of $MFT. All together
  /// fit into one page.
  std::span<const Record> first_records;
  /// A record that means nothing to any replayer; its client data is padded with zeros as needed.
  /// Goes before a restart record that would not fit, and into the page before the first one. At
  /// most kMaximumFiller bytes.
  uint32_t filler_transaction_id = 0;
  ByteView filler;
  /// What reserve() never gives away: room for the records of one checkpoint, dumps included. The
  /// restart records themselves, and their fillers, are counted by LogFile.
  uint64_t checkpoint_reserve_bytes = 0;
};

class LogFile {
 public:
  /// A restart record has to lie in one page with room for a record header behind it.
  static constexpr uint64_t kMaximumRestartRecord = 0x800;

  /// A closed, clean log in a new $LogFile: both restart pages, everything else 0xFF. DiskFull if
  /// the file is too small.
  static Result<> format(LogStore& store);
  /// Quiet about what it finds; errors are the store's only.
  static Result<LogStatus> inspect(LogStore& store);
  /// Begins a new epoch: everything in the log until now is gone, and the log is unclean until
  /// close(). The caller has replayed what needed it. `store` must outlive the result.
  /// FileSystemLimitation: `floor` leaves no sequence numbers (a damaged LSN on the volume).
  static Result<std::unique_ptr<LogFile>> start(LogStore& store, const LogStart& how);

  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  /// Puts a record at the end of the log, in memory. Its LSN is final. Appends no more than was
  /// reserved (a bug otherwise, once the log runs into its own tail). Errors: that of the first
  /// failed write of the log; FileClosed after close().
  Result<Lsn> append(const Record& record) EXCLUDES(mutex_);

  /// Sets aside room for records of `cost_bytes` altogether (record_cost of each). LogFileFull:
  /// there is not enough left; a checkpoint may free some.
  Result<> reserve(uint64_t cost_bytes) EXCLUDES(mutex_);
  /// Gives back what reserve() set aside. Releasing record_cost() right after each append keeps the
  /// account exact; releasing all at the end counts appended records twice until then.
  void release(uint64_t cost_bytes) EXCLUDES(mutex_);

  /// Returns when the record at `lsn` and all before it are on stable storage. Everything appended
  /// before a flush begins goes with it. An LSN above last_lsn() is taken as last_lsn().
  Result<> flush_to(Lsn lsn) EXCLUDES(mutex_);

  /// Appends a client restart record, makes it durable, and then writes the older restart page with
  /// it. The space before `new_oldest` (the log's oldest LSN from now on, <= the restart record's)
  /// is free afterwards. One at a time.
  Result<Lsn> write_restart(ByteView client_restart_record, Lsn new_oldest) EXCLUDES(mutex_);

  /// Clean dismount: a last client restart record (its check_point_start is last_lsn() at the
  /// call), then both restart pages with the clean flag. No append, flush or reserve after it.
  Result<> close(ByteView client_restart_record) EXCLUDES(mutex_);

  /// Of all that reserve() can ever give, what records take since the oldest LSN. used < capacity.
  uint64_t used_bytes() const EXCLUDES(mutex_);
  uint64_t capacity_bytes() const;
  /// Appended and not yet durable.
  uint64_t pending_bytes() const EXCLUDES(mutex_);
  Lsn last_lsn() const EXCLUDES(mutex_);
  Lsn durable_lsn() const EXCLUDES(mutex_);
  Lsn oldest_lsn() const EXCLUDES(mutex_);
  /// A write of the log failed: every later append and flush returns its error.
  bool is_failed() const EXCLUDES(mutex_);
  const LogGeometry& geometry() const { return geometry_; }

 private:
  static constexpr size_t kChunkPages = 64;
  static constexpr size_t kMaximumSpares = 8;

  /// Record pages that are neighbours in the file and in memory, not yet all durable.
  struct Chunk {
    uint64_t first_offset = 0;  ///< of the first page in the file
    size_t pages = 0;           ///< in use
    size_t written = 0;         ///< of those, the first ones that are durable in place
    PageBuffer memory;
    MutableBytes page(size_t index) { return memory.bytes().subspan(index * kPageSize, kPageSize); }
  };
  /// What one flush writes, in this order, each durable before the next.
  struct FlushSet {
    std::vector<LogWrite> first;   ///< a full page of which an older version is durable elsewhere
    std::vector<LogWrite> before;  ///< new full pages up to the end of the file
    std::vector<LogWrite> after;   ///< new full pages from the first record page on
    bool has_tail = false;         ///< tail_page_ is a copy of the open page
    uint64_t full_pages = 0;
    Lsn cut;                      ///< last record in it
    uint64_t appended_bytes = 0;  ///< up to the cut
  };
  /// A record of either type as it goes into the log.
  struct Pending {
    RecordType type = RecordType::Client;
    uint32_t transaction_id = 0;
    Lsn previous;
    Lsn undo_next;
    std::span<const ByteView> parts;
    uint64_t data_bytes = 0;  ///< at least the sum of the parts; the rest is zero
  };

  LogFile(LogStore& store, const LogGeometry& geometry, uint64_t sequence, const LogStart& how);

  Result<> begin_epoch(const LogStart& how, const RestartPages& old) EXCLUDES(mutex_);
  Result<> write_first_pages() EXCLUDES(mutex_);
  void fill_dummy_page(MutableBytes page, uint64_t sequence) const;

  Lsn append_locked(const Pending& record) REQUIRES(mutex_);
  Lsn append_restart_locked(ByteView client_restart_record) REQUIRES(mutex_);
  void append_filler_locked(uint64_t data_bytes) REQUIRES(mutex_);
  void fill_page_locked() REQUIRES(mutex_);
  void seal_locked() REQUIRES(mutex_);
  void start_page_locked() REQUIRES(mutex_);
  uint64_t room_locked() const REQUIRES(mutex_);
  MutableBytes open_page_locked() REQUIRES(mutex_);
  void snapshot_locked(MutableBytes into) REQUIRES(mutex_);

  void acquire_io_locked() REQUIRES(mutex_);
  void release_io_locked() REQUIRES(mutex_);
  Result<> flush_once_locked() REQUIRES(mutex_);
  FlushSet collect_locked() REQUIRES(mutex_);
  void retire_locked(const FlushSet& set) REQUIRES(mutex_);
  void recycle_locked() REQUIRES(mutex_);
  Result<> write_set(const FlushSet& set);
  Result<> write_tail(uint64_t target_offset);
  void make_tail_copy(uint64_t target_offset);
  void make_restart_page(RestartPage content);
  Result<> write_restart_page(size_t index, const RestartPage& content);
  Result<> write_first_sector(const RestartPage& content);
  Result<> write_final_pages();
  RestartPage restart_page(Lsn restart_lsn, Lsn oldest, uint64_t data_bytes) const;

  uint64_t used_pages_locked() const REQUIRES(mutex_);
  uint64_t free_bytes_locked() const REQUIRES(mutex_);
  Lsn base_locked() const REQUIRES(mutex_);

  LogStore& store_;
  const LogGeometry geometry_;
  const ByteVector filler_;
  const uint32_t filler_transaction_id_;
  const uint32_t open_log_count_;
  const uint64_t checkpoint_reserve_;

  mutable Mutex mutex_{LockRank::Log};
  ConditionVariable io_done_;
  bool io_busy_ GUARDED_BY(mutex_) = false;
  NtStatus failure_ GUARDED_BY(mutex_) = NtStatus::Success;  ///< FileClosed after close()

  uint64_t sequence_ GUARDED_BY(mutex_);           ///< of the page started last
  uint64_t next_offset_ GUARDED_BY(mutex_);        ///< of the page to start next
  bool has_open_page_ GUARDED_BY(mutex_) = false;  ///< the page started last has room for a header
  uint64_t open_used_ GUARDED_BY(mutex_) = 0;      ///< where the next record stands in it
  bool follows_covered_page_ GUARDED_BY(mutex_) = false;  ///< the page before it ends no record
  bool has_older_version_ GUARDED_BY(mutex_) = false;     ///< durable, of the first unwritten page
  std::deque<Chunk> chunks_ GUARDED_BY(mutex_);
  std::vector<PageBuffer> spare_ GUARDED_BY(mutex_);
  Lsn last_lsn_ GUARDED_BY(mutex_);
  Lsn durable_lsn_ GUARDED_BY(mutex_);
  uint64_t appended_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t durable_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t reserved_bytes_ GUARDED_BY(mutex_) = 0;
  std::array<Lsn, 2> page_oldest_ GUARDED_BY(mutex_);  ///< oldest LSN of each restart page on disk

  // Owned by whoever has set io_busy_.
  PageBuffer home_page_{kPageSize};
  PageBuffer tail_page_{kPageSize};
  PageBuffer restart_buffer_{kPageSize};
  uint64_t open_page_offset_ = 0;  ///< of the page in tail_page_
  size_t tail_slot_ = 0;           ///< the one to write next
  size_t restart_index_ = 0;       ///< the restart page to write next: the older one
  uint16_t tail_update_sequence_ = 0;
  uint16_t restart_update_sequence_ = 0;
};

}  // namespace ntfs::lfs
