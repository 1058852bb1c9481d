#pragma once

// The flags of chattr(1) and lsattr(1), as ioctl(2) commands FS_IOC_GETFLAGS and FS_IOC_SETFLAGS.
// Of these NTFS has one: FS_COMPR_FL, "c". The kernel lets only the owner set it; before that it
// asks for what FS_IOC_FSGETXATTR tells, which is nothing.

#include "core/fsa/object_store.h"

namespace ntfs::frontend {

bool is_flags_control(unsigned command);
/// The answer's bytes. NotSupported: other flags; see ObjectStore::set_compression.
Result<ByteVector> answer_flags_control(ObjectStore& store, File& file, unsigned command,
                                        ByteView input);

}  // namespace ntfs::frontend
