#pragma once

// Little-endian integers as they stand on disk: byte arrays, alignment 1, no implicit conversions.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace ntfs {

template <typename T>
class LittleEndian {
  static_assert(std::is_unsigned_v<T>);

 public:
  constexpr LittleEndian() = default;
  static constexpr LittleEndian of(T value) {
    LittleEndian result;
    result.set(value);
    return result;
  }

  constexpr T get() const {
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) {
      value = static_cast<T>(value | (static_cast<T>(bytes_[i]) << (8 * i)));
    }
    return value;
  }
  constexpr void set(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_[i] = static_cast<uint8_t>(value >> (8 * i));
  }

  friend constexpr bool operator==(const LittleEndian&, const LittleEndian&) = default;

 private:
  std::array<uint8_t, sizeof(T)> bytes_{};
};

using le16 = LittleEndian<uint16_t>;
using le32 = LittleEndian<uint32_t>;
using le64 = LittleEndian<uint64_t>;
static_assert(sizeof(le64) == 8 && alignof(le64) == 1 && std::is_trivially_copyable_v<le64>);

}  // namespace ntfs
