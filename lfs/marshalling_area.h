#pragma once

// What a client of the log writes and reads a stream through, after the CLFS model (lfs/README.md
// maps its calls and flags to these). Any number of threads may use one area, and any number of
// areas one stream; read contexts belong to one thread each. The area must outlive them.

#include <atomic>
#include <memory>
#include <span>

#include "lfs/log_stream.h"
#include "lfs/reservation_set.h"

namespace ntfs::lfs {

class ReadContext;

enum class AppendFlags : uint32_t {
  None = 0,            ///< durable when the log's policy, or a later flush, makes it so
  ForceAppend = 1,     ///< queued for the device at once
  ForceFlush = 2,      ///< durable on return, with everything before
  UseReservation = 4,  ///< takes its space from the reservation set
};
constexpr AppendFlags operator|(AppendFlags a, AppendFlags b) {
  return static_cast<AppendFlags>(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}
constexpr bool has_flag(AppendFlags flags, AppendFlags flag) {
  return (static_cast<uint32_t>(flags) & static_cast<uint32_t>(flag)) != 0;
}

enum class ReadMode { Record, UndoNext, Previous, Forward };

struct AppendRequest {
  std::span<const ByteView> entries;  ///< gathered in order into one record; none: no record
  uint32_t entry_alignment = 1;       ///< power of two; from the start of the client data
  Lsn previous;                       ///< none: no link
  Lsn undo_next;                      ///< none: no link
  uint32_t transaction_id = 0;        ///< into the record header; not 0 in a volume's log
  std::span<int64_t> reserve;         ///< as ReservationSet::add; replaced on success only
  AppendFlags flags = AppendFlags::None;
};

/// What align_reserved worked out.
class ReservationPlan {
 public:
  uint32_t records() const { return static_cast<uint32_t>(sizes_.size()); }
  /// Bytes of the log, headers and padding included.
  uint64_t total_bytes() const { return total_bytes_; }

 private:
  friend class MarshallingArea;
  std::vector<int64_t> sizes_;
  uint64_t total_bytes_ = 0;
};

class MarshallingArea {
 public:
  /// Records above `maximum_record_bytes` of client data are neither appended nor read. Each read
  /// context takes one of `read_buffers`.
  MarshallingArea(LogStream stream, uint64_t maximum_record_bytes, uint32_t read_buffers);
  /// Makes everything durable that was appended to a private log (a volume's owner does that
  /// itself). Reservations that are left are released and counted (SpaceInfo::abandoned_records).
  ~MarshallingArea();
  MarshallingArea(const MarshallingArea&) = delete;
  MarshallingArea& operator=(const MarshallingArea&) = delete;

  /// Appends a record, reserves, or both; all of it or nothing. Nothing at all, with a force flag,
  /// flushes. Errors, nothing changed: InvalidParameter, LogFileFull, LogReservationInvalid (with
  /// UseReservation: none is large enough), as ReservationSet::add, the log's.
  /// LogAppendedFlushFailed (with ForceFlush): the record is appended and the reservations stand,
  /// but it may not be durable; not to be repeated.
  Result<Appended> reserve_and_append(const AppendRequest& request, ReservationSet& set);
  /// With the area's own set. One thread at a time, when it reserves or uses a reservation.
  Result<Appended> reserve_and_append(const AppendRequest& request) {
    return reserve_and_append(request, reservations_);
  }

  /// What reserving records of these sizes (client data bytes, > 0) takes. InvalidParameter.
  Result<ReservationPlan> align_reserved(std::span<const int64_t> sizes) const;
  /// Reserves it for the area's own set. InvalidParameter: an empty plan.
  Result<> alloc_reserved(const ReservationPlan& plan);
  /// Releases from the area's own set. `adjustment` < 0: `records` records of that many bytes
  /// together. Else: all but `records` records of `adjustment` bytes. Errors: ReservationSet's.
  Result<> free_reserved(uint32_t records, int64_t adjustment);
  ReservationSet& reservations() { return reservations_; }
  ReservationSet make_set() const { return ReservationSet(stream_); }

  /// Makes everything durable that was appended before; gives an LSN above all that is durable.
  Result<Lsn> flush() { return flush_to(Lsn()); }
  /// The same up to `lsn`; none means everything. InvalidParameter: above the last record.
  Result<Lsn> flush_to(Lsn lsn);

  /// Appends a restart record, linked to the one before, makes it durable, and moves the base
  /// (`new_base` none: it stays) in the same step. Has its own space in the log. Flags: None or
  /// UseReservation (of the area's own set). Errors: LogTailInvalid (base out of range),
  /// InvalidParameter (longer than fits into one page), LogAppendedFlushFailed, as
  /// reserve_and_append.
  Result<Appended> write_restart_area(std::span<const ByteView> entries, Lsn new_base,
                                      AppendFlags flags = AppendFlags::None);

  /// A context at the record `start`; none means the first one from the base on. Errors:
  /// LogStartOfLog (below the base), LogRecordNonexistent, LogBlockIncomplete (longer than the
  /// area's records), LogBlocksExhausted (no read buffer left), EndOfFile (start none, no record).
  Result<std::unique_ptr<ReadContext>> read(Lsn start, ReadMode mode);
  /// At the newest restart record; next() goes on to older ones. LogNoRestart.
  Result<std::unique_ptr<ReadContext>> read_restart();

  LogStream stream() const { return stream_; }
  uint64_t maximum_record_bytes() const { return maximum_record_bytes_; }

 private:
  friend class ReadContext;
  Result<> check(const AppendRequest& request) const;
  bool is_sound(std::span<const ByteView> entries, uint64_t alignment) const;

  const LogStream stream_;
  const uint64_t maximum_record_bytes_;
  std::atomic<uint32_t> read_buffers_;  // free ones
  const uint32_t all_read_buffers_;
  ReservationSet reservations_;
};

}  // namespace ntfs::lfs
