#include "core/ondisk/name_encoding.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ntfs::ondisk {

namespace {

constexpr char32_t kFirstHigh = 0xD800;
constexpr char32_t kFirstLow = 0xDC00;
constexpr char32_t kEndSurrogates = 0xE000;
constexpr char32_t kFirstEscape = 0xDC80;
constexpr char32_t kLastEscape = 0xDCFF;

constexpr bool is_high(char32_t unit) { return unit >= kFirstHigh && unit < kFirstLow; }
constexpr bool is_low(char32_t unit) { return unit >= kFirstLow && unit < kEndSurrogates; }
constexpr bool is_escape(char32_t unit) { return unit >= kFirstEscape && unit <= kLastEscape; }

/// A character, a lone surrogate (WTF-8), or one byte that is neither.
struct Token {
  char32_t value = 0;
  uint8_t length = 1;  ///< bytes
  bool is_bad = false;
};

/// Length of the sequence that `first` begins, and the bits that it gives; 0: none.
struct Lead {
  uint8_t length;
  char32_t bits;
  char32_t smallest;  ///< anything below is an overlong form
};

Lead lead_of(uint8_t first) {
  if (first < 0x80) return {1, first, 0};
  if (first >= 0xC2 && first < 0xE0) return {2, static_cast<char32_t>(first & 0x1F), 0x80};
  if (first >= 0xE0 && first < 0xF0) return {3, static_cast<char32_t>(first & 0x0F), 0x800};
  if (first >= 0xF0 && first < 0xF5) return {4, static_cast<char32_t>(first & 0x07), 0x10000};
  return {0, 0, 0};
}

Token next_token(std::string_view bytes) {
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  const Token bad{byte(0), 1, true};
  const Lead lead = lead_of(byte(0));
  if (lead.length == 0 || lead.length > bytes.size()) return bad;
  char32_t value = lead.bits;
  for (size_t i = 1; i < lead.length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return bad;
    value = value << 6 | (byte(i) & 0x3F);
  }
  if (value < lead.smallest || value > 0x10FFFF || is_escape(value)) return bad;
  return {value, lead.length, false};
}

void append_utf8(std::string& out, char32_t value) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) return put(value);
  if (value < 0x800) {
    put(0xC0 | value >> 6);
  } else {
    if (value < 0x10000) {
      put(0xE0 | value >> 12);
    } else {
      put(0xF0 | value >> 18);
      put(0x80 | (value >> 12 & 0x3F));
    }
    put(0x80 | (value >> 6 & 0x3F));
  }
  put(0x80 | (value & 0x3F));
}

}  // namespace

std::u16string name_units(std::string_view bytes) {
  std::vector<Token> tokens;
  tokens.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size(); at += tokens.back().length) {
    tokens.push_back(next_token(bytes.substr(at)));
  }
  // From the end, because a lone high surrogate depends on what follows it.
  std::u16string reversed;
  reversed.reserve(bytes.size());
  const auto put = [&](char32_t unit) { reversed.push_back(static_cast<char16_t>(unit)); };
  size_t end = bytes.size();
  for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) {
    const size_t begin = end - token->length;
    const bool would_pair = is_high(token->value) && !reversed.empty() && is_low(reversed.back());
    if (token->is_bad || would_pair) {
      for (size_t at = end; at > begin; --at) {
        put(kFirstLow + static_cast<uint8_t>(bytes[at - 1]));
      }
    } else if (token->value >= 0x10000) {
      put(kFirstLow + ((token->value - 0x10000) & 0x3FF));
      put(kFirstHigh + ((token->value - 0x10000) >> 10));
    } else {
      put(token->value);
    }
    end = begin;
  }
  std::reverse(reversed.begin(), reversed.end());
  return reversed;
}

std::string name_bytes(std::u16string_view units) {
  std::string bytes;
  bytes.reserve(units.size());
  for (size_t i = 0; i < units.size(); ++i) {
    const char32_t unit = units[i];
    if (is_high(unit) && i + 1 < units.size() && is_low(units[i + 1])) {
      append_utf8(bytes, 0x10000 + ((unit - kFirstHigh) << 10) + (units[i + 1] - kFirstLow));
      ++i;
    } else if (is_escape(unit)) {
      bytes.push_back(static_cast<char>(unit - kFirstLow));
    } else {
      append_utf8(bytes, unit);
    }
  }
  return bytes;
}

}  // namespace ntfs::ondisk
