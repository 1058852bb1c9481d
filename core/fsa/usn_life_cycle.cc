#include "core/fsa/usn_life_cycle.h"

#include "core/fsa/names.h"
#include "core/fsa/small_values.h"
#include "core/store/attributes.h"
#include "core/store/index_tree.h"
#include "core/store/usn_file.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::VolumeFlags;

namespace {

const FileReference kVolumeFile(ondisk::kVolumeRecord, 3);
const FileReference kExtend(ondisk::kExtendRecord, 11);
/// File records that are looked at in one transaction.
constexpr uint64_t kRecordsAtOnce = 64;
/// Runs of $J that are freed in one transaction.
constexpr size_t kRunsAtOnce = 256;

template <typename Change>
Result<> in_transaction(Volume& volume, Change&& change) {
  Transaction transaction(volume.journal());
  TRY(transaction.begin());
  TRY(change(transaction));
  transaction.commit();
  return {};
}

enum class Deletion { Underway, Done };

Result<uint16_t> volume_flags(const Attributes::Found& information) {
  const auto value = TRY(ondisk::parse_volume_information(
      information.view().value(), {"$VOLUME_INFORMATION", kVolumeFile.raw(), 0}));
  return value.flags.get();
}

Result<> flag_volume(Transaction& transaction, Volume& volume, Deletion deletion) {
  Attributes attributes(volume, kVolumeFile);
  const auto found = TRY(attributes.find(AttributeType::VolumeInformation));
  const uint16_t flags = TRY(volume_flags(found));
  const bool is_underway = deletion == Deletion::Underway;
  const auto wanted =
      le16::of(static_cast<uint16_t>(is_underway ? flags | VolumeFlags::DeleteUsnUnderway
                                                 : flags & ~VolumeFlags::DeleteUsnUnderway));
  return attributes.update_value(transaction, found, offsetof(ondisk::VolumeInformation, flags),
                                 bytes_of(wanted));
}

Result<> clear_usn(Transaction& transaction, Volume& volume, uint64_t number) {
  const auto page = volume.mft().record(number);
  // What cannot be read is the checker's matter.
  if (!page) return page.error() == NtStatus::FileCorruptError ? Result<>() : page.error();
  const auto record = ondisk::FileRecordView::of_valid((*page)->bytes());
  if (!record.in_use() || !record.is_base()) return {};
  Attributes attributes(volume, FileReference(number, record.sequence()));
  const auto found = attributes.find(AttributeType::StandardInformation);
  if (!found || !found->view().is_resident()) return {};
  const ByteView value = found->view().value();
  if (value.size() < sizeof(ondisk::StandardInformation)) return {};
  if (struct_at<ondisk::StandardInformation>(value).usn.get() == 0) return {};
  const le64 none{};
  return attributes.update_value(transaction, *found, offsetof(ondisk::StandardInformation, usn),
                                 bytes_of(none));
}

Result<> clear_all_usns(Volume& volume) {
  for (uint64_t first = 0;; first += kRecordsAtOnce) {
    bool is_end = false;
    const auto cleared = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
      const uint64_t total = volume.mft().total_records();
      const uint64_t end = std::min(first + kRecordsAtOnce, total);
      for (uint64_t number = first; number < end; ++number) {
        TRY(clear_usn(transaction, volume, number));
      }
      is_end = end == total;
      return {};
    });
    if (!cleared || is_end) return cleared;
  }
}

