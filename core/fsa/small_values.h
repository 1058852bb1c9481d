#pragma once

// Attributes whose whole value is read and written at once, resident or not: reparse points and
// extended attributes; and the indexes in $Extend that list what has them.
// All calls: the caller holds the metadata lock (exclusively with a Transaction).

#include <string>

#include "core/fsa/object_store.h"
#include "core/store/small_value.h"

namespace ntfs {

/// What a record may carry of a reparse point beside the rest of it.
constexpr size_t kResidentReparseBytes = 320;

/// Makes the value, resident where it fits with `resident_limit` bytes. The attribute must not
/// exist.
Result<> insert_small_value(Transaction& transaction, Volume& volume, FileReference file,
                            ondisk::AttributeType type, ByteView value, size_t resident_limit);
/// Removes the attribute and frees its clusters. ObjectNameNotFound when there is none.
Result<> remove_small_value(Transaction& transaction, Volume& volume, FileReference file,
                            ondisk::AttributeType type);

/// The attributes of WSL among `eas`, a value of $EA: none of one that is damaged (reported).
LinuxMetadata linux_metadata_of(ByteView eas, const Origin& origin);
/// Puts what `metadata` gives into `eas`.
void put_linux_metadata(const LinuxMetadata& metadata, std::vector<ondisk::Ea>& eas);

/// The reference of a file in $Extend by its name ("$Reparse"); ObjectNameNotFound.
Result<FileReference> find_in_extend(Volume& volume, std::u16string_view name);
/// Lists a reparse point in $Reparse, where the volume has that file, unless it is listed already.
Result<> list_reparse_point(Transaction& transaction, Volume& volume, uint32_t tag,
                            FileReference file);
/// Takes one out of that list, if it is there.
Result<> unlist_reparse_point(Transaction& transaction, Volume& volume, uint32_t tag,
                              FileReference file);
/// Takes a file that is freed out of the indexes of reparse points and object ids.
Result<> forget_references(Transaction& transaction, Volume& volume, Attributes& file);

}  // namespace ntfs
