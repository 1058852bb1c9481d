// Whether an operation fits a page. What is checked is what other replayers check before they apply
// it (log sheet, 8.2 "Conditions common to an operation class"), and that the result is whole.

#include <algorithm>

#include "core/ondisk/mapping_pairs.h"
#include "core/store/operation_places.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordHeader;
using ondisk::FileRecordView;
using ondisk::IndexEntryView;
using ondisk::LogOp;
using ondisk::NonresidentForm;
using ondisk::ResidentForm;
using operation_places::attribute_of;
using operation_places::block_entry;
using operation_places::block_node;
using operation_places::kSizesBytes;
using operation_places::kSizesWithTotalBytes;
using operation_places::root_entry;
using operation_places::view_data_offset;

namespace {

Result<> refuse(const Operation& operation, std::string_view field, uint64_t found) {
  return corrupt({"log operation", 0, static_cast<uint64_t>(operation.op)}, field, found);
}

/// For forms that the rules below do not cover: what comes out must be whole. That `apply` stays
/// inside the page has been checked.
Result<> check_outcome(const Operation& operation, PageKind kind, ByteView page) {
  ByteVector whole(page.begin(), page.end());
  apply(operation, kind, whole, {});
  if (kind == PageKind::FileRecord) {
    TRY(FileRecordView::parse(whole, {"file record after a log record", 0, 0}));
  } else {
    const Vcn vcn(struct_at<ondisk::IndexBlockHeader>(ByteView(whole)).vcn.get());
    TRY(ondisk::parse_index_block(whole, vcn, ondisk::IndexKind::Any,
                                  {"INDX buffer after a log record", 0, 0}));
  }
  return {};
}

Result<> check_part(const Operation& operation, PageKind kind, ByteView page) {
  if (operation.record_offset + operation.payload.size() > page.size()) {
    return refuse(operation, "length", operation.payload.size());
  }
  return check_outcome(operation, kind, page);
}

// check, by class of operation.

Result<> check_initialize(const Operation& operation, ByteView page) {
  if (operation.form == OperationForm::Partial) {
    return check_part(operation, PageKind::FileRecord, page);
  }
  if (operation.payload.size() > page.size()) {
    return refuse(operation, "length", operation.payload.size());
  }
  ByteVector whole(page.size());
  std::copy(operation.payload.begin(), operation.payload.end(), whole.begin());
  TRY(FileRecordView::parse(whole, {"file record in a log record", 0, 0}));
  return {};
}

Result<> check_write_end(const Operation& operation, ByteView page) {
  const auto record = FileRecordView::of_valid(page);
  if (!record.is_attribute_boundary(operation.record_offset)) {
    return refuse(operation, "record offset", operation.record_offset);
  }
  if (operation.record_offset + operation.payload.size() > page.size() ||
      operation.payload.size() % 8 != 0) {
    return refuse(operation, "length", operation.payload.size());
  }
  ByteVector whole(page.begin(), page.end());
  std::copy(operation.payload.begin(), operation.payload.end(),
            whole.begin() + operation.record_offset);
  struct_at<FileRecordHeader>(MutableBytes(whole))
      .used_bytes.set(static_cast<uint32_t>(operation.record_offset + operation.payload.size()));
  TRY(FileRecordView::parse(whole, {"file record after a log record", 0, 0}));
  return {};
}

Result<> check_create(const Operation& operation, ByteView page) {
  const auto record = FileRecordView::of_valid(page);
  if (!record.is_attribute_boundary(operation.record_offset)) {
    return refuse(operation, "record offset", operation.record_offset);
  }
  const auto attribute =
      TRY(AttributeView::parse(operation.payload, 0, {"attribute in a log record", 0, 0}));
  if (attribute.length() != operation.payload.size() || attribute.length() > record.free_bytes()) {
    return refuse(operation, "length", operation.payload.size());
  }
  for (const AttributeView& other : record) {
    const bool before = other.offset() < operation.record_offset;
    if (before ? other.type() > attribute.type() : other.type() < attribute.type()) {
      return refuse(operation, "attribute order", static_cast<uint64_t>(attribute.type()));
    }
  }
  return {};
}

Result<> check_update_value(const Operation& operation, const AttributeView& attribute) {
  const size_t end = size_t{operation.attribute_offset} + operation.payload.size();
  if (end > attribute.length() || operation.attribute_offset < sizeof(ondisk::AttributeHeader)) {
    return refuse(operation, "attribute offset", operation.attribute_offset);
  }
  if (attribute.is_resident() && operation.attribute_offset >= attribute.value_offset() &&
      attribute.type() != AttributeType::IndexRoot) {
    return {};
  }
  ByteVector changed(attribute.bytes().begin(), attribute.bytes().end());
  std::copy(operation.payload.begin(), operation.payload.end(),
            changed.begin() + operation.attribute_offset);
  TRY(AttributeView::parse(changed, 0, {"attribute after a log record", 0, 0}));
  return {};
}

Result<> check_resize(const Operation& operation, const AttributeView& attribute, ByteView page) {
  const size_t length = align_up(size_t{operation.attribute_offset} + operation.payload.size(), 8);
  if (!attribute.is_resident() || operation.attribute_offset < attribute.value_offset() ||
      operation.attribute_offset > attribute.length()) {
    return refuse(operation, "attribute offset", operation.attribute_offset);
  }
  if (length > attribute.length() + FileRecordView::of_valid(page).free_bytes()) {
    return refuse(operation, "length", operation.payload.size());
  }
  return check_outcome(operation, PageKind::FileRecord, page);
}

Result<> check_mapping_pairs(const Operation& operation, const AttributeView& attribute,
                             ByteView page) {
  if (attribute.is_resident()) return refuse(operation, "form", 0);
  const size_t start = operation.attribute_offset;
  const size_t end = start + operation.payload.size();
  const size_t pairs = attribute.mapping_pairs_offset();
  if (start < pairs || start > attribute.length() || end % 8 != 0 || end <= pairs) {
    return refuse(operation, "attribute offset", start);
  }
  const uint32_t room = FileRecordView::of_valid(page).free_bytes();
  if (end > attribute.length() + room) return refuse(operation, "length", end);
  ByteVector whole(attribute.bytes().begin() + static_cast<ptrdiff_t>(pairs),
                   attribute.bytes().begin() + static_cast<ptrdiff_t>(start));
  whole.insert(whole.end(), operation.payload.begin(), operation.payload.end());
  if (!ondisk::count_mapped_clusters(whole)) return refuse(operation, "mapping pairs", start);
  return {};
}

Result<> check_sizes(const Operation& operation, const AttributeView& attribute) {
  const size_t length = operation.payload.size();
  if (attribute.is_resident() || attribute.lowest_vcn() != Vcn(0)) {
    return refuse(operation, "form", 0);
  }
  if (length != kSizesBytes &&
      !(length == kSizesWithTotalBytes && attribute.has_total_allocated())) {
    return refuse(operation, "length", length);
  }
  const uint64_t allocated = struct_at<le64>(operation.payload, 0).get();
  const uint64_t valid = struct_at<le64>(operation.payload, 8).get();
  const uint64_t size = struct_at<le64>(operation.payload, 16).get();
  if (valid > size || size > allocated) return refuse(operation, "file size", size);
  return {};
}

Result<> check_entry_payload(const Operation& operation) {
  if (operation.payload.size() < sizeof(ondisk::IndexEntryHeader)) {
    return refuse(operation, "length", operation.payload.size());
  }
  const auto& header = struct_at<ondisk::IndexEntryHeader>(operation.payload);
  const size_t length = header.entry_length.get();
  if (length != operation.payload.size() || length % 8 != 0 ||
      header.key_length.get() + sizeof(header) > length ||
      (header.flags.get() & ondisk::IndexEntryFlags::End) != 0) {
    return refuse(operation, "entry length", length);
  }
  return {};
}

Result<> check_root_operation(const Operation& operation, ByteView page) {
  const auto entry = root_entry(operation, page);
  if (!entry) return refuse(operation, "attribute offset", operation.attribute_offset);
  switch (operation.op) {
    case LogOp::AddIndexEntryRoot:
      TRY(check_entry_payload(operation));
      if (operation.payload.size() > FileRecordView::of_valid(page).free_bytes()) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
    case LogOp::DeleteIndexEntryRoot:
      if (entry->is_end()) return refuse(operation, "entry", operation.attribute_offset);
      return {};
    case LogOp::SetIndexEntryVcnRoot:
      if (!entry->has_subnode() || operation.payload.size() != ondisk::kSubnodeVcnBytes) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
    case LogOp::UpdateRecordDataRoot:
      if (!view_data_offset(*entry, operation.payload.size())) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
    default:  // UpdateFileNameRoot
      if (operation.payload.size() != sizeof(ondisk::DuplicatedInformation) || entry->is_end() ||
          entry->key().size() < sizeof(ondisk::FileNameHeader)) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
  }
}

Result<> check_block_write_end(const Operation& operation, ByteView page) {
  const size_t end = size_t{operation.attribute_offset} + operation.payload.size();
  const auto node = block_node(page);
  if (end > ondisk::kIndexHeaderInBlock + node.allocated_bytes()) {
    return refuse(operation, "length", operation.payload.size());
  }
  if (operation.payload.size() % 8 != 0) {
    return refuse(operation, "length", operation.payload.size());
  }
  // What stands before the entry at that place stays as it is. Names are checked where they are
  // made.
  return node.check_entries(operation.payload, 0, ondisk::IndexKind::Any,
                            {"INDX buffer after a log record", 0, 0});
}

Result<> check_block_operation(const Operation& operation, ByteView page) {
  const auto entry = block_entry(operation, page);
  if (!entry) return refuse(operation, "attribute offset", operation.attribute_offset);
  switch (operation.op) {
    case LogOp::AddIndexEntryAllocation:
      TRY(check_entry_payload(operation));
      if (operation.payload.size() > block_node(page).free_bytes()) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
    case LogOp::DeleteIndexEntryAllocation:
      if (entry->is_end()) return refuse(operation, "entry", operation.attribute_offset);
      return {};
    case LogOp::WriteEndOfIndexBuffer:
      return check_block_write_end(operation, page);
    case LogOp::SetIndexEntryVcnAllocation:
      if (!entry->has_subnode() || operation.payload.size() != ondisk::kSubnodeVcnBytes) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
    case LogOp::UpdateRecordDataAllocation:
      if (!view_data_offset(*entry, operation.payload.size())) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
    default:  // UpdateFileNameAllocation
      if (operation.payload.size() != sizeof(ondisk::DuplicatedInformation) || entry->is_end() ||
          entry->key().size() < sizeof(ondisk::FileNameHeader)) {
        return refuse(operation, "length", operation.payload.size());
      }
      return {};
  }
}

Result<> check_file_record_operation(const Operation& operation, ByteView page) {
  switch (operation.op) {
    case LogOp::InitializeFileRecordSegment:
      return check_initialize(operation, page);
    case LogOp::DeallocateFileRecordSegment:
      return {};
    case LogOp::WriteEndOfFileRecordSegment:
      return check_write_end(operation, page);
    case LogOp::CreateAttribute:
      return check_create(operation, page);
    case LogOp::AddIndexEntryRoot:
    case LogOp::DeleteIndexEntryRoot:
    case LogOp::SetIndexEntryVcnRoot:
    case LogOp::UpdateFileNameRoot:
    case LogOp::UpdateRecordDataRoot:
      return check_root_operation(operation, page);
    case LogOp::ZeroEndOfFileRecord:
      return check_part(operation, PageKind::FileRecord, page);
    default:
      break;
  }
  const auto attribute = attribute_of(operation, page);
  if (!attribute) return refuse(operation, "record offset", operation.record_offset);
  switch (operation.op) {
    case LogOp::DeleteAttribute:
      return {};
    case LogOp::UpdateResidentValue:
      return operation.form == OperationForm::Resizing ? check_resize(operation, *attribute, page)
                                                       : check_update_value(operation, *attribute);
    case LogOp::UpdateMappingPairs:
      return check_mapping_pairs(operation, *attribute, page);
    case LogOp::SetNewAttributeSizes:
      return check_sizes(operation, *attribute);
    default:
      return refuse(operation, "operation", static_cast<uint64_t>(operation.op));
  }
}

Result<> check_bits(const Operation& operation, ByteView page) {
  if (operation.payload.size() != 8) return refuse(operation, "length", operation.payload.size());
  const uint64_t first = struct_at<le32>(operation.payload, 0).get();
  const uint64_t count = struct_at<le32>(operation.payload, 4).get();
  if (count == 0 || first + count > page.size() * 8) return refuse(operation, "bit range", first);
  return {};
}

Result<> check_raw(const Operation& operation, PageKind kind, ByteView page) {
  if (operation.record_offset + operation.payload.size() > page.size()) {
    return refuse(operation, "length", operation.payload.size());
  }
  if (kind != PageKind::IndexBlock) return {};
  if (operation.form == OperationForm::Partial) return check_part(operation, kind, page);
  ByteVector whole(page.size());
  std::copy(operation.payload.begin(), operation.payload.end(), whole.begin());
  const auto& header = struct_at<ondisk::IndexBlockHeader>(ByteView(whole));
  if (operation.record_offset != 0) {
    return refuse(operation, "record offset", operation.record_offset);
  }
  TRY(ondisk::parse_index_block(whole, Vcn(header.vcn.get()), ondisk::IndexKind::Any,
                                {"INDX buffer in a log record", 0, 0}));
  return {};
}

}  // namespace

Result<> check(const Operation& operation, PageKind kind, ByteView page) {
  switch (operation.op) {
    case LogOp::SetBitsInNonresidentBitMap:
    case LogOp::ClearBitsInNonresidentBitMap:
      if (kind != PageKind::Raw) return refuse(operation, "page kind", static_cast<uint64_t>(kind));
      return check_bits(operation, page);
    case LogOp::UpdateNonresidentValue:
      if (kind == PageKind::FileRecord) return refuse(operation, "page kind", 0);
      return check_raw(operation, kind, page);
    case LogOp::AddIndexEntryAllocation:
    case LogOp::DeleteIndexEntryAllocation:
    case LogOp::WriteEndOfIndexBuffer:
    case LogOp::SetIndexEntryVcnAllocation:
    case LogOp::UpdateFileNameAllocation:
    case LogOp::UpdateRecordDataAllocation:
      if (kind != PageKind::IndexBlock) {
        return refuse(operation, "page kind", static_cast<uint64_t>(kind));
      }
      return check_block_operation(operation, page);
    default:
      if (kind != PageKind::FileRecord) {
        return refuse(operation, "page kind", static_cast<uint64_t>(kind));
      }
      return check_file_record_operation(operation, page);
  }
}

}  // namespace ntfs
