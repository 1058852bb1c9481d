// MS-FSA 2.1.5.15.3 "FileDispositionInformation" with POSIX semantics: the name goes at once, the
// file with its last holder.

#include <fmt/format.h>

#include "core/base/trace.h"
#include "core/fsa/link_target.h"
#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/index_tree.h"

namespace ntfs {

using ondisk::FileAttributes;

namespace {

constexpr std::u16string_view kDeletedName = u"$Deleted";
/// More runs than this are freed in several transactions.
constexpr uint64_t kMostRunsAtOnce = 256;
/// And more attribute records than this: each may have a file record of its own.
constexpr uint64_t kMostAttributesAtOnce = 100;

std::u16string name_for(FileReference file) {
  std::u16string name;
  for (int shift = 60; shift >= 0; shift -= 4) {
    name += u"0123456789ABCDEF"[(file.raw() >> shift) & 15];
  }
  return name;
}

File::Remains remains_of(const FileSummary& summary, const NamedEntry& entry) {
  File::Remains remains;
  remains.is_directory = summary.is_directory;
  const auto& duplicated = entry.duplicated;
  if ((duplicated.file_attributes.get() & FileAttributes::ReparsePoint) != 0) {
    remains.reparse_tag = duplicated.ea_length_or_reparse_tag.get();
  }
  return remains;
}

}  // namespace

/// Where files without a name wait for their last holder; made when the volume has none.
Result<FileReference> ObjectStore::deleted_directory() {
  const uint64_t known = deleted_directory_.load(std::memory_order_acquire);
  if (known != 0) return FileReference::from_raw(known);
  const FileReference reference = TRY(find_or_make_deleted_directory());
  deleted_directory_.store(reference.raw(), std::memory_order_release);
  return reference;
}

Result<FileReference> ObjectStore::find_or_make_deleted_directory() {
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    auto found = find_in_extend(*volume_, kDeletedName);
    if (found || found.error() != NtStatus::ObjectNameNotFound) return found;
  }
  CreateParameters parameters;
  parameters.kind = FileKind::Directory;
  const FilePtr extend = volume_->file(FileReference(ondisk::kExtendRecord, 11));
  const auto made = create_in_directory(*extend, kDeletedName, parameters);
  if (made) {
    (*made)->note_attributes(FileAttributes::Hidden | FileAttributes::System);
    return (*made)->reference();
  }
  if (made.error() != NtStatus::ObjectNameCollision) return made.error();
  const SharedLock lock(volume_->journal().metadata_lock());
  return find_in_extend(*volume_, kDeletedName);
}

/// Removes the name; frees the file, or lets it wait, when that was the last. Part of a
/// transaction.
Result<> ObjectStore::remove_entry(Transaction& transaction, IndexTree& directory, Attributes& file,
                                   const NamedEntry& entry, FileReference deleted,
                                   RemovedFile& removed) {
  removed.file = volume_->file(entry.reference);
  const usn::Link link{directory.owner(), entry.name};
  const bool is_held = removed.file->holders().load() != 0;
  FileRecords records(transaction, *volume_, *removed.file);
  TRY(records.add_noted());
  const FileSummary summary = TRY(summarize(file));
  // Data that is on its way to the device must not arrive after its clusters have new owners.
  const bool is_busy = removed.file->has_dirty_data();
  // A run may share its clusters with many others, and is given up in as many parts.
  const bool may_share =
      volume_->refcounts() != nullptr && !summary.is_directory && summary.runs != 0;
  const bool is_small =
      summary.runs <= kMostRunsAtOnce && summary.attributes <= kMostAttributesAtOnce;
  const bool is_last = summary.names == 1 && entry.type != ondisk::NameType::Dos;
  removed.is_freed = is_last && !is_held && is_small && !may_share && !is_busy;
  TRY(remove_name(transaction, file, directory, entry,
                  removed.is_freed ? NameInRecord::Left : NameInRecord::Removed));
  if (!removed.is_freed && TRY(summarize(file)).names != 0) {
    TRY(records.change_link(link));
    if (!is_held) TRY(records.close(link));
    TRY(records.append());
    return records.store_last();
  }
  TRY(records.remove(link, is_held ? FileRecords::Closes::No : FileRecords::Closes::Yes));
  TRY(records.append());
  removed.was_last_name = true;
  removed.remains = remains_of(summary, entry);
  if (removed.is_freed) return free_file(transaction, *volume_, file);
  TRY(records.store_last());
  NamedEntry waiting = entry;
  waiting.type = ondisk::NameType::Posix;
  waiting.name = name_for(entry.reference);
  IndexTree tree(*volume_, deleted, u"$I30");
  return add_name(transaction, file, tree, waiting);
}

