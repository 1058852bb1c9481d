// Short names, as MS-DOS had them: MS-FSA 2.1.5.15.13 "FileShortNameInformation" and 2.1.5.12.4
// "FileAlternateNameInformation". A long name of type Win32 and a short one of type Dos are one
// link; a name that is short itself is of type Win32AndDos; one of type Posix has no short name. At
// most one link of a file has one. None are made here unless somebody asks.

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/index_tree.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileNameView;
using ondisk::NameType;

namespace {

struct Name {
  FileReference parent;
  NameType type = NameType::Posix;
  std::u16string name;
};

/// The link that has a short name, or may have one.
struct ShortLink {
  Name long_name;
  std::u16string short_name;  ///< empty: none
};

/// TooManyLinks: none of several has one. ObjectNameNotFound: there is no name.
Result<ShortLink> find_short_link(Attributes& file) {
  std::vector<Name> names;
  for (const auto& found : TRY(file.all_of(AttributeType::FileName))) {
    const auto name = FileNameView::of_valid(found.view().value());
    names.push_back({name.parent(), name.name_type(), name.name()});
  }
  const Name* dos = nullptr;
  size_t count_links = 0;
  for (const Name& name : names) {
    if (name.type == NameType::Win32AndDos) return ShortLink{name, name.name};
    if (name.type == NameType::Dos) dos = &name;
    if (name.type != NameType::Dos) ++count_links;
  }
  for (const Name& name : names) {
    const bool is_partner =
        dos != nullptr && name.type == NameType::Win32 && name.parent == dos->parent;
    if (is_partner) return ShortLink{name, dos->name};
    if (dos == nullptr && count_links == 1) return ShortLink{name, {}};
  }
  return count_links > 1 ? NtStatus::TooManyLinks : NtStatus::ObjectNameNotFound;
}

std::u16string in_capitals(std::u16string_view name, const UpCase& upcase) {
  std::u16string result(name);
  for (char16_t& unit : result) unit = upcase(unit);
  return result;
}

/// ObjectNameCollision when another name of the directory would be the same in Windows.
Result<> check_free(IndexTree& directory, FileReference file, const ShortLink& link,
                    std::u16string_view wanted) {
  const auto other = TRY(find_entry(directory, wanted, IndexTree::NameMatch::IgnoreCase));
  if (!other) return {};
  const bool is_own = other->reference == file &&
                      (other->name == link.long_name.name || other->name == link.short_name);
  return is_own ? Result<>() : Result<>(NtStatus::ObjectNameCollision);
}

/// Takes the names of the link away and gives the new ones. `wanted`: empty for none.
Result<> write_names(Transaction& transaction, const Volume& volume, Attributes& file,
                     IndexTree& directory, const NamedEntry& old, std::u16string_view wanted) {
  TRY(remove_name(transaction, file, directory, old));
  NamedEntry entry = old;
  entry.duplicated.change_time.set(ondisk::FileTime::now().raw());
  entry.type = NameType::Win32;
  if (wanted.empty()) {
    entry.type = NameType::Posix;
  } else if (equal_ignoring_case(old.name, wanted, volume.upcase())) {
    entry.type = NameType::Win32AndDos;
  }
  TRY(add_name(transaction, file, directory, entry));
  if (entry.type != NameType::Win32) return {};
  entry.type = NameType::Dos;
  entry.name = wanted;
  return add_name(transaction, file, directory, entry);
}

}  // namespace

Result<std::u16string> ObjectStore::query_short_name(File& file) {
  // The root's own name is "." and no short one.
  if (file.reference().record() == ondisk::kRootRecord) return NtStatus::ObjectNameNotFound;
  const SharedLock lock(volume_->journal().metadata_lock());
  Attributes attributes(*volume_, file.reference());
  const auto link = find_short_link(attributes);
  if (!link) {
    return link.error() == NtStatus::TooManyLinks ? NtStatus::ObjectNameNotFound : link.error();
  }
  if (link->short_name.empty()) return NtStatus::ObjectNameNotFound;
  return in_capitals(link->short_name, volume_->upcase());
}

Result<std::u16string> ObjectStore::query_long_name(File& directory, std::u16string_view name) {
  const SharedLock lock(volume_->journal().metadata_lock());
  TRY(directory_record(*volume_, directory.reference()));
  IndexTree tree(*volume_, directory.reference(), u"$I30");
  const auto entry = TRY(find_entry(tree, name, name_match()));
  if (!entry) return NtStatus::ObjectNameNotFound;
  Attributes file(*volume_, entry->reference);
  const NamedEntry found = TRY(long_entry(file, tree, *entry));
  return found.name;
}

Result<> ObjectStore::set_short_name(Open& open, std::u16string_view name) {
  if (!volume_->is_writable()) return NtStatus::MediaWriteProtected;
  if (open.file() == root() || open.named_stream() != nullptr) return NtStatus::InvalidParameter;
  if (!name.empty()) TRY(check_short_name(name));
  constexpr uint32_t kNeeded = AccessMask::WriteData | AccessMask::WriteAttributes;
  if ((open.granted_access() & kNeeded) == 0) return NtStatus::AccessDenied;
  if (open.file()->is_unlinked()) return NtStatus::AccessDenied;
  return set_short_name(*open.file(), name);
}

Result<> ObjectStore::set_short_name(File& file, std::u16string_view name) {
  if (!name.empty()) TRY(check_short_name(name));
  const FileReference reference = file.reference();
  if (reference.record() == ondisk::kRootRecord) return NtStatus::InvalidParameter;
  if (reference.record() < kFirstOrdinaryRecord) return NtStatus::AccessDenied;
  if (file.is_unlinked()) return NtStatus::ObjectNameNotFound;
  TRY(break_oplock(file, OplockOperation::Rename));
  const std::u16string wanted = in_capitals(name, volume_->upcase());
  ShortLink link;
  const auto done = with_reclaim(*volume_, [&]() -> Result<> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    Attributes attributes(*volume_, reference);
    link = TRY(find_short_link(attributes));
    if (link.short_name == wanted) return {};
    if (!wanted.empty() && !check_name(link.long_name.name, NameRules::Windows)) {
      return NtStatus::InvalidParameter;  // Windows could not show the long name
    }
    IndexTree tree(*volume_, link.long_name.parent, u"$I30");
    if (!wanted.empty()) TRY(check_free(tree, reference, link, wanted));
    const auto old = TRY(find_entry(tree, link.long_name.name, IndexTree::NameMatch::Exact));
    if (!old) return corrupt({"$FILE_NAME", reference.raw(), 0}, "entry in the parent's index", 0);
    FileRecords records(transaction, *volume_, file);
    const usn::Link name_in_journal{link.long_name.parent, link.long_name.name};
    TRY(records.add_noted());
    TRY(records.rename_from(name_in_journal));
    TRY(write_names(transaction, *volume_, attributes, tree, *old, wanted));
    TRY(set_change_time(transaction, attributes, ondisk::FileTime::now()));
    TRY(records.rename_to(name_in_journal));
    if (file.holders().load() == 0) TRY(records.close(name_in_journal));
    TRY(records.append());
    TRY(records.store_last());
    transaction.commit();
    return {};
  });
  if (!done || link.short_name == wanted) return done;
  const FilePtr directory = volume_->file(link.long_name.parent);
  note_entry_change(*directory);
  const auto information = query_information(file);
  const bool is_directory = information && information->kind == FileKind::Directory;
  report_names(directory->reference(), {{NotifyAction::Modified, link.long_name.name}},
               is_directory ? NotifyFilter::DirectoryName : NotifyFilter::FileName);
  return {};
}

}  // namespace ntfs
