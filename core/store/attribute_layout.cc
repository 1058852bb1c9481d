#include "core/store/attribute_layout.h"

#include <algorithm>

#include "core/ondisk/mapping_pairs.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeListEntry;
using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordHeader;
using ondisk::FileRecordView;

namespace {

constexpr uint64_t kRawPageBytes = 4096;
/// Extension records that are looked at for room before a new one is taken.
constexpr size_t kMaxCandidates = 16;
constexpr size_t kNoVictim = ~size_t{0};
/// A resident list may take up this part of the base record.
constexpr uint32_t kResidentListDivisor = 3;
/// What an entry at the beginning costs: redo and undo of all that follows, twice in a transaction
/// at most, and as much for the way back.
constexpr uint64_t kLogBytesPerListByte = 8;

AttributeView view_of(const ByteVector& attribute_record) {
  return AttributeView::of_valid(attribute_record, 0);
}

bool is_indexed(const ByteVector& attribute_record) {
  const AttributeView view = view_of(attribute_record);
  return view.is_resident() && view.is_indexed();
}

bool names(const AttributeListEntry& entry, const AttributeView& attribute) {
  return entry.type == attribute.type() && entry.instance == attribute.instance() &&
         entry.lowest_vcn == lowest_vcn_of(attribute) && attribute.name_equals(entry.name);
}

AttributeKey key_of(const AttributeListEntry& entry) {
  return {entry.type, entry.name, entry.lowest_vcn};
}

/// Before what comes behind an attribute of `key`.
struct Behind {
  const AttributeKey& key;
  const UpCase& upcase;
  bool operator()(const AttributeKey& other) const {
    return compare_attributes(other, key, upcase) <= 0;
  }
};

/// In which order attributes leave the base record: low classes first. The last one stays.
enum class Class { Nonresident, Resident, FileName, IndexRoot, Stays };

Class class_of(FileReference file, const AttributeView& attribute) {
  // A mount finds $MFT's first clusters and all of $LogFile by the base record alone.
  if (file.record() == ondisk::kLogFileRecord) return Class::Stays;
  switch (attribute.type()) {
    case AttributeType::StandardInformation:
    case AttributeType::AttributeList:
    case AttributeType::VolumeName:
    case AttributeType::VolumeInformation:
      return Class::Stays;
    case AttributeType::FileName:
      return Class::FileName;
    case AttributeType::IndexRoot:
      return Class::IndexRoot;
    default:
      break;
  }
  if (attribute.is_resident()) return Class::Resident;
  const bool is_mft_data = file.record() == ondisk::kMftRecord &&
                           attribute.type() == AttributeType::Data && !attribute.has_name();
  if (is_mft_data && attribute.lowest_vcn() == Vcn(0)) return Class::Stays;
  return Class::Nonresident;
}

}  // namespace

uint32_t AttributeLayout::Draft::used_bytes() const {
  size_t bytes = header.size() + ondisk::kEndMarkerBytes;
  for (const ByteVector& attribute : attributes) bytes += attribute.size();
  return static_cast<uint32_t>(bytes);
}

AttributeLayout::Draft AttributeLayout::make_draft(const PageRef& page) {
  const auto record = FileRecordView::of_valid(page->bytes());
  Draft draft;
  draft.page = page;
  const ByteView header = record.bytes().first(record.first_attribute_offset());
  draft.header.assign(header.begin(), header.end());
  for (const AttributeView attribute : record) {
    if (attribute.type() == AttributeType::AttributeList && record.is_base()) continue;
    draft.attributes.emplace_back(attribute.bytes().begin(), attribute.bytes().end());
  }
  return draft;
}

Result<> AttributeLayout::load() {
  const PageRef page = TRY(volume_.mft().base_record(file_));
  base_ = make_draft(page);
  const auto record = FileRecordView::of_valid(page->bytes());
  const auto list = record.find(AttributeType::AttributeList);
  had_list_ = list.has_value();
  has_list_ = had_list_;
  if (list) {
    entries_ = TRY(load_attribute_list(volume_, file_, *list));
    list_instance_ = list->instance();
    list_was_resident_ = list->is_resident();
    list_resident_ = list_was_resident_;
    old_list_bytes_ = list->value_length();
    if (list_resident_) return {};
    Attributes attributes(volume_, file_);
    list_runs_ = TRY(attributes.load_runs(AttributeType::AttributeList, {}));
    return {};
  }
  for (const AttributeView attribute : record) {
    entries_.push_back({attribute.type(), attribute.name(), lowest_vcn_of(attribute), file_,
                        attribute.instance()});
  }
  const UpCase& upcase = volume_.upcase();
  std::stable_sort(entries_.begin(), entries_.end(),
                   [&](const AttributeListEntry& a, const AttributeListEntry& b) {
                     return compare_attributes(key_of(a), key_of(b), upcase) < 0;
                   });
  return {};
}

