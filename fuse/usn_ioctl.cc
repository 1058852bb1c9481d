#include "fuse/usn_ioctl.h"

#include <algorithm>

namespace ntfs::frontend {

namespace {

constexpr Origin kOrigin{"answer of a mount", 0, 0};

ByteVector with_records(uint64_t next, std::span<const usn::Record> records) {
  const le64 position = le64::of(next);
  const ByteView head = bytes_of(position);
  ByteVector bytes(head.begin(), head.end());
  for (const usn::Record& record : records) usn::append_record(record, bytes);
  return bytes;
}

}  // namespace

UsnJournalDataV2 encode(const UsnJournalData& data) {
  constexpr UsnVersions kAll;
  UsnJournalDataV2 raw{};
  raw.journal_id.set(data.id);
  raw.first_usn.set(data.first.raw());
  raw.next_usn.set(data.next.raw());
  raw.lowest_valid_usn.set(data.lowest_valid.raw());
  raw.max_usn.set(data.max_usn);
  raw.maximum_size.set(data.maximum_size);
  raw.allocation_delta.set(data.allocation_delta);
  raw.least_major_version.set(kAll.least);
  raw.most_major_version.set(kAll.most);
  raw.flags.set(data.ranges.chunk_size != 0 ? kUsnTracksRanges : 0);
  raw.range_track_chunk_size.set(data.ranges.chunk_size);
  raw.range_track_file_size_threshold.set(data.ranges.file_size_threshold);
  return raw;
}

UsnJournalData decode(const UsnJournalDataV2& raw) {
  UsnJournalData data;
  data.id = raw.journal_id.get();
  data.first = usn::Usn::from_raw(raw.first_usn.get());
  data.next = usn::Usn::from_raw(raw.next_usn.get());
  data.lowest_valid = usn::Usn::from_raw(raw.lowest_valid_usn.get());
  data.max_usn = raw.max_usn.get();
  data.maximum_size = raw.maximum_size.get();
  data.allocation_delta = raw.allocation_delta.get();
  data.ranges = {raw.range_track_chunk_size.get(), raw.range_track_file_size_threshold.get()};
  return data;
}

ReadUsnJournalDataV1 encode(const UsnReadParameters& parameters) {
  ReadUsnJournalDataV1 raw{};
  raw.start_usn.set(parameters.start.raw());
  raw.reason_mask.set(parameters.reason_mask);
  raw.return_only_on_close.set(parameters.only_on_close == UsnReadParameters::OnlyOnClose::Yes ? 1
                                                                                               : 0);
  raw.timeout.set(static_cast<uint64_t>(parameters.timeout.count()));
  raw.bytes_to_wait_for.set(parameters.bytes_to_wait_for);
  raw.journal_id.set(parameters.journal_id);
  raw.least_major_version.set(parameters.versions.least);
  raw.most_major_version.set(parameters.versions.most);
  return raw;
}

UsnReadParameters decode(const ReadUsnJournalDataV1& raw) {
  constexpr uint64_t kMostSeconds = 1u << 30;
  UsnReadParameters parameters;
  parameters.journal_id = raw.journal_id.get();
  parameters.start = usn::Usn::from_raw(raw.start_usn.get());
  parameters.reason_mask = raw.reason_mask.get();
  parameters.only_on_close = raw.return_only_on_close.get() != 0
                                 ? UsnReadParameters::OnlyOnClose::Yes
                                 : UsnReadParameters::OnlyOnClose::No;
  parameters.bytes_to_wait_for = raw.bytes_to_wait_for.get();
  parameters.timeout = std::chrono::seconds(std::min(raw.timeout.get(), kMostSeconds));
  parameters.versions = {raw.least_major_version.get(), raw.most_major_version.get()};
  parameters.most_bytes = kUsnRecordBytes;
  return parameters;
}

ByteVector encode(const UsnReadAnswer& answer) {
  return with_records(answer.next.raw(), answer.records);
}

MftEnumDataV1 encode(const UsnEnumerateParameters& parameters) {
  MftEnumDataV1 raw{};
  raw.start_file_reference.set(parameters.start_record);
  raw.low_usn.set(parameters.low.raw());
  raw.high_usn.set(parameters.high.raw());
  raw.least_major_version.set(parameters.versions.least);
  raw.most_major_version.set(parameters.versions.most);
  return raw;
}

UsnEnumerateParameters decode(const MftEnumDataV1& raw) {
  UsnEnumerateParameters parameters;
  parameters.start_record = FileReference::from_raw(raw.start_file_reference.get()).record();
  parameters.low = usn::Usn::from_raw(raw.low_usn.get());
  parameters.high = usn::Usn::from_raw(raw.high_usn.get());
  parameters.versions = {raw.least_major_version.get(), raw.most_major_version.get()};
  parameters.most_bytes = kUsnRecordBytes;
  return parameters;
}

ByteVector encode(const UsnEnumerateAnswer& answer) {
  return with_records(answer.next_record, answer.records);
}

Result<UsnAnswer> decode_answer(ByteView bytes) {
  UsnAnswer answer;
  const le64* next = TRY(view_as<le64>(bytes));
  answer.next = next->get();
  bytes = bytes.subspan(sizeof(le64));
  while (!bytes.empty()) {
    auto parsed = TRY(usn::parse_record(bytes, kOrigin));
    bytes = bytes.subspan(parsed.length);
    answer.records.push_back(std::move(parsed.record));
  }
  return answer;
}

}  // namespace ntfs::frontend
