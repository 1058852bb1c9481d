#include "fuse/byte_size.h"

#include <fmt/format.h>

#include <charconv>

namespace ntfs::frontend {

namespace {

constexpr std::string_view kUnits = "KMGTPE";

/// Shift of a suffix like "K", "KiB", "kb"; nothing for what is none.
std::optional<unsigned> shift_of(std::string_view suffix) {
  if (suffix.empty() || suffix == "B" || suffix == "b") return 0;
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; };
  const size_t unit = kUnits.find(upper(suffix[0]));
  if (unit == std::string_view::npos) return std::nullopt;
  const std::string_view rest = suffix.substr(1);
  if (!rest.empty() && rest != "iB" && rest != "ib" && rest != "B" && rest != "b" && rest != "i") {
    return std::nullopt;
  }
  return 10 * (static_cast<unsigned>(unit) + 1);
}

}  // namespace

std::optional<uint64_t> parse_byte_size(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr == text.data()) return std::nullopt;
  const auto shift = shift_of({parsed.ptr, static_cast<size_t>(end - parsed.ptr)});
  if (!shift || (value << *shift) >> *shift != value) return std::nullopt;
  return value << *shift;
}

std::string format_byte_size(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  size_t unit = 0;
  uint64_t scale = 1024;
  while (unit + 1 < kUnits.size() && bytes / scale >= 1024) {
    scale *= 1024;
    ++unit;
  }
  if (bytes % scale == 0) return fmt::format("{} {}iB", bytes / scale, kUnits[unit]);
  return fmt::format("{:.1f} {}iB", static_cast<double>(bytes) / static_cast<double>(scale),
                     kUnits[unit]);
}

}  // namespace ntfs::frontend
