#pragma once

// The log as it is written: LFS 1.1. Appends fill pages in memory; flush_to brings them to the
// store in the order that keeps the log readable by every replayer after a crash at any point (the
// page write protocol in lfs/log_format.md, "Writing"). A volume's log has one client, "NTFS", and
// begins anew at each mount; a private log has any number of streams (LogStream) and is continued.
//
// All records of all streams go through execute(): it checks and changes what is reserved and
// appends, under one lock, all or nothing. Copying a record under that lock takes less time than
// handing the copy over to someone who waits (clfs.md 5.7 has the figures).
//
// Locks: restart_mutex_ (rank LogFlush) lets one restart record be written at a time. mutex_ (rank
// Log) guards positions, pages and accounts; nothing holds it during I/O. Whoever sets io_busy_
// under it owns the log's I/O (tail slots, restart pages) until it clears the flag.
//
// Invariants: durable_lsn <= last_lsn. What is reserved, checkpoints included, is at most what is
// free. A page that holds a record at or above the oldest LSN of either restart page on the device
// is never overwritten.

#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "lfs/log_format.h"
#include "lfs/log_store.h"
#include "lfs/page_buffer.h"
#include "lfs/restart_area.h"

namespace ntfs::lfs {

class LogReader;
class LogStream;

/// A client record (type 1) to append. The views need to live during the call only.
struct Record {
  uint32_t transaction_id = 0;      ///< never 0 in a volume's log
  Lsn previous;                     ///< record of the same chain before this one, or none
  Lsn undo_next;                    ///< next record to undo after this one, or none
  std::span<const ByteView> parts;  ///< gathered in order; together <= maximum_record_bytes()
  /// Each part begins at a multiple of it from the start of the client data; zeros between. A power
  /// of two.
  uint32_t part_alignment = 1;

  /// Length of the client data. The parts fit into 32 bits (the caller checked).
  uint64_t data_bytes() const;
};

/// How a call changes what its stream has reserved.
struct SpaceChange {
  uint64_t given_up_bytes = 0;  ///< of what is reserved: consumed or released
  uint64_t taken_bytes = 0;     ///< to reserve
  uint32_t given_up_records = 0;
  uint32_t taken_records = 0;
};

struct Appended {
  Lsn lsn;   ///< of the record; none if nothing was appended. Final.
  Lsn next;  ///< exclusive end: what the call appended is durable when durable_end() >= next
};

/// When a private log writes by itself what was appended.
struct FlushPolicy {
  uint64_t threshold_bytes = 64 << 10;         ///< appended and not yet durable
  std::chrono::milliseconds maximum_delay{5};  ///< of the write of a record nobody asks for
};

struct SpaceInfo {
  uint64_t total_bytes = 0;      ///< what records can take, the rooms for checkpoints excluded
  uint64_t available_bytes = 0;  ///< neither used nor reserved
  uint64_t used_bytes = 0;       ///< taken since the oldest record that is pinned
  uint64_t reserved_bytes = 0;   ///< by this stream
  uint32_t reserved_records = 0;
  uint64_t abandoned_records = 0;  ///< reservations that areas held when they were destroyed
  Lsn base;                        ///< oldest record that the stream needs
  Lsn last;                        ///< the stream's last record; none before the first one
  Lsn newest_restart;              ///< none before the first restart record
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
  /// Every new LSN will be larger than this one, and than all that the log's restart pages tell of.
  /// Where these are gone, record pages may be left, and the floor has to be above their LSNs.
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
  /// What no stream gets: room for the records of one checkpoint, dumps included. The
  /// restart records themselves, and their fillers, are counted by LogFile.
  uint64_t checkpoint_reserve_bytes = 0;
};

class LogFile {
 public:
  /// A restart record has to lie in one page with room for a record header behind it. In a volume's
  /// log a filler may stand before it.
  static constexpr uint64_t kMaximumRestartRecord = 0x800;
  static constexpr uint64_t kMaximumPrivateRestartRecord = 3900;

  /// A closed, clean log in a new $LogFile: both restart pages, everything else 0xFF. DiskFull if
  /// the file is too small.
  static Result<> format(LogStore& store);
  /// Quiet about what it finds; errors are the store's only.
  static Result<LogStatus> inspect(LogStore& store);
  /// Begins a new epoch: everything in the log until now is gone, and the log is unclean until
  /// close(). The caller has replayed what needed it. `store` must outlive the result.
  /// FileSystemLimitation: `floor` leaves no sequence numbers (a damaged LSN on the volume).
  static Result<std::unique_ptr<LogFile>> start(LogStore& store, const LogStart& how);

