#pragma once

// Puts records together from the pages of a log: LogReader's records of a log found on a device,
// and ReadContext's of one that is being written. Every position is checked, every walk is bounded
// by the size of the file. Not thread safe.

#include <optional>
#include <string_view>

#include "lfs/log_format.h"
#include "lfs/page_buffer.h"

namespace ntfs::lfs {

/// One record of the log. `data` is valid until the next call of whoever gave it out.
struct RecordView {
  Lsn lsn;
  Lsn previous;
  Lsn undo_next;
  uint32_t type = 0;  ///< RecordType, or what a damaged log says
  uint32_t transaction_id = 0;
  uint16_t client_index = 0;
  uint16_t flags = 0;  ///< kRecordMultiPage, ...
  ByteView data;       ///< client data; begins at a multiple of 4096 in memory

  bool is_client() const { return type == static_cast<uint32_t>(RecordType::Client); }
  bool is_restart() const { return type == static_cast<uint32_t>(RecordType::ClientRestart); }
};

/// Where record pages come from.
class PageSource {
 public:
  virtual ~PageSource() = default;

  /// The record page at byte `page` of the file, words put back; nothing if it is not whole. Valid
  /// until the next call. Errors: the store's.
  virtual Result<std::optional<ByteView>> page_at(uint64_t page) = 0;
};

class RecordReader {
 public:
  /// A place in the log: the page and the sequence number that LSNs have there.
  struct Place {
    uint64_t page = 0;
    uint64_t sequence = 0;
    uint64_t in_page = 0;
  };
  /// What is wrong where a record should be.
  struct Finding {
    std::string_view field;
    uint64_t value = 0;
  };

  explicit RecordReader(const LogGeometry& geometry) : geometry_(geometry) {}

  /// The header of the record at `lsn`; nothing if none begins there.
  Result<std::optional<RecordHeader>> header_at(PageSource& pages, Lsn lsn, Finding& finding);
  /// The record at `lsn`, or nothing and what is wrong.
  Result<std::optional<RecordView>> fetch(PageSource& pages, Lsn lsn, Finding& finding);
  /// Where the record behind the one fetched last begins. LogCorrupt: its page is gone.
  Result<Lsn> successor(PageSource& pages);
  /// The first record at or behind `from` and at or before `limit`. Record headers are easy to
  /// tell: they begin with their own position.
  Result<std::optional<RecordView>> search_forward(PageSource& pages, Place from, Lsn limit);

  /// The record fetched last.
  Lsn current() const { return current_; }
  /// Where it ends.
  const Place& end() const { return end_; }
  Place place_of(Lsn lsn) const {
    const uint64_t offset = geometry_.offset_of(lsn);
    return {LogGeometry::page_of(offset), geometry_.sequence_of(lsn), LogGeometry::in_page(offset)};
  }

 private:
  Place next_place(Place place) const;
  Result<> fetch_data(PageSource& pages, Place place, Lsn lsn, uint64_t length, Finding& finding);

  LogGeometry geometry_;
  Lsn current_;
  Place end_;
  PageBuffer data_;
};

}  // namespace ntfs::lfs
