#pragma once

// Replays the log of a volume that was not unmounted: analysis, redo, undo (log sheet 7 "Replay"),
// with the check and apply that run live. It needs the device alone: log records say by cluster
// number where a page stands, and $LogFile is found through the boot sector.
//
// Everything happens in memory. Only when all of it has succeeded can the result be written, page
// by page, in any order; then the log begins a new epoch, above the stamp. A crash meanwhile is
// recovered by doing it all again:
// - The log is the same, so the same pages come out. Pages that had arrived carry the stamp and are
//   left alone (see recovered_pages.h).
// - A page that the crash tore is made whole by its image in the log, which this driver writes
//   before the first change of a page in each checkpoint interval. Other systems' logs have no
//   images; there a torn page is an error that says so.
//
// What is not understood is refused, and then nothing is written: an operation or version that
// nobody documents, a missing or damaged record, an operation that does not fit its page. The bytes
// of the log are hostile; memory and time are bounded by its length.

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/io/block_device.h"
#include "core/io/overlay_device.h"
#include "core/ondisk/boot_sector.h"
#include "core/store/log_store.h"
#include "lfs/log_file.h"

namespace ntfs {

struct RecoveryReport {
  lfs::Lsn start_lsn;  ///< first record that was redone or could have been; none: there was none
  lfs::Lsn end_lsn;    ///< last record of the log
  uint64_t records_scanned = 0;  ///< behind the last checkpoint
  uint64_t records_redone = 0;   ///< those that the pages did not show yet
  uint64_t records_undone = 0;
  uint64_t transactions_committed = 0;  ///< behind the last checkpoint
  uint64_t transactions_undone = 0;
  uint64_t pages = 0;  ///< that changed
  /// What the last committed transactions did, oldest first: `create "a.txt"`. At most 10.
  std::vector<std::string> last_operations;
  std::chrono::microseconds duration{0};
};
/// One line: "12 records redone, 1 transaction undone, ...".
std::string describe(const RecoveryReport& report);

class Recovery {
 public:
  /// Replays the log of the volume with `geometry` in memory. Null when the log is clean, empty, or
  /// so damaged that nobody can tell whether there is something to replay. Errors with `why_not`
  /// filled: LogCorrupt, NotSupported, FileCorruptError (it cannot be replayed). Else the device's.
  static Result<std::unique_ptr<Recovery>> replay(BlockDevice& device,
                                                  const ondisk::VolumeGeometry& geometry,
                                                  std::string& why_not);

  const RecoveryReport& report() const { return report_; }
  /// From where on the change journal may speak of files that were not closed: 0 unless the last
  /// checkpoint knew it as `file`.
  uint64_t usn_restart(FileReference file) const {
    return file == usn_file_ ? usn_restart_offset_ : 0;
  }
  /// The log must go on above this LSN.
  lfs::Lsn stamp() const { return stamp_; }
  /// What has to be written, by offset; no two overlap.
  std::span<const DevicePatch> patches() const { return patches_; }
  /// Writes the patches, waits until they are durable, and forgets them. Errors: the device's.
  Result<> write(BlockDevice& device);

 private:
  RecoveryReport report_;
  lfs::Lsn stamp_;
  FileReference usn_file_;
  uint64_t usn_restart_offset_ = 0;
  std::vector<DevicePatch> patches_;
};

/// $LogFile as the file record says that the boot sector leads to, or else its copy in $MFTMirr.
/// FileCorruptError (reported): neither is whole. `device` must outlive the result.
Result<std::unique_ptr<LogStoreOnVolume>> find_log(BlockDevice& device,
                                                   const ondisk::VolumeGeometry& geometry);

}  // namespace ntfs
