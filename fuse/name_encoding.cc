#include "fuse/name_encoding.h"

#include "core/ondisk/attribute_values.h"

namespace ntfs::frontend {

Result<std::u16string> name_from_kernel(std::string_view bytes) {
  std::u16string units = name_units(bytes);
  if (units.size() > ondisk::kMaxNameUnits) return NtStatus::NameTooLong;
  return units;
}

}  // namespace ntfs::frontend
