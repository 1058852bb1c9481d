#include "fuse/directory_ops.h"

#include <algorithm>
#include <memory>

#include "fuse/filesystem.h"
#include "fuse/name_encoding.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

using ListingPtr = std::shared_ptr<const OpenDirectory::Listing>;

/// "." and "..", which stand before the entries.
constexpr uint64_t kDotEntries = 2;

/// What OPENDIR put there.
OpenDirectory& open_directory(const fuse_file_info* info) {
  return *reinterpret_cast<OpenDirectory*>(info->fh);
}

Result<ListingPtr> take_listing(Filesystem& filesystem, const FilePtr& directory) {
  auto listing = std::make_shared<OpenDirectory::Listing>();
  listing->changes = filesystem.directory_changes(node_of(directory->reference()));
  listing->entries = TRY(filesystem.store().query_directory(*directory));
  listing->parent = TRY(filesystem.store().query_parent(*directory));
  if (filesystem.options().hide_hidden_files) {
    std::erase_if(listing->entries, [](const DirectoryEntry& entry) {
      return (entry.file_attributes & ondisk::FileAttributes::Hidden) != 0;
    });
  }
  return ListingPtr(std::move(listing));
}

/// The listing that `offset` is a place in: a new one at the start.
Result<ListingPtr> listing_for(Filesystem& filesystem, OpenDirectory& directory, uint64_t offset) {
  if (offset != 0) {
    const MutexLock lock(directory.mutex);
    if (directory.listing != nullptr) return directory.listing;
  }
  const ListingPtr listing = TRY(take_listing(filesystem, directory.file));
  const MutexLock lock(directory.mutex);
  directory.listing = listing;
  return listing;
}

/// Number and type only, as readdir tells them; no type where only the file itself can tell.
struct stat brief_attributes(const DirectoryEntry& entry) {
  using Attributes = ondisk::FileAttributes;
  struct stat brief {};
  brief.st_ino = shown_number(entry.reference);
  constexpr uint32_t kDirectory = Attributes::FileNameIndexPresent | Attributes::Directory;
  const bool is_directory = (entry.file_attributes & kDirectory) != 0;
  // Special files of Interix have the system attribute.
  const uint32_t special = Attributes::ReparsePoint | (is_directory ? 0 : Attributes::System);
  if ((entry.file_attributes & special) == 0) brief.st_mode = is_directory ? S_IFDIR : S_IFREG;
  return brief;
}

/// Builds the answer to one READDIR or READDIRPLUS.
class ListingWriter {
 public:
  enum class Form { Plain, Plus };

  ListingWriter(fuse_req_t request, OpenDirectory& directory, ListingPtr listing, size_t size,
                Form form)
      : request_(request),
        filesystem_(filesystem_of(request)),
        directory_(directory),
        listing_(std::move(listing)),
        form_(form),
        buffer_(size),
        is_current_(filesystem_.directory_changes(node_of(directory.file->reference())) ==
                    listing_->changes) {}

  /// Entries from `offset` on, as many as fit.
  void fill(uint64_t offset) {
    const uint64_t end = kDotEntries + listing_->entries.size();
    for (uint64_t index = offset; index < end; ++index) {
      const bool is_dot = index < kDotEntries;
      if (!(is_dot ? add_dot(index) : add(index))) return;
    }
  }

  ByteView bytes() const { return ByteView(buffer_).first(used_); }
  /// The kernel did not get the answer.
  void take_back() {
    for (const fuse_entry_param& entry : counted_) filesystem_.take_back(entry);
  }

 private:
  bool add_dot(uint64_t index) {
    DirectoryEntry entry;
    entry.reference = index == 0 ? directory_.file->reference() : listing_->parent;
    entry.file_attributes = ondisk::FileAttributes::Directory;
    fuse_entry_param plus{};  // without a node: the kernel knows these two
    plus.attr = brief_attributes(entry);
    return put(index == 0 ? "." : "..", plus, index + 1);
  }

