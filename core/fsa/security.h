#pragma once

// Security of files: which descriptor a file has, whether of its own ($SECURITY_DESCRIPTOR: volumes
// before NTFS 3.0, and other drivers) or in $Secure, and which one a new file gets.
// All calls: the caller holds the metadata lock (exclusively with a Transaction).

#include "core/fsa/object_store.h"

namespace ntfs {

/// The whole descriptor of a file. ObjectNameNotFound: it has none. FileCorruptError.
Result<ByteVector> read_security(Volume& volume, FileReference file);
/// Gives the file another one. Errors: those of SecurityDescriptors::add().
Result<> write_security(Transaction& transaction, Volume& volume, FileReference file,
                        ByteView descriptor);
/// The id in $Secure of the descriptor for a new file in `directory`.
Result<uint32_t> security_of_new_file(Transaction& transaction, Volume& volume,
                                      FileReference directory, const CreateParameters& parameters);

}  // namespace ntfs