/// Just before the commit of remove_entry: whoever looks under the lock from then on must know.
void ObjectStore::mark_removal(const RemovedFile& removed) {
  if (removed.was_last_name) removed.file->mark_unlinked();
}

/// After the commit of remove_entry. No lock is held.
void ObjectStore::finish_removal(const RemovedFile& removed) {
  if (removed.file == nullptr) return;
  if (!removed.was_last_name) {
    FileTimes times;
    times.change = ondisk::FileTime::now();
    removed.file->note_times(times);
    return;
  }
  if (removed.remains.is_directory) end_watches(*removed.file);
  if (removed.is_freed) {
    removed.file->mark_freed(removed.remains);
  } else if (removed.file->holders().load() == 0) {
    free_unlinked(removed.file);
  }
}

/// Frees a file that waits in $Extend\$Deleted. What fails is done at the next mount.
void ObjectStore::free_unlinked(const FilePtr& file) {
  if (file->mark_freeing()) return;  // somebody else does
  const auto freed = free_unlinked_now(*file, name_for(file->reference()));
  if (freed || freed.error() == NtStatus::ObjectNameNotFound) return;
  log_line(LogLevel::Error,
           fmt::format("freeing the removed file {}-{} failed: {}", file->reference().record(),
                       file->reference().sequence(), name_of(freed.error())));
}

/// What may be too much for one transaction: the clusters of all streams, and streams that are
/// many.
Result<> ObjectStore::discard_data(File& file) {
  TRY(file.data().discard());
  const std::vector<StreamInformation> streams = TRY(query_streams(file));
  const bool are_many = streams.size() > kMostAttributesAtOnce / 2;
  // From the last on: the others stay where they are in the attribute list.
  for (size_t i = streams.size(); i-- > 0;) {
    if (streams[i].name.empty()) continue;
    const StreamPtr stream = file.named_stream(streams[i].name);
    TRY(are_many ? stream->remove() : stream->discard());
  }
  return {};
}

/// `name`: under which it waits.
Result<> ObjectStore::free_unlinked_now(File& file, std::u16string_view name) {
  TRY(discard_data(file));
  const FileReference deleted = TRY(deleted_directory());
  Transaction transaction(volume_->journal());
  TRY(transaction.begin());
  IndexTree directory(*volume_, deleted, u"$I30");
  const auto entry = TRY(find_entry(directory, name, IndexTree::NameMatch::Exact));
  if (!entry) return NtStatus::ObjectNameNotFound;
  Attributes attributes(*volume_, file.reference());
  const File::Remains remains = remains_of(TRY(summarize(attributes)), *entry);
  FileRecords records(transaction, *volume_, file);
  TRY(records.add_noted());
  TRY(records.close_removed());
  TRY(remove_name(transaction, attributes, directory, *entry, NameInRecord::Left));
  TRY(free_file(transaction, *volume_, attributes));
  transaction.commit();
  file.mark_freed(remains);
  return {};
}

