#include "core/check/index_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/ondisk/attribute_values.h"

namespace ntfs::check {

using ondisk::Collation;
using ondisk::IndexBlockHeader;
using ondisk::IndexEntryFlags;
using ondisk::IndexEntryHeader;
using ondisk::IndexHeader;
using ondisk::IndexRootHeader;

namespace {

constexpr size_t kMaxDepth = 32;
/// Up to this an $INDEX_ALLOCATION is read as a whole, in large transfers; beyond, block by block.
constexpr uint64_t kWholeBytes = uint64_t{64} << 20;

/// A node on the way from the root to the entry that is looked at.
struct Node {
  ByteVector bytes;   // from the IndexHeader on
  size_t offset = 0;  // of the next entry
  size_t end = 0;     // of the used bytes
  bool has_subnodes = false;
  bool descended = false;  // the subnode of the next entry was done
  std::string where;
};

class IndexWalk {
 public:
  IndexWalk(const IndexAttributes& index, EntrySink& sink, Context& context)
      : index_(index), sink_(sink), context_(context) {}
  void run();

 private:
  Place place(std::string where) const {
    return {"index", index_.file, fmt::format("\"{}\", {}", display(index_.name), where)};
  }
  Place entry_place(const Node& node) const {
    return place(fmt::format("{}, entry at {:#x}", node.where, node.offset));
  }
  bool read_root_header(ByteView value);
  void read_bitmap();
  void check_bitmap_end();
  bool open_node(ByteVector bytes, std::string where);
  void open_block(uint64_t vcn);
  bool load_block(uint64_t block, ByteVector& bytes);
  void walk();
  bool step(Node& node);
  bool check_entry(const Node& node, const IndexEntryHeader& entry, size_t room);
  void visit(const Node& node, const IndexEntryHeader& entry, ByteView bytes);
  bool check_shape(const Node& node, const IndexEntryHeader& entry, ByteView bytes);
  void check_unreachable();

  const IndexAttributes& index_;
  EntrySink& sink_;
  Context& context_;

