#include "core/ondisk/log_operations.h"

#include <algorithm>

namespace ntfs::ondisk {

namespace {

constexpr std::array<std::string_view, 0x26> kNames = {
    "Noop",
    "CompensationLogRecord",
    "InitializeFileRecordSegment",
    "DeallocateFileRecordSegment",
    "WriteEndOfFileRecordSegment",
    "CreateAttribute",
    "DeleteAttribute",
    "UpdateResidentValue",
    "UpdateNonresidentValue",
    "UpdateMappingPairs",
    "DeleteDirtyClusters",
    "SetNewAttributeSizes",
    "AddIndexEntryRoot",
    "DeleteIndexEntryRoot",
    "AddIndexEntryAllocation",
    "DeleteIndexEntryAllocation",
    "WriteEndOfIndexBuffer",
    "SetIndexEntryVcnRoot",
    "SetIndexEntryVcnAllocation",
    "UpdateFileNameRoot",
    "UpdateFileNameAllocation",
    "SetBitsInNonresidentBitMap",
    "ClearBitsInNonresidentBitMap",
    "HotFix",
    "EndTopLevelAction",
    "PrepareTransaction",
    "CommitTransaction",
    "ForgetTransaction",
    "OpenNonresidentAttribute",
    "OpenAttributeTableDump",
    "AttributeNamesDump",
    "DirtyPageTableDump",
    "TransactionTableDump",
    "UpdateRecordDataRoot",
    "UpdateRecordDataAllocation",
    "UpdateRelativeDataInIndex",
    "UpdateRelativeDataInIndex2",
    "ZeroEndOfFileRecord",
};

constexpr uint16_t kRedoOmitted = 0x0002;
constexpr uint16_t kUndoOmitted = 0x0004;
constexpr uint32_t kAllocatedEntry = 0xFFFFFFFF;
constexpr size_t kRestartAreaShortest = 0x40;

// Not vector::insert: g++ 12 takes its growth for an overflow at -O3.
void append_bytes(ByteVector& out, ByteView bytes) {
  const size_t at = out.size();
  out.resize(at + bytes.size());
  std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<ptrdiff_t>(at));
}

template <typename T>
std::array<std::byte, sizeof(T)> to_array(const T& raw) {
  std::array<std::byte, sizeof(T)> result;
  const ByteView bytes = bytes_of(raw);
  std::copy(bytes.begin(), bytes.end(), result.begin());
  return result;
}

/// Redo and undo are the same bytes of memory: stored once.
bool is_shared(const ClientRecord& record) {
  return !record.redo_data.empty() && record.redo_data.data() == record.undo_data.data() &&
         record.redo_data.size() == record.undo_data.size();
}

/// Bytes of the header and the LCN list; there is room for one LCN in any case.
size_t head_size(size_t lcn_count) {
  return sizeof(ClientRecordHeader) + 8 * std::max<size_t>(1, lcn_count);
}

Result<ByteView> payload(ByteView data, uint16_t offset, uint16_t length, bool is_omitted,
                         size_t head, const Origin& origin, std::string_view field) {
  if (offset % 8 != 0) return corrupt(origin, field, offset, "a multiple of 8");
  if (length == 0 || is_omitted) return ByteView();
  if (offset < head) return corrupt(origin, field, offset, "an offset behind the LCN list");
  const auto bytes = slice(data, offset, length);
  if (!bytes) return corrupt(origin, field, offset, "a payload inside the record");
  return *bytes;
}

}  // namespace

std::string_view name_of(LogOp op) {
  const auto index = static_cast<size_t>(op);
  return index < kNames.size() ? kNames[index] : "Unknown";
}

bool is_page_operation(LogOp op) {
  const auto code = static_cast<uint16_t>(op);
  return (code >= 0x02 && code <= 0x09) || (code >= 0x0B && code <= 0x16) || code == 0x21 ||
         code == 0x22 || code == 0x25;
}

bool needs_target(LogOp op) {
  const auto code = static_cast<uint16_t>(op);
  return (code >= 0x02 && code <= 0x09) || (code >= 0x0B && code <= 0x17) || code == 0x1C ||
         code == 0x21 || code == 0x22;
}

