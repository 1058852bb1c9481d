#pragma once

// The file record of $Extend\$UsnJrnl as a journal begins: no record in $J yet.
// Source: fact sheet of the change journal, "Where it lives".

#include <string_view>

#include "core/base/bytes.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/boot_sector.h"
#include "usn/journal.h"

namespace ntfs {

constexpr std::u16string_view kUsnFileName = u"$UsnJrnl";
constexpr std::u16string_view kUsnRecords = u"$J";
constexpr std::u16string_view kUsnMaximum = u"$Max";

/// The value of its $FILE_NAME.
ByteVector build_usn_file_name(ondisk::FileTime time);

/// The whole record, unprotected. `self`: what it will be referred to by.
ByteVector build_usn_file(const ondisk::VolumeGeometry& geometry, FileReference self,
                          uint32_t security_id, const usn::JournalInformation& information);

}  // namespace ntfs
