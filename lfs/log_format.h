#pragma once

// The bytes of a log file: restart pages (RSTR), record pages (RCRD), record headers, and the
// arithmetic between LSNs and places in the file. lfs/log_format.md tells it in prose.
// Only pages of 4096 bytes exist in practice; others are refused.

#include <cstddef>
#include <cstdint>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/multi_sector.h"
#include "lfs/lsn.h"

namespace ntfs::lfs {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kPageDataOffset = 0x40;    ///< where records begin in a record page
constexpr uint64_t kRecordHeaderSize = 0x30;  ///< never split between two pages
constexpr uint64_t kPageDataSize = kPageSize - kPageDataOffset;
constexpr uint64_t kTailSlotOffset = 2 * kPageSize;     ///< LFS 1.1: two tail copies
constexpr uint64_t kFirstRecordOffset = 4 * kPageSize;  ///< LFS 1.1
constexpr uint64_t kFastPageOffset = 2 * kPageSize;     ///< LFS 2.0: 16 pairs of fast pages
constexpr uint64_t kFastPairs = 16;
constexpr uint64_t kFirstRecordOffset2 = 34 * kPageSize;  ///< LFS 2.0
constexpr uint64_t kMinimumLogBytes = 50 * kPageSize;
constexpr uint64_t kMaximumLogBytes = (uint64_t{1} << 32) - 2 * kPageSize;
/// Of those that others made: ntfs3 looks at no more than that.
constexpr uint64_t kMaximumForeignLogBytes = uint64_t{1} << 32;
/// Longest client data of one record; ntfsrecover holds a record in 64 KiB.
constexpr uint64_t kMaximumClientData = 65536 - kRecordHeaderSize;
constexpr uint16_t kNoClient = 0xFFFF;

enum class RecordType : uint32_t { Client = 1, ClientRestart = 2 };

/// Flags of RestartArea.
constexpr uint16_t kRestartSinglePageIo = 0x0001;
constexpr uint16_t kRestartCleanDismount = 0x0002;
/// Flags of RecordPageHeader.
constexpr uint32_t kPageRecordEnd = 0x00000001;
/// Flags of RecordHeader.
constexpr uint16_t kRecordMultiPage = 0x0001;
constexpr uint16_t kRecordRedoOmitted = 0x0002;
constexpr uint16_t kRecordUndoOmitted = 0x0004;

struct RestartPageHeader {
  MultiSectorHeader header;    // "RSTR", or "CHKD" when chkdsk has reset the log
  le64 chkdsk_lsn;             // CHKD: highest LSN found on the volume
  le32 system_page_size;       // bytes
  le32 log_page_size;          // bytes
  le16 restart_area_offset;    // bytes from the start of the page
  le16 minor_version;          // signed
  le16 major_version;          // signed
  le16 update_sequence_array;  // the first word of it
};
static_assert(sizeof(RestartPageHeader) == 0x20 && alignof(RestartPageHeader) == 1);
static_assert(offsetof(RestartPageHeader, update_sequence_array) == 0x1E);

struct RestartArea {
  le64 current_lsn;  // last record known durable; where the search for the end starts
  le16 log_clients;
  le16 client_free_list;    // index of a ClientEntry, kNoClient ends the list
  le16 client_in_use_list;  // kNoClient: the log is closed
  le16 flags;
  le32 sequence_number_bits;
  le16 restart_area_length;
  le16 client_array_offset;  // bytes from the start of this structure
  le64 file_size;            // bytes of the log in use
  le32 last_lsn_data_length;
  le16 record_header_length;
  le16 page_data_offset;
  // Only where client_array_offset leaves room:
  le32 open_log_count;
  le32 reserved[5];
};
static_assert(sizeof(RestartArea) == 0x40 && alignof(RestartArea) == 1);
static_assert(offsetof(RestartArea, open_log_count) == 0x28);
constexpr size_t kRestartAreaMinimum = offsetof(RestartArea, open_log_count);

struct ClientEntry {
  le64 oldest_lsn;
  le64 client_restart_lsn;
  le16 previous_client;
  le16 next_client;
  le16 sequence_number;
  le16 padding[3];
  le32 name_length;  // bytes
  le16 name[64];     // UTF-16
};
static_assert(sizeof(ClientEntry) == 0xA0 && alignof(ClientEntry) == 1);
static_assert(offsetof(ClientEntry, name) == 0x20);

struct RecordPageHeader {
  MultiSectorHeader header;  // "RCRD"
  le64 last_lsn;             // in a tail copy of LFS 1.1: file offset of the page it is a copy of
  le32 flags;                // upper bits may be garbage
  le16 page_count;
  le16 page_position;  // from 1
  le16 next_record_offset;
  le16 padding[3];
  le64 last_end_lsn;
  le16 update_sequence_array[9];
  le16 padding2;
  le32 copy_of_offset;  // LFS 2.0 fast page: file offset of the page it is a copy of
};
static_assert(sizeof(RecordPageHeader) == kPageDataOffset && alignof(RecordPageHeader) == 1);
static_assert(offsetof(RecordPageHeader, copy_of_offset) == 0x3C);

struct RecordHeader {
  le64 this_lsn;
  le64 client_previous_lsn;
  le64 client_undo_next_lsn;
  le32 client_data_length;  // bytes behind this header, a multiple of 8
  le16 client_sequence_number;
  le16 client_index;
  le32 record_type;
  le32 transaction_id;
  le16 flags;
  le16 padding[3];
};
static_assert(sizeof(RecordHeader) == kRecordHeaderSize && alignof(RecordHeader) == 1);
static_assert(offsetof(RecordHeader, flags) == 0x28);

/// Where LSNs stand in a log file of one size and version.
class LogGeometry {
 public:
  /// For a new LFS 1.1 log in a file of `store_bytes`: the size in use is rounded down to an even
  /// number of pages. DiskFull if the file is too small for a log.
  static Result<LogGeometry> for_new_log(uint64_t store_bytes);
  /// For what a restart area says. FileCorruptError if the values do not fit together.
  static Result<LogGeometry> from_disk(uint64_t file_size, uint32_t sequence_number_bits,
                                       uint64_t first_record_offset);

