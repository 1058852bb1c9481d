#include "core/fsa/object_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/fsa/names.h"
#include "core/fsa/usn_life_cycle.h"
#include "core/store/hibernation.h"
#include "core/store/index_tree.h"

namespace ntfs {

namespace {
const FileReference kRoot(ondisk::kRootRecord, 5);
}  // namespace

Result<std::unique_ptr<ObjectStore>> ObjectStore::mount(BlockDevice& device,
                                                        const ObjectStoreOptions& options,
                                                        std::string& why_not) {
  std::unique_ptr<ObjectStore> store(new ObjectStore(options));
  store->volume_ = TRY(Volume::open(device, options.volume, why_not));
  if (store->volume_->is_writable()) TRY(store->free_orphans());
  const uint16_t flags = store->volume_->information().flags.get();
  const bool deletes_usn = (flags & ondisk::VolumeFlags::DeleteUsnUnderway) != 0;
  if (store->volume_->is_writable() && deletes_usn) TRY(finish_usn_deletion(*store));
  if (store->volume_->is_writable()) TRY(store->remove_hibernation_file());
  return store;
}

/// Where somebody gives up the session in it. Any other stays.
Result<> ObjectStore::remove_hibernation_file() {
  if (options_.volume.sleep_guard != VolumeOptions::SleepGuard::RemoveFile) return {};
  if (TRY(find_sleep(*volume_)) == Sleep::None) return {};
  std::u16string name;
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    const auto entry =
        TRY(find_entry(*volume_, kRoot, kHibernationFile, IndexTree::NameMatch::IgnoreCase));
    if (!entry) return {};
    name = entry->name;
  }
  TRY(remove(*root(), name, RemoveKind::File));
  log_line(LogLevel::Note, "hiberfil.sys was removed: the Windows session in it is lost");
  return {};
}

ObjectStore::~ObjectStore() = default;

Result<> ObjectStore::dismount() { return volume_->close(); }

FilePtr ObjectStore::root() { return volume_->file(kRoot); }

Result<> ObjectStore::open(File& file) {
  // Under the lock, so that a removal sees either the holder or no file.
  const SharedLock lock(volume_->journal().metadata_lock());
  TRY(volume_->mft().base_record(file.reference()));
  file.holders().fetch_add(1);
  return {};
}

void ObjectStore::close(const FilePtr& file) {
  if (file->holders().fetch_sub(1) != 1) return;
  if (file->is_unlinked()) {
    free_unlinked(file);
  } else {
    file->post_close();
  }
}

IndexTree::NameMatch ObjectStore::name_match() const {
  return options_.ignore_case ? IndexTree::NameMatch::IgnoreCase : IndexTree::NameMatch::Exact;
}

Result<> ObjectStore::check_parent(const File& directory) const {
  if (!volume_->is_writable()) return NtStatus::MediaWriteProtected;
  // The root is a place for users' files; $Extend and what is in it are the file system's own.
  const FileReference reference = directory.reference();
  const bool is_system =
      reference.record() < kFirstOrdinaryRecord && reference.record() != ondisk::kRootRecord;
  if (is_system || reference.raw() == deleted_directory_.load()) return NtStatus::AccessDenied;
  return directory.is_unlinked() ? NtStatus::ObjectNameNotFound : Result<>();
}

void ObjectStore::note_entry_change(File& directory) {
  FileTimes times;
  times.last_write = times.change = ondisk::FileTime::now();
  directory.note_times(times);
  // Nobody is waited for: a directory's oplock is one for readers.
  (void)break_oplock(directory, OplockOperation::ParentChange).has_value();
}

Result<> ObjectStore::flush() { return volume_->commit(); }

StoreInformation ObjectStore::query_store() {
  StoreInformation information;
  const auto& geometry = volume_->geometry();
  information.cluster_size = geometry.cluster_size;
  information.clusters_total = geometry.total_clusters;
  information.clusters_free = volume_->clusters().free_clusters().raw();
  information.clusters_available = volume_->clusters().available().raw();
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    information.file_records = volume_->mft().total_records();
  }
  const uint64_t room =
      information.clusters_free * geometry.cluster_size / geometry.file_record_size;
  information.file_records += room;
  information.file_records_free = room;
  return information;
}

Result<uint64_t> ObjectStore::trim(const TrimRange& range) {
  if (!volume_->is_writable()) return NtStatus::MediaWriteProtected;
  const uint64_t cluster = volume_->geometry().cluster_size;
  const uint64_t total = volume_->geometry().total_clusters;
  if (range.offset >= total * cluster) return NtStatus::InvalidParameter;
  const uint64_t length = std::min(range.length, total * cluster - range.offset);
  const uint64_t first = divide_up(range.offset, cluster);
  const uint64_t end = (range.offset + length) / cluster;
  if (first >= end) return uint64_t{0};
  if (volume_->clusters().has_freed()) TRY(volume_->checkpoint());
  const auto trimmed = TRY(volume_->clusters().trim({Lcn(first), ClusterCount(end - first)},
                                                    ClusterCount(divide_up(range.least, cluster))));
  return trimmed.raw() * cluster;
}

}  // namespace ntfs
