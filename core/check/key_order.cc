#include "core/check/key_order.h"

#include <algorithm>

#include "core/base/little_endian.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/utf16.h"

namespace ntfs::check {

using ondisk::Collation;

UpCase::UpCase(ByteView table) {
  ASSERT(table.size() == kTableBytes);
  table_.reserve(kTableBytes / 2);
  for (size_t i = 0; i < kTableBytes; i += 2) {
    table_.push_back(static_cast<char16_t>(struct_at<le16>(table, i).get()));
  }
}

std::strong_ordering compare_names(std::u16string_view a, std::u16string_view b,
                                   const UpCase& upcase) {
  const size_t common = std::min(a.size(), b.size());
  for (size_t i = 0; i < common; ++i) {
    if (a[i] == b[i]) continue;
    const auto order = upcase(a[i]) <=> upcase(b[i]);
    if (order != 0) return order;
  }
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

namespace {

std::strong_ordering compare_ulongs(ByteView a, ByteView b) {
  const size_t common = std::min(a.size(), b.size()) / 4 * 4;
  for (size_t i = 0; i < common; i += 4) {
    const auto order = struct_at<le32>(a, i).get() <=> struct_at<le32>(b, i).get();
    if (order != 0) return order;
  }
  return a.size() <=> b.size();
}

std::strong_ordering compare_binary(ByteView a, ByteView b) {
  const size_t common = std::min(a.size(), b.size());
  const int order = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
  return order != 0 ? order <=> 0 : a.size() <=> b.size();
}

std::u16string name_in(ByteView key) {
  const auto& header = struct_at<ondisk::FileNameHeader>(key);
  return ondisk::utf16_from(
      key.subspan(sizeof(ondisk::FileNameHeader), 2 * static_cast<size_t>(header.name_length)));
}

}  // namespace

bool can_compare(Collation rule, const UpCase& upcase) {
  switch (rule) {
    case Collation::FileName:
      return upcase.is_loaded();
    case Collation::Binary:
    case Collation::NtofsUlong:
    case Collation::NtofsSecurityHash:
    case Collation::NtofsUlongs:
      return true;
    case Collation::UnicodeString:
    case Collation::NtofsSid:
      return false;
  }
  return false;
}

std::strong_ordering compare_keys(Collation rule, ByteView a, ByteView b, const UpCase& upcase) {
  switch (rule) {
    case Collation::FileName:
      return compare_names(name_in(a), name_in(b), upcase);
    case Collation::NtofsUlong:
    case Collation::NtofsSecurityHash:
    case Collation::NtofsUlongs:
      return compare_ulongs(a, b);
    default:
      return compare_binary(a, b);
  }
}

}  // namespace ntfs::check
