#include "usn/reader.h"

#include <algorithm>

namespace ntfs::usn {

namespace {

Usn page_start(Usn at) { return Usn::from_raw(align_down(at.raw(), kPageBytes)); }

}  // namespace

Reader::Reader(RecordSource& source, FileReference journal, Usn from, Usn end)
    : source_(source),
      journal_(journal),
      end_(std::min(end, source.next())),
      position_(std::max(Usn::from_raw(align_up(from.raw(), 8)), source.first())) {}

/// False: there is none before the end.
Result<bool> Reader::load_page() {
  position_ = std::max(position_, source_.next_data(position_));
  if (position_ >= end_) return false;
  auto bytes = source_.read_page(position_);
  if (!bytes && bytes.error() != NtStatus::FileCorruptError) return bytes.error();
  if (!bytes) {
    ++count_damaged_;
    position_ = Usn::from_raw(align_down(position_.raw(), kPageBytes) + kPageBytes);
    return true;
  }
  if (bytes->empty()) return false;
  page_ = std::move(*bytes);
  page_end_ = Usn::from_raw(position_.raw() + page_.size());
  cursor_.emplace(page_, position_, journal_);
  return true;
}

Result<std::optional<Record>> Reader::next() {
  while (position_ < end_) {
    if (!cursor_) {
      if (!TRY(load_page())) break;
      if (!cursor_) continue;
    }
    auto record = cursor_->next();
    if (record && *record && (*record)->usn < end_) {
      position_ = cursor_->position();
      return record;
    }
    if (record && *record) break;
    if (!record) ++count_damaged_;
    cursor_.reset();
    // At the end of the journal the rest of a page is still to come.
    const bool is_whole = page_end_.raw() % kPageBytes == 0;
    if (record && !is_whole) break;
    position_ = page_end_;
  }
  return std::optional<Record>();
}

Result<bool> is_record_start(RecordSource& source, FileReference journal, Usn at) {
  if (at.raw() % 8 != 0 || at < source.first() || at > source.next()) return false;
  if (at == source.next() || at == page_start(at)) return true;
  const Usn start = std::max(page_start(at), source.first());
  if (source.next_data(start) != start) return false;
  const auto bytes = source.read_page(start);
  if (!bytes && bytes.error() != NtStatus::FileCorruptError) return bytes.error();
  if (!bytes) return true;
  PageCursor cursor(*bytes, start, journal);
  while (cursor.position() < at) {
    const auto record = cursor.next();
    if (!record) return true;
    if (!*record) return false;
  }
  return cursor.position() == at;
}

}  // namespace ntfs::usn
