// What a crash left open. Documented for Windows: files that were not closed get their close record
// at the next mount.

#include <algorithm>

#include "core/ondisk/file_record.h"
#include "core/store/usn_stream.h"
#include "core/store/volume.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;

namespace {
constexpr size_t kMostClosesAtOnce = 64;
}

Result<UsnStream::LastRecords> UsnStream::last_records(usn::Usn from) {
  LastRecords last;
  const SharedLock lock(volume_.journal().metadata_lock());
  while (from < next_) {
    const ByteVector bytes = TRY(read_page(from));
    usn::PageCursor cursor(bytes, from, file_);
    while (auto record = TRY(cursor.next())) {
      last.insert_or_assign(record->file.reference(), std::move(*record));
    }
    from = usn::Usn::from_raw(from.raw() + bytes.size());
  }
  return last;
}

/// Makes `record`, the last of its file, its close record. False: the file is gone.
Result<bool> UsnStream::make_close(usn::Record& record) {
  Attributes attributes(volume_, record.file.reference());
  const auto base = attributes.base();
  if (!base && base.error() == NtStatus::ObjectNameNotFound) return false;
  if (!base) return base.error();
  const auto found = TRY(attributes.find(AttributeType::StandardInformation));
  const auto standard = TRY(ondisk::parse_standard_information(
      found.view().value(), {"$STANDARD_INFORMATION", record.file.low, 0}));
  record.file_attributes = standard.file_attributes.get();
  if (ondisk::FileRecordView::of_valid((*base)->bytes()).is_directory()) {
    record.file_attributes |= FileAttributes::Directory;
  }
  record.major_version = 2;
  record.minor_version = 0;
  record.reason |= usn::Reason::Close;
  record.timestamp = ondisk::FileTime::now().raw();
  record.security_id = 0;
  record.extents.clear();
  // A removed file is spoken of by the name that it had.
  if ((record.reason & usn::Reason::FileDelete) != 0) return true;
  std::optional<usn::Link> link;
  TRY(attributes.for_each([&](const Attributes::Found& attribute) -> Result<> {
    const auto view = attribute.view();
    if (link || view.type() != AttributeType::FileName || !view.is_resident()) return {};
    const auto name = ondisk::FileNameView::of_valid(view.value());
    if (name.name_type() != ondisk::NameType::Dos) link = usn::Link{name.parent(), name.name()};
    return {};
  }));
  if (!link) return false;
  record.parent = usn::FileId::of(link->parent);
  record.name = link->name;
  return true;
}

Result<> UsnStream::close_left_open(usn::Usn from) {
  from = usn::Usn::from_raw(align_down(std::max(from, first_).raw(), 8));
  if (from >= next_) return {};
  const auto last = last_records(from);
  if (!last && last.error() != NtStatus::FileCorruptError) return last.error();
  if (!last) {
    Transaction transaction(volume_.journal());
    TRY(transaction.begin());
    // What it says from here on may not be all.
    TRY(stamp(transaction));
    transaction.commit();
    return {};
  }
  std::vector<usn::Record> open;
  for (const auto& [file, record] : *last) {
    if ((record.reason & usn::Reason::Close) == 0) open.push_back(record);
  }
  // After a crash in between, those that have their record are not open any more.
  for (size_t first = 0; first < open.size(); first += kMostClosesAtOnce) {
    const size_t count = std::min(kMostClosesAtOnce, open.size() - first);
    TRY(close_files(std::span(open).subspan(first, count)));
  }
  return {};
}

/// `records`: the last of each file.
Result<> UsnStream::close_files(std::span<const usn::Record> records) {
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  std::vector<usn::Record> closes;
  for (const usn::Record& record : records) {
    usn::Record close = record;
    if (TRY(make_close(close))) closes.push_back(std::move(close));
  }
  if (!TRY(append(transaction, closes))) closes.clear();
  for (const usn::Record& close : closes) {
    Attributes attributes(volume_, close.file.reference());
    const auto found = TRY(attributes.find(AttributeType::StandardInformation));
    if (found.view().value().size() < sizeof(ondisk::StandardInformation)) continue;
    const le64 value = le64::of(close.usn.raw());
    TRY(attributes.update_value(transaction, found, offsetof(ondisk::StandardInformation, usn),
                                bytes_of(value)));
  }
  transaction.commit();
  return {};
}

}  // namespace ntfs
