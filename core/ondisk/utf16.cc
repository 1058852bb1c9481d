#include "core/ondisk/utf16.h"

#include <fmt/format.h>

#include "core/base/little_endian.h"

namespace ntfs::ondisk {

namespace {

char16_t unit_at(ByteView bytes, size_t index) {
  return static_cast<char16_t>(struct_at<le16>(bytes, 2 * index).get());
}

bool is_high_surrogate(char32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_low_surrogate(char32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | (code >> 6));
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | (code >> 12));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | (code >> 18));
    put(0x80 | ((code >> 12) & 0x3F));
    put(0x80 | ((code >> 6) & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

}  // namespace

std::u16string utf16_from(ByteView bytes) {
  std::u16string text(bytes.size() / 2, u'\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = unit_at(bytes, i);
  return text;
}

bool utf16_equals(ByteView bytes, std::u16string_view text) {
  if (bytes.size() != 2 * text.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (unit_at(bytes, i) != text[i]) return false;
  }
  return true;
}

ByteVector utf16_bytes(std::u16string_view text) {
  ByteVector bytes(2 * text.size());
  put_utf16(bytes, text);
  return bytes;
}

void put_utf16(MutableBytes into, std::u16string_view text) {
  for (size_t i = 0; i < text.size(); ++i) struct_at<le16>(into, 2 * i).set(text[i]);
}

std::string to_display(std::u16string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char32_t unit = text[i];
    const char32_t next = i + 1 < text.size() ? text[i + 1] : 0;
    if (is_high_surrogate(unit) && is_low_surrogate(next)) {
      append_utf8(out, 0x10000 + ((unit - 0xD800) << 10) + (next - 0xDC00));
      ++i;
    } else if (unit < 0x20 || (unit >= 0x7F && unit < 0xA0) || (unit >= 0xD800 && unit < 0xE000)) {
      out += fmt::format("\\u{:04X}", static_cast<uint32_t>(unit));
    } else {
      append_utf8(out, unit);
    }
  }
  return out;
}

}  // namespace ntfs::ondisk
