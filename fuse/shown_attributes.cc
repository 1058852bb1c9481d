#include "fuse/shown_attributes.h"

#include <sys/sysmacros.h>

#include "fuse/inode_table.h"

namespace ntfs::frontend {

namespace {

constexpr mode_t kPermissionBits = 07777;
constexpr blksize_t kBlockSize = 4096;

/// Neither file, directory nor link.
bool is_special(FileKind kind) {
  return kind == FileKind::Fifo || kind == FileKind::Socket || kind == FileKind::CharacterDevice ||
         kind == FileKind::BlockDevice;
}

mode_t default_permissions(FileKind kind, const ShownOwnership& ownership) {
  switch (kind) {
    case FileKind::Symlink:
      return 0777;
    case FileKind::Directory:
      return 0777 & ~ownership.directory_mask;
    default:
      return 0666 & ~ownership.file_mask;
  }
}

}  // namespace

mode_t type_bits(FileKind kind) {
  switch (kind) {
    case FileKind::File:
      return S_IFREG;
    case FileKind::Directory:
      return S_IFDIR;
    case FileKind::Symlink:
      return S_IFLNK;
    case FileKind::Fifo:
      return S_IFIFO;
    case FileKind::CharacterDevice:
      return S_IFCHR;
    case FileKind::BlockDevice:
      return S_IFBLK;
    case FileKind::Socket:
      return S_IFSOCK;
  }
  return S_IFREG;
}

FileKind kind_of_mode(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileKind::Directory;
    case S_IFLNK:
      return FileKind::Symlink;
    case S_IFIFO:
      return FileKind::Fifo;
    case S_IFCHR:
      return FileKind::CharacterDevice;
    case S_IFBLK:
      return FileKind::BlockDevice;
    case S_IFSOCK:
      return FileKind::Socket;
    default:
      return FileKind::File;
  }
}

uint64_t stored_device(dev_t device) {
  return uint64_t{major(device)} | uint64_t{minor(device)} << 32;
}

dev_t shown_device(uint64_t device) {
  return makedev(static_cast<uint32_t>(device), static_cast<uint32_t>(device >> 32));
}

struct stat shown_attributes(const FileInformation& information, const ShownOwnership& ownership) {
  const LinuxMetadata& stored = information.linux_metadata;
  struct stat shown {};
  shown.st_ino = shown_number(information.reference);
  shown.st_mode = type_bits(information.kind) |
                  (stored.mode ? *stored.mode & kPermissionBits
                               : default_permissions(information.kind, ownership));
  shown.st_nlink = information.link_count;
  shown.st_uid = stored.uid.value_or(ownership.uid);
  shown.st_gid = stored.gid.value_or(ownership.gid);
  shown.st_size = static_cast<off_t>(information.file_size);
  shown.st_blocks = static_cast<blkcnt_t>(divide_up(information.allocated_size, 512));
  shown.st_blksize = kBlockSize;
  if (information.kind == FileKind::CharacterDevice || information.kind == FileKind::BlockDevice) {
    shown.st_rdev = shown_device(stored.device.value_or(0));
  }
  shown.st_atim = information.last_access_time.to_timespec();
  shown.st_mtim = information.last_write_time.to_timespec();
  shown.st_ctim = information.change_time.to_timespec();
  return shown;
}

LinuxMetadata metadata_to_store(const Creator& creator, mode_t mode, dev_t device,
                                const ShownOwnership& ownership) {
  LinuxMetadata stored = metadata_of_special_file(mode, device);
  const FileKind kind = kind_of_mode(mode);
  if (creator.uid != ownership.uid) stored.uid = creator.uid;
  if (creator.gid != ownership.gid) stored.gid = creator.gid;
  const bool is_default = (mode & kPermissionBits) == default_permissions(kind, ownership);
  if (kind != FileKind::Symlink && !is_default) {
    stored.mode = type_bits(kind) | (mode & kPermissionBits);
  }
  return stored;
}

LinuxMetadata metadata_of_special_file(mode_t mode, dev_t device) {
  LinuxMetadata stored;
  const FileKind kind = kind_of_mode(mode);
  if (is_special(kind)) stored.mode = type_bits(kind) | (mode & kPermissionBits);
  if (kind == FileKind::CharacterDevice || kind == FileKind::BlockDevice) {
    stored.device = stored_device(device);
  }
  return stored;
}

}  // namespace ntfs::frontend
