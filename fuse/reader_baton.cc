#include "fuse/reader_baton.h"

namespace ntfs::frontend {

bool ReaderBaton::take() {
  const MutexLock lock(mutex_);
  while (taken_ && !closed_) free_.wait(mutex_);
  if (closed_) return false;
  taken_ = true;
  return true;
}

bool ReaderBaton::try_take() {
  const MutexLock lock(mutex_);
  if (taken_ || closed_) return false;
  taken_ = true;
  return true;
}

void ReaderBaton::pass() {
  const MutexLock lock(mutex_);
  taken_ = false;
  free_.notify_one();
}

void ReaderBaton::close() {
  const MutexLock lock(mutex_);
  closed_ = true;
  free_.notify_all();
}

}  // namespace ntfs::frontend
