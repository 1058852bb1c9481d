#pragma once

// File records: finding, allocating and freeing them; growth of $MFT with its bitmap.
// All calls: the caller holds Journal::metadata_lock (exclusively where a Transaction is passed).

#include <set>
#include <vector>

#include "core/ondisk/file_record.h"
#include "core/store/page_cache.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class Mft final : public Participant {
 public:
  /// `volume` must outlive the object. `records`: the stream of $MFT::$DATA, as far as known yet.
  Mft(Volume& volume, MetadataStreamRef records);
  /// Learns all runs of $MFT, its size, and its bitmap.
  Result<> load();

  /// Record `number`, in use or not. EndOfFile past the end of $MFT.
  Result<PageRef> record(uint64_t number);
  /// The base record of `file`: in use, of this sequence number, not an extension record.
  /// ObjectNameNotFound if it is not (a stale reference).
  Result<PageRef> base_record(FileReference file);

  /// Takes a free record (bit set; the record itself unchanged: the caller initializes it with
  /// initialize()). May grow $MFT. DiskFull.
  Result<PageRef> allocate(Transaction& transaction);
  /// Logs the complete image of a record that allocate() gave: first the way back (deallocate),
  /// then the image. `image`: unprotected, used bytes.
  Result<> initialize(Transaction& transaction, const PageRef& page, ByteView image);
  /// Frees a record: in-use cleared, sequence + 1, bit cleared. Reusable after a checkpoint.
  Result<> free(Transaction& transaction, const PageRef& page);

  /// Records that $MFT has room for.
  uint64_t total_records() const;
  /// The sequence number for a new use of the free record in `page` (never 0).
  static uint16_t next_sequence(const MetadataPage& page);
  const MetadataStreamRef& records() const { return records_; }
  const MetadataStreamRef& bitmap() const { return bitmap_; }
  Result<bool> is_allocated(uint64_t number);

 private:
  void transaction_ended(const Transaction& transaction, bool committed) override;
  Result<uint64_t> find_free(uint64_t from, uint64_t to);
  Result<uint64_t> take_free();
  Result<> grow(Transaction& transaction);
  Result<> grow_bitmap(Transaction& transaction, uint64_t records);
  Result<> format_records(const Runlist& runs, uint64_t first_record, uint64_t end_record);
  Result<> change_bit(Transaction& transaction, uint64_t number, bool set);
  Result<> reload();
  Result<> reach_extents();
  void reclaim();
  void note_free(uint64_t number);
  Result<> fill_reserve();
  Result<uint64_t> take_own();
  Result<uint64_t> end_of_settled_records();

  Volume& volume_;
  const MetadataStreamRef records_;
  MetadataStreamRef bitmap_;
  // Guarded by the metadata lock (exclusive).
  uint64_t total_ = 0;            // records that are formatted: valid data length of $MFT
  uint64_t hint_;                 // no reusable record below
  std::vector<bool> full_pages_;  // of the bitmap: those without a clear bit, as far as seen
  uint64_t untouched_;  // records from here on were formatted since the mount and never used
  bool growing_ = false;
  bool changed_ = false;       // the running transaction grew $MFT,
  uint64_t total_before_ = 0;  // which had so many records before
  struct Freed {
    uint64_t number;
    uint64_t interval;
  };
  std::vector<Freed> freed_;         // in order of interval
  std::set<uint64_t> not_reusable_;  // the numbers in freed_, and those that cannot be used
  std::vector<uint64_t> freeing_;    // by the running transaction
  std::vector<uint64_t> taking_;     // likewise
  // Free records that are kept for $MFT's own extension records (they are in not_reusable_, too):
  // the next ones must lie where earlier ones say.
  std::set<uint64_t> reserve_;
};

}  // namespace ntfs