Result<AttributeLayout::Draft*> AttributeLayout::extension_draft(FileReference extension) {
  const auto known = extensions_.find(extension.record());
  if (known != extensions_.end()) return &known->second;
  const PageRef page = TRY(extension_record(volume_, file_, extension));
  return &extensions_.emplace(extension.record(), make_draft(page)).first->second;
}

Result<AttributeLayout::Draft*> AttributeLayout::draft_of(FileReference record) {
  if (record == file_) return &base_;
  return extension_draft(record);
}

/// Puts the attribute record where it belongs among the others.
void AttributeLayout::put(Draft& draft, ByteVector attribute_record) {
  const AttributeView view = view_of(attribute_record);
  const std::u16string name = view.name();
  const AttributeKey key{view.type(), name, lowest_vcn_of(view)};
  auto at = draft.attributes.begin();
  while (at != draft.attributes.end()) {
    const AttributeView other = view_of(*at);
    const std::u16string other_name = other.name();
    const AttributeKey other_key{other.type(), other_name, lowest_vcn_of(other)};
    if (!Behind{key, volume_.upcase()}(other_key)) break;
    ++at;
  }
  draft.attributes.insert(at, std::move(attribute_record));
}

/// An instance number that the record has not given yet.
uint16_t AttributeLayout::take_instance(Draft& draft) const {
  const auto is_taken = [&](uint16_t instance) {
    if (had_list_ && draft.page == base_.page && instance == list_instance_) return true;
    return std::any_of(
        draft.attributes.begin(), draft.attributes.end(),
        [&](const ByteVector& record) { return view_of(record).instance() == instance; });
  };
  auto& header = struct_at<FileRecordHeader>(MutableBytes(draft.header));
  uint16_t instance = first_instance(header.next_attribute_instance.get());
  while (is_taken(instance)) ++instance;
  if (instance >= header.next_attribute_instance.get()) {
    header.next_attribute_instance.set(static_cast<uint16_t>(instance + 1));
  }
  return instance;
}

/// Puts it there with a number of that record, and lists it.
void AttributeLayout::place(Draft& draft, ByteVector attribute_record) {
  const uint16_t instance = take_instance(draft);
  struct_at<ondisk::AttributeHeader>(MutableBytes(attribute_record)).instance.set(instance);
  const AttributeView view = view_of(attribute_record);
  const FileReference reference =
      draft.page == base_.page
          ? file_
          : FileReference(draft.page->index(),
                          struct_at<FileRecordHeader>(ByteView(draft.header)).sequence.get());
  AttributeListEntry entry{view.type(), view.name(), lowest_vcn_of(view), reference, instance};
  const AttributeKey key = key_of(entry);
  const Behind behind{key, volume_.upcase()};
  const auto at =
      std::find_if(entries_.begin(), entries_.end(),
                   [&](const AttributeListEntry& other) { return !behind(key_of(other)); });
  entries_.insert(at, std::move(entry));
  put(draft, std::move(attribute_record));
}

void AttributeLayout::count_link(int change) {
  auto& header = struct_at<FileRecordHeader>(MutableBytes(base_.header));
  header.link_count.set(static_cast<uint16_t>(header.link_count.get() + change));
}

void AttributeLayout::add(ByteVector attribute_record) {
  if (is_indexed(attribute_record)) count_link(+1);
  if (lowest_vcn_of(view_of(attribute_record)) == Vcn(0)) {
    place(base_, std::move(attribute_record));
  } else {
    pending_.push_back(std::move(attribute_record));
  }
}

Result<> AttributeLayout::remove(const AttributeListEntry& entry) {
  const AttributeListEntry wanted = entry;  // may be one of ours
  const Origin origin{"attribute list", file_.raw(), wanted.reference.record()};
  const auto listed = std::find(entries_.begin(), entries_.end(), wanted);
  Draft* draft = TRY(draft_of(wanted.reference));
  const auto attribute =
      std::find_if(draft->attributes.begin(), draft->attributes.end(),
                   [&](const ByteVector& record) { return names(wanted, view_of(record)); });
  if (listed == entries_.end() || attribute == draft->attributes.end()) {
    return corrupt(origin, "instance", wanted.instance, "a listed attribute");
  }
  if (is_indexed(*attribute)) count_link(-1);
  draft->attributes.erase(attribute);
  entries_.erase(listed);
  return {};
}