  /// A new private log: no streams, all of `store` overwritten. DiskFull if it is too small.
  static Result<std::unique_ptr<LogFile>> create_private(LogStore& store, FlushPolicy policy);
  /// Finds the end of a private log and continues behind it. What was not durable is gone for good:
  /// no LSN that a lost write may have left behind is used again. LogCorrupt: no restart page, or
  /// the records from the oldest base on are not whole.
  static Result<std::unique_ptr<LogFile>> open_private(LogStore& store, FlushPolicy policy);

  /// A new stream of a private log, durable. `name`: 1 to 64 units. Errors: NotSupported (a
  /// volume's log), ObjectNameInvalid, ObjectNameCollision, InsufficientResources (too many),
  /// LogFileFull (no room for its restart records).
  Result<LogStream> create_stream(std::u16string_view name);
  /// ObjectNameNotFound. The stream of a volume's log is "NTFS".
  Result<LogStream> open_stream(std::u16string_view name);

  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  /// Changes what the stream has reserved by `change`, and puts `record`, if there is one, at the
  /// end of the log, in memory: both or nothing. What the record costs comes from what is given up
  /// and what is free. Errors: LogFileFull, InvalidParameter (a link to a record that does not
  /// exist yet), that of the first failed write of the log; FileClosed after close().
  Result<Appended> execute(uint16_t client, const Record* record, const SpaceChange& change)
      EXCLUDES(mutex_);
  /// What a record is charged.
  uint64_t cost_of(uint64_t client_data_bytes) const {
    return kind_ == LogKind::Volume ? record_cost(client_data_bytes)
                                    : plain_record_cost(client_data_bytes);
  }
  uint64_t maximum_record_bytes() const;
  /// Asked, by one thread at a time, to advance bases when the log is full; then the call that
  /// found it full is tried once more. Others that need room wait until it has been. Inside the
  /// handler, a full log gives LogFullHandlerInProgress. To be set before the log is used.
  void set_full_handler(std::function<void()> handler) { full_handler_ = std::move(handler); }

  /// Returns when the record at `lsn` and all before it are on stable storage. Everything appended
  /// before a flush begins goes with it. An LSN above last_lsn() is taken as last_lsn().
  Result<> flush_to(Lsn lsn) EXCLUDES(mutex_);
  /// Asks the log's own thread to write what was appended until now. A volume's log has none: its
  /// owner writes file data first.
  void queue_flush() EXCLUDES(mutex_);

  /// Appends a restart record of a stream, makes it durable, and then writes the older restart page
  /// with it. `given_up` of what is reserved pays for it, then what is set aside for checkpoints.
  /// The base moves to `new_base` (none: it stays); of a volume's log, the space before it is free
  /// afterwards. One at a time. Errors: as execute(); LogTailInvalid: `new_base` is below the base
  /// or above the last record; InvalidParameter: too long. LogAppendedFlushFailed: the record is
  /// appended and paid for, but may not be durable.
  Result<Appended> write_restart(uint16_t client, std::span<const ByteView> parts, Lsn new_base,
                                 const SpaceChange& given_up) EXCLUDES(mutex_, restart_mutex_);
  /// Moves the base of a stream, in memory; the next restart page says it. LogTailInvalid as above.
  Result<> advance_base(uint16_t client, Lsn new_base) EXCLUDES(mutex_);

  /// Clean dismount: a last client restart record (its check_point_start is last_lsn() at the
  /// call), then both restart pages with the clean flag. No append, flush or reserve after it.
  Result<> close(ByteView client_restart_record) EXCLUDES(mutex_);
  /// The same for a private log: everything durable, both restart pages with the clean flag.
  Result<> close_private() EXCLUDES(mutex_, restart_mutex_);

  /// Of all that streams can ever get, what records take since the oldest LSN. used < capacity.
  uint64_t used_bytes() const EXCLUDES(mutex_);
  uint64_t capacity_bytes() const EXCLUDES(mutex_);
  /// Appended and not yet durable.
  uint64_t pending_bytes() const EXCLUDES(mutex_);
  Lsn last_lsn() const EXCLUDES(mutex_);
  Lsn durable_lsn() const EXCLUDES(mutex_);
  Lsn oldest_lsn() const EXCLUDES(mutex_);
  /// Where the next record goes; above all LSNs of the log.
  Lsn next_lsn() const EXCLUDES(mutex_);
  /// Exclusive: everything below is durable; below queued_end() it is durable or about to be.
  Lsn durable_end() const EXCLUDES(mutex_);
  Lsn queued_end() const EXCLUDES(mutex_);
  SpaceInfo info(uint16_t client) const EXCLUDES(mutex_);
  /// Gives back what is reserved; `change` takes nothing.
  void release(uint16_t client, const SpaceChange& change) EXCLUDES(mutex_);
  void count_abandoned(uint16_t client, uint32_t records) EXCLUDES(mutex_);
  /// A write of the log failed: every later append and flush returns its error.
  bool is_failed() const EXCLUDES(mutex_);
  const LogGeometry& geometry() const { return geometry_; }
  LogKind kind() const { return kind_; }

