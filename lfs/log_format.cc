#include "lfs/log_format.h"

#include <algorithm>
#include <bit>

namespace ntfs::lfs {

namespace {

/// The number of sequence bits that ntfs3 and ntfs-3g demand for a log of `file_size` bytes.
uint32_t sequence_bits_for(uint64_t file_size) {
  return 67 - static_cast<uint32_t>(std::bit_width(file_size));
}

}  // namespace

Result<LogGeometry> LogGeometry::for_new_log(uint64_t store_bytes) {
  // An even number of pages: the last page number is odd then, so that it never shares a slot of
  // ntfsrecover's page cache (number modulo 64) with the first record page, number 4.
  const uint64_t file_size = std::min(align_down(store_bytes, 2 * kPageSize), kMaximumLogBytes);
  if (file_size < kMinimumLogBytes) return NtStatus::DiskFull;
  return LogGeometry(file_size, 64 - sequence_bits_for(file_size), kFirstRecordOffset);
}

Result<LogGeometry> LogGeometry::from_disk(uint64_t file_size, uint32_t sequence_number_bits,
                                           uint64_t first_record_offset) {
  if (file_size < kMinimumLogBytes || file_size > kMaximumForeignLogBytes) {
    return NtStatus::FileCorruptError;
  }
  // For a power of two one bit more still addresses every byte.
  const uint32_t wanted = sequence_bits_for(file_size);
  const bool fits = sequence_number_bits == wanted ||
                    (is_power_of_two(file_size) && sequence_number_bits == wanted + 1);
  if (!fits) return NtStatus::FileCorruptError;
  return LogGeometry(align_down(file_size, kPageSize), 64 - sequence_number_bits,
                     first_record_offset);
}

bool LogGeometry::can_hold_record(Lsn lsn) const {
  const uint64_t offset = offset_of(lsn);
  return sequence_of(lsn) != 0 && offset >= first_record_offset_ && offset < file_size_ &&
         in_page(offset) >= kPageDataOffset && in_page(offset) + kRecordHeaderSize <= kPageSize;
}

}  // namespace ntfs::lfs
