#pragma once

// Views of bytes with checked access. `view_as` is the only cast from bytes to a structure.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/base/result.h"

namespace ntfs {

using ByteView = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using ByteVector = std::vector<std::byte>;

/// Where the bytes of a parse came from, for reports.
struct Origin {
  std::string_view structure;   ///< e.g. "file record", a literal; "" (given by a user): no report
  uint64_t file_reference = 0;  ///< raw FileReference of the file that holds it, or 0
  uint64_t position = 0;  ///< byte position in the volume or in the value, as the structure says
};

/// Reports a corruption (log line: structure, place, field, found) and returns FileCorruptError.
NtStatus corrupt(const Origin& origin, std::string_view field, uint64_t found);
/// The same with what was expected, as text.
NtStatus corrupt(const Origin& origin, std::string_view field, uint64_t found,
                 std::string_view expected);

/// `length` bytes of `bytes` from `offset`; FileCorruptError if they are not all there. Quiet: the
/// caller that knows the structure reports.
Result<ByteView> slice(ByteView bytes, uint64_t offset, uint64_t length);
Result<MutableBytes> slice(MutableBytes bytes, uint64_t offset, uint64_t length);

/// The first sizeof(T) bytes as a structure; FileCorruptError if there are fewer.
template <typename T>
Result<const T*> view_as(ByteView bytes) {
  static_assert(alignof(T) == 1 && std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof(T)) return NtStatus::FileCorruptError;
  return reinterpret_cast<const T*>(bytes.data());
}
template <typename T>
Result<T*> view_as(MutableBytes bytes) {
  static_assert(alignof(T) == 1 && std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof(T)) return NtStatus::FileCorruptError;
  return reinterpret_cast<T*>(bytes.data());
}

/// For bytes that are known to be long enough (already parsed, or made here): ASSERTs it.
template <typename T>
const T& struct_at(ByteView bytes, size_t offset = 0) {
  static_assert(alignof(T) == 1 && std::is_trivially_copyable_v<T>);
  ASSERT(offset <= bytes.size() && bytes.size() - offset >= sizeof(T));
  return *reinterpret_cast<const T*>(bytes.data() + offset);
}
template <typename T>
T& struct_at(MutableBytes bytes, size_t offset = 0) {
  static_assert(alignof(T) == 1 && std::is_trivially_copyable_v<T>);
  ASSERT(offset <= bytes.size() && bytes.size() - offset >= sizeof(T));
  return *reinterpret_cast<T*>(bytes.data() + offset);
}

/// The bytes of a structure.
template <typename T>
ByteView bytes_of(const T& object) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const std::byte*>(&object), sizeof(T)};
}
template <typename T>
MutableBytes mutable_bytes_of(T& object) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<std::byte*>(&object), sizeof(T)};
}

inline ByteView text_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// a + b, a * b; IntegerOverflow if the sum or product does not fit.
Result<uint64_t> checked_add(uint64_t a, uint64_t b);
Result<uint64_t> checked_multiply(uint64_t a, uint64_t b);

/// Smallest multiple of `unit` (a power of two) that is >= value; value must be <= 2^63.
constexpr uint64_t align_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) & ~(unit - 1);
}
constexpr uint64_t align_down(uint64_t value, uint64_t unit) { return value & ~(unit - 1); }
constexpr uint64_t divide_up(uint64_t value, uint64_t unit) {
  return value / unit + (value % unit != 0 ? 1 : 0);
}
constexpr bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

}  // namespace ntfs
