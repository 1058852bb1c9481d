#include "core/store/attributes.h"

#include <algorithm>
#include <bit>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/attribute_layout.h"
#include "core/store/attribute_list.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeFlags;
using ondisk::AttributeListEntry;
using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileAttributes;
using ondisk::FileRecordView;

namespace {

constexpr size_t kSizesBytes = 24;
constexpr size_t kSizesWithTotalBytes = 32;
constexpr unsigned kMaxSparseUnitShift = 4;
constexpr uint32_t kSparseUnitBytes = 64 << 10;

bool holds(const AttributeView& attribute, Vcn vcn) {
  if (attribute.is_resident()) return vcn == Vcn(0);
  // The first vcn belongs to the record even while it has no clusters.
  if (vcn == attribute.lowest_vcn()) return true;
  return attribute.lowest_vcn() < vcn && vcn < attribute.next_vcn();
}

bool is_of(const AttributeListEntry& entry, AttributeType type, std::u16string_view name) {
  return entry.type == type && entry.name == name;
}

/// What a list says, or would say, of an attribute record.
AttributeListEntry entry_of(const Attributes::Found& found, FileReference file) {
  const AttributeView view = found.view();
  FileReference reference = file;
  if (found.page->index() != file.record()) {
    reference = FileReference(found.page->index(),
                              FileRecordView::of_valid(found.page->bytes()).sequence());
  }
  return {view.type(), view.name(), lowest_vcn_of(view), reference, view.instance()};
}

ondisk::Indexed indexed_of(AttributeType type) {
  return type == AttributeType::FileName ? ondisk::Indexed::Yes : ondisk::Indexed::No;
}

/// Overwrites what differs of `value` in the resident attribute; the length stays.
Result<> overwrite_value(Transaction& transaction, const Attributes::Found& found, ByteView value) {
  const AttributeView view = found.view();
  const ByteView now = view.value();
  const auto first =
      static_cast<size_t>(std::mismatch(now.begin(), now.end(), value.begin()).first - now.begin());
  if (first == now.size()) return {};
  size_t end = now.size();
  while (now[end - 1] == value[end - 1]) --end;
  return transaction.perform(
      update_resident_value(found.offset, static_cast<uint32_t>(view.value_offset() + first),
                            value.subspan(first, end - first)),
      found.page);
}

}  // namespace

Result<PageRef> Attributes::base() {
  if (base_ == nullptr) base_ = TRY(volume_.mft().base_record(file_));
  return base_;
}

Result<Attributes::Lookup> Attributes::look_up(AttributeType type, std::u16string_view name) {
  Lookup result;
  result.base = TRY(base());
  for (const AttributeView attribute : FileRecordView::of_valid(result.base->bytes())) {
    if (attribute.type() == AttributeType::AttributeList) result.list = attribute;
    if (attribute.type() > type && attribute.type() > AttributeType::AttributeList) break;
    if (!result.attribute && attribute.type() == type && attribute.name_equals(name)) {
      result.attribute = attribute;
    }
  }
  return result;
}

Result<Attributes::Found> Attributes::find(AttributeType type, std::u16string_view name, Vcn vcn) {
  Lookup lookup = TRY(look_up(type, name));
  if (lookup.attribute && holds(*lookup.attribute, vcn)) {
    return Found{std::move(lookup.base), lookup.attribute->offset()};
  }
  if (!lookup.list || type == AttributeType::AttributeList) return NtStatus::ObjectNameNotFound;
  const AttributeListEntries entries = TRY(load_attribute_list(volume_, file_, *lookup.list));
  const AttributeListEntry* best = nullptr;
  for (const AttributeListEntry& entry : entries) {
    if (!is_of(entry, type, name) || entry.lowest_vcn > vcn) continue;
    if (best == nullptr || best->lowest_vcn < entry.lowest_vcn) best = &entry;
  }
  if (best == nullptr) return NtStatus::ObjectNameNotFound;
  Found found = TRY(resolve_entry(volume_, file_, lookup.base, *best));
  if (!holds(found.view(), vcn)) return NtStatus::ObjectNameNotFound;
  return found;
}

