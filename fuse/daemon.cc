#include "fuse/daemon.h"

#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "core/base/trace.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

/// The byte that the child writes, whatever signals come meanwhile; `failure` when none comes.
int read_exit_code(int fd, int failure) {
  unsigned char code = 0;
  for (;;) {
    const ssize_t got = read(fd, &code, 1);
    if (got == 1) return code;
    if (got == 0 || last_system_error().kind != SystemError::Kind::Interrupted) break;
  }
  log_line(LogLevel::Error, "the mount's process ended before the mount was ready");
  return failure;
}

}  // namespace

Forked fork_daemon(int failure) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    log_line(LogLevel::Error, "no pipe: " + last_system_error().text);
    return {true, failure, ReadyNotice()};
  }
  const pid_t child = fork();
  if (child < 0) {
    log_line(LogLevel::Error, "no further process: " + last_system_error().text);
    return {true, failure, ReadyNotice()};
  }
  if (child > 0) {
    close(ends[1]);
    const int code = read_exit_code(ends[0], failure);
    return {true, code, ReadyNotice()};
  }
  close(ends[0]);
  setsid();
  return {false, 0, ReadyNotice(ends[1])};
}

ReadyNotice::ReadyNotice(ReadyNotice&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

ReadyNotice::~ReadyNotice() {
  if (fd_ >= 0) close(fd_);
}

void ReadyNotice::send(unsigned char exit_code) {
  if (fd_ < 0) return;
  if (write(fd_, &exit_code, 1) != 1) {
    log_line(LogLevel::Warning, "the program that mounted has ended already");
  }
  close(std::exchange(fd_, -1));
}

void ReadyNotice::ready() {
  if (fd_ < 0) return;
  log_to_syslog();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, standard);
  if (null >= 0) close(null);
  if (chdir("/") != 0) log_line(LogLevel::Warning, "cannot leave the working directory");
  send(0);
}

void ReadyNotice::failed(int exit_code) { send(static_cast<unsigned char>(exit_code)); }

}  // namespace ntfs::frontend
