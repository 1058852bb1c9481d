// A file system in memory, as small as the kernel allows: the ceiling for metadata in
// scripts/bench. It answers the same requests as ntfs-wal's front end, with the same kernel options
// (write-back cache, readdirplus, long timeouts, no flush, no opendir), from several threads, and
// does nothing else: whatever a file system adds to these figures is its own cost.
//
// Locks: Directory::mutex, then Node::mutex; two directories in the order of their addresses.
//
// usage: memory_fuse DIR        (stays in the foreground until unmounted)

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

constexpr double kTimeoutSeconds = 86400;

struct Node;

struct Entry {
  std::string name;  // empty: removed; its place keeps the offsets of the others
  Node* node = nullptr;
};

struct Directory {
  std::mutex mutex;
  std::vector<Entry> entries;                     // readdir offset = index + 1
  std::unordered_map<std::string, size_t> index;  // name -> place in entries
};

struct Node {
  std::mutex mutex;  // everything below; `directory` is const after creation
  struct stat attributes {};
  uint64_t lookups = 0;
  std::string bytes;  // content, or target of a symlink
  std::unique_ptr<Directory> directory;
};

std::atomic<ino_t> next_number{2};
Node root;

Node* node_of(fuse_ino_t ino) {
  return ino == FUSE_ROOT_ID ? &root : reinterpret_cast<Node*>(ino);  // NOLINT: libfuse's id
}

fuse_ino_t ino_of(Node* node) {
  return node == &root ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(node);  // NOLINT: see above
}

timespec now() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME_COARSE, &time);
  return time;
}

void initialize(Node& node, mode_t mode) {
  node.attributes.st_mode = mode;
  node.attributes.st_nlink = 1;
  node.attributes.st_ino = next_number++;
  node.attributes.st_uid = getuid();
  node.attributes.st_gid = getgid();
  node.attributes.st_blksize = 4096;
  node.attributes.st_atim = node.attributes.st_mtim = node.attributes.st_ctim = now();
  if (S_ISDIR(mode)) node.directory = std::make_unique<Directory>();
}

/// Takes `lookups` and `links` from the node and frees it with the last of both.
void drop(Node* node, uint64_t lookups, nlink_t links) {
  bool last = false;
  {
    const std::lock_guard lock(node->mutex);
    node->lookups -= lookups;
    node->attributes.st_nlink -= links;
    last = node != &root && node->lookups == 0 && node->attributes.st_nlink == 0;
  }
  if (last) delete node;
}

/// The answer to a lookup; counts it. The directory's mutex is held, so the node lives.
fuse_entry_param describe(Node* node) {
  const std::lock_guard lock(node->mutex);
  ++node->lookups;
  fuse_entry_param entry{};
  entry.ino = ino_of(node);
  entry.attr = node->attributes;
  entry.attr_timeout = entry.entry_timeout = kTimeoutSeconds;
  return entry;
}

void insert_locked(Directory& directory, const std::string& name, Node* node) {
  directory.index[name] = directory.entries.size();
  directory.entries.push_back({name, node});
}

/// Takes the name out; null when it is not there.
Node* remove_locked(Directory& directory, const std::string& name) {
  const auto found = directory.index.find(name);
  if (found == directory.index.end()) return nullptr;
  Entry& entry = directory.entries[found->second];
  Node* node = entry.node;
  entry = {};
  directory.index.erase(found);
  if (directory.index.empty()) directory.entries.clear();
  return node;
}

void on_init(void*, fuse_conn_info* connection) {
  connection->want |= connection->capable & (FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS |
                                             FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO);
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
  connection->max_write = 1 << 20;
  connection->time_gran = 100;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Directory& directory = *node_of(parent)->directory;
  fuse_entry_param entry{};
  entry.entry_timeout = kTimeoutSeconds;  // with ino 0: the name is known to be absent
  {
    const std::lock_guard lock(directory.mutex);
    const auto found = directory.index.find(name);
    if (found != directory.index.end()) entry = describe(directory.entries[found->second].node);
  }
  fuse_reply_entry(request, &entry);
}

void on_forget(fuse_req_t request, fuse_ino_t ino, uint64_t lookups) {
  drop(node_of(ino), lookups, 0);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) drop(node_of(forgets[i].ino), forgets[i].nlookup, 0);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t ino, fuse_file_info*) {
  struct stat attributes {};
  {
    Node& node = *node_of(ino);
    const std::lock_guard lock(node.mutex);
    attributes = node.attributes;
  }
  fuse_reply_attr(request, &attributes, kTimeoutSeconds);
}