Result<std::vector<Attributes::Found>> Attributes::all() {
  const PageRef page = TRY(base());
  const auto record = FileRecordView::of_valid(page->bytes());
  const auto list = record.find(AttributeType::AttributeList);
  std::vector<Found> result;
  if (!list) {
    for (const AttributeView attribute : record) result.push_back({page, attribute.offset()});
    return result;
  }
  const AttributeListEntries entries = TRY(load_attribute_list(volume_, file_, *list));
  result.reserve(entries.size() + 1);
  bool list_is_in = false;
  for (const AttributeListEntry& entry : entries) {
    if (entry.type == AttributeType::AttributeList) continue;
    if (!list_is_in && entry.type > AttributeType::AttributeList) {
      result.push_back({page, list->offset()});
      list_is_in = true;
    }
    result.push_back(TRY(resolve_entry(volume_, file_, page, entry)));
  }
  if (!list_is_in) result.push_back({page, list->offset()});
  return result;
}

Result<std::vector<Attributes::Found>> Attributes::all_of(AttributeType type) {
  const PageRef page = TRY(base());
  const auto record = FileRecordView::of_valid(page->bytes());
  const auto list = record.find(AttributeType::AttributeList);
  std::vector<Found> result;
  if (!list) {
    for (const AttributeView attribute : record) {
      if (attribute.type() == type) result.push_back({page, attribute.offset()});
    }
    return result;
  }
  for (const AttributeListEntry& entry : TRY(load_attribute_list(volume_, file_, *list))) {
    if (entry.type == type) result.push_back(TRY(resolve_entry(volume_, file_, page, entry)));
  }
  return result;
}

Result<std::vector<Attributes::Found>> Attributes::records_of(AttributeType type,
                                                              std::u16string_view name) {
  const Lookup lookup = TRY(look_up(type, name));
  std::vector<Found> result;
  if (!lookup.list || type == AttributeType::AttributeList) {
    if (lookup.attribute) result.push_back({lookup.base, lookup.attribute->offset()});
    return result;
  }
  const AttributeListEntries entries = TRY(load_attribute_list(volume_, file_, *lookup.list));
  for (const AttributeListEntry& entry : entries) {
    if (!is_of(entry, type, name)) continue;
    result.push_back(TRY(resolve_entry(volume_, file_, lookup.base, entry)));
  }
  return result;
}

Result<> Attributes::insert(Transaction& transaction, ByteView attribute_record) {
  const AttributeView view = AttributeView::of_valid(attribute_record, 0);
  const Lookup lookup = TRY(look_up(view.type(), {}));
  const auto record = FileRecordView::of_valid(lookup.base->bytes());
  const bool fits = !lookup.list && view.length() <= record.free_bytes();
  if (fits && lowest_vcn_of(view) == Vcn(0)) {
    const std::u16string name = view.name();
    const uint32_t offset =
        insert_offset(record, {view.type(), name, lowest_vcn_of(view)}, volume_.upcase());
    return transaction.perform(
        create_attribute(offset, with_instance(attribute_record, free_instance(record))),
        lookup.base);
  }
  AttributeLayout layout(volume_, file_);
  TRY(layout.load());
  layout.add(ByteVector(attribute_record.begin(), attribute_record.end()));
  return layout.store(transaction);
}

Result<> Attributes::remove(Transaction& transaction, AttributeType type,
                            std::u16string_view name) {
  ASSERT(type != AttributeType::AttributeList);
  const Lookup lookup = TRY(look_up(type, name));
  if (!lookup.list) {
    if (!lookup.attribute) return NtStatus::ObjectNameNotFound;
    return transaction.perform(delete_attribute(lookup.attribute->offset()), lookup.base);
  }
  AttributeLayout layout(volume_, file_);
  TRY(layout.load());
  AttributeListEntries gone;
  for (const AttributeListEntry& entry : layout.entries()) {
    if (is_of(entry, type, name)) gone.push_back(entry);
  }
  if (gone.empty()) return NtStatus::ObjectNameNotFound;
  for (const AttributeListEntry& entry : gone) TRY(layout.remove(entry));
  return layout.store(transaction);
}

Result<> Attributes::remove(Transaction& transaction, const Found& found) {
  ASSERT(found.view().type() != AttributeType::AttributeList);
  const Lookup lookup = TRY(look_up(AttributeType::AttributeList, {}));
  if (!lookup.list) return transaction.perform(delete_attribute(found.offset), found.page);
  AttributeLayout layout(volume_, file_);
  TRY(layout.load());
  TRY(layout.remove(entry_of(found, file_)));
  return layout.store(transaction);
}

