#include "core/store/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/base/trace.h"
#include "core/ondisk/file_record.h"
#include "core/store/transaction.h"

namespace ntfs {

namespace {

/// Slots that log records can name: a slot is a 16-bit byte offset.
constexpr size_t kMaxSlots = (0xFFFF - 0x18) / sizeof(ondisk::OpenAttributeEntry);
constexpr size_t kMftSlot = 0;
/// Most that a transaction may log, the way back included. The largest single requests are an
/// insert that splits each of the levels of a deep index (three blocks of up to 64 KiB each, redo
/// and undo), and a change at the beginning of a long attribute list.
constexpr uint64_t kMostTransactionBytes = 2 << 20;
/// Dirty pages beyond this are a reason for a checkpoint.
constexpr uint64_t kMaxDirtyBytes = 64 << 20;
/// Log in memory beyond this is a reason for a flush.
constexpr uint64_t kMaxPendingBytes = 4 << 20;
/// Memory that a checkpoint copies pages to at a time, and the pages copied under one lock.
constexpr size_t kCheckpointBytes = 4 << 20;
constexpr size_t kPagesInStep = 32;

}  // namespace

Journal::Journal(BlockDevice& device, PageCache& pages, const ondisk::VolumeGeometry& geometry)
    : device_(device),
      pages_(pages),
      geometry_(geometry),
      slots_(kMaxSlots),
      transaction_memory_(std::make_unique<TransactionMemory>()) {
  // Slot 0 is $MFT's, for good.
  slots_[kMftSlot] = {FileReference(ondisk::kMftRecord, 1).raw(),
                      metadata_stream_id(ondisk::kMftRecord, ondisk::AttributeType::Data, u""), 0};
}

Journal::~Journal() = default;

void Journal::start(std::unique_ptr<lfs::LogFile> log, LogStoreOnVolume& store, Mirror mirror) {
  log_store_ = &store;
  mirror_ = mirror;
  log_ = std::move(log);
  area_ = std::make_unique<lfs::MarshallingArea>(log_->open_stream(lfs::kClientName).value(),
                                                 lfs::kMaximumClientData, 0);
  transaction_memory_->reservations = area_->make_set();
}

void Journal::fail(NtStatus status, std::string_view what) {
  if (failed_.exchange(true)) return;
  log_line(LogLevel::Error, fmt::format("{} failed ({}): the volume is read-only from now on; "
                                        "what was not yet durable is lost",
                                        what, name_of(status)));
}

uint64_t Journal::transaction_bytes() const {
  return log_ ? std::min<uint64_t>(kMostTransactionBytes, log_->capacity_bytes() / 2) : 0;
}

bool Journal::wants_checkpoint() const {
  if (!is_writable()) return false;
  return log_->used_bytes() > log_->capacity_bytes() / 3 ||
         dirty_bytes_.load(std::memory_order_relaxed) > kMaxDirtyBytes;
}

void Journal::wake() {
  const MutexLock lock(work_mutex_);
  work_due_ = true;
  work_.notify_all();
}

void Journal::wake_if_due() {
  if (log_->pending_bytes() > kMaxPendingBytes || wants_checkpoint()) wake();
}

void Journal::wait_for_work(std::chrono::milliseconds timeout) {
  const MutexLock lock(work_mutex_);
  if (!work_due_) work_.wait_for(work_mutex_, timeout);
  work_due_ = false;
}

// Open attributes.

bool Journal::has_free_slots() const { return slots_in_use_ + kSlotsOfTransaction <= kMaxSlots; }

Result<uint32_t> Journal::assign_slot(const MetadataStream& stream) {
  size_t free_slot = kMaxSlots;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.stream_id == stream.id && slot.stream_file == stream.file.raw()) {
      return ondisk::slot_offset(i);
    }
    const bool reusable = slot.opened_interval == 0 || slot.opened_interval + 1 < interval_;
    if (i != kMftSlot && reusable && free_slot == kMaxSlots) free_slot = i;
  }
  if (free_slot == kMaxSlots) return NtStatus::LogFileFull;
  slots_[free_slot] = {stream.file.raw(), stream.id, 0};
  return ondisk::slot_offset(free_slot);
}

