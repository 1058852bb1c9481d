#pragma once

// What the NTFS client writes into the log: operation codes, the client record that carries redo
// and undo, and the payloads that describe attributes and checkpoints. Meaning: core/store.
// lfs moves all of this as opaque bytes. Client version 1 (64-bit form) is written; version 0 is
// read, too.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"
#include "lfs/lsn.h"

namespace ntfs::ondisk {

enum class LogOp : uint16_t {
  Noop = 0x00,
  CompensationLogRecord = 0x01,
  InitializeFileRecordSegment = 0x02,
  DeallocateFileRecordSegment = 0x03,
  WriteEndOfFileRecordSegment = 0x04,
  CreateAttribute = 0x05,
  DeleteAttribute = 0x06,
  UpdateResidentValue = 0x07,
  UpdateNonresidentValue = 0x08,
  UpdateMappingPairs = 0x09,
  DeleteDirtyClusters = 0x0A,
  SetNewAttributeSizes = 0x0B,
  AddIndexEntryRoot = 0x0C,
  DeleteIndexEntryRoot = 0x0D,
  AddIndexEntryAllocation = 0x0E,
  DeleteIndexEntryAllocation = 0x0F,
  WriteEndOfIndexBuffer = 0x10,
  SetIndexEntryVcnRoot = 0x11,
  SetIndexEntryVcnAllocation = 0x12,
  UpdateFileNameRoot = 0x13,
  UpdateFileNameAllocation = 0x14,
  SetBitsInNonresidentBitMap = 0x15,
  ClearBitsInNonresidentBitMap = 0x16,
  HotFix = 0x17,
  EndTopLevelAction = 0x18,
  PrepareTransaction = 0x19,
  CommitTransaction = 0x1A,
  ForgetTransaction = 0x1B,
  OpenNonresidentAttribute = 0x1C,
  OpenAttributeTableDump = 0x1D,
  AttributeNamesDump = 0x1E,
  DirtyPageTableDump = 0x1F,
  TransactionTableDump = 0x20,
  UpdateRecordDataRoot = 0x21,
  UpdateRecordDataAllocation = 0x22,
  UpdateRelativeDataInIndex = 0x23,
  UpdateRelativeDataInIndex2 = 0x24,
  ZeroEndOfFileRecord = 0x25,
};
/// The documented spelling, e.g. "UpdateMappingPairs"; "Unknown" for other codes.
std::string_view name_of(LogOp op);

/// Head of a client record; behind it the LCN list (room for at least one), redo, undo.
struct ClientRecordHeader {
  le16 redo_operation;
  le16 undo_operation;
  le16 redo_offset;  // bytes from the start of this structure, multiple of 8
  le16 redo_length;
  le16 undo_offset;
  le16 undo_length;
  le16 target_attribute;  // byte offset of the slot in the open attribute table
  le16 lcns_to_follow;
  le16 record_offset;
  le16 attribute_offset;
  le16 cluster_block_offset;  // 512-byte units
  le16 target_block_size;     // 512-byte units
  le64 target_vcn;
};
static_assert(sizeof(ClientRecordHeader) == 0x20 && alignof(ClientRecordHeader) == 1);
static_assert(offsetof(ClientRecordHeader, target_vcn) == 0x18);

/// The fields of a client record that are the same for reading and writing.
struct LogTarget {
  uint16_t target_attribute = 0;      ///< slot of the open attribute table, see slot_offset()
  uint16_t record_offset = 0;         ///< file record operations: of the attribute in the record
  uint16_t attribute_offset = 0;      ///< in the attribute, or in the INDX block
  uint16_t cluster_block_offset = 0;  ///< 512-byte units
  uint16_t target_block_size = 0;     ///< 512-byte units: the record's or block's size; 0 raw
  Vcn target_vcn;
};

/// A client record to write. The views need to live until it is encoded.
struct ClientRecord {
  LogOp redo = LogOp::Noop;
  LogOp undo = LogOp::Noop;
  LogTarget target;
  std::span<const Lcn> lcns;  ///< of target_vcn and following; at least one for page operations
  ByteView redo_data;
  ByteView undo_data;  ///< the same bytes as redo_data (same address) are stored once
};

/// Client data bytes that `record` takes; a multiple of 8.
uint64_t encoded_size(const ClientRecord& record);
/// Appends the client data of `record` to `out`. Lengths must fit 16 bits (a bug otherwise).
void encode_append(const ClientRecord& record, ByteVector& out);
ByteVector encode(const ClientRecord& record);

/// A client record as read. Views into the bytes it was parsed from.
class ClientRecordView {
 public:
  /// `lfs_flags`: the flags of the LFS record header (payloads may be omitted there). Checks what
  /// ntfs3 checks, and that the payloads lie inside. FileCorruptError is reported.
  static Result<ClientRecordView> parse(ByteView client_data, uint16_t lfs_flags,
                                        const Origin& origin);

