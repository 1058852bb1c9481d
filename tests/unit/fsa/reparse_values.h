#pragma once

// Reparse points as Windows makes them.

#include <string_view>

#include "core/base/little_endian.h"
#include "core/ondisk/reparse_point.h"
#include "core/ondisk/utf16.h"

namespace ntfs::testing {

enum class SymlinkIs { Absolute, Relative };

/// Both names are `target`. MS-FSCC 2.1.2.4 "Symbolic Link Reparse Data Buffer".
inline ByteVector symlink_value(std::u16string_view target, SymlinkIs kind) {
  const ByteVector name = ondisk::utf16_bytes(target);
  const auto length = le16::of(static_cast<uint16_t>(name.size()));
  ByteVector data(12);
  struct_at<le16>(MutableBytes(data), 2) = length;  // the substitute name's
  struct_at<le16>(MutableBytes(data), 6) = length;  // the print name's
  data[8] = static_cast<std::byte>(kind == SymlinkIs::Relative ? 1 : 0);
  data.insert(data.end(), name.begin(), name.end());
  return ondisk::build_reparse_point(ondisk::ReparseTag::Symlink, data);
}

/// No print name. MS-FSCC 2.1.2.5 "Mount Point Reparse Data Buffer".
inline ByteVector mount_point_value(std::u16string_view target) {
  const ByteVector name = ondisk::utf16_bytes(target);
  const auto length = static_cast<uint16_t>(name.size());
  ByteVector data(8);
  struct_at<le16>(MutableBytes(data), 2).set(length);
  struct_at<le16>(MutableBytes(data), 4).set(static_cast<uint16_t>(length + 2));
  data.insert(data.end(), name.begin(), name.end());
  data.resize(data.size() + 4);  // a NUL behind each
  return ondisk::build_reparse_point(ondisk::ReparseTag::MountPoint, data);
}

}  // namespace ntfs::testing
