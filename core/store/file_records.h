#pragma once

// The change journal's records of one file in one transaction: gathers what is due, appends it,
// and keeps the last usn in the file's $STANDARD_INFORMATION. Costs nothing where changes are not
// recorded: on volumes without a journal, and for the file system's own files.
//
// Order: what was noted comes first, while the file still has the name that it had then.

#include <optional>
#include <span>
#include <vector>

#include "core/store/attributes.h"
#include "core/store/file.h"
#include "usn/file_changes.h"
#include "usn/record.h"

namespace ntfs {

class FileRecords {
 public:
  /// `file` joins the transaction. All must outlive the object.
  FileRecords(Transaction& transaction, Volume& volume, File& file);
  /// Of a file that the transaction makes: it has `attributes` (FILE_ATTRIBUTE_*).
  FileRecords(Transaction& transaction, Volume& volume, File& file, uint32_t attributes);

  /// Whether the journal speaks of the file.
  static bool are_kept_of(const Volume& volume, FileReference file);

  /// What was noted, under the name that the file has.
  Result<> add_noted();
  /// A record for `reasons`, unless records have said them since the last close.
  Result<> add(uint32_t reasons, const usn::Link& link);
  /// The same under the name that the file has.
  Result<> add(uint32_t reasons);
  /// The same for a link that is new, or gone while there are others.
  Result<> change_link(const usn::Link& link);
  Result<> rename_from(const usn::Link& link);
  Result<> rename_to(const usn::Link& link);
  /// The close record, if there is anything to close.
  Result<> close(const usn::Link& link);
  /// The last name is gone. `closes`: nobody has the file open, and one record says both; else it
  /// is remembered by this name.
  enum class Closes { No, Yes };
  Result<> remove(const usn::Link& link, Closes closes);

  /// What remove() left to be closed.
  Result<> close_removed();

  /// Appends what was added.
  Result<> append();
  /// The same for many files, in one step.
  static Result<> append_all(Transaction& transaction, Volume& volume,
                             std::span<FileRecords> files);
  /// The usn of the last record appended.
  std::optional<usn::Usn> last() const { return last_; }
  /// Keeps it in $STANDARD_INFORMATION, where the file has the newer form of that.
  Result<> store_last();

 private:
  Result<> load();
  void push(uint32_t reason, uint64_t timestamp, usn::Link link);
  void push_due(const usn::Due& due, usn::Link link);
  Result<usn::Link> link_now();

  Transaction& transaction_;
  Volume& volume_;
  File& file_;
  const bool is_kept_;
  Attributes attributes_;
  bool is_loaded_ = false;
  uint32_t file_attributes_ = 0;
  std::vector<usn::Record> records_;
  std::optional<usn::Usn> last_;
};

}  // namespace ntfs
