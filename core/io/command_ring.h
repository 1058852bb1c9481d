#pragma once

// A ring for commands that the kernel answers when it has something to tell
// (IORING_OP_URING_CMD), and for an event that wakes whoever waits. Of one thread: it makes it, and
// alone uses it. Source: io_uring(7), io_uring_enter(2).

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>

#include "core/base/bytes.h"

struct io_uring;
struct io_uring_sqe;

namespace ntfs {

class CommandRing {
 public:
  struct Command {
    int file = -1;
    uint32_t operation = 0;         ///< as the file knows it
    std::span<const iovec> memory;  ///< until the completion, with all that it names; may be empty
    ByteView details;               ///< up to 80 bytes
    void* tag = nullptr;            ///< not null
  };
  struct Completion {
    void* tag = nullptr;
    int result = 0;  ///< negative: an error number
  };

  /// `event`: an eventfd that does not block; once somebody has written to it, wait() returns.
  explicit CommandRing(int event);
  ~CommandRing();
  CommandRing(const CommandRing&) = delete;
  CommandRing& operator=(const CommandRing&) = delete;

  /// False: the kernel has no such rings for this program.
  bool is_open() const { return ring_ != nullptr; }

  /// Goes to the kernel with the next wait().
  void add(const Command& command);
  /// Sends what was added, and waits for a completion, a write to the event or a signal.
  /// The result is 0 or a negative error number.
  int wait();
  /// The next completion that is there; without a tag: there is none.
  Completion next();

 private:
  io_uring_sqe* next_submission();
  void watch_event();

  const int event_;
  std::unique_ptr<io_uring> ring_;
};

}  // namespace ntfs
