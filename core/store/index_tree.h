#pragma once

// The B tree over $INDEX_ROOT and $INDEX_ALLOCATION: directories ($I30) and view indexes ($SII,
// $SDH, $O, ...). Entries stand in leaves and in inner nodes; an inner entry's subnode holds what
// is less.
//
// All calls: the caller holds Journal::metadata_lock (exclusively where a Transaction is passed).
// Depth and block counts are bounded by the volume: a loop in a damaged tree ends in
// FileCorruptError.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/index_block.h"
#include "core/store/page_cache.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class IndexTree {
 public:
  /// `volume` must outlive the object. `name`: "$I30" for a directory.
  IndexTree(Volume& volume, FileReference owner, std::u16string name);

  /// A copy of the entry with exactly this key; nothing when there is none.
  Result<std::optional<ByteVector>> find(ByteView key);
  /// Directories only: the entry whose name equals `name`, exactly (NameMatch::Exact) or without
  /// regard to case (the exact one first if several). Copies the whole entry.
  enum class NameMatch { Exact, IgnoreCase };
  Result<std::optional<ByteVector>> find_name(std::u16string_view name, NameMatch match);

  /// Inserts an entry (header, key, data; no subnode). ObjectNameCollision if its key is there.
  Result<> insert(Transaction& transaction, ByteView entry);
  /// Removes the entry. ObjectNameNotFound.
  Result<> remove(Transaction& transaction, ByteView key);
  /// Directories: overwrites the duplicated information in the entry of `key` (a $FILE_NAME value).
  /// ObjectNameNotFound.
  Result<> update_file_name(Transaction& transaction, ByteView key,
                            const ondisk::DuplicatedInformation& info);

  Result<bool> is_empty();
  /// Calls `visit` with every entry in order (no END entries). Stops when it returns an error.
  Result<> for_each(const std::function<Result<>(const ondisk::IndexEntryView&)>& visit);

 private:
  Volume& volume_;
  const FileReference owner_;
  const std::u16string name_;
};

}  // namespace ntfs
