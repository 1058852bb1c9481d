#pragma once

// Reads of the change journal that wait for new records. Each has a thread of its own, which sleeps
// until a transaction has appended some: those that answer the kernel's other requests are not held
// up. A signal to the reading program (INTERRUPT) ends the wait. Thread safe.

#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/base/mutex.h"
#include "core/fsa/usn_control.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

class UsnWatches {
 public:
  static constexpr size_t kMost = 64;  ///< that wait at the same time

  /// `store` must outlive the object.
  explicit UsnWatches(ObjectStore& store) : controls_(store) {}
  ~UsnWatches() { stop(); }
  UsnWatches(const UsnWatches&) = delete;
  UsnWatches& operator=(const UsnWatches&) = delete;

  /// Answers the request, when there is something to tell.
  void read(fuse_req_t request, const UsnReadParameters& parameters) EXCLUDES(mutex_);
  /// Ends all that still wait: the mount ends.
  void stop() EXCLUDES(mutex_);

 private:
  struct Watch {
    fuse_req_t request = nullptr;
    UsnReadParameters parameters;
    UsnArrivals::Waiter waiter;
    std::thread thread;
  };

  static void on_interrupt(fuse_req_t request, void* watches);
  void cancel(fuse_req_t request) EXCLUDES(mutex_);
  void run(Watch& watch) EXCLUDES(mutex_);
  void join_ended() EXCLUDES(mutex_);

  UsnControls controls_;
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable ended_one_;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  std::unordered_map<fuse_req_t, std::unique_ptr<Watch>> watches_ GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Watch>> ended_ GUARDED_BY(mutex_);  // threads to be joined
};

}  // namespace ntfs::frontend
