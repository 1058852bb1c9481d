#include "fuse/namespace_ops.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <string_view>
#include <thread>

#include "fuse/filesystem.h"
#include "fuse/name_encoding.h"
#include "fuse/privileges.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

struct NewFile {
  fuse_ino_t parent = 0;
  std::string_view name;
  mode_t mode = 0;
  dev_t device = 0;
  std::string_view symlink_target = {};
  Creator creator;
  CreateParameters::Holder holder = CreateParameters::Holder::None;
};

struct Made {
  Node node;
  fuse_entry_param entry{};
  bool has_holder = false;  ///< that the creation left
};

Creator creator_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {context->uid, context->gid, context->umask};
}

/// Below a directory with the set-group-ID bit, files get its group, and directories the bit, too.
/// Source: mkdir(2), open(2) "O_CREAT".
Result<NewFile> with_inherited_group(Filesystem& filesystem, File& parent, NewFile wanted) {
  const struct stat attributes = TRY(filesystem.attributes(parent));
  if ((attributes.st_mode & S_ISGID) == 0) return wanted;
  wanted.creator.gid = attributes.st_gid;
  if (S_ISDIR(wanted.mode)) wanted.mode |= S_ISGID;
  return wanted;
}

/// Under hide_dot_files: the hidden attribute says whether the name begins with a dot.
Result<> update_hidden(Filesystem& filesystem, File& file, std::string_view name) {
  if (!filesystem.options().hide_dot_files) return {};
  constexpr uint32_t kHidden = ondisk::FileAttributes::Hidden;
  const FileInformation before = TRY(filesystem.store().query_information(file));
  const uint32_t old = before.file_attributes;
  BasicInformation information;
  information.file_attributes = name.starts_with('.') ? old | kHidden : old & ~kHidden;
  if (*information.file_attributes == old) return {};
  return filesystem.store().set_basic_information(file, information);
}

Result<Made> make(Filesystem& filesystem, const NewFile& asked) {
  const FilePtr parent = TRY(filesystem.file(asked.parent));
  const NewFile wanted = TRY(with_inherited_group(filesystem, *parent, asked));
  const std::u16string name = TRY(file_name_from_kernel(wanted.name, filesystem.options().streams));
  CreateParameters parameters;
  parameters.kind = kind_of_mode(wanted.mode);
  parameters.symlink_target = wanted.symlink_target;
  parameters.holder = wanted.holder;
  TRY(filesystem.describe_new(*parent, wanted.creator, wanted.mode, wanted.device, parameters));
  Made made;
  made.node.file = TRY(filesystem.store().create(*parent, name, parameters));
  made.has_holder = wanted.holder == CreateParameters::Holder::Caller;
  filesystem.count_directory_change(asked.parent);
  Result<> shown = update_hidden(filesystem, *made.node.file, wanted.name);
  if (shown) {
    const auto entry = filesystem.look_up(made.node, wanted.name);
    if (entry) {
      made.entry = *entry;
      return made;
    }
    shown = entry.error();
  }
  if (made.has_holder) filesystem.store().close(made.node.file);
  return shown.error();
}

void answer_made(fuse_req_t request, const NewFile& wanted) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const auto made = make(filesystem, wanted);
  if (!made) return reply.status(made.error());
  if (!reply.entry(made->entry)) filesystem.take_back(made->entry);
}

Result<Node> find_stream(Filesystem& filesystem, const FilePtr& file, std::u16string_view stream) {
  if (!stream.empty()) {
    StreamPtr found = TRY(filesystem.store().find_stream(*file, stream));
    return Node{file, std::move(found)};
  }
  // A directory has no unnamed stream, and the kernel wants one name for it.
  const FileInformation information = TRY(filesystem.store().query_information(*file));
  if (information.kind == FileKind::Directory) return NtStatus::ObjectNameNotFound;
  return Node{file, nullptr};
}

/// "." is the file of a node that was forgotten, ".." the directory of one: so the kernel finds
/// what a handle leads to (open_by_handle_at(2), NFS).
Result<FilePtr> find_by_handle(Filesystem& filesystem, fuse_ino_t node, std::string_view name) {
  if (name == ".") {
    FilePtr file = TRY(filesystem.store().find_by_record(record_of(node)));
    return node_of(file->reference()) == node ? Result<FilePtr>(std::move(file))
                                              : NtStatus::ObjectNameNotFound;
  }
  const FilePtr directory = TRY(filesystem.file(node));
  const FileReference above = TRY(filesystem.store().query_parent(*directory));
  return filesystem.store().file(above);
}

