#include "core/fsa/names.h"

#include <algorithm>
#include <array>

#include "core/fsa/small_values.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/attributes.h"
#include "core/store/index_tree.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileNameView;
using ondisk::NameType;

namespace {

constexpr std::u16string_view kForbidden = u"\"*/:<>?\\|";
constexpr std::array<std::u16string_view, 6> kDeviceNames{u"CON", u"PRN",    u"AUX",
                                                          u"NUL", u"CONIN$", u"CONOUT$"};

char16_t ascii_upper(char16_t unit) {
  return unit >= u'a' && unit <= u'z' ? static_cast<char16_t>(unit - u'a' + u'A') : unit;
}

/// CON, NUL, COM1, ... also with an extension.
bool is_device_name(std::u16string_view name) {
  std::u16string stem(name.substr(0, name.find(u'.')));
  while (!stem.empty() && stem.back() == u' ') stem.pop_back();
  std::transform(stem.begin(), stem.end(), stem.begin(), ascii_upper);
  if (std::find(kDeviceNames.begin(), kDeviceNames.end(), stem) != kDeviceNames.end()) return true;
  const bool port = stem.starts_with(u"COM") || stem.starts_with(u"LPT");
  return port && stem.size() == 4 && stem[3] >= u'1' && stem[3] <= u'9';
}

Result<> check_windows_name(std::u16string_view name) {
  for (const char16_t unit : name) {
    if (unit < 0x20 || kForbidden.find(unit) != std::u16string_view::npos) {
      return NtStatus::ObjectNameInvalid;
    }
  }
  if (name.back() == u' ' || name.back() == u'.' || is_device_name(name)) {
    return NtStatus::ObjectNameInvalid;
  }
  return {};
}

}  // namespace

Result<> check_name(std::u16string_view name, NameRules rules) {
  if (name.empty() || name == u"." || name == u"..") return NtStatus::ObjectNameInvalid;
  if (name.size() > ondisk::kMaxNameUnits) return NtStatus::NameTooLong;
  for (const char16_t unit : name) {
    if (unit == u'/' || unit == u'\0') return NtStatus::ObjectNameInvalid;
  }
  return rules == NameRules::Windows ? check_windows_name(name) : Result<>();
}

Result<> check_short_name(std::u16string_view name) {
  constexpr std::u16string_view kNotShort = u"+,;=[] ";
  constexpr size_t kMostStem = 8;
  constexpr size_t kMostExtension = 3;
  const size_t dot = std::min(name.find(u'.'), name.size());
  const std::u16string_view stem = name.substr(0, dot);
  const std::u16string_view extension = name.substr(std::min(dot + 1, name.size()));
  const bool has_form = !stem.empty() && stem.size() <= kMostStem &&
                        extension.size() <= kMostExtension &&
                        (dot == name.size() || !extension.empty()) &&
                        extension.find(u'.') == std::u16string_view::npos;
  const bool is_short = has_form && name.find_first_of(kNotShort) == std::u16string_view::npos &&
                        check_name(name, NameRules::Windows);
  return is_short ? Result<>() : Result<>(NtStatus::InvalidParameter);
}

Result<PageRef> directory_record(Volume& volume, FileReference directory) {
  PageRef page = TRY(volume.mft().base_record(directory));
  if (!ondisk::FileRecordView::of_valid(page->bytes()).is_directory()) {
    return NtStatus::NotADirectory;
  }
  return page;
}

Result<std::optional<NamedEntry>> find_entry(IndexTree& directory, std::u16string_view name,
                                             IndexTree::NameMatch match) {
  const auto entry = TRY(directory.find_name(name, match));
  if (!entry) return std::optional<NamedEntry>();
  const auto view = ondisk::IndexEntryView::of_valid(*entry, 0);
  const auto key = FileNameView::of_valid(view.key());
  return std::optional<NamedEntry>(
      NamedEntry{view.reference(), key.name_type(), key.name(), key.duplicated()});
}

Result<std::optional<NamedEntry>> find_entry(Volume& volume, FileReference directory,
                                             std::u16string_view name, IndexTree::NameMatch match) {
  TRY(directory_record(volume, directory));
  IndexTree tree(volume, directory, u"$I30");
  return find_entry(tree, name, match);
}

Result<FileReference> parent_of(Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  const auto found = TRY(attributes.find(AttributeType::FileName));
  return FileNameView::of_valid(found.view().value()).parent();
}

Result<> add_name(Transaction& transaction, Attributes& file, IndexTree& directory,
                  const NamedEntry& entry) {
  const ByteVector value =
      ondisk::build_file_name(directory.owner(), entry.duplicated, entry.type, entry.name);
  TRY(directory.insert(transaction, ondisk::build_entry(file.file(), value, std::nullopt)));
  return file.insert(transaction, ondisk::build_resident(AttributeType::FileName, u"", 0, 0, value,
                                                         ondisk::Indexed::Yes));
}

namespace {

struct FoundName {
  Attributes::Found attribute;
  ByteVector key;  ///< the attribute's value
};

/// The first $FILE_NAME of `file` that `matches`; nothing when there is none.
template <typename Matches>
Result<std::optional<FoundName>> find_file_name(Attributes& file, Matches&& matches) {
  std::optional<FoundName> result;
  TRY(file.for_each([&](const Attributes::Found& found) -> Result<> {
    const auto view = found.view();
    if (result || view.type() != AttributeType::FileName || !view.is_resident()) return {};
    const ByteView value = view.value();
    if (!matches(FileNameView::of_valid(value))) return {};
    result = FoundName{found, ByteVector(value.begin(), value.end())};
    return {};
  }));
  return result;
}

/// Removes the entry of one $FILE_NAME, and the attribute.
Result<> remove_one(Transaction& transaction, Attributes& file, IndexTree& directory,
                    const FoundName& name, NameInRecord in_record) {
  TRY(directory.remove(transaction, name.key));
  return in_record == NameInRecord::Left ? Result<>() : file.remove(transaction, name.attribute);
}

}  // namespace