// Finding room.

uint64_t AttributeLayout::list_bytes() const {
  uint64_t bytes = 0;
  for (const AttributeListEntry& entry : entries_) {
    bytes += ondisk::attribute_list_entry_length(entry.name.size());
  }
  for (const ByteVector& record : pending_) {
    bytes += ondisk::attribute_list_entry_length(view_of(record).name_bytes().size() / 2);
  }
  return bytes;
}

/// Bytes of the base record as it stands, with the list if there is to be one.
uint32_t AttributeLayout::base_bytes() const {
  const uint32_t bytes = base_.used_bytes();
  if (!has_list_ && pending_.empty()) return bytes;
  if (list_resident_) {
    return bytes + static_cast<uint32_t>(ondisk::resident_length(0, list_bytes()));
  }
  const size_t pairs =
      ondisk::encoded_mapping_pairs_size(list_runs_.runs_in(Vcn(0), list_runs_.end()));
  const size_t offset = ondisk::nonresident_mapping_pairs_offset(0, 0, Vcn(0));
  return bytes + static_cast<uint32_t>(align_up(offset + pairs, 8));
}

size_t AttributeLayout::victim() const {
  size_t best = kNoVictim;
  Class best_class = Class::Stays;
  for (size_t i = 0; i < base_.attributes.size(); ++i) {
    const Class its_class = class_of(file_, view_of(base_.attributes[i]));
    const bool is_better =
        its_class < best_class || (its_class == best_class && best != kNoVictim &&
                                   base_.attributes[i].size() > base_.attributes[best].size());
    if (!is_better) continue;
    best = i;
    best_class = its_class;
  }
  return best;
}

Result<> AttributeLayout::evict(size_t index) {
  ByteVector record = std::move(base_.attributes[index]);
  base_.attributes.erase(base_.attributes.begin() + static_cast<ptrdiff_t>(index));
  const AttributeView view = view_of(record);
  const auto listed =
      std::find_if(entries_.begin(), entries_.end(), [&](const AttributeListEntry& entry) {
        return entry.reference == file_ && names(entry, view);
      });
  if (listed == entries_.end()) {
    return corrupt({"attribute list", file_.raw(), 0}, "entry for instance", view.instance());
  }
  entries_.erase(listed);
  pending_.push_back(std::move(record));
  return {};
}

Result<> AttributeLayout::evict_until_it_fits(Transaction& transaction) {
  const uint32_t total = volume_.geometry().file_record_size;
  while (base_bytes() > total) {
    const size_t index = victim();
    if (index != kNoVictim) {
      TRY(evict(index));
    } else if (list_resident_ && (has_list_ || !pending_.empty())) {
      TRY(make_list_nonresident(transaction));
    } else {
      return NtStatus::FileSystemLimitation;
    }
  }
  return {};
}

Result<> AttributeLayout::settle(Transaction& transaction) {
  TRY(prepare_list(transaction));
  TRY(evict_until_it_fits(transaction));
  if (!has_list_ && pending_.empty()) return {};
  // The list may be there only now.
  TRY(prepare_list(transaction));
  TRY(evict_until_it_fits(transaction));
  return place_pending(transaction);
}

Result<> AttributeLayout::place_pending(Transaction& transaction) {
  std::vector<ByteVector> pending = std::move(pending_);
  pending_.clear();
  std::sort(pending.begin(), pending.end(),
            [](const ByteVector& a, const ByteVector& b) { return a.size() > b.size(); });
  for (ByteVector& record : pending) {
    Draft* draft = TRY(extension_with_room(transaction, record));
    place(*draft, std::move(record));
  }
  has_list_ = has_list_ || !pending.empty();
  return {};
}

Result<AttributeLayout::Draft*> AttributeLayout::extension_with_room(
    Transaction& transaction, const ByteVector& attribute_record) {
  const uint32_t total = volume_.geometry().file_record_size;
  const auto size = static_cast<uint32_t>(attribute_record.size());
  if (ondisk::first_attribute_offset_of(total) + size + ondisk::kEndMarkerBytes > total) {
    return NtStatus::FileSystemLimitation;
  }
  // What may grow gets a neighbour only where both have some room left.
  const uint32_t slack = view_of(attribute_record).is_resident() ? 0 : total / 4;
  const auto has_room = [&](uint32_t used, bool is_empty) {
    return used + size + (is_empty ? 0 : slack) <= total;
  };
  for (auto& [number, draft] : extensions_) {
    if (has_room(draft.used_bytes(), draft.attributes.empty())) return &draft;
  }
  size_t looked_at = 0;
  FileReference last = file_;
  for (size_t i = entries_.size(); i-- > 0 && looked_at < kMaxCandidates;) {
    const FileReference reference = entries_[i].reference;
    if (reference == file_ || reference == last) continue;
    last = reference;
    ++looked_at;
    if (extensions_.count(reference.record()) != 0) continue;
    const PageRef page = TRY(extension_record(volume_, file_, reference));
    const uint32_t used = FileRecordView::of_valid(page->bytes()).used_bytes();
    if (has_room(used, false)) return extension_draft(reference);
  }
  return new_extension(transaction);
}

