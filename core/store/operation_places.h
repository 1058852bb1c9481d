#pragma once

// Internal to operations.cc and operations_check.cc: the places in a page that an operation names.

#include <optional>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/store/operations.h"

namespace ntfs::operation_places {

using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordView;
using ondisk::IndexEntryView;
using ondisk::IndexNodeView;

constexpr size_t kSizesBytes = 24;
constexpr size_t kSizesWithTotalBytes = 32;
constexpr size_t kDuplicatedInEntry =
    sizeof(ondisk::IndexEntryHeader) + ondisk::kDuplicatedInformationOffset;
/// Of an index node's first byte (the IndexHeader) in the attribute record of $INDEX_ROOT.
inline uint32_t node_offset(const AttributeView& root) {
  return root.value_offset() + static_cast<uint32_t>(ondisk::kIndexHeaderInRoot);
}

inline std::optional<AttributeView> attribute_of(const Operation& operation, ByteView page) {
  return FileRecordView::of_valid(page).attribute_at(operation.record_offset);
}

inline IndexNodeView block_node(ByteView page) {
  return IndexNodeView::of_valid(page.subspan(ondisk::kIndexHeaderInBlock));
}

inline std::optional<IndexEntryView> block_entry(const Operation& operation, ByteView page) {
  if (operation.attribute_offset < ondisk::kIndexHeaderInBlock) return std::nullopt;
  return block_node(page).entry_at(operation.attribute_offset -
                                   static_cast<uint32_t>(ondisk::kIndexHeaderInBlock));
}

/// The entry of the root that `operation` names; nothing unless the attribute is an $INDEX_ROOT.
inline std::optional<IndexEntryView> root_entry(const Operation& operation, ByteView page) {
  const auto root = attribute_of(operation, page);
  if (!root || root->type() != AttributeType::IndexRoot) return std::nullopt;
  if (operation.attribute_offset < node_offset(*root)) return std::nullopt;
  const auto value = ondisk::IndexRootView::of_valid(root->value());
  return value.node().entry_at(operation.attribute_offset - node_offset(*root));
}

/// Where the data of a view's entry stands in it; nothing unless `length` bytes fit there.
inline std::optional<size_t> view_data_offset(const IndexEntryView& entry, size_t length) {
  if (entry.is_end()) return std::nullopt;
  const size_t offset = struct_at<le16>(entry.bytes()).get();
  const size_t end = entry.length() - (entry.has_subnode() ? ondisk::kSubnodeVcnBytes : 0);
  if (offset < sizeof(ondisk::IndexEntryHeader) || offset + length > end) return std::nullopt;
  return offset;
}

}  // namespace ntfs::operation_places
