#pragma once

// Index nodes: the value of $INDEX_ROOT and the INDX buffers of $INDEX_ALLOCATION. Both hold an
// IndexHeader and, after it, entries in key order and an END entry. Keys are not compared here.
// All views are over *unprotected* bytes, do not own them, and are valid while they are unchanged.

#include <array>
#include <optional>
#include <string>

#include "core/base/multi_sector.h"
#include "core/base/units.h"
#include "core/ondisk/attribute_record.h"
#include "lfs/lsn.h"

namespace ntfs::ondisk {

/// COLLATION_*: how the keys of an index are ordered.
enum class Collation : uint32_t {
  Binary = 0x00,
  FileName = 0x01,
  UnicodeString = 0x02,
  NtofsUlong = 0x10,
  NtofsSid = 0x11,
  NtofsSecurityHash = 0x12,
  NtofsUlongs = 0x13,
};

/// File names (entries point to files), or a view (entries carry data). Any: one of the two, it is
/// not known which; a parse then checks what holds for both.
enum class IndexKind { FileNames, View, Any };

struct IndexHeader {
  le32 entries_offset;   // bytes from the start of this header, multiple of 8
  le32 used_bytes;       // from the start of this header to the end of the END entry
  le32 allocated_bytes;  // from the start of this header to the end of the node
  std::byte flags;       // IndexHeaderFlags
  std::array<std::byte, 3> reserved;
};
static_assert(sizeof(IndexHeader) == 0x10 && alignof(IndexHeader) == 1);
static_assert(offsetof(IndexHeader, flags) == 0x0C);

/// Bits of IndexHeader::flags.
struct IndexHeaderFlags {
  static constexpr std::byte HasSubnodes{1};
};

struct IndexRootHeader {
  le32 indexed_type;            // AttributeType::FileName, or 0 for a view
  le32 collation;               // Collation
  le32 index_block_size;        // bytes
  std::byte index_block_steps;  // the same in steps of the vcn, VolumeGeometry::index_block_steps
  std::array<std::byte, 3> reserved;
};
static_assert(sizeof(IndexRootHeader) == 0x10 && alignof(IndexRootHeader) == 1);
static_assert(offsetof(IndexRootHeader, index_block_steps) == 0x0C);

struct IndexBlockHeader {
  MultiSectorHeader multi_sector;  // "INDX"
  le64 lsn;                        // of the last log record that changed this block
  le64 vcn;                        // of this block in $INDEX_ALLOCATION
  IndexHeader index;
};
static_assert(sizeof(IndexBlockHeader) == 0x28 && alignof(IndexBlockHeader) == 1);
constexpr size_t kIndexHeaderInBlock = offsetof(IndexBlockHeader, index);
static_assert(kIndexHeaderInBlock == 0x18);
constexpr size_t kIndexHeaderInRoot = sizeof(IndexRootHeader);

struct IndexEntryHeader {
  // File names: the reference of the file. Views: le16 data offset (from the start of the entry),
  // le16 data length, le32 zero.
  le64 file_reference_or_data;
  le16 entry_length;  // bytes, multiple of 8, with the subnode's vcn
  le16 key_length;    // bytes; 0 in the END entry
  le16 flags;         // IndexEntryFlags
  le16 reserved;
};
static_assert(sizeof(IndexEntryHeader) == 0x10 && alignof(IndexEntryHeader) == 1);
static_assert(offsetof(IndexEntryHeader, flags) == 0x0C);

/// Bits of IndexEntryHeader::flags.
struct IndexEntryFlags {
  static constexpr uint16_t Subnode = 0x0001;  // the last 8 bytes are the vcn of a block
  static constexpr uint16_t End = 0x0002;
};
constexpr size_t kSubnodeVcnBytes = 8;

class IndexEntryView {
 public:
  /// The entry that begins with the first byte of `bytes`; bytes were checked or made here. The
  /// view ends with the entry.
  static IndexEntryView of_valid(ByteView bytes, uint32_t offset);
  /// Checks one entry alone, as a log record carries it. `bytes` may be longer than the entry.
  static Result<IndexEntryView> parse(ByteView bytes, IndexKind kind, const Origin& origin);

  /// Bytes from the start of the IndexHeader.
  uint32_t offset() const { return offset_; }
  uint16_t length() const { return header().entry_length.get(); }
  bool is_end() const { return (header().flags.get() & IndexEntryFlags::End) != 0; }
  bool has_subnode() const { return (header().flags.get() & IndexEntryFlags::Subnode) != 0; }
  /// Only with a subnode (a bug otherwise).
  Vcn subnode_vcn() const;
  /// Empty in the END entry.
  ByteView key() const;
  /// Views only (a bug otherwise); empty in the END entry.
  ByteView data() const;
  /// Bytes from the start of the entry to data().
  uint16_t data_offset() const;
  /// File names only.
  FileReference reference() const {
    return FileReference::from_raw(header().file_reference_or_data.get());
  }
  ByteView bytes() const { return bytes_; }

 private:
  IndexEntryView(ByteView bytes, uint32_t offset) : bytes_(bytes), offset_(offset) {}
  const IndexEntryHeader& header() const { return struct_at<IndexEntryHeader>(bytes_); }
  ByteView bytes_;
  uint32_t offset_ = 0;
};

/// Forward iteration over the entries of a node, the END entry included as the last.
class IndexEntryIterator {
 public:
  struct End {};
  IndexEntryIterator(ByteView node, uint32_t offset) : node_(node), offset_(offset) {}
  IndexEntryView operator*() const {
    return IndexEntryView::of_valid(node_.subspan(offset_), offset_);
  }
  IndexEntryIterator& operator++();
  bool operator==(End) const { return done_; }

