#include "lfs/reservation_set.h"

#include <algorithm>
#include <utility>

namespace ntfs::lfs {

namespace {

/// Of combinations looked at for one release of several records.
constexpr int kMaximumSteps = 1 << 16;

uint64_t distance(uint64_t a, uint64_t b) { return a > b ? a - b : b - a; }

/// Client data bytes of a reservation that no log has room for.
constexpr uint64_t kNotReservable = uint64_t{1} << 40;

}  // namespace

ReservationSet::ReservationSet(ReservationSet&& other) noexcept
    : stream_(std::exchange(other.stream_, std::nullopt)),
      sizes_(std::exchange(other.sizes_, {})),
      records_(std::exchange(other.records_, 0)),
      bytes_(std::exchange(other.bytes_, 0)),
      set_aside_(std::exchange(other.set_aside_, 0)) {}

ReservationSet& ReservationSet::operator=(ReservationSet&& other) noexcept {
  if (this == &other) return *this;
  release_all();
  stream_ = std::exchange(other.stream_, std::nullopt);
  sizes_ = std::exchange(other.sizes_, {});
  records_ = std::exchange(other.records_, 0);
  bytes_ = std::exchange(other.bytes_, 0);
  set_aside_ = std::exchange(other.set_aside_, 0);
  return *this;
}

// ---- Sizes --------------------------------------------------------------------------------------

void ReservationSet::insert(uint64_t cost) {
  const auto at = std::lower_bound(sizes_.begin(), sizes_.end(), cost,
                                   [](const Size& size, uint64_t c) { return size.cost < c; });
  if (at != sizes_.end() && at->cost == cost) {
    ++at->count;
  } else {
    sizes_.insert(at, {cost, 1});
  }
  ++records_;
  bytes_ += cost;
}

void ReservationSet::remove(uint64_t cost) {
  const auto at = std::lower_bound(sizes_.begin(), sizes_.end(), cost,
                                   [](const Size& size, uint64_t c) { return size.cost < c; });
  ASSERT(at != sizes_.end() && at->cost == cost);
  if (--at->count == 0) sizes_.erase(at);
  --records_;
  bytes_ -= cost;
}

// ---- Plans --------------------------------------------------------------------------------------

/// Reserves and releases `sizes`, beside a record of `record_cost` (0: none) that takes no
/// reservation.
Result<ReservationSet::Plan> ReservationSet::plan_reserve(std::span<const int64_t> sizes,
                                                          uint64_t record_cost) const {
  Plan plan;
  std::vector<Size> left;
  for (const int64_t size : sizes) {
    if (size == 0) return NtStatus::InvalidParameter;
    if (size > 0) {
      if (static_cast<uint64_t>(size) >= kNotReservable) return NtStatus::LogFileFull;
      plan.change.taken_bytes += stream_->log().cost_of(static_cast<uint64_t>(size));
      ++plan.change.taken_records;
      continue;
    }
    if (plan.released.empty()) left = sizes_;
    const uint64_t wanted = stream_->log().cost_of(-static_cast<uint64_t>(size));
    auto nearest = left.end();
    for (auto at = left.begin(); at != left.end(); ++at) {
      if (at->count == 0) continue;
      if (nearest == left.end() || distance(at->cost, wanted) <= distance(nearest->cost, wanted)) {
        nearest = at;
      }
    }
    if (nearest == left.end()) return NtStatus::LogRecordsReservedInvalid;
    --nearest->count;
    plan.released.push_back(nearest->cost);
    plan.change.given_up_bytes += nearest->cost;
    ++plan.change.given_up_records;
  }
  if (!sizes.empty() && sizes.size() > kMaximumRecords - std::min(records_, kMaximumRecords)) {
    return NtStatus::InsufficientResources;
  }
  const uint64_t wanted = plan.change.taken_bytes + record_cost;
  plan.from_set_aside = std::min(set_aside_, wanted);
  plan.change.given_up_bytes += plan.from_set_aside;
  return plan;
}

/// Takes the smallest reservation for a record of `record_cost`. LogReservationInvalid: none is
/// large enough.
Result<ReservationSet::Plan> ReservationSet::plan_consume(uint64_t record_cost) const {
  const auto at = std::lower_bound(sizes_.begin(), sizes_.end(), record_cost,
                                   [](const Size& size, uint64_t c) { return size.cost < c; });
  if (at == sizes_.end()) return NtStatus::LogReservationInvalid;
  Plan plan;
  plan.consumed = at->cost;
  plan.change.given_up_bytes = at->cost;
  plan.change.given_up_records = 1;
  return plan;
}

void ReservationSet::apply(const Plan& plan, std::span<int64_t> sizes) {
  if (plan.consumed != 0) remove(plan.consumed);
  if (plan.from_set_aside != 0) set_aside_ -= plan.from_set_aside;
  size_t released = 0;
  for (int64_t& size : sizes) {
    if (size < 0) {
      const uint64_t cost = plan.released[released++];
      remove(cost);
      size = -static_cast<int64_t>(cost);
    } else {
      const uint64_t cost = stream_->log().cost_of(static_cast<uint64_t>(size));
      insert(cost);
      size = static_cast<int64_t>(cost);
    }
  }
}

// ---- Calls --------------------------------------------------------------------------------------

Result<> ReservationSet::add(std::span<int64_t> sizes) {
  if (!stream_) return NtStatus::InvalidParameter;
  const Plan plan = TRY(plan_reserve(sizes, 0));
  TRY(stream_->log().execute(stream_->client(), nullptr, plan.change));
  apply(plan, sizes);
  return {};
}

Result<> ReservationSet::release(uint32_t records, uint64_t bytes) {
  if (records > records_) return NtStatus::LogRecordsReservedInvalid;
  // A walk over how many of each size, largest first, that add up to both; bounded.
  std::vector<uint32_t> taken(sizes_.size(), 0);
  uint32_t records_left = records;
  uint64_t bytes_left = bytes;
  size_t at = sizes_.size();
  for (int step = 0; records_left != 0 || bytes_left != 0; ++step) {
    if (step == kMaximumSteps) return NtStatus::LogSpaceReservedInvalid;
    if (at > 0) {
      --at;
      const Size& size = sizes_[at];
      const uint64_t most = std::min<uint64_t>({size.count, records_left, bytes_left / size.cost});
      taken[at] = static_cast<uint32_t>(most);
      records_left -= taken[at];
      bytes_left -= most * size.cost;
      continue;
    }
    // Back to the smallest size of which one fewer can be taken.
    while (at < taken.size() && taken[at] == 0) ++at;
    if (at == taken.size()) return NtStatus::LogSpaceReservedInvalid;
    --taken[at];
    ++records_left;
    bytes_left += sizes_[at].cost;
  }
  SpaceChange change;
  change.given_up_bytes = bytes;
  change.given_up_records = records;
  if (records != 0) stream_->log().release(stream_->client(), change);
  for (size_t i = 0; i < taken.size(); ++i) sizes_[i].count -= taken[i];
  std::erase_if(sizes_, [](const Size& size) { return size.count == 0; });
  records_ -= records;
  bytes_ -= bytes;
  return {};
}

Result<> ReservationSet::reduce_to(uint32_t records, uint64_t bytes) {
  if (records > records_) return NtStatus::LogRecordsReservedInvalid;
  if (bytes > bytes_) return NtStatus::LogSpaceReservedInvalid;
  return release(records_ - records, bytes_ - bytes);
}

void ReservationSet::release_all() {
  if (records_ == 0 && set_aside_ == 0) return;
  SpaceChange change;
  change.given_up_bytes = bytes_ + set_aside_;
  change.given_up_records = records_;
  stream_->log().release(stream_->client(), change);
  sizes_.clear();
  records_ = 0;
  bytes_ = set_aside_ = 0;
}

Result<> ReservationSet::set_aside(uint64_t bytes) {
  if (!stream_) return NtStatus::InvalidParameter;
  SpaceChange change;
  change.taken_bytes = bytes;
  TRY(stream_->log().execute(stream_->client(), nullptr, change));
  set_aside_ += bytes;
  return {};
}

}  // namespace ntfs::lfs
