#pragma once

// The upper case table that a new volume gets in $UpCase. Equal to what Windows Vista to 10 write.
// Source: the rule in scripts/make_upcase.py, compared with volumes that Windows made.

#include <vector>

#include "core/base/bytes.h"

namespace ntfs {

constexpr size_t kUpCaseUnits = 65536;
constexpr size_t kUpCaseBytes = 2 * kUpCaseUnits;

/// kUpCaseUnits code units, each with its upper case.
std::vector<char16_t> default_upcase_table();
/// The same as the value of $UpCase: kUpCaseBytes, UTF-16LE.
ByteVector default_upcase_bytes();

}  // namespace ntfs
