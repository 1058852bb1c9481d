#include "core/store/file_records.h"

#include "core/ondisk/file_record.h"
#include "core/store/attributes.h"
#include "core/store/usn_stream.h"
#include "core/store/volume.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;

FileRecords::FileRecords(Transaction& transaction, Volume& volume, File& file)
    : transaction_(transaction),
      volume_(volume),
      file_(file),
      is_kept_(are_kept_of(volume, file.reference())),
      attributes_(volume, file.reference()) {
  if (is_kept_) transaction.join(file.shared_from_this());
}

FileRecords::FileRecords(Transaction& transaction, Volume& volume, File& file, uint32_t attributes)
    : FileRecords(transaction, volume, file) {
  is_loaded_ = true;
  file_attributes_ = attributes;
  if (is_kept_) file.changes([](usn::FileChanges& changes) { changes.reset(); });
}

bool FileRecords::are_kept_of(const Volume& volume, FileReference file) {
  if (!volume.usn().is_active()) return false;
  if (file.record() < ondisk::kFirstUserRecord) return file.record() == ondisk::kRootRecord;
  return file != volume.usn().file();
}

Result<> FileRecords::load() {
  if (is_loaded_) return {};
  const auto found = TRY(attributes_.find(AttributeType::StandardInformation));
  auto information = TRY(ondisk::parse_standard_information(
      found.view().value(), {"$STANDARD_INFORMATION", file_.reference().raw(), 0}));
  file_.overlay(information);
  file_attributes_ = information.file_attributes.get();
  const PageRef base = TRY(attributes_.base());
  if (ondisk::FileRecordView::of_valid(base->bytes()).is_directory()) {
    file_attributes_ |= FileAttributes::Directory;
  }
  is_loaded_ = true;
  return {};
}

/// The first name that is not a short one, or the one that it was removed by.
Result<usn::Link> FileRecords::link_now() {
  const auto kept = file_.changes([](const usn::FileChanges& changes) {
    const usn::Link* link = changes.kept_link();
    return link != nullptr ? std::optional(*link) : std::nullopt;
  });
  if (kept) return *kept;
  std::optional<usn::Link> link;
  TRY(attributes_.for_each([&](const Attributes::Found& found) -> Result<> {
    const auto view = found.view();
    if (link || view.type() != AttributeType::FileName || !view.is_resident()) return {};
    const auto name = ondisk::FileNameView::of_valid(view.value());
    if (name.name_type() != ondisk::NameType::Dos) link = usn::Link{name.parent(), name.name()};
    return {};
  }));
  if (!link) return NtStatus::ObjectNameNotFound;
  return std::move(*link);
}

void FileRecords::push(uint32_t reason, uint64_t timestamp, usn::Link link) {
  usn::Record record;
  record.file = usn::FileId::of(file_.reference());
  record.parent = usn::FileId::of(link.parent);
  record.timestamp = timestamp;
  record.reason = reason;
  record.file_attributes = file_attributes_;
  record.name = std::move(link.name);
  records_.push_back(std::move(record));
}

/// The written ranges stand right before the close record, with its reasons.
void FileRecords::push_due(const usn::Due& due, usn::Link link) {
  if (!due.extents.empty()) {
    usn::Record record;
    record.major_version = 4;
    record.file = usn::FileId::of(file_.reference());
    record.parent = usn::FileId::of(link.parent);
    record.reason = due.reason;
    record.extents = due.extents;
    records_.push_back(std::move(record));
  }
  push(due.reason, due.timestamp, std::move(link));
}

Result<> FileRecords::add_noted() {
  if (!is_kept_) return {};
  const auto count = file_.changes([](const usn::FileChanges& c) { return c.count_noted(); });
  if (count == 0) return {};
  TRY(load());
  auto link = link_now();
  const auto due = file_.changes([](usn::FileChanges& changes) { return changes.take_noted(); });
  // Without a name nobody could tell what the records speak of.
  if (!link) return link.error() == NtStatus::ObjectNameNotFound ? Result<>() : link.error();
  for (size_t i = 0; i + 1 < due.size(); ++i) push_due(due[i], *link);
  if (!due.empty()) push_due(due.back(), std::move(*link));
  return {};
}