  uint64_t file_size() const { return file_size_; }
  uint64_t first_record_offset() const { return first_record_offset_; }
  uint64_t last_page_offset() const { return file_size_ - kPageSize; }
  uint64_t record_pages() const { return (file_size_ - first_record_offset_) / kPageSize; }
  uint32_t sequence_number_bits() const { return 64 - file_data_bits_; }
  /// First sequence number that is not to be used any more.
  uint64_t sequence_limit() const { return uint64_t{1} << (sequence_number_bits() - 1); }

  /// `offset` is a multiple of 8 below 8 << file data bits.
  Lsn lsn_at(uint64_t sequence, uint64_t offset) const {
    return Lsn::from_raw((sequence << file_data_bits_) | (offset >> 3));
  }
  uint64_t sequence_of(Lsn lsn) const { return lsn.raw() >> file_data_bits_; }
  uint64_t offset_of(Lsn lsn) const {
    return (lsn.raw() & ((uint64_t{1} << file_data_bits_) - 1)) << 3;
  }
  static uint64_t page_of(uint64_t offset) { return align_down(offset, kPageSize); }
  static uint64_t in_page(uint64_t offset) { return offset % kPageSize; }
  /// Whether a record header can stand at `lsn`.
  bool can_hold_record(Lsn lsn) const;
  bool is_record_page(uint64_t offset) const {
    return offset % kPageSize == 0 && offset >= first_record_offset_ && offset < file_size_;
  }

  /// The page behind / before the one at `page`, around the end of the file.
  uint64_t next_page(uint64_t page) const {
    return page + kPageSize < file_size_ ? page + kPageSize : first_record_offset_;
  }
  uint64_t previous_page(uint64_t page) const {
    return page > first_record_offset_ ? page - kPageSize : last_page_offset();
  }

 private:
  LogGeometry(uint64_t file_size, uint32_t file_data_bits, uint64_t first_record_offset)
      : file_size_(file_size),
        first_record_offset_(first_record_offset),
        file_data_bits_(file_data_bits) {}

  uint64_t file_size_;
  uint64_t first_record_offset_;
  uint32_t file_data_bits_;
};

/// Longest client data of a filler record.
constexpr uint64_t kMaximumFiller = 0x100;

/// Bytes of the log that a record with `client_data_bytes` of client data takes.
constexpr uint64_t plain_record_cost(uint64_t client_data_bytes) {
  return kRecordHeaderSize + align_up(client_data_bytes, 8);
}

/// Bytes of fillers that may have to follow a record which can cover a whole page (log_format.md,
/// "Sealing").
constexpr uint64_t kSealBytes = kPageDataSize + 2 * (kRecordHeaderSize + kMaximumFiller);

/// Bytes of a volume's log to reserve for a record with `client_data_bytes` of client data.
constexpr uint64_t record_cost(uint64_t client_data_bytes) {
  const uint64_t bytes = plain_record_cost(client_data_bytes);
  const bool may_cover_a_page = bytes > kPageDataSize + kRecordHeaderSize;
  return bytes + (may_cover_a_page ? kSealBytes : 0);
}

}  // namespace ntfs::lfs
