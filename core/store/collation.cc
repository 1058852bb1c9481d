#include "core/store/collation.h"

#include <algorithm>

#include "core/base/little_endian.h"
#include "core/ondisk/attribute_values.h"

namespace ntfs {

namespace {

constexpr size_t kUnits = 0x10000;
constexpr size_t kUnitBytes = 2;

/// Code units of a name in memory or on disk: the comparison is one for both.
struct NativeUnits {
  std::u16string_view units;
  size_t size() const { return units.size(); }
  char16_t operator[](size_t i) const { return units[i]; }
  const void* at(size_t i) const { return units.data() + i; }
};
struct DiskUnits {
  ByteView bytes;
  size_t size() const { return bytes.size() / kUnitBytes; }
  char16_t operator[](size_t i) const {
    return static_cast<char16_t>(struct_at<le16>(bytes, i * kUnitBytes).get());
  }
  const void* at(size_t i) const { return bytes.data() + i * kUnitBytes; }
};

/// The first index from `i` on at which the names differ, or `common`. Four units at a time.
template <typename Units>
size_t skip_equal(const Units& a, const Units& b, size_t i, size_t common) {
  constexpr size_t kStep = sizeof(uint64_t) / kUnitBytes;
  while (common - i >= kStep) {
    uint64_t left;
    uint64_t right;
    std::memcpy(&left, a.at(i), sizeof(left));
    std::memcpy(&right, b.at(i), sizeof(right));
    if (left != right) break;
    i += kStep;
  }
  while (i < common && a[i] == b[i]) ++i;
  return i;
}

/// The order without regard to case; `by_unit`: by the first code unit that differs at all.
template <typename Units>
std::strong_ordering compare_folded(const Units& a, const Units& b, const UpCase& upcase,
                                    std::strong_ordering& by_unit) {
  const size_t common = std::min(a.size(), b.size());
  for (size_t i = skip_equal(a, b, 0, common); i < common; i = skip_equal(a, b, i + 1, common)) {
    const auto order = upcase(a[i]) <=> upcase(b[i]);
    if (order != 0) return order;
    if (by_unit == 0) by_unit = a[i] <=> b[i];
  }
  return a.size() <=> b.size();
}

template <typename Units>
std::strong_ordering compare_units(const Units& a, const Units& b, const UpCase& upcase) {
  std::strong_ordering by_unit = std::strong_ordering::equal;
  const auto folded = compare_folded(a, b, upcase, by_unit);
  return folded != 0 ? folded : by_unit;
}

template <typename Units>
bool equal_folded(const Units& a, const Units& b, const UpCase& upcase) {
  if (a.size() != b.size()) return false;
  std::strong_ordering by_unit = std::strong_ordering::equal;
  return compare_folded(a, b, upcase, by_unit) == 0;
}

std::strong_ordering compare_binary(ByteView a, ByteView b) {
  const size_t common = std::min(a.size(), b.size());
  const int order = common == 0 ? 0 : std::memcmp(a.data(), b.data(), common);
  return order != 0 ? order <=> 0 : a.size() <=> b.size();
}

/// Words of 32 bits, the first the most significant; then the shorter first.
std::strong_ordering compare_ulongs(ByteView a, ByteView b) {
  constexpr size_t kWord = sizeof(le32);
  const size_t common = align_down(std::min(a.size(), b.size()), kWord);
  for (size_t i = 0; i < common; i += kWord) {
    const auto order = struct_at<le32>(a, i).get() <=> struct_at<le32>(b, i).get();
    if (order != 0) return order;
  }
  return compare_binary(a.subspan(common), b.subspan(common));
}

}  // namespace

Result<UpCase> UpCase::parse(ByteView table) {
  const auto bytes = slice(table, 0, kUnits * kUnitBytes);
  if (!bytes) return corrupt({"$UpCase", 0, 0}, "length", table.size(), "128 KiB");
  std::vector<char16_t> units(kUnits);
  const DiskUnits from{*bytes};
  for (size_t i = 0; i < kUnits; ++i) units[i] = from[i];
  return UpCase(std::move(units));
}

std::strong_ordering compare_names(std::u16string_view a, std::u16string_view b,
                                   const UpCase& upcase) {
  return compare_units(NativeUnits{a}, NativeUnits{b}, upcase);
}

std::strong_ordering compare_names(ByteView a, ByteView b, const UpCase& upcase) {
  return compare_units(DiskUnits{a}, DiskUnits{b}, upcase);
}

bool equal_ignoring_case(std::u16string_view a, std::u16string_view b, const UpCase& upcase) {
  return equal_folded(NativeUnits{a}, NativeUnits{b}, upcase);
}

bool equal_ignoring_case(ByteView a, ByteView b, const UpCase& upcase) {
  return equal_folded(DiskUnits{a}, DiskUnits{b}, upcase);
}

ByteView name_in_key(ByteView key) {
  if (key.size() < sizeof(ondisk::FileNameHeader)) return {};
  const auto& header = struct_at<ondisk::FileNameHeader>(key);
  const ByteView rest = key.subspan(sizeof(ondisk::FileNameHeader));
  const size_t wanted = kUnitBytes * static_cast<size_t>(header.name_length);
  return rest.first(std::min(wanted, align_down(rest.size(), kUnitBytes)));
}

std::strong_ordering compare_keys(ondisk::Collation rule, ByteView a, ByteView b,
                                  const UpCase& upcase) {
  switch (rule) {
    case ondisk::Collation::FileName:
      return compare_names(name_in_key(a), name_in_key(b), upcase);
    case ondisk::Collation::UnicodeString:
      return compare_names(a, b, upcase);
    case ondisk::Collation::NtofsUlong:
    case ondisk::Collation::NtofsUlongs:
    case ondisk::Collation::NtofsSecurityHash:  // hash, then id
      return compare_ulongs(a, b);
    // A SID's second byte counts its sub-authorities: bytewise is shorter first.
    case ondisk::Collation::NtofsSid:
    case ondisk::Collation::Binary:
      break;
  }
  return compare_binary(a, b);
}

}  // namespace ntfs
