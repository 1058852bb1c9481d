#pragma once

// The names of a volume as its change journal tells them: replayed from the first record on, over
// no names at all. A test holds them against the names that are there.

#include <map>
#include <set>
#include <string>

#include "core/fsa/object_store.h"
#include "usn/record.h"

namespace ntfs::testing {

/// The links of each file: parent and name.
using Names = std::map<FileReference, std::set<std::pair<FileReference, std::u16string>>>;

/// What the journal says so far, record by record.
class JournalNames {
 public:
  JournalNames() = default;
  /// Replayed over the names that there were, when all files were closed.
  explicit JournalNames(Names names) : names_(std::move(names)) {}

  /// What is wrong with the record, by the rules of accumulation; "" when nothing is.
  std::string replay(const usn::Record& record);
  const Names& names() const { return names_; }
  /// Files whose last record is no close record.
  size_t count_open() const;
  /// The file's last record; 0: none.
  usn::Usn last_of(FileReference file) const;

 private:
  struct State {
    uint32_t reasons = 0;  // since the last close
    usn::Usn last;
  };
  Names names_;
  std::map<FileReference, State> states_;
};

/// All links below the root.
Result<Names> names_of(ObjectStore& store);

/// Holds the journal of a mounted store, whose files are all closed, against its tree: the same
/// names, every file closed and knowing its last record. "" when it is so, or when the journal does
/// not begin with the volume.
std::string judge_journal(ObjectStore& store);

}  // namespace ntfs::testing