  LogOp redo() const { return redo_; }
  LogOp undo() const { return undo_; }
  const LogTarget& target() const { return target_; }
  size_t lcn_count() const { return lcns_.size() / 8; }
  Lcn lcn(size_t index) const;
  ByteView redo_data() const { return redo_data_; }
  ByteView undo_data() const { return undo_data_; }
  /// As the record says; the data views are empty when the payload was omitted.
  uint16_t redo_length() const { return redo_length_; }
  uint16_t undo_length() const { return undo_length_; }

 private:
  LogOp redo_ = LogOp::Noop;
  LogOp undo_ = LogOp::Noop;
  LogTarget target_;
  ByteView lcns_;
  ByteView redo_data_;
  ByteView undo_data_;
  uint16_t redo_length_ = 0;
  uint16_t undo_length_ = 0;
};

/// Whether `op` changes a page of an attribute: bytes on the volume, not the tables of the log.
bool is_page_operation(LogOp op);

/// Whether `op`, as redo or undo, needs a slot in target_attribute (ntfs3 refuses it without).
bool needs_target(LogOp op);

/// Entry of the open attribute table, version 1; also the payload of OpenNonresidentAttribute.
struct OpenAttributeEntry {
  le32 next_free;        // 0xFFFFFFFF: allocated
  le32 bytes_per_index;  // of an INDEX_ALLOCATION, else 0
  le32 type_code;
  std::byte dirty_pages_seen;
  std::byte padding[3];
  le64 file_reference;  // of the base record
  le64 open_lsn;        // last LSN before the open record
  le64 pointer;         // 0
};
static_assert(sizeof(OpenAttributeEntry) == 0x28 && alignof(OpenAttributeEntry) == 1);

/// The same, version 0.
struct OpenAttributeEntry0 {
  le32 next_free;
  le32 pointer;  // or offset of the entry in the version 1 numbering
  le64 file_reference;
  le64 open_lsn;
  std::byte dirty_pages_seen;
  std::byte name_present;
  std::byte padding[2];
  le32 type_code;
  le64 pointer2;
  le32 bytes_per_index;
};
static_assert(sizeof(OpenAttributeEntry0) == 0x2C && alignof(OpenAttributeEntry0) == 1);

/// An attribute that log records may name.
struct OpenAttribute {
  FileReference file;      ///< base record
  uint32_t type_code = 0;  ///< 0x80 $DATA, 0xA0 $INDEX_ALLOCATION, ...
  uint32_t bytes_per_index = 0;
  lfs::Lsn open_lsn;

  std::array<std::byte, sizeof(OpenAttributeEntry)> encode() const;
  /// Version 1 or 0 by the length of `entry` (0x28 or 0x2C bytes).
  static Result<OpenAttribute> parse(ByteView entry, const Origin& origin);
};

/// Value of target_attribute for the n-th slot, and back; version 1.
constexpr uint16_t slot_offset(size_t slot) {
  return static_cast<uint16_t>(0x18 + slot * sizeof(OpenAttributeEntry));
}
/// Transaction id for the n-th entry of the transaction table.
constexpr uint32_t transaction_id_at(size_t entry) {
  return static_cast<uint32_t>(0x18 + entry * 0x28);
}

/// Client data of a record that is harmless for every replayer: ForgetTransaction of a transaction
/// that has no records. For lfs::LogStart::filler, with kFillerTransaction.
ByteVector filler_record();
constexpr uint32_t kFillerTransaction = transaction_id_at(1);

/// Header of the tables dumped at a checkpoint.
struct RestartTableHeader {
  le16 entry_size;
  le16 entry_count;
  le16 allocated_count;
  le16 padding[3];
  le32 free_goal;
  le32 first_free;  // byte offset of an entry, 0 none
  le32 last_free;
};
static_assert(sizeof(RestartTableHeader) == 0x18 && alignof(RestartTableHeader) == 1);

/// A dumped table as read.
class RestartTable {
 public:
  static Result<RestartTable> parse(ByteView table, const Origin& origin);
  uint16_t entry_size() const { return entry_size_; }
  size_t entry_count() const { return entries_.size() / entry_size_; }
  /// The n-th entry, or nothing if it is free.
  std::optional<ByteView> entry(size_t index) const;
  /// Byte offset of the n-th entry: the number that records name it by.
  uint32_t offset_of(size_t index) const {
    return static_cast<uint32_t>(sizeof(RestartTableHeader) + index * entry_size_);
  }

