#include "fuse/filesystem.h"

#include <fcntl.h>

namespace ntfs::frontend {

namespace {

/// Reading always: the kernel reads what a write covers in part.
uint32_t access_of(int flags) {
  constexpr uint32_t kRead = AccessMask::ReadData | AccessMask::ReadAttributes;
  constexpr uint32_t kWrite =
      AccessMask::WriteData | AccessMask::AppendData | AccessMask::WriteAttributes;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  return writes ? kRead | kWrite : kRead;
}

}  // namespace

Result<std::unique_ptr<Open>> Filesystem::open(const FilePtr& file, int flags) {
  OpenParameters parameters;
  parameters.desired_access = access_of(flags);
  parameters.user_set_times = UserSetTimes::LastAccess;
  if (options_.writeback) {
    // The kernel sets the times, and asks for FSYNC itself after a write with O_SYNC.
    parameters.user_set_times |= UserSetTimes::LastWrite | UserSetTimes::Change;
  } else if ((flags & (O_SYNC | O_DSYNC)) != 0) {
    parameters.mode |= OpenMode::WriteThrough;
  }
  auto open = TRY(store_.open(file, parameters));
  if ((flags & O_TRUNC) == 0) return open;
  const auto truncated = store_.set_end_of_file(*open, 0);
  if (truncated) return open;
  store_.close(std::move(open));
  return truncated.error();
}

void Filesystem::set_handle(const Open& open, fuse_file_info& info) const {
  info.fh = reinterpret_cast<uint64_t>(&open);
  // Nobody else changes the file. But what the kernel answers by itself, no lock stands against.
  info.keep_cache = options_.mandatory_locks ? 0 : 1;
  info.direct_io = options_.mandatory_locks ? 1 : 0;
}

Result<FilePtr> Filesystem::file(fuse_ino_t node) {
  FilePtr file = inodes_.find(node);
  if (file == nullptr) return NtStatus::FileDeleted;
  return file;
}

Result<struct stat> Filesystem::attributes(File& file) {
  return shown_attributes(TRY(store_.query_information(file)), options_.ownership);
}

Result<fuse_entry_param> Filesystem::look_up(const FilePtr& file) {
  fuse_entry_param entry{};
  entry.attr = TRY(attributes(*file));
  entry.ino = node_of(file->reference());
  entry.generation = file->reference().sequence();
  entry.attr_timeout = kValidSeconds;
  entry.entry_timeout = name_timeout();
  inodes_.remember(file);
  return entry;
}

}  // namespace ntfs::frontend
