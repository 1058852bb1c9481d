#pragma once

// SEEK_DATA and SEEK_HOLE in a file that the kernel holds written pages of: with the write-back
// cache it asks without sending them first, and what it has not sent looks like a hole from here.
// So they are fetched: the kernel is told to drop the file's pages, and sends the dirty ones before
// it does. It waits for the answers to these WRITE requests meanwhile, hence a thread that answers
// nothing else.

#include <deque>
#include <thread>

#include "core/base/mutex.h"
#include "core/fsa/object_store.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

struct SeekRequest {
  fuse_req_t request = nullptr;
  fuse_ino_t node = 0;
  FilePtr file;
  uint64_t offset = 0;
  ObjectStore::RangeKind kind = ObjectStore::RangeKind::Data;
};

class SeekQueue {
 public:
  /// `store` must outlive the queue.
  explicit SeekQueue(ObjectStore& store) : store_(store) {}
  ~SeekQueue() { stop(); }
  SeekQueue(const SeekQueue&) = delete;
  SeekQueue& operator=(const SeekQueue&) = delete;

  void start(fuse_session* session);
  /// Ends the thread, once it has answered what it has. Whoever answers WRITE must still be there.
  void stop() EXCLUDES(mutex_);
  /// Answers later.
  void push(SeekRequest request) EXCLUDES(mutex_);
  /// Answers now, from what is known here.
  void answer(const SeekRequest& request);

 private:
  void run() EXCLUDES(mutex_);

  ObjectStore& store_;
  fuse_session* session_ = nullptr;  // set before the thread starts
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable changed_;
  std::deque<SeekRequest> requests_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace ntfs::frontend
