#pragma once

// Metadata pages in memory: file records, index blocks, and 4 KiB pages of other nonresident
// metadata (bitmaps, $SDS, attribute lists). A page holds *unprotected* bytes (fix-ups undone).
//
// Invariants: a page in the cache has been parsed and stays valid (operations keep it so); a dirty
// page is never evicted and reaches the device only in a checkpoint, after its log records.
// Locks: page contents and lists are guarded by Journal::metadata_lock (shared: read; exclusive:
// a Transaction); the table itself by the cache's own mutex.

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tsl/robin_map.h>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/ondisk/attribute_record.h"
#include "core/ondisk/boot_sector.h"
#include "core/store/runlist.h"
#include "lfs/lsn.h"

namespace ntfs {

enum class PageKind : uint8_t { FileRecord, IndexBlock, Raw };

/// A nonresident attribute that holds metadata: who owns it, where it lies, how its pages look.
/// Guarded by Journal::metadata_lock.
struct MetadataStream {
  FileReference file;  ///< base record of the owner
  ondisk::AttributeType type;
  std::u16string name;
  PageKind kind = PageKind::Raw;
  uint32_t page_bytes = 4096;  ///< file record size, index block size, or 4096
  Runlist runs;
  uint64_t id = 0;  ///< (record number << 8) | code of (type, name); the page key's first half

  uint32_t slot = 0;             ///< log: byte offset of its open attribute entry; 0 = none yet
  uint64_t aborts = 0;           ///< Journal::abort_count() when the runs were loaded
  uint64_t opened_interval = 0;  ///< log: the checkpoint interval in which the slot was opened
};
using MetadataStreamRef = std::shared_ptr<MetadataStream>;

/// The id for pages of (record, type, name); 0 when (type, name) is none of the metadata that the
/// store keeps in pages.
uint64_t metadata_stream_id(uint64_t record_number, ondisk::AttributeType type,
                            std::u16string_view name);

/// Where a page lies on the volume: the lcns of the clusters that it touches, and the byte offset
/// of its first byte in the first of them.
struct PagePlace {
  std::vector<Lcn> lcns;
  uint32_t offset_in_cluster = 0;
  Vcn first_vcn;
};

class MetadataPage {
 public:
  MetadataPage(MetadataStreamRef stream, uint64_t index, PagePlace place);

  const MetadataStreamRef& stream() const { return stream_; }
  PageKind kind() const { return stream_->kind; }
  /// Record number, index block number, or number of the 4 KiB page.
  uint64_t index() const { return index_; }
  /// Bytes from the start of the stream.
  uint64_t position() const { return index_ * stream_->page_bytes; }
  const PagePlace& place() const { return place_; }
  ByteView bytes() const { return bytes_; }
  bool is_dirty() const { return dirty_; }
  /// How often transactions have changed the page. May be asked without a lock.
  uint64_t changes() const { return changes_.load(std::memory_order_acquire); }

 private:
  /// The page as a checkpoint writes it, when it was changed again before it was copied.
  struct Image {
    ByteVector bytes;
    PagePlace place;
  };
  friend class PageCache;
  friend class Journal;
  friend class Transaction;

  MetadataStreamRef stream_;
  const uint64_t index_;
  PagePlace place_;
  ByteVector bytes_;
  /// Before a change: keeps what the running checkpoint has not copied yet.
  void keep_image();

  bool dirty_ = false;
  bool pending_ = false;          // the running checkpoint will copy it
  uint64_t imaged_interval_ = 0;  // the log has held the whole page since its start or later
  std::unique_ptr<Image> image_;
  std::optional<uint16_t> number_to_follow_;  // of what the device holds; none: not looked at
  std::atomic<bool> used_{true};              // for eviction
  std::atomic<uint64_t> changes_{0};
  // Until the transaction that created the page ends: what it took the place of.
  bool is_new_ = false;
  bool replaced_was_dirty_ = false;
  std::shared_ptr<MetadataPage> replaced_;
};
using PageRef = std::shared_ptr<MetadataPage>;

class PageCache {
 public:
  /// `device` must outlive the cache. `budget_bytes` bounds the clean pages.
  PageCache(BlockDevice& device, const ondisk::VolumeGeometry& geometry, uint64_t budget_bytes);

