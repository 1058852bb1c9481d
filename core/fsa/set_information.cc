// MS-FSA 2.1.5.15.2 "FileBasicInformation"; and what WSL keeps in extended attributes.

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"
#include "core/store/attributes.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

/// A value that surely fits beside the rest of a base record.
constexpr size_t kResidentEaBytes = 400;

Result<> set_linux_metadata(Transaction& transaction, Volume& volume, FileReference file,
                            const LinuxMetadata& metadata) {
  TRY(volume.mft().base_record(file));
  std::vector<ondisk::Ea> eas;
  const auto old = read_small_value(volume, file, AttributeType::Ea);
  if (!old && old.error() != NtStatus::ObjectNameNotFound) return old.error();
  if (old) eas = TRY(ondisk::parse_eas(*old, {"$EA", file.raw(), 0}));
  put_linux_metadata(metadata, eas);
  const auto information = TRY(ondisk::ea_information_of(eas));
  const ByteVector value = ondisk::build_eas(eas);
  if (old) TRY(remove_small_value(transaction, volume, file, AttributeType::Ea));
  Attributes attributes(volume, file);
  TRY(attributes.set_value(transaction, AttributeType::EaInformation, u"", bytes_of(information)));
  return insert_small_value(transaction, volume, file, AttributeType::Ea, value, kResidentEaBytes);
}

}  // namespace

Result<> ObjectStore::set_basic_information(File& file, const BasicInformation& information) {
  if (!volume_->is_writable()) return NtStatus::MediaWriteProtected;
  if (file.remains() != nullptr) return {};
  if (!information.linux_metadata.empty()) {
    const auto set = with_reclaim(*volume_, [&]() -> Result<> {
      Transaction transaction(volume_->journal());
      TRY(transaction.begin());
      TRY(set_linux_metadata(transaction, *volume_, file.reference(), information.linux_metadata));
      transaction.commit();
      return {};
    });
    TRY(Result<>(set));
  } else {
    const SharedLock lock(volume_->journal().metadata_lock());
    TRY(volume_->mft().base_record(file.reference()));
  }
  uint32_t changes = 0;  // as 2.1.5.15.2 gathers them
  if (information.file_attributes) changes |= NotifyFilter::Attributes;
  if (information.times.creation) changes |= NotifyFilter::Creation;
  if (information.times.last_access) changes |= NotifyFilter::LastAccess;
  if (information.times.last_write) changes |= NotifyFilter::LastWrite;
  if (!information.linux_metadata.empty()) changes |= NotifyFilter::Ea;
  FileTimes times = information.times;
  if (!times.change) times.change = ondisk::FileTime::now();
  if (information.file_attributes) file.note_attributes(*information.file_attributes);
  file.note_times(times);
  if (changes != 0) break_parents_oplocks(file, nullptr);
  report_file(file, changes);
  return {};
}

}  // namespace ntfs
