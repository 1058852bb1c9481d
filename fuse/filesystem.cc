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

Result<std::unique_ptr<Open>> Filesystem::open(const Node& node, int flags) {
  OpenParameters parameters;
  if (node.stream != nullptr) parameters.stream = node.stream->name();
  parameters.desired_access = access_of(flags);
  parameters.user_set_times = UserSetTimes::LastAccess;
  if (options_.writeback) {
    // The kernel sets the times, and asks for FSYNC itself after a write with O_SYNC.
    parameters.user_set_times |= UserSetTimes::LastWrite | UserSetTimes::Change;
  } else if ((flags & (O_SYNC | O_DSYNC)) != 0) {
    parameters.mode |= OpenMode::WriteThrough;
  }
  auto open = TRY(store_.open(node.file, parameters));
  if (open->named_stream() != node.stream) {
    store_.close(std::move(open));
    return NtStatus::FileDeleted;  // the name has become another stream's
  }
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

Result<Node> Filesystem::node(fuse_ino_t id) {
  Node node = StreamNodes::contains(id) ? stream_nodes_.find(id) : Node{inodes_.find(id), nullptr};
  if (node.file == nullptr) return NtStatus::FileDeleted;
  return node;
}

Result<FilePtr> Filesystem::file(fuse_ino_t id) {
  if (StreamNodes::contains(id)) return NtStatus::NotSupported;
  FilePtr file = inodes_.find(id);
  if (file == nullptr) return NtStatus::FileDeleted;
  return file;
}

double Filesystem::name_timeout(std::string_view name) const {
  return options_.ignore_case || is_stream_path(name, options_.streams) ? 0 : kValidSeconds;
}

double Filesystem::absence_timeout() const {
  const bool has_paths = options_.streams == StreamsInterface::Windows;
  return options_.ignore_case || has_paths ? 0 : kValidSeconds;
}

Result<FileInformation> Filesystem::information(File& file) {
  FileInformation information = TRY(store_.query_information(file));
  if (mapped_ != nullptr) TRY(mapped_->show(file, information));
  return information;
}

Result<struct stat> Filesystem::attributes(File& file) {
  const FileInformation shown = TRY(information(file));
  return shown_attributes(shown, options_.ownership);
}

Result<> Filesystem::set_information(File& file, BasicInformation information) {
  if (mapped_ != nullptr && !information.linux_metadata.empty()) {
    TRY(mapped_->change(file, information.linux_metadata));
    information.linux_metadata = {};
  }
  if (posix_acls_ != nullptr) TRY(posix_acls_->follow_mode(file, information));
  return store_.set_basic_information(file, information);
}

Result<> Filesystem::describe_new(File& directory, const Creator& creator, mode_t mode,
                                  dev_t device, CreateParameters& parameters) {
  if (mapped_ == nullptr) {
    if (posix_acls_ != nullptr) {
      mode = TRY(posix_acls_->describe_new(directory, mode, creator.umask, parameters));
    }
    parameters.linux_metadata = metadata_to_store(creator, mode, device, options_.ownership);
    return {};
  }
  mapped_->describe(creator, mode, parameters);
  // Other drivers know special files by these.
  parameters.linux_metadata = metadata_of_special_file(mode, device);
  return {};
}

Result<struct stat> Filesystem::attributes(const Node& node, fuse_ino_t id) {
  if (node.stream == nullptr) return attributes(*node.file);
  FileInformation of_stream = TRY(information(*node.file));
  const Stream::Sizes sizes = TRY(node.stream->sizes());
  of_stream.kind = FileKind::File;
  of_stream.file_size = sizes.file_size;
  of_stream.allocated_size = sizes.allocated;
  of_stream.link_count = node.stream->deleted() ? 0 : 1;
  struct stat shown = shown_attributes(of_stream, options_.ownership);
  shown.st_ino = id;
  return shown;
}

Result<fuse_entry_param> Filesystem::look_up(const Node& node, std::string_view name) {
  fuse_entry_param entry{};
  entry.entry_timeout = name_timeout(name);
  if (node.stream == nullptr) {
    entry.attr = TRY(attributes(*node.file));
    entry.ino = node_of(node.file->reference());
    entry.generation = node.file->reference().sequence();
    inodes_.remember(node.file);
  } else {
    entry.ino = stream_nodes_.remember(node);
    const auto shown = attributes(node, entry.ino);
    if (!shown) {
      stream_nodes_.forget(entry.ino, 1);
      return shown.error();
    }
    entry.attr = *shown;
  }
  entry.attr_timeout = attributes_timeout(entry.ino);
  return entry;
}

void Filesystem::forget(fuse_ino_t id, uint64_t count) {
  if (StreamNodes::contains(id)) return stream_nodes_.forget(id, count);
  inodes_.forget(id, count);
}

}  // namespace ntfs::frontend
