#include "fuse/kernel_cache.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace ntfs::frontend {

void KernelCache::start(fuse_session* session) {
  session_ = session;
  thread_ = std::thread([this] { run(); });
  names_thread_ = std::thread([this] { run_names(); });
}

void KernelCache::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    names_changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  if (names_thread_.joinable()) names_thread_.join();
}

void KernelCache::break_then(fuse_ino_t node, std::function<void()> then) {
  {
    const MutexLock lock(mutex_);
    if (!stopping_) {
      breaks_.push_back({node, std::move(then)});
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

void KernelCache::drop_names(std::vector<Name> names) {
  constexpr std::chrono::milliseconds kMostWait(100);
  const auto deadline = std::chrono::steady_clock::now() + kMostWait;
  const MutexLock lock(mutex_);
  if (stopping_) return;
  names_queued_ += names.size();
  const uint64_t last = names_queued_;
  std::move(names.begin(), names.end(), std::back_inserter(names_));
  names_changed_.notify_all();
  while (names_dropped_ < last && std::chrono::steady_clock::now() < deadline) {
    (void)names_changed_.wait_for(mutex_, kMostWait);
  }
}

void KernelCache::forget_name(fuse_ino_t directory, std::string name) {
  const MutexLock lock(mutex_);
  if (stopping_) return;
  ++names_queued_;
  names_.push_back({directory, std::move(name)});
  names_changed_.notify_all();
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
    drop(next.node);
    next.then();
  }
}

void KernelCache::run_names() {
  while (true) {
    Name next;
    {
      const MutexLock lock(mutex_);
      while (names_.empty() && !stopping_) names_changed_.wait(mutex_);
      if (stopping_) return;
      next = std::move(names_.front());
      names_.pop_front();
    }
    // A failure means that the kernel does not know the name.
    fuse_lowlevel_notify_inval_entry(session_, next.directory, next.name.data(), next.name.size());
    const MutexLock lock(mutex_);
    ++names_dropped_;
    names_changed_.notify_all();
  }
}

}  // namespace ntfs::frontend
