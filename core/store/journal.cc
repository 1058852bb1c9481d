#include "core/store/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/base/trace.h"
#include "core/ondisk/file_record.h"

namespace ntfs {

namespace {

/// Slots that log records can name: a slot is a 16-bit byte offset.
constexpr size_t kMaxSlots = (0xFFFF - 0x18) / sizeof(ondisk::OpenAttributeEntry);
/// What a transaction may open; with fewer free slots a checkpoint comes first.
constexpr size_t kSlotsOfTransaction = 32;
constexpr size_t kMftSlot = 0;
/// Dirty pages beyond this are a reason for a checkpoint.
constexpr uint64_t kMaxDirtyBytes = 64 << 20;
/// Log in memory beyond this is a reason for a flush.
constexpr uint64_t kMaxPendingBytes = 4 << 20;

}  // namespace

Journal::Journal(BlockDevice& device, PageCache& pages, const ondisk::VolumeGeometry& geometry,
                 Mirror mirror)
    : device_(device), pages_(pages), geometry_(geometry), mirror_(mirror), slots_(kMaxSlots) {
  // Slot 0 is $MFT's, for good.
  slots_[kMftSlot] = {FileReference(ondisk::kMftRecord, 1).raw(),
                      metadata_stream_id(ondisk::kMftRecord, ondisk::AttributeType::Data, u""), 0};
}

void Journal::fail(NtStatus status, std::string_view what) {
  if (failed_.exchange(true)) return;
  log_line(LogLevel::Error, fmt::format("{} failed ({}): the volume is read-only from now on; "
                                        "what was not yet durable is lost",
                                        what, name_of(status)));
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

Result<> Journal::ensure_open(MetadataStream& stream, uint32_t transaction_id, lfs::Lsn& last_lsn) {
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
  const ByteView part = data;
  last_lsn = TRY(log_->append({transaction_id, last_lsn, last_lsn, {&part, 1}}));
  stream.slot = offset;
  stream.opened_interval = interval_;
  if (slots_[index].opened_interval != interval_) ++slots_in_use_;
  slots_[index].opened_interval = interval_;
  return {};
}

void Journal::mark_dirty(const PageRef& page) {
  changed_.store(true, std::memory_order_release);
  if (page->dirty_) return;
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
  // Data first: a record that makes bytes reachable must not be durable before them.
  auto done = device_.flush();
  if (done && log_->durable_lsn() < last) done = log_->flush_to(last);
  if (!done) fail(done.error(), "a write of the log");
  return done;
}

void Journal::add_writes(Snapshot& snapshot, const MetadataPage& page, size_t at) const {
  const uint64_t cluster = geometry_.cluster_size;
  const ByteView bytes = snapshot.buffer.bytes().subspan(at, page.bytes_.size());
  uint64_t done = 0;
  uint64_t in_cluster = page.place_.offset_in_cluster;
  for (const Lcn lcn : page.place_.lcns) {
    if (done == bytes.size()) break;
    const uint64_t length = std::min<uint64_t>(cluster - in_cluster, bytes.size() - done);
    snapshot.writes.push_back(
        IoRequest::write(lcn.raw() * cluster + in_cluster, bytes.subspan(done, length)));
    done += length;
    in_cluster = 0;
  }
  const bool mirrored = page.kind() == PageKind::FileRecord &&
                        page.stream_->file.record() == ondisk::kMftRecord &&
                        page.index_ < mirror_.count_records;
  if (mirrored) {
    snapshot.writes.push_back(
        IoRequest::write(mirror_.offset_bytes + page.index_ * bytes.size(), bytes));
  }
}

void Journal::copy_pages(Snapshot& snapshot, const std::vector<PageRef>& pages) const {
  size_t total = 0;
  for (const PageRef& page : pages) total += page->bytes_.size();
  snapshot.buffer = AlignedBuffer(std::max<size_t>(total, 1));
  size_t at = 0;
  for (const PageRef& page : pages) {
    const MutableBytes copy = snapshot.buffer.bytes().subspan(at, page->bytes_.size());
    if (page->kind() != PageKind::Raw) {
      // In the page first: the update sequence number must advance from one write to the next.
      protect(page->bytes_);
      std::copy(page->bytes_.begin(), page->bytes_.end(), copy.begin());
      ASSERT(try_unprotect(page->bytes_));
    } else {
      std::copy(page->bytes_.begin(), page->bytes_.end(), copy.begin());
    }
    add_writes(snapshot, *page, at);
    at += copy.size();
  }
}

Result<Journal::Snapshot> Journal::take_snapshot() {
  const ExclusiveLock lock(metadata_lock_);
  Snapshot snapshot;
  snapshot.start = log_->last_lsn();
  snapshot.interval = interval_;
  TRY(device_.flush());
  TRY(log_->flush_to(snapshot.start));
  std::erase_if(dirty_, [](const PageRef& page) { return !page->dirty_; });
  // In the order of the device, so that neighbours become one write.
  std::sort(dirty_.begin(), dirty_.end(), [](const PageRef& a, const PageRef& b) {
    const auto key = [](const PageRef& page) {
      return std::pair(page->place_.lcns.empty() ? 0 : page->place_.lcns[0].raw(),
                       page->place_.offset_in_cluster);
    };
    return key(a) < key(b);
  });
  copy_pages(snapshot, dirty_);
  for (const PageRef& page : dirty_) page->dirty_ = false;
  dirty_.clear();
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

Result<> Journal::write_snapshot(const Snapshot& snapshot) {
  constexpr size_t kMostBytes = 1 << 20;
  std::vector<IoRequest> merged;
  for (const IoRequest& write : snapshot.writes) {
    if (!merged.empty()) {
      IoRequest& last = merged.back();
      const bool continues = last.offset + last.memory.size() == write.offset &&
                             last.memory.data() + last.memory.size() == write.memory.data();
      if (continues && last.memory.size() < kMostBytes) {
        last.memory = {last.memory.data(), last.memory.size() + write.memory.size()};
        continue;
      }
    }
    merged.push_back(write);
  }
  TRY(device_.transfer(merged));
  return device_.flush();
}

ByteVector Journal::restart_record(lfs::Lsn start) const {
  ondisk::ClientRestart restart;
  restart.check_point_start = start;
  restart.bytes_per_cluster = geometry_.cluster_size;
  restart.oldest_lsn = start;
  const auto bytes = restart.encode();
  return {bytes.begin(), bytes.end()};
}

Result<> Journal::checkpoint_locked() {
  auto snapshot = take_snapshot();
  if (!snapshot) {
    fail(snapshot.error(), "a write of the log");
    return snapshot.error();
  }
  const auto written = write_snapshot(*snapshot);
  if (!written) {
    fail(written.error(), "a write of metadata");
    return written;
  }
  const auto restarted = log_->write_restart(restart_record(snapshot->start), snapshot->start);
  if (!restarted) {
    fail(restarted.error(), "a write of the log");
    return restarted.error();
  }
  trace(TraceEvent::Checkpoint, snapshot->interval, snapshot->writes.size());
  completed_.store(snapshot->interval, std::memory_order_release);
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
  auto closed = log_->close(restart_record(log_->last_lsn()));
  if (!closed) fail(closed.error(), "closing the log");
  return closed;
}

}  // namespace ntfs
