#include "fuse/waiting_locks.h"

#include <atomic>

#include "fuse/reply.h"

namespace ntfs::frontend {

class WaitingLocks::Waiter final : public PendingLock {
 public:
  Waiter(WaitingLocks& locks, fuse_req_t request, Open& by)
      : file(by.file()), stream(by.stream()), locks_(locks), request_(request) {}

  void complete(NtStatus status) override {
    const WaiterPtr self = locks_.take(request_);  // until the end of this function
    Reply(request_).status(status);
  }

  // Of the open itself nothing is left after the answer: its RELEASE may come.
  const FilePtr file;
  Stream& stream;  // of `file`
  std::atomic<bool> is_interrupted{false};

 private:
  WaitingLocks& locks_;
  const fuse_req_t request_;
};

void WaitingLocks::lock(fuse_req_t request, Open& open, const LockParameters& wanted) {
  const auto waiter = std::make_shared<Waiter>(*this, request, open);
  {
    const MutexLock lock(mutex_);
    waiters_.emplace(request, waiter);
  }
  // From here on a signal may come, and from lock() on somebody else may answer.
  fuse_req_interrupt_func(request, on_interrupt, this);
  const auto locked = store_.lock(open, wanted, waiter.get());
  if (locked || locked.error() != NtStatus::Pending) {
    waiter->complete(locked ? NtStatus::Success : locked.error());
  } else if (waiter->is_interrupted) {
    cancel(waiter);
  }
}

void WaitingLocks::on_interrupt(fuse_req_t request, void* locks) {
  auto* self = static_cast<WaitingLocks*>(locks);
  const WaiterPtr waiter = self->find(request);
  if (waiter == nullptr) return;
  waiter->is_interrupted = true;
  self->cancel(waiter);
}

/// Without effect before the lock was asked for, and after the answer.
void WaitingLocks::cancel(const WaiterPtr& waiter) { store_.cancel(waiter->stream, *waiter); }

WaitingLocks::WaiterPtr WaitingLocks::find(fuse_req_t request) {
  const MutexLock lock(mutex_);
  const auto found = waiters_.find(request);
  return found == waiters_.end() ? nullptr : found->second;
}

WaitingLocks::WaiterPtr WaitingLocks::take(fuse_req_t request) {
  const MutexLock lock(mutex_);
  const auto found = waiters_.find(request);
  WaiterPtr taken = std::move(found->second);
  waiters_.erase(found);
  return taken;
}

void WaitingLocks::stop() {
  std::vector<WaiterPtr> all;
  {
    const MutexLock lock(mutex_);
    for (const auto& [request, waiter] : waiters_) all.push_back(waiter);
  }
  for (const WaiterPtr& waiter : all) cancel(waiter);
}

}  // namespace ntfs::frontend
