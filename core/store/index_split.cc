// IndexTree: making room. See index_tree.h.

#include <algorithm>

#include "core/store/index_tree.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::IndexEntryHeader;
using ondisk::IndexEntryView;
using ondisk::IndexHeaderFlags;
using ondisk::IndexNodeView;

namespace {

/// What an insert leaves free in the root's file record: for $INDEX_ALLOCATION, $BITMAP and the
/// growth of both, so that the root stays in the base record.
constexpr uint32_t kRecordReserve = 208;

uint32_t end_bytes(const IndexNodeView& node) {
  return static_cast<uint32_t>(sizeof(IndexEntryHeader) +
                               (node.has_subnodes() ? ondisk::kSubnodeVcnBytes : 0));
}

std::optional<Vcn> end_subnode(const IndexNodeView& node) {
  if (!node.has_subnodes()) return std::nullopt;
  return node.end_entry().subnode_vcn();
}

void append(ByteVector& bytes, ByteView part) {
  bytes.insert(bytes.end(), part.begin(), part.end());
}

/// The used part of a new block: `entries` and an END entry.
ByteVector build_block(uint32_t block_bytes, Vcn vcn, std::span<const ByteView> entries,
                       std::optional<Vcn> last_subnode) {
  ByteVector block(block_bytes);
  ondisk::format_index_block(block, vcn, last_subnode);
  auto& header = struct_at<ondisk::IndexBlockHeader>(MutableBytes(block)).index;
  const size_t first = ondisk::kIndexHeaderInBlock + header.entries_offset.get();
  block.resize(first);
  for (const ByteView entry : entries) append(block, entry);
  append(block, ondisk::build_end_entry(last_subnode));
  ASSERT(block.size() <= block_bytes);
  struct_at<ondisk::IndexBlockHeader>(MutableBytes(block))
      .index.used_bytes.set(static_cast<uint32_t>(block.size() - ondisk::kIndexHeaderInBlock));
  return block;
}

std::vector<ByteView> entries_of(const IndexNodeView& node) {
  std::vector<ByteView> entries;
  for (const IndexEntryView entry : node) {
    if (!entry.is_end()) entries.push_back(entry.bytes());
  }
  return entries;
}

}  // namespace

Result<> IndexTree::insert(Transaction& transaction, ByteView entry) {
  const auto view = IndexEntryView::of_valid(entry, 0);
  ASSERT(!view.is_end() && !view.has_subnode() && view.length() == entry.size());
  Path& path = path_;
  if (name_ != u"$I30" || !take_sought(view.key(), false)) {
    TRY(descend(view.key(), OnEqual::Stop, path));
  }
  if (path.is_equal) return NtStatus::ObjectNameCollision;
  return insert_at(transaction, path, path.depth - 1, ByteVector(entry.begin(), entry.end()),
                   kRecordReserve);
}

/// Inserts `entry` (with a subnode where the level has them) before the one that the level stands
/// at. Blocks that are full are split, the root is pushed down: the path is of no use afterwards.
Result<> IndexTree::insert_at(Transaction& transaction, Path& path, size_t level, ByteVector entry,
                              uint32_t root_reserve) {
  for (size_t round = 0; round <= 2 * kMaxDepth; ++round) {
    Level& at = path.levels[level];
    TRY(refresh(at.node));
    if (at.node.is_root()) {
      const auto record = ondisk::FileRecordView::of_valid(at.node.page->bytes());
      if (entry.size() + root_reserve <= record.free_bytes()) {
        return add_entry(transaction, at.node, at.offset, entry);
      }
      TRY(push_root_down(transaction, path));
      level = 1;
      continue;
    }
    if (entry.size() <= at.node.view().free_bytes()) {
      return add_entry(transaction, at.node, at.offset, entry);
    }
    SplitResult halves = TRY(split(transaction, path, level, entry));
    --level;
    Level& parent = path.levels[level];
    TRY(set_subnode(transaction, parent.node, parent.offset, halves.right));
    entry = std::move(halves.median);
    root_reserve = kRecordReserve;
  }
  return corrupt({"index", owner_.raw(), 0}, "depth", level);
}

/// A new block takes all entries of the root, which keeps an END entry that leads there. The path
/// goes through the new block and ends with it.
Result<> IndexTree::push_root_down(Transaction& transaction, Path& path) {
  Root root = TRY(load_root());
  const ByteView bytes = root.node.view().bytes();
  const ByteVector before(bytes.begin(), bytes.end());
  const IndexNodeView view = IndexNodeView::of_valid(before);
  const auto record = ondisk::FileRecordView::of_valid(root.node.page->bytes());
  if (record.free_bytes() < kRecordReserve) {
    // Others fill the record, too ($Secure has two indexes): what the block needs in it finds room
    // where the entries stood.
    TRY(set_root(transaction, root, ondisk::build_end_entry(std::nullopt), std::byte{0}));
  }
  const IndexBlocks::Fresh fresh = TRY(blocks_.allocate(transaction));
  root = TRY(load_root());
  const uint32_t entry_bytes = view.used_bytes() - view.entries_offset();
  const uint32_t block_bytes = blocks_.block_bytes();
  const auto first = static_cast<uint32_t>(ondisk::index_block_entries_offset(block_bytes));
  if (ondisk::kIndexHeaderInBlock + first + entry_bytes > block_bytes) {
    return NtStatus::FileSystemLimitation;
  }
  const ByteVector block = build_block(block_bytes, fresh.vcn, entries_of(view), end_subnode(view));
  TRY(transaction.perform_new(block, fresh.page));
  const uint32_t offset = path.levels[0].offset - view.entries_offset() + first;
  TRY(set_root(transaction, root, ondisk::build_end_entry(fresh.vcn),
               IndexHeaderFlags::HasSubnodes));
  path.depth = 0;
  const Root above = TRY(load_root());
  TRY(push(path, above.node, sizeof(ondisk::IndexHeader)));
  Node node;
  node.page = fresh.page;
  node.node_offset = static_cast<uint32_t>(ondisk::kIndexHeaderInBlock);
  node.vcn = fresh.vcn;
  return push(path, std::move(node), offset);
}

