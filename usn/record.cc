#include "usn/record.h"

#include <fmt/format.h>

#include <algorithm>

#include "usn/reason.h"

namespace ntfs::usn {

namespace {

struct Head {
  le32 record_length;  // bytes, a multiple of 8
  le16 major_version;
  le16 minor_version;
};
static_assert(sizeof(Head) == 8 && alignof(Head) == 1);

/// What V2 and V3 have in common, behind the two ids.
struct Tail {
  le64 usn;
  le64 timestamp;
  le32 reason;
  le32 source_info;
  le32 security_id;
  le32 file_attributes;
  le16 name_length;  // bytes
  le16 name_offset;  // bytes from the start of the record
};
static_assert(sizeof(Tail) == 0x24 && alignof(Tail) == 1);
static_assert(offsetof(Tail, name_offset) == 0x22);

struct RecordV2 {
  Head head;
  le64 file;
  le64 parent;
  Tail tail;
};
static_assert(sizeof(RecordV2) == 0x3C && alignof(RecordV2) == 1);

struct RawFileId {
  le64 low;
  le64 high;
};
static_assert(sizeof(RawFileId) == 16 && alignof(RawFileId) == 1);

struct RecordV3 {
  Head head;
  RawFileId file;
  RawFileId parent;
  Tail tail;
};
static_assert(sizeof(RecordV3) == 0x4C && alignof(RecordV3) == 1);

struct RecordV4 {
  Head head;
  RawFileId file;
  RawFileId parent;
  le64 usn;
  le32 reason;
  le32 source_info;
  le32 remaining_extents;
  le16 number_of_extents;
  le16 extent_size;  // bytes
};
static_assert(sizeof(RecordV4) == 0x40 && alignof(RecordV4) == 1);
static_assert(offsetof(RecordV4, extent_size) == 0x3E);

struct RawExtent {
  le64 offset;
  le64 length;
};
static_assert(sizeof(RawExtent) == 16 && alignof(RawExtent) == 1);

RawFileId raw_id(const FileId& id) { return {le64::of(id.low), le64::of(id.high)}; }
FileId id_of(const RawFileId& raw) { return {raw.low.get(), raw.high.get()}; }

void put_tail(Tail& tail, const Record& record, size_t name_offset) {
  tail.usn.set(record.usn.raw());
  tail.timestamp.set(record.timestamp);
  tail.reason.set(record.reason);
  tail.source_info.set(record.source_info);
  tail.security_id.set(record.security_id);
  tail.file_attributes.set(record.file_attributes);
  tail.name_length.set(static_cast<uint16_t>(2 * record.name.size()));
  tail.name_offset.set(static_cast<uint16_t>(name_offset));
}

void put_name(MutableBytes into, std::u16string_view name) {
  for (size_t i = 0; i < name.size(); ++i) struct_at<le16>(into, 2 * i).set(name[i]);
}

/// Adds `length` zeros to `bytes`; they are returned.
MutableBytes grow(ByteVector& bytes, size_t length) {
  bytes.resize(bytes.size() + length);
  return MutableBytes(bytes).last(length);
}

/// `fixed` zeros, the name behind them, zeros.
MutableBytes append_with_name(ByteVector& bytes, size_t fixed, const Record& record) {
  const MutableBytes own = grow(bytes, align_up(fixed + 2 * record.name.size(), 8));
  put_name(own.subspan(fixed), record.name);
  return own;
}

MutableBytes append_v4(ByteVector& bytes, const Record& record) {
  const MutableBytes own =
      grow(bytes, sizeof(RecordV4) + record.extents.size() * sizeof(RawExtent));
  auto& raw = struct_at<RecordV4>(own);
  raw.file = raw_id(record.file);
  raw.parent = raw_id(record.parent);
  raw.usn.set(record.usn.raw());
  raw.reason.set(record.reason);
  raw.source_info.set(record.source_info);
  raw.remaining_extents.set(record.remaining_extents);
  raw.number_of_extents.set(static_cast<uint16_t>(record.extents.size()));
  raw.extent_size.set(sizeof(RawExtent));
  size_t offset = sizeof(RecordV4);
  for (const Extent& extent : record.extents) {
    auto& range = struct_at<RawExtent>(own, offset);
    range.offset.set(extent.offset);
    range.length.set(extent.length);
    offset += sizeof(RawExtent);
  }
  return own;
}

Result<> parse_tail(Record& into, const Tail& tail, size_t fixed, ByteView record,
                    const Origin& origin) {
  into.usn = Usn::from_raw(tail.usn.get());
  into.timestamp = tail.timestamp.get();
  into.reason = tail.reason.get();
  into.source_info = tail.source_info.get();
  into.security_id = tail.security_id.get();
  into.file_attributes = tail.file_attributes.get();
  const size_t name_offset = tail.name_offset.get();
  const size_t name_length = tail.name_length.get();
  if (name_offset < fixed) return corrupt(origin, "name offset", name_offset);
  if (name_length % 2 != 0 || name_length > 2 * kMaxNameUnits) {
    return corrupt(origin, "name length", name_length);
  }
  const auto name = slice(record, name_offset, name_length);
  if (!name) return corrupt(origin, "name length", name_length, "a name inside the record");
  into.name.resize(name_length / 2);
  for (size_t i = 0; i < into.name.size(); ++i) {
    into.name[i] = static_cast<char16_t>(struct_at<le16>(*name, 2 * i).get());
  }
  return {};
}

Result<> parse_v2(Record& into, ByteView record, const Origin& origin) {
  const auto raw = view_as<RecordV2>(record);
  if (!raw) return corrupt(origin, "length", record.size());
  into.file = {(*raw)->file.get(), 0};
  into.parent = {(*raw)->parent.get(), 0};
  return parse_tail(into, (*raw)->tail, sizeof(RecordV2), record, origin);
}

Result<> parse_v3(Record& into, ByteView record, const Origin& origin) {
  const auto raw = view_as<RecordV3>(record);
  if (!raw) return corrupt(origin, "length", record.size());
  into.file = id_of((*raw)->file);
  into.parent = id_of((*raw)->parent);
  return parse_tail(into, (*raw)->tail, sizeof(RecordV3), record, origin);
}

Result<> parse_v4(Record& into, ByteView record, const Origin& origin) {
  const auto found = view_as<RecordV4>(record);
  if (!found) return corrupt(origin, "length", record.size());
  const RecordV4& raw = **found;
  into.file = id_of(raw.file);
  into.parent = id_of(raw.parent);
  into.usn = Usn::from_raw(raw.usn.get());
  into.reason = raw.reason.get();
  into.source_info = raw.source_info.get();
  into.remaining_extents = raw.remaining_extents.get();
  const size_t size = raw.extent_size.get();
  const size_t count = raw.number_of_extents.get();
  if (count != 0 && size < sizeof(RawExtent)) return corrupt(origin, "extent size", size);
  if (count * size > record.size() - sizeof(RecordV4)) {
    return corrupt(origin, "number of extents", count);
  }
  for (size_t i = 0; i < count; ++i) {
    const auto& range = struct_at<RawExtent>(record, sizeof(RecordV4) + i * size);
    into.extents.push_back({range.offset.get(), range.length.get()});
  }
  return {};
}

Result<> parse_version(Record& into, ByteView record, const Origin& origin) {
  switch (into.major_version) {
    case 2:
      return parse_v2(into, record, origin);
    case 3:
      return parse_v3(into, record, origin);
    case 4:
      return parse_v4(into, record, origin);
    default:
      return corrupt(origin, "major version", into.major_version, "2, 3 or 4");
  }
}

}  // namespace

void append_record(const Record& record, ByteVector& bytes) {
  ASSERT(record.name.size() <= kMaxNameUnits);
  MutableBytes own;
  if (record.major_version == 2) {
    own = append_with_name(bytes, sizeof(RecordV2), record);
    auto& raw = struct_at<RecordV2>(own);
    raw.file.set(record.file.low);
    raw.parent.set(record.parent.low);
    put_tail(raw.tail, record, sizeof(RecordV2));
  } else if (record.major_version == 3) {
    own = append_with_name(bytes, sizeof(RecordV3), record);
    auto& raw = struct_at<RecordV3>(own);
    raw.file = raw_id(record.file);
    raw.parent = raw_id(record.parent);
    put_tail(raw.tail, record, sizeof(RecordV3));
  } else {
    ASSERT(record.major_version == 4);
    own = append_v4(bytes, record);
  }
  auto& head = struct_at<Head>(own);
  head.record_length.set(static_cast<uint32_t>(own.size()));
  head.major_version.set(record.major_version);
  head.minor_version.set(record.minor_version);
}

ByteVector build_record(const Record& record) {
  ByteVector bytes;
  append_record(record, bytes);
  return bytes;
}

Result<ParsedRecord> parse_record(ByteView bytes, const Origin& origin) {
  const auto head = view_as<Head>(bytes);
  if (!head) return corrupt(origin, "bytes to the end of the page", bytes.size());
  const uint32_t length = (*head)->record_length.get();
  if (length % 8 != 0 || length < sizeof(RecordV2)) return corrupt(origin, "length", length);
  const auto whole = slice(bytes, 0, length);
  if (!whole) return corrupt(origin, "length", length, "a record that ends with its page");
  ParsedRecord parsed;
  parsed.length = length;
  parsed.record.major_version = (*head)->major_version.get();
  parsed.record.minor_version = (*head)->minor_version.get();
  TRY(parse_version(parsed.record, *whole, origin));
  return parsed;
}

PageCursor::PageCursor(ByteView bytes, Usn start, FileReference journal)
    : bytes_(bytes), start_(start), journal_(journal) {
  ASSERT(start.raw() % 8 == 0 && start.raw() % kPageBytes + bytes.size() <= kPageBytes);
}

Result<std::optional<Record>> PageCursor::damaged(NtStatus status) {
  offset_ = bytes_.size();
  return status;
}

Result<std::optional<Record>> PageCursor::next() {
  if (offset_ >= bytes_.size()) return std::optional<Record>();
  const Origin origin{"change journal", journal_.raw(), position().raw()};
  const ByteView rest = bytes_.subspan(offset_);
  if (rest.size() < sizeof(le32)) return damaged(corrupt(origin, "bytes left", rest.size()));
  if (struct_at<le32>(rest).get() == 0) {
    const auto used =
        std::find_if(rest.begin(), rest.end(), [](std::byte b) { return b != std::byte{0}; });
    if (used != rest.end()) {
      return damaged(corrupt(origin, "length", 0, "zeros to the end of the page behind it"));
    }
    offset_ = bytes_.size();
    return std::optional<Record>();
  }
  auto parsed = parse_record(rest, origin);
  if (!parsed) return damaged(parsed.error());
  if (parsed->record.usn != position()) {
    return damaged(corrupt(origin, "usn", parsed->record.usn.raw(), "the record's position"));
  }
  offset_ += parsed->length;
  return std::optional<Record>(std::move(parsed->record));
}

std::string describe(const Record& record) {
  std::string name;
  for (const char16_t unit : record.name) {
    name += unit >= 0x20 && unit < 0x7F ? std::string(1, static_cast<char>(unit))
                                        : fmt::format("\\u{:04x}", static_cast<uint16_t>(unit));
  }
  const FileReference file = record.file.reference();
  const FileReference parent = record.parent.reference();
  return fmt::format("usn {} file {}-{} parent {}-{} \"{}\" {:#x} ({})", record.usn.raw(),
                     file.record(), file.sequence(), parent.record(), parent.sequence(), name,
                     record.reason, reason_labels(record.reason));
}

}  // namespace ntfs::usn
