// MS-FSA 2.1.5.15.11 "FileRenameInformation", with the modes of Linux' renameat2.

#include "core/fsa/link_target.h"
#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/index_tree.h"

namespace ntfs {

namespace {

/// InvalidParameter when `directory` lies in `moved` or is it.
Result<> check_no_loop(Volume& volume, FileReference moved, FileReference directory) {
  // From a directory to the root; a way that passes more of them than there are is a loop.
  const uint64_t most = volume.mft().total_records();
  for (uint64_t depth = 0; depth < most; ++depth) {
    if (directory == moved) return NtStatus::InvalidParameter;
    if (directory.record() == ondisk::kRootRecord) return {};
    directory = TRY(parent_of(volume, directory));
  }
  return corrupt({"directory", directory.raw(), 0}, "depth", most, "a way to the root");
}

/// A short name stands for its long one.
Result<NamedEntry> long_name_of(Volume& volume, IndexTree& directory, const NamedEntry& entry) {
  Attributes file(volume, entry.reference);
  return long_entry(file, directory, entry);
}

/// The entry under a new name. A name given through Linux is in the POSIX namespace.
NamedEntry renamed(const NamedEntry& entry, std::u16string_view name, ondisk::FileTime now) {
  NamedEntry result = entry;
  result.duplicated.change_time.set(now.raw());
  result.type = ondisk::NameType::Posix;
  result.name = name;
  return result;
}

/// The change journal's pair of records: the first while the file has its old name.
Result<> begin_rename(FileRecords& records, const usn::Link& from) {
  TRY(records.add_noted());
  return records.rename_from(from);
}

Result<> finish_rename(FileRecords& records, File& file, const usn::Link& to) {
  TRY(records.rename_to(to));
  if (file.holders().load() == 0) TRY(records.close(to));
  TRY(records.append());
  return records.store_last();
}

}  // namespace

Result<FileReference> ObjectStore::query_parent(File& directory) {
  if (directory.reference().record() == ondisk::kRootRecord) return directory.reference();
  const SharedLock lock(volume_->journal().metadata_lock());
  return parent_of(*volume_, directory.reference());
}

Result<> ObjectStore::exchange_names(Transaction& transaction, const Place& from,
                                     const NamedEntry& source, const Place& to,
                                     const NamedEntry& target) {
  if (TRY(is_directory(*volume_, target.reference))) {
    TRY(check_no_loop(*volume_, target.reference, from.directory.owner()));
  }
  Attributes source_file(*volume_, source.reference);
  Attributes target_file(*volume_, target.reference);
  const std::array files = {volume_->file(source.reference), volume_->file(target.reference)};
  const usn::Link from_link{from.directory.owner(), std::u16string(source.name)};
  const usn::Link to_link{to.directory.owner(), std::u16string(target.name)};
  FileRecords source_records(transaction, *volume_, *files[0]);
  FileRecords target_records(transaction, *volume_, *files[1]);
  TRY(begin_rename(source_records, from_link));
  TRY(begin_rename(target_records, to_link));
  TRY(remove_name(transaction, source_file, from.directory, source));
  TRY(remove_name(transaction, target_file, to.directory, target));
  const ondisk::FileTime now = ondisk::FileTime::now();
  TRY(add_name(transaction, source_file, to.directory, renamed(source, to.name, now)));
  TRY(add_name(transaction, target_file, from.directory, renamed(target, from.name, now)));
  TRY(set_change_time(transaction, source_file, now));
  TRY(set_change_time(transaction, target_file, now));
  TRY(finish_rename(source_records, *files[0], {to_link.parent, std::u16string(to.name)}));
  return finish_rename(target_records, *files[1], {from_link.parent, std::u16string(from.name)});
}

Result<> ObjectStore::replace_name(Transaction& transaction, const Place& from,
                                   const NamedEntry& source, const Place& to,
                                   const std::optional<NamedEntry>& target, FileReference deleted,
                                   RemovedFile& removed) {
  if (target && target->reference != source.reference) {
    const bool directory = TRY(is_directory(*volume_, source.reference));
    Attributes target_file(*volume_, target->reference);
    TRY(check_target(target_file, directory ? RemoveKind::Directory : RemoveKind::File));
    TRY(remove_entry(transaction, to.directory, target_file, *target, deleted, removed));
  }
  Attributes file(*volume_, source.reference);
  const FilePtr renamed_file = volume_->file(source.reference);
  FileRecords records(transaction, *volume_, *renamed_file);
  TRY(begin_rename(records, {from.directory.owner(), source.name}));
  const ondisk::FileTime now = ondisk::FileTime::now();
  TRY(ntfs::replace_name(transaction, file, from.directory, source, to.directory,
                         renamed(source, to.name, now)));
  TRY(set_change_time(transaction, file, now));
  return finish_rename(records, *renamed_file, {to.directory.owner(), std::u16string(to.name)});
}

/// False when nothing is to be done: both are names of one file.
Result<bool> ObjectStore::rename_now(Transaction& transaction, const Place& from, const Place& to,
                                     RenameMode mode, FileReference deleted, RemovedFile& removed) {
  const FileReference from_directory = from.directory.owner();
  const FileReference to_directory = to.directory.owner();
  TRY(directory_record(*volume_, from_directory));
  TRY(directory_record(*volume_, to_directory));
  auto source = TRY(find_entry(from.directory, from.name, name_match()));
  if (!source) return NtStatus::ObjectNameNotFound;
  source = TRY(long_name_of(*volume_, from.directory, *source));
  if (source->reference.record() < kFirstOrdinaryRecord) return NtStatus::AccessDenied;
  auto target = TRY(find_entry(to.directory, to.name, name_match()));
  if (target) target = TRY(long_name_of(*volume_, to.directory, *target));
  if (target && mode == RenameMode::NoReplace) return NtStatus::ObjectNameCollision;
  if (!target && mode == RenameMode::Exchange) return NtStatus::ObjectNameNotFound;
  if (target && target->reference.record() < kFirstOrdinaryRecord) return NtStatus::AccessDenied;
  if (target && target->reference == source->reference) {
    // Two names of one file: POSIX says nothing happens. The same name in other letters does.
    const bool same_entry = from_directory == to_directory && target->name == source->name;
    if (!same_entry || source->name == to.name || from.name == to.name) return false;
  }
  if (TRY(is_directory(*volume_, source->reference))) {
    TRY(check_no_loop(*volume_, source->reference, to_directory));
  }
  if (mode == RenameMode::Exchange) {
    TRY(exchange_names(transaction, from, *source, to, *target));
    return true;
  }
  TRY(replace_name(transaction, from, *source, to, target, deleted, removed));
  remember(*volume_->file(source->reference));
  return true;
}

Result<> ObjectStore::rename(File& from_directory, std::u16string_view from, File& to_directory,
                             std::u16string_view to, RenameMode mode,
                             const CreateParameters* successor) {
  TRY(check_name(to, options_.windows_names ? NameRules::Windows : NameRules::Posix));
  TRY(break_oplock(from_directory, from, OplockOperation::Rename));
  if (mode != RenameMode::NoReplace) {
    TRY(break_oplock(
        to_directory, to,
        mode == RenameMode::Exchange ? OplockOperation::Rename : OplockOperation::Delete));
  }
  const FileReference deleted = TRY(deleted_directory());
  RemovedFile removed;
  const auto done = with_reclaim(*volume_, [&]() -> Result<bool> {
    TRY(check_parent(from_directory));
    TRY(check_parent(to_directory));
    removed = {};
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    // One object for one index: it remembers what it has found.
    IndexTree from_tree(*volume_, from_directory.reference(), u"$I30");
    std::optional<IndexTree> other_tree;
    if (&from_directory != &to_directory) {
      other_tree.emplace(*volume_, to_directory.reference(), u"$I30");
    }
    IndexTree& to_tree = other_tree ? *other_tree : from_tree;
    const bool is_renamed =
        TRY(rename_now(transaction, {from_tree, from}, {to_tree, to}, mode, deleted, removed));
    if (is_renamed && successor != nullptr) {
      TRY(create_now(transaction, from_directory.reference(), from, *successor));
    }
    mark_removal(removed);
    transaction.commit();
    return is_renamed;
  });
  if (!done) return done.error();
  finish_removal(removed);
  note_entry_change(from_directory);
  if (&from_directory != &to_directory) note_entry_change(to_directory);
  report_rename(from_directory, from, to_directory, to, {mode, removed.file != nullptr});
  if (*done && successor != nullptr) {
    report_names(from_directory.reference(), {{NotifyAction::Added, std::u16string(from)}},
                 successor->kind == FileKind::Directory ? NotifyFilter::DirectoryName
                                                        : NotifyFilter::FileName);
  }
  return {};
}

}  // namespace ntfs
