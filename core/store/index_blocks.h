#pragma once

// The INDX blocks of one index: $INDEX_ALLOCATION, and the $BITMAP that says which blocks are in
// use. Blocks are numbered from 0; an entry names its subnode by vcn, in units of
// VolumeGeometry::index_vcn_bytes. File size and bitmap cover the blocks that were ever in use;
// clusters may be allocated ahead.
//
// All calls: the caller holds Journal::metadata_lock (exclusively where a Transaction is passed).

#include <optional>
#include <string>
#include <vector>

#include "core/store/attributes.h"
#include "core/store/page_cache.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class IndexBlocks {
 public:
  /// `volume` must outlive the object.
  IndexBlocks(Volume& volume, FileReference owner, std::u16string_view name);

  /// Bytes of a block of this volume.
  uint32_t block_bytes() const;
  /// The block at `vcn`. FileCorruptError (reported) where no block can be.
  Result<PageRef> get(Vcn vcn);
  /// How many blocks $INDEX_ALLOCATION has clusters for; 0 without one.
  Result<uint64_t> count();

  struct Fresh {
    PageRef page;  ///< to be filled with Transaction::perform_new
    Vcn vcn;
  };
  /// Takes a block that is not in use: one that was freed in an earlier transaction, or a new one.
  /// Makes $INDEX_ALLOCATION and $BITMAP when there are none. DiskFull.
  Result<Fresh> allocate(Transaction& transaction);
  /// Empties the block at `vcn` and gives it back; its clusters stay with the index.
  Result<> free(Transaction& transaction, Vcn vcn);
  /// The index has no blocks any more: frees all clusters and removes both attributes. Where that
  /// is too much for one transaction both stay, with all bits clear.
  Result<> release_all(Transaction& transaction);

 private:
  enum class Bit { Clear, Set };

  Result<MetadataStreamRef> stream(ondisk::AttributeType type);
  Result<uint64_t> number_of(Vcn vcn) const;
  Result<> empty(Transaction& transaction, const PageRef& page);
  Result<Fresh> take(Transaction& transaction, const MetadataStreamRef& stream, uint64_t block);
  Result<MetadataStreamRef> create_allocation(Transaction& transaction);
  Result<> grow(Transaction& transaction, const MetadataStreamRef& stream, uint64_t blocks);
  Result<> add_clusters(Transaction& transaction, const MetadataStreamRef& stream,
                        uint64_t least_bytes, uint64_t wanted_bytes);
  Result<Runlist> allocate_runs(Transaction& transaction, uint64_t least_bytes,
                                uint64_t wanted_bytes, const Runlist& before);

  // $BITMAP, resident or not.
  Result<std::optional<uint64_t>> find_clear(const Transaction& transaction, uint64_t stream_id,
                                             uint64_t blocks);
  Result<> change_bit(Transaction& transaction, uint64_t block, Bit value);
  Result<> extend_bitmap(Transaction& transaction, uint64_t blocks);
  Result<> make_bitmap_nonresident(Transaction& transaction, ByteView value);
  Result<> extend_nonresident_bitmap(Transaction& transaction, uint64_t bytes);
  Result<> zero_bitmap(Transaction& transaction, const MetadataStreamRef& bitmap, uint64_t from,
                       uint64_t to, uint64_t fresh_from);
  Result<> release_stream(Transaction& transaction, ondisk::AttributeType type);

  Volume& volume_;
  const FileReference owner_;
  const std::u16string name_;
  Attributes attributes_;
  MetadataStreamRef blocks_;      // $INDEX_ALLOCATION, once it was asked for,
  uint64_t streams_version_ = 0;  // as the volume knew it then
};

}  // namespace ntfs
