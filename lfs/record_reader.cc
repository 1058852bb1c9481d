#include "lfs/record_reader.h"

#include <algorithm>

namespace ntfs::lfs {

namespace {

/// Longest client data that anyone writes: two payloads of 64 KiB and the LCN list, with room.
constexpr uint64_t kMaximumReadableData = uint64_t{1} << 20;

Lsn last_lsn_of(ByteView page) {
  return Lsn::from_raw(struct_at<RecordPageHeader>(page).last_lsn.get());
}

}  // namespace

RecordReader::Place RecordReader::next_place(Place place) const {
  const uint64_t next = geometry_.next_page(place.page);
  const bool wraps = next == geometry_.first_record_offset();
  return {next, place.sequence + (wraps ? 1 : 0), kPageDataOffset};
}

Result<> RecordReader::fetch_data(PageSource& pages, Place place, Lsn lsn, uint64_t length,
                                  Finding& finding) {
  if (data_.size() < length) data_ = PageBuffer(align_up(length, PageBuffer::kAlignment));
  uint64_t done = 0;
  while (true) {
    const std::optional<ByteView> page = TRY(pages.page_at(place.page));
    if (!page || last_lsn_of(*page) < lsn) {
      finding = {"page with the rest of it", place.page};
      return NtStatus::LogCorrupt;
    }
    const uint64_t count = std::min(length - done, kPageSize - place.in_page);
    const ByteView piece = page->subspan(place.in_page, count);
    std::copy(piece.begin(), piece.end(), data_.bytes().subspan(done).begin());
    done += count;
    place.in_page += count;
    if (done == length) break;
    place = next_place(place);
  }
  place.in_page = align_up(place.in_page, 8);
  end_ = place;
  return {};
}

Result<std::optional<RecordHeader>> RecordReader::header_at(PageSource& pages, Lsn lsn,
                                                            Finding& finding) {
  const Place place = place_of(lsn);
  const std::optional<ByteView> page = TRY(pages.page_at(place.page));
  if (!page) {
    finding = {"page", place.page};
    return std::optional<RecordHeader>();
  }
  const RecordHeader header = struct_at<RecordHeader>(*page, place.in_page);
  if (header.this_lsn.get() != lsn.raw()) {
    finding = {"LSN", header.this_lsn.get()};
    return std::optional<RecordHeader>();
  }
  return std::optional<RecordHeader>(header);
}

Result<std::optional<RecordView>> RecordReader::fetch(PageSource& pages, Lsn lsn,
                                                      Finding& finding) {
  const std::optional<RecordHeader> header = TRY(header_at(pages, lsn, finding));
  if (!header) return std::optional<RecordView>();
  const uint64_t length = header->client_data_length.get();
  if (length > kMaximumReadableData || length >= geometry_.file_size() / 2) {
    finding = {"client data length", length};
    return std::optional<RecordView>();
  }
  Place data_place = place_of(lsn);
  data_place.in_page += kRecordHeaderSize;
  const Result<> data = fetch_data(pages, data_place, lsn, length, finding);
  if (!data) {
    if (data.error() == NtStatus::LogCorrupt) return std::optional<RecordView>();
    return data.error();
  }
  current_ = lsn;
  return std::optional<RecordView>({lsn, Lsn::from_raw(header->client_previous_lsn.get()),
                                    Lsn::from_raw(header->client_undo_next_lsn.get()),
                                    header->record_type.get(), header->transaction_id.get(),
                                    header->client_index.get(), header->flags.get(),
                                    ByteView(data_.bytes()).first(length)});
}

/// A page says by its last LSN which record is the last in it; what begins after that one begins in
/// the next page.
Result<Lsn> RecordReader::successor(PageSource& pages) {
  const std::optional<ByteView> page = TRY(pages.page_at(end_.page));
  if (!page) return NtStatus::LogCorrupt;
  Place place = end_;
  const bool is_last = last_lsn_of(*page) == current_;
  if (is_last || place.in_page + kRecordHeaderSize > kPageSize) place = next_place(place);
  return geometry_.lsn_at(place.sequence, place.page + place.in_page);
}

Result<std::optional<RecordView>> RecordReader::search_forward(PageSource& pages, Place from,
                                                               Lsn limit) {
  for (uint64_t count = 0; count < geometry_.record_pages(); ++count) {
    for (; from.in_page + kRecordHeaderSize <= kPageSize; from.in_page += 8) {
      const std::optional<ByteView> page = TRY(pages.page_at(from.page));
      if (!page) break;
      const Lsn lsn = geometry_.lsn_at(from.sequence, from.page + from.in_page);
      if (lsn > limit) return std::optional<RecordView>();
      if (struct_at<le64>(*page, from.in_page).get() != lsn.raw()) continue;
      Finding finding;
      const std::optional<RecordView> record = TRY(fetch(pages, lsn, finding));
      if (record) return record;
    }
    from = next_place(from);
  }
  return std::optional<RecordView>();
}

}  // namespace ntfs::lfs