Result<Node> find(Filesystem& filesystem, fuse_ino_t parent, std::string_view name) {
  if (name == "." || name == "..") {
    FilePtr file = TRY(find_by_handle(filesystem, parent, name));
    return Node{std::move(file), nullptr};
  }
  const FilePtr directory = TRY(filesystem.file(parent));
  if (!is_stream_path(name, filesystem.options().streams)) {
    const std::u16string units = TRY(name_from_kernel(name));
    FilePtr file = TRY(filesystem.store().lookup(*directory, units));
    return Node{std::move(file), nullptr};
  }
  const StreamPath path = TRY(stream_path_from_kernel(name));
  const FilePtr file = TRY(filesystem.store().lookup(*directory, path.file));
  return find_stream(filesystem, file, path.stream);
}

/// Whether `name` may be the short name of a file.
bool looks_short(std::string_view name) {
  constexpr size_t kMostBytes = 36;  // 12 characters, UTF-8
  const auto is_small = [](char unit) { return unit >= 'a' && unit <= 'z'; };
  return name.size() <= kMostBytes && std::ranges::none_of(name, is_small);
}

/// The long name that goes with the short name `name`; "" when that is none.
std::string long_name_beside(Filesystem& filesystem, fuse_ino_t parent, std::string_view name) {
  if (!looks_short(name)) return {};
  const auto directory = filesystem.file(parent);
  const auto units = name_from_kernel(name);
  if (!directory || !units) return {};
  const auto found = filesystem.store().query_long_name(**directory, *units);
  return found && *found != *units ? name_bytes(*found) : std::string();
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const auto node = find(filesystem, parent, name);
  if (!node && node.error() != NtStatus::ObjectNameNotFound) return reply.status(node.error());
  if (!node) {
    fuse_entry_param absent{};  // with node id 0: the kernel may remember that there is none
    absent.entry_timeout = looks_short(name) ? 0 : filesystem.absence_timeout();
    reply.entry(absent);
    return;
  }
  auto entry = filesystem.look_up(*node, name);
  if (!entry) return reply.status(entry.error());
  // It goes with its long name, and the kernel does not know that.
  if (!long_name_beside(filesystem, parent, name).empty()) entry->entry_timeout = 0;
  if (!reply.entry(*entry)) filesystem.take_back(*entry);
}

void on_forget(fuse_req_t request, fuse_ino_t node, uint64_t count) {
  Reply reply(request);
  filesystem_of(request).forget(node, count);
  reply.none();
}

void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  for (const fuse_forget_data& forget : std::span(forgets, count)) {
    filesystem.forget(forget.ino, forget.nlookup);
  }
  reply.none();
}

/// For CREATE of a name that exists, without O_EXCL: the kernel looked it up in another spelling.
Result<Made> find_existing(Filesystem& filesystem, const NewFile& wanted) {
  Made found;
  found.node = TRY(find(filesystem, wanted.parent, wanted.name));
  found.entry = TRY(filesystem.look_up(found.node, wanted.name));
  return found;
}

Result<FilePtr> find_or_make(Filesystem& filesystem, const NewFile& wanted, fuse_req_t request) {
  const auto found = find(filesystem, wanted.parent, wanted.name);
  if (found) {
    TRY(check_may_write(filesystem, *found->file, request));
    return found->file;
  }
  if (found.error() != NtStatus::ObjectNameNotFound) return found.error();
  const Made made = TRY(make(filesystem, wanted));
  filesystem.take_back(made.entry);  // the kernel does not learn of it
  return made.node.file;
}

