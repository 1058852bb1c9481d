// MS-FSA 2.1.5.6.3 "Directory Queries": names, in the order of the index.

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/ondisk/file_record.h"
#include "core/store/index_tree.h"

namespace ntfs {

namespace {
/// Records of the files that a volume consists of; users do not see them.
constexpr uint64_t kFirstVisibleRecord = 16;
}  // namespace

Result<FilePtr> ObjectStore::lookup(File& directory, std::u16string_view name) {
  const SharedLock lock(volume_->journal().metadata_lock());
  const auto entry = TRY(find_entry(*volume_, directory.reference(), name, name_match()));
  if (!entry) return NtStatus::ObjectNameNotFound;
  FilePtr file = volume_->file(entry->reference);
  remember(*file);
  return file;
}

Result<FilePtr> ObjectStore::find_by_record(uint64_t record) {
  const SharedLock lock(volume_->journal().metadata_lock());
  const auto page = volume_->mft().record(record);
  if (!page) {
    return page.error() == NtStatus::EndOfFile ? NtStatus::ObjectNameNotFound : page.error();
  }
  const auto view = ondisk::FileRecordView::of_valid((*page)->bytes());
  if (!view.in_use() || !view.is_base()) return NtStatus::ObjectNameNotFound;
  FilePtr file = volume_->file(FileReference(record, view.sequence()));
  if (file->is_unlinked()) return NtStatus::ObjectNameNotFound;
  return file;
}

Result<std::vector<DirectoryEntry>> ObjectStore::query_directory(File& directory) {
  std::vector<DirectoryEntry> entries;
  const SharedLock lock(volume_->journal().metadata_lock());
  TRY(directory_record(*volume_, directory.reference()));
  IndexTree tree(*volume_, directory.reference(), u"$I30");
  TRY(tree.for_each([&](const ondisk::IndexEntryView& entry) -> Result<> {
    const auto name = ondisk::FileNameView::of_valid(entry.key());
    const bool is_system = entry.reference().record() < kFirstVisibleRecord;
    if (name.name_type() == ondisk::NameType::Dos) return {};
    if (is_system && !options_.show_system_files) return {};
    if (entry.reference() == directory.reference()) return {};  // the root lists itself as "."
    entries.push_back({name.name(), entry.reference(), name.duplicated().file_attributes.get(),
                       name.duplicated().ea_length_or_reparse_tag.get()});
    return {};
  }));
  return entries;
}

}  // namespace ntfs