Result<> Journal::ensure_open(MetadataStream& stream, Transaction& transaction) {
  if (stream.opened_interval == interval_) return {};
  const uint32_t offset = TRY(assign_slot(stream));
  const size_t index = (offset - ondisk::slot_offset(0)) / sizeof(ondisk::OpenAttributeEntry);
  ondisk::OpenAttribute open;
  open.file = stream.file;
  open.type_code = static_cast<uint32_t>(stream.type);
  open.bytes_per_index = stream.kind == PageKind::IndexBlock ? stream.page_bytes : 0;
  open.open_lsn = log_->last_lsn();
  const auto entry = open.encode();
  ByteVector name;
  for (const char16_t unit : stream.name) {
    name.push_back(static_cast<std::byte>(unit & 0xFF));
    name.push_back(static_cast<std::byte>(unit >> 8));
  }
  ondisk::ClientRecord record;
  record.redo = ondisk::LogOp::OpenNonresidentAttribute;
  record.undo = ondisk::LogOp::Noop;
  record.target.target_attribute = static_cast<uint16_t>(offset);
  record.redo_data = entry;
  record.undo_data = name;
  const ByteVector data = ondisk::encode(record);
  TRY(transaction.append(data, transaction.last_lsn_, {}, lfs::AppendFlags::None));
  ++transaction.opened_;
  stream.slot = offset;
  stream.opened_interval = interval_;
  if (slots_[index].opened_interval != interval_) ++slots_in_use_;
  slots_[index].opened_interval = interval_;
  return {};
}

void Journal::mark_dirty(const PageRef& page) {
  if (!changed_.load(std::memory_order_relaxed)) changed_.store(true, std::memory_order_release);
  if (page->dirty_) return;
  page->keep_image();
  page->dirty_ = true;
  dirty_.push_back(page);
  dirty_bytes_.fetch_add(page->bytes_.size(), std::memory_order_relaxed);
}

// Durability.

Result<> Journal::flush() {
  if (log_ == nullptr) return {};
  if (failed_.load()) return NtStatus::IoDeviceError;
  lfs::Lsn last;
  {
    const SharedLock lock(metadata_lock_);
    last = log_->last_lsn();
  }
  return flush_to(last);
}

Result<> Journal::flush_to(lfs::Lsn last) {
  // Data first: a record that makes bytes reachable must not be durable before them.
  auto done = device_.flush();
  if (done) log_store_->note_settled(last);
  if (done && log_->durable_lsn() < last) done = log_->flush_to(last);
  if (!done) fail(done.error(), "a write of the log");
  return done;
}

// Checkpoints.

Journal::Snapshot Journal::take_snapshot() {
  const ExclusiveLock lock(metadata_lock_);
  Snapshot snapshot;
  snapshot.start = log_->last_lsn();
  snapshot.interval = interval_;
  snapshot.usn = usn_;
  std::erase_if(dirty_, [](const PageRef& page) { return !page->dirty_; });
  for (const PageRef& page : dirty_) {
    page->dirty_ = false;
    page->pending_ = true;
  }
  snapshot.pages.swap(dirty_);
  dirty_bytes_ = 0;
  ++interval_;
  slots_in_use_ = 0;
  for (const Slot& slot : slots_) {
    if (slot.opened_interval != 0 && slot.opened_interval + 1 >= interval_) ++slots_in_use_;
  }
  changed_.store(false, std::memory_order_release);
  pages_.trim();
  return snapshot;
}

void Journal::add_writes(const MetadataPage& page, const PagePlace& place, ByteView bytes,
                         std::vector<IoRequest>& writes) const {
  const uint64_t cluster = geometry_.cluster_size;
  uint64_t done = 0;
  uint64_t in_cluster = place.offset_in_cluster;
  for (const Lcn lcn : place.lcns) {
    if (done == bytes.size()) break;
    const uint64_t length = std::min<uint64_t>(cluster - in_cluster, bytes.size() - done);
    const uint64_t at = lcn.raw() * cluster + in_cluster;
    const ByteView part = bytes.subspan(done, length);
    done += length;
    in_cluster = 0;
    if (!writes.empty()) {
      IoRequest& last = writes.back();
      if (last.offset + last.memory.size() == at &&
          last.memory.data() + last.memory.size() == part.data()) {
        last.memory = {last.memory.data(), last.memory.size() + length};
        continue;
      }
    }
    writes.push_back(IoRequest::write(at, part));
  }
  const bool mirrored = page.kind() == PageKind::FileRecord &&
                        page.stream_->file.record() == ondisk::kMftRecord &&
                        page.index_ < mirror_.count_records;
  if (mirrored) {
    writes.push_back(IoRequest::write(mirror_.offset_bytes + page.index_ * bytes.size(), bytes));
  }
}

void Journal::copy_pages(std::span<const PageRef> pages, MutableBytes memory,
                         std::vector<IoRequest>& writes) {
  const SharedLock lock(metadata_lock_);
  size_t at = 0;
  for (const PageRef& page : pages) {
    const MutableBytes copy = memory.subspan(at, page->bytes_.size());
    at += copy.size();
    const auto image = std::move(page->image_);
    const ByteVector& bytes = image != nullptr ? image->bytes : page->bytes_;
    std::copy(bytes.begin(), bytes.end(), copy.begin());
    page->pending_ = false;
    if (page->kind() != PageKind::Raw) {
      page->number_to_follow_ =
          protect_after(copy, page->number_to_follow_.value_or(update_sequence_number(copy)));
    }
    add_writes(*page, image != nullptr ? image->place : page->place_, copy, writes);
  }
}

