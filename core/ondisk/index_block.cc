#include "core/ondisk/index_block.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/utf16.h"

namespace ntfs::ondisk {

namespace {

constexpr std::array<char, 4> kSignature = {'I', 'N', 'D', 'X'};
constexpr size_t kMinBlockBytes = 512;
constexpr size_t kMaxBlockBytes = 64u << 10;
constexpr uint64_t kMaxVcn = uint64_t{1} << 55;

bool is_possible_block_size(size_t size) {
  return is_power_of_two(size) && size >= kMinBlockBytes && size <= kMaxBlockBytes;
}

struct DataPlace {
  uint16_t offset = 0;  // bytes from the start of the entry
  uint16_t length = 0;
};

DataPlace data_place(const IndexEntryHeader& header) {
  const uint64_t raw = header.file_reference_or_data.get();
  return {static_cast<uint16_t>(raw), static_cast<uint16_t>(raw >> 16)};
}

void set_data_place(IndexEntryHeader& header, DataPlace place) {
  header.file_reference_or_data.set(place.offset | static_cast<uint64_t>(place.length) << 16);
}

size_t subnode_bytes(const std::optional<Vcn>& subnode) {
  return subnode.has_value() ? kSubnodeVcnBytes : 0;
}

/// Sets length, flags and the subnode of an entry whose bytes are all there.
void finish_entry(MutableBytes entry, uint16_t flags, std::optional<Vcn> subnode) {
  ASSERT(entry.size() <= UINT16_MAX);
  auto& header = struct_at<IndexEntryHeader>(entry);
  header.entry_length.set(static_cast<uint16_t>(entry.size()));
  if (subnode) {
    flags |= IndexEntryFlags::Subnode;
    struct_at<le64>(entry, entry.size() - kSubnodeVcnBytes).set(subnode->raw());
  }
  header.flags.set(flags);
}

void put(MutableBytes into, size_t offset, ByteView bytes) {
  std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<ptrdiff_t>(offset));
}

/// Key and data of an entry that is not END; `content` is the length without the subnode.
Result<> check_content(ByteView entry, size_t content, IndexKind kind, const Origin& origin) {
  const auto& header = struct_at<IndexEntryHeader>(entry);
  const size_t key_length = header.key_length.get();
  if (key_length > content - sizeof(IndexEntryHeader)) {
    return corrupt(origin, "index key length", key_length);
  }
  if (kind == IndexKind::FileNames) {
    TRY(FileNameView::parse(entry.subspan(sizeof(IndexEntryHeader), key_length), origin));
    return {};
  }
  if (kind == IndexKind::Any) return {};
  const DataPlace data = data_place(header);
  if (data.length == 0) return {};
  if (data.offset < sizeof(IndexEntryHeader) + key_length ||
      static_cast<size_t>(data.offset) + data.length > content) {
    return corrupt(origin, "index data offset", data.offset);
  }
  return {};
}

/// Makes the node that `node` begins with: IndexHeader and an END entry.
void put_empty_node(MutableBytes node, size_t entries_offset, std::optional<Vcn> end_subnode) {
  const ByteVector end = build_end_entry(end_subnode);
  put(node, entries_offset, end);
  auto& header = struct_at<IndexHeader>(node);
  header.entries_offset.set(static_cast<uint32_t>(entries_offset));
  header.used_bytes.set(static_cast<uint32_t>(entries_offset + end.size()));
  header.allocated_bytes.set(static_cast<uint32_t>(node.size()));
  if (end_subnode) header.flags = IndexHeaderFlags::HasSubnodes;
}

}  // namespace

IndexEntryView IndexEntryView::of_valid(ByteView bytes, uint32_t offset) {
  const size_t length = struct_at<IndexEntryHeader>(bytes).entry_length.get();
  ASSERT(length >= sizeof(IndexEntryHeader) && length <= bytes.size());
  return IndexEntryView(bytes.first(length), offset);
}

