#pragma once

// Space for records that will be written later: one set a transaction, or an area's own. A record
// that is written from a set takes the smallest reservation that is large enough for it, and cannot
// meet a full log. Costs are bytes of the log, headers and padding included; which reservation fits
// is decided by cost. Not thread safe: one owner.

#include <optional>
#include <span>
#include <vector>

#include "lfs/log_stream.h"

namespace ntfs::lfs {

class ReservationSet {
 public:
  /// Most records in one set.
  static constexpr uint32_t kMaximumRecords = 1 << 16;

  ReservationSet() = default;  ///< of no stream: holds nothing, nothing can be added
  explicit ReservationSet(LogStream stream) : stream_(stream) {}
  ~ReservationSet() { release_all(); }
  ReservationSet(ReservationSet&& other) noexcept;
  ReservationSet& operator=(ReservationSet&& other) noexcept;

  uint32_t records() const { return records_; }
  /// Sum of the costs.
  uint64_t bytes() const { return bytes_; }

  /// Reserves for each positive element, client data bytes of a record; releases for each negative
  /// one the reservation of that size, else the nearest one, else of two the larger. All or
  /// nothing; then each element holds the cost, negative where released. Errors: InvalidParameter
  /// (an element 0), LogFileFull, LogRecordsReservedInvalid (nothing to release),
  /// InsufficientResources (too many), the log's.
  Result<> add(std::span<int64_t> sizes);
  /// Releases `records` reservations of `bytes` together. LogRecordsReservedInvalid: there are
  /// fewer records. LogSpaceReservedInvalid: no such reservations have these costs.
  Result<> release(uint32_t records, uint64_t bytes);
  /// Releases all but `records` reservations of `bytes` together. Errors as release().
  Result<> reduce_to(uint32_t records, uint64_t bytes);
  /// Releases what is left, and what was set aside.
  void release_all();

  /// Sets `bytes` aside, for whatever calls with this set append and reserve: they take it before
  /// what is free in the log. LogFileFull.
  Result<> set_aside(uint64_t bytes);
  uint64_t set_aside_bytes() const { return set_aside_; }

 private:
  friend class MarshallingArea;
  struct Size {
    uint64_t cost = 0;
    uint32_t count = 0;
  };
  /// What a call changes: worked out before it, made true when the log has agreed.
  struct Plan {
    SpaceChange change;
    uint64_t from_set_aside = 0;
    uint64_t consumed = 0;           ///< cost of the reservation that a record takes, or 0
    std::vector<uint64_t> released;  ///< costs, for the negative elements in order
  };

  Result<Plan> plan_reserve(std::span<const int64_t> sizes, uint64_t record_cost) const;
  Result<Plan> plan_consume(uint64_t record_cost) const;
  void apply(const Plan& plan, std::span<int64_t> sizes);
  void insert(uint64_t cost);
  void remove(uint64_t cost);

  std::optional<LogStream> stream_;
  std::vector<Size> sizes_;  // by cost
  uint32_t records_ = 0;
  uint64_t bytes_ = 0;
  uint64_t set_aside_ = 0;
};

}  // namespace ntfs::lfs
