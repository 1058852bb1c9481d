// MS-FSA 2.1.5.15.9 "FileLinkInformation".

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"

namespace ntfs {

namespace {

/// What Windows allows.
constexpr uint32_t kMostNames = 1024;

/// What the file's other names repeat of it.
Result<ondisk::DuplicatedInformation> duplicated_of(Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  const auto found = TRY(attributes.find(ondisk::AttributeType::FileName));
  const auto name = ondisk::FileNameView::of_valid(found.view().value());
  ondisk::DuplicatedInformation info = name.duplicated();
  // The index holds what was last logged; the attribute, what was true when it was made.
  const auto entry =
      TRY(find_entry(volume, name.parent(), name.name(), IndexTree::NameMatch::Exact));
  if (entry) info = entry->duplicated;
  return info;
}

}  // namespace

Result<> ObjectStore::link(File& file, File& directory, std::u16string_view name) {
  TRY(check_name(name, options_.windows_names ? NameRules::Windows : NameRules::Posix));
  TRY(check_ordinary(file));
  TRY(break_oplock(file, OplockOperation::Rename));
  const auto linked = with_reclaim(*volume_, [&]() -> Result<> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    TRY(check_parent(directory));
    if (file.is_unlinked()) return NtStatus::ObjectNameNotFound;
    const PageRef page = TRY(volume_->mft().base_record(file.reference()));
    if (ondisk::FileRecordView::of_valid(page->bytes()).is_directory()) {
      return NtStatus::FileIsADirectory;
    }
    Attributes attributes(*volume_, file.reference());
    if (TRY(summarize(attributes)).names >= kMostNames) return NtStatus::TooManyLinks;
    TRY(directory_record(*volume_, directory.reference()));
    IndexTree tree(*volume_, directory.reference(), u"$I30");
    NamedEntry entry;
    entry.name = name;
    entry.duplicated = TRY(duplicated_of(*volume_, file.reference()));
    const ondisk::FileTime now = ondisk::FileTime::now();
    entry.duplicated.change_time.set(now.raw());
    FileRecords records(transaction, *volume_, file);
    TRY(records.add_noted());
    TRY(add_name(transaction, attributes, tree, entry));
    TRY(set_change_time(transaction, attributes, now));
    const usn::Link made{directory.reference(), entry.name};
    TRY(records.change_link(made));
    if (file.holders().load() == 0) TRY(records.close(made));
    TRY(records.append());
    TRY(records.store_last());
    transaction.commit();
    return {};
  });
  if (!linked) return linked;
  note_entry_change(directory);
  report_names(directory.reference(), {{NotifyAction::Added, std::u16string(name)}},
               NotifyFilter::FileName);
  return {};
}

}  // namespace ntfs
