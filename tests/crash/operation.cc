#include "tests/crash/operation.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "core/ondisk/reparse_point.h"
#include "tests/crash/guard.h"
#include "tests/crash/recording_device.h"

namespace ntfs::crash {

namespace {

constexpr std::array<std::string_view, 35> kNames = {
    "create",        "mkdir",          "symlink",       "mkfifo",     "write",
    "write-through", "write-smooth",   "write-by-open", "append",     "truncate",
    "punch",         "allocate",       "reserve",       "zero",       "zero-within",
    "clone",         "compress",       "set-mode",      "set-link",   "short-name",
    "set-security",  "set-stream",     "remove-stream", "set-ea",     "remove-ea",
    "rename",        "rename-leaving", "exchange",      "link",       "unlink",
    "unlink-open",   "rmdir",          "fsync",         "checkpoint", "bare-checkpoint"};

std::u16string to_name(std::string_view text) { return {text.begin(), text.end()}; }

CreateParameters fifo() {
  CreateParameters parameters;
  parameters.kind = FileKind::Fifo;
  parameters.linux_metadata.mode = kFifoMode;
  return parameters;
}

}  // namespace

std::string Operation::to_text() const {
  std::string text(kNames[static_cast<size_t>(kind)]);
  if (!path.empty()) text += " " + path;
  if (!target.empty()) text += " " + target;
  if (offset != 0 || length != 0) text += fmt::format(" {}", offset);
  if (length != 0) text += fmt::format("+{}", length);
  return text;
}

std::byte written_byte(size_t number, uint64_t position) {
  uint64_t value = (number * 0x1000003 + position / 8) * 0x9E3779B97F4A7C15u;
  value ^= value >> 29;
  value *= 0xBF58476D1CE4E5B9u;
  const auto byte = static_cast<std::byte>(value >> (8 * (position % 8)));
  const bool is_taken = byte == std::byte{0} || byte == kNeverWritten || byte == kDiscarded;
  return is_taken ? std::byte{1} : byte;
}

std::byte smooth_byte(size_t number, uint64_t position) {
  return written_byte(number, align_down(position, 64));
}

ByteVector written_bytes(size_t number, uint64_t position, uint64_t length) {
  ByteVector bytes(length);
  for (uint64_t i = 0; i < length; ++i) bytes[i] = written_byte(number, position + i);
  return bytes;
}

Result<FilePtr> Performer::find(std::string_view path) {
  FilePtr file = store_.root();
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    file = TRY(store_.lookup(*file, to_name(path.substr(0, slash))));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return file;
}

Result<Performer::Place> Performer::place(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return Place{store_.root(), to_name(path)};
  return Place {
    TRY(find(path.substr(0, slash)))
    , to_name(path.substr(slash + 1))
  };
}

Result<> Performer::create(const Operation& operation) {
  using Kind = Operation::Kind;
  CreateParameters parameters;
  if (operation.kind == Kind::MakeDirectory) parameters.kind = FileKind::Directory;
  if (operation.kind == Kind::MakeFifo) parameters = fifo();
  if (operation.kind == Kind::MakeSymlink) {
    parameters.kind = FileKind::Symlink;
    parameters.symlink_target = operation.target;
  }
  const Place at = TRY(place(operation.path));
  TRY(store_.create(*at.directory, at.name, parameters));
  return {};
}

/// By an open, as most programs do, or without one, as truncate(2) does.
Result<> Performer::change_data(const Operation& operation, size_t number) {
  const FilePtr file = TRY(find(operation.path));
  if (number % 2 == 0) return change_data(file, operation, number);
  TRY(store_.open(*file));
  const auto done = change_data(file, operation, number);
  store_.close(file);
  return done;
}

Result<> Performer::change_data(const FilePtr& file, const Operation& operation, size_t number) {
  using Kind = Operation::Kind;
  using KeepSize = ObjectStore::KeepSize;
  const FileKind kind = TRY(store_.query_information(*file))
  .kind;
  // The kernel asks for data of regular files only.
  if (kind != FileKind::File && operation.kind != Kind::SetMode) return NtStatus::InvalidParameter;
  const uint64_t offset = operation.offset;
  const uint64_t length = operation.length;
  switch (operation.kind) {
    case Kind::Write:
      return store_.write(*file, offset, written_bytes(number, offset, length),
                          ObjectStore::Buffering::Buffered);
    case Kind::WriteSmooth: {
      ByteVector bytes(length);
      for (uint64_t i = 0; i < length; ++i) bytes[i] = smooth_byte(number, offset + i);
      return store_.write(*file, offset, bytes, ObjectStore::Buffering::Buffered);
    }
    case Kind::WriteThrough: {
      AlignedBuffer memory(std::max<uint64_t>(length, 1));
      const ByteVector bytes = written_bytes(number, offset, length);
      std::copy(bytes.begin(), bytes.end(), memory.data());
      return store_.write(*file, offset, memory.bytes().first(length),
                          ObjectStore::Buffering::Unbuffered);
    }
    case Kind::Append: {
      const uint64_t end = TRY(store_.query_information(*file))
      .file_size;
      TRY(store_.append(*file, written_bytes(number, end, length)));
      return {};
    }
    case Kind::Truncate:
      return store_.set_end_of_file(*file, offset);
    case Kind::Punch:
      return store_.punch(*file, offset, length);
    case Kind::Allocate:
      return allocate(*file, offset, length, KeepSize::No);
    case Kind::Reserve:
      return allocate(*file, offset, length, KeepSize::Yes);
    case Kind::Zero:
      return store_.zero(*file, offset, length, KeepSize::No);
    case Kind::ZeroWithin:
      return store_.zero(*file, offset, length, KeepSize::Yes);
    case Kind::Compress:
      return store_.set_compression(*file, offset != 0 ? Compression::Lznt1 : Compression::None);
    case Kind::SetMode: {
      BasicInformation information;
      const uint32_t type = kind == FileKind::Directory ? S_IFDIR : S_IFREG;
      information.linux_metadata.mode = type | static_cast<uint32_t>(offset);
      return store_.set_basic_information(*file, information);
    }
    default:
      return NtStatus::InvalidParameter;
  }
}

/// A compressed file takes no clusters before it is written: its size is all that changes.
Result<> Performer::allocate(File& file, uint64_t offset, uint64_t length,
                             ObjectStore::KeepSize keep) {
  if (TRY(store_.query_compression(file)) == Compression::None) {
    return store_.allocate(file, offset, length, keep);
  }
  const uint64_t size = TRY(store_.query_information(file))
  .file_size;
  if (keep == ObjectStore::KeepSize::Yes || offset + length <= size) return {};
  return store_.set_end_of_file(file, offset + length);
}

Result<> Performer::change_attributes(const Operation& operation, size_t number) {
  const FilePtr file = TRY(find(operation.path));
  const FileInformation information = TRY(store_.query_information(*file));
  // The kernel lets regular files and directories have them.
  if (information.kind != FileKind::File && information.kind != FileKind::Directory) {
    return NtStatus::InvalidParameter;
  }
  const ByteVector value = written_bytes(number, 0, operation.length);
  switch (operation.kind) {
    case Operation::Kind::SetStream:
      return store_.set_stream(*file, to_name(operation.target), value);
    case Operation::Kind::RemoveStream:
      return store_.remove_stream(*file, to_name(operation.target));
    case Operation::Kind::SetEa:
      return store_.set_ea(*file, operation.target, value);
    case Operation::Kind::RemoveEa:
      return store_.remove_ea(*file, operation.target);
    default:
      return NtStatus::InvalidParameter;
  }
}

Result<> Performer::clone(const Operation& operation) {
  std::array<FilePtr, 2> files;
  for (FilePtr& file : files) {
    file = TRY(find(&file == files.data() ? operation.path : operation.target));
    const FileInformation information = TRY(store_.query_information(*file));
    if (information.kind != FileKind::File) return NtStatus::InvalidParameter;
  }
  OpenParameters parameters;
  parameters.desired_access = AccessMask::ReadData | AccessMask::WriteData;
  auto from = TRY(store_.open(files[0], parameters));
  auto to = TRY(store_.open(files[1], parameters));
  const auto done =
      store_.copy_range(*from, operation.offset, *to, operation.offset, operation.length);
  store_.close(std::move(from));
  store_.close(std::move(to));
  return done.error();
}

Result<> Performer::set_link(const Operation& operation) {
  const FilePtr file = TRY(find(operation.path));
  const FileInformation information = TRY(store_.query_information(*file));
  const bool is_link = information.kind == FileKind::Symlink;
  const bool is_empty = information.kind == FileKind::File && information.file_size == 0;
  if (!is_link && (!is_empty || operation.target.empty())) return NtStatus::InvalidParameter;
  OpenParameters parameters;
  parameters.desired_access = AccessMask::WriteAttributes;
  auto open = TRY(store_.open(file, parameters));
  const ByteVector value = operation.target.empty()
                               ? ondisk::build_reparse_point(ondisk::ReparseTag::LxSymlink, {})
                               : TRY(ondisk::build_lx_symlink(operation.target));
  const Result<> done = operation.target.empty() ? store_.delete_reparse_point(*open, value)
                                                 : store_.set_reparse_point(*open, value);
  store_.close(std::move(open));
  return done;
}

Result<> Performer::write_by_open(const Operation& operation, size_t number) {
  using Text = WriteByOpenText;
  const std::string_view how = operation.target;
  OpenParameters parameters;
  parameters.desired_access =
      AccessMask::ReadData | AccessMask::WriteData | AccessMask::Synchronize;
  if (how.starts_with(Text::Unbuffered)) parameters.mode |= OpenMode::NoIntermediateBuffering;
  if (how.starts_with(Text::WriteThrough)) parameters.mode |= OpenMode::WriteThrough;
  const bool is_at_position = how.ends_with(Text::AtPosition);
  if (is_at_position) parameters.mode |= OpenMode::SynchronousIoNonalert;
  const FilePtr file = TRY(find(operation.path));
  auto open = TRY(store_.open(file, parameters));
  AlignedBuffer memory(operation.length);
  const ByteVector bytes = written_bytes(number, operation.offset, operation.length);
  std::copy(bytes.begin(), bytes.end(), memory.data());
  WriteParameters write;
  write.byte_offset = static_cast<int64_t>(operation.offset);
  write.input = ByteView(memory.bytes()).first(bytes.size());
  Result<> done;
  if (is_at_position) {
    done = store_.set_position(*open, write.byte_offset);
    write.byte_offset = kCurrentPosition;
  }
  if (how.ends_with(Text::AtEnd)) write.byte_offset = kEndOfStream;
  if (done) {
    const auto written = store_.write(*open, write);
    if (!written) done = written.error();
  }
  store_.close(std::move(open));
  return done;
}

Result<> Performer::unlink_open(const Operation& operation, size_t number) {
  const Place at = TRY(place(operation.path));
  const FilePtr file = TRY(store_.lookup(*at.directory, at.name));
  TRY(store_.open(*file));
  const auto removed = store_.remove(*at.directory, at.name, ObjectStore::RemoveKind::File);
  if (!removed) {
    store_.close(file);
    return removed.error();
  }
  open_.push_back(file);
  if (!file->is_unlinked()) return {};
  (void)store_
      .write(*file, 0, written_bytes(number, 0, kWrittenUnlinked),
             ObjectStore::Buffering::Buffered)
      .has_value();  // without effect on the tree: a full disk does not matter
  return {};
}

Result<> Performer::change_names(const Operation& operation) {
  using Kind = Operation::Kind;
  using Mode = ObjectStore::RenameMode;
  const Place from = TRY(place(operation.path));
  switch (operation.kind) {
    case Kind::Unlink:
      TRY(store_.remove(*from.directory, from.name, ObjectStore::RemoveKind::File));
      return {};
    case Kind::RemoveDirectory:
      TRY(store_.remove(*from.directory, from.name, ObjectStore::RemoveKind::Directory));
      return {};
    default:
      break;
  }
  if (operation.kind == Kind::SetShortName) {
    const FilePtr file = TRY(store_.lookup(*from.directory, from.name));
    return store_.set_short_name(*file, to_name(operation.target));
  }
  const Place to = TRY(place(operation.target));
  switch (operation.kind) {
    case Kind::Rename:
      return store_.rename(*from.directory, from.name, *to.directory, to.name, Mode::Replace);
    case Kind::RenameLeaving: {
      const CreateParameters left = fifo();
      return store_.rename(*from.directory, from.name, *to.directory, to.name, Mode::Replace,
                           &left);
    }
    case Kind::Exchange:
      return store_.rename(*from.directory, from.name, *to.directory, to.name, Mode::Exchange);
    case Kind::Link: {
      const FilePtr file = TRY(store_.lookup(*from.directory, from.name));
      return store_.link(*file, *to.directory, to.name);
    }
    default:
      return NtStatus::InvalidParameter;
  }
}

Result<> Performer::perform(const Operation& operation, size_t number) {
  using Kind = Operation::Kind;
  switch (operation.kind) {
    case Kind::Create:
    case Kind::MakeDirectory:
    case Kind::MakeSymlink:
    case Kind::MakeFifo:
      return create(operation);
    case Kind::Rename:
    case Kind::RenameLeaving:
    case Kind::Exchange:
    case Kind::SetShortName:
    case Kind::Link:
    case Kind::Unlink:
    case Kind::RemoveDirectory:
      return change_names(operation);
    case Kind::UnlinkOpen:
      return unlink_open(operation, number);
    case Kind::SetStream:
    case Kind::RemoveStream:
    case Kind::SetEa:
    case Kind::RemoveEa:
      return change_attributes(operation, number);
    case Kind::Clone:
      return clone(operation);
    case Kind::SetLink:
      return set_link(operation);
    case Kind::SetSecurity: {
      const FilePtr file = TRY(find(operation.path));
      return store_.set_security(*file, SecurityInformation::All, guard_of(operation.offset));
    }
    case Kind::WriteByOpen:
      return write_by_open(operation, number);
    case Kind::Fsync:
      return store_.flush();
    case Kind::Checkpoint:
      TRY(store_.flush());
      return store_.volume().checkpoint();
    case Kind::BareCheckpoint:
      return store_.volume().checkpoint();
    default:
      return change_data(operation, number);
  }
}

void Performer::finish() {
  for (const FilePtr& file : open_) store_.close(file);
  open_.clear();
}

}  // namespace ntfs::crash
