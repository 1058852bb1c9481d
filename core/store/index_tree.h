#pragma once

// The B tree over $INDEX_ROOT and $INDEX_ALLOCATION: directories ($I30) and view indexes ($SII,
// $SDH, $O, ...). Entries stand in leaves and in inner nodes; an inner entry's subnode holds what
// is less.
//
// All calls: the caller holds Journal::metadata_lock (exclusively where a Transaction is passed).
// Depth and block counts are bounded by the volume: a loop in a damaged tree ends in
// FileCorruptError. An object remembers where it found a name: while one changes an index, no other
// object for that index may be in use.

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/index_block.h"
#include "core/store/attributes.h"
#include "core/store/index_blocks.h"
#include "core/store/page_cache.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class IndexTree {
 public:
  /// `volume` must outlive the object. `name`: "$I30" for a directory.
  IndexTree(Volume& volume, FileReference owner, std::u16string name);

  FileReference owner() const { return owner_; }

  /// A copy of the entry with exactly this key; nothing when there is none.
  Result<std::optional<ByteVector>> find(ByteView key);
  /// A copy of the last entry whose key is not greater; nothing when all are.
  Result<std::optional<ByteVector>> find_floor(ByteView key);
  /// Directories only: the entry whose name equals `name`, exactly (NameMatch::Exact) or without
  /// regard to case (the exact one first if several). Copies the whole entry.
  enum class NameMatch { Exact, IgnoreCase };
  Result<std::optional<ByteVector>> find_name(std::u16string_view name, NameMatch match);

  /// Inserts an entry (header, key, data; no subnode). ObjectNameCollision if its key is there.
  Result<> insert(Transaction& transaction, ByteView entry);
  /// Removes the entry. ObjectNameNotFound.
  Result<> remove(Transaction& transaction, ByteView key);
  /// Directories: applies `change` to the duplicated information in the entry of `key` (a
  /// $FILE_NAME value). Logs nothing if that changes nothing. ObjectNameNotFound.
  Result<> update_file_name(Transaction& transaction, ByteView key,
                            const std::function<void(ondisk::DuplicatedInformation&)>& change);

  Result<bool> is_empty();
  /// Calls `visit` with every entry in order (no END entries). Stops when it returns an error.
  Result<> for_each(const std::function<Result<>(const ondisk::IndexEntryView&)>& visit);

 private:
  static constexpr size_t kMaxDepth = 32;

  /// A node where it stands. The root's place is good until the next change of the file's
  /// attributes: it is loaded anew before each use.
  struct Node {
    PageRef page;
    uint32_t node_offset = 0;    // of the IndexHeader in the page
    uint32_t record_offset = 0;  // root: of the $INDEX_ROOT record in the page
    Vcn vcn;                     // blocks
    ondisk::IndexNodeView view() const {
      return ondisk::IndexNodeView::of_valid(page->bytes().subspan(node_offset));
    }
    bool is_root() const { return page->kind() == PageKind::FileRecord; }
  };
  struct Root {
    Node node;
    ondisk::IndexRootHeader header;
    ondisk::Collation rule() const {
      return static_cast<ondisk::Collation>(header.collation.get());
    }
  };
  /// A key under its rule; of a $FILE_NAME only the name counts.
  struct SearchKey {
    ondisk::Collation rule;
    ByteView bytes;
  };
  /// The first entry of a node that is not less than a key (offsets from the IndexHeader).
  struct Place {
    uint32_t offset = 0;
    uint32_t previous = 0;  // offset of the entry before, 0 if there is none
    bool is_equal = false;
  };
  struct Level {
    Node node;
    uint32_t offset = 0;  // of the entry that leads on, or that the descent stopped at
  };
  /// From the root down.
  struct Path {
    std::array<Level, kMaxDepth> levels;
    size_t depth = 0;
    bool is_equal = false;  // the last level stands at the key itself
    Level& last() { return levels[depth - 1]; }
  };
  /// Where a descent goes at an entry that equals the key.
  enum class OnEqual { Stop, GoLeft, GoRight };
  /// Which neighbour in key order takes the place of an entry removed from an inner node.
  enum class Neighbour { Predecessor, Successor };
  struct SplitResult {
    ByteVector median;  // with the left block as its subnode
    Vcn right;
  };
  /// Two neighbours below one parent, and the entry between them.
  struct Siblings {
    Node left;
    Node right;
    uint32_t separator = 0;  // offset in the parent
    uint32_t following = 0;  // offset in the parent of the entry that leads to `right`
  };
  class Walk;

  // index_tree.cc: reading.
  Result<Root> load_root();
  Result<Node> load_child(const ondisk::IndexEntryView& entry);
  SearchKey search_key(ondisk::Collation rule, ByteView key) const;
  Result<Place> search(const Node& node, const SearchKey& key) const;
  Result<> descend(ByteView key, OnEqual on_equal, Path& path);
  Result<> push(Path& path, Node node, uint32_t offset) const;
  Result<std::optional<Level>> locate(ByteView key);

  // index_tree.cc: one change of one node.
  Result<ondisk::IndexEntryView> entry_of(const Node& node, uint32_t offset) const;
  Result<> refresh(Node& node);
  Result<> add_entry(Transaction& transaction, Node& node, uint32_t offset, ByteView entry);
  Result<> delete_entry(Transaction& transaction, Node& node, uint32_t offset);
  Result<> set_subnode(Transaction& transaction, Node& node, uint32_t offset, Vcn vcn);
  Result<> write_end(Transaction& transaction, const Node& node, uint32_t offset, ByteView entries);
  Result<> set_root(Transaction& transaction, const Root& root, ByteView entries,
                    std::byte header_flags);

  // index_split.cc: growing.
  Result<> insert_at(Transaction& transaction, Path& path, size_t level, ByteVector entry,
                     uint32_t root_reserve);
  Result<> push_root_down(Transaction& transaction, Path& path);
  Result<SplitResult> split(Transaction& transaction, Path& path, size_t level, ByteView entry);
  Result<size_t> choose_median(const Path& path, size_t level, const std::vector<ByteView>& entries,
                               size_t inserted) const;

  // index_remove.cc: shrinking.
  Result<bool> remove_inner(Transaction& transaction, Path& path);
  Result<bool> extend_to(Path& path, size_t level, Neighbour neighbour);
  Result<> rebalance(Transaction& transaction, ByteView key, OnEqual on_equal);
  Result<bool> relieve(Transaction& transaction, Path& path, size_t level);
  Result<std::optional<Siblings>> siblings(Path& path, size_t level);
  Result<> merge(Transaction& transaction, Path& path, size_t level, const Siblings& pair);
  Result<> rotate(Transaction& transaction, Path& path, size_t level, const Siblings& pair);
  Result<> replace_separator(Transaction& transaction, Path& path, size_t level, uint32_t offset,
                             ByteVector entry);
  Result<bool> shrink_root(Transaction& transaction, Path& path);

  bool take_sought(ByteView key, bool is_there);

  Volume& volume_;
  const FileReference owner_;
  const std::u16string name_;
  Attributes attributes_;
  IndexBlocks blocks_;
  // Where find_name() went last, for the insert or removal that follows it.
  Path path_;
  ByteVector sought_;  // the name, as on disk
  bool is_path_good_ = false;
};

}  // namespace ntfs
