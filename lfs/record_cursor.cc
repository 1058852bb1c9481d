#include "lfs/record_cursor.h"

namespace ntfs::lfs {

namespace {

Lsn lsn_in(ByteView page, uint64_t in_page) {
  return Lsn::from_raw(struct_at<le64>(page, in_page).get());
}

}  // namespace

RecordCursor::RecordCursor(LogFile& log) : log_(log), records_(log.geometry()) {}

Result<std::optional<ByteView>> RecordCursor::page_at(uint64_t page) {
  // A full page does not change any more, until it is used again for later records.
  if (page_state_ != LogFile::PageState::Full || page_offset_ != page) {
    page_state_ = LogFile::PageState::Missing;
    page_state_ = TRY(log_.read_page(page, page_.bytes()));
    page_offset_ = page;
  }
  if (page_state_ == LogFile::PageState::Missing) return std::optional<ByteView>();
  return std::optional<ByteView>(page_.bytes());
}

Result<std::optional<RecordView>> RecordCursor::at(Lsn lsn) {
  if (!log_.geometry().can_hold_record(lsn)) return std::optional<RecordView>();
  RecordReader::Finding finding;
  return records_.fetch(*this, lsn, finding);
}

Result<std::optional<uint64_t>> RecordCursor::length_at(Lsn lsn) {
  if (!log_.geometry().can_hold_record(lsn)) return std::optional<uint64_t>();
  RecordReader::Finding finding;
  const auto header = TRY(records_.header_at(*this, lsn, finding));
  if (!header) return std::optional<uint64_t>();
  return std::optional<uint64_t>(header->client_data_length.get());
}

// A record header begins with its own position. Pages of earlier laps hold smaller LSNs.
Result<std::optional<Lsn>> RecordCursor::first_from(Lsn lsn) {
  const LogGeometry& geometry = log_.geometry();
  const Lsn last = log_.last_lsn();
  uint64_t page = LogGeometry::page_of(geometry.offset_of(lsn));
  if (!geometry.is_record_page(page)) return std::optional<Lsn>();
  uint64_t in_page = std::max(LogGeometry::in_page(geometry.offset_of(lsn)), kPageDataOffset);
  for (uint64_t count = 0; count < geometry.record_pages(); ++count) {
    const std::optional<ByteView> bytes = TRY(page_at(page));
    if (!bytes) break;
    for (; in_page + kRecordHeaderSize <= kPageSize; in_page += 8) {
      const Lsn found = lsn_in(*bytes, in_page);
      if (found >= lsn && found <= last && geometry.offset_of(found) == page + in_page) {
        return std::optional<Lsn>(found);
      }
    }
    page = geometry.next_page(page);
    in_page = kPageDataOffset;
  }
  return std::optional<Lsn>();
}

Result<std::optional<Lsn>> RecordCursor::following() {
  const LogGeometry& geometry = log_.geometry();
  const Lsn last = log_.last_lsn();
  if (records_.current() >= last) return std::optional<Lsn>();
  const Result<Lsn> next = records_.successor(*this);
  if (!next) {
    if (next.error() == NtStatus::LogCorrupt) return std::optional<Lsn>();
    return next.error();
  }
  const uint64_t offset = geometry.offset_of(*next);
  const std::optional<ByteView> page = TRY(page_at(LogGeometry::page_of(offset)));
  if (!page) return std::optional<Lsn>();
  const Lsn found = lsn_in(*page, LogGeometry::in_page(offset));
  // The sequence rises where the log was opened again: at the start of a page.
  const bool rises = LogGeometry::in_page(offset) == kPageDataOffset && found > *next;
  const bool fits = found == *next || (rises && geometry.offset_of(found) == offset);
  if (!fits || found > last) return std::optional<Lsn>();
  return std::optional<Lsn>(found);
}

}  // namespace ntfs::lfs
