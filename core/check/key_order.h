#pragma once

// The order of index keys, and the $UpCase table it needs. The checker's own: the store has
// another.

#include <compare>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/ondisk/index_block.h"

namespace ntfs::check {

class UpCase {
 public:
  static constexpr size_t kTableBytes = 0x20000;

  UpCase() = default;
  /// `table`: kTableBytes, as in $UpCase.
  explicit UpCase(ByteView table);
  /// Without a table names cannot be compared.
  bool is_loaded() const { return !table_.empty(); }
  char16_t operator()(char16_t unit) const { return table_[unit]; }

 private:
  std::vector<char16_t> table_;
};

/// Without regard to case first; names that are equal then, by code unit.
std::strong_ordering compare_names(std::u16string_view a, std::u16string_view b,
                                   const UpCase& upcase);

/// Whether compare_keys knows the rule (with that table).
bool can_compare(ondisk::Collation rule, const UpCase& upcase);
/// Two keys under a rule that can_compare. File names: whole $FILE_NAME values, already checked.
std::strong_ordering compare_keys(ondisk::Collation rule, ByteView a, ByteView b,
                                  const UpCase& upcase);

}  // namespace ntfs::check
