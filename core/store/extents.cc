// The runlist of one attribute over all its records ("extents"). Each holds the mapping pairs of a
// range of vcns that ends where the next begins. As in the leaves of a B+ tree, a change rewrites
// the extents whose range it touches; one that gets too long for its record is split, neighbours
// that got short become one.

#include <algorithm>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/attribute_layout.h"
#include "core/store/attribute_list.h"
#include "core/store/attributes.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeListEntry;
using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::EncodedMappingPairs;
using ondisk::FileRecordView;

namespace {

Origin origin_of(FileReference file, const Attributes::Found& found) {
  return {"mapping pairs", file.raw(), found.page->position() + found.offset};
}

/// Bytes that the pairs of `view` may take where it is.
size_t pairs_room(const Attributes::Found& found) {
  const AttributeView view = found.view();
  const auto record = FileRecordView::of_valid(found.page->bytes());
  return record.free_bytes() + view.length() - view.mapping_pairs_offset();
}

/// Replaces the mapping pairs from the first byte that differs.
Result<> write_pairs(Transaction& transaction, const Attributes::Found& found,
                     const ByteVector& pairs) {
  const AttributeView view = found.view();
  const ByteView now = view.mapping_pairs();
  const size_t common = std::min(now.size(), pairs.size());
  const auto same = static_cast<size_t>(
      std::mismatch(pairs.begin(), pairs.begin() + static_cast<ptrdiff_t>(common), now.begin())
          .first -
      pairs.begin());
  const size_t length = align_up(view.mapping_pairs_offset() + pairs.size(), 8);
  if (same == pairs.size() && length == view.length()) return {};
  // At least the terminator is written, so that the payload is not empty.
  const size_t first = std::min(same, pairs.size() - 1);
  ByteVector payload(pairs.begin() + static_cast<ptrdiff_t>(first), pairs.end());
  payload.resize(length - view.mapping_pairs_offset() - first);
  const auto offset = static_cast<uint32_t>(view.mapping_pairs_offset() + first);
  return transaction.perform(update_mapping_pairs(found.offset, offset, payload), found.page);
}

class ExtentWriter {
 public:
  ExtentWriter(Volume& volume, FileReference file, Transaction& transaction, const Runlist& after,
               const ondisk::AttributeSizes& sizes)
      : volume_(volume), file_(file), transaction_(transaction), after_(after), sizes_(sizes) {}

  Result<> load(AttributeType type, std::u16string_view name);
  Result<> write(Vcn first, Vcn end);

 private:
  Vcn range_end(size_t index) const;
  std::vector<Run> runs_of(size_t first, size_t last) const;
  Result<Attributes::Found> resolve(size_t index) const;
  size_t extension_room(Vcn lowest) const;
  bool is_pinned(size_t index) const;
  Result<> widen(size_t& first, size_t& last) const;
  Result<size_t> write_from(size_t index, size_t last, Vcn changed);
  Result<> split(size_t index, const Attributes::Found& found, Vcn changed);
  size_t first_piece_bytes(size_t index, const Attributes::Found& found, std::span<const Run> runs,
                           Vcn changed) const;
  void add_record(std::span<const Run> runs, const EncodedMappingPairs& pairs);
  Result<> rearrange();