Result<> FileRecords::add(uint32_t reasons, const usn::Link& link) {
  if (!is_kept_) return {};
  TRY(load());
  const auto reason = file_.changes([&](usn::FileChanges& c) { return c.add(reasons); });
  if (reason) push(*reason, ondisk::FileTime::now().raw(), link);
  return {};
}

Result<> FileRecords::add(uint32_t reasons) {
  if (!is_kept_) return {};
  const auto link = link_now();
  if (!link) return link.error() == NtStatus::ObjectNameNotFound ? Result<>() : link.error();
  return add(reasons, *link);
}

Result<> FileRecords::change_link(const usn::Link& link) {
  if (!is_kept_) return {};
  TRY(load());
  const uint32_t reason = file_.changes([](usn::FileChanges& c) { return c.change_link(); });
  push(reason, ondisk::FileTime::now().raw(), link);
  return {};
}

Result<> FileRecords::rename_from(const usn::Link& link) {
  if (!is_kept_) return {};
  TRY(load());
  const uint32_t reason = file_.changes([](usn::FileChanges& c) { return c.rename_from(); });
  push(reason, ondisk::FileTime::now().raw(), link);
  return {};
}

Result<> FileRecords::rename_to(const usn::Link& link) {
  if (!is_kept_) return {};
  TRY(load());
  const uint32_t reason = file_.changes([](usn::FileChanges& c) { return c.rename_to(); });
  push(reason, ondisk::FileTime::now().raw(), link);
  return {};
}

Result<> FileRecords::close(const usn::Link& link) {
  if (!is_kept_) return {};
  TRY(load());
  const auto reason = file_.changes([](usn::FileChanges& c) { return c.end(); });
  if (reason) push(*reason, ondisk::FileTime::now().raw(), link);
  return {};
}

Result<> FileRecords::remove(const usn::Link& link, Closes closes) {
  if (!is_kept_) return {};
  TRY(load());
  const auto reason = file_.changes([&](usn::FileChanges& changes) {
    if (closes == Closes::No) changes.keep_link(link);
    const auto added = changes.add(usn::Reason::FileDelete);
    return closes == Closes::Yes ? changes.end() : added;
  });
  if (reason) push(*reason, ondisk::FileTime::now().raw(), link);
  return {};
}

Result<> FileRecords::close_removed() {
  if (!is_kept_) return {};
  const auto link = link_now();
  if (!link) return link.error() == NtStatus::ObjectNameNotFound ? Result<>() : link.error();
  TRY(close(*link));
  return append();
}

Result<> FileRecords::append() {
  if (records_.empty()) return {};
  if (TRY(volume_.usn().append(transaction_, records_))) last_ = records_.back().usn;
  records_.clear();
  return {};
}

Result<> FileRecords::append_all(Transaction& transaction, Volume& volume,
                                 std::span<FileRecords> files) {
  std::vector<usn::Record> all;
  for (FileRecords& file : files) {
    all.insert(all.end(), std::make_move_iterator(file.records_.begin()),
               std::make_move_iterator(file.records_.end()));
  }
  if (all.empty()) return {};
  if (!TRY(volume.usn().append(transaction, all))) return {};
  size_t end = 0;
  for (FileRecords& file : files) {
    end += file.records_.size();
    if (!file.records_.empty()) file.last_ = all[end - 1].usn;
    file.records_.clear();
  }
  return {};
}

Result<> FileRecords::store_last() {
  if (!last_) return {};
  const auto found = TRY(attributes_.find(AttributeType::StandardInformation));
  if (found.view().value().size() < sizeof(ondisk::StandardInformation)) return {};
  const le64 value = le64::of(last_->raw());
  return attributes_.update_value(transaction_, found, offsetof(ondisk::StandardInformation, usn),
                                  bytes_of(value));
}

}  // namespace ntfs
