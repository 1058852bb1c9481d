#include "core/base/mutex.h"

#include <array>

#include "core/base/assert.h"

namespace ntfs {

namespace {

#if defined(NTFS_CHECK_LOCK_ORDER)
// Ranks held by this thread, as counts; never two of one rank.
thread_local std::array<int, 16> held{};

void note_acquire(LockRank rank) {
  for (size_t i = static_cast<size_t>(rank); i < held.size(); ++i) {
    ASSERT(held[i] == 0);
  }
  ++held[static_cast<size_t>(rank)];
}

void note_release(LockRank rank) { --held[static_cast<size_t>(rank)]; }
#else
void note_acquire(LockRank) {}
void note_release(LockRank) {}
#endif

}  // namespace

void Mutex::lock() {
  note_acquire(rank_);
  mutex_.lock();
}

void Mutex::unlock() {
  mutex_.unlock();
  note_release(rank_);
}

SharedMutex::SharedMutex(LockRank rank) : rank_(rank) {
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init(&lock_, &attributes);
  pthread_rwlockattr_destroy(&attributes);
}

SharedMutex::~SharedMutex() { pthread_rwlock_destroy(&lock_); }

void SharedMutex::lock() {
  note_acquire(rank_);
  ASSERT(pthread_rwlock_wrlock(&lock_) == 0);
}

void SharedMutex::unlock() {
  pthread_rwlock_unlock(&lock_);
  note_release(rank_);
}

void SharedMutex::lock_shared() {
  note_acquire(rank_);
  ASSERT(pthread_rwlock_rdlock(&lock_) == 0);
}

void SharedMutex::unlock_shared() {
  pthread_rwlock_unlock(&lock_);
  note_release(rank_);
}

void ConditionVariable::wait(Mutex& mutex) {
  std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
  condition_.wait(lock);
  lock.release();
}

bool ConditionVariable::wait_for(Mutex& mutex, std::chrono::milliseconds timeout) {
  std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
  const bool notified = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
  lock.release();
  return notified;
}

}  // namespace ntfs