  Volume& volume_;
  const FileReference file_;
  Transaction& transaction_;
  const Runlist& after_;
  const ondisk::AttributeSizes& sizes_;
  PageRef base_;
  bool has_list_ = false;
  AttributeListEntries extents_;  // lowest vcn first
  uint16_t flags_ = 0;
  uint8_t compression_unit_ = 0;
  std::vector<size_t> removed_;
  std::vector<ByteVector> added_;
};

Result<> ExtentWriter::load(AttributeType type, std::u16string_view name) {
  base_ = TRY(volume_.mft().base_record(file_));
  const auto record = FileRecordView::of_valid(base_->bytes());
  const auto list = record.find(AttributeType::AttributeList);
  has_list_ = list.has_value();
  if (list && type != AttributeType::AttributeList) {
    AttributeListEntries entries = TRY(load_attribute_list(volume_, file_, *list));
    for (AttributeListEntry& entry : entries) {
      if (entry.type == type && entry.name == name) extents_.push_back(std::move(entry));
    }
  } else if (const auto attribute = record.find(type, name)) {
    extents_.push_back(
        {type, std::u16string(name), lowest_vcn_of(*attribute), file_, attribute->instance()});
  }
  if (extents_.empty()) return NtStatus::ObjectNameNotFound;
  for (size_t i = 0; i < extents_.size(); ++i) {
    const Vcn lowest = extents_[i].lowest_vcn;
    const bool is_right = i == 0 ? lowest == Vcn(0) : lowest > extents_[i - 1].lowest_vcn;
    if (!is_right) return corrupt({"attribute list", file_.raw(), 0}, "lowest vcn", lowest.raw());
  }
  const Attributes::Found first = TRY(resolve(0));
  const AttributeView view = first.view();
  if (view.is_resident()) return NtStatus::InvalidParameter;
  flags_ = view.flags();
  compression_unit_ = view.compression_unit();
  return write_sizes(transaction_, first, sizes_);
}

Result<Attributes::Found> ExtentWriter::resolve(size_t index) const {
  Attributes::Found found = TRY(resolve_entry(volume_, file_, base_, extents_[index]));
  const AttributeView view = found.view();
  const Origin origin = origin_of(file_, found);
  if (view.is_resident() && extents_.size() > 1) return corrupt(origin, "form", 0, "nonresident");
  if (index + 1 < extents_.size() && view.next_vcn() != extents_[index + 1].lowest_vcn) {
    return corrupt(origin, "highest vcn + 1", view.next_vcn().raw(), "lowest of the next record");
  }
  return found;
}

/// Where the range of an extent ends, in the new runlist.
Vcn ExtentWriter::range_end(size_t index) const {
  if (index + 1 == extents_.size()) return after_.end();
  return std::min(extents_[index + 1].lowest_vcn, after_.end());
}

std::vector<Run> ExtentWriter::runs_of(size_t first, size_t last) const {
  return after_.runs_in(extents_[first].lowest_vcn, range_end(last));
}

/// Bytes of mapping pairs that an extent may have in an extension record of its own.
size_t ExtentWriter::extension_room(Vcn lowest) const {
  const size_t total = volume_.geometry().file_record_size;
  const size_t room =
      align_down(total - ondisk::first_attribute_offset_of(total) - ondisk::kEndMarkerBytes, 8);
  const size_t offset =
      ondisk::nonresident_mapping_pairs_offset(extents_[0].name.size(), flags_, lowest);
  return room - offset;
}

/// Whether the extent may not leave the base record: a mount finds $MFT by it.
bool ExtentWriter::is_pinned(size_t index) const {
  return index == 0 && file_.record() < ondisk::kVolumeRecord &&
         extents_[0].type == AttributeType::Data;
}

Result<> ExtentWriter::write(Vcn first, Vcn end) {
  const auto index_before = [&](Vcn vcn) {  // of the last extent that begins before `vcn`
    const auto at = std::lower_bound(
        extents_.begin(), extents_.end(), vcn,
        [](const AttributeListEntry& entry, Vcn value) { return entry.lowest_vcn < value; });
    return at == extents_.begin() ? size_t{0} : static_cast<size_t>(at - extents_.begin()) - 1;
  };
  size_t from = index_before(Vcn(first.raw() + 1));
  size_t to = std::max(from, index_before(end));
  TRY(widen(from, to));
  for (size_t i = from; i <= to;) i = TRY(write_from(i, to, first))
  +1;
  return rearrange();
}

/// Takes a neighbour in when what the change leaves is short, so that the two may become one.
Result<> ExtentWriter::widen(size_t& first, size_t& last) const {
  if (extents_.size() == 1) return {};
  const size_t room = extension_room(Vcn(1));
  const auto runs = runs_of(first, last);
  const size_t size = ondisk::encoded_mapping_pairs_size(runs);
  if (size >= room / 4) return {};
  if (first == last) {
    const Attributes::Found found = TRY(resolve(first));
    if (size + 8 > found.view().mapping_pairs().size()) return {};  // it did not get shorter
  }
  if (last + 1 < extents_.size()) {
    ++last;
  } else if (first > 0) {
    --first;
  }
  return {};
}

/// Writes extent `index` and takes in as many of the next, up to `last`, as fit with it. Returns
/// the last one done.
Result<size_t> ExtentWriter::write_from(size_t index, size_t last, Vcn changed) {
  if (index > 0 && extents_[index].lowest_vcn >= after_.end()) {
    removed_.push_back(index);
    return index;
  }
  const Attributes::Found found = TRY(resolve(index));
  const size_t room = pairs_room(found);
  std::vector<Run> runs = runs_of(index, index);
  EncodedMappingPairs pairs = ondisk::encode_mapping_pairs(runs, room);
  if (pairs.run_count < runs.size()) {
    TRY(split(index, found, changed));
    return index;
  }
  size_t done = index;
  while (done < last && extents_[done + 1].lowest_vcn < after_.end()) {
    runs = runs_of(index, done + 1);
    EncodedMappingPairs longer = ondisk::encode_mapping_pairs(runs, room * 3 / 4);
    if (longer.run_count < runs.size()) break;
    pairs = std::move(longer);
    removed_.push_back(++done);
  }
  TRY(write_pairs(transaction_, found, pairs.bytes));
  return done;
}

/// How much of a range that is too long stays in the first piece.
size_t ExtentWriter::first_piece_bytes(size_t index, const Attributes::Found& found,
                                       std::span<const Run> runs, Vcn changed) const {
  size_t most = extension_room(extents_[index].lowest_vcn);
  if (is_pinned(index)) {
    // Room for the list, or for its next entry, must be left in the record.
    const size_t entry = ondisk::attribute_list_entry_length(0);
    size_t list = 2 * entry;
    if (!has_list_) {
      list += ondisk::kResidentHeaderBytes;
      const auto record = FileRecordView::of_valid(base_->bytes());
      for (const AttributeView attribute : record) {
        list += ondisk::attribute_list_entry_length(attribute.name_bytes().size() / 2);
      }
    }
    const size_t room = pairs_room(found);
    most = room > list ? room - list : 1;
  }
  // A list that grows at its end fills its records; one that changes inside leaves room in both.
  const size_t size = ondisk::encoded_mapping_pairs_size(runs);
  const auto behind =
      std::find_if(runs.begin(), runs.end(), [&](const Run& run) { return run.end() > changed; });
  const size_t unchanged =
      ondisk::encoded_mapping_pairs_size(runs.first(static_cast<size_t>(behind - runs.begin())));
  const bool appends = index + 1 == extents_.size() && unchanged >= size / 4 * 3;
  return appends ? most : std::min(most, size / 2);
}

Result<> ExtentWriter::split(size_t index, const Attributes::Found& found, Vcn changed) {
  const std::vector<Run> all = runs_of(index, index);
  std::span<const Run> rest = all;
  const size_t whole = extension_room(extents_[index].lowest_vcn);
  if (!is_pinned(index) && ondisk::encoded_mapping_pairs_size(rest) <= whole) {
    // Only too long for the neighbours that it has.
    removed_.push_back(index);
    add_record(rest, ondisk::encode_mapping_pairs(rest, whole));
    return {};
  }
  const size_t wanted = std::max<size_t>(first_piece_bytes(index, found, rest, changed), 1);
  EncodedMappingPairs piece = ondisk::encode_mapping_pairs(rest, wanted);
  if (piece.run_count == 0) piece = ondisk::encode_mapping_pairs(rest.first(1), whole);
  if (piece.bytes.size() <= pairs_room(found)) {
    TRY(write_pairs(transaction_, found, piece.bytes));
  } else if (is_pinned(index)) {
    return NtStatus::FileSystemLimitation;
  } else {
    removed_.push_back(index);
    add_record(rest, piece);
  }
  rest = rest.subspan(piece.run_count);
  while (!rest.empty()) {
    piece = ondisk::encode_mapping_pairs(rest, extension_room(rest.front().vcn));
    if (piece.run_count == 0) return NtStatus::FileSystemLimitation;  // a very long name
    add_record(rest, piece);
    rest = rest.subspan(piece.run_count);
  }
  return {};
}

void ExtentWriter::add_record(std::span<const Run> runs, const EncodedMappingPairs& pairs) {
  ondisk::NonresidentInit init;
  init.type = extents_[0].type;
  init.flags = flags_;
  init.lowest = runs.front().vcn;
  init.next = pairs.next;
  init.sizes = sizes_;
  // ntfs3 takes a unit in the first record only.
  if (init.lowest == Vcn(0)) init.compression_unit = compression_unit_;
  added_.push_back(ondisk::build_nonresident(init, extents_[0].name, pairs.bytes));
}

Result<> ExtentWriter::rearrange() {
  if (removed_.empty() && added_.empty()) return {};
  AttributeLayout layout(volume_, file_);
  TRY(layout.load());
  for (const size_t index : removed_) TRY(layout.remove(extents_[index]));
  for (ByteVector& record : added_) layout.add(std::move(record));
  return layout.store(transaction_);
}

/// The vcns in which two runlists differ.
struct Difference {
  Vcn first;
  Vcn end;
};

Difference difference(const Runlist& before, const Runlist& after) {
  const auto a = before.runs();
  const auto b = after.runs();
  const size_t common = std::min(a.size(), b.size());
  const size_t i = before.equal_at_start(after);
  Difference result;
  if (i < common) {
    const bool same_start = a[i].lcn == b[i].lcn;
    result.first = same_start ? std::min(a[i].end(), b[i].end()) : a[i].vcn;
  } else {
    result.first = std::min(before.end(), after.end());
  }
  result.end = std::max(before.end(), after.end());
  if (before.end() != after.end()) return result;
  const size_t from_back = std::min(before.equal_at_end(after), common - i);
  if (from_back < a.size()) result.end = a[a.size() - 1 - from_back].end();
  result.end = std::max(result.end, result.first);
  return result;
}

}  // namespace

