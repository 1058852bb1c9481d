// MS-FSA 2.1.5.15.2 "FileBasicInformation"; and what WSL keeps in extended attributes.

#include "core/fsa/extended_attributes.h"
#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"
#include "core/fsa/usn_post.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

bool changes_eas(const BasicInformation& information) {
  return !information.linux_metadata.empty() || !information.eas.empty();
}

Result<> apply_ea_changes(Transaction& transaction, Volume& volume, FileReference file,
                          const BasicInformation& information) {
  TRY(volume.mft().base_record(file));
  auto eas = TRY(read_eas(volume, file));
  put_linux_metadata(information.linux_metadata, eas);
  for (const auto& [name, value] : information.eas) {
    std::erase_if(eas, [&name = name](const ondisk::Ea& ea) { return ea.name == name; });
    if (value) eas.push_back({0, name, *value});
  }
  return write_eas(transaction, volume, file, eas);
}

}  // namespace

/// For the change journal: what differs from what the file has.
Result<uint32_t> ObjectStore::reasons_of(File& file, const BasicInformation& information) {
  if (!FileRecords::are_kept_of(*volume_, file.reference())) return 0u;
  const FileInformation now = TRY(query_information(file));
  const auto differs = [](const auto& wanted, const auto& old) { return wanted && *wanted != old; };
  const FileTimes& times = information.times;
  bool is_changed = false;
  if (information.times_of == BasicInformation::TimesOf::Request) {
    is_changed = differs(times.creation, now.creation_time) ||
                 differs(times.last_write, now.last_write_time) ||
                 differs(times.last_access, now.last_access_time);
  }
  uint32_t reasons = 0;
  if (information.file_attributes) {
    const uint32_t flipped =
        File::settable_attributes(now.file_attributes ^ *information.file_attributes);
    is_changed = is_changed || flipped != 0;
    if ((flipped & ondisk::FileAttributes::NotContentIndexed) != 0) {
      reasons |= usn::Reason::IndexableChange;
    }
  }
  return is_changed ? reasons | usn::Reason::BasicInfoChange : reasons;
}

Result<> ObjectStore::set_basic_information(File& file, const BasicInformation& information) {
  if (!volume_->is_writable()) return NtStatus::MediaWriteProtected;
  if (file.remains() != nullptr) return {};
  if (changes_eas(information)) {
    const auto set = with_reclaim(*volume_, [&]() -> Result<> {
      Transaction transaction(volume_->journal());
      TRY(transaction.begin());
      FileRecords records(transaction, *volume_, file);
      TRY(records.add_noted());
      TRY(apply_ea_changes(transaction, *volume_, file.reference(), information));
      TRY(records.add(usn::Reason::EaChange));
      TRY(records.append());
      TRY(records.store_last());
      transaction.commit();
      return {};
    });
    TRY(Result<>(set));
  } else if (!file.recall()) {
    const SharedLock lock(volume_->journal().metadata_lock());
    TRY(volume_->mft().base_record(file.reference()));
  }
  UsnPost post(file, TRY(reasons_of(file, information)));
  post.keep();
  uint32_t changes = 0;  // as 2.1.5.15.2 gathers them
  if (information.file_attributes) changes |= NotifyFilter::Attributes;
  if (information.times.creation) changes |= NotifyFilter::Creation;
  if (information.times.last_access) changes |= NotifyFilter::LastAccess;
  if (information.times.last_write) changes |= NotifyFilter::LastWrite;
  if (changes_eas(information)) changes |= NotifyFilter::Ea;
  FileTimes times = information.times;
  if (!times.change) times.change = ondisk::FileTime::now();
  if (information.file_attributes) file.note_attributes(*information.file_attributes);
  file.note_times(times);
  if (changes != 0) break_parents_oplocks(file, nullptr);
  report_file(file, changes);
  return {};
}

}  // namespace ntfs
