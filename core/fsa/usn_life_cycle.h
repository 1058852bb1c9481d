#pragma once

// The change journal comes and goes on a mounted volume: FSCTL_CREATE_USN_JOURNAL and
// FSCTL_DELETE_USN_JOURNAL.

#include <cstdint>

#include "core/fsa/object_store.h"

namespace ntfs {

/// Whether there is a journal that can be asked. JournalNotActive, JournalDeleteInProgress. Caller
/// holds the metadata lock.
Result<> check_usn_exists(Volume& volume);

/// Makes a journal, or changes the sizes (bytes) of the one that there is. A delta of 0 is chosen.
/// InvalidParameter (usn::with_sizes), JournalDeleteInProgress, MediaWriteProtected, DiskFull.
Result<> create_usn_journal(ObjectStore& store, uint64_t maximum_size, uint64_t allocation_delta);

/// Deletes the journal with that id, and returns when it is done: no file keeps a usn. What a crash
/// leaves of it is done at the next mount. JournalNotActive, JournalDeleteInProgress,
/// InvalidParameter (another id), MediaWriteProtected.
Result<> delete_usn_journal(ObjectStore& store, uint64_t id);

/// At mount: goes on with a deletion that was under way.
Result<> finish_usn_deletion(ObjectStore& store);

}  // namespace ntfs
