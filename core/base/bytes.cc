#include "core/base/bytes.h"

#include <fmt/format.h>

#include <string>

#include "core/base/trace.h"

namespace ntfs {

NtStatus corrupt(const Origin& origin, std::string_view field, uint64_t found) {
  return corrupt(origin, field, found, {});
}

NtStatus corrupt(const Origin& origin, std::string_view field, uint64_t found,
                 std::string_view expected) {
  if (origin.structure.empty()) return NtStatus::FileCorruptError;
  std::string line = fmt::format("corrupt {}", origin.structure);
  if (origin.file_reference != 0) {
    const uint64_t record = origin.file_reference & 0xFFFFFFFFFFFFu;
    line += fmt::format(" of file {}-{}", record, origin.file_reference >> 48);
  }
  line += fmt::format(" at {:#x}: {} is {:#x}", origin.position, field, found);
  if (!expected.empty()) line += fmt::format(", expected {}", expected);
  report_corruption(line);
  return NtStatus::FileCorruptError;
}

Result<ByteView> slice(ByteView bytes, uint64_t offset, uint64_t length) {
  if (offset > bytes.size() || length > bytes.size() - offset) return NtStatus::FileCorruptError;
  return bytes.subspan(offset, length);
}

Result<MutableBytes> slice(MutableBytes bytes, uint64_t offset, uint64_t length) {
  if (offset > bytes.size() || length > bytes.size() - offset) return NtStatus::FileCorruptError;
  return bytes.subspan(offset, length);
}

Result<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return NtStatus::IntegerOverflow;
  return sum;
}

Result<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return NtStatus::IntegerOverflow;
  return product;
}

}  // namespace ntfs
