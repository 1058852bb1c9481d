#pragma once

// Reads a log: LFS 1.1, and LFS 2.0 with its fast pages. Finds the end the way ntfs3 does, but
// takes no page whose update sequence array says it is torn. Nothing is written. The bytes are
// hostile: every position is checked, every walk is bounded by the size of the file. Not thread
// safe.

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "lfs/log_format.h"
#include "lfs/log_store.h"
#include "lfs/page_buffer.h"
#include "lfs/record_reader.h"
#include "lfs/restart_area.h"

namespace ntfs::lfs {

class LogReader : private PageSource {
 public:
  /// LogCorrupt: no restart page makes sense. EndOfFile: the log is empty or a volume's and closed
  /// without a client, there are no records to speak of. NotSupported: version above 2.0.
  /// `store` must outlive the result.
  static Result<LogReader> open(LogStore& store, LogKind kind = LogKind::Volume);

  const RestartPage& restart() const { return restart_; }
  LogState state() const { return state_; }
  const LogGeometry& geometry() const { return geometry_; }
  /// Oldest record that a replay may need.
  Lsn oldest_lsn() const { return restart_.oldest_lsn; }
  /// The end: the last record that is whole. None where a private log has none since it was opened.
  Lsn last_lsn() const { return last_; }
  /// The first record that can still be found in the file, at or before oldest_lsn().
  Result<Lsn> first_readable_lsn();

  /// The record at `lsn`. InvalidParameter: no record can be there. LogCorrupt (reported): there is
  /// none.
  Result<RecordView> read(Lsn lsn);
  /// The record behind the one read last; EndOfFile after the last record. LogCorrupt (reported):
  /// the chain breaks. Before oldest_lsn(), where nobody keeps records whole, it goes on behind a
  /// break with the next record that can be found.
  Result<RecordView> next();
  /// Where the record read last ends.
  const RecordReader::Place& end() const { return records_.end(); }
  /// Whether page_at() gives the page in its place, no copy.
  bool is_in_place(uint64_t page) const { return replaced_.find(page) == replaced_.end(); }
  /// The page, or the copy that stands for it.
  Result<std::optional<ByteView>> page_at(uint64_t page) override;

 private:
  static constexpr size_t kGroupPages = 16;
  static constexpr size_t kGroups = 16;

  /// Neighbouring pages as they stand in place, fix-ups undone.
  struct Group {
    std::optional<uint64_t> first_offset;
    std::array<bool, kGroupPages> valid{};
    PageBuffer memory;
  };
  /// A page that stands elsewhere than in its place: a tail copy or a fast page.
  struct Copy {
    uint64_t target = 0;
    PageBuffer memory;
    const RecordPageHeader& header() const { return struct_at<RecordPageHeader>(memory.bytes()); }
  };
  /// State of the search for the end.
  struct Search {
    uint64_t expected_sequence = 0;
    Lsn last_ok;
    uint16_t page_count = 1;
    uint16_t page_position = 1;
    bool at_first_page = true;
  };

  LogReader(LogStore& store, const RestartPage& restart, LogState state,
            const LogGeometry& geometry);

  Result<> load_tail_copies();
  Result<> load_fast_pages();
  Result<> find_end();
  bool is_in_order(const RecordPageHeader& header, const Search& search) const;
  bool belongs(Lsn lsn, const Search& search) const;
  void accept(const RecordPageHeader& header, Search& search);
  size_t best_copy(uint64_t page, const Search& search) const;

  Result<std::optional<ByteView>> place_page(uint64_t page);
  LogStore* store_;
  RestartPage restart_;
  LogState state_;
  LogGeometry geometry_;
  Lsn last_;
  std::vector<Copy> copies_;
  std::map<uint64_t, size_t> replaced_;  ///< page offset -> index of the copy that counts
  std::vector<Group> groups_;
  RecordReader records_;
};

}  // namespace ntfs::lfs
