#include "fuse/control_ops.h"

#include <linux/fs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "core/fsa/usn_life_cycle.h"
#include "fuse/filesystem.h"
#include "fuse/inode_flags.h"
#include "fuse/privileges.h"
#include "fuse/range_ioctl.h"
#include "fuse/reply.h"
#include "fuse/usn_ioctl.h"

namespace ntfs::frontend {

namespace {

/// One request: what the kernel hands over, and has room for.
struct Control {
  fuse_req_t request;
  const fuse_file_info* info;
  bool is_directory;
  ByteView input;
  size_t most_output;

  Filesystem& filesystem() const { return filesystem_of(request); }
  const FilePtr& file() const {
    return is_directory ? reinterpret_cast<OpenDirectory*>(info->fh)->file : open_of(info).file();
  }
};

/// Names of files that others hide are nobody else's business.
bool may_see_volume(fuse_req_t request) {
  const uid_t user = fuse_req_ctx(request)->uid;
  return user == 0 || user == geteuid();
}

Result<ByteVector> as_bytes(ByteView bytes) { return ByteVector(bytes.begin(), bytes.end()); }

Result<ByteVector> query(const Control& control) {
  const UsnJournalDataV2 data = encode(TRY(UsnControls(control.filesystem().store()).query()));
  return as_bytes(bytes_of(data));
}

Result<ByteVector> enumerate(const Control& control) {
  const auto* raw = TRY(view_as<MftEnumDataV1>(control.input));
  const auto answer = UsnControls(control.filesystem().store()).enumerate(decode(*raw));
  if (!answer && answer.error() == NtStatus::EndOfFile) return ByteVector();
  if (!answer) return answer.error();
  return encode(*answer);
}

Result<ByteVector> read_file_data(const Control& control) {
  const auto* raw = TRY(view_as<ReadFileUsnData>(control.input));
  const UsnVersions versions{raw->least_major_version.get(), raw->most_major_version.get()};
  return usn::build_record(
      TRY(UsnControls(control.filesystem().store()).read_file_data(*control.file(), versions)));
}

Result<ByteVector> write_close_record(const Control& control) {
  UsnControls controls(control.filesystem().store());
  const le64 usn = le64::of(TRY(controls.write_close_record(*control.file())).raw());
  return as_bytes(bytes_of(usn));
}

Result<ByteVector> create(const Control& control) {
  const auto* raw = TRY(view_as<CreateUsnJournalData>(control.input));
  TRY(create_usn_journal(control.filesystem().store(), raw->maximum_size.get(),
                         raw->allocation_delta.get()));
  return ByteVector();
}

/// Whatever the flags: it is done when this returns.
Result<ByteVector> remove(const Control& control) {
  const auto* raw = TRY(view_as<DeleteUsnJournalData>(control.input));
  TRY(delete_usn_journal(control.filesystem().store(), raw->journal_id.get()));
  return ByteVector();
}

Result<ByteVector> track_ranges(const Control& control) {
  const auto* raw = TRY(view_as<UsnTrackModifiedRanges>(control.input));
  if (raw->flags.get() != kUsnTracksRanges) return NtStatus::InvalidParameter;
  TRY(UsnControls(control.filesystem().store())
          .track_ranges({raw->chunk_size.get(), raw->file_size_threshold.get()}));
  return ByteVector();
}

/// The volume in steps, so that whoever waits can be interrupted between them.
Result<fstrim_range> trim(const Control& control, fstrim_range range) {
  constexpr uint64_t kStep = uint64_t{64} << 30;
  ObjectStore& store = control.filesystem().store();
  const StoreInformation volume = store.query_store();
  const uint64_t size = volume.clusters_total * volume.cluster_size;
  if (range.start >= size) return NtStatus::InvalidParameter;
  const uint64_t end = range.start + std::min<uint64_t>(range.len, size - range.start);
  uint64_t trimmed = 0;
  for (uint64_t at = range.start; at < end; at += kStep) {
    if (fuse_req_interrupted(control.request) != 0) return NtStatus::Cancelled;
    trimmed += TRY(store.trim({at, std::min(kStep, end - at), range.minlen}));
  }
  range.len = trimmed;
  return range;
}

/// As the kernel's own file systems answer it. Source: ioctl_fitrim in fstrim(8), linux/fs.h.
void answer_trim(Reply& reply, const Control& control) {
  fstrim_range range;
  if (control.input.size() != sizeof(range)) return reply.status(NtStatus::InvalidParameter);
  std::memcpy(&range, control.input.data(), sizeof(range));
  const auto trimmed = trim(control, range);
  if (!trimmed) return reply.status(trimmed.error());
  reply.filled(bytes_of(*trimmed));
}

/// Answers when the kernel keeps nothing of the file that has moved.
void answer_shift(Reply& reply, const Control& control, unsigned command, fuse_ino_t node) {
  const auto raw = view_as<RangeData>(control.input);
  if (!raw || control.is_directory) return reply.status(NtStatus::InvalidParameter);
  const uint64_t offset = (*raw)->offset.get();
  const uint64_t length = (*raw)->length.get();
  Filesystem& filesystem = control.filesystem();
  Open& open = open_of(control.info);
  const auto dropped = drop_privileges(filesystem, *open.file(), control.request);
  if (!dropped) return reply.status(dropped.error());
  filesystem.kernel_cache().break_then(
      node, [&filesystem, &open, request = reply.take(), command, node, offset, length] {
        Reply later(request);
        ObjectStore& store = filesystem.store();
        const auto done = command == RangeIoctl::Collapse ? store.collapse(open, offset, length)
                                                          : store.insert(open, offset, length);
        if (!done) return later.status(done.error());
        filesystem.kernel_cache().drop(node);
        const auto sizes = open.stream().sizes();
        if (!sizes) return later.status(sizes.error());
        const RangeData answer{le64::of(offset), le64::of(length), le64::of(sizes->file_size)};
        later.filled(bytes_of(answer));
      });
}

/// Compressing changes what a file takes, which the kernel would tell from memory.
void answer_flags(Reply& reply, const Control& control, unsigned command, fuse_ino_t node) {
  Filesystem& filesystem = control.filesystem();
  const bool is_stream = !control.is_directory && open_of(control.info).named_stream() != nullptr;
  if (is_stream) return reply.status(NtStatus::NotSupported);
  const auto bytes =
      answer_flags_control(filesystem.store(), *control.file(), command, control.input);
  if (!bytes) return reply.status(bytes.error());
  if (!bytes->empty()) return reply.filled(*bytes);
  filesystem.kernel_cache().break_then(node,
                                       [request = reply.take()] { Reply(request).filled({}); });
}

Result<ByteVector> answer(const Control& control, unsigned command) {
  switch (command) {
    case UsnIoctl::Query:
      return query(control);
    case UsnIoctl::Enumerate:
      return enumerate(control);
    case UsnIoctl::ReadFileData:
      return read_file_data(control);
    case UsnIoctl::WriteCloseRecord:
      return write_close_record(control);
    case UsnIoctl::Create:
      return create(control);
    case UsnIoctl::Delete:
      return remove(control);
    case UsnIoctl::TrackModifiedRanges:
      return track_ranges(control);
    default:
      return NtStatus::InvalidDeviceRequest;
  }
}

bool concerns_volume(unsigned command) {
  switch (command) {
    case UsnIoctl::ReadFileData:
    case UsnIoctl::WriteCloseRecord:
    case RangeIoctl::Collapse:
    case RangeIoctl::Insert:
      return false;
    default:
      return true;
  }
}

bool is_known(unsigned command) {
  switch (command) {
    case UsnIoctl::Query:
    case UsnIoctl::Read:
    case UsnIoctl::Enumerate:
    case UsnIoctl::ReadFileData:
    case UsnIoctl::WriteCloseRecord:
    case UsnIoctl::Create:
    case UsnIoctl::Delete:
    case UsnIoctl::TrackModifiedRanges:
    case FITRIM:
    case RangeIoctl::Collapse:
    case RangeIoctl::Insert:
      return true;
    default:
      return false;
  }
}

void on_ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void*, fuse_file_info* info,
              unsigned flags, const void* input, size_t input_bytes, size_t output_bytes) {
  Reply reply(request);
  const bool is_flags = is_flags_control(command);
  if (!is_flags && !is_known(command)) return reply.unknown_control();
  if (!is_flags && concerns_volume(command) && !may_see_volume(request)) {
    return reply.status(NtStatus::AccessDenied);
  }
  const Control control{request,
                        info,
                        (flags & FUSE_IOCTL_DIR) != 0,
                        {static_cast<const std::byte*>(input), input_bytes},
                        output_bytes};
  if (is_flags) return answer_flags(reply, control, command, node);
  if (command == FITRIM) return answer_trim(reply, control);
  if (command == RangeIoctl::Collapse || command == RangeIoctl::Insert) {
    return answer_shift(reply, control, command, node);
  }
  if (command == UsnIoctl::Read) {
    const auto raw = view_as<ReadUsnJournalDataV1>(control.input);
    if (!raw) return reply.status(NtStatus::InvalidParameter);
    return control.filesystem().usn_watches().read(reply.take(), decode(**raw));
  }
  const auto bytes = answer(control, command);
  if (!bytes) return reply.status(bytes.error());
  if (bytes->size() > control.most_output) return reply.status(NtStatus::BufferTooSmall);
  reply.control(*bytes);
}

}  // namespace

void add_control_operations(fuse_lowlevel_ops& operations) { operations.ioctl = on_ioctl; }

}  // namespace ntfs::frontend
