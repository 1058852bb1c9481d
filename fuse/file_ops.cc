#include "fuse/file_ops.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <memory>

#include "fuse/filesystem.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

using Buffering = ObjectStore::Buffering;
using KeepSize = ObjectStore::KeepSize;
using RangeKind = ObjectStore::RangeKind;

/// What OPEN and CREATE put there.
OpenFile& open_file(const fuse_file_info* info) { return *reinterpret_cast<OpenFile*>(info->fh); }

Result<FilePtr> open(Filesystem& filesystem, fuse_ino_t node, int flags) {
  FilePtr file = TRY(filesystem.file(node));
  TRY(filesystem.store().open(*file));
  if ((flags & O_TRUNC) == 0) return file;
  const auto truncated = filesystem.store().set_end_of_file(*file, 0);
  if (truncated) return file;
  filesystem.store().close(file);
  return truncated.error();
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const auto file = open(filesystem, node, info->flags);
  if (!file) return reply.status(file.error());
  auto opened = std::make_unique<OpenFile>(*file, info->flags);
  info->fh = reinterpret_cast<uint64_t>(opened.get());
  info->keep_cache = 1;  // nobody else changes the file
  if (reply.open(*info)) {
    opened.release();  // until RELEASE
  } else {
    filesystem.store().close(*file);
  }
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  Reply reply(request);
  const std::unique_ptr<OpenFile> opened(&open_file(info));
  filesystem_of(request).store().close(opened->file);
  reply.ok();
}

void on_read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  if (size > Filesystem::kMaxTransferBytes) return reply.status(NtStatus::InvalidParameter);
  if (size <= ReadBatch::kLargestRead) {
    return filesystem.small_reads().add(
        {reply.take(), open_file(info).file.get(), static_cast<uint64_t>(offset), size});
  }
  AlignedBuffer buffer = filesystem.read_buffers().take();
  const auto read = filesystem.store().read(*open_file(info).file, static_cast<uint64_t>(offset),
                                            size, buffer.bytes());
  if (read) {
    reply.bytes(buffer.bytes().first(*read));
  } else {
    reply.status(read.error());
  }
  filesystem.read_buffers().give_back(std::move(buffer));
}

Result<> write(Filesystem& filesystem, const fuse_file_info& info, uint64_t offset,
               ByteView bytes) {
  ObjectStore& store = filesystem.store();
  File& file = *open_file(&info).file;
  const bool is_from_cache = info.writepage != 0;
  const bool is_direct = !is_from_cache && (info.flags & O_DIRECT) != 0;
  const Buffering buffering = is_direct ? Buffering::Unbuffered : Buffering::Buffered;
  // With the write-back cache, the kernel gives O_APPEND its offset, and asks for FSYNC itself
  // after a write with O_SYNC.
  if (filesystem.options().writeback) return store.write(file, offset, bytes, buffering);
  if ((info.flags & O_APPEND) != 0 && !is_from_cache) {
    TRY(store.append(file, bytes));
  } else {
    TRY(store.write(file, offset, bytes, buffering));
  }
  if ((info.flags & (O_SYNC | O_DSYNC)) != 0) TRY(store.flush());
  return {};
}

void on_write(fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
              fuse_file_info* info) {
  Reply reply(request);
  const auto written =
      write(filesystem_of(request), *info, static_cast<uint64_t>(offset), text_bytes({data, size}));
  if (!written) return reply.status(written.error());
  reply.written(size);
}

void on_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  Reply reply(request);
  reply.result(filesystem_of(request).store().flush());
}

Result<> fallocate(ObjectStore& store, File& file, int mode, uint64_t offset, uint64_t length) {
  const KeepSize keep = (mode & FALLOC_FL_KEEP_SIZE) != 0 ? KeepSize::Yes : KeepSize::No;
  switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case 0:
      return store.allocate(file, offset, length, keep);
    case FALLOC_FL_PUNCH_HOLE:
      if (keep == KeepSize::No) return NtStatus::NotSupported;
      return store.punch(file, offset, length);
    case FALLOC_FL_ZERO_RANGE:
      return store.zero(file, offset, length, keep);
    default:
      return NtStatus::NotSupported;
  }
}

void on_fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
                  fuse_file_info* info) {
  Reply reply(request);
  reply.result(fallocate(filesystem_of(request).store(), *open_file(info).file, mode,
                         static_cast<uint64_t>(offset), static_cast<uint64_t>(length)));
}

void on_lseek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* info) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    return Reply(request).status(NtStatus::InvalidParameter);
  }
  Filesystem& filesystem = filesystem_of(request);
  const FilePtr& file = open_file(info).file;
  SeekRequest seek{request, node, file, static_cast<uint64_t>(offset),
                   whence == SEEK_DATA ? RangeKind::Data : RangeKind::Hole};
  // Closing a file sends its pages: without writers the kernel holds none back.
  if (filesystem.options().writeback && file->writers().load() != 0) {
    filesystem.seeks().push(std::move(seek));
  } else {
    filesystem.seeks().answer(seek);
  }
}

void on_copy_file_range(fuse_req_t request, fuse_ino_t, off_t from_offset, fuse_file_info* from,
                        fuse_ino_t, off_t to_offset, fuse_file_info* to, size_t length, int flags) {
  Reply reply(request);
  if (flags != 0) return reply.status(NtStatus::InvalidParameter);
  const auto copied = filesystem_of(request).store().copy_range(
      *open_file(from).file, static_cast<uint64_t>(from_offset), *open_file(to).file,
      static_cast<uint64_t>(to_offset), length);
  if (!copied) return reply.status(copied.error());
  reply.written(*copied);
}

}  // namespace

void add_file_operations(fuse_lowlevel_ops& operations) {
  operations.open = on_open;
  operations.release = on_release;
  operations.read = on_read;
  operations.write = on_write;
  operations.fsync = on_fsync;
  operations.fallocate = on_fallocate;
  operations.lseek = on_lseek;
  operations.copy_file_range = on_copy_file_range;
}

}  // namespace ntfs::frontend
