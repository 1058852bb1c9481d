#pragma once

// Usn: a position in the change journal.

#include <compare>
#include <cstdint>

namespace ntfs::usn {

/// Update sequence number of the change journal: byte offset of a record in $UsnJrnl:$J. In a
/// file's $STANDARD_INFORMATION 0 says "none"; in $J itself the first record may stand at 0.
class Usn {
 public:
  constexpr Usn() = default;
  static constexpr Usn from_raw(uint64_t raw) {
    Usn usn;
    usn.value_ = raw;
    return usn;
  }
  constexpr uint64_t raw() const { return value_; }
  friend constexpr auto operator<=>(Usn, Usn) = default;

 private:
  uint64_t value_ = 0;
};

}  // namespace ntfs::usn
