#pragma once

// A cursor over one stream: from record to record, the way its mode says. One thread at a time.
// Takes one of its area's read buffers.

#include <atomic>
#include <memory>

#include "lfs/marshalling_area.h"
#include "lfs/record_cursor.h"

namespace ntfs::lfs {

enum class RecordFilter { Data, Restart, Any };

class ReadContext {
 public:
  ~ReadContext();
  ReadContext(const ReadContext&) = delete;
  ReadContext& operator=(const ReadContext&) = delete;

  /// Its data is valid until next() or the end of the context.
  const RecordView& record() const { return record_; }
  /// Goes on to the next record of a kind that `filter` takes: in mode Forward, of the stream; in
  /// modes Previous and UndoNext, along the link, or from `override_lsn` (below the record's own)
  /// on. The record stays where next() fails. Errors: EndOfFile (mode Record; the last record; a
  /// link that is none), LogStartOfLog (a link below the base; the oldest restart record),
  /// InvalidParameter (override_lsn), LogRecordNonexistent, LogBlockIncomplete, DeviceBusy (another
  /// thread is in the call).
  Result<> next(RecordFilter filter = RecordFilter::Any, Lsn override_lsn = Lsn());

 private:
  friend class MarshallingArea;
  ReadContext(MarshallingArea& area, ReadMode mode)
      : area_(area), mode_(mode), cursor_(area.stream().log()) {}
  static Result<std::unique_ptr<ReadContext>> create(MarshallingArea& area, ReadMode mode);
  Result<> begin(Lsn start);
  Result<> go_to(Lsn lsn);
  Result<> go_forward(std::optional<Lsn> from, RecordFilter filter);
  Result<> follow(RecordFilter filter, Lsn override_lsn);
  bool is_wanted(RecordFilter filter) const;

  MarshallingArea& area_;
  const ReadMode mode_;
  RecordCursor cursor_;
  RecordView record_;
  std::atomic<bool> busy_{false};
};

}  // namespace ntfs::lfs