Result<Runlist> Attributes::load_runs(AttributeType type, std::u16string_view name) {
  const std::vector<Found> records = TRY(records_of(type, name));
  if (records.empty() || (records.size() == 1 && records[0].view().is_resident())) {
    return NtStatus::ObjectNameNotFound;
  }
  const ondisk::VolumeGeometry& geometry = volume_.geometry();
  Runlist runs;
  for (const Found& found : records) {
    const AttributeView view = found.view();
    const Origin origin = origin_of(file_, found);
    if (view.is_resident()) return corrupt(origin, "form", 0, "nonresident");
    if (view.lowest_vcn() != runs.end()) {
      return corrupt(origin, "lowest vcn", view.lowest_vcn().raw(), "highest of the last + 1");
    }
    const std::vector<Run> decoded = TRY(ondisk::decode_mapping_pairs(
        view.mapping_pairs(), view.lowest_vcn(), view.next_vcn(), geometry.total_clusters, origin));
    for (const Run& run : decoded) runs.append(run.lcn, run.count);
  }
  const uint64_t allocated = records[0].view().allocated_size();
  if (allocated / geometry.cluster_size > runs.end().raw()) {
    return corrupt(origin_of(file_, records[0]), "allocated size", allocated, "what is mapped");
  }
  return runs;
}