/// Whether a file that has an entry in $Extend\$Deleted has no name elsewhere. What others, or
/// damage, made of that directory must not cost anybody a file.
Result<bool> ObjectStore::is_orphan(FileReference file, FileReference deleted) {
  if (file.record() < kFirstOrdinaryRecord) return false;
  const std::vector<NameInDirectory> names = TRY(names_of(file));
  return !names.empty() && std::ranges::all_of(names, [&](const NameInDirectory& each) {
    return each.directory == deleted;
  });
}

/// At mount: what a crash left waiting.
Result<> ObjectStore::free_orphans() {
  struct Waiting {
    FileReference file;
    std::u16string name;
  };
  std::vector<Waiting> all;
  FileReference deleted;
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    const auto found = find_in_extend(*volume_, kDeletedName);
    if (!found) return {};
    deleted = *found;
    IndexTree tree(*volume_, deleted, u"$I30");
    TRY(tree.for_each([&](const ondisk::IndexEntryView& entry) -> Result<> {
      const auto name = ondisk::FileNameView::of_valid(entry.key());
      all.push_back({entry.reference(), std::u16string(name.name())});
      return {};
    }));
  }
  for (const Waiting& waiting : all) {
    const auto orphan = is_orphan(waiting.file, deleted);
    const FilePtr file = volume_->file(waiting.file);
    Result<> freed = orphan.error();
    if (orphan && *orphan) {
      file->mark_unlinked();
      file->mark_freeing();
      freed = free_unlinked_now(*file, waiting.name);
    } else if (orphan) {
      freed = NtStatus::FileCorruptError;
    }
    if (freed) continue;
    log_line(LogLevel::Warning,
             fmt::format("the file {}-{} in $Extend\\$Deleted is left as it is: {}",
                         waiting.file.record(), waiting.file.sequence(),
                         orphan && !*orphan ? "it has other names" : name_of(freed.error())));
  }
  return {};
}

namespace {

Result<> check_removable(Volume& volume, Attributes& file, ObjectStore::RemoveKind kind) {
  if (file.file().record() < kFirstOrdinaryRecord) return NtStatus::AccessDenied;
  const bool is_a_directory = TRY(is_directory(volume, file.file()));
  const bool wants_directory = kind == ObjectStore::RemoveKind::Directory;
  if (is_a_directory && !wants_directory) return NtStatus::FileIsADirectory;
  if (!is_a_directory && wants_directory) return NtStatus::NotADirectory;
  if (!is_a_directory) return {};
  IndexTree tree(volume, file.file(), u"$I30");
  if (!TRY(tree.is_empty())) return NtStatus::DirectoryNotEmpty;
  return {};
}

}  // namespace

Result<> ObjectStore::check_target(Attributes& file, RemoveKind kind) {
  return check_removable(*volume_, file, kind);
}

Result<FileReference> ObjectStore::remove(File& directory, std::u16string_view name,
                                          RemoveKind kind) {
  TRY(break_oplock(directory, name, OplockOperation::Delete));
  const FileReference deleted = TRY(deleted_directory());
  RemovedFile removed;
  const auto reference = with_reclaim(*volume_, [&]() -> Result<FileReference> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    TRY(check_parent(directory));
    TRY(directory_record(*volume_, directory.reference()));
    IndexTree tree(*volume_, directory.reference(), u"$I30");
    auto entry = TRY(find_entry(tree, name, name_match()));
    if (!entry) return NtStatus::ObjectNameNotFound;
    Attributes file(*volume_, entry->reference);
    TRY(check_removable(*volume_, file, kind));
    entry = TRY(long_entry(file, tree, *entry));
    removed = {};
    TRY(remove_entry(transaction, tree, file, *entry, deleted, removed));
    mark_removal(removed);
    transaction.commit();
    return entry->reference;
  });
  if (!reference) return reference.error();
  finish_removal(removed);
  note_entry_change(directory);
  const bool is_directory = kind == RemoveKind::Directory;
  report_names(directory.reference(), {{NotifyAction::Removed, std::u16string(name)}},
               is_directory ? NotifyFilter::DirectoryName : NotifyFilter::FileName);
  return *reference;
}

}  // namespace ntfs
