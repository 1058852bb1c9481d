#include "fuse/filesystem.h"

#include <fcntl.h>

namespace ntfs::frontend {

OpenFile::OpenFile(FilePtr opened, int flags)
    : file(std::move(opened)), may_write_((flags & O_ACCMODE) != O_RDONLY) {
  if (may_write_) file->writers().fetch_add(1);
}

OpenFile::~OpenFile() {
  if (may_write_) file->writers().fetch_sub(1);
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