Result<Runlist> Attributes::load_whole_runs(AttributeType type, std::u16string_view name) {
  Runlist runs = TRY(load_runs(type, name));
  const Origin origin{"runlist of metadata", file_.raw(), static_cast<uint32_t>(type)};
  if (runs.allocated() != runs.end() - Vcn(0)) {
    return corrupt(origin, "mapped clusters", runs.allocated().raw(), "no hole");
  }
  const uint64_t total = volume_.geometry().total_clusters;
  if (runs.end().raw() > total) {
    return corrupt(origin, "mapped clusters", runs.end().raw(), "no more than the volume has");
  }
  return runs;
}

Result<> Attributes::store_runs(Transaction& transaction, AttributeType type,
                                std::u16string_view name, const Runlist& before,
                                const Runlist& after, const ondisk::AttributeSizes& sizes) {
  const Difference changed = difference(before, after);
  return store_changed_runs(transaction, type, name, after, changed.first, changed.end, sizes);
}

Result<> Attributes::store_changed_runs(Transaction& transaction, AttributeType type,
                                        std::u16string_view name, const Runlist& after, Vcn first,
                                        Vcn end, const ondisk::AttributeSizes& sizes) {
  if (after.allocated() != after.end() - Vcn(0)) TRY(make_sparse(transaction, type, name));
  ExtentWriter writer(volume_, file_, transaction, after, sizes);
  TRY(writer.load(type, name));
  return writer.write(first, end);
}

}  // namespace ntfs
