#include "core/store/operations.h"

#include <algorithm>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/operation_places.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordHeader;
using ondisk::FileRecordView;
using ondisk::IndexEntryView;
using ondisk::IndexNodeView;
using ondisk::LogOp;
using ondisk::NonresidentForm;
using ondisk::ResidentForm;
using operation_places::attribute_of;
using operation_places::block_entry;
using operation_places::block_node;
using operation_places::kDuplicatedInEntry;
using operation_places::kSizesWithTotalBytes;
using operation_places::node_offset;
using operation_places::root_entry;
using operation_places::view_data_offset;

namespace {

/// Replaces `old_length` bytes at `offset` of the used part by `bytes`; moves what follows.
void splice_record(MutableBytes page, size_t offset, size_t old_length, ByteView bytes) {
  auto& header = struct_at<FileRecordHeader>(page);
  const size_t used = header.used_bytes.get();
  const size_t tail = used - offset - old_length;
  const size_t new_used = used - old_length + bytes.size();
  std::memmove(page.data() + offset + bytes.size(), page.data() + offset + old_length, tail);
  if (!bytes.empty()) std::memcpy(page.data() + offset, bytes.data(), bytes.size());
  if (new_used < used) std::memset(page.data() + new_used, 0, used - new_used);
  header.used_bytes.set(static_cast<uint32_t>(new_used));
}

void adjust_links(MutableBytes page, const AttributeView& attribute, int change) {
  if (!attribute.is_resident() || !attribute.is_indexed()) return;
  auto& header = struct_at<FileRecordHeader>(page);
  header.link_count.set(static_cast<uint16_t>(header.link_count.get() + change));
}

void stamp(PageKind kind, MutableBytes page, lfs::Lsn lsn) {
  if (kind == PageKind::FileRecord) struct_at<FileRecordHeader>(page).lsn.set(lsn.raw());
  if (kind == PageKind::IndexBlock) struct_at<ondisk::IndexBlockHeader>(page).lsn.set(lsn.raw());
}

// Index nodes: `node` begins at the IndexHeader.

void splice_block(MutableBytes page, size_t offset, size_t old_length, ByteView bytes) {
  auto& header = struct_at<ondisk::IndexBlockHeader>(page).index;
  const size_t used = ondisk::kIndexHeaderInBlock + header.used_bytes.get();
  const size_t tail = used - offset - old_length;
  const size_t new_used = used - old_length + bytes.size();
  std::memmove(page.data() + offset + bytes.size(), page.data() + offset + old_length, tail);
  if (!bytes.empty()) std::memcpy(page.data() + offset, bytes.data(), bytes.size());
  if (new_used < used) std::memset(page.data() + new_used, 0, used - new_used);
  header.used_bytes.set(static_cast<uint32_t>(new_used - ondisk::kIndexHeaderInBlock));
}

/// Root node: the attribute record, its value and the node grow or shrink with the entry.
void splice_root(const Operation& operation, MutableBytes page, size_t old_length, ByteView bytes) {
  const auto root = *attribute_of(operation, page);
  const size_t node = root.offset() + node_offset(root);
  const uint32_t delta =
      static_cast<uint32_t>(bytes.size()) - static_cast<uint32_t>(old_length);  // wraps to negative
  splice_record(page, root.offset() + operation.attribute_offset, old_length, bytes);
  auto& form = struct_at<ResidentForm>(page, root.offset());
  form.header.record_length.set(form.header.record_length.get() + delta);
  form.value_length.set(form.value_length.get() + delta);
  auto& header = struct_at<ondisk::IndexHeader>(page, node);
  header.used_bytes.set(header.used_bytes.get() + delta);
  header.allocated_bytes.set(header.used_bytes.get());
}

// apply, by class of operation.

void apply_create(const Operation& operation, MutableBytes page) {
  splice_record(page, operation.record_offset, 0, operation.payload);
  const auto attribute = *attribute_of(operation, page);
  auto& header = struct_at<FileRecordHeader>(page);
  if (attribute.instance() >= header.next_attribute_instance.get()) {
    header.next_attribute_instance.set(static_cast<uint16_t>(attribute.instance() + 1));
  }
  adjust_links(page, attribute, +1);
}

void apply_delete(const Operation& operation, MutableBytes page) {
  const auto attribute = *attribute_of(operation, page);
  adjust_links(page, attribute, -1);
  splice_record(page, operation.record_offset, attribute.length(), {});
}

void apply_mapping_pairs(const Operation& operation, MutableBytes page) {
  const auto attribute = *attribute_of(operation, page);
  const size_t start = operation.attribute_offset;
  splice_record(page, attribute.offset() + start, attribute.length() - start, operation.payload);
  auto& form = struct_at<NonresidentForm>(page, attribute.offset());
  form.header.record_length.set(static_cast<uint32_t>(start + operation.payload.size()));
  const size_t pairs = form.mapping_pairs_offset.get();
  const ByteView encoded =
      ByteView(page).subspan(attribute.offset() + pairs, form.header.record_length.get() - pairs);
  const ClusterCount count = *ondisk::count_mapped_clusters(encoded);
  form.highest_vcn.set(form.lowest_vcn.get() + count.raw() - 1);
}

void apply_sizes(const Operation& operation, MutableBytes page) {
  auto& form = struct_at<NonresidentForm>(page, operation.record_offset);
  form.allocated_size = struct_at<le64>(operation.payload, 0);
  form.valid_data_length = struct_at<le64>(operation.payload, 8);
  form.file_size = struct_at<le64>(operation.payload, 16);
  if (operation.payload.size() == kSizesWithTotalBytes) {
    struct_at<ondisk::NonresidentSparseForm>(page, operation.record_offset).total_allocated =
        struct_at<le64>(operation.payload, 24);
  }
}

void apply_deallocate(MutableBytes page) {
  auto& header = struct_at<FileRecordHeader>(page);
  header.flags.set(header.flags.get() & static_cast<uint16_t>(~ondisk::FileRecordFlags::InUse));
  const auto next = static_cast<uint16_t>(header.sequence.get() + 1);
  header.sequence.set(next == 0 ? 1 : next);
}

void put(const Operation& operation, MutableBytes page, size_t at) {
  if (!operation.payload.empty()) {
    std::memcpy(page.data() + at, operation.payload.data(), operation.payload.size());
  }
}

void apply_initialize(const Operation& operation, MutableBytes page) {
  if (operation.form == OperationForm::Partial)
    return put(operation, page, operation.record_offset);
  std::memcpy(page.data(), operation.payload.data(), operation.payload.size());
  std::memset(page.data() + operation.payload.size(), 0, page.size() - operation.payload.size());
}

void apply_update_value(const Operation& operation, MutableBytes page) {
  const size_t at = size_t{operation.record_offset} + operation.attribute_offset;
  if (operation.form != OperationForm::Resizing) return put(operation, page, at);
  const auto attribute = *attribute_of(operation, page);
  const size_t end = operation.attribute_offset + operation.payload.size();
  ByteVector changed(attribute.bytes().begin(),
                     attribute.bytes().begin() + operation.attribute_offset);
  changed.insert(changed.end(), operation.payload.begin(), operation.payload.end());
  changed.resize(align_up(end, 8));
  auto& form = struct_at<ResidentForm>(MutableBytes(changed));
  form.header.record_length.set(static_cast<uint32_t>(changed.size()));
  form.value_length.set(static_cast<uint32_t>(end - attribute.value_offset()));
  splice_record(page, attribute.offset(), attribute.length(), changed);
}

void apply_bits(const Operation& operation, MutableBytes page, bool set) {
  const uint32_t first = struct_at<le32>(operation.payload, 0).get();
  const uint32_t count = struct_at<le32>(operation.payload, 4).get();
  uint32_t bit = first;
  const uint32_t end = first + count;
  while (bit < end) {
    if (bit % 8 == 0 && end - bit >= 8) {
      const uint32_t bytes = (end - bit) / 8;
      std::memset(page.data() + bit / 8, set ? 0xFF : 0, bytes);
      bit += bytes * 8;
      continue;
    }
    const std::byte mask{static_cast<uint8_t>(1u << (bit % 8))};
    std::byte& byte = page[bit / 8];
    byte = set ? byte | mask : byte & ~mask;
    ++bit;
  }
}

void apply_file_record(const Operation& operation, MutableBytes page) {
  const ByteView view = page;
  switch (operation.op) {
    case LogOp::InitializeFileRecordSegment:
      return apply_initialize(operation, page);
    case LogOp::DeallocateFileRecordSegment:
      return apply_deallocate(page);
    case LogOp::WriteEndOfFileRecordSegment: {
      const uint32_t used = FileRecordView::of_valid(view).used_bytes();
      return splice_record(page, operation.record_offset, used - operation.record_offset,
                           operation.payload);
    }
    case LogOp::CreateAttribute:
      return apply_create(operation, page);
    case LogOp::DeleteAttribute:
      return apply_delete(operation, page);
    case LogOp::UpdateResidentValue:
      return apply_update_value(operation, page);
    case LogOp::UpdateMappingPairs:
      return apply_mapping_pairs(operation, page);
    case LogOp::SetNewAttributeSizes:
      return apply_sizes(operation, page);
    case LogOp::AddIndexEntryRoot:
      return splice_root(operation, page, 0, operation.payload);
    case LogOp::DeleteIndexEntryRoot:
      return splice_root(operation, page, root_entry(operation, view)->length(), {});
    case LogOp::SetIndexEntryVcnRoot:
      return put(operation, page,
                 size_t{operation.record_offset} + operation.attribute_offset +
                     root_entry(operation, view)->length() - ondisk::kSubnodeVcnBytes);
    case LogOp::UpdateFileNameRoot:
      return put(operation, page,
                 size_t{operation.record_offset} + operation.attribute_offset + kDuplicatedInEntry);
    case LogOp::UpdateRecordDataRoot:
      return put(operation, page,
                 size_t{operation.record_offset} + operation.attribute_offset +
                     *view_data_offset(*root_entry(operation, view), operation.payload.size()));
    case LogOp::ZeroEndOfFileRecord:
      return put(operation, page, operation.record_offset);
    default:
      ASSERT(false);
  }
}

void apply_index_block(const Operation& operation, MutableBytes page) {
  const size_t at = operation.attribute_offset;
  switch (operation.op) {
    case LogOp::AddIndexEntryAllocation:
      return splice_block(page, at, 0, operation.payload);
    case LogOp::DeleteIndexEntryAllocation:
      return splice_block(page, at, block_entry(operation, page)->length(), {});
    case LogOp::WriteEndOfIndexBuffer: {
      const size_t used = ondisk::kIndexHeaderInBlock + block_node(page).used_bytes();
      return splice_block(page, at, used - at, operation.payload);
    }
    case LogOp::SetIndexEntryVcnAllocation:
      return put(operation, page,
                 at + block_entry(operation, page)->length() - ondisk::kSubnodeVcnBytes);
    case LogOp::UpdateFileNameAllocation:
      return put(operation, page, at + kDuplicatedInEntry);
    case LogOp::UpdateRecordDataAllocation:
      return put(operation, page,
                 at + *view_data_offset(*block_entry(operation, page), operation.payload.size()));
    default:  // UpdateNonresidentValue: a whole new block
      return apply_initialize(operation, page);
  }
}

void apply_raw(const Operation& operation, MutableBytes page) {
  switch (operation.op) {
    case LogOp::SetBitsInNonresidentBitMap:
      return apply_bits(operation, page, true);
    case LogOp::ClearBitsInNonresidentBitMap:
      return apply_bits(operation, page, false);
    default:  // UpdateNonresidentValue
      return put(operation, page, operation.record_offset);
  }
}

/// `undo` of the same place, with the bytes that stand at `from` now.
Operation restore(const Operation& redo, ByteView page, size_t from, size_t length) {
  return {redo.op, redo.record_offset, redo.attribute_offset, page.subspan(from, length)};
}

Operation inverse_of_file_record(const Operation& redo, ByteView page, ByteVector& scratch) {
  const auto record = FileRecordView::of_valid(page);
  const size_t at = size_t{redo.record_offset} + redo.attribute_offset;
  switch (redo.op) {
    case LogOp::InitializeFileRecordSegment:
      // A record in use is rewritten as a whole: back comes what it was.
      if (record.in_use()) return {redo.op, 0, 0, page.first(record.used_bytes())};
      return {LogOp::DeallocateFileRecordSegment, 0, 0, {}};
    case LogOp::DeallocateFileRecordSegment:
      return {LogOp::InitializeFileRecordSegment, 0, 0, page.first(record.used_bytes())};
    case LogOp::WriteEndOfFileRecordSegment:
      return restore(redo, page, redo.record_offset, record.used_bytes() - redo.record_offset);
    case LogOp::CreateAttribute:
      return {LogOp::DeleteAttribute, redo.record_offset, 0, {}};
    case LogOp::DeleteAttribute:
      return {LogOp::CreateAttribute, redo.record_offset, 0, attribute_of(redo, page)->bytes()};
    case LogOp::UpdateResidentValue:
      return restore(redo, page, at, redo.payload.size());
    case LogOp::UpdateMappingPairs:
      return restore(redo, page, at, attribute_of(redo, page)->length() - redo.attribute_offset);
    case LogOp::SetNewAttributeSizes: {
      const auto sizes = encode_sizes(attribute_of(redo, page)->sizes());
      scratch.assign(sizes.begin(), sizes.begin() + static_cast<ptrdiff_t>(redo.payload.size()));
      return {redo.op, redo.record_offset, 0, scratch};
    }
    case LogOp::AddIndexEntryRoot:
      return {LogOp::DeleteIndexEntryRoot, redo.record_offset, redo.attribute_offset, {}};
    case LogOp::DeleteIndexEntryRoot:
      return {LogOp::AddIndexEntryRoot, redo.record_offset, redo.attribute_offset,
              root_entry(redo, page)->bytes()};
    case LogOp::SetIndexEntryVcnRoot:
      return restore(redo, page, at + root_entry(redo, page)->length() - ondisk::kSubnodeVcnBytes,
                     ondisk::kSubnodeVcnBytes);
    default:  // UpdateFileNameRoot
      return restore(redo, page, at + kDuplicatedInEntry, redo.payload.size());
  }
}

Operation inverse_of_index_block(const Operation& redo, ByteView page) {
  const size_t at = redo.attribute_offset;
  switch (redo.op) {
    case LogOp::AddIndexEntryAllocation:
      return {LogOp::DeleteIndexEntryAllocation, 0, redo.attribute_offset, {}};
    case LogOp::DeleteIndexEntryAllocation:
      return {LogOp::AddIndexEntryAllocation, 0, redo.attribute_offset,
              block_entry(redo, page)->bytes()};
    case LogOp::WriteEndOfIndexBuffer: {
      const size_t used = ondisk::kIndexHeaderInBlock + block_node(page).used_bytes();
      return restore(redo, page, at, used - at);
    }
    case LogOp::SetIndexEntryVcnAllocation:
      return restore(redo, page, at + block_entry(redo, page)->length() - ondisk::kSubnodeVcnBytes,
                     ondisk::kSubnodeVcnBytes);
    case LogOp::UpdateFileNameAllocation:
      return restore(redo, page, at + kDuplicatedInEntry, redo.payload.size());
    default:  // a whole block: the old one
      return {redo.op, 0, 0,
              page.first(ondisk::kIndexHeaderInBlock + block_node(page).used_bytes())};
  }
}

Operation inverse_of_raw(const Operation& redo, ByteView page) {
  switch (redo.op) {
    case LogOp::SetBitsInNonresidentBitMap:
      return {LogOp::ClearBitsInNonresidentBitMap, 0, 0, redo.payload};
    case LogOp::ClearBitsInNonresidentBitMap:
      return {LogOp::SetBitsInNonresidentBitMap, 0, 0, redo.payload};
    default:
      return restore(redo, page, redo.record_offset, redo.payload.size());
  }
}

}  // namespace

