#pragma once

// Records of the change journal: USN_RECORD_V2 (what NTFS stores), V3 (the same with 128-bit ids,
// for callers only) and V4 (modified ranges). In $J they stand in pages of 4096 bytes whatever the
// cluster size: every record begins at a multiple of 8 and none crosses the end of a page; what is
// left of a page stays zero. A record's usn is its own offset in $J.
// Source: Win32 "USN_RECORD_V2", "USN_RECORD_V3", "USN_RECORD_V4".

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"
#include "usn/usn.h"

namespace ntfs::usn {

constexpr uint64_t kPageBytes = 4096;
constexpr size_t kMaxNameUnits = 255;

/// FILE_ID_128; on NTFS the upper half is 0 and the lower a file reference.
struct FileId {
  uint64_t low = 0;
  uint64_t high = 0;
  static constexpr FileId of(FileReference reference) { return {reference.raw(), 0}; }
  constexpr FileReference reference() const { return FileReference::from_raw(low); }
  friend constexpr bool operator==(const FileId&, const FileId&) = default;
};

/// A range that was written, in bytes of the file.
struct Extent {
  uint64_t offset = 0;
  uint64_t length = 0;
  friend constexpr bool operator==(const Extent&, const Extent&) = default;
};

struct Record {
  uint16_t major_version = 2;  ///< 2, 3 or 4
  uint16_t minor_version = 0;
  FileId file;
  FileId parent;
  Usn usn;
  uint64_t timestamp = 0;          ///< units of 100 ns since 1601-01-01 UTC; 0 in V4
  uint32_t reason = 0;             ///< Reason
  uint32_t source_info = 0;        ///< Source
  uint32_t security_id = 0;        ///< NTFS stores 0; 0 in V4
  uint32_t file_attributes = 0;    ///< FILE_ATTRIBUTE_*; 0 in V4
  std::u16string name;             ///< the last component of the path; empty in V4
  uint32_t remaining_extents = 0;  ///< V4: how many come in the records after this
  std::vector<Extent> extents;     ///< V4
  friend bool operator==(const Record&, const Record&) = default;
};

/// Bytes of a V2 record whose name has `name_units` code units: a multiple of 8, at most 576.
constexpr uint64_t record_bytes(size_t name_units) { return align_up(60 + 2 * name_units, 8); }
/// Bytes of a record in the form that NTFS stores, which is V2 or V4.
inline uint64_t record_bytes(const Record& record) {
  constexpr uint64_t kHeaderV4 = 64;
  constexpr uint64_t kExtent = 16;
  return record.major_version == 4 ? kHeaderV4 + kExtent * record.extents.size()
                                   : record_bytes(record.name.size());
}

/// The record in its version's form, padded with zeros to a multiple of 8. `record.name` has at
/// most kMaxNameUnits units.
ByteVector build_record(const Record& record);
/// The same behind what `bytes` hold.
void append_record(const Record& record, ByteVector& bytes);

/// A record as it was read, and the bytes it takes.
struct ParsedRecord {
  Record record;
  uint32_t length = 0;  ///< RecordLength: a multiple of 8
};

/// The record that `bytes` begin with; there may be more behind it. FileCorruptError (reported): it
/// is not whole, its length is not a multiple of 8, its name or extents are not inside it, or its
/// version is none of the three.
Result<ParsedRecord> parse_record(ByteView bytes, const Origin& origin);

/// Walks the records of one page of $J. Damage is reported once and ends the page: the next page
/// begins with a record again, or is empty.
class PageCursor {
 public:
  /// `bytes` are those of $J from `start`, a multiple of 8, to the end of its page or of the
  /// stream. They are not copied.
  PageCursor(ByteView bytes, Usn start, FileReference journal);

  /// The next record; nothing at the end of the page. FileCorruptError (reported): what stands
  /// here is no record, or its usn is not its position; then nothing follows.
  Result<std::optional<Record>> next();
  /// Where the record that next() gives stands, or where the page's records end.
  Usn position() const { return Usn::from_raw(start_.raw() + offset_); }

 private:
  Result<std::optional<Record>> damaged(NtStatus status);

  ByteView bytes_;
  Usn start_;
  FileReference journal_;
  uint64_t offset_ = 0;
};

/// For people: reasons, name, references, position.
std::string describe(const Record& record);

}  // namespace ntfs::usn
