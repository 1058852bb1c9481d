#include "fuse/seek_queue.h"

#include "fuse/reply.h"

namespace ntfs::frontend {

void SeekQueue::start(fuse_session* session) {
  session_ = session;
  thread_ = std::thread([this] { run(); });
}

void SeekQueue::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void SeekQueue::push(SeekRequest request) {
  {
    const MutexLock lock(mutex_);
    if (!stopping_) {
      requests_.push_back(std::move(request));
      changed_.notify_one();
      return;
    }
  }
  Reply(request.request).status(NtStatus::VolumeDismounted);
}

void SeekQueue::answer(const SeekRequest& request) {
  Reply reply(request.request);
  const auto found = store_.next_range(*request.file, request.offset, request.kind);
  if (!found) return reply.status(found.error());
  reply.offset(*found);
}

void SeekQueue::run() {
  while (true) {
    SeekRequest request;
    {
      const MutexLock lock(mutex_);
      while (requests_.empty() && !stopping_) changed_.wait(mutex_);
      if (requests_.empty()) return;
      request = std::move(requests_.front());
      requests_.pop_front();
    }
    // From 0 to the end. A failure means that the kernel no longer knows the file, or has no pages.
    fuse_lowlevel_notify_inval_inode(session_, request.node, 0, 0);
    answer(request);
  }
}

}  // namespace ntfs::frontend
