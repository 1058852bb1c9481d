#pragma once

// What the system files of a new volume contain: their file records, and the index of the root
// directory.

#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/ondisk/attribute_values.h"
#include "core/store/default_security.h"
#include "core/store/format_layout.h"
#include "usn/journal.h"

namespace ntfs {

struct SystemFileInit {
  const VolumeLayout& layout;       // must outlive the object
  const DefaultSecurity& security;  // likewise
  std::u16string_view label;
  ondisk::FileTime time;
  std::optional<usn::JournalInformation> usn{};  ///< none: without a change journal
};

/// The records 0 to layout.mft_records - 1, unprotected, each of the volume's record size. Those
/// that no file has are free.
std::vector<ByteVector> build_system_records(const SystemFileInit& init);

/// The one index block of the root directory, unprotected.
ByteVector build_root_index_block(const SystemFileInit& init);

/// The value of $MFT's $BITMAP: layout.mft_bitmap_bytes().
ByteVector build_mft_bitmap(const VolumeLayout& layout);

}  // namespace ntfs
