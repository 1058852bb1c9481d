#include "core/store/index_tree.h"

#include <algorithm>
#include <utility>

#include "core/store/collation.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::IndexEntryFlags;
using ondisk::IndexEntryHeader;
using ondisk::IndexEntryView;
using ondisk::IndexNodeView;

namespace {

/// Entries of the largest node: 64 KiB of bare headers.
constexpr size_t kMaxEntries = (64 << 10) / sizeof(IndexEntryHeader);
/// From the start of an entry to the duplicated information of its $FILE_NAME.
constexpr size_t kMinNameEntry = sizeof(IndexEntryHeader) + sizeof(ondisk::FileNameHeader);

IndexEntryView entry_at(ByteView node, uint32_t offset) {
  return IndexEntryView::of_valid(node.subspan(offset), offset);
}

/// Offsets of the entries of a node from its IndexHeader, END included.
class EntryOffsets {
 public:
  /// False when the entries do not end in the node.
  bool collect(ByteView node, uint32_t first) {
    for (size_t at = first; count_ < kMaxEntries;) {
      if (at + sizeof(IndexEntryHeader) > node.size()) return false;
      const auto& header = struct_at<IndexEntryHeader>(node, at);
      offsets_[count_++] = static_cast<uint16_t>(at);
      if ((header.flags.get() & IndexEntryFlags::End) != 0) return true;
      const size_t length = header.entry_length.get();
      if (length < sizeof(IndexEntryHeader)) return false;
      at += length;
    }
    return false;
  }
  /// Without END.
  size_t count() const { return count_ - 1; }
  uint32_t operator[](size_t i) const { return offsets_[i]; }

 private:
  std::array<uint16_t, kMaxEntries> offsets_;  // only the first count_ mean something
  size_t count_ = 0;
};

/// Asks for all cache lines at once: each entry says where the next one begins, so that a walk over
/// a cold block would wait for them one by one.
void prefetch(ByteView bytes) {
  constexpr size_t kCacheLine = 64;
  for (size_t at = 0; at < bytes.size(); at += kCacheLine) __builtin_prefetch(bytes.data() + at);
}

ByteView key_at(ByteView node, uint32_t offset) {
  const auto& header = struct_at<IndexEntryHeader>(node, offset);
  return node.subspan(offset + sizeof(IndexEntryHeader), header.key_length.get());
}

/// A name as it stands on disk, without a heap allocation.
class DiskName {
 public:
  explicit DiskName(std::u16string_view name) : length_(name.size() * 2) {
    for (size_t i = 0; i < name.size(); ++i) {
      bytes_[2 * i] = static_cast<std::byte>(name[i] & 0xFF);
      bytes_[2 * i + 1] = static_cast<std::byte>(name[i] >> 8);
    }
  }
  ByteView bytes() const { return ByteView(bytes_).first(length_); }

 private:
  std::array<std::byte, 2 * ondisk::kMaxNameUnits> bytes_;
  size_t length_;
};

}  // namespace

IndexTree::IndexTree(Volume& volume, FileReference owner, std::u16string name)
    : volume_(volume),
      owner_(owner),
      name_(std::move(name)),
      attributes_(volume, owner),
      blocks_(volume, owner, name_) {}

// Reading.

Result<IndexTree::Root> IndexTree::load_root() {
  const auto found = TRY(attributes_.find(AttributeType::IndexRoot, name_));
  const auto attribute = found.view();
  const Origin origin{"$INDEX_ROOT", owner_.raw(), found.offset};
  if (!attribute.is_resident()) return corrupt(origin, "form", 1, "resident");
  const auto value = ondisk::IndexRootView::of_valid(attribute.value());
  const bool is_names = value.kind() == ondisk::IndexKind::FileNames;
  if (is_names != (name_ == u"$I30")) {
    return corrupt(origin, "indexed type", value.header().indexed_type.get());
  }
  if (value.index_block_size() != blocks_.block_bytes()) {
    return corrupt(origin, "index block size", value.index_block_size(), "as in the boot sector");
  }
  Root root;
  root.header = value.header();
  root.node.page = found.page;
  root.node.record_offset = found.offset;
  root.node.node_offset =
      found.offset + attribute.value_offset() + static_cast<uint32_t>(ondisk::kIndexHeaderInRoot);
  return root;
}