Result<AttributeLayout::Draft*> AttributeLayout::new_extension(Transaction& transaction) {
  const lfs::Lsn before = FileRecordView::of_valid(base_.page->bytes()).lsn();
  const PageRef page = TRY(volume_.mft().allocate(transaction));
  // Growth of $MFT must not come in between when it is $MFT that needs the record.
  if (FileRecordView::of_valid(base_.page->bytes()).lsn() != before) {
    return NtStatus::FileSystemLimitation;
  }
  ByteVector record(volume_.geometry().file_record_size);
  ondisk::FileRecordInit init;
  init.record_number = page->index();
  init.sequence = Mft::next_sequence(*page);
  init.flags = ondisk::FileRecordFlags::InUse;
  init.base_reference = file_;
  ondisk::format_file_record(record, init);
  Draft draft;
  draft.page = page;
  draft.is_new = true;
  draft.header.assign(record.begin(),
                      record.begin() + FileRecordView::of_valid(record).first_attribute_offset());
  return &extensions_.insert_or_assign(page->index(), std::move(draft)).first->second;
}

// The list.

/// Sees to it that a list of this length can be stored.
Result<> AttributeLayout::prepare_list(Transaction& transaction) {
  if (!has_list_ && pending_.empty()) return {};
  const uint64_t bytes = list_bytes();
  // What grows here must fit the log when it shrinks, too.
  const bool grows = bytes > old_list_bytes_;
  const uint64_t loggable = volume_.journal().transaction_bytes() / kLogBytesPerListByte;
  if (bytes > kMaxAttributeListBytes || (grows && bytes > loggable)) {
    return NtStatus::FileSystemLimitation;
  }
  const uint32_t total = volume_.geometry().file_record_size;
  if (list_resident_ && bytes <= total / kResidentListDivisor) return {};
  return make_list_nonresident(transaction);
}

/// Gives the list the clusters it needs.
Result<> AttributeLayout::make_list_nonresident(Transaction& transaction) {
  list_resident_ = false;
  const uint64_t cluster = volume_.geometry().cluster_size;
  const uint64_t needed = divide_up(align_up(list_bytes(), kRawPageBytes), cluster);
  const uint64_t present = list_runs_.end().raw();
  if (list_bytes() <= present * cluster) return {};
  // Pages are whole in the lists that are made here. One that is not could change its clusters only
  // as long as nobody has it in memory.
  if (present * cluster % kRawPageBytes != 0) return NtStatus::NotSupported;
  const Lcn hint = list_runs_.empty()
                       ? volume_.geometry().mft_lcn
                       : list_runs_.runs().back().lcn + list_runs_.runs().back().count;
  const auto runs =
      TRY(volume_.clusters().allocate(transaction, ClusterCount(needed - present), hint));
  for (const ClusterRun& run : runs) list_runs_.append(run.lcn, run.count);
  list_runs_changed_ = true;
  return {};
}

void AttributeLayout::build_list_record() {
  const ByteVector bytes = ondisk::build_attribute_list(entries_);
  if (list_resident_) {
    list_record_ = ondisk::build_resident(AttributeType::AttributeList, {}, 0, list_instance_,
                                          bytes, ondisk::Indexed::No);
    return;
  }
  ondisk::NonresidentInit init;
  init.type = AttributeType::AttributeList;
  init.instance = list_instance_;
  init.next = list_runs_.end();
  init.sizes.allocated = list_runs_.end().raw() * volume_.geometry().cluster_size;
  init.sizes.total_allocated = init.sizes.allocated;
  init.sizes.file_size = bytes.size();
  init.sizes.valid_data_length = bytes.size();
  const auto pairs = ondisk::encode_mapping_pairs(list_runs_.runs_in(Vcn(0), list_runs_.end()),
                                                  volume_.geometry().file_record_size);
  list_record_ = ondisk::build_nonresident(init, {}, pairs.bytes);
}

