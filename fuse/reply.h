#pragma once

// The answer to one FUSE request: given exactly once, EIO when nobody gave it. Use it after every
// lock is released: sending it may wake the kernel, which may ask again at once.
// Also the way from NtStatus to errno, and the one place of fuse/ that looks at errno.

#include <string>
#include <string_view>
#include <utility>

#include "core/base/bytes.h"
#include "core/base/status.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

/// The errno that Linux programs expect for `status`. Success gives 0. Source: fact sheet of
/// MS-FSA, section "NTSTATUS codes and errno mapping"; MS-ERREF 2.3.1.
int errno_of(NtStatus status);

/// What a system call of the front end failed with.
struct SystemError {
  enum class Kind { None, Other, Busy, Interrupted, NotPermitted, NotConnected };
  Kind kind = Kind::Other;
  std::string text;  ///< e.g. "Device or resource busy"
};
/// `error`: an error number; 0 is none.
SystemError system_error_of(int error);
/// Of the last system call of this thread that failed.
SystemError last_system_error();
/// The status that an ioctl of ours failed with (usn_ioctl.h), in this thread's last call.
NtStatus last_control_status();

class Reply {
 public:
  explicit Reply(fuse_req_t request) : request_(request) {}
  ~Reply();
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;

  void status(NtStatus status);
  void ok() { status(NtStatus::Success); }
  void result(const Result<>& result) { status(result.error()); }
  /// False when the kernel does not want it any more: what it would hold must be taken back.
  bool entry(const fuse_entry_param& entry);
  bool create(const fuse_entry_param& entry, const fuse_file_info& info);
  bool open(const fuse_file_info& info);
  void attributes(const struct stat& attributes, double timeout_seconds);
  void readlink(const std::string& target);
  bool bytes(ByteView bytes);
  void written(size_t count_bytes);
  /// How much room an extended attribute, or the list of them, needs.
  void size(size_t count_bytes);
  /// Of an ioctl: as many bytes as it returns.
  void control(ByteView bytes);
  /// Of an ioctl that returns 0 and fills its argument.
  void filled(ByteView bytes);
  /// There is no such ioctl.
  void unknown_control();
  void offset(uint64_t offset);
  void lock(const struct flock& lock);
  void statistics(const struct statvfs& statistics);
  /// For requests that have no answer (forget).
  void none();
  /// The request, for somebody else to answer.
  fuse_req_t take() { return std::exchange(request_, nullptr); }

 private:
  fuse_req_t request_;
};

}  // namespace ntfs::frontend
