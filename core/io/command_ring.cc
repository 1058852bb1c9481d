#include "core/io/command_ring.h"

#include <liburing.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/base/assert.h"

namespace ntfs {

namespace {

constexpr unsigned kSubmissions = 64;
/// What IORING_SETUP_SQE128 leaves for a command.
constexpr size_t kMostDetails = 80;

}  // namespace

CommandRing::CommandRing(int event) : event_(event), ring_(std::make_unique<io_uring>()) {
  io_uring_params parameters{};
  // What was added goes together with the wait for what comes next, and nothing interrupts the
  // thread in between.
  parameters.flags = IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                     IORING_SETUP_DEFER_TASKRUN;
  if (event_ < 0 || io_uring_queue_init_params(kSubmissions, ring_.get(), &parameters) != 0) {
    ring_.reset();
    return;
  }
  io_uring_register_ring_fd(ring_.get());  // cheaper calls; where it fails, they are as they were
  watch_event();
}

CommandRing::~CommandRing() {
  if (ring_ != nullptr) io_uring_queue_exit(ring_.get());
}

io_uring_sqe* CommandRing::next_submission() {
  io_uring_sqe* submission = io_uring_get_sqe(ring_.get());
  if (submission == nullptr) {
    io_uring_submit(ring_.get());
    submission = io_uring_get_sqe(ring_.get());
    ASSERT(submission != nullptr);
  }
  return submission;
}

void CommandRing::watch_event() {
  io_uring_sqe* submission = next_submission();
  io_uring_prep_poll_multishot(submission, event_, POLLIN);
  io_uring_sqe_set_data(submission, nullptr);
}

void CommandRing::add(const Command& command) {
  ASSERT(command.tag != nullptr && command.details.size() <= kMostDetails);
  io_uring_sqe* submission = next_submission();
  std::memset(submission, 0, sizeof(*submission));
  submission->opcode = IORING_OP_URING_CMD;
  submission->fd = command.file;
  submission->cmd_op = command.operation;
  submission->addr = reinterpret_cast<uint64_t>(command.memory.data());
  submission->len = static_cast<uint32_t>(command.memory.size());
  // Reaches into the second half of the submission.
  std::ranges::copy(command.details,
                    reinterpret_cast<std::byte*>(submission) + offsetof(io_uring_sqe, cmd));
  io_uring_sqe_set_data(submission, command.tag);
}

int CommandRing::wait() { return std::min(io_uring_submit_and_wait(ring_.get(), 1), 0); }

CommandRing::Completion CommandRing::next() {
  io_uring_cqe* completion = nullptr;
  while (io_uring_peek_cqe(ring_.get(), &completion) == 0) {
    const Completion result{io_uring_cqe_get_data(completion), completion->res};
    const bool goes_on = (completion->flags & IORING_CQE_F_MORE) != 0;
    io_uring_cqe_seen(ring_.get(), completion);
    if (result.tag != nullptr) return result;
    uint64_t count = 0;
    const ssize_t taken = ::read(event_, &count, sizeof(count));
    static_cast<void>(taken);  // nothing is there when two completions tell of the same
    if (!goes_on) watch_event();
  }
  return {};
}

}  // namespace ntfs
