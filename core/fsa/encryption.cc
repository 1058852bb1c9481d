// Encrypted files: what they hold is refused (Stream), the keys are told as they are stored, for
// backups.

#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"

namespace ntfs {

Result<ByteVector> ObjectStore::query_encryption(File& file) {
  const SharedLock lock(volume_->journal().metadata_lock());
  return read_small_value(*volume_, file.reference(), ondisk::AttributeType::LoggedUtilityStream,
                          u"$EFS");
}

}  // namespace ntfs