Operation inverse(const Operation& redo, PageKind kind, ByteView page, ByteVector& scratch) {
  switch (kind) {
    case PageKind::FileRecord:
      return inverse_of_file_record(redo, page, scratch);
    case PageKind::IndexBlock:
      return inverse_of_index_block(redo, page);
    case PageKind::Raw:
      break;
  }
  return inverse_of_raw(redo, page);
}

void apply(const Operation& operation, PageKind kind, MutableBytes page, lfs::Lsn lsn) {
  switch (kind) {
    case PageKind::FileRecord:
      apply_file_record(operation, page);
      break;
    case PageKind::IndexBlock:
      apply_index_block(operation, page);
      break;
    case PageKind::Raw:
      apply_raw(operation, page);
      break;
  }
  stamp(kind, page, lsn);
}

// Makers.

namespace {

uint16_t narrow(uint32_t offset) {
  ASSERT(offset <= 0xFFFF);
  return static_cast<uint16_t>(offset);
}

/// Bytes of an INDX block from `offset` to the end of the used part.
ByteView used_from(ByteView page, uint32_t offset) {
  const size_t used = ondisk::kIndexHeaderInBlock + block_node(page).used_bytes();
  ASSERT(offset <= used);
  return page.subspan(offset, used - offset);
}

}  // namespace