Result<IndexTree::Node> IndexTree::load_child(const IndexEntryView& entry) {
  Node node;
  node.vcn = entry.subnode_vcn();
  node.page = TRY(blocks_.get(node.vcn));
  node.node_offset = static_cast<uint32_t>(ondisk::kIndexHeaderInBlock);
  return node;
}

IndexTree::SearchKey IndexTree::search_key(ondisk::Collation rule, ByteView key) const {
  return {rule, rule == ondisk::Collation::FileName ? name_in_key(key) : key};
}

Result<IndexTree::Place> IndexTree::search(const Node& node, const SearchKey& key) const {
  const IndexNodeView view = node.view();
  const ByteView bytes = view.bytes();
  prefetch(bytes.first(std::min<size_t>(view.used_bytes(), bytes.size())));
  EntryOffsets offsets;
  if (!offsets.collect(bytes, view.entries_offset())) {
    return corrupt({"index node", owner_.raw(), node.vcn.raw()}, "END entry", 0);
  }
  const bool by_name = key.rule == ondisk::Collation::FileName;
  const UpCase& upcase = volume_.upcase();
  size_t low = 0;
  size_t high = offsets.count();
  bool is_equal = false;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const ByteView other = key_at(bytes, offsets[middle]);
    const auto order = by_name ? compare_names(name_in_key(other), key.bytes, upcase)
                               : compare_keys(key.rule, other, key.bytes, upcase);
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
      if (order == 0) {
        is_equal = true;
        low = middle;
      }
    }
  }
  return Place{offsets[low], low == 0 ? 0 : offsets[low - 1], is_equal};
}

Result<> IndexTree::push(Path& path, Node node, uint32_t offset) const {
  if (path.depth == kMaxDepth) {
    return corrupt({"index", owner_.raw(), node.vcn.raw()}, "depth", path.depth);
  }
  path.levels[path.depth++] = {std::move(node), offset};
  return {};
}

Result<> IndexTree::descend(ByteView key, OnEqual on_equal, Path& path) {
  const Root root = TRY(load_root());
  const SearchKey wanted = search_key(root.rule(), key);
  path.depth = 0;
  path.is_equal = false;
  for (Node node = root.node;;) {
    const Place place = TRY(search(node, wanted));
    uint32_t offset = place.offset;
    if (place.is_equal && on_equal == OnEqual::GoRight) {
      offset += entry_at(node.view().bytes(), offset).length();
    }
    TRY(push(path, node, offset));
    path.is_equal = place.is_equal && on_equal == OnEqual::Stop;
    if (path.is_equal || !node.view().has_subnodes()) return {};
    node = TRY(load_child(entry_at(node.view().bytes(), offset)));
  }
}

Result<std::optional<IndexTree::Level>> IndexTree::locate(ByteView key) {
  const Root root = TRY(load_root());
  const SearchKey wanted = search_key(root.rule(), key);
  Node node = root.node;
  for (size_t depth = 0; depth < kMaxDepth; ++depth) {
    const Place place = TRY(search(node, wanted));
    if (place.is_equal) return std::optional(Level{std::move(node), place.offset});
    if (!node.view().has_subnodes()) return std::optional<Level>();
    node = TRY(load_child(entry_at(node.view().bytes(), place.offset)));
  }
  return corrupt({"index", owner_.raw(), node.vcn.raw()}, "depth", kMaxDepth);
}

Result<std::optional<ByteVector>> IndexTree::find(ByteView key) {
  const auto level = TRY(locate(key));
  if (!level) return std::optional<ByteVector>();
  const auto entry = entry_at(level->node.view().bytes(), level->offset);
  return std::optional(ondisk::with_subnode(entry, std::nullopt));
}

Result<std::optional<ByteVector>> IndexTree::find_floor(ByteView key) {
  const Root root = TRY(load_root());
  const SearchKey wanted = search_key(root.rule(), key);
  std::optional<Level> floor;
  Node node = root.node;
  for (size_t depth = 0; depth < kMaxDepth; ++depth) {
    const Place place = TRY(search(node, wanted));
    if (place.is_equal) floor = {node, place.offset};
    if (!place.is_equal && place.previous != 0) floor = {node, place.previous};
    if (place.is_equal || !node.view().has_subnodes()) {
      if (!floor) return std::optional<ByteVector>();
      const auto entry = entry_at(floor->node.view().bytes(), floor->offset);
      return std::optional(ondisk::with_subnode(entry, std::nullopt));
    }
    node = TRY(load_child(entry_at(node.view().bytes(), place.offset)));
  }
  return corrupt({"index", owner_.raw(), node.vcn.raw()}, "depth", kMaxDepth);
}