// ---- Client records -----------------------------------------------------------------------------

uint64_t encoded_size(const ClientRecord& record) {
  const uint64_t undo = is_shared(record) ? 0 : align_up(record.undo_data.size(), 8);
  return head_size(record.lcns.size()) + align_up(record.redo_data.size(), 8) + undo;
}

void encode_append(const ClientRecord& record, ByteVector& out) {
  const size_t start = out.size();
  const size_t redo_offset = head_size(record.lcns.size());
  const size_t undo_offset =
      is_shared(record) ? redo_offset : redo_offset + align_up(record.redo_data.size(), 8);
  ASSERT(record.redo_data.size() <= 0xFFFF && record.undo_data.size() <= 0xFFFF);
  ASSERT(undo_offset <= 0xFFFF && record.lcns.size() <= 0xFFFF);
  ASSERT(record.target.target_attribute != 0 ||
         !(needs_target(record.redo) || needs_target(record.undo)));

  ClientRecordHeader header;
  header.redo_operation.set(static_cast<uint16_t>(record.redo));
  header.undo_operation.set(static_cast<uint16_t>(record.undo));
  header.redo_offset.set(static_cast<uint16_t>(redo_offset));
  header.redo_length.set(static_cast<uint16_t>(record.redo_data.size()));
  header.undo_offset.set(static_cast<uint16_t>(undo_offset));
  header.undo_length.set(static_cast<uint16_t>(record.undo_data.size()));
  header.target_attribute.set(record.target.target_attribute);
  header.lcns_to_follow.set(static_cast<uint16_t>(record.lcns.size()));
  header.record_offset.set(record.target.record_offset);
  header.attribute_offset.set(record.target.attribute_offset);
  header.cluster_block_offset.set(record.target.cluster_block_offset);
  header.target_block_size.set(record.target.target_block_size);
  header.target_vcn.set(record.target.target_vcn.raw());
  out.resize(start + encoded_size(record));  // with zeros between the parts
  std::byte* const at = out.data() + start;
  std::memcpy(at, &header, sizeof(header));
  for (size_t i = 0; i < record.lcns.size(); ++i) {
    const le64 lcn = le64::of(record.lcns[i].raw());
    std::memcpy(at + sizeof(header) + i * sizeof(lcn), &lcn, sizeof(lcn));
  }
  std::copy(record.redo_data.begin(), record.redo_data.end(), at + redo_offset);
  if (!is_shared(record)) {
    std::copy(record.undo_data.begin(), record.undo_data.end(), at + undo_offset);
  }
}

ByteVector encode(const ClientRecord& record) {
  ByteVector out;
  encode_append(record, out);
  return out;
}

Result<ClientRecordView> ClientRecordView::parse(ByteView client_data, uint16_t lfs_flags,
                                                 const Origin& origin) {
  const auto header_view = view_as<ClientRecordHeader>(client_data);
  if (!header_view) return corrupt(origin, "client data length", client_data.size());
  const ClientRecordHeader& header = **header_view;
  const size_t lcn_count = header.lcns_to_follow.get();
  const size_t head = head_size(lcn_count);
  if (client_data.size() < head) return corrupt(origin, "LCNs to follow", lcn_count);

  ClientRecordView view;
  view.redo_ = static_cast<LogOp>(header.redo_operation.get());
  view.undo_ = static_cast<LogOp>(header.undo_operation.get());
  view.target_ = {header.target_attribute.get(),  header.record_offset.get(),
                  header.attribute_offset.get(),  header.cluster_block_offset.get(),
                  header.target_block_size.get(), Vcn(header.target_vcn.get())};
  if (view.target_.target_attribute == 0 &&
      (needs_target(view.redo_) || needs_target(view.undo_))) {
    return corrupt(origin, "target attribute", 0, "a slot of the open attribute table");
  }
  view.lcns_ = client_data.subspan(sizeof(ClientRecordHeader), 8 * lcn_count);
  view.redo_length_ = header.redo_length.get();
  view.undo_length_ = header.undo_length.get();
  view.redo_data_ =
      TRY(payload(client_data, header.redo_offset.get(), view.redo_length_,
                  (lfs_flags & kRedoOmitted) != 0 || view.redo_ == LogOp::ZeroEndOfFileRecord, head,
                  origin, "redo offset"));
  // Windows gives the length of the undo payload even where it undoes something and stores none.
  const bool undo_omitted =
      (lfs_flags & kUndoOmitted) != 0 || view.undo_ == LogOp::CompensationLogRecord;
  view.undo_data_ = TRY(payload(client_data, header.undo_offset.get(), view.undo_length_,
                                undo_omitted, head, origin, "undo offset"));
  return view;
}