Result<IndexEntryView> IndexEntryView::parse(ByteView bytes, IndexKind kind, const Origin& origin) {
  const auto raw = view_as<IndexEntryHeader>(bytes);
  if (!raw) return corrupt(origin, "room for an index entry", bytes.size());
  const IndexEntryHeader& header = **raw;
  const size_t length = header.entry_length.get();
  const bool has_subnode = (header.flags.get() & IndexEntryFlags::Subnode) != 0;
  const size_t fixed = sizeof(IndexEntryHeader) + (has_subnode ? kSubnodeVcnBytes : 0);
  if (length % 8 != 0 || length < fixed || length > bytes.size()) {
    return corrupt(origin, "index entry length", length);
  }
  const IndexEntryView entry(bytes.first(length), 0);
  if (has_subnode && entry.subnode_vcn().raw() > kMaxVcn) {
    return corrupt(origin, "subnode vcn", entry.subnode_vcn().raw());
  }
  if (!entry.is_end()) {
    const size_t content = length - (has_subnode ? kSubnodeVcnBytes : 0);
    TRY(check_content(entry.bytes(), content, kind, origin));
  }
  return entry;
}

Vcn IndexEntryView::subnode_vcn() const {
  ASSERT(has_subnode());
  return Vcn(struct_at<le64>(bytes_, bytes_.size() - kSubnodeVcnBytes).get());
}

ByteView IndexEntryView::key() const {
  if (is_end()) return {};
  return bytes_.subspan(sizeof(IndexEntryHeader), header().key_length.get());
}

uint16_t IndexEntryView::data_offset() const { return data_place(header()).offset; }

ByteView IndexEntryView::data() const {
  const DataPlace place = data_place(header());
  if (is_end() || place.length == 0) return {};
  ASSERT(static_cast<size_t>(place.offset) + place.length <= bytes_.size());
  return bytes_.subspan(place.offset, place.length);
}

IndexEntryIterator& IndexEntryIterator::operator++() {
  const IndexEntryView entry = **this;
  done_ = entry.is_end();
  offset_ += entry.length();
  return *this;
}

Result<IndexNodeView> IndexNodeView::parse(ByteView node, IndexKind kind, const Origin& origin) {
  const auto raw = view_as<IndexHeader>(node);
  if (!raw) return corrupt(origin, "room for an index header", node.size());
  const IndexHeader& header = **raw;
  const size_t allocated = header.allocated_bytes.get();
  const size_t used = header.used_bytes.get();
  const size_t entries = header.entries_offset.get();
  if (allocated % 8 != 0 || allocated > node.size()) {
    return corrupt(origin, "index allocated bytes", allocated);
  }
  if (used % 8 != 0 || used > allocated) return corrupt(origin, "index used bytes", used);
  if (entries % 8 != 0 || entries < sizeof(IndexHeader) || entries >= used) {
    return corrupt(origin, "index entries offset", entries);
  }
  const IndexNodeView view(node);
  TRY(view.check_entries(node.first(used), entries, kind, origin));
  return view;
}

Result<> IndexNodeView::check_entries(ByteView entries, size_t offset, IndexKind kind,
                                      const Origin& origin) const {
  for (;;) {
    if (offset >= entries.size()) {
      return corrupt(origin, "end of the index entries", offset, "an END entry");
    }
    const auto entry = TRY(IndexEntryView::parse(entries.subspan(offset), kind, origin));
    if (entry.has_subnode() != has_subnodes()) {
      return corrupt(origin, "subnode flag of the index entry at", offset, "the header's flag");
    }
    if (entry.is_end()) return {};
    offset += entry.length();
  }
}

IndexNodeView IndexNodeView::of_valid(ByteView node) {
  ASSERT(node.size() >= sizeof(IndexHeader));
  return IndexNodeView(node);
}

IndexEntryView IndexNodeView::end_entry() const {
  IndexEntryIterator entry = begin();
  while (!(*entry).is_end()) ++entry;
  return *entry;
}

std::optional<IndexEntryView> IndexNodeView::entry_at(uint32_t offset) const {
  for (const IndexEntryView entry : *this) {
    if (entry.offset() == offset) return entry;
  }
  return std::nullopt;
}

