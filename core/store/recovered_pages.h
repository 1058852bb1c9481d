#pragma once

// The pages that a recovery changes, in memory, found by their place on the device: no $MFT and no
// runlist is needed. Bytes of file records and index blocks are *unprotected*, as in the page
// cache. Nothing is written here; the result is a list of patches.
//
// Every file record and index block in the result carries the recovery's stamp as LSN: one above
// the end of the log, a number that no record has. So when a crash interrupts the writing of the
// patches, the next recovery, which reads the same log, knows the pages that had arrived. They are
// final: they stay as they are, neither redone nor undone, however often that happens.
// Pages without an LSN are always redone and undone, which gives the same bytes each time.

#include <array>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/io/overlay_device.h"
#include "core/ondisk/boot_sector.h"
#include "core/store/page_cache.h"
#include "lfs/lsn.h"

namespace ntfs {

/// `length` bytes of the device at `offset`; multiples of 512.
struct DevicePiece {
  uint64_t offset = 0;
  uint64_t length = 0;
  friend bool operator==(const DevicePiece&, const DevicePiece&) = default;
};

struct PageLocation {
  PageKind kind = PageKind::Raw;
  std::vector<DevicePiece> pieces;  ///< the page's bytes, in order; at least one
  uint64_t number = 0;              ///< record number, or vcn of the index block; raw: not used
};

class RecoveredPages {
 public:
  struct Page {
    PageLocation location;
    ByteVector bytes;
    bool is_usable = false;         ///< the bytes are a whole structure (raw: always)
    bool is_final = false;          ///< written by an interrupted recovery of the same log
    bool is_changed = false;        ///< by the caller
    uint16_t number_to_follow = 0;  ///< update sequence number, of what the device holds

    /// Of file records and index blocks that are usable.
    lfs::Lsn lsn() const;
    /// Parses the bytes after a change. FileCorruptError (reported): they are not whole.
    Result<> verify(const ondisk::VolumeGeometry& geometry);
  };

  /// `device` must outlive the object. `log_bytes`: size of the log that speaks of the pages.
  RecoveredPages(BlockDevice& device, const ondisk::VolumeGeometry& geometry, lfs::Lsn stamp,
                 uint64_t log_bytes);

  /// The page at `location`, read when it is not here. Valid as long as the object. Errors: the
  /// device's; LogCorrupt: another page, of another shape, takes some of these bytes;
  /// InsufficientResources: the log speaks of more pages than any log should.
  Result<Page*> get(const PageLocation& location);

  /// All changed pages as they go to the device, and the copies in $MFTMirr, whose first
  /// `mirror_records` records stand at `mirror_offset`. The pages must not be used afterwards.
  std::vector<DevicePatch> take_patches(uint64_t mirror_offset, uint64_t mirror_records);
  uint64_t count_changed() const;

  /// `into.size()` bytes at `offset`, whatever the device's block size. Not those changed here.
  Result<> read_device(uint64_t offset, MutableBytes into);

 private:
  /// Part of the device as it is.
  struct Window {
    uint64_t first = 0;
    uint64_t length = 0;
    AlignedBuffer bytes;
  };
  static constexpr size_t kWindows = 64;

  Result<> read_window(Window& window, uint64_t from, uint64_t to);
  Result<> read_place(const PageLocation& location, MutableBytes into);
  Result<> load(Page& page);
  void open(Page& page);
  void look_at_copy(Page& page, uint64_t offset);
  void close(Page& page) const;

  BlockDevice& device_;
  const ondisk::VolumeGeometry geometry_;
  const lfs::Lsn stamp_;
  const uint64_t most_bytes_;
  std::deque<Page> pages_;
  std::unordered_map<uint64_t, size_t> owners_;  // 512-byte unit of the device -> index in pages_
  uint64_t total_bytes_ = 0;
  std::array<Window, kWindows> windows_;  // read last
  size_t next_window_ = 0;
};

}  // namespace ntfs