/// Which of `entries` goes up when a block is split: all before it stay, all behind move to a new
/// block. `inserted` is the index of the new entry among them.
Result<size_t> IndexTree::choose_median(const Path& path, size_t level,
                                        const std::vector<ByteView>& entries,
                                        size_t inserted) const {
  const IndexNodeView node = path.levels[level].node.view();
  const auto fresh_offset =
      static_cast<uint32_t>(ondisk::index_block_entries_offset(blocks_.block_bytes()));
  const auto fresh_bytes =
      static_cast<uint32_t>(blocks_.block_bytes() - ondisk::kIndexHeaderInBlock);
  const uint32_t room =
      std::min(node.allocated_bytes() - node.entries_offset(), fresh_bytes - fresh_offset) -
      end_bytes(node);
  size_t total = 0;
  for (const ByteView entry : entries) total += entry.size();
  bool is_rightmost = true;
  bool is_leftmost = true;
  for (size_t i = 0; i < level; ++i) {
    const IndexNodeView above = path.levels[i].node.view();
    is_rightmost = is_rightmost && above.end_entry().offset() == path.levels[i].offset;
    is_leftmost = is_leftmost && above.entries_offset() == path.levels[i].offset;
  }
  // Ascending (or descending) keys: the full side stays full. Otherwise half and half.
  size_t goal = total / 2;
  if (is_rightmost && inserted + 1 == entries.size()) goal = total;
  if (is_leftmost && inserted == 0) goal = 0;
  std::optional<size_t> best;
  size_t best_distance = 0;
  size_t left = entries[0].size();
  for (size_t i = 1; i + 1 < entries.size(); ++i) {
    const size_t right = total - left - entries[i].size();
    const size_t centre = left + entries[i].size() / 2;
    const size_t distance = centre < goal ? goal - centre : centre - goal;
    if (left <= room && right <= room && (!best || distance < best_distance)) {
      best = i;
      best_distance = distance;
    }
    left += entries[i].size();
  }
  // Blocks so small that they do not hold three entries.
  if (!best) return NtStatus::FileSystemLimitation;
  return *best;
}

/// Splits the block at `level` and puts `entry` where it belongs: on the left, on the right, or up.
Result<IndexTree::SplitResult> IndexTree::split(Transaction& transaction, Path& path, size_t level,
                                                ByteView entry) {
  TRY(refresh(path.levels[0].node));
  Level& at = path.levels[level];
  const ByteVector before(at.node.page->bytes().begin(), at.node.page->bytes().end());
  const auto view = IndexNodeView::of_valid(ByteView(before).subspan(at.node.node_offset));
  std::vector<ByteView> entries = entries_of(view);
  size_t inserted = 0;
  uint32_t offset = view.entries_offset();
  while (offset < at.offset && inserted < entries.size()) {
    offset += static_cast<uint32_t>(entries[inserted++].size());
  }
  entries.insert(entries.begin() + static_cast<ptrdiff_t>(inserted), entry);
  const size_t median = TRY(choose_median(path, level, entries, inserted));

  const IndexBlocks::Fresh fresh = TRY(blocks_.allocate(transaction));
  for (size_t i = 1; i < path.depth; ++i) {
    if (path.levels[i].node.vcn == fresh.vcn) {
      return corrupt({"$BITMAP of an index", owner_.raw(), 0}, "block in use", fresh.vcn.raw());
    }
  }
  const auto upper = std::span(entries).subspan(median + 1);
  const ByteVector block = build_block(blocks_.block_bytes(), fresh.vcn, upper, end_subnode(view));
  TRY(transaction.perform_new(block, fresh.page));

  const auto up = IndexEntryView::of_valid(entries[median], 0);
  const auto left_subnode =
      up.has_subnode() ? std::optional(up.subnode_vcn()) : std::optional<Vcn>();
  // Where the left block is cut: behind what stays there of its old entries.
  uint32_t cut = view.entries_offset();
  for (size_t i = 0; i < median; ++i) {
    if (i != inserted) cut += static_cast<uint32_t>(entries[i].size());
  }
  TRY(write_end(transaction, at.node, cut, ondisk::build_end_entry(left_subnode)));
  if (inserted < median) TRY(add_entry(transaction, at.node, at.offset, entry));
  return SplitResult{ondisk::with_subnode(up, at.node.vcn), fresh.vcn};
}

}  // namespace ntfs