Result<IndexRootView> IndexRootView::parse(ByteView value, const Origin& origin) {
  const auto raw = view_as<IndexRootHeader>(value);
  if (!raw) return corrupt(origin, "$INDEX_ROOT length", value.size());
  const IndexRootView root(value);
  const uint32_t type = root.header().indexed_type.get();
  if (type != 0 && type != static_cast<uint32_t>(AttributeType::FileName)) {
    return corrupt(origin, "indexed type", type, "0 or 0x30");
  }
  const bool is_by_name = root.collation() == Collation::FileName;
  if (is_by_name != (root.kind() == IndexKind::FileNames)) {
    return corrupt(origin, "collation rule", root.header().collation.get());
  }
  if (!is_possible_block_size(root.index_block_size())) {
    return corrupt(origin, "index block size", root.index_block_size(), "512 B to 64 KiB");
  }
  TRY(IndexNodeView::parse(value.subspan(kIndexHeaderInRoot), root.kind(), origin));
  return root;
}

IndexRootView IndexRootView::of_valid(ByteView value) {
  ASSERT(value.size() >= kIndexHeaderInRoot + sizeof(IndexHeader));
  return IndexRootView(value);
}

IndexBlockView IndexBlockView::of_valid(ByteView block) {
  ASSERT(block.size() >= sizeof(IndexBlockHeader));
  return IndexBlockView(block);
}

Result<IndexBlockView> parse_index_block(ByteView block, Vcn expected, IndexKind kind,
                                         const Origin& origin) {
  if (!is_possible_block_size(block.size())) {
    return corrupt(origin, "index block size", block.size(), "512 B to 64 KiB");
  }
  const IndexBlockView view(block);
  const MultiSectorHeader& multi_sector = view.header().multi_sector;
  if (multi_sector.signature != kSignature) {
    return corrupt(origin, "signature", struct_at<le32>(block).get(), "\"INDX\"");
  }
  const size_t array = multi_sector.update_sequence_array_offset.get();
  const size_t count = multi_sector.update_sequence_array_count.get();
  if (count != block.size() / kSequenceStride + 1) {
    return corrupt(origin, "update sequence array count", count);
  }
  const size_t array_end = array + 2 * count;
  if (array % 2 != 0 || array < sizeof(IndexBlockHeader) || array_end > kSequenceStride - 2) {
    return corrupt(origin, "update sequence array offset", array);
  }
  if (view.vcn() != expected) {
    return corrupt(origin, "vcn of the index block", view.vcn().raw(),
                   fmt::format("{:#x}", expected.raw()));
  }
  const auto node = TRY(IndexNodeView::parse(block.subspan(kIndexHeaderInBlock), kind, origin));
  if (kIndexHeaderInBlock + node.entries_offset() < array_end) {
    return corrupt(origin, "index entries offset", node.entries_offset(),
                   "behind the update sequence array");
  }
  return view;
}

void format_index_block(MutableBytes block, Vcn vcn, std::optional<Vcn> end_subnode) {
  ASSERT(is_possible_block_size(block.size()));
  std::fill(block.begin(), block.end(), std::byte{0});
  auto& header = struct_at<IndexBlockHeader>(block);
  header.multi_sector.signature = kSignature;
  header.multi_sector.update_sequence_array_offset.set(sizeof(IndexBlockHeader));
  const size_t count = 1 + block.size() / kSequenceStride;
  header.multi_sector.update_sequence_array_count.set(static_cast<uint16_t>(count));
  struct_at<le16>(block, sizeof(IndexBlockHeader)).set(1);
  header.vcn.set(vcn.raw());
  put_empty_node(block.subspan(kIndexHeaderInBlock), index_block_entries_offset(block.size()),
                 end_subnode);
}

