#pragma once

// Key order of the indexes ([MS-FSCC], COLLATION_* of $INDEX_ROOT) and the volume's $UpCase table.

#include <array>
#include <compare>
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/ondisk/index_block.h"

namespace ntfs {

/// 65536 UTF-16 code units, each with its upper case.
class UpCase {
 public:
  /// `table`: 128 KiB as in $UpCase; FileCorruptError when it is shorter.
  static Result<UpCase> parse(ByteView table);
  char16_t operator()(char16_t unit) const { return table_[unit]; }

 private:
  explicit UpCase(std::vector<char16_t> table) : table_(std::move(table)) {}
  std::vector<char16_t> table_;
};

/// Order of names in $I30: first without regard to case, then (equal but for case) by code unit.
std::strong_ordering compare_names(std::u16string_view a, std::u16string_view b,
                                   const UpCase& upcase);
/// Equal without regard to case.
bool equal_ignoring_case(std::u16string_view a, std::u16string_view b, const UpCase& upcase);

/// The same for names as they stand on disk, UTF-16LE.
std::strong_ordering compare_names(ByteView a, ByteView b, const UpCase& upcase);
bool equal_ignoring_case(ByteView a, ByteView b, const UpCase& upcase);

/// Order of two index keys under `rule`. For COLLATION_FILENAME the keys are $FILE_NAME values (or
/// at least their first 0x42 bytes and the name). Any bytes are safe; a rule that is not known
/// orders as COLLATION_BINARY.
std::strong_ordering compare_keys(ondisk::Collation rule, ByteView a, ByteView b,
                                  const UpCase& upcase);

/// The name, UTF-16LE, in a $FILE_NAME value; what there is of it where the value is too short.
ByteView name_in_key(ByteView key);

}  // namespace ntfs