 private:
  ByteView node_;
  uint32_t offset_ = 0;
  bool done_ = false;
};

class IndexNodeView {
 public:
  /// Checks the node that begins at the IndexHeader `node` begins with: header, room, each entry
  /// (8-aligned, key and data inside, a file name that is whole), END last, subnodes on all entries
  /// or none as the header says. FileCorruptError (reported).
  static Result<IndexNodeView> parse(ByteView node, IndexKind kind, const Origin& origin);
  /// For bytes that were checked or made here.
  static IndexNodeView of_valid(ByteView node);
  /// Checks entries of this node, or such as shall become its last ones: from `offset` in `entries`
  /// to END, as parse() does. FileCorruptError (reported).
  Result<> check_entries(ByteView entries, size_t offset, IndexKind kind,
                         const Origin& origin) const;

  const IndexHeader& header() const { return struct_at<IndexHeader>(node_); }
  uint32_t entries_offset() const { return header().entries_offset.get(); }
  uint32_t used_bytes() const { return header().used_bytes.get(); }
  uint32_t allocated_bytes() const { return header().allocated_bytes.get(); }
  uint32_t free_bytes() const { return allocated_bytes() - used_bytes(); }
  bool has_subnodes() const {
    return (header().flags & IndexHeaderFlags::HasSubnodes) != std::byte{0};
  }
  /// No entry but END.
  bool is_empty() const { return (*begin()).is_end(); }
  IndexEntryIterator begin() const { return {node_, entries_offset()}; }
  IndexEntryIterator::End end() const { return {}; }
  IndexEntryView end_entry() const;
  /// The entry that begins exactly at `offset` (from the IndexHeader), END included.
  std::optional<IndexEntryView> entry_at(uint32_t offset) const;
  /// The bytes from the IndexHeader on, as given.
  ByteView bytes() const { return node_; }

 private:
  explicit IndexNodeView(ByteView node) : node_(node) {}
  ByteView node_;
};

/// A checked $INDEX_ROOT value.
class IndexRootView {
 public:
  /// FileCorruptError (reported): a bad node, type and collation that do not go together, an index
  /// block size that is no power of two from 512 to 64 KiB.
  static Result<IndexRootView> parse(ByteView value, const Origin& origin);
  static IndexRootView of_valid(ByteView value);

  const IndexRootHeader& header() const { return struct_at<IndexRootHeader>(value_); }
  IndexKind kind() const {
    return header().indexed_type.get() != 0 ? IndexKind::FileNames : IndexKind::View;
  }
  Collation collation() const { return static_cast<Collation>(header().collation.get()); }
  uint32_t index_block_size() const { return header().index_block_size.get(); }
  IndexNodeView node() const { return IndexNodeView::of_valid(value_.subspan(kIndexHeaderInRoot)); }

 private:
  explicit IndexRootView(ByteView value) : value_(value) {}
  ByteView value_;
};

/// A checked INDX buffer.
class IndexBlockView {
 public:
  static IndexBlockView of_valid(ByteView block);
  const IndexBlockHeader& header() const { return struct_at<IndexBlockHeader>(block_); }
  lfs::Lsn lsn() const { return lfs::Lsn::from_raw(header().lsn.get()); }
  Vcn vcn() const { return Vcn(header().vcn.get()); }
  IndexNodeView node() const {
    return IndexNodeView::of_valid(block_.subspan(kIndexHeaderInBlock));
  }
  ByteView bytes() const { return block_; }

 private:
  friend Result<IndexBlockView> parse_index_block(ByteView block, Vcn expected, IndexKind kind,
                                                  const Origin& origin);
  explicit IndexBlockView(ByteView block) : block_(block) {}
  ByteView block_;
};

/// Checks a whole INDX buffer, which says it stands at `expected`. FileCorruptError (reported).
Result<IndexBlockView> parse_index_block(ByteView block, Vcn expected, IndexKind kind,
                                         const Origin& origin);

/// Bytes from the IndexHeader to the first entry in a block of `block_bytes` that is made here.
constexpr size_t index_block_entries_offset(size_t block_bytes) {
  return align_up(sizeof(IndexBlockHeader) + 2 * (1 + block_bytes / kSequenceStride), 8) -
         kIndexHeaderInBlock;
}

/// Makes `block` an empty node: header, update sequence array, END entry (with `end_subnode` in a
/// node above the leaves), zeros; lsn 0.
void format_index_block(MutableBytes block, Vcn vcn, std::optional<Vcn> end_subnode);

struct IndexRootInit {
  IndexKind kind = IndexKind::FileNames;
  Collation collation = Collation::FileName;
  uint32_t index_block_size = 4096;  ///< bytes
  uint8_t index_block_steps = 1;     ///< VolumeGeometry::index_block_steps
};
/// A $INDEX_ROOT value with the END entry alone.
ByteVector build_index_root(const IndexRootInit& init, std::optional<Vcn> end_subnode);

ByteVector build_entry(FileReference reference, ByteView key, std::optional<Vcn> subnode);
ByteVector build_view_entry(ByteView key, ByteView data, std::optional<Vcn> subnode);
ByteVector build_end_entry(std::optional<Vcn> subnode);
/// `entry` with that subnode, or with none.
ByteVector with_subnode(const IndexEntryView& entry, std::optional<Vcn> subnode);

std::string describe(const IndexEntryView& entry, IndexKind kind);
/// The header and each entry, a line each.
std::string describe(const IndexNodeView& node, IndexKind kind);
std::string describe(const IndexBlockView& block, IndexKind kind);

}  // namespace ntfs::ondisk