Result<NamedEntry> long_entry(Attributes& file, IndexTree& directory, const NamedEntry& entry) {
  if (entry.type != NameType::Dos) return entry;
  const FileReference parent = directory.owner();
  const auto name = TRY(find_file_name(file, [&](const FileNameView& value) {
    return value.parent() == parent && value.name_type() == NameType::Win32;
  }));
  if (!name) return entry;
  const std::u16string text = FileNameView::of_valid(name->key).name();
  const auto found = TRY(find_entry(directory, text, IndexTree::NameMatch::Exact));
  return found ? *found : entry;
}

Result<> remove_name(Transaction& transaction, Attributes& file, IndexTree& directory,
                     const NamedEntry& entry, NameInRecord in_record) {
  const FileReference parent = directory.owner();
  const auto name = TRY(find_file_name(file, [&](const FileNameView& value) {
    return value.parent() == parent && value.name_type() == entry.type &&
           value.name_equals(entry.name);
  }));
  if (!name) {
    return corrupt({"$FILE_NAME", file.file().raw(), 0}, "name in the parent's index", parent.raw(),
                   "one that the file has, too");
  }
  TRY(remove_one(transaction, file, directory, *name, in_record));
  // A long name and its short one come and go together, whichever was named.
  std::optional<NameType> partner;
  if (entry.type == NameType::Win32) partner = NameType::Dos;
  if (entry.type == NameType::Dos) partner = NameType::Win32;
  if (!partner) return {};
  const auto other = TRY(find_file_name(file, [&](const FileNameView& value) {
    return value.parent() == parent && value.name_type() == *partner;
  }));
  return other ? remove_one(transaction, file, directory, *other, in_record) : Result<>();
}

// The new entry comes first: its place in the index was looked for last. In the file record the old
// name goes first, which makes the room.
Result<> replace_name(Transaction& transaction, Attributes& file, IndexTree& from_directory,
                      const NamedEntry& from, IndexTree& to_directory, const NamedEntry& to) {
  if (from.type == NameType::Win32 && from_directory.owner() == to_directory.owner()) {
    const auto own = TRY(find_entry(to_directory, to.name, IndexTree::NameMatch::Exact));
    if (own && own->reference == file.file()) {
      TRY(remove_name(transaction, file, from_directory, from));
      return add_name(transaction, file, to_directory, to);
    }
  }
  const ByteVector value =
      ondisk::build_file_name(to_directory.owner(), to.duplicated, to.type, to.name);
  TRY(to_directory.insert(transaction, ondisk::build_entry(file.file(), value, std::nullopt)));
  TRY(remove_name(transaction, file, from_directory, from));
  return file.insert(transaction, ondisk::build_resident(AttributeType::FileName, u"", 0, 0, value,
                                                         ondisk::Indexed::Yes));
}

Result<> set_change_time(Transaction& transaction, Attributes& file, ondisk::FileTime time) {
  const auto found = TRY(file.find(AttributeType::StandardInformation));
  const auto value = le64::of(time.raw());
  return file.update_value(transaction, found, offsetof(ondisk::StandardInformation, change_time),
                           bytes_of(value));
}

Result<FileSummary> summarize(Attributes& file) {
  FileSummary summary;
  const PageRef page = TRY(file.base());
  summary.is_directory = ondisk::FileRecordView::of_valid(page->bytes()).is_directory();
  TRY(file.for_each([&](const Attributes::Found& found) -> Result<> {
    const auto view = found.view();
    ++summary.attributes;
    if (!view.is_resident()) {
      summary.runs += view.mapping_pairs().size() / 2;  // a run takes at least two bytes
    } else if (view.type() == AttributeType::FileName) {
      if (FileNameView::of_valid(view.value()).name_type() != NameType::Dos) ++summary.names;
    }
    return {};
  }));
  return summary;
}

Result<> free_file(Transaction& transaction, Volume& volume, Attributes& file) {
  const FileReference reference = file.file();
  TRY(forget_references(transaction, volume, file));
  const uint64_t total = volume.geometry().total_clusters;
  const auto freed = file.for_each([&](const Attributes::Found& found) -> Result<> {
    const auto view = found.view();
    // free_records takes the list's own clusters.
    if (view.is_resident() || view.type() == AttributeType::AttributeList) return {};
    const Origin origin{"runlist", reference.raw(), view.offset()};
    const auto runs = TRY(ondisk::decode_mapping_pairs(view.mapping_pairs(), view.lowest_vcn(),
                                                       view.next_vcn(), total, origin));
    for (const Run& run : runs) {
      if (run.lcn.is_hole()) continue;
      TRY(volume.release_clusters(transaction, {run.lcn, run.count}));
    }
    const std::u16string name = view.name();
    const AttributeType type = view.type();
    if (metadata_stream_id(reference.record(), type, name) == 0 || type == AttributeType::Data) {
      return {};
    }
    auto stream = volume.metadata_stream(reference, type, name);
    if (stream) volume.drop_metadata_stream(transaction, *stream);
    return {};
  });
  if (!freed) return freed;
  return file.free_records(transaction);
}

}  // namespace ntfs
