#pragma once

// One change of the volume, whole or not at all: the only way metadata changes after `format`.
//
//   Transaction transaction(journal);
//   TRY(transaction.begin());              // waits for log space; takes the metadata lock
//   TRY(transaction.perform(op, page));    // check, log redo + undo, apply
//   transaction.commit();                  // cannot fail: appends the end record, releases the
//   lock
//
// Without commit the destructor performs the inverse of each operation, last first, and ends the
// transaction so: in the log it is then a transaction without effect. One transaction runs at a
// time (the metadata lock): the log's records stand in the order of the changes, each transaction's
// together, and a cut anywhere leaves whole transactions followed by at most one that is undone.
//
// A checkpoint writes pages in place, and a crash may tear one. So the log holds a whole image of
// each file record and index block that changed in an interval, from before the first change:
// recovery needs nothing of what the device holds in their place.

#include <vector>

#include "core/store/operations.h"
#include "core/store/page_cache.h"
#include "lfs/marshalling_area.h"

namespace ntfs {

class Journal;
class Transaction;

/// What keeps state beside the pages and must learn how a transaction ended (the allocators).
class Participant {
 public:
  /// Called once at the end, under the metadata lock, after the end record (`committed`) or after
  /// the way back.
  virtual void transaction_ended(const Transaction& transaction, bool committed) = 0;

 protected:
  ~Participant() = default;
};

/// What a transaction notes on its way. One transaction runs at a time: they all use the same
/// memory, one after the other.
struct TransactionMemory {
  struct Undo {
    PageRef page;
    Operation operation;        // without its payload
    size_t payload_offset = 0;  // in undo_bytes
  };
  struct FreedBlock {
    uint64_t stream_id = 0;
    uint64_t block = 0;
    friend bool operator==(const FreedBlock&, const FreedBlock&) = default;
  };

  std::vector<Undo> undo;
  ByteVector undo_bytes;
  ByteVector inverse;             // payload of the inverse of the operation at hand
  ByteVector record;              // its log record
  std::vector<int64_t> way_back;  // sizes of the log records that take it back
  std::vector<PageRef> created;   // by perform_new
  std::vector<std::pair<PageRef, PagePlace>> places;  // where pages lay before their streams grew
  std::vector<MetadataStreamRef> dropped;
  std::vector<FreedBlock> freed_blocks;
  std::vector<Participant*> participants;
  std::vector<std::shared_ptr<Participant>> kept;  // of these, for the transaction's life
  lfs::ReservationSet reservations;  // log space: for the way back and the end, and set aside

  void clear();
};

class Transaction {
 public:
  explicit Transaction(Journal& journal);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Sets log space aside for the largest transaction, waiting for a checkpoint if need be, and
  /// takes the metadata lock exclusively. A full log is reported here and nowhere else: each change
  /// reserves what its way back takes in the same step in which it is logged. Errors:
  /// MediaWriteProtected (volume read-only, or a log write failed), LogFileFull (the log is too
  /// small), the device's.
  Result<> begin() NO_THREAD_SAFETY_ANALYSIS;

  /// Changes `page` by `operation`. Errors: FileCorruptError when the operation does not fit.
  Result<> perform(const Operation& operation, const PageRef& page);
  /// Overwrites a whole page that was just `create`d: an index block or a new raw page. Nothing to
  /// undo: the block is unreachable without the rest of the transaction.
  Result<> perform_new(ByteView bytes, const PageRef& page);
  /// The same for bytes of a page that nobody looks at without the rest of the transaction, those
  /// behind the end of a stream; and for data of a file, which is there as soon as it is written.
  Result<> perform_unseen(const Operation& operation, const PageRef& page);

  /// `page`, which PageCache::page_cut_short() gave before the stream's runs grew (or null), has
  /// the rest of its place now.
  void complete_place(const PageRef& page);

  /// Makes the changes permanent in memory and in the log's order (durable with the next flush).
  void commit() NO_THREAD_SAFETY_ANALYSIS;
  bool is_active() const { return active_; }

  /// Forgets the pages of `stream`, whose attribute is gone, once the transaction commits.
  void forget_at_commit(MetadataStreamRef stream) { memory_->dropped.push_back(std::move(stream)); }
  /// Index blocks that were freed here. A new block has no undo (perform_new): these keep their
  /// bytes until the end.
  void note_freed_block(uint64_t stream_id, uint64_t block) {
    memory_->freed_blocks.push_back({stream_id, block});
  }
  bool has_freed_block(uint64_t stream_id, uint64_t block) const;

  /// `participant` (which outlives the transaction) is told how it ended.
  void join(Participant& participant);
  /// The same for one that nobody else may know when the transaction ends.
  void join(std::shared_ptr<Participant> participant);

  Journal& journal() { return journal_; }
  /// Bytes of log used so far; multi-step operations stop and go on in a new transaction.
  uint64_t log_bytes() const { return log_bytes_; }
  /// Largest log_bytes() that a caller should reach: about half of what was reserved.
  uint64_t log_budget() const { return log_budget_; }
  /// Whether what is repeated many times should go on in a new transaction, also for the many
  /// attributes that were opened in this one.
  bool is_large() const;

 private:
  friend class Journal;
  /// Sizes of the log records that take one operation back.
  using WayBack = std::span<int64_t>;

  Result<lfs::Lsn> log(const Operation& redo, const Operation& undo, const PageRef& page,
                       WayBack way_back);
  WayBack size_way_back(const Operation& redo, const Operation& undo, const PagePlace& place);
  Result<lfs::Lsn> append(ByteView client_data, lfs::Lsn undo_next, WayBack way_back,
                          lfs::AppendFlags flags);
  Result<> log_image(const PageRef& page);
  void abort();
  void end();
  void release() NO_THREAD_SAFETY_ANALYSIS;

  Journal& journal_;
  TransactionMemory* memory_ = nullptr;  // from begin to the end
  bool active_ = false;
  bool rolling_back_ = false;
  lfs::Lsn last_lsn_;
  uint64_t log_bytes_ = 0;
  uint64_t log_budget_ = 0;
  size_t opened_ = 0;  // attributes, for the log
};

}  // namespace ntfs
