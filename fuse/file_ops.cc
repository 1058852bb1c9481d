#include "fuse/file_ops.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <memory>

#include "fuse/filesystem.h"
#include "fuse/privileges.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

using Buffering = ObjectStore::Buffering;
using KeepSize = ObjectStore::KeepSize;
using RangeKind = ObjectStore::RangeKind;

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const auto opened = filesystem.node(node);
  if (!opened) return reply.status(opened.error());
  if ((info->flags & O_TRUNC) != 0) {
    const auto dropped = drop_privileges(filesystem, *opened->file, request);
    if (!dropped) return reply.result(dropped);
  }
  auto open = filesystem.open(*opened, info->flags);
  if (!open) return reply.status(open.error());
  filesystem.set_handle(**open, *info);
  if (reply.open(*info)) {
    open->release();  // until RELEASE
  } else {
    filesystem.store().close(std::move(*open));
  }
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  Reply reply(request);
  filesystem_of(request).store().close(std::unique_ptr<Open>(&open_of(info)));
  reply.ok();
}

/// fcntl(2) may change it while the file is open.
Buffering buffering_of(const fuse_file_info& info) {
  return (info.flags & O_DIRECT) != 0 ? Buffering::Unbuffered : Buffering::Buffered;
}

void on_read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  if (size > Filesystem::kMaxTransferBytes) return reply.status(NtStatus::InvalidParameter);
  if (size <= ReadBatch::kLargestRead) {
    return filesystem.small_reads().add(
        {reply.take(), &open_of(info), buffering_of(*info), static_cast<uint64_t>(offset), size});
  }
  AlignedBuffer buffer = filesystem.read_buffers().take();
  const auto read = filesystem.store().read(open_of(info), {.byte_offset = offset,
                                                            .length = size,
                                                            .into = buffer.bytes(),
                                                            .buffering = buffering_of(*info),
                                                            .key = std::nullopt});
  if (read) {
    reply.bytes(buffer.bytes().first(*read));
  } else {
    reply.status(read.error());
  }
  filesystem.read_buffers().give_back(std::move(buffer));
}

/// The store has one status for what is not aligned and for what is too large.
NtStatus why_refused(ObjectStore& store, const WriteParameters& parameters, NtStatus status) {
  if (status != NtStatus::InvalidParameter) return status;
  const uint64_t sector = store.volume().geometry().sector_size;
  const bool is_aligned = parameters.input.size() % sector == 0 &&
                          static_cast<uint64_t>(parameters.byte_offset) % sector == 0;
  const bool may_be_unaligned = parameters.buffering == Buffering::Unbuffered &&
                                (!is_aligned || parameters.byte_offset == kEndOfStream);
  return may_be_unaligned ? status : NtStatus::FileTooLarge;
}

Result<> write(fuse_req_t request, const fuse_file_info& info, off_t offset, ByteView bytes) {
  Filesystem& filesystem = filesystem_of(request);
  ObjectStore& store = filesystem.store();
  Open& open = open_of(&info);
  if (info.writepage != 0) {
    return store.write(open.stream(), static_cast<uint64_t>(offset), bytes, Buffering::Buffered);
  }
  TRY(drop_privileges(filesystem, *open.file(), request));
  WriteParameters parameters{
      .byte_offset = offset, .input = bytes, .buffering = buffering_of(info), .key = std::nullopt};
  // With the write-back cache, the kernel gives O_APPEND its offset.
  const bool is_append = (info.flags & O_APPEND) != 0 && !filesystem.options().writeback;
  if (is_append) parameters.byte_offset = kEndOfStream;
  const auto written = store.write(open, parameters);
  if (!written) return why_refused(store, parameters, written.error());
  return {};
}

void on_write(fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
              fuse_file_info* info) {
  Reply reply(request);
  const auto written = write(request, *info, offset, text_bytes({data, size}));
  if (!written) return reply.status(written.error());
  reply.written(size);
}

void on_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  Reply reply(request);
  reply.result(filesystem_of(request).store().flush());
}

Result<> fallocate(fuse_req_t request, Open& file, int mode, uint64_t offset, uint64_t length) {
  ObjectStore& store = filesystem_of(request).store();
  TRY(drop_privileges(filesystem_of(request), *file.file(), request));
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
  reply.result(fallocate(request, open_of(info), mode, static_cast<uint64_t>(offset),
                         static_cast<uint64_t>(length)));
}

void answer_seek(fuse_req_t request, Stream& stream, off_t offset, RangeKind kind) {
  Reply reply(request);
  const auto found =
      filesystem_of(request).store().next_range(stream, static_cast<uint64_t>(offset), kind);
  if (!found) return reply.status(found.error());
  reply.offset(*found);
}

void on_lseek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* info) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    return Reply(request).status(NtStatus::InvalidParameter);
  }
  Filesystem& filesystem = filesystem_of(request);
  Open& open = open_of(info);
  const RangeKind kind = whence == SEEK_DATA ? RangeKind::Data : RangeKind::Hole;
  // Closing a file sends its pages: without writers the kernel holds none back. What it holds back
  // looks like a hole from here.
  if (filesystem.options().writeback && open.file()->writers().load() != 0) {
    filesystem.kernel_cache().break_then(node, [request, &open, offset, kind] {
      answer_seek(request, open.stream(), offset, kind);
    });
  } else {
    answer_seek(request, open.stream(), offset, kind);
  }
}

void on_copy_file_range(fuse_req_t request, fuse_ino_t, off_t from_offset, fuse_file_info* from,
                        fuse_ino_t, off_t to_offset, fuse_file_info* to, size_t length, int flags) {
  Reply reply(request);
  if (flags != 0) return reply.status(NtStatus::InvalidParameter);
  const auto dropped = drop_privileges(filesystem_of(request), *open_of(to).file(), request);
  if (!dropped) return reply.result(dropped);
  // The answer has 32 bits, and whoever asked cannot be ended before it.
  constexpr size_t kMostBytes = size_t{1} << 30;
  const auto copied = filesystem_of(request).store().copy_range(
      open_of(from), static_cast<uint64_t>(from_offset), open_of(to),
      static_cast<uint64_t>(to_offset), std::min(length, kMostBytes));
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