/// Another record for the same key in place of the one in `found`: where it is, if it fits.
Result<> Attributes::replace(Transaction& transaction, const Found& found,
                             ByteVector attribute_record) {
  const AttributeView old = found.view();
  const auto record = FileRecordView::of_valid(found.page->bytes());
  const bool is_in_base = found.page->index() == file_.record();
  // Elsewhere than in the base record a name must not count as a link.
  const bool counts = old.is_resident() && old.is_indexed() && !is_in_base;
  if (!counts && attribute_record.size() <= record.free_bytes() + old.length()) {
    const ByteVector renumbered = with_instance(attribute_record, old.instance());
    TRY(transaction.perform(delete_attribute(found.offset), found.page));
    return transaction.perform(create_attribute(found.offset, renumbered), found.page);
  }
  AttributeLayout layout(volume_, file_);
  TRY(layout.load());
  TRY(layout.remove(entry_of(found, file_)));
  layout.add(std::move(attribute_record));
  return layout.store(transaction);
}

/// The same in place of all records of an attribute. Inserts it when there is none.
Result<> Attributes::replace_all(Transaction& transaction, AttributeType type,
                                 std::u16string_view name, ByteVector attribute_record) {
  const std::vector<Found> records = TRY(records_of(type, name));
  if (records.empty()) return insert(transaction, attribute_record);
  if (records.size() == 1) return replace(transaction, records[0], std::move(attribute_record));
  AttributeLayout layout(volume_, file_);
  TRY(layout.load());
  for (const Found& found : records) TRY(layout.remove(entry_of(found, file_)));
  layout.add(std::move(attribute_record));
  return layout.store(transaction);
}

Result<> Attributes::set_value(Transaction& transaction, AttributeType type,
                               std::u16string_view name, ByteView value) {
  const auto found = find(type, name);
  if (!found && found.error() != NtStatus::ObjectNameNotFound) return found.error();
  uint16_t flags = 0;
  if (found) {
    const AttributeView view = found->view();
    if (view.is_resident() && view.value().size() == value.size()) {
      return overwrite_value(transaction, *found, value);
    }
    flags = view.flags() & static_cast<uint16_t>(~AttributeFlags::Sparse);
  }
  return replace_all(transaction, type, name,
                     ondisk::build_resident(type, name, flags, 0, value, indexed_of(type)));
}

Result<> Attributes::update_value(Transaction& transaction, const Found& found,
                                  uint32_t value_offset, ByteView bytes) {
  const AttributeView view = found.view();
  ASSERT(value_offset <= view.value().size() && bytes.size() <= view.value().size() - value_offset);
  if (bytes.empty()) return {};
  return transaction.perform(
      update_resident_value(found.offset, view.value_offset() + value_offset, bytes), found.page);
}

Result<ondisk::AttributeSizes> Attributes::sizes(AttributeType type, std::u16string_view name) {
  const Found found = TRY(find(type, name));
  const AttributeView view = found.view();
  if (!view.is_resident()) return view.sizes();
  const uint64_t length = view.value().size();
  const uint64_t allocated = align_up(length, 8);
  return ondisk::AttributeSizes{allocated, length, length, allocated};
}

Result<> Attributes::set_sizes(Transaction& transaction, AttributeType type,
                               std::u16string_view name, const ondisk::AttributeSizes& sizes) {
  const Found found = TRY(find(type, name));
  if (found.view().is_resident()) return NtStatus::InvalidParameter;
  return write_sizes(transaction, found, sizes);
}

Result<> write_sizes(Transaction& transaction, const Attributes::Found& found,
                     const ondisk::AttributeSizes& sizes) {
  const AttributeView view = found.view();
  const bool has_total = view.has_total_allocated();
  ondisk::AttributeSizes wanted = sizes;
  if (!has_total) wanted.total_allocated = wanted.allocated;
  if (view.sizes() == wanted) return {};
  const auto encoded = encode_sizes(wanted);
  const ByteView payload = ByteView(encoded).first(has_total ? kSizesWithTotalBytes : kSizesBytes);
  return transaction.perform(set_new_attribute_sizes(found.offset, payload), found.page);
}

