#pragma once

// The checker: reads a whole NTFS 3.1 volume and says what is wrong with it. It knows the bytes
// through the structures of core/ondisk and works out everything else itself, without the store's
// logic, so that it can judge what the store writes. It goes on after a finding wherever that can
// still tell something. Writes nothing; every loop is bounded by the size of the volume.

#include <atomic>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/io/block_device.h"

namespace ntfs {

/// One thing that is wrong. Texts are for people and for `check --json`.
struct Finding {
  std::string structure;        ///< e.g. "file record", "index", "$Bitmap"
  uint64_t file_reference = 0;  ///< raw FileReference of the file concerned; 0: none
  std::string where;            ///< the place in the structure
  std::string expected;
  std::string found;
  std::string message;  ///< the rule that is broken, one sentence
};

/// How far a check has come, for another thread to look at.
struct CheckProgress {
  std::atomic<uint64_t> records{0};        ///< of $MFT, read and checked
  std::atomic<uint64_t> records_total{0};  ///< 0 until it is known
};

struct CheckOptions {
  /// Demand that every index entry repeats the times, sizes and attributes of its file. Windows
  /// keeps them lazily (names of hard links, last access), so a good volume may differ.
  bool strict_duplicates = false;
  /// Demand that no page carries an LSN beyond the end of a clean log. A log that was made anew
  /// with lower LSNs, which happens to volumes of Windows, leaves such pages.
  bool strict_lsns = false;
  /// A volume whose store is still open, after it has written back all pages: the log need not be
  /// clean, $Volume may be dirty, and records of open files may have no name any more.
  bool live = false;
  /// The device shows a volume as its log makes it (an overlay): the log itself need not be clean.
  bool replayed = false;
  /// Findings that are kept; the rest are counted.
  size_t max_findings = 1000;
  /// Must outlive the check. Null: nobody looks.
  CheckProgress* progress = nullptr;
};

struct CheckReport {
  std::vector<Finding> errors;
  uint64_t suppressed = 0;  ///< findings beyond CheckOptions::max_findings

  uint64_t records = 0;         ///< of $MFT
  uint64_t records_in_use = 0;  ///< base and extension records
  uint64_t files = 0;           ///< base records in use that are no directories
  uint64_t directories = 0;
  uint64_t names = 0;          ///< $FILE_NAME attributes
  uint64_t index_entries = 0;  ///< of file name indexes
  uint64_t index_blocks = 0;   ///< of all indexes, reachable
  uint64_t clusters_total = 0;
  uint64_t clusters_used = 0;          ///< that some attribute claims
  uint64_t fragments = 0;              ///< runs of nonresident attributes, holes left out
  uint64_t fragmented_attributes = 0;  ///< of more than one run

  bool is_clean() const { return errors.empty() && suppressed == 0; }
};

/// Errors: UnrecognizedVolume (no NTFS boot sector, neither at the front nor as the backup), and
/// the device's for its first sector. All else is a finding.
Result<CheckReport> check_volume(BlockDevice& device, const CheckOptions& options);

/// One line: structure, file, place, expected, found, message.
std::string to_line(const Finding& finding);

}  // namespace ntfs
