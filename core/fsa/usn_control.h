#pragma once

// The controls of the change journal: query, read, enumerate, read a file's data, write a close
// record. Thread safe.
// Sources: Win32 "FSCTL_QUERY_USN_JOURNAL", "FSCTL_READ_USN_JOURNAL", "FSCTL_ENUM_USN_DATA";
// MS-FSA 2.1.5.10.27 "FSCTL_READ_FILE_USN_DATA", 2.1.5.10.42 "FSCTL_WRITE_USN_CLOSE_RECORD".
//
// All but read_file_data: JournalNotActive (the volume has no journal), JournalDeleteInProgress.

#include <optional>
#include <vector>

#include "core/fsa/object_store.h"
#include "core/store/usn_arrivals.h"
#include "usn/record.h"

namespace ntfs {

/// USN_JOURNAL_DATA.
struct UsnJournalData {
  uint64_t id = 0;
  usn::Usn first;         ///< oldest record, or where it would be
  usn::Usn next;          ///< where the next record will stand
  usn::Usn lowest_valid;  ///< below it records may be missing
  uint64_t max_usn = 0;
  uint64_t maximum_size = 0;      ///< bytes
  uint64_t allocation_delta = 0;  ///< bytes
  usn::RangeTracking ranges;
};

/// Major versions of the records that a caller can read. Within 2 to 4.
struct UsnVersions {
  uint16_t least = 2;
  uint16_t most = 4;
};

/// READ_USN_JOURNAL_DATA.
struct UsnReadParameters {
  uint64_t journal_id = 0;
  usn::Usn start;                     ///< 0: the oldest record
  uint32_t reason_mask = 0xFFFFFFFF;  ///< records with one of these bits
  /// With Close in the mask: records of a last close alone.
  enum class OnlyOnClose { No, Yes };
  OnlyOnClose only_on_close = OnlyOnClose::No;
  uint64_t bytes_to_wait_for = 0;   ///< 0: does not wait
  std::chrono::seconds timeout{0};  ///< while waiting: looks at least that often; 0: does not
  UsnVersions versions;
  size_t most_bytes = size_t{64} << 10;  ///< of all records together
};
struct UsnReadAnswer {
  usn::Usn next;  ///< where to go on; the start: there was nothing
  std::vector<usn::Record> records;
  uint64_t count_damaged = 0;  ///< pages that were passed over
};

/// MFT_ENUM_DATA: files in the order of their records, by the usn of their last record.
struct UsnEnumerateParameters {
  uint64_t start_record = 0;  ///< number of a file record
  usn::Usn low;
  usn::Usn high = usn::Usn::from_raw(~uint64_t{0} >> 1);
  UsnVersions versions;
  size_t most_bytes = size_t{64} << 10;
};
struct UsnEnumerateAnswer {
  uint64_t next_record = 0;  ///< where to go on
  std::vector<usn::Record> records;
};

class UsnControls {
 public:
  /// The volume of `store` must outlive the object.
  explicit UsnControls(ObjectStore& store) : volume_(store.volume()) {}

  /// All that happened before the call is in the journal then.
  Result<UsnJournalData> query();
  /// Returns at once, whatever it finds. InvalidParameter (another journal, no record begins
  /// there, versions that cannot be), JournalEntryDeleted (trimmed away), BufferTooSmall.
  Result<UsnReadAnswer> read(const UsnReadParameters& parameters);
  /// The same, and waits as asked for. Cancelled, by `waiter`.
  Result<UsnReadAnswer> read(UsnReadParameters parameters, UsnArrivals::Waiter& waiter);
  void cancel(UsnArrivals::Waiter& waiter) { volume_.usn().arrivals().cancel(waiter); }
  /// EndOfFile: there is no further file. InvalidParameter, BufferTooSmall.
  Result<UsnEnumerateAnswer> enumerate(const UsnEnumerateParameters& parameters);
  /// What the file's next record would say, without a reason. Needs no journal. InvalidParameter,
  /// ObjectNameNotFound.
  Result<usn::Record> read_file_data(File& file, UsnVersions versions);
  /// FSCTL_USN_TRACK_MODIFIED_RANGES: from here on, a record of version 4 before a file's close
  /// record tells which ranges were written. What truncation and growth changed, the reasons tell.
  /// Ends with the journal or when the volume is dismounted; after a crash files are closed
  /// without. A size of 0 is chosen. InvalidParameter: the chunk is no power of two in 4 KiB to 1
  /// GiB. JournalNotActive, JournalDeleteInProgress.
  Result<> track_ranges(usn::RangeTracking tracking);
  /// Closes the file as far as the journal is concerned. The usn of its last record.
  /// MediaWriteProtected, JournalNotActive.
  Result<usn::Usn> write_close_record(File& file);

 private:
  Volume& volume_;
};

}  // namespace ntfs