Lcn ClientRecordView::lcn(size_t index) const {
  return Lcn(struct_at<le64>(lcns_, 8 * index).get());
}

ByteVector filler_record() {
  ClientRecord record;
  record.redo = LogOp::ForgetTransaction;
  record.undo = LogOp::CompensationLogRecord;
  record.target.target_attribute = slot_offset(0);
  return encode(record);
}

// ---- Open attribute table -----------------------------------------------------------------------

std::array<std::byte, sizeof(OpenAttributeEntry)> OpenAttribute::encode() const {
  OpenAttributeEntry entry{};
  entry.next_free.set(kAllocatedEntry);
  entry.bytes_per_index.set(bytes_per_index);
  entry.type_code.set(type_code);
  entry.file_reference.set(file.raw());
  entry.open_lsn.set(open_lsn.raw());
  return to_array(entry);
}

Result<OpenAttribute> OpenAttribute::parse(ByteView entry, const Origin& origin) {
  OpenAttribute result;
  if (entry.size() == sizeof(OpenAttributeEntry)) {
    const auto& raw = struct_at<OpenAttributeEntry>(entry);
    result = {FileReference::from_raw(raw.file_reference.get()), raw.type_code.get(),
              raw.bytes_per_index.get(), lfs::Lsn::from_raw(raw.open_lsn.get())};
  } else if (entry.size() == sizeof(OpenAttributeEntry0)) {
    const auto& raw = struct_at<OpenAttributeEntry0>(entry);
    result = {FileReference::from_raw(raw.file_reference.get()), raw.type_code.get(),
              raw.bytes_per_index.get(), lfs::Lsn::from_raw(raw.open_lsn.get())};
  } else {
    return corrupt(origin, "open attribute entry length", entry.size(), "0x28 or 0x2c");
  }
  return result;
}

// ---- Restart tables -----------------------------------------------------------------------------

Result<RestartTable> RestartTable::parse(ByteView table, const Origin& origin) {
  const auto view = view_as<RestartTableHeader>(table);
  if (!view) return corrupt(origin, "table length", table.size());
  const RestartTableHeader& header = **view;
  RestartTable result;
  result.entry_size_ = header.entry_size.get();
  const size_t count = header.entry_count.get();
  if (result.entry_size_ < sizeof(le32)) return corrupt(origin, "entry size", result.entry_size_);
  if (header.allocated_count.get() > count) {
    return corrupt(origin, "allocated entries", header.allocated_count.get());
  }
  const auto entries = slice(table, sizeof(RestartTableHeader), count * result.entry_size_);
  if (!entries) return corrupt(origin, "entry count", count);
  result.entries_ = *entries;
  // A table without allocated entries may hold anything in them.
  if (header.allocated_count.get() == 0) result.entries_ = {};
  return result;
}

std::optional<ByteView> RestartTable::entry(size_t index) const {
  ASSERT(index < entry_count());
  const ByteView bytes = entries_.subspan(index * entry_size_, entry_size_);
  if (struct_at<le32>(bytes).get() != kAllocatedEntry) return std::nullopt;
  return bytes;
}