Operation initialize_file_record(ByteView record) {
  return {LogOp::InitializeFileRecordSegment, 0, 0, record};
}

Operation deallocate_file_record() { return {LogOp::DeallocateFileRecordSegment, 0, 0, {}}; }

Operation write_end_of_file_record(uint32_t record_offset, ByteView attributes_and_end) {
  return {LogOp::WriteEndOfFileRecordSegment, narrow(record_offset), 0, attributes_and_end};
}

Operation create_attribute(uint32_t record_offset, ByteView attribute_record) {
  return {LogOp::CreateAttribute, narrow(record_offset), 0, attribute_record};
}

Operation delete_attribute(uint32_t record_offset) {
  return {LogOp::DeleteAttribute, narrow(record_offset), 0, {}};
}

Operation update_resident_value(uint32_t record_offset, uint32_t attribute_offset, ByteView bytes) {
  return {LogOp::UpdateResidentValue, narrow(record_offset), narrow(attribute_offset), bytes};
}

Operation update_mapping_pairs(uint32_t record_offset, uint32_t attribute_offset, ByteView pairs) {
  return {LogOp::UpdateMappingPairs, narrow(record_offset), narrow(attribute_offset), pairs};
}

Operation set_new_attribute_sizes(uint32_t record_offset, ByteView sizes) {
  return {LogOp::SetNewAttributeSizes, narrow(record_offset), 0, sizes};
}