void on_setattr(fuse_req_t request, fuse_ino_t ino, struct stat* wanted, int set, fuse_file_info*) {
  struct stat attributes {};
  {
    Node& node = *node_of(ino);
    const std::lock_guard lock(node.mutex);
    struct stat& have = node.attributes;
    if (set & FUSE_SET_ATTR_MODE) have.st_mode = wanted->st_mode;
    if (set & FUSE_SET_ATTR_UID) have.st_uid = wanted->st_uid;
    if (set & FUSE_SET_ATTR_GID) have.st_gid = wanted->st_gid;
    if (set & FUSE_SET_ATTR_ATIME) have.st_atim = wanted->st_atim;
    if (set & FUSE_SET_ATTR_MTIME) have.st_mtim = wanted->st_mtim;
    if (set & FUSE_SET_ATTR_ATIME_NOW) have.st_atim = now();
    if (set & FUSE_SET_ATTR_MTIME_NOW) have.st_mtim = now();
    if (set & FUSE_SET_ATTR_SIZE) {
      node.bytes.resize(static_cast<size_t>(wanted->st_size));
      have.st_size = wanted->st_size;
    }
    attributes = have;
  }
  fuse_reply_attr(request, &attributes, kTimeoutSeconds);
}

/// Makes a node under a name; 0 or an errno.
int make(fuse_ino_t parent, const char* name, mode_t mode, std::string_view bytes,
         fuse_entry_param& entry) {
  Directory& directory = *node_of(parent)->directory;
  auto node = std::make_unique<Node>();
  initialize(*node, mode);
  node->bytes = bytes;
  node->attributes.st_size = static_cast<off_t>(bytes.size());
  const std::lock_guard lock(directory.mutex);
  if (directory.index.count(name) != 0) return EEXIST;
  insert_locked(directory, name, node.get());
  entry = describe(node.release());
  return 0;
}

void answer_entry(fuse_req_t request, int error, const fuse_entry_param& entry) {
  if (error != 0) {
    fuse_reply_err(request, error);
  } else {
    fuse_reply_entry(request, &entry);
  }
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  fuse_entry_param entry{};
  const int error = make(parent, name, mode | S_IFREG, "", entry);
  if (error != 0) {
    fuse_reply_err(request, error);
    return;
  }
  file->keep_cache = 1;
  fuse_reply_create(request, &entry, file);
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  fuse_entry_param entry{};
  const int error = make(parent, name, mode, "", entry);
  answer_entry(request, error, entry);
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  fuse_entry_param entry{};
  const int error = make(parent, name, mode | S_IFDIR, "", entry);
  answer_entry(request, error, entry);
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry{};
  const int error = make(parent, name, S_IFLNK | 0777, target, entry);
  answer_entry(request, error, entry);
}

void on_readlink(fuse_req_t request, fuse_ino_t ino) {
  fuse_reply_readlink(request, node_of(ino)->bytes.c_str());  // never changes after creation
}

void on_link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  Directory& directory = *node_of(parent)->directory;
  Node* node = node_of(ino);
  fuse_entry_param entry{};
  {
    const std::lock_guard lock(directory.mutex);
    if (directory.index.count(name) == 0) {
      {
        const std::lock_guard node_lock(node->mutex);
        ++node->attributes.st_nlink;
      }
      insert_locked(directory, name, node);
      entry = describe(node);
    }
  }
  answer_entry(request, entry.ino == 0 ? EEXIST : 0, entry);
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Directory& directory = *node_of(parent)->directory;
  Node* node = nullptr;
  {
    const std::lock_guard lock(directory.mutex);
    node = remove_locked(directory, name);
  }
  if (node != nullptr) drop(node, 0, 1);
  fuse_reply_err(request, node == nullptr ? ENOENT : 0);
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Directory& directory = *node_of(parent)->directory;
  Node* node = nullptr;
  bool empty = true;
  {
    const std::lock_guard lock(directory.mutex);
    const auto found = directory.index.find(name);
    if (found != directory.index.end()) {
      Directory& child = *directory.entries[found->second].node->directory;
      const std::lock_guard child_lock(child.mutex);
      empty = child.index.empty();
    }
    if (empty) node = remove_locked(directory, name);
  }
  if (node != nullptr) drop(node, 0, 1);
  fuse_reply_err(request, !empty ? ENOTEMPTY : node == nullptr ? ENOENT : 0);
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  Directory* from = node_of(parent)->directory.get();
  Directory* to = node_of(new_parent)->directory.get();
  if ((flags & RENAME_EXCHANGE) != 0) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  Node* replaced = nullptr;
  int error = 0;
  {
    std::unique_lock<std::mutex> first(std::min(from, to)->mutex);
    std::unique_lock<std::mutex> second;
    if (from != to) second = std::unique_lock(std::max(from, to)->mutex);
    if (from->index.count(name) == 0) {
      error = ENOENT;
    } else if ((flags & RENAME_NOREPLACE) != 0 && to->index.count(new_name) != 0) {
      error = EEXIST;
    } else {
      replaced = remove_locked(*to, new_name);
      insert_locked(*to, new_name, remove_locked(*from, name));
    }
  }
  if (replaced != nullptr) drop(replaced, 0, 1);
  fuse_reply_err(request, error);
}