ByteVector encode_restart_table(uint16_t entry_size, std::span<const ByteView> slots) {
  ASSERT(entry_size >= sizeof(le32) && slots.size() <= 0xFFFF);
  RestartTableHeader header{};
  header.entry_size.set(entry_size);
  header.entry_count.set(static_cast<uint16_t>(slots.size()));
  header.free_goal.set(0xFFFFFFFF);
  ByteVector out(sizeof(header) + slots.size() * entry_size);
  const MutableBytes bytes(out);
  uint16_t allocated = 0;
  uint32_t previous_free = 0;
  // The list of free entries names every one of them: ntfs3 walks it until it finds the one it
  // wants.
  for (size_t i = 0; i < slots.size(); ++i) {
    const size_t offset = sizeof(header) + i * entry_size;
    if (!slots[i].empty()) {
      ASSERT(slots[i].size() == entry_size);
      std::copy(slots[i].begin(), slots[i].end(), out.begin() + static_cast<ptrdiff_t>(offset));
      struct_at<le32>(bytes, offset).set(kAllocatedEntry);
      ++allocated;
      continue;
    }
    if (previous_free == 0) {
      header.first_free.set(static_cast<uint32_t>(offset));
    } else {
      struct_at<le32>(bytes, previous_free).set(static_cast<uint32_t>(offset));
    }
    previous_free = static_cast<uint32_t>(offset);
  }
  header.last_free.set(previous_free);
  header.allocated_count.set(allocated);
  const ByteView head = bytes_of(header);
  std::copy(head.begin(), head.end(), out.begin());
  return out;
}

ByteVector encode_open_attributes(std::span<const std::optional<OpenAttribute>> slots) {
  std::vector<std::array<std::byte, sizeof(OpenAttributeEntry)>> entries(slots.size());
  std::vector<ByteView> views(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!slots[i]) continue;
    entries[i] = slots[i]->encode();
    views[i] = entries[i];
  }
  return encode_restart_table(sizeof(OpenAttributeEntry), views);
}

// ---- Attribute names ----------------------------------------------------------------------------

// Each name: u16 slot, u16 length in bytes, the name, u16 0; then u32 0.
ByteVector encode_names(std::span<const OpenAttributeName> names) {
  ByteVector out;
  for (const OpenAttributeName& name : names) {
    ASSERT(name.slot != 0 && name.name.size() <= 255);
    append_bytes(out, bytes_of(le16::of(name.slot)));
    append_bytes(out, bytes_of(le16::of(static_cast<uint16_t>(2 * name.name.size()))));
    for (const char16_t unit : name.name) append_bytes(out, bytes_of(le16::of(unit)));
    append_bytes(out, bytes_of(le16()));
  }
  append_bytes(out, bytes_of(le32()));
  return out;
}

Result<std::vector<OpenAttributeName>> parse_names(ByteView dump, const Origin& origin) {
  std::vector<OpenAttributeName> names;
  size_t at = 0;
  while (dump.size() - at >= 4) {
    const uint16_t slot = struct_at<le16>(dump, at).get();
    const uint16_t length = struct_at<le16>(dump, at + 2).get();
    if (slot == 0) break;
    const auto bytes = slice(dump, at + 4, length);
    if (!bytes || length % 2 != 0) return corrupt(origin, "name length", length);
    OpenAttributeName& name = names.emplace_back();
    name.slot = slot;
    for (size_t i = 0; i < length; i += 2) {
      name.name.push_back(static_cast<char16_t>(struct_at<le16>(*bytes, i).get()));
    }
    at = std::min(dump.size(), at + 4 + length + 2);
  }
  return names;
}

// ---- Dirty pages, restart record ----------------------------------------------------------------

Result<DirtyPage> DirtyPage::parse(ByteView entry, uint32_t client_version, const Origin& origin) {
  const size_t shift = client_version == 0 ? 4 : 0;  // version 0 has one more word
  const size_t head = 0x20 + shift;
  if (entry.size() < head) return corrupt(origin, "dirty page entry size", entry.size());
  DirtyPage page;
  page.target_attribute = struct_at<le32>(entry, 0x04).get();
  page.transfer_bytes = struct_at<le32>(entry, 0x08).get();
  const uint64_t count = struct_at<le32>(entry, 0x0C).get();
  page.vcn = Vcn(struct_at<le64>(entry, 0x10 + shift).get());
  page.oldest_lsn = lfs::Lsn::from_raw(struct_at<le64>(entry, 0x18 + shift).get());
  const auto lcns = slice(entry, head, 8 * count);
  if (!lcns) return corrupt(origin, "LCN count", count);
  for (size_t i = 0; i < count; ++i) page.lcns.emplace_back(struct_at<le64>(*lcns, 8 * i).get());
  return page;
}