  bool views_ = false;  // entries carry data
  Collation rule_ = Collation::Binary;
  uint64_t block_bytes_ = 0;
  uint64_t vcn_bytes_ = 0;
  uint64_t count_blocks_ = 0;
  std::vector<Node> nodes_;
  ByteVector bitmap_;
  std::vector<bool> reached_;  // by block
  ByteVector previous_key_;
  bool has_previous_ = false;
  ByteVector ahead_;  // blocks that were read together
  uint64_t ahead_offset_ = 0;
};

void IndexWalk::run() {
  if (!index_.root->readable || !index_.root->first->resident) return;
  const ByteView value = index_.root->stream.value;
  if (!read_root_header(value)) return;
  read_bitmap();
  const ByteView node = value.subspan(ondisk::kIndexHeaderInRoot);
  if (open_node(ByteVector(node.begin(), node.end()), "root")) walk();
  check_unreachable();
}

bool IndexWalk::read_root_header(ByteView value) {
  if (value.size() < sizeof(IndexRootHeader) + sizeof(IndexHeader)) {
    context_.findings.add(place("root"), sizeof(IndexRootHeader) + sizeof(IndexHeader),
                          value.size(), "an $INDEX_ROOT is too short");
    return false;
  }
  const auto& root = struct_at<IndexRootHeader>(value);
  const bool names =
      root.indexed_type.get() == static_cast<uint32_t>(ondisk::AttributeType::FileName);
  views_ = !names;
  rule_ = static_cast<Collation>(root.collation.get());
  block_bytes_ = root.index_block_size.get();
  if ((!names && root.indexed_type.get() != 0) || names != (index_.name == u"$I30") ||
      names != (rule_ == Collation::FileName)) {
    context_.findings.add(
        place("root"), names ? "file names in $I30" : "a view index",
        fmt::format("type {:#x}, collation {:#x}", root.indexed_type.get(), root.collation.get()),
        "name, indexed type and collation of an index do not go together");
  }
  const ondisk::VolumeGeometry& geometry = context_.geometry();
  if (!is_power_of_two(block_bytes_) || block_bytes_ < 512 || block_bytes_ > 0x10000) {
    context_.findings.add(place("root, index block size"), geometry.index_block_size, block_bytes_,
                          "the index block size is impossible");
    return false;
  }
  if (names && block_bytes_ != geometry.index_block_size) {
    context_.findings.add(place("root, index block size"), geometry.index_block_size, block_bytes_,
                          "the index block size is not that of the boot sector");
  }
  vcn_bytes_ = geometry.cluster_size <= block_bytes_ ? geometry.cluster_size : 512;
  const uint64_t steps = static_cast<uint8_t>(root.index_block_steps);
  if (steps != block_bytes_ / vcn_bytes_) {
    context_.findings.add(place("root, clusters per index block"), block_bytes_ / vcn_bytes_, steps,
                          "the index block size is told in two different ways");
  }
  return true;
}

void IndexWalk::read_bitmap() {
  const FileAttribute* allocation = index_.allocation;
  const FileAttribute* bitmap = index_.bitmap;
  if ((allocation == nullptr) != (bitmap == nullptr)) {
    context_.findings.add(place(allocation == nullptr ? "$INDEX_ALLOCATION" : "$BITMAP"), "present",
                          "absent", "an index has only one of $INDEX_ALLOCATION and $BITMAP");
  }
  if (allocation == nullptr || !allocation->readable) return;
  if (allocation->first->resident) {
    context_.findings.add(place("$INDEX_ALLOCATION"), "nonresident", "resident",
                          "an $INDEX_ALLOCATION is resident");
    return;
  }
  for (const Run& run : allocation->stream.runs) {
    if (!run.lcn.is_hole()) continue;
    context_.findings.add(place("$INDEX_ALLOCATION"), "no hole", "a hole",
                          "an $INDEX_ALLOCATION has a hole");
    return;
  }
  const uint64_t size = allocation->stream.file_size;
  if (size % block_bytes_ != 0) {
    context_.findings.add(place("$INDEX_ALLOCATION, file size"),
                          fmt::format("a multiple of {}", block_bytes_), number(size),
                          "an $INDEX_ALLOCATION is not made of whole blocks");
  }
  count_blocks_ = size / block_bytes_;
  if (bitmap == nullptr || !bitmap->readable) return;
  bitmap_ = context_.reader.read_all(bitmap->stream, divide_up(count_blocks_, 64) * 8 + 4096);
  if (bitmap->stream.file_size * 8 < count_blocks_) {
    context_.findings.add(place("$BITMAP, file size"), divide_up(count_blocks_, 8),
                          bitmap->stream.file_size, "an index bitmap has no bit for some blocks");
  }
  check_bitmap_end();
}

void IndexWalk::check_bitmap_end() {
  for (uint64_t bit = count_blocks_; bit < bitmap_.size() * 8; ++bit) {
    if ((static_cast<uint8_t>(bitmap_[bit / 8]) >> (bit % 8) & 1) == 0) continue;
    context_.findings.add(place(fmt::format("$BITMAP, bit {}", bit)), "clear", "set",
                          "an index bitmap has a bit set beyond the last block");
    return;
  }
}

/// Checks the header of a node and puts it on the stack.
bool IndexWalk::open_node(ByteVector bytes, std::string where) {
  const auto& header = struct_at<IndexHeader>(ByteView(bytes));
  const size_t entries = header.entries_offset.get();
  const size_t used = header.used_bytes.get();
  const size_t allocated = header.allocated_bytes.get();
  if (entries % 8 != 0 || entries < sizeof(IndexHeader) || used > allocated ||
      allocated > bytes.size() || used < entries || used - entries < sizeof(IndexEntryHeader)) {
    context_.findings.add(
        place(where), fmt::format("entries <= used <= allocated <= {}", bytes.size()),
        fmt::format("entries {}, used {}, allocated {}", entries, used, allocated),
        "the header of an index node is impossible");
    return false;
  }
  if (allocated != bytes.size()) {
    context_.findings.add(place(where + ", allocated size"), bytes.size(), allocated,
                          "an index node does not use all of its room");
  }
  Node node;
  node.has_subnodes = (header.flags & ondisk::IndexHeaderFlags::HasSubnodes) != std::byte{0};
  node.offset = entries;
  node.end = used;
  node.bytes = std::move(bytes);
  node.where = std::move(where);
  nodes_.push_back(std::move(node));
  return true;
}

void IndexWalk::open_block(uint64_t vcn) {
  const std::string where = fmt::format("block at vcn {:#x}", vcn);
  const uint64_t steps = block_bytes_ / vcn_bytes_;
  const uint64_t block = vcn / steps;
  if (vcn % steps != 0 || block >= count_blocks_) {
    context_.findings.add(place(where), fmt::format("a vcn below {:#x}", count_blocks_ * steps),
                          number(vcn), "an index entry points outside of $INDEX_ALLOCATION");
    return;
  }
  if (reached_.size() <= block) reached_.resize(block + 1);
  if (reached_[block]) {
    context_.findings.add(place(where), "one parent", "two", "an index block is reached twice");
    return;
  }
  reached_[block] = true;
  const bool marked = block / 8 < bitmap_.size() &&
                      (static_cast<uint8_t>(bitmap_[block / 8]) >> (block % 8) & 1) != 0;
  if (!marked) {
    context_.findings.add(place(where), "set", "clear",
                          "the bit of a reachable index block is clear in $BITMAP");
  }
  if (nodes_.size() >= kMaxDepth) {
    context_.findings.add(place(where), kMaxDepth, nodes_.size() + 1, "an index is too deep");
    return;
  }
  ByteVector bytes;
  if (!load_block(block, bytes)) return;
  const auto& header = struct_at<IndexBlockHeader>(ByteView(bytes));
  if (header.vcn.get() != vcn) {
    context_.findings.add(place(where), vcn, header.vcn.get(), "an index block says another vcn");
  }
  const auto& multi = header.multi_sector;
  const size_t array_end =
      multi.update_sequence_array_offset.get() + 2u * multi.update_sequence_array_count.get();
  if (array_end > ondisk::kIndexHeaderInBlock + header.index.entries_offset.get()) {
    context_.findings.add(place(where), "entries behind the update sequence array",
                          number(header.index.entries_offset.get()),
                          "index entries overlap the update sequence array");
    return;
  }
  ++context_.report.index_blocks;
  context_.see_lsn(header.lsn.get(), index_.file);
  bytes.erase(bytes.begin(), bytes.begin() + ondisk::kIndexHeaderInBlock);
  open_node(std::move(bytes), where);
}

/// The unprotected bytes of a block.
bool IndexWalk::load_block(uint64_t block, ByteVector& bytes) {
  const Stream& stream = index_.allocation->stream;
  const uint64_t offset = block * block_bytes_;
  if (offset < ahead_offset_ || offset + block_bytes_ > ahead_offset_ + ahead_.size()) {
    const bool whole = stream.file_size <= kWholeBytes;
    ahead_offset_ = whole ? 0 : offset;
    ahead_.resize(whole ? stream.file_size : block_bytes_);
    if (!context_.reader.read(stream, ahead_offset_, ahead_)) {
      ahead_.clear();
      return false;
    }
  }
  const auto from = ahead_.begin() + static_cast<ptrdiff_t>(offset - ahead_offset_);
  bytes.assign(from, from + static_cast<ptrdiff_t>(block_bytes_));
  const std::string where = fmt::format("block at byte {:#x}", offset);
  if (as_text(ByteView(bytes).first(4)) != "INDX") {
    context_.findings.add(place(where + ", signature"), "INDX",
                          fmt::format("{:#010x}", struct_at<le32>(ByteView(bytes)).get()),
                          "this is no index block");
    return false;
  }
  if (!try_unprotect(bytes)) {
    context_.findings.add(place(where + ", update sequence array"), "an untorn block",
                          "a torn write, or an array out of place",
                          "an index block was not written as a whole");
    return false;
  }
  return true;
}

/// In key order: the subnode of an entry before the entry itself.
void IndexWalk::walk() {
  while (!nodes_.empty()) {
    if (!step(nodes_.back())) nodes_.pop_back();
  }
}

/// False when the node is done.
bool IndexWalk::step(Node& node) {
  if (node.end - node.offset < sizeof(IndexEntryHeader)) {
    context_.findings.add(place(node.where), "an END entry", "none",
                          "the entries of an index node do not end");
    return false;
  }
  const ByteView all = ByteView(node.bytes).first(node.end);
  const auto& entry = struct_at<IndexEntryHeader>(all, node.offset);
  if (!check_entry(node, entry, node.end - node.offset)) return false;
  const size_t length = entry.entry_length.get();
  const ByteView bytes = all.subspan(node.offset, length);
  const bool has_subnode = (entry.flags.get() & IndexEntryFlags::Subnode) != 0;
  if (has_subnode && !node.descended) {
    node.descended = true;
    open_block(struct_at<le64>(bytes, length - ondisk::kSubnodeVcnBytes).get());
    return true;  // `node` may have moved
  }
  node.descended = false;
  if ((entry.flags.get() & IndexEntryFlags::End) != 0) {
    if (node.offset + length != node.end) {
      context_.findings.add(place(node.where + ", used size"), node.offset + length, node.end,
                            "the used size of an index node does not end behind its END entry");
    }
    return false;
  }
  visit(node, entry, bytes);
  node.offset += length;
  return true;
}

bool IndexWalk::check_entry(const Node& node, const IndexEntryHeader& entry, size_t room) {
  const size_t length = entry.entry_length.get();
  const size_t key_length = entry.key_length.get();
  const bool end = (entry.flags.get() & IndexEntryFlags::End) != 0;
  const bool has_subnode = (entry.flags.get() & IndexEntryFlags::Subnode) != 0;
  const size_t fixed =
      sizeof(IndexEntryHeader) + (has_subnode ? ondisk::kSubnodeVcnBytes : size_t{0});
  if (length % 8 != 0 || length > room || length < fixed || (!end && key_length > length - fixed)) {
    context_.findings.add(entry_place(node), fmt::format("up to {} bytes", room),
                          fmt::format("length {}, key length {}", length, key_length),
                          "the lengths of an index entry are impossible");
    return false;
  }
  if (has_subnode != node.has_subnodes) {
    context_.findings.add(entry_place(node), node.has_subnodes ? "a subnode" : "no subnode",
                          has_subnode ? "a subnode" : "no subnode",
                          "an index entry differs from its node in having a subnode");
  }
  return true;
}

/// Whether key and data are where they must be.
bool IndexWalk::check_shape(const Node& node, const IndexEntryHeader& entry, ByteView bytes) {
  const size_t key_length = entry.key_length.get();
  const auto bad = [&](const char* message) {
    context_.findings.add(entry_place(node), "a whole key", fmt::format("{} bytes", key_length),
                          message);
    return false;
  };
  if (views_) {
    const uint64_t raw = entry.file_reference_or_data.get();
    const size_t data_offset = raw & 0xFFFF;
    const size_t data_length = raw >> 16 & 0xFFFF;
    const bool has_subnode = (entry.flags.get() & IndexEntryFlags::Subnode) != 0;
    const size_t end = bytes.size() - (has_subnode ? ondisk::kSubnodeVcnBytes : size_t{0});
    if (data_length != 0 && (data_offset < sizeof(IndexEntryHeader) + key_length ||
                             data_offset > end || data_length > end - data_offset)) {
      return bad("the data of an index entry lies outside of it");
    }
    return key_length != 0 || bad("an index entry has no key");
  }
  if (key_length < sizeof(ondisk::FileNameHeader)) return bad("the key is no $FILE_NAME");
  const auto& name = struct_at<ondisk::FileNameHeader>(bytes, sizeof(IndexEntryHeader));
  const size_t units = static_cast<size_t>(name.name_length);
  if (units == 0 || key_length != sizeof(ondisk::FileNameHeader) + 2 * units) {
    return bad("the key of an index entry is not as long as its name");
  }
  if (static_cast<uint8_t>(name.name_type) > 3) return bad("the key has an unknown name type");
  return true;
}

void IndexWalk::visit(const Node& node, const IndexEntryHeader& entry, ByteView bytes) {
  if (!check_shape(node, entry, bytes)) return;
  const ByteView key = bytes.subspan(sizeof(IndexEntryHeader), entry.key_length.get());
  if (can_compare(rule_, context_.upcase)) {
    if (has_previous_ && compare_keys(rule_, previous_key_, key, context_.upcase) >= 0) {
      context_.findings.add(entry_place(node), "keys in ascending order",
                            "a key that is not after the one before it",
                            "the keys of an index are out of order");
    }
    previous_key_.assign(key.begin(), key.end());
    has_previous_ = true;
  }
  ByteView data;
  if (views_) {
    const uint64_t raw = entry.file_reference_or_data.get();
    if ((raw >> 16 & 0xFFFF) != 0) data = bytes.subspan(raw & 0xFFFF, raw >> 16 & 0xFFFF);
  }
  sink_.take(entry, key, data);
}

void IndexWalk::check_unreachable() {
  reached_.resize(count_blocks_);
  for (uint64_t block = 0; block < count_blocks_ && block / 8 < bitmap_.size(); ++block) {
    const bool marked = (static_cast<uint8_t>(bitmap_[block / 8]) >> (block % 8) & 1) != 0;
    if (!marked || reached_[block]) continue;
    context_.findings.add(
        place(fmt::format("block at vcn {:#x}", block * (block_bytes_ / vcn_bytes_))), "reachable",
        "marked in use, but not reached from the root", "an index block is leaked");
  }
}

}  // namespace

void check_index(const IndexAttributes& index, EntrySink& sink, Context& context) {
  IndexWalk(index, sink, context).run();
}

}  // namespace ntfs::check