 private:
  uint16_t entry_size_ = 1;
  ByteView entries_;
};

/// A table with `slots` entries: empty views are free entries, all others have `entry_size` bytes
/// (their first word is set to "allocated").
ByteVector encode_restart_table(uint16_t entry_size, std::span<const ByteView> slots);
/// Dump of an open attribute table; free slots are nullopt.
ByteVector encode_open_attributes(std::span<const std::optional<OpenAttribute>> slots);

/// Element of the attribute names dump.
struct OpenAttributeName {
  uint16_t slot = 0;  ///< as target_attribute
  std::u16string name;
};
ByteVector encode_names(std::span<const OpenAttributeName> names);
Result<std::vector<OpenAttributeName>> parse_names(ByteView dump, const Origin& origin);

/// Entry of a dumped dirty page table.
struct DirtyPage {
  uint32_t target_attribute = 0;
  uint32_t transfer_bytes = 0;
  Vcn vcn;
  lfs::Lsn oldest_lsn;
  std::vector<Lcn> lcns;
  static Result<DirtyPage> parse(ByteView entry, uint32_t client_version, const Origin& origin);
};

enum class TransactionState : uint8_t {
  Uninitialized = 0,
  Active = 1,
  Prepared = 2,
  Committed = 3
};

/// Entry of a dumped transaction table. Its byte offset in the table is the transaction's id.
struct TransactionEntry {
  le32 next_free;   // 0xFFFFFFFF: allocated
  std::byte state;  // TransactionState
  std::byte padding[3];
  le64 first_lsn;
  le64 previous_lsn;
  le64 undo_next_lsn;
  le32 undo_records;
  le32 undo_bytes;
};
static_assert(sizeof(TransactionEntry) == 0x28 && alignof(TransactionEntry) == 1);

/// Client restart record (LFS record type 2).
struct ClientRestartArea {
  le32 major_version;
  le32 minor_version;
  le64 check_point_start;
  le64 open_attribute_table_lsn;
  le64 attribute_names_lsn;
  le64 dirty_page_table_lsn;
  le64 transaction_table_lsn;
  le32 open_attribute_table_length;  // 0: not dumped
  le32 attribute_names_length;
  le32 dirty_page_table_length;
  le32 transaction_table_length;
  le64 usn_restart_offset;
  le64 previous_mount_lsn;
  le32 bytes_per_cluster;
  le32 padding;
  le64 usn_file_reference;
  le64 usn_value;
  le64 oldest_lsn;
};
static_assert(sizeof(ClientRestartArea) == 0x70 && alignof(ClientRestartArea) == 1);
static_assert(offsetof(ClientRestartArea, bytes_per_cluster) == 0x50);

/// The same as values. A dumped table has an LSN and a length > 0.
struct ClientRestart {
  struct Dump {
    lfs::Lsn lsn;
    uint32_t length_bytes = 0;
  };
  uint32_t major_version = 1;
  lfs::Lsn check_point_start;  ///< last record before the checkpoint began; none on a fresh log
  Dump open_attributes;
  Dump names;
  Dump dirty_pages;
  Dump transactions;
  uint64_t usn_restart_offset = 0;
  lfs::Lsn previous_mount_lsn;
  uint32_t bytes_per_cluster = 0;
  FileReference usn_file;
  lfs::Lsn oldest_lsn;

  std::array<std::byte, sizeof(ClientRestartArea)> encode() const;
  /// Accepts the shorter forms of older systems, from 0x40 bytes.
  static Result<ClientRestart> parse(ByteView client_data, const Origin& origin);
};

/// Payload of SetNewAttributeSizes. `total_allocated` for compressed and sparse streams only.
struct NewAttributeSizes {
  uint64_t allocated = 0;
  uint64_t valid = 0;
  uint64_t data = 0;
  std::optional<uint64_t> total_allocated;

  ByteVector encode() const;
  static Result<NewAttributeSizes> parse(ByteView payload, const Origin& origin);
};

/// Payload of Set/ClearBitsInNonresidentBitMap. `first` counts from the start of target_vcn.
struct BitRange {
  uint32_t first = 0;
  uint32_t count = 0;

  std::array<std::byte, 8> encode() const;
  static Result<BitRange> parse(ByteView payload, const Origin& origin);
};

/// `payload` of `op` in words, for the log command: fields where the form is known, else the first
/// bytes in hex. Never fails.
std::string describe_payload(LogOp op, ByteView payload);

}  // namespace ntfs::ondisk
