#pragma once

// Names of files: $FILE_NAME attributes and their entries in the parents' indexes, always changed
// together. All calls: the caller holds the metadata lock (exclusively with a Transaction).

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ondisk/attribute_values.h"
#include "core/store/attributes.h"
#include "core/store/index_tree.h"
#include "core/store/transaction.h"
#include "core/store/volume.h"

namespace ntfs {

/// Names below a directory that a user may not change: those of system files.
constexpr uint64_t kFirstOrdinaryRecord = 24;

/// A name as an index holds it.
struct NamedEntry {
  FileReference reference;
  ondisk::NameType type = ondisk::NameType::Posix;
  std::u16string name;
  ondisk::DuplicatedInformation duplicated;
};

/// What a name may not be. ObjectNameInvalid, NameTooLong.
enum class NameRules { Posix, Windows };
Result<> check_name(std::u16string_view name, NameRules rules);

/// What a short name may not be. InvalidParameter. Source: MS-FSCC 2.1.5.2.1 "8.3 Filename".
Result<> check_short_name(std::u16string_view name);

/// The entry called `name` in a directory's index; nothing when there is none.
Result<std::optional<NamedEntry>> find_entry(IndexTree& directory, std::u16string_view name,
                                             IndexTree::NameMatch match);
/// The same where nothing else is asked of the directory. As directory_record.
Result<std::optional<NamedEntry>> find_entry(Volume& volume, FileReference directory,
                                             std::u16string_view name, IndexTree::NameMatch match);
/// NotADirectory, ObjectNameNotFound (it is gone).
Result<PageRef> directory_record(Volume& volume, FileReference directory);

/// The directory that has the file's first name; the root has itself.
Result<FileReference> parent_of(Volume& volume, FileReference file);

/// The entry of the long name where `entry` is that of a short one; else `entry`.
Result<NamedEntry> long_entry(Attributes& file, IndexTree& directory, const NamedEntry& entry);
/// Gives `file` a further name. ObjectNameCollision.
Result<> add_name(Transaction& transaction, Attributes& file, IndexTree& directory,
                  const NamedEntry& entry);
/// What becomes of the $FILE_NAME of a name that goes. Left: its record is freed right after, and
/// keeps what it held, as on Windows.
enum class NameInRecord { Removed, Left };
/// Takes the name away, and the short or long one that belongs to it.
Result<> remove_name(Transaction& transaction, Attributes& file, IndexTree& directory,
                     const NamedEntry& entry, NameInRecord in_record = NameInRecord::Removed);
/// Gives the file the name `to` in place of `from`, a long one, which may be the short one that
/// belongs to it. ObjectNameCollision.
Result<> replace_name(Transaction& transaction, Attributes& file, IndexTree& from_directory,
                      const NamedEntry& from, IndexTree& to_directory, const NamedEntry& to);
/// Sets the change time in $STANDARD_INFORMATION; the names repeat it when they are written next.
Result<> set_change_time(Transaction& transaction, Attributes& file, ondisk::FileTime time);

/// What a removal asks of a file, in one look.
struct FileSummary {
  uint32_t names = 0;       ///< without DOS ones
  uint64_t runs = 0;        ///< of all its attributes, at most
  uint64_t attributes = 0;  ///< attribute records
  bool is_directory = false;
};
Result<FileSummary> summarize(Attributes& file);

/// Frees everything that the file without names still has: clusters, records, entries in the
/// indexes of object ids and reparse points. Its runs and attributes are few (see FileSummary).
Result<> free_file(Transaction& transaction, Volume& volume, Attributes& file);

/// Runs `change` (a Result-returning function); after DiskFull, once more if write-back or
/// a checkpoint gave space. No lock may be held.
template <typename Change>
auto with_reclaim(Volume& volume, Change&& change) {
  auto result = change();
  if (result.has_value() || result.error() != NtStatus::DiskFull || !volume.relieve()) {
    return result;
  }
  return change();
}

}  // namespace ntfs