ByteVector build_index_root(const IndexRootInit& init, std::optional<Vcn> end_subnode) {
  ASSERT((init.kind == IndexKind::FileNames) == (init.collation == Collation::FileName));
  ASSERT(is_possible_block_size(init.index_block_size));
  const size_t end_bytes = sizeof(IndexEntryHeader) + subnode_bytes(end_subnode);
  ByteVector value(kIndexHeaderInRoot + sizeof(IndexHeader) + end_bytes);
  auto& header = struct_at<IndexRootHeader>(MutableBytes(value));
  if (init.kind == IndexKind::FileNames) {
    header.indexed_type.set(static_cast<uint32_t>(AttributeType::FileName));
  }
  header.collation.set(static_cast<uint32_t>(init.collation));
  header.index_block_size.set(init.index_block_size);
  header.index_block_steps = std::byte{init.index_block_steps};
  put_empty_node(MutableBytes(value).subspan(kIndexHeaderInRoot), sizeof(IndexHeader), end_subnode);
  return value;
}

ByteVector build_entry(FileReference reference, ByteView key, std::optional<Vcn> subnode) {
  const size_t content = align_up(sizeof(IndexEntryHeader) + key.size(), 8);
  ByteVector entry(content + subnode_bytes(subnode));
  auto& header = struct_at<IndexEntryHeader>(MutableBytes(entry));
  header.file_reference_or_data.set(reference.raw());
  header.key_length.set(static_cast<uint16_t>(key.size()));
  put(entry, sizeof(IndexEntryHeader), key);
  finish_entry(entry, 0, subnode);
  return entry;
}

ByteVector build_view_entry(ByteView key, ByteView data, std::optional<Vcn> subnode) {
  const size_t data_offset = sizeof(IndexEntryHeader) + key.size();
  const size_t content = align_up(data_offset + data.size(), 8);
  ByteVector entry(content + subnode_bytes(subnode));
  auto& header = struct_at<IndexEntryHeader>(MutableBytes(entry));
  set_data_place(header, {static_cast<uint16_t>(data_offset), static_cast<uint16_t>(data.size())});
  header.key_length.set(static_cast<uint16_t>(key.size()));
  put(entry, sizeof(IndexEntryHeader), key);
  put(entry, data_offset, data);
  finish_entry(entry, 0, subnode);
  return entry;
}

ByteVector build_end_entry(std::optional<Vcn> subnode) {
  ByteVector entry(sizeof(IndexEntryHeader) + subnode_bytes(subnode));
  finish_entry(entry, IndexEntryFlags::End, subnode);
  return entry;
}

ByteVector with_subnode(const IndexEntryView& entry, std::optional<Vcn> subnode) {
  const size_t content = entry.length() - (entry.has_subnode() ? kSubnodeVcnBytes : 0);
  ByteVector copy(content + subnode_bytes(subnode));
  put(copy, 0, entry.bytes().first(content));
  const uint16_t flags = struct_at<IndexEntryHeader>(ByteView(copy)).flags.get();
  finish_entry(copy, flags & static_cast<uint16_t>(~IndexEntryFlags::Subnode), subnode);
  return copy;
}

std::string describe(const IndexEntryView& entry, IndexKind kind) {
  std::string text = fmt::format("{:#05x} length {:#x}", entry.offset(), entry.length());
  if (entry.has_subnode()) text += fmt::format(" subnode {}", entry.subnode_vcn().raw());
  if (entry.is_end()) return text + " END";
  if (kind == IndexKind::View) {
    text += " key";
    for (const std::byte byte : entry.key()) {
      text += fmt::format(" {:02x}", static_cast<unsigned>(byte));
    }
    return text + fmt::format(", {} bytes of data", entry.data().size());
  }
  const FileReference reference = entry.reference();
  return text + fmt::format(" file {}-{} ", reference.record(), reference.sequence()) +
         describe(FileNameView::of_valid(entry.key()));
}

std::string describe(const IndexNodeView& node, IndexKind kind) {
  std::string text =
      fmt::format("index node used {:#x} of {:#x}{}\n", node.used_bytes(), node.allocated_bytes(),
                  node.has_subnodes() ? ", with subnodes" : "");
  for (const IndexEntryView entry : node) text += "  " + describe(entry, kind) + '\n';
  return text;
}

std::string describe(const IndexBlockView& block, IndexKind kind) {
  return fmt::format("index block at vcn {} lsn {:#x}: ", block.vcn().raw(), block.lsn().raw()) +
         describe(block.node(), kind);
}

}  // namespace ntfs::ondisk
