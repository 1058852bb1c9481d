#include "lfs/read_context.h"

namespace ntfs::lfs {

Result<std::unique_ptr<ReadContext>> ReadContext::create(MarshallingArea& area, ReadMode mode) {
  uint32_t left = area.read_buffers_.load();
  do {
    if (left == 0) return NtStatus::LogBlocksExhausted;
  } while (!area.read_buffers_.compare_exchange_weak(left, left - 1));
  return std::unique_ptr<ReadContext>(new ReadContext(area, mode));
}

ReadContext::~ReadContext() { ++area_.read_buffers_; }

bool ReadContext::is_wanted(RecordFilter filter) const {
  switch (filter) {
    case RecordFilter::Data:
      return record_.is_client();
    case RecordFilter::Restart:
      return record_.is_restart();
    case RecordFilter::Any:
      return true;
  }
  return false;
}

/// Reads the record at `lsn`, of whatever stream.
Result<> ReadContext::go_to(Lsn lsn) {
  const std::optional<uint64_t> length = TRY(cursor_.length_at(lsn));
  if (!length) return NtStatus::LogRecordNonexistent;
  const auto record = TRY(cursor_.at(lsn));
  if (!record) return NtStatus::LogRecordNonexistent;
  record_ = *record;
  return {};
}

Result<> ReadContext::begin(Lsn start) {
  const SpaceInfo info = area_.stream().info();
  if (start.is_none()) return go_forward(TRY(cursor_.first_from(info.base)), RecordFilter::Any);
  if (start < info.base) return NtStatus::LogStartOfLog;
  TRY(go_to(start));
  if (record_.client_index != area_.stream().client()) return NtStatus::LogRecordNonexistent;
  if (record_.data.size() > area_.maximum_record_bytes()) return NtStatus::LogBlockIncomplete;
  return {};
}

/// The first record from `from` on that is of this stream and wanted.
Result<> ReadContext::go_forward(std::optional<Lsn> from, RecordFilter filter) {
  while (from) {
    TRY(go_to(*from));
    const bool ours = record_.client_index == area_.stream().client();
    if (ours && record_.data.size() > area_.maximum_record_bytes()) {
      return NtStatus::LogBlockIncomplete;
    }
    if (ours && is_wanted(filter)) return {};
    from = TRY(cursor_.following());
  }
  return NtStatus::EndOfFile;
}

Result<> ReadContext::follow(RecordFilter filter, Lsn override_lsn) {
  do {
    const bool overridden = !override_lsn.is_none();
    if (overridden && override_lsn >= record_.lsn) return NtStatus::InvalidParameter;
    Lsn link = mode_ == ReadMode::UndoNext ? record_.undo_next : record_.previous;
    if (overridden) link = override_lsn;
    override_lsn = Lsn();
    if (link.is_none()) {
      return record_.is_restart() ? NtStatus::LogStartOfLog : NtStatus::EndOfFile;
    }
    if (link < area_.stream().base()) return NtStatus::LogStartOfLog;
    // A damaged link must not lead in a circle.
    if (link >= record_.lsn) return NtStatus::LogBlockInvalid;
    TRY(begin(link));
  } while (!is_wanted(filter));
  return {};
}

Result<> ReadContext::next(RecordFilter filter, Lsn override_lsn) {
  if (busy_.exchange(true)) return NtStatus::DeviceBusy;
  Result<> done = NtStatus::EndOfFile;
  if (mode_ == ReadMode::Forward) {
    const auto from = override_lsn.is_none() ? cursor_.following() : NtStatus::InvalidParameter;
    done = from ? go_forward(*from, filter) : Result<>(from.error());
  } else if (mode_ != ReadMode::Record) {
    done = follow(filter, override_lsn);
  } else if (!override_lsn.is_none()) {
    done = NtStatus::InvalidParameter;
  }
  busy_ = false;
  return done;
}

}  // namespace ntfs::lfs
