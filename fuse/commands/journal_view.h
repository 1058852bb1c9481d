#pragma once

// The change journal of a volume, as commands look at it: that of a mount, by ioctl, or that of a
// volume that is not mounted, as the next mount will find it.

#include <memory>
#include <string>

#include "core/fsa/usn_control.h"
#include "fuse/usn_ioctl.h"

namespace ntfs::frontend {

class JournalView {
 public:
  virtual ~JournalView() = default;
  virtual bool is_mounted() const = 0;
  // As in UsnControls. read() waits on a mount alone.
  virtual Result<UsnJournalData> query() = 0;
  virtual Result<UsnAnswer> read(const UsnReadParameters& parameters) = 0;
  virtual Result<UsnAnswer> enumerate(const UsnEnumerateParameters& parameters) = 0;
};

/// Makes a journal or changes its sizes (bytes; a delta of 0 is chosen), or deletes it. Volumes
/// that are not mounted are for the moment. Other errors than those of usn_life_cycle.h are
/// printed.
struct JournalChange {
  enum class Kind { Create, Delete };
  Kind kind = Kind::Create;
  uint64_t maximum_size = 0;
  uint64_t allocation_delta = 0;
};
Result<> change_journal(const std::string& source, const JournalChange& change);

/// `source`: a volume, or a directory on a mount. Errors are printed.
Result<std::unique_ptr<JournalView>> open_journal(const std::string& source);

/// Has the written ranges recorded on a mount. A size of 0 is chosen. InvalidDeviceRequest:
/// `source` is no directory. Errors of opening it are printed.
Result<> track_ranges(const std::string& source, const usn::RangeTracking& tracking);

/// In words, for messages.
std::string explain_journal(NtStatus status);

}  // namespace ntfs::frontend
