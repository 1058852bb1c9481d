#pragma once

// Reads the records of a change journal in their order, whoever wrote them. Holes are passed over
// as wholes; what is damaged is reported, counted and passed over up to the next page.

#include <optional>

#include "core/base/units.h"
#include "usn/record.h"
#include "usn/usn.h"

namespace ntfs::usn {

/// Where the bytes of a $J come from: the stream of a volume, or a copy of one.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  /// The first position with bytes, a multiple of 8; all before it is gone.
  virtual Usn first() const = 0;
  /// Where the next record will stand: nothing is there yet.
  virtual Usn next() const = 0;
  /// `at`, or the first position behind it with bytes; next() where there are none.
  virtual Usn next_data(Usn at) = 0;
  /// The bytes from `at`, which is in [first(), next()), to the end of its page or to next().
  virtual Result<ByteVector> read_page(Usn at) = 0;
};

class Reader {
 public:
  /// Reads [from, end), or what the source has of that. `source` must outlive the reader.
  /// `journal`: the file of the journal, for reports.
  Reader(RecordSource& source, FileReference journal, Usn from, Usn end);
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// The next record; nothing at the end. Errors: the source's, other than FileCorruptError.
  Result<std::optional<Record>> next();
  /// Behind the last record that next() gave: the next one is at or behind this position.
  Usn position() const { return position_; }
  /// Pages that were damaged, or could not be read.
  uint64_t count_damaged() const { return count_damaged_; }

 private:
  Result<bool> load_page();

  RecordSource& source_;
  const FileReference journal_;
  const Usn end_;
  Usn position_;
  Usn page_end_;  // the page's, or that of its bytes
  ByteVector page_;
  std::optional<PageCursor> cursor_;  // over page_
  uint64_t count_damaged_ = 0;
};

/// Whether a record begins at `at`, or may begin there once it is written: where a record ends.
/// Behind damage that cannot be told: true.
Result<bool> is_record_start(RecordSource& source, FileReference journal, Usn at);

}  // namespace ntfs::usn
