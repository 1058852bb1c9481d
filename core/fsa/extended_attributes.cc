// MS-FSA 2.1.5.12.10 "FileFullEaInformation", 2.1.5.15.6 "FileFullEaInformation"; for Linux, where
// names are bytes and an empty value is one.

#include "core/fsa/extended_attributes.h"

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"
#include "core/fsa/usn_post.h"
#include "core/store/attributes.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::Ea;

namespace {

/// A value that surely fits beside the rest of a base record.
constexpr size_t kResidentEaBytes = 400;
constexpr size_t kMostNameBytes = 254;

auto find_ea(std::vector<Ea>& eas, std::string_view name) {
  return std::find_if(eas.begin(), eas.end(), [&](const Ea& ea) { return ea.name == name; });
}

Result<> remove_attribute(Transaction& transaction, Volume& volume, FileReference file,
                          AttributeType type) {
  auto removed = remove_small_value(transaction, volume, file, type);
  if (!removed && removed.error() == NtStatus::ObjectNameNotFound) return {};
  return removed;
}

}  // namespace

Result<std::vector<Ea>> read_eas(Volume& volume, FileReference file) {
  const auto value = read_small_value(volume, file, AttributeType::Ea);
  if (!value && value.error() == NtStatus::ObjectNameNotFound) return std::vector<Ea>();
  if (!value) return value.error();
  return ondisk::parse_eas(*value, {"$EA", file.raw(), 0});
}

Result<> write_eas(Transaction& transaction, Volume& volume, FileReference file,
                   const std::vector<Ea>& eas) {
  if (eas.empty()) {
    TRY(remove_attribute(transaction, volume, file, AttributeType::EaInformation));
    return remove_attribute(transaction, volume, file, AttributeType::Ea);
  }
  const auto information = TRY(ondisk::ea_information_of(eas));
  const ByteVector value = ondisk::build_eas(eas);
  if (value.size() > kMostEaBytes) return NtStatus::EaTooLarge;
  Attributes attributes(volume, file);
  TRY(attributes.set_value(transaction, AttributeType::EaInformation, u"", bytes_of(information)));
  const auto old = attributes.find(AttributeType::Ea);
  if (old && (!old->view().is_resident() || value.size() > kResidentEaBytes)) {
    TRY(remove_small_value(transaction, volume, file, AttributeType::Ea));
  }
  return insert_small_value(transaction, volume, file, AttributeType::Ea, value, kResidentEaBytes);
}

Result<std::vector<Ea>> ObjectStore::query_eas(File& file) {
  const SharedLock lock(volume_->journal().metadata_lock());
  TRY(volume_->mft().base_record(file.reference()));
  return read_eas(*volume_, file.reference());
}

Result<ByteVector> ObjectStore::query_ea(File& file, std::string_view name) {
  const SharedLock lock(volume_->journal().metadata_lock());
  Attributes attributes(*volume_, file.reference());
  const auto found = attributes.find(AttributeType::Ea);
  if (!found && found.error() == NtStatus::ObjectNameNotFound) return NtStatus::NonexistentEaEntry;
  auto eas = TRY(read_eas(*volume_, file.reference()));
  const auto it = find_ea(eas, name);
  if (it == eas.end()) return NtStatus::NonexistentEaEntry;
  return std::move(it->value);
}

/// `change(eas)` with those of the file, in one transaction.
template <typename Change>
Result<> ObjectStore::change_eas(File& file, Change&& change) {
  TRY(check_stream_change(file));
  UsnPost post(file, usn::Reason::EaChange);
  const auto changed = with_reclaim(*volume_, [&]() -> Result<> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    TRY(volume_->mft().base_record(file.reference()));
    auto eas = TRY(read_eas(*volume_, file.reference()));
    TRY(Result<>(change(eas)));
    TRY(write_eas(transaction, *volume_, file.reference(), eas));
    TRY(file.log_information(transaction, std::nullopt));
    transaction.commit();
    return {};
  });
  TRY(Result<>(changed));
  post.keep();
  note_stream_change(file);
  report_file(file, NotifyFilter::Ea);
  return {};
}

Result<> ObjectStore::set_ea(File& file, std::string_view name, ByteView value) {
  if (name.empty() || name.size() > kMostNameBytes) return NtStatus::NameTooLong;
  if (value.size() > kMostEaBytes) return NtStatus::EaTooLarge;
  return change_eas(file, [&](std::vector<Ea>& eas) -> Result<> {
    const ByteVector bytes(value.begin(), value.end());
    const auto it = find_ea(eas, name);
    if (it != eas.end()) {
      it->value = bytes;
    } else {
      eas.push_back({0, std::string(name), bytes});
    }
    return {};
  });
}

Result<> ObjectStore::remove_ea(File& file, std::string_view name) {
  return change_eas(file, [&](std::vector<Ea>& eas) -> Result<> {
    const auto it = find_ea(eas, name);
    if (it == eas.end()) return NtStatus::NonexistentEaEntry;
    eas.erase(it);
    return {};
  });
}

Result<> ObjectStore::set_eas(File& file, const std::vector<Ea>& wanted) {
  return change_eas(file, [&](std::vector<Ea>& eas) -> Result<> {
    eas = wanted;
    return {};
  });
}

}  // namespace ntfs
