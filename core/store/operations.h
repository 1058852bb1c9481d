#pragma once

// All that ever changes metadata: check, apply, inverse. The same functions run live (through
// Transaction::perform) and in recovery. Each is a documented LFS operation; what it means and
// which traps other replayers set is in the tables of the log sheet, 8.3 "Operation table".
//
// An Operation speaks of one page. record_offset: byte offset of the attribute record in a file
// record (else 0). attribute_offset: byte offset inside that attribute record, or of the entry from
// the start of the index block; for bitmaps and raw values record_offset is the byte in the page.

#include "core/base/bytes.h"
#include "core/base/units.h"
#include "core/ondisk/attribute_record.h"
#include "core/ondisk/log_operations.h"
#include "core/store/page_cache.h"
#include "lfs/lsn.h"

namespace ntfs {

/// Some operations have forms that this driver never makes, but finds in the logs of others.
enum class OperationForm : uint8_t {
  Whole,     ///< as the makers below make it
  Partial,   ///< InitializeFileRecordSegment, UpdateNonresidentValue of an index block: the payload
             ///< overwrites a part, what is around it stays
  Resizing,  ///< UpdateResidentValue: the value ends where the payload ends
};

struct Operation {
  ondisk::LogOp op = ondisk::LogOp::Noop;
  uint16_t record_offset = 0;
  uint16_t attribute_offset = 0;
  ByteView payload{};  ///< not owned: must live until perform returns
  OperationForm form = OperationForm::Whole;
};

/// The operation that takes back `redo`, which a maker below made; its payload lies in the page
/// (before the change) or in `scratch`.
Operation inverse(const Operation& redo, const PageKind kind, ByteView page, ByteVector& scratch);

/// Whether `operation` fits `page`: structure, boundaries, room. FileCorruptError if not.
Result<> check(const Operation& operation, PageKind kind, ByteView page);

/// Changes `page`. Cannot fail: `check` said yes. Stamps `lsn` where the structure has a place.
void apply(const Operation& operation, PageKind kind, MutableBytes page, lfs::Lsn lsn);

// Makers. Offsets are bytes as above; views must outlive the call of perform.

/// Formats a file record (payload: the whole used part, unprotected). The page may hold anything.
Operation initialize_file_record(ByteView record);
/// Frees a file record: in-use cleared, sequence number + 1.
Operation deallocate_file_record();
/// Replaces everything from the attribute at `record_offset` to the END marker (included).
Operation write_end_of_file_record(uint32_t record_offset, ByteView attributes_and_end);
/// Inserts an attribute record. A resident one with the indexed flag ($FILE_NAME) counts a link.
Operation create_attribute(uint32_t record_offset, ByteView attribute_record);
Operation delete_attribute(uint32_t record_offset);
/// Overwrites bytes of a resident value (or of an attribute header) in place: equal lengths only.
Operation update_resident_value(uint32_t record_offset, uint32_t attribute_offset, ByteView bytes);
/// Replaces the mapping pairs from `attribute_offset` to the end of the attribute record. `pairs`
/// is padded so that attribute_offset + size is a multiple of 8. Sets the highest vcn from the
/// runs.
Operation update_mapping_pairs(uint32_t record_offset, uint32_t attribute_offset, ByteView pairs);
/// `sizes`: made by encode_sizes (24 bytes, or 32 with the total).
Operation set_new_attribute_sizes(uint32_t record_offset, ByteView sizes);
/// Allocated, valid, file size, and the total where the attribute has one, as the log wants them.
std::array<std::byte, 32> encode_sizes(const ondisk::AttributeSizes& sizes);

/// `attribute_offset`: where the entry goes, from the start of the $INDEX_ROOT attribute record.
Operation add_index_entry_root(uint32_t record_offset, uint32_t attribute_offset, ByteView entry);
Operation delete_index_entry_root(uint32_t record_offset, uint32_t attribute_offset);
Operation set_index_entry_vcn_root(uint32_t record_offset, uint32_t attribute_offset, ByteView vcn);
Operation update_file_name_root(uint32_t record_offset, uint32_t attribute_offset, ByteView info);

/// `entry_offset`: from the start of the INDX block. Makers choose WriteEndOfIndexBuffer where the
/// bytes behind the entry are too few for other replayers (sheet, pitfall 43); hence `scratch`.
Operation add_index_entry(uint32_t entry_offset, ByteView entry, ByteView page,
                          ByteVector& scratch);
Operation delete_index_entry(uint32_t entry_offset, ByteView page, ByteVector& scratch);
/// Replaces the entries from `entry_offset` to the end of the used part, END entry included.
Operation write_end_of_index_buffer(uint32_t entry_offset, ByteView entries_and_end);
Operation set_index_entry_vcn(uint32_t entry_offset, ByteView vcn);
Operation update_file_name(uint32_t entry_offset, ByteView info);

/// Overwrites bytes of a page of raw metadata, or a whole new index block (offset 0).
Operation update_nonresident_value(uint32_t offset_in_page, ByteView bytes);

/// `range`: made by encode_bit_range, relative to the page.
Operation set_bits(ByteView range);
Operation clear_bits(ByteView range);
std::array<std::byte, 8> encode_bit_range(uint32_t first_bit, uint32_t count_bits);

}  // namespace ntfs