  bool add(uint64_t index) {
    const DirectoryEntry& entry = listing_->entries[index - kDotEntries];
    const std::string name = name_bytes(entry.name);
    fuse_entry_param plus{};
    plus.attr = brief_attributes(entry);
    if (form_ == Form::Plain) return put(name, plus, index + 1);
    if (needed(name) > room()) return false;
    // By such a path the kernel would come to a stream.
    if (is_stream_path(name, filesystem_.options().streams)) return put(name, plus, index + 1);
    const auto looked_up = look_up(entry, name);
    if (!looked_up && looked_up.error() == NtStatus::ObjectNameNotFound) return true;  // gone
    // What cannot be read is listed by name; a stat of it says what is wrong.
    if (!looked_up) return put(name, plus, index + 1);
    counted_.push_back(*looked_up);
    return put(name, *looked_up, index + 1);
  }

  /// The kernel takes the answer for the truth about the name, so it must be no older than the last
  /// change of the directory.
  Result<fuse_entry_param> look_up(const DirectoryEntry& entry, std::string_view name) {
    FilePtr file;
    if (is_current_) {
      file = filesystem_.store().file(entry.reference);
    } else {
      file = TRY(filesystem_.store().lookup(*directory_.file, entry.name));
    }
    return filesystem_.look_up({file, nullptr}, name);
  }

  size_t room() const { return buffer_.size() - used_; }
  size_t needed(const std::string& name) const {
    return form_ == Form::Plus
               ? fuse_add_direntry_plus(request_, nullptr, 0, name.c_str(), nullptr, 0)
               : fuse_add_direntry(request_, nullptr, 0, name.c_str(), nullptr, 0);
  }

  /// False when there is no room for it.
  bool put(const std::string& name, const fuse_entry_param& entry, uint64_t next) {
    if (needed(name) > room()) return false;
    char* place = reinterpret_cast<char*>(buffer_.data()) + used_;
    const auto offset = static_cast<off_t>(next);
    used_ += form_ == Form::Plus
                 ? fuse_add_direntry_plus(request_, place, room(), name.c_str(), &entry, offset)
                 : fuse_add_direntry(request_, place, room(), name.c_str(), &entry.attr, offset);
    return true;
  }

  fuse_req_t request_;
  Filesystem& filesystem_;
  OpenDirectory& directory_;
  const ListingPtr listing_;
  const Form form_;
  ByteVector buffer_;
  const bool is_current_;  ///< nothing came or went since the listing was taken
  size_t used_ = 0;
  std::vector<fuse_entry_param> counted_;
};

void answer_listing(fuse_req_t request, size_t size, off_t offset, const fuse_file_info* info,
                    ListingWriter::Form form) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  OpenDirectory& directory = open_directory(info);
  const auto from = static_cast<uint64_t>(offset);
  const auto listing = listing_for(filesystem, directory, from);
  if (!listing) return reply.status(listing.error());
  ListingWriter writer(request, directory, *listing, std::min(size, Filesystem::kMaxTransferBytes),
                       form);
  writer.fill(from);
  if (!reply.bytes(writer.bytes())) writer.take_back();
}

void on_readdir(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  answer_listing(request, size, offset, info, ListingWriter::Form::Plain);
}

void on_readdirplus(fuse_req_t request, fuse_ino_t, size_t size, off_t offset,
                    fuse_file_info* info) {
  answer_listing(request, size, offset, info, ListingWriter::Form::Plus);
}

Result<FilePtr> open(Filesystem& filesystem, fuse_ino_t node) {
  FilePtr file = TRY(filesystem.file(node));
  TRY(filesystem.store().open(*file));
  return file;
}

void on_opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const auto file = open(filesystem, node);
  if (!file) return reply.status(file.error());
  auto opened = std::make_unique<OpenDirectory>();
  opened->file = *file;
  info->fh = reinterpret_cast<uint64_t>(opened.get());
  if (reply.open(*info)) {
    opened.release();  // until RELEASEDIR
  } else {
    filesystem.store().close(*file);
  }
}

void on_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  Reply reply(request);
  const std::unique_ptr<OpenDirectory> opened(&open_directory(info));
  filesystem_of(request).store().close(opened->file);
  reply.ok();
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  Reply reply(request);
  reply.result(filesystem_of(request).store().flush());
}

}  // namespace

void add_directory_operations(fuse_lowlevel_ops& operations) {
  operations.opendir = on_opendir;
  operations.readdir = on_readdir;
  operations.readdirplus = on_readdirplus;
  operations.releasedir = on_releasedir;
  operations.fsyncdir = on_fsyncdir;
}

}  // namespace ntfs::frontend