std::array<std::byte, sizeof(ClientRestartArea)> ClientRestart::encode() const {
  ClientRestartArea raw{};
  raw.major_version.set(major_version);
  raw.check_point_start.set(check_point_start.raw());
  raw.open_attribute_table_lsn.set(open_attributes.lsn.raw());
  raw.attribute_names_lsn.set(names.lsn.raw());
  raw.dirty_page_table_lsn.set(dirty_pages.lsn.raw());
  raw.transaction_table_lsn.set(transactions.lsn.raw());
  raw.open_attribute_table_length.set(open_attributes.length_bytes);
  raw.attribute_names_length.set(names.length_bytes);
  raw.dirty_page_table_length.set(dirty_pages.length_bytes);
  raw.transaction_table_length.set(transactions.length_bytes);
  raw.usn_restart_offset.set(usn_restart_offset);
  raw.previous_mount_lsn.set(previous_mount_lsn.raw());
  raw.bytes_per_cluster.set(bytes_per_cluster);
  raw.usn_file_reference.set(usn_file.raw());
  raw.oldest_lsn.set(oldest_lsn.raw());
  return to_array(raw);
}

Result<ClientRestart> ClientRestart::parse(ByteView client_data, const Origin& origin) {
  if (client_data.size() < kRestartAreaShortest) {
    return corrupt(origin, "restart record length", client_data.size());
  }
  ClientRestartArea raw{};
  const size_t length = std::min(client_data.size(), sizeof(raw));
  std::copy_n(client_data.begin(), length, mutable_bytes_of(raw).begin());
  const auto lsn = [](const le64& field) { return lfs::Lsn::from_raw(field.get()); };
  ClientRestart result;
  result.major_version = raw.major_version.get();
  result.check_point_start = lsn(raw.check_point_start);
  result.open_attributes = {lsn(raw.open_attribute_table_lsn),
                            raw.open_attribute_table_length.get()};
  result.names = {lsn(raw.attribute_names_lsn), raw.attribute_names_length.get()};
  result.dirty_pages = {lsn(raw.dirty_page_table_lsn), raw.dirty_page_table_length.get()};
  result.transactions = {lsn(raw.transaction_table_lsn), raw.transaction_table_length.get()};
  result.usn_restart_offset = raw.usn_restart_offset.get();
  result.previous_mount_lsn = lsn(raw.previous_mount_lsn);
  result.bytes_per_cluster = raw.bytes_per_cluster.get();
  result.usn_file = FileReference::from_raw(raw.usn_file_reference.get());
  result.oldest_lsn = lsn(raw.oldest_lsn);
  return result;
}

// ---- Payloads -----------------------------------------------------------------------------------

ByteVector NewAttributeSizes::encode() const {
  ByteVector out;
  for (const uint64_t size : {allocated, valid, data}) append_bytes(out, bytes_of(le64::of(size)));
  if (total_allocated) append_bytes(out, bytes_of(le64::of(*total_allocated)));
  return out;
}

Result<NewAttributeSizes> NewAttributeSizes::parse(ByteView payload, const Origin& origin) {
  if (payload.size() < 24) return corrupt(origin, "attribute sizes length", payload.size());
  NewAttributeSizes sizes;
  sizes.allocated = struct_at<le64>(payload, 0).get();
  sizes.valid = struct_at<le64>(payload, 8).get();
  sizes.data = struct_at<le64>(payload, 16).get();
  if (payload.size() >= 32) sizes.total_allocated = struct_at<le64>(payload, 24).get();
  return sizes;
}

std::array<std::byte, 8> BitRange::encode() const {
  std::array<std::byte, 8> out;
  struct_at<le32>(MutableBytes(out), 0).set(first);
  struct_at<le32>(MutableBytes(out), 4).set(count);
  return out;
}

Result<BitRange> BitRange::parse(ByteView payload, const Origin& origin) {
  if (payload.size() < 8) return corrupt(origin, "bit range length", payload.size());
  return BitRange{struct_at<le32>(payload, 0).get(), struct_at<le32>(payload, 4).get()};
}

}  // namespace ntfs::ondisk