/// Looks what the device holds where pages go that were made without it. Where it cannot be read,
/// they go there all the same.
void Journal::learn_numbers(std::span<const PageRef> pages, MutableBytes memory) {
  std::vector<MetadataPage*> unknown;
  for (const PageRef& page : pages) {
    if (page->kind() != PageKind::Raw && !page->number_to_follow_) unknown.push_back(page.get());
  }
  for (std::span<MetadataPage* const> rest = unknown; !rest.empty();) {
    size_t count = 0;
    size_t bytes = 0;
    while (count < rest.size() && bytes + rest[count]->bytes_.size() <= memory.size()) {
      bytes += rest[count++]->bytes_.size();
    }
    const auto part = rest.first(count);
    rest = rest.subspan(count);
    if (!pages_.read_places(part, memory)) continue;
    size_t at = 0;
    for (MetadataPage* page : part) {
      page->number_to_follow_ = number_to_follow(memory.subspan(at, page->bytes_.size()));
      at += page->bytes_.size();
    }
  }
}

Result<> Journal::write_snapshot(Snapshot& snapshot) {
  // Neighbours in a stream are mostly neighbours on the device: they become one write.
  const auto key = [](const PageRef& page) { return std::pair(page->stream_->id, page->index_); };
  std::sort(snapshot.pages.begin(), snapshot.pages.end(),
            [&](const PageRef& a, const PageRef& b) { return key(a) < key(b); });
  size_t total_bytes = 0;
  for (const PageRef& page : snapshot.pages) total_bytes += page->bytes_.size();
  AlignedBuffer buffer = device_.allocate(std::min(total_bytes, kCheckpointBytes));
  learn_numbers(snapshot.pages, buffer.bytes());
  std::vector<IoRequest> writes;
  for (size_t first = 0; first < snapshot.pages.size();) {
    writes.clear();
    size_t at = 0;
    while (first < snapshot.pages.size()) {
      // In short steps: whoever changes something waits for each of them.
      size_t end = first;
      size_t bytes = 0;
      while (end < snapshot.pages.size() && end - first < kPagesInStep &&
             at + bytes + snapshot.pages[end]->bytes_.size() <= buffer.size()) {
        bytes += snapshot.pages[end++]->bytes_.size();
      }
      if (end == first) break;
      copy_pages(std::span(snapshot.pages).subspan(first, end - first),
                 buffer.bytes().subspan(at, bytes), writes);
      at += bytes;
      first = end;
    }
    TRY(device_.transfer(writes));
  }
  return device_.flush();
}

ByteVector Journal::restart_record(lfs::Lsn start, const UsnRestart& usn) const {
  ondisk::ClientRestart restart;
  restart.check_point_start = start;
  restart.bytes_per_cluster = geometry_.cluster_size;
  restart.oldest_lsn = start;
  restart.usn_restart_offset = usn.first.raw();
  restart.usn_file = usn.file;
  const auto bytes = restart.encode();
  return {bytes.begin(), bytes.end()};
}

Result<> Journal::checkpoint_locked() {
  // What is waiting goes out while others work; then little is left for after the snapshot.
  TRY(flush());
  Snapshot snapshot = take_snapshot();
  TRY(flush_to(snapshot.start));
  const auto written = write_snapshot(snapshot);
  if (!written) {
    fail(written.error(), "a write of metadata");
    return written;
  }
  const ByteVector record = restart_record(snapshot.start, snapshot.usn);
  const ByteView entry = record;
  const auto restarted = area_->write_restart_area({&entry, 1}, snapshot.start);
  if (!restarted) {
    fail(restarted.error(), "a write of the log");
    return restarted.error();
  }
  trace(TraceEvent::Checkpoint, snapshot.interval, snapshot.pages.size());
  completed_.store(snapshot.interval, std::memory_order_release);
  return {};
}

Result<> Journal::checkpoint() {
  if (log_ == nullptr) return {};
  const MutexLock lock(checkpoint_mutex_);
  if (failed_.load()) return NtStatus::IoDeviceError;
  return checkpoint_locked();
}

Result<> Journal::close() {
  if (log_ == nullptr) return {};
  const MutexLock lock(checkpoint_mutex_);
  if (failed_.load()) return NtStatus::IoDeviceError;
  TRY(checkpoint_locked());
  UsnRestart usn;
  {
    const SharedLock metadata(metadata_lock_);
    usn = usn_;
  }
  auto closed = log_->close(restart_record(log_->last_lsn(), usn));
  if (!closed) fail(closed.error(), "closing the log");
  return closed;
}

}  // namespace ntfs