  /// The page, read and checked if it is not here. Caller holds Journal::metadata_lock (shared is
  /// enough). Errors: FileCorruptError (reported), the device's, EndOfFile past the stream's runs.
  /// A file record that is not in use is returned, too.
  Result<PageRef> get(const MetadataStreamRef& stream, uint64_t index);
  /// The page without reading it, zeroed: for a block that was just allocated. The caller fills it
  /// through a Transaction. Caller holds Journal::metadata_lock exclusively.
  PageRef create(const MetadataStreamRef& stream, uint64_t index);
  /// The transaction that created `page` was taken back: what it replaced is here again.
  void take_back(const PageRef& page);
  /// Drops the pages of `stream` from `index` on (freed blocks). Dirty ones, too; not those that
  /// the running transaction created for an attribute that took the place of this one.
  void forget(const MetadataStream& stream, uint64_t index);
  /// The same for the pages from `first` to before `end`.
  void forget(const MetadataStream& stream, uint64_t first, uint64_t end);
  /// Drops one page: its block was made by a transaction that was taken back.
  void forget_page(const MetadataPage& page);
  /// The page of which the last cluster of `stream` holds only the first part; null when none is.
  /// Errors as get().
  Result<PageRef> page_cut_short(const MetadataStreamRef& stream);
  /// After the stream's runs grew: where such a page lies now. Returns where it lay.
  PagePlace update_place(MetadataPage& page) const;
  /// A file record that was formatted by this program and never used: made again instead of read.
  /// As create().
  PageRef create_record(const MetadataStreamRef& stream, uint64_t index);
  /// What the device holds in the places of `pages`, one after the other.
  Result<> read_places(std::span<MetadataPage* const> pages, MutableBytes memory) const;
  /// Told while a Transaction holds Journal::metadata_lock exclusively: nobody else is here then.
  void set_exclusive(bool exclusive) { exclusive_.store(exclusive, std::memory_order_relaxed); }
  /// `notice` is called, without a lock of the cache, when there are more pages than the budget
  /// allows: somebody should trim. To be set before the first page is asked for.
  void on_excess(std::function<void()> notice) { notice_ = std::move(notice); }
  bool has_excess() const { return has_excess_.load(std::memory_order_relaxed); }
  /// Evicts clean pages down to the budget. Caller holds Journal::metadata_lock exclusively.
  void trim();
  uint64_t size_bytes() const;

 private:
  struct Key {
    uint64_t stream;
    uint64_t index;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      const uint64_t mixed = (key.stream * 0x9E3779B97F4A7C15u) ^ (key.index * 0xC2B2AE3D27D4EB4Fu);
      return mixed ^ (mixed >> 32);  // the table looks at the low bits
    }
  };

  PagePlace place_of(const MetadataStream& stream, uint64_t index) const;
  Result<PageRef> read_page(const MetadataStreamRef& stream, uint64_t index);
  Result<> read_around(const MetadataStreamRef& stream, uint64_t index);
  enum class Told { Yes, No };
  Result<> check_page(const MetadataStream& stream, uint64_t index, MutableBytes bytes,
                      Told told = Told::Yes) const;
  PageRef find(Key key) const NO_THREAD_SAFETY_ANALYSIS;
  PageRef find_in_table(Key key) const REQUIRES(mutex_);
  PageRef insert(PageRef page);

  BlockDevice& device_;
  const ondisk::VolumeGeometry geometry_;
  const uint64_t budget_bytes_;
  std::atomic<bool> exclusive_{false};
  mutable Mutex mutex_{LockRank::Page};
  tsl::robin_map<Key, PageRef, KeyHash> pages_ GUARDED_BY(mutex_);
  uint64_t size_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t excess_bytes_ GUARDED_BY(mutex_);  // from there on somebody is told
  std::atomic<bool> has_excess_{false};
  std::function<void()> notice_;
};

}  // namespace ntfs