std::array<std::byte, 32> encode_sizes(const ondisk::AttributeSizes& sizes) {
  std::array<std::byte, 32> bytes{};
  const MutableBytes view = bytes;
  struct_at<le64>(view, 0).set(sizes.allocated);
  struct_at<le64>(view, 8).set(sizes.valid_data_length);
  struct_at<le64>(view, 16).set(sizes.file_size);
  struct_at<le64>(view, 24).set(sizes.total_allocated);
  return bytes;
}

Operation add_index_entry_root(uint32_t record_offset, uint32_t attribute_offset, ByteView entry) {
  return {LogOp::AddIndexEntryRoot, narrow(record_offset), narrow(attribute_offset), entry};
}

Operation delete_index_entry_root(uint32_t record_offset, uint32_t attribute_offset) {
  return {LogOp::DeleteIndexEntryRoot, narrow(record_offset), narrow(attribute_offset), {}};
}

Operation set_index_entry_vcn_root(uint32_t record_offset, uint32_t attribute_offset,
                                   ByteView vcn) {
  return {LogOp::SetIndexEntryVcnRoot, narrow(record_offset), narrow(attribute_offset), vcn};
}

Operation update_file_name_root(uint32_t record_offset, uint32_t attribute_offset, ByteView info) {
  return {LogOp::UpdateFileNameRoot, narrow(record_offset), narrow(attribute_offset), info};
}

