#include "fuse/usn_watches.h"

#include "fuse/reply.h"
#include "fuse/usn_ioctl.h"

namespace ntfs::frontend {

namespace {

void answer(Reply& reply, const Result<UsnReadAnswer>& told) {
  if (!told) return reply.status(told.error());
  reply.control(encode(*told));
}

}  // namespace

void UsnWatches::read(fuse_req_t request, const UsnReadParameters& parameters) {
  Reply reply(request);
  if (parameters.bytes_to_wait_for == 0) return answer(reply, controls_.read(parameters));
  auto made = std::make_unique<Watch>();
  Watch& watch = *made;
  watch.request = request;
  watch.parameters = parameters;
  join_ended();
  {
    const MutexLock lock(mutex_);
    if (!is_stopping_ && watches_.size() < kMost) watches_.emplace(request, std::move(made));
  }
  if (made != nullptr) return reply.status(NtStatus::InsufficientResources);
  // From here on a signal may come.
  fuse_req_interrupt_func(reply.take(), on_interrupt, this);
  const MutexLock lock(mutex_);
  watch.thread = std::thread([this, &watch] { run(watch); });
}

void UsnWatches::run(Watch& watch) {
  const auto told = controls_.read(watch.parameters, watch.waiter);
  {
    // Whoever finds it in the table may cancel it; its thread is set by then, too.
    const MutexLock lock(mutex_);
    const auto found = watches_.find(watch.request);
    ended_.push_back(std::move(found->second));
    watches_.erase(found);
    ended_one_.notify_all();
  }
  Reply reply(watch.request);
  answer(reply, told);
}

void UsnWatches::on_interrupt(fuse_req_t request, void* watches) {
  static_cast<UsnWatches*>(watches)->cancel(request);
}

void UsnWatches::cancel(fuse_req_t request) {
  const MutexLock lock(mutex_);
  const auto found = watches_.find(request);
  if (found != watches_.end()) controls_.cancel(found->second->waiter);
}

void UsnWatches::join_ended() {
  std::vector<std::unique_ptr<Watch>> ended;
  {
    const MutexLock lock(mutex_);
    ended.swap(ended_);
  }
  for (const auto& watch : ended) watch->thread.join();
}

void UsnWatches::stop() {
  {
    const MutexLock lock(mutex_);
    is_stopping_ = true;
    for (const auto& [request, watch] : watches_) controls_.cancel(watch->waiter);
    while (!watches_.empty()) ended_one_.wait(mutex_);
  }
  join_ended();
}

}  // namespace ntfs::frontend
