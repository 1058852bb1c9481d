#pragma once

// What the journal knows of one file between its first change and its last close: the reasons
// gathered so far, and which records are due. The rules S1 to S12 are those of the fact sheet,
// "Accumulation semantics".
//
// Reasons are noted when something happens (post, close) and become records with the file's next
// transaction, which also makes the change itself last. What a transaction says by itself (a new
// name, a removal) becomes a record at once. A transaction that is taken back leaves all as it was.
//
// Not thread safe: its owner's lock guards it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/units.h"
#include "usn/written_ranges.h"

namespace ntfs::usn {

/// A name of a file, and the directory that holds it.
struct Link {
  FileReference parent;
  std::u16string name;
};

/// A record that is due: what it says, and when that happened.
struct Due {
  uint32_t reason = 0;          ///< Reason
  uint64_t timestamp = 0;       ///< units of 100 ns since 1601-01-01 UTC
  std::vector<Extent> extents;  ///< of a close: what a record of version 4 says before it
  friend bool operator==(const Due&, const Due&) = default;
};

class FileChanges {
 public:
  /// Names what post() noted; 0: it noted nothing.
  using Ticket = uint64_t;

  /// Notes `reasons` unless all of them were noted since the last close (S2, S3).
  Ticket post(uint32_t reasons, uint64_t timestamp);
  /// The operation failed: takes back what was noted, unless it is a record already.
  void retract(Ticket ticket);
  /// Data was written, see WrittenRanges: told with the next close.
  void note_written(Extent written, uint64_t file_size, const RangeTracking& tracking) {
    written_ranges_.add(written, file_size, tracking);
  }
  /// The last handle was closed: notes that, if there was anything since the close before (S4, S5).
  void close(uint64_t timestamp);
  /// All reasons since the last close.
  uint32_t reasons() const { return reasons_; }
  /// How many notes wait for a transaction.
  size_t count_noted() const { return noted_.size(); }

  // In a transaction. Each call may be the first; ended() comes last.

  /// The records for all that was noted.
  std::vector<Due> take_noted();
  /// The record for `reasons`, if one of them is new.
  std::optional<uint32_t> add(uint32_t reasons);
  /// The record of a link that was added or removed: always, because it carries that link's name.
  uint32_t change_link();
  /// The records of a new name: always, and the first is forgotten by the second (S7, S11).
  uint32_t rename_from();
  uint32_t rename_to();
  /// The close record, if anything happened since the last one.
  std::optional<uint32_t> end();
  /// The name by which records speak of the file from now on: it has none any more.
  void keep_link(Link link);
  /// Null while the file has names.
  const Link* kept_link() const;
  void ended(bool committed);
  /// A new file has this reference: nothing is known of it.
  void reset();

 private:
  struct Note {
    uint32_t reasons = 0;  // Reason::Close, or those that were new
    uint64_t timestamp = 0;
    Ticket ticket = 0;
    std::vector<Extent> extents;
  };
  /// What the running transaction has made of it.
  struct Running {
    uint32_t reasons = 0;  // that records have said since the last close record
    std::vector<Note> taken;
    std::optional<Link> link;
  };
  Running& running();
  void recount();

  uint32_t written_ = 0;  // that records of ended transactions say since the last close record
  uint32_t reasons_ = 0;  // the same, with what was noted
  Ticket last_ticket_ = 0;
  std::vector<Note> noted_;
  WrittenRanges written_ranges_;
  std::optional<Link> link_;
  std::optional<Running> running_;
};

}  // namespace ntfs::usn
