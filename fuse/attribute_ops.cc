#include "fuse/attribute_ops.h"

#include <sys/statvfs.h>

#include "fuse/filesystem.h"
#include "fuse/privileges.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

/// What the request is for: the open file where there is one, because its record may have no name
/// any more.
Result<Node> node_for(Filesystem& filesystem, fuse_ino_t id, const fuse_file_info* info) {
  if (info == nullptr || info->fh == 0) return filesystem.node(id);
  const Open& open = open_of(info);
  return Node{open.file(), open.named_stream()};
}

Result<struct stat> get(Filesystem& filesystem, fuse_ino_t id) {
  const Node node = TRY(filesystem.node(id));
  return filesystem.attributes(node, id);
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  // The file handle may be one of a directory: the node is enough, open files keep their record.
  Reply reply(request);
  const auto attributes = get(filesystem_of(request), node);
  if (!attributes) return reply.status(attributes.error());
  reply.attributes(*attributes, Filesystem::attributes_timeout(node));
}

std::optional<ondisk::FileTime> time_of(const timespec& given, bool is_given, bool is_now) {
  if (is_now) return ondisk::FileTime::now();
  if (is_given) return ondisk::FileTime::from_timespec(given);
  return std::nullopt;
}

/// This and no more is what the kernel's write-back cache tells, of data that it has written, and
/// of other changes.
constexpr int kOfCache = FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_CTIME;

BasicInformation information_of(const struct stat& wanted, int which, mode_t type) {
  BasicInformation information;
  const auto has = [which](int bit) { return (which & bit) != 0; };
  if (has(FUSE_SET_ATTR_MODE)) {
    information.linux_metadata.mode = type | (wanted.st_mode & ~mode_t{S_IFMT});
  }
  if (has(FUSE_SET_ATTR_UID)) information.linux_metadata.uid = wanted.st_uid;
  if (has(FUSE_SET_ATTR_GID)) information.linux_metadata.gid = wanted.st_gid;
  information.times.last_access =
      time_of(wanted.st_atim, has(FUSE_SET_ATTR_ATIME), has(FUSE_SET_ATTR_ATIME_NOW));
  information.times.last_write =
      time_of(wanted.st_mtim, has(FUSE_SET_ATTR_MTIME), has(FUSE_SET_ATTR_MTIME_NOW));
  information.times.change = time_of(wanted.st_ctim, has(FUSE_SET_ATTR_CTIME), false);
  if (which == kOfCache && information.times.last_write == information.times.change) {
    information.times_of = BasicInformation::TimesOf::WrittenData;
  }
  return information;
}

/// By the open where there is one. The store refuses sizes that are too large and nothing else.
Result<> set_size(ObjectStore& store, const Node& node, off_t size, const fuse_file_info* info) {
  if (info == nullptr || info->fh == 0) {
    Stream& stream = node.stream != nullptr ? *node.stream : node.file->data();
    return store.set_end_of_file(stream, static_cast<uint64_t>(size));
  }
  const auto set = store.set_end_of_file(open_of(info), size);
  if (!set && set.error() == NtStatus::InvalidParameter) return NtStatus::FileTooLarge;
  return set;
}

/// The times, the owner and the mode: that of a file with a new owner loses its privileges.
Result<> set_information(Filesystem& filesystem, File& file, struct stat wanted, int which) {
  mode_t type = 0;
  if ((which & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    const struct stat now = TRY(filesystem.attributes(file));
    type = now.st_mode & S_IFMT;
    const bool is_for_owner = (which & FUSE_SET_ATTR_MODE) == 0;
    if (is_for_owner && mode_without_privileges(now.st_mode) != now.st_mode) {
      which |= FUSE_SET_ATTR_MODE;
      wanted.st_mode = mode_without_privileges(now.st_mode);
    }
  }
  BasicInformation information = information_of(wanted, which, type);
  std::optional<ondisk::FileTime>& last_write = information.times.last_write;
  if (which == kOfCache &&
      filesystem.inodes().is_replaced_last_write(node_of(file.reference()), *last_write)) {
    last_write.reset();
  }
  return filesystem.set_information(file, information);
}

Result<struct stat> set(fuse_req_t request, fuse_ino_t id, const struct stat& wanted, int which,
                        const fuse_file_info* info) {
  Filesystem& filesystem = filesystem_of(request);
  const Node node = TRY(node_for(filesystem, id, info));
  if ((which & FUSE_SET_ATTR_SIZE) != 0) {
    TRY(drop_privileges(filesystem, *node.file, request));
    TRY(set_size(filesystem.store(), node, wanted.st_size, info));
  }
  // Said where drop_privileges knows it, too.
  constexpr int kKill = FUSE_SET_ATTR_KILL_SUID | FUSE_SET_ATTR_KILL_SGID;
  const int others = which & ~(FUSE_SET_ATTR_SIZE | kKill);
  if (others != 0) TRY(set_information(filesystem, *node.file, wanted, others));
  if (others != 0 && node.stream != nullptr) {
    filesystem.kernel_cache().drop_attributes(node_of(node.file->reference()));
  }
  return filesystem.attributes(node, id);
}

void on_setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
                fuse_file_info* info) {
  Reply reply(request);
  const auto attributes = set(request, node, *wanted, which, info);
  if (!attributes) return reply.status(attributes.error());
  reply.attributes(*attributes, Filesystem::attributes_timeout(node));
}

void on_statfs(fuse_req_t request, fuse_ino_t) {
  Reply reply(request);
  const StoreInformation store = filesystem_of(request).store().query_store();
  struct statvfs statistics {};
  statistics.f_bsize = store.cluster_size;
  statistics.f_frsize = store.cluster_size;
  statistics.f_blocks = store.clusters_total;
  statistics.f_bfree = store.clusters_free;
  statistics.f_bavail = store.clusters_available;
  statistics.f_files = store.file_records;
  statistics.f_ffree = store.file_records_free;
  statistics.f_favail = store.file_records_free;
  statistics.f_namemax = ondisk::kMaxNameUnits;
  reply.statistics(statistics);
}

}  // namespace

void add_attribute_operations(fuse_lowlevel_ops& operations) {
  operations.getattr = on_getattr;
  operations.setattr = on_setattr;
  operations.statfs = on_statfs;
}

}  // namespace ntfs::frontend
