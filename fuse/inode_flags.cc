#include "fuse/inode_flags.h"

#include <linux/fs.h>

#include <cstring>

namespace ntfs::frontend {

bool is_flags_control(unsigned command) {
  return command == FS_IOC_GETFLAGS || command == FS_IOC_SETFLAGS || command == FS_IOC_FSGETXATTR;
}

Result<ByteVector> answer_flags_control(ObjectStore& store, File& file, unsigned command,
                                        ByteView input) {
  if (command == FS_IOC_FSGETXATTR) return ByteVector(sizeof(fsxattr));
  // Whatever the command's number says, the kernel passes 32 bits.
  uint32_t flags = 0;
  if (command == FS_IOC_GETFLAGS) {
    if (TRY(store.query_compression(file)) == Compression::Lznt1) flags = FS_COMPR_FL;
    const ByteView bytes = bytes_of(flags);
    return ByteVector(bytes.begin(), bytes.end());
  }
  if (input.size() < sizeof flags) return NtStatus::InvalidParameter;
  std::memcpy(&flags, input.data(), sizeof flags);
  if ((flags & ~uint32_t{FS_COMPR_FL}) != 0) return NtStatus::NotSupported;
  const bool wanted = (flags & FS_COMPR_FL) != 0;
  TRY(store.set_compression(file, wanted ? Compression::Lznt1 : Compression::None));
  return ByteVector();
}

}  // namespace ntfs::frontend
