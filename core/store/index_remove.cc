// IndexTree: giving room back. See index_tree.h.

#include <algorithm>

#include "core/store/index_tree.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::IndexEntryHeader;
using ondisk::IndexEntryView;
using ondisk::IndexNodeView;

namespace {

/// What stays free in the root's record when a block is drawn up into it: more than an insert
/// needs, so that the next insert does not push it down again.
constexpr uint32_t kShrinkReserve = 400;
/// A replaced separator may use the record up: removing must not need space.
constexpr uint32_t kNoReserve = 0;

uint32_t entry_bytes(const IndexNodeView& node) {
  return node.used_bytes() - node.entries_offset();
}

/// A quarter full or less.
bool is_underfull(const IndexNodeView& node) {
  return 4 * entry_bytes(node) <= node.allocated_bytes() - node.entries_offset();
}

/// The last entry before END; nothing in an empty node.
std::optional<IndexEntryView> last_entry(const IndexNodeView& node) {
  std::optional<IndexEntryView> last;
  for (const IndexEntryView entry : node) {
    if (!entry.is_end()) last = entry;
  }
  return last;
}

IndexEntryView entry_after(const IndexNodeView& node, const IndexEntryView& entry) {
  const uint32_t offset = entry.offset() + entry.length();
  return IndexEntryView::of_valid(node.bytes().subspan(offset), offset);
}

std::optional<Vcn> subnode_of(const IndexEntryView& entry) {
  if (!entry.has_subnode()) return std::nullopt;
  return entry.subnode_vcn();
}

/// `separator` as it stands among the entries of the nodes below: in inner nodes with the last
/// subnode of the left node.
ByteVector lowered(const IndexEntryView& separator, const IndexNodeView& left) {
  return ondisk::with_subnode(separator, subnode_of(left.end_entry()));
}

void append(ByteVector& bytes, ByteView part) {
  bytes.insert(bytes.end(), part.begin(), part.end());
}

/// The entries of a node from `offset` on, END included.
ByteView entries_from(const IndexNodeView& node, uint32_t offset) {
  return node.bytes().subspan(offset, node.used_bytes() - offset);
}

}  // namespace

Result<> IndexTree::remove(Transaction& transaction, ByteView key) {
  for (size_t attempt = 0; attempt < kMaxDepth; ++attempt) {
    Path& path = path_;
    if (name_ != u"$I30" || !take_sought(key, true)) TRY(descend(key, OnEqual::Stop, path));
    if (!path.is_equal) return NtStatus::ObjectNameNotFound;
    Level& at = path.last();
    if (!at.node.view().has_subnodes()) {
      TRY(delete_entry(transaction, at.node, at.offset));
      if (at.node.is_root() || !is_underfull(at.node.view())) return {};
      return rebalance(transaction, key, OnEqual::GoRight);
    }
    if (TRY(remove_inner(transaction, path))) return {};
    // An empty leaf (of another implementation) stands beside the entry: it goes first.
    TRY(rebalance(transaction, key, OnEqual::GoLeft));
  }
  return corrupt({"index", owner_.raw(), 0}, "empty leaf beside an inner entry", 0);
}

/// The path stands at an entry of an inner node: its neighbour in a leaf takes its place. False
/// when the leaf is empty.
Result<bool> IndexTree::remove_inner(Transaction& transaction, Path& path) {
  const size_t level = path.depth - 1;
  if (!TRY(extend_to(path, level, Neighbour::Predecessor))) return false;
  const Level at = path.levels[level];
  const auto inner = TRY(entry_of(at.node, at.offset));
  const uint32_t free = at.node.is_root()
                            ? ondisk::FileRecordView::of_valid(at.node.page->bytes()).free_bytes()
                            : at.node.view().free_bytes();
  const auto replacement = [&](const Level& leaf) {
    const ByteView bytes = leaf.node.view().bytes().subspan(leaf.offset);
    return ondisk::with_subnode(IndexEntryView::of_valid(bytes, leaf.offset), inner.subnode_vcn());
  };
  ByteVector entry = replacement(path.last());
  OnEqual towards_leaf = OnEqual::GoLeft;
  if (entry.size() > free + inner.length()) {
    // The other neighbour may spare a split.
    Path other = path;
    if (TRY(extend_to(other, level, Neighbour::Successor))) {
      ByteVector successor = replacement(other.last());
      if (successor.size() <= free + inner.length()) {
        entry = std::move(successor);
        path = std::move(other);
        towards_leaf = OnEqual::GoRight;
      }
    }
  }
  Level& leaf = path.last();
  TRY(delete_entry(transaction, leaf.node, leaf.offset));
  const bool leaf_is_underfull = is_underfull(leaf.node.view());
  TRY(delete_entry(transaction, path.levels[level].node, at.offset));
  const ByteView entry_key = IndexEntryView::of_valid(entry, 0).key();
  const ByteVector key(entry_key.begin(), entry_key.end());
  path.depth = level + 1;
  TRY(insert_at(transaction, path, level, std::move(entry), kNoReserve));
  if (leaf_is_underfull) TRY(rebalance(transaction, key, towards_leaf));
  return true;
}

