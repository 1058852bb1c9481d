#pragma once

// ioctl(2) commands for the change journal of a mounted volume, on any of its files or directories.
// Their structures are those of Windows' controls, little-endian; what Windows returns beside the
// error code as the number of bytes is the result of the call. One structure is both input and
// output. Only root and the user who mounted may use those that concern the whole volume.
//
// errno: ENOENT no journal (1179), EBUSY it is being deleted (1178), ESTALE the position was
// trimmed away (1181), EINVAL another journal, no record there, versions that cannot be (87),
// EACCES, EROFS, EINTR a signal came while it waited, ERANGE not even one record fits, ENOTTY not
// our mount.
//
// Source: Win32 "USN_JOURNAL_DATA_V2", "READ_USN_JOURNAL_DATA_V1", "MFT_ENUM_DATA_V1",
// "READ_FILE_USN_DATA", "CREATE_USN_JOURNAL_DATA", "DELETE_USN_JOURNAL_DATA",
// "USN_TRACK_MODIFIED_RANGES"; fuse(4): the kernel takes the sizes from the command's number.

#include <linux/ioctl.h>

#include <array>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/fsa/usn_control.h"

namespace ntfs::frontend {

struct UsnJournalDataV2 {
  le64 journal_id;
  le64 first_usn;
  le64 next_usn;
  le64 lowest_valid_usn;
  le64 max_usn;
  le64 maximum_size;
  le64 allocation_delta;
  le16 least_major_version;
  le16 most_major_version;
  le32 flags;  // kUsnTracksRanges
  le64 range_track_chunk_size;
  le64 range_track_file_size_threshold;
};
static_assert(sizeof(UsnJournalDataV2) == 80 && alignof(UsnJournalDataV2) == 1);

struct ReadUsnJournalDataV1 {
  le64 start_usn;  // 0: the oldest record
  le32 reason_mask;
  le32 return_only_on_close;
  le64 timeout;            // seconds
  le64 bytes_to_wait_for;  // 0: does not wait
  le64 journal_id;
  le16 least_major_version;
  le16 most_major_version;
  le32 reserved;
};
static_assert(sizeof(ReadUsnJournalDataV1) == 48 && alignof(ReadUsnJournalDataV1) == 1);

struct MftEnumDataV1 {
  le64 start_file_reference;  // only the record's number counts
  le64 low_usn;
  le64 high_usn;
  le16 least_major_version;
  le16 most_major_version;
  le32 reserved;
};
static_assert(sizeof(MftEnumDataV1) == 32 && alignof(MftEnumDataV1) == 1);

struct ReadFileUsnData {
  le16 least_major_version;
  le16 most_major_version;
};

struct CreateUsnJournalData {
  le64 maximum_size;      // bytes
  le64 allocation_delta;  // bytes
};
struct DeleteUsnJournalData {
  le64 journal_id;
  le32 flags;  // 1 delete, 2 return when that is done: as here always
  le32 reserved;
};

struct UsnTrackModifiedRanges {
  le32 flags;  // 1: enable
  le32 reserved;
  le64 chunk_size;           // bytes; 0: chosen
  le64 file_size_threshold;  // bytes; 0: chosen
};
static_assert(sizeof(UsnTrackModifiedRanges) == 24 && alignof(UsnTrackModifiedRanges) == 1);
/// Of UsnJournalDataV2 and UsnTrackModifiedRanges.
constexpr uint32_t kUsnTracksRanges = 1;

/// One of the structures above; on return a position (le64), then records. A command's number has
/// room for sizes below 16 KiB.
constexpr size_t kUsnBufferBytes = 16376;
using UsnBuffer = std::array<std::byte, kUsnBufferBytes>;
/// A ReadFileUsnData; on return one record.
using UsnRecordBuffer = std::array<std::byte, 640>;

struct UsnIoctl {
  static constexpr unsigned Query = _IOR('w', 0x01, UsnJournalDataV2);
  /// In: ReadUsnJournalDataV1. Out: the usn to go on with, records.
  static constexpr unsigned Read = _IOWR('w', 0x02, UsnBuffer);
  /// In: MftEnumDataV1. Out: the file reference to go on with, records; nothing at the end.
  static constexpr unsigned Enumerate = _IOWR('w', 0x03, UsnBuffer);
  /// Of the file that is open.
  static constexpr unsigned ReadFileData = _IOWR('w', 0x04, UsnRecordBuffer);
  /// Of the file that is open. Out: the usn of its last record.
  static constexpr unsigned WriteCloseRecord = _IOR('w', 0x05, le64);
  /// Makes a journal, or changes the sizes of the one that there is.
  static constexpr unsigned Create = _IOW('w', 0x06, CreateUsnJournalData);
  static constexpr unsigned Delete = _IOW('w', 0x07, DeleteUsnJournalData);
  static constexpr unsigned TrackModifiedRanges = _IOW('w', 0x08, UsnTrackModifiedRanges);
};

/// Most bytes of records in an answer: a position stands before them.
constexpr size_t kUsnRecordBytes = kUsnBufferBytes - sizeof(le64);

UsnJournalDataV2 encode(const UsnJournalData& data);
UsnJournalData decode(const UsnJournalDataV2& raw);
ReadUsnJournalDataV1 encode(const UsnReadParameters& parameters);
UsnReadParameters decode(const ReadUsnJournalDataV1& raw);
ByteVector encode(const UsnReadAnswer& answer);
MftEnumDataV1 encode(const UsnEnumerateParameters& parameters);
UsnEnumerateParameters decode(const MftEnumDataV1& raw);
ByteVector encode(const UsnEnumerateAnswer& answer);
/// What an answer to Read or Enumerate holds. FileCorruptError (reported).
struct UsnAnswer {
  uint64_t next = 0;
  std::vector<usn::Record> records;
};
Result<UsnAnswer> decode_answer(ByteView bytes);

}  // namespace ntfs::frontend
