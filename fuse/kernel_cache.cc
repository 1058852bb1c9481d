#include "fuse/kernel_cache.h"

#include <utility>

namespace ntfs::frontend {

void KernelCache::start(fuse_session* session) {
  session_ = session;
  thread_ = std::thread([this] { run(); });
}

void KernelCache::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void KernelCache::break_then(fuse_ino_t node, std::function<void()> then) {
  {
    const MutexLock lock(mutex_);
    if (!stopping_) {
      breaks_.push_back({node, std::move(then), {}});
      changed_.notify_one();
      return;
    }
  }
  then();
}

void KernelCache::drop(fuse_ino_t node) {
  // From 0 to the end. A failure means that the kernel no longer knows the file, or has no pages.
  fuse_lowlevel_notify_inval_inode(session_, node, 0, 0);
}

void KernelCache::drop_attributes(fuse_ino_t node) {
  constexpr off_t kNoData = -1;
  fuse_lowlevel_notify_inval_inode(session_, node, kNoData, 0);
}

void KernelCache::drop_name(fuse_ino_t directory, const std::string& name) {
  // A failure means that the kernel does not know it.
  fuse_lowlevel_notify_inval_entry(session_, directory, name.c_str(), name.size());
}

void KernelCache::forget_name(fuse_ino_t directory, std::string name) {
  const MutexLock lock(mutex_);
  if (stopping_) return;
  breaks_.push_back({directory, {}, std::move(name)});
  changed_.notify_one();
}

void KernelCache::run() {
  while (true) {
    Break next;
    {
      const MutexLock lock(mutex_);
      while (breaks_.empty() && !stopping_) changed_.wait(mutex_);
      if (breaks_.empty()) return;
      next = std::move(breaks_.front());
      breaks_.pop_front();
    }
    if (!next.name.empty()) {
      // A failure means that the kernel does not know the name.
      fuse_lowlevel_notify_inval_entry(session_, next.node, next.name.data(), next.name.size());
      continue;
    }
    drop(next.node);
    next.then();
  }
}

}  // namespace ntfs::frontend
