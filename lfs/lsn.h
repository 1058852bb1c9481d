#pragma once

// Log sequence number: the position of a log record. Ordered; never reused during a volume's life.

#include <compare>
#include <cstdint>

namespace ntfs::lfs {

/// (sequence << file data bits) | (file offset of the record header >> 3); 0 is "none".
class Lsn {
 public:
  constexpr Lsn() = default;
  static constexpr Lsn from_raw(uint64_t raw) {
    Lsn lsn;
    lsn.value_ = raw;
    return lsn;
  }
  constexpr uint64_t raw() const { return value_; }
  constexpr bool is_none() const { return value_ == 0; }
  friend constexpr auto operator<=>(Lsn, Lsn) = default;

 private:
  uint64_t value_ = 0;
};

}  // namespace ntfs::lfs