Result<> AttributeLayout::store_list_pages(Transaction& transaction, const ByteVector& bytes) {
  MetadataStreamRef stream;
  if (!list_was_resident_) {
    stream = TRY(volume_.metadata_stream(file_, AttributeType::AttributeList, {}));
    if (list_runs_changed_) stream->runs = list_runs_;
  } else {
    stream = volume_.add_metadata_stream(file_, AttributeType::AttributeList, {}, list_runs_);
  }
  const uint64_t old_pages = list_was_resident_ ? 0 : divide_up(old_list_bytes_, kRawPageBytes);
  for (uint64_t position = 0; position < bytes.size(); position += kRawPageBytes) {
    const uint64_t index = position / kRawPageBytes;
    ByteVector wanted(kRawPageBytes);
    const size_t length = std::min<size_t>(kRawPageBytes, bytes.size() - position);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(position), length, wanted.begin());
    if (index >= old_pages) {
      TRY(transaction.perform_new(wanted, volume_.pages().create(stream, index)));
      continue;
    }
    const PageRef page = TRY(volume_.pages().get(stream, index));
    const ByteView now = page->bytes();
    const size_t first = static_cast<size_t>(
        std::mismatch(now.begin(), now.end(), wanted.begin()).first - now.begin());
    if (first == kRawPageBytes) continue;
    size_t end = kRawPageBytes;
    while (now[end - 1] == wanted[end - 1]) --end;
    const ByteView changed = ByteView(wanted).subspan(first, end - first);
    TRY(transaction.perform(update_nonresident_value(static_cast<uint32_t>(first), changed), page));
  }
  return {};
}

// Logging.

ByteVector AttributeLayout::image_of(const Draft& draft) const {
  ByteVector image = draft.header;
  bool list_is_in = draft.page != base_.page || list_record_.empty();
  const auto append = [&](const ByteVector& record) {
    image.insert(image.end(), record.begin(), record.end());
  };
  for (const ByteVector& attribute : draft.attributes) {
    if (!list_is_in && view_of(attribute).type() > AttributeType::AttributeList) {
      append(list_record_);
      list_is_in = true;
    }
    append(attribute);
  }
  if (!list_is_in) append(list_record_);
  const size_t end = image.size();
  image.resize(end + ondisk::kEndMarkerBytes);
  struct_at<le32>(MutableBytes(image), end).set(static_cast<uint32_t>(AttributeType::End));
  struct_at<FileRecordHeader>(MutableBytes(image))
      .used_bytes.set(static_cast<uint32_t>(image.size()));
  return image;
}

Result<> AttributeLayout::store_draft(Transaction& transaction, Draft& draft) {
  if (draft.is_new) return volume_.mft().initialize(transaction, draft.page, image_of(draft));
  if (draft.attributes.empty() && draft.page != base_.page) {
    return volume_.mft().free(transaction, draft.page);
  }
  const ByteVector image = image_of(draft);
  const auto now = FileRecordView::of_valid(draft.page->bytes());
  const auto wanted = FileRecordView::of_valid(image);
  uint32_t same = now.first_attribute_offset();
  for (const AttributeView attribute : now) {
    const size_t length = attribute.length();
    if (same + length + ondisk::kEndMarkerBytes > image.size()) break;
    if (!std::equal(attribute.bytes().begin(), attribute.bytes().end(), image.begin() + same)) {
      break;
    }
    same += attribute.length();
  }
  const bool same_header = now.link_count() == wanted.link_count() &&
                           now.next_attribute_instance() == wanted.next_attribute_instance();
  // A new end of another length is beyond ntfsrecover: it shifts what follows, as for a value.
  const bool same_length = now.used_bytes() == image.size();
  if (!same_header || !same_length) {
    return transaction.perform(initialize_file_record(image), draft.page);
  }
  if (same == now.end_marker_offset() && same + ondisk::kEndMarkerBytes == image.size()) return {};
  return transaction.perform(write_end_of_file_record(same, ByteView(image).subspan(same)),
                             draft.page);
}

Result<> AttributeLayout::store(Transaction& transaction) {
  TRY(settle(transaction));
  if (has_list_) {
    if (!had_list_) list_instance_ = take_instance(base_);
    build_list_record();
  }
  for (auto& [number, draft] : extensions_) {
    if (!draft.attributes.empty()) TRY(store_draft(transaction, draft));
  }
  TRY(store_draft(transaction, base_));
  if (has_list_ && !list_resident_) {
    TRY(store_list_pages(transaction, ondisk::build_attribute_list(entries_)));
  }
  for (auto& [number, draft] : extensions_) {
    if (draft.attributes.empty()) TRY(store_draft(transaction, draft));
  }
  return {};
}

}  // namespace ntfs
