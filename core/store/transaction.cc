#include "core/store/transaction.h"

#include <algorithm>

#include "core/base/trace.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/store/journal.h"

namespace ntfs {

using ondisk::LogOp;

namespace {

/// One transaction at a time: its id is always that of the table's first entry.
constexpr uint32_t kTransactionId = ondisk::transaction_id_at(0);
constexpr int kBeginAttempts = 8;
/// Of memory for the way back, from one transaction to the next.
constexpr size_t kMostKeptBytes = 1 << 20;

/// The record that ends a transaction.
ondisk::ClientRecord end_record() {
  ondisk::ClientRecord record;
  record.redo = LogOp::ForgetTransaction;
  record.undo = LogOp::CompensationLogRecord;
  record.target.target_attribute = ondisk::slot_offset(0);
  return record;
}

/// Client data bytes of a record with these payloads for `page`.
int64_t record_bytes(ByteView redo, ByteView undo, const PagePlace& place) {
  ondisk::ClientRecord record;
  record.lcns = place.lcns;
  record.redo_data = redo;
  record.undo_data = undo;
  return static_cast<int64_t>(ondisk::encoded_size(record));
}

}  // namespace

void TransactionMemory::clear() {
  reservations.release_all();
  undo.clear();
  undo_bytes.clear();
  created.clear();
  places.clear();
  dropped.clear();
  freed_blocks.clear();
  participants.clear();
  kept.clear();
  if (undo_bytes.capacity() > kMostKeptBytes) undo_bytes = {};
}

Transaction::Transaction(Journal& journal) : journal_(journal) {}

Transaction::~Transaction() {
  if (active_) abort();
}

Result<> Transaction::begin() {
  ASSERT(!active_);
  if (journal_.log_ == nullptr) return NtStatus::MediaWriteProtected;
  const uint64_t aside = journal_.transaction_bytes();
  lfs::ReservationSet& reservations = journal_.transaction_memory_->reservations;
  for (int attempt = 0; attempt < kBeginAttempts; ++attempt) {
    journal_.metadata_lock_.lock();
    if (!journal_.is_writable()) {
      journal_.metadata_lock_.unlock();
      return NtStatus::MediaWriteProtected;
    }
    std::array end = {static_cast<int64_t>(ondisk::encoded_size(end_record()))};
    if (journal_.has_free_slots() && reservations.set_aside(aside) && reservations.add(end)) {
      active_ = true;
      journal_.pages_.set_exclusive(true);
      memory_ = journal_.transaction_memory_.get();
      log_budget_ = aside / 4;
      return {};
    }
    reservations.release_all();
    journal_.metadata_lock_.unlock();
    TRY(journal_.checkpoint());
  }
  return NtStatus::LogFileFull;
}

/// Puts a record at the end of the transaction's chain and reserves its `way_back` in the same
/// step. The way back itself is written to what was reserved.
Result<lfs::Lsn> Transaction::append(ByteView client_data, lfs::Lsn undo_next, WayBack way_back,
                                     lfs::AppendFlags flags) {
  lfs::AppendRequest request;
  request.entries = {&client_data, 1};
  request.previous = last_lsn_;
  request.undo_next = undo_next;
  request.transaction_id = kTransactionId;
  request.reserve = way_back;
  request.flags = flags;
  const auto appended = TRY(journal_.area_->reserve_and_append(request, memory_->reservations));
  last_lsn_ = appended.lsn;
  log_bytes_ += lfs::record_cost(client_data.size());
  return appended.lsn;
}

Result<lfs::Lsn> Transaction::log(const Operation& redo, const Operation& undo, const PageRef& page,
                                  WayBack way_back) {
  MetadataStream& stream = *page->stream_;
  TRY(journal_.ensure_open(stream, *this));
  const PagePlace& place = page->place_;
  ondisk::ClientRecord record;
  record.redo = redo.op;
  record.undo = undo.op;
  record.target.target_attribute = static_cast<uint16_t>(stream.slot);
  record.target.target_vcn = place.first_vcn;
  record.lcns = place.lcns;
  // One of the two may be a Noop: the place is that of the other.
  const Operation& placed = redo.op == LogOp::Noop ? undo : redo;
  record.target.record_offset = placed.record_offset;
  record.target.attribute_offset = placed.attribute_offset;
  record.redo_data = redo.payload;
  record.undo_data = undo.payload;
  std::array<std::byte, 8> bits{};
  if (page->kind() != PageKind::Raw) {
    record.target.cluster_block_offset = static_cast<uint16_t>(place.offset_in_cluster / 512);
    record.target.target_block_size = static_cast<uint16_t>(stream.page_bytes / 512);
  } else if (place.offset_in_cluster != 0) {
    // Raw values are addressed from the start of the cluster, by blocks what the offset cannot say.
    if (redo.op == LogOp::UpdateNonresidentValue) {
      constexpr uint64_t kReach = uint64_t{64} << 10;
      const uint64_t at = place.offset_in_cluster + redo.record_offset;
      record.target.cluster_block_offset = static_cast<uint16_t>(align_down(at, kReach) / 512);
      record.target.record_offset = static_cast<uint16_t>(at % kReach);
    } else {
      bits = encode_bit_range(struct_at<le32>(redo.payload, 0).get() + place.offset_in_cluster * 8,
                              struct_at<le32>(redo.payload, 4).get());
      record.redo_data = bits;
      record.undo_data = bits;
    }
  }
  memory_->record.clear();
  ondisk::encode_append(record, memory_->record);
  return append(memory_->record, last_lsn_, way_back,
                rolling_back_ ? lfs::AppendFlags::UseReservation : lfs::AppendFlags::None);
}

/// Before the first change of a page in an interval: the page as it is.
Result<> Transaction::log_image(const PageRef& page) {
  if (page->kind() == PageKind::Raw || page->imaged_interval_ == journal_.interval_) return {};
  Operation image;
  if (page->kind() == PageKind::IndexBlock) {
    const auto node = ondisk::IndexBlockView::of_valid(page->bytes()).node();
    image = update_nonresident_value(
        0, page->bytes().first(ondisk::kIndexHeaderInBlock + node.used_bytes()));
  } else {
    const auto record = ondisk::FileRecordView::of_valid(page->bytes());
    // What is not in use is changed by an image alone. ntfsrecover would also put it in use.
    if (!record.in_use()) return {};
    image = initialize_file_record(page->bytes().first(record.used_bytes()));
  }
  const uint64_t head = sizeof(ondisk::ClientRecordHeader) + 8 * page->place_.lcns.size();
  if (head + image.payload.size() > lfs::kMaximumClientData) return {};
  TRY(log(image, Operation{}, page, {}));
  page->imaged_interval_ = journal_.interval_;
  return {};
}

/// Sizes of the records that will take `redo` back, if that is not the way back itself: they hold
/// `undo` and its inverse, which has as long a payload as `redo`.
Transaction::WayBack Transaction::size_way_back(const Operation& redo, const Operation& undo,
                                                const PagePlace& place) {
  std::vector<int64_t>& sizes = memory_->way_back;
  sizes.clear();
  if (rolling_back_) return sizes;
  if (undo.op == LogOp::InitializeFileRecordSegment) {  // two records, see perform
    sizes.push_back(record_bytes({}, redo.payload, place));
    sizes.push_back(record_bytes(undo.payload, {}, place));
  } else {
    sizes.push_back(record_bytes(undo.payload, redo.payload, place));
  }
  return sizes;
}

Result<> Transaction::perform(const Operation& redo, const PageRef& page) {
  ASSERT(active_);
  TRY(check(redo, page->kind(), page->bytes_));
  const Operation undo = inverse(redo, page->kind(), page->bytes_, memory_->inverse);
  const WayBack way_back = size_way_back(redo, undo, page->place_);
  const Operation nothing{};
  lfs::Lsn lsn;
  if (redo.op == LogOp::InitializeFileRecordSegment) {
    // As Windows does: the way back in a record of its own, then the image without one. Other
    // replayers take an image only when its undo is Noop (sheet, pitfall 45).
    TRY(log(nothing, undo, page, way_back));
    lsn = TRY(log(redo, nothing, page, {}));
    page->imaged_interval_ = journal_.interval_;
  } else {
    TRY(log_image(page));
    lsn = TRY(log(redo, undo, page, way_back));
  }
  if (!rolling_back_) {
    memory_->undo.push_back({page, undo, memory_->undo_bytes.size()});
    memory_->undo_bytes.insert(memory_->undo_bytes.end(), undo.payload.begin(), undo.payload.end());
  }
  journal_.mark_dirty(page);
  page->changes_.fetch_add(1, std::memory_order_acq_rel);
  apply(redo, page->kind(), page->bytes_, lsn);
  return {};
}

Result<> Transaction::perform_new(ByteView bytes, const PageRef& page) {
  ASSERT(active_ && page->kind() != PageKind::FileRecord);
  memory_->created.push_back(page);
  TRY(perform_unseen(update_nonresident_value(0, bytes), page));
  page->imaged_interval_ = journal_.interval_;
  return {};
}

Result<> Transaction::perform_unseen(const Operation& operation, const PageRef& page) {
  ASSERT(active_ && page->kind() != PageKind::FileRecord);
  TRY(check(operation, page->kind(), page->bytes_));
  const lfs::Lsn lsn = TRY(log(operation, Operation{}, page, {}));
  journal_.mark_dirty(page);
  apply(operation, page->kind(), page->bytes_, lsn);
  return {};
}

void Transaction::commit() {
  ASSERT(active_);
  end();
  for (const auto& stream : memory_->dropped) journal_.pages_.forget(*stream, 0);
  for (const PageRef& page : memory_->created) {
    page->is_new_ = false;
    page->replaced_.reset();
  }
  for (Participant* participant : memory_->participants)
    participant->transaction_ended(*this, true);
  release();
}

void Transaction::complete_place(const PageRef& page) {
  if (page != nullptr) memory_->places.emplace_back(page, journal_.pages_.update_place(*page));
}

void Transaction::abort() {
  rolling_back_ = true;
  ++journal_.aborts_;
  for (size_t i = memory_->undo.size(); i-- > 0;) {
    TransactionMemory::Undo& undo = memory_->undo[i];
    const size_t length = (i + 1 < memory_->undo.size() ? memory_->undo[i + 1].payload_offset
                                                        : memory_->undo_bytes.size()) -
                          undo.payload_offset;
    undo.operation.payload = ByteView(memory_->undo_bytes).subspan(undo.payload_offset, length);
    const auto undone = perform(undo.operation, undo.page);
    if (!undone) {
      // Only a failed log gets here: nothing of this transaction will reach the device.
      journal_.fail(undone.error(), "taking back a change");
      break;
    }
  }
  // The clusters that they got go back.
  for (auto& [page, place] : memory_->places) page->place_ = std::move(place);
  for (size_t i = memory_->created.size(); i-- > 0;) journal_.pages_.take_back(memory_->created[i]);
  end();
  for (Participant* participant : memory_->participants)
    participant->transaction_ended(*this, false);
  release();
}

void Transaction::end() {
  if (last_lsn_.is_none()) return;
  memory_->record.clear();
  ondisk::encode_append(end_record(), memory_->record);
  const auto appended = append(memory_->record, lfs::Lsn(), {}, lfs::AppendFlags::UseReservation);
  if (!appended) journal_.fail(appended.error(), "a write of the log");
  trace(TraceEvent::TransactionEnd, last_lsn_.raw(), log_bytes_);
}

void Transaction::release() {
  active_ = false;
  memory_->clear();
  memory_ = nullptr;
  journal_.pages_.set_exclusive(false);
  journal_.metadata_lock_.unlock();
  journal_.wake_if_due();
}

bool Transaction::has_freed_block(uint64_t stream_id, uint64_t block) const {
  return std::find(memory_->freed_blocks.begin(), memory_->freed_blocks.end(),
                   TransactionMemory::FreedBlock{stream_id, block}) != memory_->freed_blocks.end();
}

bool Transaction::is_large() const {
  return log_bytes_ > log_budget_ || opened_ >= Journal::kSlotsOfTransaction / 2;
}

void Transaction::join(Participant& participant) {
  if (std::find(memory_->participants.begin(), memory_->participants.end(), &participant) ==
      memory_->participants.end()) {
    memory_->participants.push_back(&participant);
  }
}

void Transaction::join(std::shared_ptr<Participant> participant) {
  const size_t before = memory_->participants.size();
  join(*participant);
  if (memory_->participants.size() != before) memory_->kept.push_back(std::move(participant));
}

}  // namespace ntfs