/// The name of an unlinked stream is free with its last close, of which the kernel tells (RELEASE)
/// some time after close(2) has returned. Not for long: others may wait behind this request.
Result<> create_stream(ObjectStore& store, File& file, std::u16string_view name) {
  constexpr int kMostWaits = 30;
  for (int i = 0;; ++i) {
    auto created = store.create_stream(file, name);
    if (created || created.error() != NtStatus::DeletePending || i == kMostWaits) return created;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// A file that does not exist is made for its stream, as on Windows and with ntfs-3g.
Result<Made> make_stream(Filesystem& filesystem, const NewFile& wanted, fuse_req_t request) {
  const StreamPath path = TRY(stream_path_from_kernel(wanted.name));
  const std::string file_name = name_bytes(path.file);
  NewFile of_file = wanted;
  of_file.name = file_name;
  Made made;
  if (path.stream.empty()) {
    made = TRY(make(filesystem, of_file));
    made.entry.entry_timeout = filesystem.name_timeout(wanted.name);
    return made;
  }
  of_file.holder = CreateParameters::Holder::None;
  made.node.file = TRY(find_or_make(filesystem, of_file, request));
  TRY(create_stream(filesystem.store(), *made.node.file, path.stream));
  made.node.stream = TRY(filesystem.store().find_stream(*made.node.file, path.stream));
  made.entry = TRY(filesystem.look_up(made.node, wanted.name));
  return made;
}

struct Opened {
  fuse_entry_param entry{};
  std::unique_ptr<Open> open;
};

Result<Opened> create_or_open(Filesystem& filesystem, const NewFile& wanted, int flags,
                              fuse_req_t request) {
  auto made = is_stream_path(wanted.name, filesystem.options().streams)
                  ? make_stream(filesystem, wanted, request)
                  : make(filesystem, wanted);
  if (!made && made.error() == NtStatus::ObjectNameCollision && (flags & O_EXCL) == 0) {
    made = find_existing(filesystem, wanted);
  }
  if (!made) return made.error();
  auto open = filesystem.open(made->node, flags);
  if (made->has_holder) filesystem.store().close(made->node.file);
  if (!open) {
    filesystem.take_back(made->entry);
    return open.error();
  }
  return Opened{made->entry, std::move(*open)};
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* info) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const NewFile wanted{.parent = parent,
                       .name = name,
                       .mode = S_IFREG | (mode & ~mode_t{S_IFMT}),
                       .creator = creator_of(request),
                       .holder = CreateParameters::Holder::Caller};
  auto made = create_or_open(filesystem, wanted, info->flags, request);
  if (!made) return reply.status(made.error());
  filesystem.set_handle(*made->open, *info);
  if (reply.create(made->entry, *info)) {
    made->open.release();  // until RELEASE
  } else {
    filesystem.store().close(std::move(made->open));
    filesystem.take_back(made->entry);
  }
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  answer_made(request, {.parent = parent,
                        .name = name,
                        .mode = S_IFDIR | (mode & ~mode_t{S_IFMT}),
                        .creator = creator_of(request)});
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  answer_made(request, {.parent = parent,
                        .name = name,
                        .mode = mode,
                        .device = device,
                        .creator = creator_of(request)});
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  answer_made(request, {.parent = parent,
                        .name = name,
                        .mode = S_IFLNK | 0777,
                        .symlink_target = target,
                        .creator = creator_of(request)});
}

Result<fuse_entry_param> link(Filesystem& filesystem, fuse_ino_t node, fuse_ino_t parent,
                              std::string_view name) {
  const FilePtr file = TRY(filesystem.file(node));
  const FilePtr directory = TRY(filesystem.file(parent));
  const std::u16string units = TRY(file_name_from_kernel(name, filesystem.options().streams));
  TRY(filesystem.store().link(*file, *directory, units));
  filesystem.count_directory_change(parent);
  return filesystem.look_up({file, nullptr}, name);
}

void on_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  Reply reply(request);
  Filesystem& filesystem = filesystem_of(request);
  const auto entry = link(filesystem, node, parent, name);
  if (!entry) return reply.status(entry.error());
  if (!reply.entry(*entry)) filesystem.take_back(*entry);
}

Result<> remove_stream(Filesystem& filesystem, fuse_ino_t parent, std::string_view name,
                       fuse_req_t request) {
  const Node node = TRY(find(filesystem, parent, name));
  if (node.stream == nullptr) return NtStatus::CannotDelete;
  TRY(check_may_write(filesystem, *node.file, request));
  return filesystem.store().remove_stream(*node.file, node.stream->name());
}

Result<> remove(fuse_req_t request, fuse_ino_t parent, std::string_view name,
                ObjectStore::RemoveKind kind) {
  Filesystem& filesystem = filesystem_of(request);
  if (is_stream_path(name, filesystem.options().streams)) {
    if (kind == ObjectStore::RemoveKind::Directory) return NtStatus::NotADirectory;
    return remove_stream(filesystem, parent, name, request);
  }
  const FilePtr directory = TRY(filesystem.file(parent));
  const std::u16string units = TRY(name_from_kernel(name));
  const std::string long_name = long_name_beside(filesystem, parent, name);
  TRY(filesystem.store().remove(*directory, units, kind));
  if (!long_name.empty()) filesystem.kernel_cache().forget_name(parent, long_name);
  filesystem.count_directory_change(parent);
  return {};
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply reply(request);
  reply.result(remove(request, parent, name, ObjectStore::RemoveKind::File));
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Reply reply(request);
  reply.result(remove(request, parent, name, ObjectStore::RemoveKind::Directory));
}