/// Goes on from the inner entry at `level` to its neighbour in a leaf. False when that leaf is
/// empty. The level itself still stands at the entry.
Result<bool> IndexTree::extend_to(Path& path, size_t level, Neighbour neighbour) {
  const bool is_before = neighbour == Neighbour::Predecessor;
  path.depth = level + 1;
  const Level& at = path.levels[level];
  const auto inner = TRY(entry_of(at.node, at.offset));
  Node node = TRY(load_child(is_before ? inner : entry_after(at.node.view(), inner)));
  while (node.view().has_subnodes()) {
    const auto next = is_before ? node.view().end_entry() : *node.view().begin();
    TRY(push(path, node, next.offset()));
    node = TRY(load_child(next));
  }
  const auto last = last_entry(node.view());
  if (!last) return false;
  const uint32_t offset = is_before ? last->offset() : node.view().entries_offset();
  TRY(push(path, std::move(node), offset));
  return true;
}

/// Merges the nodes on the way to `key` with their neighbours where they have become too empty, and
/// makes the tree lower where the root has but one subnode.
Result<> IndexTree::rebalance(Transaction& transaction, ByteView key, OnEqual on_equal) {
  for (size_t round = 0; round < 4 * kMaxDepth; ++round) {
    Path path;
    TRY(descend(key, on_equal, path));
    bool has_changed = TRY(shrink_root(transaction, path));
    for (size_t level = path.depth - 1; level > 0 && !has_changed; --level) {
      has_changed = TRY(relieve(transaction, path, level));
    }
    if (!has_changed) return {};
  }
  return {};
}

/// The root leads to one block only. An empty leaf: the index is empty, all blocks go. An inner
/// node that fits in the file record: it moves up.
Result<bool> IndexTree::shrink_root(Transaction& transaction, Path& path) {
  if (path.depth < 2) return false;
  const Root root = TRY(load_root());
  if (!root.node.view().is_empty()) return false;
  const Node& child = path.levels[1].node;
  const IndexNodeView view = child.view();
  const std::byte flags = root.node.view().header().flags;
  if (!view.has_subnodes()) {
    if (!view.is_empty()) return false;
    TRY(set_root(transaction, root, ondisk::build_end_entry(std::nullopt),
                 flags & ~ondisk::IndexHeaderFlags::HasSubnodes));
    TRY(blocks_.free(transaction, child.vcn));
    TRY(blocks_.release_all(transaction));
    return true;
  }
  const auto record = ondisk::FileRecordView::of_valid(root.node.page->bytes());
  const uint32_t needed = entry_bytes(view) + kShrinkReserve;
  if (!view.is_empty() && needed > record.free_bytes()) return false;
  TRY(set_root(transaction, root, entries_from(view, view.entries_offset()), flags));
  TRY(blocks_.free(transaction, child.vcn));
  return true;
}

/// Deals with the node at `level` if it is nearly empty. False when nothing was changed.
Result<bool> IndexTree::relieve(Transaction& transaction, Path& path, size_t level) {
  const Node& node = path.levels[level].node;
  if (!is_underfull(node.view())) return false;
  auto pair = TRY(siblings(path, level));
  if (!pair) return false;
  const auto separator = TRY(entry_of(path.levels[level - 1].node, pair->separator));
  const IndexNodeView left = pair->left.view();
  const IndexNodeView right = pair->right.view();
  const size_t total = entry_bytes(left) - left.end_entry().length() +
                       lowered(separator, left).size() + entry_bytes(right);
  const size_t room = left.allocated_bytes() - left.entries_offset();
  if (total <= (node.view().is_empty() ? room : room / 4 * 3)) {
    TRY(merge(transaction, path, level, *pair));
    return true;
  }
  if (!node.view().is_empty()) return false;
  TRY(rotate(transaction, path, level, *pair));
  return true;
}

