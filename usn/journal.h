#pragma once

// The journal as a whole: what $Max says, where the next record goes, what is trimmed, and which
// files have records but no close record yet.
// Source: Win32 "USN_JOURNAL_DATA", "CREATE_USN_JOURNAL_DATA"; fact sheet "Where it lives",
// "Size, trimming, limits".

#include <array>
#include <deque>
#include <optional>

#include <tsl/robin_map.h>

#include "core/base/bytes.h"
#include "core/base/units.h"
#include "usn/record.h"
#include "usn/usn.h"

namespace ntfs::usn {

constexpr uint64_t kDefaultMaximumSize = uint64_t{32} << 20;
constexpr uint64_t kLeastMaximumSize = uint64_t{1} << 20;
constexpr uint64_t kLeastDelta = uint64_t{64} << 10;

/// $UsnJrnl:$Max.
struct JournalInformation {
  uint64_t maximum_size = 0;      ///< bytes that the journal should have at most
  uint64_t allocation_delta = 0;  ///< bytes that are trimmed at a time
  uint64_t id = 0;                ///< when the journal was made or stamped, as a FILETIME
  Usn lowest_valid;               ///< below it records may be missing
};
constexpr size_t kMaxStreamBytes = 32;
std::array<std::byte, kMaxStreamBytes> build_max(const JournalInformation& information);
/// FileCorruptError (reported): too short, or no size at all.
Result<JournalInformation> parse_max(ByteView value, const Origin& origin);

/// Sizes as a journal can have them: the maximum at least kLeastMaximumSize, both multiples of
/// `cluster_size` and kLeastDelta; a delta of 0 is chosen. InvalidParameter: a maximum of 0 or too
/// large for any volume, a delta above it.
Result<JournalInformation> with_sizes(uint64_t maximum_size, uint64_t allocation_delta,
                                      uint32_t cluster_size);
/// The maximum size for a volume, where nobody asks for one.
uint64_t default_maximum_size(uint64_t volume_bytes);

/// Where the next records go: behind zeros that fill the page if they do not fit in it.
struct Placement {
  uint64_t gap = 0;  ///< bytes of zeros
  Usn usn;
};
/// `next`: the journal's size. `length`: of the first record, at most a page.
Placement place_record(Usn next, uint64_t length);

/// The first byte to keep, when the journal has outgrown what it may have. `first`, `next`: what is
/// allocated and used; `restart`: the first record that a recovery needs.
std::optional<Usn> trim_target(const JournalInformation& information, Usn first, Usn next,
                               Usn restart, uint32_t cluster_size);

/// Files with records since their last close record.
class OpenRecords {
 public:
  /// The record at `usn` says `reason` of `file`.
  void note(FileReference file, uint32_t reason, Usn usn);
  /// The oldest record of a file that was not closed; nothing when all were.
  std::optional<Usn> oldest() const;
  /// What note() may change for the file, to be put back when the record is taken back.
  std::optional<Usn> first_of(FileReference file) const;
  void restore(FileReference file, std::optional<Usn> first);

 private:
  struct Entry {
    Usn usn;
    FileReference file;
  };
  bool is_open(const Entry& entry) const;
  void insert(FileReference file, Usn first);
  void drop_closed();

  tsl::robin_map<FileReference, Usn> first_;  // of each file: its first record
  // The same by usn. Files that were closed may still be in it, but not in front.
  std::deque<Entry> by_usn_;
};

}  // namespace ntfs::usn
