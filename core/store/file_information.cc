#include "core/store/file_information.h"

namespace ntfs {

void FileInformation::take(const ondisk::StandardInformation& standard) {
  creation_time = ondisk::FileTime::from_raw(standard.creation_time.get());
  last_write_time = ondisk::FileTime::from_raw(standard.last_write_time.get());
  change_time = ondisk::FileTime::from_raw(standard.change_time.get());
  last_access_time = ondisk::FileTime::from_raw(standard.last_access_time.get());
  file_attributes = standard.file_attributes.get();
  security_id = standard.security_id.get();
}

bool RecordMemo::is_current() const {
  const auto record = page.lock();
  return record != nullptr && record->changes() == changes;
}

}  // namespace ntfs