Result<> Attributes::make_nonresident(Transaction& transaction, AttributeType type,
                                      std::u16string_view name, const Runlist& runs,
                                      const ondisk::AttributeSizes& sizes) {
  const auto found = find(type, name);
  if (!found && found.error() != NtStatus::ObjectNameNotFound) return found.error();
  ondisk::NonresidentInit init;
  init.type = type;
  init.sizes = sizes;
  if (found) init.flags = found->view().flags();
  const bool has_holes = runs.allocated() != runs.end() - Vcn(0);
  if (has_holes && (init.flags & AttributeFlags::CompressionMask) == 0) {
    init.flags |= AttributeFlags::Sparse;
  }
  if ((init.flags & (AttributeFlags::CompressionMask | AttributeFlags::Sparse)) != 0) {
    init.compression_unit = sparse_compression_unit(volume_.geometry().cluster_size);
  }
  // A quarter of a record at first; a longer runlist grows from there into further records.
  const size_t most_bytes = volume_.geometry().file_record_size / 4;
  const auto pairs = ondisk::encode_mapping_pairs(runs.first_runs(most_bytes), most_bytes);
  init.next = pairs.next;
  TRY(replace_all(transaction, type, name, ondisk::build_nonresident(init, name, pairs.bytes)));
  const bool is_sparse = (init.flags & AttributeFlags::Sparse) != 0;
  if (is_sparse && type == AttributeType::Data) {
    TRY(flag_file(transaction, FileAttributes::SparseFile, Flag::On));
  }
  if (pairs.next == runs.end()) return {};
  return store_changed_runs(transaction, type, name, runs, pairs.next, runs.end(), sizes);
}

uint8_t sparse_compression_unit(uint32_t cluster_size) {
  if (cluster_size >= kSparseUnitBytes) return 0;
  const auto shift = static_cast<unsigned>(std::countr_zero(kSparseUnitBytes / cluster_size));
  return static_cast<uint8_t>(std::min(shift, kMaxSparseUnitShift));
}

Result<> Attributes::make_sparse(Transaction& transaction, AttributeType type,
                                 std::u16string_view name) {
  const Found found = TRY(find(type, name));
  const AttributeView view = found.view();
  if (view.is_resident()) return NtStatus::InvalidParameter;
  if (view.is_sparse() || view.is_compressed()) return {};
  TRY(change_form(transaction, found, view.flags() | AttributeFlags::Sparse));
  if (type != AttributeType::Data) return {};
  return flag_file(transaction, FileAttributes::SparseFile, Flag::On);
}

Result<> Attributes::make_plain(Transaction& transaction, AttributeType type,
                                std::u16string_view name) {
  const Found found = TRY(find(type, name));
  const AttributeView view = found.view();
  if (view.is_resident()) return NtStatus::InvalidParameter;
  if (!view.is_sparse() || view.is_compressed()) return {};
  TRY(change_form(transaction, found,
                  view.flags() & static_cast<uint16_t>(~AttributeFlags::Sparse)));
  return unflag_file(transaction);
}

Result<> Attributes::remove_data(Transaction& transaction, std::u16string_view name) {
  const Found found = TRY(find(AttributeType::Data, name));
  const bool was_sparse = found.view().is_sparse();
  TRY(remove(transaction, AttributeType::Data, name));
  return was_sparse ? unflag_file(transaction) : Result<>();
}

/// Unless a stream is sparse.
Result<> Attributes::unflag_file(Transaction& transaction) {
  for (const Found& data : TRY(all_of(AttributeType::Data))) {
    if (data.view().is_sparse()) return {};
  }
  return flag_file(transaction, FileAttributes::SparseFile, Flag::Off);
}

Result<> Attributes::set_compression(Transaction& transaction, AttributeType type,
                                     std::u16string_view name, Compression wanted) {
  constexpr size_t kMostRecords = 128;
  const std::vector<Found> first = TRY(records_of(type, name));
  const size_t count = first.size();
  if (count == 0) return NtStatus::ObjectNameNotFound;
  if (count > kMostRecords) return NtStatus::FileSystemLimitation;
  bool has_holes = false;
  for (size_t i = 0; i < count; ++i) {
    // A changed record may have moved.
    const std::vector<Found> records = TRY(records_of(type, name));
    const Found& found = records[i];
    const AttributeView view = found.view();
    if (i == 0 && !view.is_resident()) has_holes = view.total_allocated() < view.allocated_size();
    constexpr unsigned kForm = AttributeFlags::CompressionMask | AttributeFlags::Sparse;
    uint16_t flags = view.flags() & static_cast<uint16_t>(~kForm);
    if (wanted == Compression::Lznt1) flags |= AttributeFlags::Compressed;
    if (wanted == Compression::None && has_holes) flags |= AttributeFlags::Sparse;
    if (flags != view.flags()) TRY(change_form(transaction, found, flags));
  }
  const bool is_index = type == AttributeType::IndexRoot;
  if (!name.empty() && !is_index) return {};
  TRY(flag_file(transaction, FileAttributes::Compressed,
                wanted == Compression::Lznt1 ? Flag::On : Flag::Off));
  if (is_index) return {};
  return flag_file(transaction, FileAttributes::SparseFile,
                   wanted == Compression::None && has_holes ? Flag::On : Flag::Off);
}