/// Frees the last runs of $J, as many as go in one transaction. True: there are no more than those
/// that the file takes along.
Result<bool> cut_records(Volume& volume, FileReference file) {
  bool is_short = false;
  const auto cut_off = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    const auto stream = volume.metadata_stream(file, AttributeType::Data, kUsnRecords);
    is_short = !stream || (*stream)->runs.runs().size() <= kRunsAtOnce;
    if (is_short) return {};
    const Runlist before = (*stream)->runs;
    const Vcn cut = before.runs()[before.runs().size() - kRunsAtOnce].vcn;
    for (const ClusterRun& run : before.allocated_in(cut, before.end() - cut)) {
      TRY(volume.clusters().free_clusters(transaction, run));
    }
    Runlist after = before;
    after.truncate(cut);
    const uint64_t cluster = volume.geometry().cluster_size;
    Attributes attributes(volume, file);
    auto sizes = TRY(attributes.sizes(AttributeType::Data, kUsnRecords));
    sizes.allocated = after.end().raw() * cluster;
    sizes.total_allocated = after.allocated().raw() * cluster;
    sizes.file_size = std::min(sizes.file_size, sizes.allocated);
    sizes.valid_data_length = std::min(sizes.valid_data_length, sizes.allocated);
    TRY(attributes.store_runs(transaction, AttributeType::Data, kUsnRecords, before, after, sizes));
    volume.pages().forget(**stream, sizes.allocated / usn::kPageBytes);
    (*stream)->runs = std::move(after);
    return {};
  });
  if (!cut_off) return cut_off.error();
  return is_short;
}

/// The file and the flag go together.
Result<> remove_file(Volume& volume) {
  FileReference file;
  {
    const SharedLock lock(volume.journal().metadata_lock());
    const auto found = find_in_extend(volume, kUsnFileName);
    if (!found && found.error() != NtStatus::ObjectNameNotFound) return found.error();
    if (found) file = *found;
  }
  while (file.raw() != 0 && !TRY(cut_records(volume, file))) continue;
  return in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    if (file.raw() != 0) {
      IndexTree extend(volume, kExtend, u"$I30");
      const auto entry = TRY(find_entry(extend, kUsnFileName, IndexTree::NameMatch::Exact));
      if (!entry) return NtStatus::ObjectNameNotFound;
      Attributes attributes(volume, file);
      const auto records = volume.metadata_stream(file, AttributeType::Data, kUsnRecords);
      TRY(remove_name(transaction, attributes, extend, *entry, NameInRecord::Left));
      TRY(free_file(transaction, volume, attributes));
      if (records) volume.drop_metadata_stream(transaction, *records);
    }
    return flag_volume(transaction, volume, Deletion::Done);
  });
}

}  // namespace

Result<> check_usn_exists(Volume& volume) {
  if (volume.usn().exists()) return {};
  Attributes attributes(volume, kVolumeFile);
  const auto found = TRY(attributes.find(AttributeType::VolumeInformation));
  const bool is_going = (TRY(volume_flags(found)) & VolumeFlags::DeleteUsnUnderway) != 0;
  return is_going ? NtStatus::JournalDeleteInProgress : NtStatus::JournalNotActive;
}

Result<> create_usn_journal(ObjectStore& store, uint64_t maximum_size, uint64_t allocation_delta) {
  Volume& volume = store.volume();
  if (!volume.is_writable()) return NtStatus::MediaWriteProtected;
  const auto sizes =
      TRY(usn::with_sizes(maximum_size, allocation_delta, volume.geometry().cluster_size));
  return with_reclaim(volume, [&] {
    return in_transaction(volume, [&](Transaction& transaction) -> Result<> {
      UsnStream& usn = volume.usn();
      const auto exists = check_usn_exists(volume);
      if (exists) return usn.resize(transaction, sizes);
      if (exists.error() != NtStatus::JournalNotActive) return exists;
      return usn.create(transaction, sizes);
    });
  });
}

Result<> delete_usn_journal(ObjectStore& store, uint64_t id) {
  Volume& volume = store.volume();
  if (!volume.is_writable()) return NtStatus::MediaWriteProtected;
  const auto begun = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    UsnStream& usn = volume.usn();
    TRY(check_usn_exists(volume));
    if (usn.information().id != id) return NtStatus::InvalidParameter;
    TRY(flag_volume(transaction, volume, Deletion::Underway));
    usn.forget();
    return {};
  });
  return begun ? finish_usn_deletion(store) : begun;
}

Result<> finish_usn_deletion(ObjectStore& store) {
  TRY(clear_all_usns(store.volume()));
  return remove_file(store.volume());
}

}  // namespace ntfs