Result<std::optional<ByteVector>> IndexTree::find_name(std::u16string_view name, NameMatch match) {
  if (name.empty() || name.size() > ondisk::kMaxNameUnits) return std::optional<ByteVector>();
  const DiskName disk_name(name);
  const Root root = TRY(load_root());
  const SearchKey wanted{ondisk::Collation::FileName, disk_name.bytes()};
  is_path_good_ = false;
  path_.depth = 0;
  sought_.assign(wanted.bytes.begin(), wanted.bytes.end());
  Node node = root.node;
  // Names that are equal but for case are neighbours in key order, and the neighbours of the place
  // where the exact name belongs all stand beside the way down to it.
  std::optional<Level> similar;
  for (;;) {
    const Place place = TRY(search(node, wanted));
    const ByteView bytes = node.view().bytes();
    const IndexEntryView entry = entry_at(bytes, place.offset);
    TRY(push(path_, node, place.offset));
    path_.is_equal = place.is_equal;
    if (place.is_equal) {
      is_path_good_ = true;
      return std::optional(ondisk::with_subnode(entry, std::nullopt));
    }
    if (match == NameMatch::IgnoreCase) {
      for (const uint32_t offset : {place.offset, place.previous}) {
        if (offset == 0 || entry_at(bytes, offset).is_end()) continue;
        const ByteView other = name_in_key(key_at(bytes, offset));
        if (equal_ignoring_case(other, wanted.bytes, volume_.upcase())) similar = {node, offset};
      }
    }
    if (!node.view().has_subnodes()) {
      is_path_good_ = true;
      if (!similar) return std::optional<ByteVector>();
      const auto other = entry_at(similar->node.view().bytes(), similar->offset);
      return std::optional(ondisk::with_subnode(other, std::nullopt));
    }
    node = TRY(load_child(entry));
  }
}

/// Whether path_ leads to the name in `key`, or to its place if it is not there. It is used once.
bool IndexTree::take_sought(ByteView key, bool is_there) {
  return std::exchange(is_path_good_, false) && path_.is_equal == is_there &&
         std::ranges::equal(name_in_key(key), sought_);
}

// Walking in key order.

/// Goes through the entries in order; a stack instead of recursion.
class IndexTree::Walk {
 public:
  explicit Walk(IndexTree& tree) : tree_(tree) {}

  Result<> start() {
    most_blocks_ = TRY(tree_.blocks_.count());
    const Root root = TRY(tree_.load_root());
    return down(root.node);
  }

  /// The next entry; nothing after the last. Good until the index changes.
  Result<std::optional<IndexEntryView>> next() {
    while (path_.depth > 0) {
      Level& level = path_.last();
      const IndexNodeView node = level.node.view();
      const IndexEntryView entry = entry_at(node.bytes(), level.offset);
      if (entry.is_end()) {
        --path_.depth;
        continue;
      }
      level.offset += entry.length();
      if (node.has_subnodes()) {
        const Node child = TRY(tree_.load_child(entry_at(node.bytes(), level.offset)));
        TRY(down(child));
      }
      return std::optional(entry);
    }
    return std::optional<IndexEntryView>();
  }

 private:
  /// To the first entry of the leaf on the left below `node`.
  Result<> down(Node node) {
    for (;;) {
      const IndexNodeView view = node.view();
      const uint32_t first = view.entries_offset();
      TRY(tree_.push(path_, node, first));
      if (!view.has_subnodes()) return {};
      if (++seen_blocks_ > most_blocks_) {
        return corrupt({"index", tree_.owner_.raw(), node.vcn.raw()}, "blocks in use",
                       seen_blocks_);
      }
      node = TRY(tree_.load_child(entry_at(view.bytes(), first)));
    }
  }

  IndexTree& tree_;
  Path path_;
  uint64_t most_blocks_ = 0;
  uint64_t seen_blocks_ = 0;
};

Result<> IndexTree::for_each(const std::function<Result<>(const IndexEntryView&)>& visit) {
  Walk walk(*this);
  TRY(walk.start());
  for (;;) {
    const auto entry = TRY(walk.next());
    if (!entry) return {};
    TRY(visit(*entry));
  }
}

Result<bool> IndexTree::is_empty() {
  Walk walk(*this);
  TRY(walk.start());
  const auto first = TRY(walk.next());
  return !first.has_value();
}