/// A name in a directory, as RENAME gives two of.
struct Place {
  fuse_ino_t parent;
  std::string_view name;
};

Result<> update_hidden_at(Filesystem& filesystem, const Place& place) {
  if (!filesystem.options().hide_dot_files) return {};
  const Node node = TRY(find(filesystem, place.parent, place.name));
  return update_hidden(filesystem, *node.file, place.name);
}

/// RENAME_WHITEOUT leaves the mark of overlay filesystems for what is not there any more: a
/// character device 0:0 without permissions. Source: rename(2).
Result<CreateParameters> whiteout(Filesystem& filesystem, File& directory, const Creator& creator) {
  CreateParameters parameters;
  parameters.kind = FileKind::CharacterDevice;
  TRY(filesystem.describe_new(directory, creator, S_IFCHR, makedev(0, 0), parameters));
  return parameters;
}

Result<> rename(Filesystem& filesystem, const Place& from, const Place& to, unsigned flags,
                const Creator& creator) {
  using Mode = ObjectStore::RenameMode;
  const bool leaves_whiteout = (flags & RENAME_WHITEOUT) != 0;
  flags &= ~unsigned{RENAME_WHITEOUT};
  Mode mode = Mode::Replace;
  if (flags == RENAME_NOREPLACE) {
    mode = Mode::NoReplace;
  } else if (flags == RENAME_EXCHANGE && !leaves_whiteout) {
    mode = Mode::Exchange;
  } else if (flags != 0) {
    return NtStatus::InvalidParameter;  // what never goes together
  }
  const StreamsInterface streams = filesystem.options().streams;
  // mv(1) copies it then.
  if (is_stream_path(from.name, streams) || is_stream_path(to.name, streams)) {
    return NtStatus::NotSameDevice;
  }
  const FilePtr from_directory = TRY(filesystem.file(from.parent));
  const FilePtr to_directory = TRY(filesystem.file(to.parent));
  const std::u16string from_name = TRY(name_from_kernel(from.name));
  const std::u16string to_name = TRY(name_from_kernel(to.name));
  const std::string from_long = long_name_beside(filesystem, from.parent, from.name);
  const std::string to_long = long_name_beside(filesystem, to.parent, to.name);
  std::optional<CreateParameters> left;
  if (leaves_whiteout) left = TRY(whiteout(filesystem, *from_directory, creator));
  TRY(filesystem.store().rename(*from_directory, from_name, *to_directory, to_name, mode,
                                left ? &*left : nullptr));
  if (!from_long.empty()) filesystem.kernel_cache().forget_name(from.parent, from_long);
  if (!to_long.empty()) filesystem.kernel_cache().forget_name(to.parent, to_long);
  filesystem.count_directory_change(from.parent);
  filesystem.count_directory_change(to.parent);
  TRY(update_hidden_at(filesystem, to));
  if (mode == Mode::Exchange || leaves_whiteout) TRY(update_hidden_at(filesystem, from));
  return {};
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  Reply reply(request);
  reply.result(rename(filesystem_of(request), {parent, name}, {new_parent, new_name}, flags,
                      creator_of(request)));
}

Result<std::string> read_link(Filesystem& filesystem, fuse_ino_t node) {
  const FilePtr file = TRY(filesystem.file(node));
  return filesystem.store().read_link(*file);
}

void on_readlink(fuse_req_t request, fuse_ino_t node) {
  Reply reply(request);
  const auto target = read_link(filesystem_of(request), node);
  if (!target) return reply.status(target.error());
  reply.readlink(*target);
}

}  // namespace

void add_namespace_operations(fuse_lowlevel_ops& operations) {
  operations.lookup = on_lookup;
  operations.forget = on_forget;
  operations.forget_multi = on_forget_multi;
  operations.create = on_create;
  operations.mkdir = on_mkdir;
  operations.mknod = on_mknod;
  operations.symlink = on_symlink;
  operations.link = on_link;
  operations.unlink = on_unlink;
  operations.rmdir = on_rmdir;
  operations.rename = on_rename;
  operations.readlink = on_readlink;
}

}  // namespace ntfs::frontend
