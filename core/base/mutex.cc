#include "core/base/mutex.h"

#include <array>
#include <thread>

#include "core/base/assert.h"

namespace ntfs {

namespace {

#if defined(NTFS_CHECK_LOCK_ORDER)
// Ranks held by this thread, as counts; never two of one rank, but for the two of a PairLock.
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

/// How often a held lock is looked at before its holder is waited for: some tens of microseconds,
/// what it may cost in a virtual machine to go to sleep and to be woken. After every few looks
/// others may have the processor: who asks for files often waits for it on the same one.
constexpr int kLooks = 1000;
constexpr int kLooksInARow = 50;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Tries a while to take a lock without sleeping for it.
template <typename Try>
bool spin(Try&& try_lock) {
  static const bool is_alone = std::thread::hardware_concurrency() < 2;
  for (int i = 0; i < (is_alone ? 1 : kLooks); ++i) {
    if (try_lock()) return true;
    if (i % kLooksInARow == kLooksInARow - 1) {
      std::this_thread::yield();
    } else {
      pause();
    }
  }
  return false;
}

}  // namespace

void Mutex::lock() {
  note_acquire(rank_);
  mutex_.lock();
}

void Mutex::unlock() {
  mutex_.unlock();
  note_release(rank_);
}

void Mutex::lock_pair(Mutex& first, Mutex& second) {
  note_acquire(first.rank_);
  first.mutex_.lock();
  if (&first != &second) second.mutex_.lock();
}

void Mutex::unlock_pair(Mutex& first, Mutex& second) {
  if (&first != &second) second.mutex_.unlock();
  first.mutex_.unlock();
  note_release(first.rank_);
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
  if (spin([this] { return pthread_rwlock_trywrlock(&lock_) == 0; })) return;
  ASSERT(pthread_rwlock_wrlock(&lock_) == 0);
}

void SharedMutex::unlock() {
  pthread_rwlock_unlock(&lock_);
  note_release(rank_);
}

void SharedMutex::lock_pair(SharedMutex& first, SharedMutex& second) {
  note_acquire(first.rank_);
  ASSERT(pthread_rwlock_wrlock(&first.lock_) == 0);
  if (&first != &second) ASSERT(pthread_rwlock_wrlock(&second.lock_) == 0);
}

void SharedMutex::unlock_pair(SharedMutex& first, SharedMutex& second) {
  if (&first != &second) pthread_rwlock_unlock(&second.lock_);
  pthread_rwlock_unlock(&first.lock_);
  note_release(first.rank_);
}

void SharedMutex::lock_shared() {
  note_acquire(rank_);
  if (spin([this] { return pthread_rwlock_tryrdlock(&lock_) == 0; })) return;
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