  enum class PageState {
    Missing,  ///< not whole, or never written
    Open,     ///< more records will begin in it
    Full,
  };
  /// A copy of the record page at `offset` as it is now, from memory or from the store, words put
  /// back. Errors: the store's.
  Result<PageState> read_page(uint64_t offset, MutableBytes into) EXCLUDES(mutex_);

 private:
  static constexpr size_t kChunkPages = 64;
  static constexpr size_t kMaximumSpares = 8;

  /// Record pages that are neighbours in the file and in memory, not yet all durable.
  struct Chunk {
    uint64_t first_offset = 0;  ///< of the first page in the file
    size_t pages = 0;           ///< in use
    size_t sealed = 0;          ///< of those, the first ones whose words are displaced for a write
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
    Lsn end;                      ///< where the record behind it goes
    uint64_t appended_bytes = 0;  ///< up to the cut
  };
  /// Those who wait for the same flush.
  struct Waiters {
    std::atomic<uint32_t> calls{0};  ///< changes when some of them are woken
    size_t count = 0;  ///< since the flush before; at least one still waits unless it is 0
  };
  /// A stream as the log keeps it.
  struct Client {
    std::u16string name;
    Lsn base;     ///< a position where no record stands before the first one
    Lsn last;     ///< its last record
    Lsn restart;  ///< its newest durable restart record
    uint64_t reserved_bytes = 0;
    uint32_t reserved_records = 0;
    uint64_t abandoned_records = 0;
    uint64_t checkpoint_bytes = 0;  ///< to hold for restart records
    uint64_t held_bytes = 0;        ///< held of those; less between a record and the base's move
  };

  LogFile(LogKind kind, LogStore& store, const LogGeometry& geometry, uint64_t sequence,
          std::optional<FlushPolicy> policy);

  Result<> begin_epoch(const LogStart& how, const RestartPages& old) EXCLUDES(mutex_);
  Result<> look_at_tail_slots();
  Result<> write_first_pages() EXCLUDES(mutex_);
  void fill_dummy_page(MutableBytes page, uint64_t sequence) const;

  static Result<> write_new_file(LogStore& store, const RestartPage& restart);
  Result<> recover(LogReader& reader, const RestartPages& restart) EXCLUDES(mutex_);
  Result<> trim_last_page(LogReader& reader);
  Result<> find_last_records(Lsn end) EXCLUDES(mutex_);

  Lsn append_locked(uint16_t client, RecordType type, const Record& record, uint64_t data_bytes)
      REQUIRES(mutex_);
  void put_locked(ByteView bytes, uint64_t count, Lsn lsn) REQUIRES(mutex_);
  Lsn append_restart_locked(uint16_t client, std::span<const ByteView> parts, Lsn previous)
      REQUIRES(mutex_);
  void append_filler_locked(uint64_t data_bytes) REQUIRES(mutex_);
  void fill_page_locked() REQUIRES(mutex_);
  void seal_locked() REQUIRES(mutex_);
  void complete_page_locked() REQUIRES(mutex_);
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
  Result<> write_restart_pages_locked(uint64_t least_used) REQUIRES(mutex_);
  Result<> write_bases() EXCLUDES(mutex_, restart_mutex_);
  Result<> write_final_pages();
  RestartPage restart_page_locked() const REQUIRES(mutex_);

  void start_flusher();
  void flush_by_policy() EXCLUDES(mutex_);
  void note_pending_locked() REQUIRES(mutex_);
  std::chrono::milliseconds time_to_flush_locked() const REQUIRES(mutex_);

  Result<> make_room(bool ask, bool is_in_handler) EXCLUDES(mutex_, restart_mutex_);
  void change_locked(uint16_t client, const SpaceChange& change) REQUIRES(mutex_);
  void spend_held_locked(uint16_t client, uint64_t bytes) REQUIRES(mutex_);
  void refill_held_locked() REQUIRES(mutex_);
  uint64_t used_pages_locked() const REQUIRES(mutex_);
  uint64_t free_bytes_locked() const REQUIRES(mutex_);
  uint64_t available_locked() const REQUIRES(mutex_);
  uint64_t checkpoint_bytes_locked() const REQUIRES(mutex_);
  uint64_t capacity_locked() const REQUIRES(mutex_);
  uint64_t used_locked() const REQUIRES(mutex_);
  Lsn base_locked() const REQUIRES(mutex_);
  Lsn oldest_base_locked() const REQUIRES(mutex_);
  Lsn next_locked() const REQUIRES(mutex_);