Operation add_index_entry(uint32_t entry_offset, ByteView entry, ByteView page,
                          ByteVector& scratch) {
  const ByteView tail = used_from(page, entry_offset);
  if (tail.size() >= entry.size()) {
    return {LogOp::AddIndexEntryAllocation, 0, narrow(entry_offset), entry};
  }
  scratch.assign(entry.begin(), entry.end());
  scratch.insert(scratch.end(), tail.begin(), tail.end());
  return write_end_of_index_buffer(entry_offset, scratch);
}

Operation delete_index_entry(uint32_t entry_offset, ByteView page, ByteVector& scratch) {
  const ByteView from = used_from(page, entry_offset);
  const size_t length = struct_at<ondisk::IndexEntryHeader>(from).entry_length.get();
  const ByteView tail = from.subspan(length);
  if (tail.size() >= length)
    return {LogOp::DeleteIndexEntryAllocation, 0, narrow(entry_offset), {}};
  scratch.assign(tail.begin(), tail.end());
  return write_end_of_index_buffer(entry_offset, scratch);
}

Operation write_end_of_index_buffer(uint32_t entry_offset, ByteView entries_and_end) {
  return {LogOp::WriteEndOfIndexBuffer, 0, narrow(entry_offset), entries_and_end};
}

Operation set_index_entry_vcn(uint32_t entry_offset, ByteView vcn) {
  return {LogOp::SetIndexEntryVcnAllocation, 0, narrow(entry_offset), vcn};
}

Operation update_file_name(uint32_t entry_offset, ByteView info) {
  return {LogOp::UpdateFileNameAllocation, 0, narrow(entry_offset), info};
}

Operation update_nonresident_value(uint32_t offset_in_page, ByteView bytes) {
  return {LogOp::UpdateNonresidentValue, narrow(offset_in_page), 0, bytes};
}

Operation set_bits(ByteView range) { return {LogOp::SetBitsInNonresidentBitMap, 0, 0, range}; }

Operation clear_bits(ByteView range) { return {LogOp::ClearBitsInNonresidentBitMap, 0, 0, range}; }

std::array<std::byte, 8> encode_bit_range(uint32_t first_bit, uint32_t count_bits) {
  return ondisk::BitRange{first_bit, count_bits}.encode();
}

}  // namespace ntfs
