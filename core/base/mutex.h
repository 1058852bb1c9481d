#pragma once

// Mutexes with a rank: a thread may only take a lock of a higher rank than all that it holds.
// Builds with NTFS_CHECK_LOCK_ORDER verify each acquisition.
// clang's -Wthread-safety verifies what each lock guards.

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define NTFS_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define NTFS_THREAD_ANNOTATION(x)
#endif
#define CAPABILITY(x) NTFS_THREAD_ANNOTATION(capability(x))
#define SCOPED_CAPABILITY NTFS_THREAD_ANNOTATION(scoped_lockable)
#define GUARDED_BY(x) NTFS_THREAD_ANNOTATION(guarded_by(x))
#define PT_GUARDED_BY(x) NTFS_THREAD_ANNOTATION(pt_guarded_by(x))
#define REQUIRES(...) NTFS_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) NTFS_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE(...) NTFS_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) NTFS_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) NTFS_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) NTFS_THREAD_ANNOTATION(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) NTFS_THREAD_ANNOTATION(release_generic_capability(__VA_ARGS__))
#define EXCLUDES(...) NTFS_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS NTFS_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace ntfs {

/// The order in which locks are taken, first to last.
enum class LockRank : int {
  Frontend,       // inode table of the FUSE front end, handle tables
  StreamPassage,  // one stream where opens lock it: who reads and writes data (shared), who is
                  // granted something (exclusive)
  StreamState,    // one stream: its opens, byte-range locks, oplock
  Commit,         // one commit of the volume at a time
  Volume,         // the gate: shared by every change, exclusive to freeze the volume
  StreamChange,   // one stream: who changes its allocation (write-back, truncate, punch, ...)
  Stream,         // one stream: sizes, runlist, buffered units
  Checkpoint,     // one checkpoint at a time
  Metadata,       // shared by readers of metadata, exclusive by a Transaction
  FileTable,      // file reference -> File; files with unwritten changes
  ClusterBitmap,  // runs that are claimed, or freed and not yet reusable
  Page,           // the table of metadata pages
  LogFlush,       // lfs: one flush at a time; held across the log's own I/O
  Log,            // lfs: positions and the page ring
  Device,         // free rings of the device
};

template <typename Lockable>
class PairLock;

class CAPABILITY("mutex") Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE();
  void unlock() RELEASE();

 private:
  friend class ConditionVariable;
  friend class PairLock<Mutex>;
  static void lock_pair(Mutex& first, Mutex& second) NO_THREAD_SAFETY_ANALYSIS;
  static void unlock_pair(Mutex& first, Mutex& second) NO_THREAD_SAFETY_ANALYSIS;
  std::mutex mutex_;
  const LockRank rank_;
};

/// Readers and a writer; a waiting writer goes before new readers.
class CAPABILITY("shared_mutex") SharedMutex {
 public:
  explicit SharedMutex(LockRank rank);
  ~SharedMutex();
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void lock() ACQUIRE();
  void unlock() RELEASE();
  void lock_shared() ACQUIRE_SHARED();
  void unlock_shared() RELEASE_SHARED();

 private:
  friend class PairLock<SharedMutex>;
  static void lock_pair(SharedMutex& first, SharedMutex& second) NO_THREAD_SAFETY_ANALYSIS;
  static void unlock_pair(SharedMutex& first, SharedMutex& second) NO_THREAD_SAFETY_ANALYSIS;

  pthread_rwlock_t lock_;
  const LockRank rank_;
};

/// For a lock on two objects of one kind: whichever comes first in memory is locked first, so that
/// two threads with the same pair never wait for each other. The two may be one.
template <typename Lockable>
class SCOPED_CAPABILITY PairLock {
 public:
  PairLock(Lockable& a, Lockable& b) ACQUIRE(a, b)
      : first_(&a < &b ? a : b), second_(&a < &b ? b : a) {
    Lockable::lock_pair(first_, second_);
  }
  ~PairLock() RELEASE() { Lockable::unlock_pair(first_, second_); }
  PairLock(const PairLock&) = delete;
  PairLock& operator=(const PairLock&) = delete;

 private:
  Lockable& first_;
  Lockable& second_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class SCOPED_CAPABILITY ExclusiveLock {
 public:
  explicit ExclusiveLock(SharedMutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~ExclusiveLock() RELEASE() { mutex_.unlock(); }
  ExclusiveLock(const ExclusiveLock&) = delete;
  ExclusiveLock& operator=(const ExclusiveLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class SCOPED_CAPABILITY SharedLock {
 public:
  explicit SharedLock(SharedMutex& mutex) ACQUIRE_SHARED(mutex) : mutex_(mutex) {
    mutex_.lock_shared();
  }
  ~SharedLock() RELEASE_GENERIC() { mutex_.unlock_shared(); }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;

 private:
  SharedMutex& mutex_;
};

/// Waits on a Mutex that the caller holds.
class ConditionVariable {
 public:
  void wait(Mutex& mutex) REQUIRES(mutex);
  /// False when `timeout` passed without a notification.
  bool wait_for(Mutex& mutex, std::chrono::milliseconds timeout) REQUIRES(mutex);
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace ntfs