void on_open(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  file->keep_cache = 1;
  fuse_reply_open(request, file);
}

void on_read(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info*) {
  Node& node = *node_of(ino);
  const std::lock_guard lock(node.mutex);
  const size_t from = std::min(static_cast<size_t>(offset), node.bytes.size());
  fuse_reply_buf(request, node.bytes.data() + from, std::min(size, node.bytes.size() - from));
}

void on_write(fuse_req_t request, fuse_ino_t ino, const char* bytes, size_t size, off_t offset,
              fuse_file_info*) {
  Node& node = *node_of(ino);
  {
    const std::lock_guard lock(node.mutex);
    const size_t end = static_cast<size_t>(offset) + size;
    if (node.bytes.size() < end) node.bytes.resize(end);
    std::memcpy(node.bytes.data() + offset, bytes, size);
    node.attributes.st_size = static_cast<off_t>(node.bytes.size());
    node.attributes.st_blocks = (node.attributes.st_size + 511) / 512;
  }
  fuse_reply_write(request, size);
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info*) { fuse_reply_err(request, 0); }

void on_fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) { fuse_reply_err(request, 0); }

void on_statfs(fuse_req_t request, fuse_ino_t) {
  struct statvfs info {};
  info.f_bsize = info.f_frsize = 4096;
  info.f_blocks = info.f_bfree = info.f_bavail = 1 << 24;
  info.f_files = info.f_ffree = info.f_favail = 1 << 24;
  info.f_namemax = 255;
  fuse_reply_statfs(request, &info);
}

enum class Detail { Names, Attributes };

void list(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, Detail detail) {
  Directory& directory = *node_of(ino)->directory;
  std::vector<char> buffer(size);
  size_t used = 0;
  {
    const std::lock_guard lock(directory.mutex);
    for (auto at = static_cast<size_t>(offset); at < directory.entries.size(); ++at) {
      const Entry& entry = directory.entries[at];
      if (entry.name.empty()) continue;
      char* to = buffer.data() + used;
      const auto next = static_cast<off_t>(at + 1);
      size_t need = 0;
      if (detail == Detail::Names) {
        need = fuse_add_direntry(request, to, size - used, entry.name.c_str(),
                                 &entry.node->attributes, next);
      } else {
        const fuse_entry_param described = describe(entry.node);
        need =
            fuse_add_direntry_plus(request, to, size - used, entry.name.c_str(), &described, next);
        if (need > size - used) drop(entry.node, 1, 0);
      }
      if (need > size - used) break;
      used += need;
    }
  }
  fuse_reply_buf(request, buffer.data(), used);
}

void on_readdir(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info*) {
  list(request, ino, size, offset, Detail::Names);
}

void on_readdirplus(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset,
                    fuse_file_info*) {
  list(request, ino, size, offset, Detail::Attributes);
}

fuse_lowlevel_ops operations() {
  fuse_lowlevel_ops
      ops{};  // what is absent (flush, opendir, access, xattrs) is asked for only once
  ops.init = on_init;
  ops.lookup = on_lookup;
  ops.forget = on_forget;
  ops.forget_multi = on_forget_multi;
  ops.getattr = on_getattr;
  ops.setattr = on_setattr;
  ops.readlink = on_readlink;
  ops.mknod = on_mknod;
  ops.mkdir = on_mkdir;
  ops.unlink = on_unlink;
  ops.rmdir = on_rmdir;
  ops.symlink = on_symlink;
  ops.rename = on_rename;
  ops.link = on_link;
  ops.open = on_open;
  ops.read = on_read;
  ops.write = on_write;
  ops.release = on_release;
  ops.fsync = on_fsync;
  ops.fsyncdir = on_fsync;
  ops.statfs = on_statfs;
  ops.create = on_create;
  ops.readdir = on_readdir;
  ops.readdirplus = on_readdirplus;
  return ops;
}

int serve(const char* directory) {
  const char* arguments[] = {"memory_fuse", "-o", "fsname=memory_fuse"};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(arguments));
  const fuse_lowlevel_ops ops = operations();
  fuse_session* session = fuse_session_new(&args, &ops, sizeof ops, nullptr);
  if (session == nullptr) return 1;
  int result = 1;
  if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, directory) == 0) {
    fuse_loop_config* config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_idle_threads(config, 8);
    result = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
  }
  fuse_session_destroy(session);
  fuse_opt_free_args(&args);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: memory_fuse DIR\n");
    return 64;
  }
  initialize(root, S_IFDIR | 0755);
  root.attributes.st_ino = FUSE_ROOT_ID;
  return serve(argv[1]) == 0 ? 0 : 1;
}
