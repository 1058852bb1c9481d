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

Result<PageRef> directory_record(Volume& volume, FileReference directory) {
  PageRef page = TRY(volume.mft().base_record(directory));
  if (!ondisk::FileRecordView::of_valid(page->bytes()).is_directory()) {
    return NtStatus::NotADirectory;
  }
  return page;
}

Result<std::optional<NamedEntry>> find_entry(Volume& volume, FileReference directory,
                                             std::u16string_view name, IndexTree::NameMatch match) {
  TRY(directory_record(volume, directory));
  IndexTree tree(volume, directory, u"$I30");
  const auto entry = TRY(tree.find_name(name, match));
  if (!entry) return std::optional<NamedEntry>();
  const auto view = ondisk::IndexEntryView::of_valid(*entry, 0);
  const auto key = FileNameView::of_valid(view.key());
  return std::optional<NamedEntry>(
      NamedEntry{view.reference(), key.name_type(), key.name(), key.duplicated()});
}

Result<> add_name(Transaction& transaction, Volume& volume, FileReference file,
                  FileReference directory, const NamedEntry& entry) {
  const ByteVector value =
      ondisk::build_file_name(directory, entry.duplicated, entry.type, entry.name);
  IndexTree tree(volume, directory, u"$I30");
  TRY(tree.insert(transaction, ondisk::build_entry(file, value, std::nullopt)));
  Attributes attributes(volume, file);
  return attributes.insert(transaction, ondisk::build_resident(AttributeType::FileName, u"", 0, 0,
                                                               value, ondisk::Indexed::Yes));
}

namespace {

/// Removes one $FILE_NAME and its entry.
Result<> remove_one(Transaction& transaction, Volume& volume, FileReference file,
                    FileReference directory, std::u16string_view name, NameType type) {
  Attributes attributes(volume, file);
  for (const auto& found : TRY(attributes.all())) {
    const auto view = found.view();
    if (view.type() != AttributeType::FileName || !view.is_resident()) continue;
    const auto value = FileNameView::of_valid(view.value());
    if (value.parent() != directory || value.name_type() != type || value.name() != name) continue;
    const ByteVector key(view.value().begin(), view.value().end());
    IndexTree tree(volume, directory, u"$I30");
    TRY(tree.remove(transaction, key));
    return attributes.remove(transaction, found);
  }
  return corrupt({"$FILE_NAME", file.raw(), 0}, "name in the parent's index", directory.raw(),
                 "one that the file has, too");
}

/// The name of that type of `file` in `directory`, if it has one.
Result<std::optional<std::u16string>> name_of_type(Volume& volume, FileReference file,
                                                   FileReference directory, NameType type) {
  Attributes attributes(volume, file);
  for (const auto& found : TRY(attributes.all())) {
    const auto view = found.view();
    if (view.type() != AttributeType::FileName || !view.is_resident()) continue;
    const auto value = FileNameView::of_valid(view.value());
    if (value.parent() == directory && value.name_type() == type) {
      return std::optional<std::u16string>(value.name());
    }
  }
  return std::optional<std::u16string>();
}

}  // namespace

Result<> remove_name(Transaction& transaction, Volume& volume, FileReference directory,
                     const NamedEntry& entry) {
  TRY(remove_one(transaction, volume, entry.reference, directory, entry.name, entry.type));
  // A long name and its short one come and go together, whichever was named.
  std::optional<NameType> partner;
  if (entry.type == NameType::Win32) partner = NameType::Dos;
  if (entry.type == NameType::Dos) partner = NameType::Win32;
  if (!partner) return {};
  const auto name = TRY(name_of_type(volume, entry.reference, directory, *partner));
  if (!name) return {};
  return remove_one(transaction, volume, entry.reference, directory, *name, *partner);
}

Result<> set_change_time(Transaction& transaction, Volume& volume, FileReference file,
                         ondisk::FileTime time) {
  Attributes attributes(volume, file);
  const auto found = TRY(attributes.find(AttributeType::StandardInformation));
  const auto value = le64::of(time.raw());
  return attributes.update_value(
      transaction, found, offsetof(ondisk::StandardInformation, change_time), bytes_of(value));
}

Result<uint32_t> count_names(Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  uint32_t count = 0;
  for (const auto& found : TRY(attributes.all())) {
    const auto view = found.view();
    if (view.type() != AttributeType::FileName || !view.is_resident()) continue;
    if (FileNameView::of_valid(view.value()).name_type() != NameType::Dos) ++count;
  }
  return count;
}

Result<uint64_t> runs_of_file(Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  uint64_t bytes = 0;
  for (const auto& found : TRY(attributes.all())) {
    const auto view = found.view();
    if (!view.is_resident()) bytes += view.mapping_pairs().size();
  }
  return bytes / 2;  // a run takes at least two bytes
}

Result<> free_file(Transaction& transaction, Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  TRY(forget_references(transaction, volume, file));
  const uint64_t total = volume.geometry().total_clusters;
  for (const auto& found : TRY(attributes.all())) {
    const auto view = found.view();
    // free_records takes the list's own clusters.
    if (view.is_resident() || view.type() == AttributeType::AttributeList) continue;
    const Origin origin{"runlist", file.raw(), view.offset()};
    const auto runs = TRY(ondisk::decode_mapping_pairs(view.mapping_pairs(), view.lowest_vcn(),
                                                       view.next_vcn(), total, origin));
    for (const Run& run : runs) {
      if (run.lcn.is_hole()) continue;
      TRY(volume.clusters().free_clusters(transaction, {run.lcn, run.count}));
    }
    const std::u16string name = view.name();
    const AttributeType type = view.type();
    if (metadata_stream_id(file.record(), type, name) == 0 || type == AttributeType::Data) continue;
    auto stream = volume.metadata_stream(file, type, name);
    if (stream) volume.drop_metadata_stream(transaction, *stream);
  }
  return attributes.free_records(transaction);
}

}  // namespace ntfs