/// Gives an attribute record other flags. Where these say compressed or sparse, the first one of a
/// nonresident attribute has the unit and the total.
Result<> Attributes::change_form(Transaction& transaction, const Found& found, uint16_t flags) {
  const AttributeView view = found.view();
  const std::u16string name = view.name();
  if (view.is_resident()) {
    return replace(
        transaction, found,
        ondisk::build_resident(view.type(), name, flags, view.instance(), view.value(),
                               view.is_indexed() ? ondisk::Indexed::Yes : ondisk::Indexed::No));
  }
  ondisk::NonresidentInit init;
  init.type = view.type();
  init.flags = flags;
  init.lowest = view.lowest_vcn();
  const bool has_unit = (flags & (AttributeFlags::CompressionMask | AttributeFlags::Sparse)) != 0;
  if (has_unit && init.lowest == Vcn(0)) {
    init.compression_unit = sparse_compression_unit(volume_.geometry().cluster_size);
  }
  init.instance = view.instance();
  init.next = view.next_vcn();
  if (init.lowest == Vcn(0)) init.sizes = view.sizes();
  return replace(transaction, found, ondisk::build_nonresident(init, name, view.mapping_pairs()));
}

/// `file_attribute`: a bit of FileAttributes.
Result<> Attributes::flag_file(Transaction& transaction, uint32_t file_attribute, Flag wanted) {
  const Found found = TRY(find(AttributeType::StandardInformation));
  constexpr uint32_t kOffset = offsetof(ondisk::StandardInformation, file_attributes);
  const auto before = struct_at<le32>(found.view().value(), kOffset);
  auto attributes = before;
  attributes.set(before.get() & ~file_attribute);
  if (wanted == Flag::On) attributes.set(before.get() | file_attribute);
  if (attributes.get() == before.get()) return {};
  return update_value(transaction, found, kOffset, bytes_of(attributes));
}

Result<uint32_t> Attributes::resident_room(AttributeType type, std::u16string_view name) {
  const auto found = find(type, name);
  if (!found && found.error() != NtStatus::ObjectNameNotFound) return found.error();
  uint64_t room = 0;
  if (found) {
    room = FileRecordView::of_valid(found->page->bytes()).free_bytes() + found->view().length();
  } else {
    const PageRef page = TRY(base());
    const auto record = FileRecordView::of_valid(page->bytes());
    room = record.free_bytes();
    const auto list = record.find(AttributeType::AttributeList);
    const uint64_t entry = ondisk::attribute_list_entry_length(name.size());
    if (list && list->is_resident()) room -= std::min(room, entry);
  }
  const uint64_t head = ondisk::resident_value_offset(name.size());
  return static_cast<uint32_t>(room < head ? 0 : align_down(room - head, 8));
}

Result<> Attributes::free_records(Transaction& transaction) {
  const Lookup lookup = TRY(look_up(AttributeType::AttributeList, {}));
  if (!lookup.list) return volume_.mft().free(transaction, lookup.base);
  const AttributeListEntries entries = TRY(load_attribute_list(volume_, file_, *lookup.list));
  std::vector<FileReference> extensions;
  for (const AttributeListEntry& entry : entries) {
    if (entry.reference != file_) extensions.push_back(entry.reference);
  }
  std::sort(extensions.begin(), extensions.end());
  extensions.erase(std::unique(extensions.begin(), extensions.end()), extensions.end());
  for (const FileReference extension : extensions) {
    const PageRef page = TRY(extension_record(volume_, file_, extension));
    TRY(volume_.mft().free(transaction, page));
  }
  if (!lookup.list->is_resident()) {
    // The pages stay in the cache: dropping them could not be taken back. Nobody asks for them
    // again: those of another list in this record are made anew.
    const Runlist runs = TRY(load_runs(AttributeType::AttributeList, {}));
    for (const ClusterRun& run : runs.allocated_in(Vcn(0), runs.end() - Vcn(0))) {
      TRY(volume_.clusters().free_clusters(transaction, run));
    }
  }
  base_ = nullptr;
  return volume_.mft().free(transaction, lookup.base);
}

}  // namespace ntfs
