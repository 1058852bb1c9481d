#include "lfs/marshalling_area.h"

#include <algorithm>
#include <limits>

#include "lfs/read_context.h"

namespace ntfs::lfs {

MarshallingArea::MarshallingArea(LogStream stream, uint64_t maximum_record_bytes,
                                 uint32_t read_buffers)
    : stream_(stream),
      maximum_record_bytes_(std::min(maximum_record_bytes, stream.log().maximum_record_bytes())),
      read_buffers_(read_buffers),
      all_read_buffers_(read_buffers),
      reservations_(stream) {}

MarshallingArea::~MarshallingArea() {
  ASSERT(read_buffers_ == all_read_buffers_);
  stream_.log().count_abandoned(stream_.client(), reservations_.records());
  // A log that has failed has told everybody who asked.
  if (stream_.log().kind() == LogKind::Private) static_cast<void>(flush());
}

// ---- Appending ----------------------------------------------------------------------------------

/// Whether `entries` can be one record.
bool MarshallingArea::is_sound(std::span<const ByteView> entries, uint64_t alignment) const {
  if (entries.data() == nullptr && !entries.empty()) return false;
  uint64_t total = 0;
  for (const ByteView entry : entries) {
    if (entry.data() == nullptr && !entry.empty()) return false;
    if (entry.size() > maximum_record_bytes_) return false;
    total = align_up(total, alignment) + entry.size();
    if (total > maximum_record_bytes_) return false;
  }
  return true;
}

Result<> MarshallingArea::check(const AppendRequest& request) const {
  const bool uses_reservation = has_flag(request.flags, AppendFlags::UseReservation);
  const bool forces = has_flag(request.flags, AppendFlags::ForceAppend | AppendFlags::ForceFlush);
  const bool flags_fit = request.entries.empty()
                             ? !uses_reservation && (!request.reserve.empty() || forces)
                             : !uses_reservation || request.reserve.empty();
  const bool sound = is_power_of_two(request.entry_alignment) &&
                     is_sound(request.entries, request.entry_alignment) &&
                     (request.reserve.data() != nullptr || request.reserve.empty());
  return flags_fit && sound ? Result<>() : Result<>(NtStatus::InvalidParameter);
}

Result<Appended> MarshallingArea::reserve_and_append(const AppendRequest& request,
                                                     ReservationSet& set) {
  TRY(check(request));
  if (set.stream_ != stream_) return NtStatus::InvalidParameter;
  LogFile& log = stream_.log();
  const Record record{request.transaction_id, request.previous, request.undo_next, request.entries,
                      request.entry_alignment};
  const bool appends = !request.entries.empty();
  const uint64_t cost = appends ? log.cost_of(record.data_bytes()) : 0;
  const bool uses_reservation = has_flag(request.flags, AppendFlags::UseReservation);
  auto planned =
      uses_reservation ? set.plan_consume(cost) : set.plan_reserve(request.reserve, cost);
  const ReservationSet::Plan plan = TRY(std::move(planned));
  const Appended appended =
      TRY(log.execute(stream_.client(), appends ? &record : nullptr, plan.change));
  set.apply(plan, request.reserve);

  if (has_flag(request.flags, AppendFlags::ForceFlush)) {
    if (!log.flush_to(appends ? appended.lsn : log.last_lsn())) {
      return NtStatus::LogAppendedFlushFailed;
    }
  } else if (has_flag(request.flags, AppendFlags::ForceAppend)) {
    log.queue_flush();
  }
  return appended;
}

Result<Lsn> MarshallingArea::flush_to(Lsn lsn) {
  LogFile& log = stream_.log();
  const Lsn last = log.last_lsn();
  if (lsn > last) return NtStatus::InvalidParameter;
  TRY(log.flush_to(lsn.is_none() ? last : lsn));
  return log.durable_end();
}

Result<Appended> MarshallingArea::write_restart_area(std::span<const ByteView> entries,
                                                     Lsn new_base, AppendFlags flags) {
  if (flags != AppendFlags::None && flags != AppendFlags::UseReservation) {
    return NtStatus::InvalidParameter;
  }
  if (!is_sound(entries, 1)) return NtStatus::InvalidParameter;
  LogFile& log = stream_.log();
  ReservationSet::Plan plan;
  if (flags == AppendFlags::UseReservation) {
    const Record record{0, Lsn(), Lsn(), entries};
    plan = TRY(reservations_.plan_consume(log.cost_of(record.data_bytes())));
  }
  const auto written = log.write_restart(stream_.client(), entries, new_base, plan.change);
  const bool appended = written || written.error() == NtStatus::LogAppendedFlushFailed;
  if (appended) reservations_.apply(plan, {});
  if (!written) return written.error();
  return *written;
}

// ---- Reservations -------------------------------------------------------------------------------

Result<ReservationPlan> MarshallingArea::align_reserved(std::span<const int64_t> sizes) const {
  ReservationPlan plan;
  for (const int64_t size : sizes) {
    if (size <= 0 || size > std::numeric_limits<uint32_t>::max()) return NtStatus::InvalidParameter;
    plan.total_bytes_ += stream_.log().cost_of(static_cast<uint64_t>(size));
  }
  plan.sizes_.assign(sizes.begin(), sizes.end());
  return plan;
}

Result<> MarshallingArea::alloc_reserved(const ReservationPlan& plan) {
  if (plan.sizes_.empty()) return NtStatus::InvalidParameter;
  std::vector<int64_t> sizes = plan.sizes_;
  return reservations_.add(sizes);
}

Result<> MarshallingArea::free_reserved(uint32_t records, int64_t adjustment) {
  if (adjustment < 0) return reservations_.release(records, -static_cast<uint64_t>(adjustment));
  return reservations_.reduce_to(records, static_cast<uint64_t>(adjustment));
}

// ---- Reading ------------------------------------------------------------------------------------

Result<std::unique_ptr<ReadContext>> MarshallingArea::read(Lsn start, ReadMode mode) {
  auto context = TRY(ReadContext::create(*this, mode));
  TRY(context->begin(start));
  return context;
}

Result<std::unique_ptr<ReadContext>> MarshallingArea::read_restart() {
  const Lsn newest = stream_.info().newest_restart;
  if (newest.is_none()) return NtStatus::LogNoRestart;
  auto context = TRY(ReadContext::create(*this, ReadMode::Previous));
  TRY(context->begin(newest));
  return context;
}

}  // namespace ntfs::lfs
