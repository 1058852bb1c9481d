#include "core/store/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <set>

#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"

namespace ntfs {

using lfs::Lsn;
using ondisk::AttributeType;
using ondisk::FileRecordHeader;
using ondisk::FileRecordView;
using ondisk::LogOp;

namespace {

constexpr uint64_t kBlockUnit = 512;  // of cluster_block_offset
constexpr uint32_t kMostIndexBlockBytes = 64 << 10;
/// Of a value that one record changes: a cluster full of bits.
constexpr uint64_t kMostRawBytes = uint64_t{ondisk::kMaxClusterBytes} + (64 << 10);

bool is_index_block_operation(LogOp op) {
  switch (op) {
    case LogOp::AddIndexEntryAllocation:
    case LogOp::DeleteIndexEntryAllocation:
    case LogOp::WriteEndOfIndexBuffer:
    case LogOp::SetIndexEntryVcnAllocation:
    case LogOp::UpdateFileNameAllocation:
    case LogOp::UpdateRecordDataAllocation:
      return true;
    default:
      return false;
  }
}

bool is_bitmap_operation(LogOp op) {
  return op == LogOp::SetBitsInNonresidentBitMap || op == LogOp::ClearBitsInNonresidentBitMap;
}

/// Whether `image` holds a record up to its END marker, of which only the type need be there.
bool is_whole_record(ByteView image) {
  if (image.size() < sizeof(FileRecordHeader)) return false;
  const uint64_t used = struct_at<FileRecordHeader>(image).used_bytes.get();
  return image.size() + ondisk::kEndMarkerBytes - sizeof(le32) >= used;
}

bool is_whole_block(ByteView image) {
  if (image.size() < sizeof(ondisk::IndexBlockHeader)) return false;
  const uint64_t used = struct_at<ondisk::IndexBlockHeader>(image).index.used_bytes.get();
  return image.size() >= ondisk::kIndexHeaderInBlock + used;
}

/// Whether `operation` makes a page whole that was not.
bool makes_whole(const Operation& operation) {
  return operation.form == OperationForm::Whole &&
         (operation.op == LogOp::InitializeFileRecordSegment ||
          operation.op == LogOp::UpdateNonresidentValue);
}

/// `bytes` without what stands behind a length that they say themselves.
ByteView first_bytes(ByteView bytes, uint64_t length) {
  return bytes.first(std::min<uint64_t>(bytes.size(), length));
}

}  // namespace

NtStatus Replay::refuse(const Change& change, std::string_view what, NtStatus status) {
  return refuse_recovery(
      why_not_, status,
      fmt::format("{} of the record at LSN {:#x} {}", name_of(change.op), change.lsn.raw(), what));
}

// Redo.

Result<> Replay::redo() {
  if (analysis_.redo_start.is_none()) return {};
  report_.start_lsn = analysis_.redo_start;
  opened_ = analysis_.opened_at_checkpoint;
  auto record = reader_.read(analysis_.redo_start);
  while (record) {
    if (record->is_client()) TRY(redo_record(*record));
    record = reader_.next();
  }
  if (record.error() == NtStatus::EndOfFile) return {};
  const bool is_damage =
      record.error() == NtStatus::LogCorrupt || record.error() == NtStatus::InvalidParameter;
  return is_damage ? refuse_recovery(why_not_, NtStatus::LogCorrupt, "a record of it is missing")
                   : record.error();
}

/// Whether the page may have lacked the change at the checkpoint. All later changes it may.
bool Replay::may_be_dirty(const ondisk::ClientRecordView& record, Lsn lsn) const {
  if (lsn > analysis_.check_point_start) return true;
  const auto dirty =
      analysis_.dirty.find({record.target().target_attribute, record.target().target_vcn});
  return dirty != analysis_.dirty.end() && !dirty->second.is_freed &&
         lsn >= dirty->second.oldest_lsn;
}

Result<> Replay::redo_record(const lfs::RecordView& record) {
  const auto client = ondisk::ClientRecordView::parse(
      record.data, record.flags, {"log record (its LSN)", 0, record.lsn.raw()});
  if (!client) {
    return refuse_recovery(why_not_, NtStatus::LogCorrupt,
                           fmt::format("the record at LSN {:#x} is damaged", record.lsn.raw()));
  }
  if (!is_known_operation(client->redo())) {
    return refuse_recovery(
        why_not_, NtStatus::NotSupported,
        fmt::format("the operation of the record at LSN {:#x} is unknown", record.lsn.raw()));
  }
  if (client->redo() == LogOp::OpenNonresidentAttribute) {
    if (opened_.open(*client, record.lsn)) return {};
    return refuse_recovery(why_not_, NtStatus::LogCorrupt,
                           fmt::format("the record at LSN {:#x} is damaged", record.lsn.raw()));
  }
  if (!is_page_operation(client->redo()) || !may_be_dirty(*client, record.lsn)) return {};
  const Change change{Direction::Redo,      record.lsn,          &*client,
                      client->redo(),       client->redo_data(), client->redo_length(),
                      client->undo_length()};
  const Outcome outcome = TRY(carry_out(change));
  if (outcome == Outcome::Done) ++report_.records_redone;
  return {};
}

// Undo.

Result<> Replay::undo() {
  opened_ = analysis_.opened_at_end;
  using Next = std::pair<Lsn, uint32_t>;
  std::priority_queue<Next> next;
  for (const uint32_t id : analysis_.losers()) {
    next.emplace(analysis_.transactions.at(id).undo_next, id);
  }
  std::set<uint32_t> undone;
  while (!next.empty()) {
    const auto [lsn, id] = next.top();
    next.pop();
    const uint64_t count = report_.records_undone;
    const Lsn before = TRY(undo_record(lsn, id));
    if (report_.records_undone != count) undone.insert(id);
    report_.transactions_undone = undone.size();
    if (before.is_none()) continue;
    if (before >= lsn) {
      return refuse_recovery(
          why_not_, NtStatus::LogCorrupt,
          fmt::format("the record at LSN {:#x} does not name an earlier one", lsn.raw()));
    }
    next.emplace(before, id);
  }
  return {};
}

/// The record to undo after this one.
Result<Lsn> Replay::undo_record(Lsn lsn, uint32_t transaction) {
  const auto missing = [&] {
    return refuse_recovery(
        why_not_, NtStatus::LogCorrupt,
        fmt::format("the record at LSN {:#x}, which must be taken back, is missing", lsn.raw()));
  };
  if (lsn < reader_.oldest_lsn()) return missing();
  const auto record = reader_.read(lsn);
  if (!record) {
    const bool is_damage =
        record.error() == NtStatus::LogCorrupt || record.error() == NtStatus::InvalidParameter;
    return is_damage ? missing() : record.error();
  }
  if (!record->is_client() || record->transaction_id != transaction) return missing();
  const auto client = ondisk::ClientRecordView::parse(record->data, record->flags,
                                                      {"log record (its LSN)", 0, lsn.raw()});
  if (!client) return missing();
  const Lsn before = record->undo_next;
  if (!is_page_operation(client->undo())) return before;
  const Change change{Direction::Undo,
                      lsn,
                      &*client,
                      client->undo(),
                      client->undo_data(),
                      client->undo_length(),
                      client->redo_length()};
  const Outcome outcome = TRY(carry_out(change));
  if (outcome == Outcome::Done) ++report_.records_undone;
  return before;
}

// Places.

/// Where cluster `index` of the record's list is now; Lcn(0) when it was freed since.
Result<Lcn> Replay::cluster_of(const Change& change, uint64_t index) {
  const ondisk::ClientRecordView& record = *change.record;
  if (index >= record.lcn_count()) return refuse(change, "names too few clusters");
  Lcn lcn = record.lcn(index);
  const auto moved = analysis_.moved.find(
      {record.target().target_attribute, record.target().target_vcn + ClusterCount(index)});
  if (moved != analysis_.moved.end() && change.lsn < moved->second.lsn) lcn = moved->second.lcn;
  if (lcn == Lcn(0) || lcn.is_hole()) return Lcn(0);
  if (analysis_.deleted.is_deleted_after(lcn, change.lsn)) return Lcn(0);
  if (lcn.raw() >= geometry_.total_clusters)
    return refuse(change, "names a cluster beyond the end");
  for (const Run& run : log_runs_.runs()) {
    if (lcn >= run.lcn && lcn < run.lcn + run.count) return refuse(change, "would change the log");
  }
  return lcn;
}

/// The pieces of `length` bytes at `offset` of the clusters that the record names. False when the
/// first of them was freed since; those behind a freed one are left out.
Result<bool> Replay::locate(const Change& change, uint64_t offset, uint64_t length,
                            std::vector<DevicePiece>& pieces) {
  const uint64_t cluster = geometry_.cluster_size;
  for (uint64_t at = offset; at < offset + length;) {
    const Lcn lcn = TRY(cluster_of(change, at / cluster));
    if (lcn == Lcn(0)) break;
    const uint64_t count = std::min(cluster - at % cluster, offset + length - at);
    const uint64_t place = lcn.raw() * cluster + at % cluster;
    if (!pieces.empty() && pieces.back().offset + pieces.back().length == place) {
      pieces.back().length += count;
    } else {
      pieces.push_back({place, count});
    }
    at += count;
  }
  return !pieces.empty();
}

Result<RecoveredPages::Page*> Replay::page_at(const Change& change, const PageLocation& location) {
  auto page = pages_.get(location);
  if (page) return page;
  if (page.error() == NtStatus::LogCorrupt) {
    return refuse(change, "names clusters that belong to something else");
  }
  if (page.error() == NtStatus::InsufficientResources) {
    return refuse(change, "is one of too many: the log speaks of more than memory should hold");
  }
  return page;
}

// Changes.

Result<Replay::Outcome> Replay::carry_out(const Change& change) {
  const ondisk::ClientRecordView& record = *change.record;
  if (record.lcn_count() == 0) return Outcome::NotDue;  // of no place
  const LoggedAttribute* slot = opened_.find(record.target().target_attribute);
  if (slot == nullptr) slot = analysis_.opened_at_end.find(record.target().target_attribute);
  if (slot == nullptr) return refuse(change, "names an attribute that was never opened");
  const ondisk::OpenAttribute& attribute = slot->attribute;
  const auto type = static_cast<AttributeType>(attribute.type_code);
  const bool is_mft = attribute.file.record() == ondisk::kMftRecord && type == AttributeType::Data;
  const bool is_index = type == AttributeType::IndexAllocation;
  const bool is_value = change.op == LogOp::UpdateNonresidentValue;
  if (is_index_block_operation(change.op) || (is_value && is_index)) {
    uint32_t bytes = attribute.bytes_per_index;
    if (bytes == 0) bytes = geometry_.index_block_size;
    if (!is_index || !is_power_of_two(bytes) || bytes < kBlockUnit ||
        bytes > kMostIndexBlockBytes) {
      return refuse(change, "does not fit its attribute");
    }
    return change_structure(change, PageKind::IndexBlock, bytes);
  }
  if (is_bitmap_operation(change.op) || is_value) {
    if (is_mft || is_index) return refuse(change, "does not fit its attribute");
    return change_raw(change);
  }
  if (!is_mft) return refuse(change, "does not fit its attribute");
  return change_structure(change, PageKind::FileRecord, geometry_.file_record_size);
}

// When is a change due in a redo? The page's LSN is that of its last change. One above the end of
// the log is of another life of the log. A whole index block is always put in place: what stands
// there may be left over from another volume, with any LSN.
bool Replay::is_due(const Change& change, const RecoveredPages::Page& page,
                    const Operation& operation) const {
  if (change.direction == Direction::Undo) {
    // A record that was not initialized needs not be freed.
    return change.op != LogOp::DeallocateFileRecordSegment ||
           (page.is_usable && FileRecordView::of_valid(page.bytes).in_use());
  }
  if (!page.is_usable || page.lsn() > analysis_.end) return true;
  if (page.location.kind == PageKind::IndexBlock && makes_whole(operation)) return true;
  return page.lsn() < change.lsn;
}

/// Fails when the page is not whole and the operation does not make it so.
Result<> Replay::make_usable(const Change& change, RecoveredPages::Page& page,
                             const Operation& operation) {
  if (page.is_usable || makes_whole(operation)) return {};
  // The record that was freed stands in the log, to be put back.
  const ByteView old = change.record->undo_data();
  if (change.direction == Direction::Redo && change.op == LogOp::DeallocateFileRecordSegment &&
      change.record->undo() == LogOp::InitializeFileRecordSegment && is_whole_record(old)) {
    const Operation image = initialize_file_record(old);
    const bool fits = check(image, PageKind::FileRecord, page.bytes).has_value();
    if (fits) {
      apply(image, PageKind::FileRecord, page.bytes, change.lsn);
      if (page.verify(geometry_)) return {};
    }
  }
  const bool is_record = page.location.kind == PageKind::FileRecord;
  return refuse(change,
                fmt::format("needs {} {} at byte {:#x} of the volume, which is torn or "
                            "damaged",
                            is_record ? "file record" : "the index block of vcn",
                            page.location.number, page.location.pieces.front().offset),
                NtStatus::FileCorruptError);
}

Result<Replay::Outcome> Replay::change_structure(const Change& change, PageKind kind,
                                                 uint32_t page_bytes) {
  const ondisk::LogTarget& target = change.record->target();
  const uint64_t offset = target.cluster_block_offset * kBlockUnit;
  const auto start = checked_multiply(target.target_vcn.raw(), geometry_.cluster_size);
  const auto position = start ? checked_add(*start, offset) : start.error();
  if (!position || *position % kBlockUnit != 0) return refuse(change, "names an impossible place");
  PageLocation location;
  location.kind = kind;
  if (kind == PageKind::FileRecord) {
    location.number = *position / page_bytes;
  } else {
    location.number =
        *position / (geometry_.cluster_size <= page_bytes ? geometry_.cluster_size : kBlockUnit);
  }
  if (!TRY(locate(change, offset, page_bytes, location.pieces))) return Outcome::NotDue;
  uint64_t found = 0;
  for (const DevicePiece& piece : location.pieces) found += piece.length;
  if (found < page_bytes) return Outcome::NotDue;  // some of it was freed
  RecoveredPages::Page& page = *TRY(page_at(change, location));
  if (page.is_final) return Outcome::NotDue;
  const Operation operation = TRY(operation_of(change, kind, page));
  if (!is_due(change, page, operation)) return Outcome::NotDue;
  TRY(make_usable(change, page, operation));
  if (!check(operation, kind, page.bytes)) return refuse(change, "does not fit the page it names");
  apply(operation, kind, page.bytes, change.direction == Direction::Redo ? change.lsn : page.lsn());
  page.is_changed = true;
  if (!page.verify(geometry_)) return refuse(change, "leaves a damaged page");
  return Outcome::Done;
}

// Forms that other systems write become those that check() and apply() know.

/// Records of Windows 10 leave out a payload that is all zeros.
bool Replay::is_omitted(const Change& change) {
  return change.payload.empty() && change.length != 0;
}

ByteView Replay::payload_of(const Change& change) {
  if (!is_omitted(change)) return change.payload;
  scratch_.assign(change.length, std::byte{0});
  return scratch_;
}

Result<Operation> Replay::operation_of(const Change& change, PageKind kind,
                                       const RecoveredPages::Page& page) {
  const ondisk::LogTarget& target = change.record->target();
  Operation operation{change.op, target.record_offset, target.attribute_offset, change.payload};
  switch (change.op) {
    case LogOp::UpdateResidentValue:
      if (change.length != change.other_length) operation.form = OperationForm::Resizing;
      operation.payload = payload_of(change);
      return operation;
    case LogOp::ZeroEndOfFileRecord:
      operation.payload = payload_of(change);
      return operation;
    default:
      if (is_omitted(change)) return refuse(change, "has no data");
      break;
  }
  switch (change.op) {
    case LogOp::InitializeFileRecordSegment:
      if (!is_whole_record(change.payload)) operation.form = OperationForm::Partial;
      break;
    case LogOp::UpdateNonresidentValue:
      if (operation.record_offset != 0 || !is_whole_block(change.payload)) {
        operation.form = OperationForm::Partial;
      }
      break;
    case LogOp::CreateAttribute:
      if (change.payload.size() >= sizeof(ondisk::AttributeHeader)) {
        operation.payload = first_bytes(
            change.payload, struct_at<ondisk::AttributeHeader>(change.payload).record_length.get());
      }
      break;
    case LogOp::AddIndexEntryRoot:
    case LogOp::AddIndexEntryAllocation:
      if (change.payload.size() >= sizeof(ondisk::IndexEntryHeader)) {
        operation.payload = first_bytes(
            change.payload, struct_at<ondisk::IndexEntryHeader>(change.payload).entry_length.get());
      }
      break;
    case LogOp::UpdateMappingPairs:
      scratch_.assign(change.payload.begin(), change.payload.end());
      scratch_.resize(align_up(target.attribute_offset + scratch_.size(), 8) -
                      target.attribute_offset);
      operation.payload = scratch_;
      break;
    case LogOp::SetNewAttributeSizes:
      if (page.is_usable && kind == PageKind::FileRecord) {
        const auto attribute =
            FileRecordView::of_valid(page.bytes).attribute_at(target.record_offset);
        const bool has_total =
            attribute && !attribute->is_resident() && attribute->has_total_allocated();
        if (!has_total) operation.payload = first_bytes(change.payload, 3 * sizeof(le64));
      }
      break;
    default:
      break;
  }
  return operation;
}

// Raw values: bytes and bits anywhere in the clusters that the record names.

Result<Replay::Outcome> Replay::change_raw(const Change& change) {
  const ondisk::LogTarget& target = change.record->target();
  const uint64_t page_bytes = std::min<uint64_t>(geometry_.cluster_size, 4096);
  uint64_t offset = target.cluster_block_offset * kBlockUnit;
  const ByteView payload = payload_of(change);
  uint64_t length = payload.size();
  ondisk::BitRange bits;
  if (is_bitmap_operation(change.op)) {
    const auto range =
        ondisk::BitRange::parse(payload, {"log record (its LSN)", 0, change.lsn.raw()});
    if (!range || range->count == 0) return refuse(change, "has no bits");
    bits = *range;
    offset += bits.first / 8;
    length = (uint64_t{bits.first} + bits.count + 7) / 8 - bits.first / 8;
  } else {
    if (length == 0) return refuse(change, "has no data");
    offset += target.record_offset;
  }
  if (length > kMostRawBytes) return refuse(change, "changes too much");
  // Pages are whole; the change may begin and end anywhere in them.
  const uint64_t base = align_down(offset, page_bytes);
  const uint64_t end = align_up(offset + length, page_bytes);
  std::vector<DevicePiece> pieces;
  if (!TRY(locate(change, base, end - base, pieces))) return Outcome::NotDue;
  std::vector<RecoveredPages::Page*> pages;
  for (const DevicePiece& piece : pieces) {
    for (uint64_t at = 0; at < piece.length; at += page_bytes) {
      const PageLocation location{PageKind::Raw, {{piece.offset + at, page_bytes}}, 0};
      pages.push_back(TRY(page_at(change, location)));
    }
  }
  const uint64_t reach = base + pages.size() * page_bytes;  // what lies behind was freed
  if (reach <= offset) return Outcome::NotDue;
  Operation operation{change.op, static_cast<uint16_t>(offset - base), 0, payload};
  if (is_bitmap_operation(change.op)) {
    const uint64_t first = target.cluster_block_offset * kBlockUnit * 8 + bits.first - base * 8;
    const uint64_t count = std::min<uint64_t>(bits.count, (reach - base) * 8 - first);
    const auto range = encode_bit_range(static_cast<uint32_t>(first), static_cast<uint32_t>(count));
    operation.record_offset = 0;
    operation.payload = range;
    TRY(change_raw_pages(change, operation, pages));
    return Outcome::Done;
  }
  operation.payload = first_bytes(payload, reach - offset);
  TRY(change_raw_pages(change, operation, pages));
  return Outcome::Done;
}

Result<> Replay::change_raw_pages(const Change& change, const Operation& operation,
                                  const std::vector<RecoveredPages::Page*>& pages) {
  ByteVector together;
  for (const RecoveredPages::Page* page : pages) {
    together.insert(together.end(), page->bytes.begin(), page->bytes.end());
  }
  if (!check(operation, PageKind::Raw, together)) return refuse(change, "does not fit its page");
  apply(operation, PageKind::Raw, together, change.lsn);
  auto from = together.begin();
  for (RecoveredPages::Page* page : pages) {
    std::copy_n(from, page->bytes.size(), page->bytes.begin());
    from += static_cast<ptrdiff_t>(page->bytes.size());
    page->is_changed = true;
  }
  return {};
}

}  // namespace ntfs