// One change of one node.

Result<IndexEntryView> IndexTree::entry_of(const Node& node, uint32_t offset) const {
  const auto entry = node.view().entry_at(offset);
  if (!entry) return corrupt({"index node", owner_.raw(), node.vcn.raw()}, "entry at", offset);
  return *entry;
}

Result<> IndexTree::refresh(Node& node) {
  if (!node.is_root()) return {};
  auto root = TRY(load_root());
  node = std::move(root.node);
  return {};
}

Result<> IndexTree::add_entry(Transaction& transaction, Node& node, uint32_t offset,
                              ByteView entry) {
  is_path_good_ = false;
  TRY(refresh(node));
  const uint32_t at = node.node_offset + offset;
  if (node.is_root()) {
    const Operation add = add_index_entry_root(node.record_offset, at - node.record_offset, entry);
    return transaction.perform(add, node.page);
  }
  ByteVector scratch;
  return transaction.perform(add_index_entry(at, entry, node.page->bytes(), scratch), node.page);
}

Result<> IndexTree::delete_entry(Transaction& transaction, Node& node, uint32_t offset) {
  is_path_good_ = false;
  TRY(refresh(node));
  TRY(entry_of(node, offset));
  const uint32_t at = node.node_offset + offset;
  if (node.is_root()) {
    const Operation drop = delete_index_entry_root(node.record_offset, at - node.record_offset);
    return transaction.perform(drop, node.page);
  }
  ByteVector scratch;
  return transaction.perform(delete_index_entry(at, node.page->bytes(), scratch), node.page);
}

Result<> IndexTree::set_subnode(Transaction& transaction, Node& node, uint32_t offset, Vcn vcn) {
  is_path_good_ = false;
  TRY(refresh(node));
  const uint32_t at = node.node_offset + offset;
  const le64 raw = le64::of(vcn.raw());
  const Operation change =
      node.is_root()
          ? set_index_entry_vcn_root(node.record_offset, at - node.record_offset, bytes_of(raw))
          : set_index_entry_vcn(at, bytes_of(raw));
  return transaction.perform(change, node.page);
}

Result<> IndexTree::write_end(Transaction& transaction, const Node& node, uint32_t offset,
                              ByteView entries) {
  is_path_good_ = false;
  return transaction.perform(write_end_of_index_buffer(node.node_offset + offset, entries),
                             node.page);
}

Result<> IndexTree::set_root(Transaction& transaction, const Root& root, ByteView entries,
                             std::byte header_flags) {
  is_path_good_ = false;
  ByteVector value(sizeof(ondisk::IndexRootHeader) + sizeof(ondisk::IndexHeader));
  struct_at<ondisk::IndexRootHeader>(MutableBytes(value)) = root.header;
  const auto used = static_cast<uint32_t>(sizeof(ondisk::IndexHeader) + entries.size());
  auto& header = struct_at<ondisk::IndexHeader>(MutableBytes(value), ondisk::kIndexHeaderInRoot);
  header.entries_offset.set(sizeof(ondisk::IndexHeader));
  header.used_bytes.set(used);
  header.allocated_bytes.set(used);
  header.flags = header_flags;
  value.insert(value.end(), entries.begin(), entries.end());
  return attributes_.set_value(transaction, AttributeType::IndexRoot, name_, value);
}

Result<> IndexTree::update_file_name(
    Transaction& transaction, ByteView key,
    const std::function<void(ondisk::DuplicatedInformation&)>& change) {
  const auto level = TRY(locate(key));
  if (!level) return NtStatus::ObjectNameNotFound;
  const Node& node = level->node;
  const auto entry = TRY(entry_of(node, level->offset));
  if (name_ != u"$I30" || entry.length() < kMinNameEntry) return NtStatus::InvalidParameter;
  const auto& old = struct_at<ondisk::DuplicatedInformation>(
      entry.bytes(), sizeof(ondisk::IndexEntryHeader) + ondisk::kDuplicatedInformationOffset);
  ondisk::DuplicatedInformation info = old;
  change(info);
  if (info == old) return {};
  const uint32_t at = node.node_offset + level->offset;
  const Operation update =
      node.is_root()
          ? update_file_name_root(node.record_offset, at - node.record_offset, bytes_of(info))
          : ntfs::update_file_name(at, bytes_of(info));
  return transaction.perform(update, node.page);
}

}  // namespace ntfs
