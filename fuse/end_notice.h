#pragma once

// How `umount` learns that the volume is clean: the mount's process listens on an abstract socket
// named after the mount, and tells everybody who is connected how its end went. Nothing has to be
// polled, and nothing is left behind. The name contains the source beside the mount's device
// number, which the kernel gives away again while the process still closes the volume.
// Source: unix(7).

#include <optional>
#include <string>
#include <vector>

#include "fuse/mount_point.h"

namespace ntfs::frontend {

/// In the mount's process.
class EndNotice {
 public:
  EndNotice() = default;
  ~EndNotice();
  EndNotice(const EndNotice&) = delete;
  EndNotice& operator=(const EndNotice&) = delete;

  /// Without success, umount cannot wait.
  void listen(const MountEntry& mount);
  /// Readable when somebody connects; -1: nobody can.
  int fd() const { return fd_; }
  /// Takes in who has connected, and forgets who has gone.
  void admit();
  /// Takes in the last who have connected, and frees the name for the next mount.
  void stop_listening();
  /// Tells those who are connected. `problem`: "" when the volume is clean.
  void tell(const std::string& problem);

 private:
  int fd_ = -1;
  std::vector<int> clients_;
};

/// In umount: connected before the unmount, asked after it.
class EndListener {
 public:
  /// Nothing when nobody listens, or somebody that may not be trusted.
  static std::optional<EndListener> connect(const MountEntry& mount);
  ~EndListener();
  EndListener(EndListener&& other) noexcept;
  EndListener& operator=(EndListener&&) = delete;

  /// Waits for the end. "" when the volume is clean, else what went wrong.
  std::string wait();

 private:
  explicit EndListener(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace ntfs::frontend
