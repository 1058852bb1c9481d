#pragma once

// $Extend\$UsnJrnl of a volume: records go to the end of $J inside the transaction of the change
// they speak of. usn/ says what a record is, where it goes and what is trimmed; File, which records
// are due.
//
// Logged nearly as Windows does: the sizes grow, the bytes are written without undo. Windows lets
// the valid data length follow in a record of its own; inside one transaction that says nothing
// more, and is a third of what a record costs. A transaction that is taken back leaves the sizes as
// they were, and behind them bytes that nobody reads.
//
// When a record finds no room on a full volume the change itself goes on: the journal is stamped,
// which tells its readers that records are missing.
//
// Locks: all state is guarded by Journal::metadata_lock (exclusively in a transaction); what is
// atomic may be asked at any time.

#include <atomic>
#include <map>
#include <optional>
#include <vector>

#include "core/store/attributes.h"
#include "core/store/transaction.h"
#include "core/store/usn_arrivals.h"
#include "usn/journal.h"
#include "usn/record.h"
#include "usn/written_ranges.h"

namespace ntfs {

class Volume;

class UsnStream final : public Participant {
 public:
  /// `volume` must outlive the object.
  explicit UsnStream(Volume& volume) : volume_(volume) {}

  /// Finds the journal, if the volume has one. A damaged one is reported and not used.
  Result<> load();
  /// From here on records are written, if there is a journal.
  void start();

  /// Whether there is a journal.
  bool exists() const { return exists_.load(std::memory_order_acquire); }
  /// Whether changes become records.
  bool is_active() const { return is_active_.load(std::memory_order_acquire); }

  // Of a journal that exists.
  FileReference file() const { return file_; }
  const usn::JournalInformation& information() const { return information_; }
  usn::Usn first() const { return first_; }  ///< the first byte that is allocated
  usn::Usn next() const { return next_; }    ///< where the next record goes
  /// Below it no record matters to a recovery.
  usn::Usn restart() const { return open_.oldest().value_or(next_); }
  /// The bytes of the page that holds `at`, from there to its end or that of the journal.
  Result<ByteVector> read_page(usn::Usn at);

  /// From here on, which ranges of files are written is recorded, too; until the journal goes or
  /// the volume is dismounted. Any thread.
  void track_ranges(const usn::RangeTracking& tracking) {
    range_threshold_.store(tracking.file_size_threshold, std::memory_order_relaxed);
    range_chunk_.store(tracking.chunk_size, std::memory_order_release);
  }
  usn::RangeTracking range_tracking() const {
    const uint64_t chunk = range_chunk_.load(std::memory_order_acquire);
    return {chunk, range_threshold_.load(std::memory_order_relaxed)};
  }

  /// Appends the records, in their order, and sets their usns. False: there was no room, and the
  /// journal says so.
  Result<bool> append(Transaction& transaction, std::span<usn::Record> records);
  /// Gives the journal a new id: up to here, records may be missing.
  Result<> stamp(Transaction& transaction);
  /// At mount after a crash: writes the close records of files that have records from `from` on,
  /// the last of which says something else. A damaged journal is stamped.
  Result<> close_left_open(usn::Usn from);
  /// Frees what the journal has outgrown, if it has.
  Result<> trim();
  bool wants_trim() const { return is_active() && wants_trim_.load(std::memory_order_relaxed); }

  /// Makes the journal. ObjectNameCollision: there is one.
  Result<> create(Transaction& transaction, const usn::JournalInformation& sizes);
  /// Changes the sizes.
  Result<> resize(Transaction& transaction, const usn::JournalInformation& sizes);
  /// No further record is written; the file goes.
  void stop() { is_active_.store(false, std::memory_order_release); }
  void forget();

  /// Told where the journal ends after each transaction.
  UsnArrivals& arrivals() { return arrivals_; }

 private:
  /// What a transaction may change.
  struct State {
    usn::JournalInformation information;
    usn::Usn first;
    usn::Usn next;
  };
  struct OpenBefore {
    FileReference file;
    std::optional<usn::Usn> first;
  };

  void transaction_ended(const Transaction& transaction, bool committed) override;
  void join(Transaction& transaction);
  Result<MetadataStreamRef> stream();
  Result<PageRef> tail(const MetadataStreamRef& stream);
  Result<> write(Transaction& transaction, const MetadataStreamRef& stream, ByteView bytes);
  Result<> make_room(Transaction& transaction, const MetadataStreamRef& stream, uint64_t end);
  Result<> note_missing(Transaction& transaction);
  Result<> store_information(Transaction& transaction, const usn::JournalInformation& information);
  void note_state();
  /// Of each file, the last record in [from, next).
  using LastRecords = std::map<FileReference, usn::Record>;
  Result<LastRecords> last_records(usn::Usn from);
  Result<> close_files(std::span<const usn::Record> records);
  Result<bool> make_close(usn::Record& record);

  Volume& volume_;
  std::atomic<bool> exists_{false};
  std::atomic<bool> is_active_{false};
  std::atomic<bool> wants_trim_{false};
  std::atomic<uint64_t> range_chunk_{0};
  std::atomic<uint64_t> range_threshold_{0};
  FileReference file_;
  usn::JournalInformation information_;
  usn::Usn first_;
  usn::Usn next_;
  usn::OpenRecords open_;
  UsnArrivals arrivals_;
  std::optional<usn::Usn> missing_at_;  // where a record found no room, and the stamp says so
  // At hand, because every change appends something.
  MetadataStreamRef stream_;
  PageRef tail_;       // the page that was written to last
  ByteVector memory_;  // for the records of one page
  // Of the running transaction.
  std::optional<State> before_;
  std::vector<OpenBefore> open_before_;
  bool was_created_ = false;
};

}  // namespace ntfs
