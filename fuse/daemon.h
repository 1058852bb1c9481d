#pragma once

// Going to the background: the parent returns when the child says that it is ready, or why not.
// Source: daemon(7), fork(2).

namespace ntfs::frontend {

/// The child's way to tell its parent. In the foreground nobody listens.
class ReadyNotice {
 public:
  ReadyNotice() = default;
  explicit ReadyNotice(int fd) : fd_(fd) {}
  /// Without a call of ready(), the parent hears that it failed.
  ~ReadyNotice();
  ReadyNotice(ReadyNotice&& other) noexcept;
  ReadyNotice& operator=(ReadyNotice&&) = delete;

  /// Leaves the terminal behind: from now on messages go to syslog.
  void ready();
  /// The parent ends with this exit code. The child has printed why.
  void failed(int exit_code);

 private:
  void send(unsigned char exit_code);
  int fd_ = -1;
};

struct Forked {
  bool is_parent = false;
  int exit_code = 0;   ///< the parent's
  ReadyNotice notice;  ///< the child's
};
/// Makes the child, before any thread is. The parent comes back when the child is ready or has
/// failed (`failure` when it ended without a word, or cannot be made).
Forked fork_daemon(int failure);

}  // namespace ntfs::frontend
