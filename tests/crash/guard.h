#pragma once

// Security descriptors of the rig: each belongs to a number, says so in all that it holds, and is
// inherited by what is made in a directory that has it.

#include "core/fsa/object_store.h"

namespace ntfs::crash {

/// The descriptor of that number, from 1 on. Some fill pages.
ByteVector guard_of(uint64_t number);
/// The number of the descriptor that a file has, whether set or inherited; 0: it has another one.
/// FileCorruptError: it has neither.
Result<uint64_t> guard_on(ObjectStore& store, File& file);

}  // namespace ntfs::crash