/// The node at `level` with its neighbour on the right, or on the left if there is none.
Result<std::optional<IndexTree::Siblings>> IndexTree::siblings(Path& path, size_t level) {
  Level& parent = path.levels[level - 1];
  TRY(refresh(parent.node));
  const IndexNodeView view = parent.node.view();
  const auto entry = TRY(entry_of(parent.node, parent.offset));
  Siblings pair;
  if (entry.is_end()) {
    const auto before = last_entry(view);
    if (!before) return std::optional<Siblings>();
    pair.left = TRY(load_child(*before));
    pair.right = path.levels[level].node;
    pair.separator = before->offset();
    pair.following = entry.offset();
  } else {
    const auto after = entry_after(view, entry);
    pair.left = path.levels[level].node;
    pair.right = TRY(load_child(after));
    pair.separator = entry.offset();
    pair.following = after.offset();
  }
  if (pair.left.vcn == pair.right.vcn) {
    return corrupt({"index", owner_.raw(), 0}, "subnode of two entries", pair.left.vcn.raw());
  }
  // Leaves at different depths, which only another implementation makes, stay as they are.
  if (pair.left.view().has_subnodes() != pair.right.view().has_subnodes()) {
    return std::optional<Siblings>();
  }
  return std::optional(std::move(pair));
}

/// All entries of both, and the separator, go to the left node; the right one is freed.
Result<> IndexTree::merge(Transaction& transaction, Path& path, size_t level,
                          const Siblings& pair) {
  Node& parent = path.levels[level - 1].node;
  const IndexNodeView left = pair.left.view();
  const IndexNodeView right = pair.right.view();
  ByteVector tail = lowered(TRY(entry_of(parent, pair.separator)), left);
  append(tail, entries_from(right, right.entries_offset()));
  TRY(write_end(transaction, pair.left, left.end_entry().offset(), tail));
  TRY(set_subnode(transaction, parent, pair.following, pair.left.vcn));
  TRY(delete_entry(transaction, parent, pair.separator));
  return blocks_.free(transaction, pair.right.vcn);
}

/// One of the two is empty and the other too full to be merged: the separator goes down into the
/// empty one, the nearest entry of the other goes up.
Result<> IndexTree::rotate(Transaction& transaction, Path& path, size_t level,
                           const Siblings& pair) {
  const auto separator = TRY(entry_of(path.levels[level - 1].node, pair.separator));
  const IndexNodeView left = pair.left.view();
  const IndexNodeView right = pair.right.view();
  ByteVector tail = lowered(separator, left);
  if (left.is_empty()) {
    const IndexEntryView first = *right.begin();
    if (first.is_end()) return NtStatus::FileSystemLimitation;
    ByteVector up = ondisk::with_subnode(first, pair.left.vcn);
    append(tail, ondisk::build_end_entry(subnode_of(first)));
    TRY(write_end(transaction, pair.left, left.entries_offset(), tail));
    Node from = pair.right;
    TRY(delete_entry(transaction, from, first.offset()));
    return replace_separator(transaction, path, level - 1, pair.separator, std::move(up));
  }
  const IndexEntryView last = *last_entry(left);
  ByteVector up = ondisk::with_subnode(last, pair.left.vcn);
  append(tail, entries_from(right, right.entries_offset()));
  TRY(write_end(transaction, pair.right, right.entries_offset(), tail));
  TRY(write_end(transaction, pair.left, last.offset(), ondisk::build_end_entry(subnode_of(last))));
  return replace_separator(transaction, path, level - 1, pair.separator, std::move(up));
}

/// The path is of no use afterwards.
Result<> IndexTree::replace_separator(Transaction& transaction, Path& path, size_t level,
                                      uint32_t offset, ByteVector entry) {
  TRY(delete_entry(transaction, path.levels[level].node, offset));
  path.levels[level].offset = offset;
  return insert_at(transaction, path, level, std::move(entry), kNoReserve);
}

}  // namespace ntfs