  const LogKind kind_;
  LogStore& store_;
  const LogGeometry geometry_;
  const std::optional<FlushPolicy> policy_;
  const uint32_t open_log_count_;
  ByteVector filler_;  // set once; empty in a private log
  uint32_t filler_transaction_id_ = 0;
  std::function<void()> full_handler_;  // set once

  Mutex restart_mutex_{LockRank::LogFlush};
  mutable Mutex mutex_{LockRank::Log};
  ConditionVariable io_done_;
  ConditionVariable flush_due_;
  ConditionVariable room_made_;
  bool io_busy_ GUARDED_BY(mutex_) = false;
  uint64_t flush_number_ GUARDED_BY(mutex_) = 0;       ///< of the flush that began last
  Lsn flush_cut_ GUARDED_BY(mutex_);                   ///< the last record that it writes
  std::array<Waiters, 2> waiters_ GUARDED_BY(mutex_);  ///< for the n-th flush: [n % 2]
  std::atomic<uint64_t> durable_{0};  ///< at most durable_lsn_; read without the lock
  bool is_next_flush_due_ GUARDED_BY(mutex_) = false;        ///< one who waits was woken to do it
  NtStatus failure_ GUARDED_BY(mutex_) = NtStatus::Success;  ///< FileClosed after close()

  uint64_t sequence_ GUARDED_BY(mutex_);           ///< of the page started last
  uint64_t next_offset_ GUARDED_BY(mutex_);        ///< of the page to start next
  bool has_open_page_ GUARDED_BY(mutex_) = false;  ///< the page started last has room for a header
  uint64_t open_used_ GUARDED_BY(mutex_) = 0;      ///< where the next record stands in it
  bool follows_covered_page_ GUARDED_BY(mutex_) = false;  ///< the page before it ends no record
  uint64_t pages_since_tail_ GUARDED_BY(mutex_) = 0;      ///< written since the last tail copy
  bool has_covered_page_ GUARDED_BY(mutex_) = false;      ///< one record covers one of them
  bool has_older_version_ GUARDED_BY(mutex_) = false;     ///< durable, of the first unwritten page
  std::deque<Chunk> chunks_ GUARDED_BY(mutex_);
  std::vector<PageBuffer> spare_ GUARDED_BY(mutex_);
  Lsn last_lsn_ GUARDED_BY(mutex_);
  Lsn durable_lsn_ GUARDED_BY(mutex_);
  uint64_t appended_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t durable_bytes_ GUARDED_BY(mutex_) = 0;
  Lsn durable_end_ GUARDED_BY(mutex_);
  Lsn queued_end_ GUARDED_BY(mutex_);
  bool is_pending_ GUARDED_BY(mutex_) = false;  ///< something waits to be flushed by policy
  std::chrono::steady_clock::time_point pending_since_ GUARDED_BY(mutex_);
  std::vector<Client> clients_ GUARDED_BY(mutex_);
  uint64_t reserved_bytes_ GUARDED_BY(mutex_) = 0;     ///< by all streams, checkpoints included
  std::array<Lsn, 2> page_oldest_ GUARDED_BY(mutex_);  ///< oldest LSN of each restart page on disk
  Lsn scan_start_ GUARDED_BY(mutex_);                  ///< current LSN of the next restart page
  uint64_t scan_start_bytes_ GUARDED_BY(mutex_) = 0;   ///< client data of the record there
  std::thread::id room_maker_ GUARDED_BY(mutex_);      ///< who found the log full and has the turn
  bool stopping_ GUARDED_BY(mutex_) = false;

  // Owned by whoever has set io_busy_.
  PageBuffer home_page_{kPageSize};
  PageBuffer tail_page_{kPageSize};
  PageBuffer restart_buffer_{kPageSize};
  uint64_t open_page_offset_ = 0;  ///< of the page in tail_page_
  size_t tail_slot_ = 0;           ///< the one to write next
  size_t restart_index_ = 0;       ///< the restart page to write next: the older one
  uint16_t tail_update_sequence_ = 0;
  uint16_t restart_update_sequence_ = 0;

  std::thread flusher_;  // last: it uses everything above
};

}  // namespace ntfs::lfs
