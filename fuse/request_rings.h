#pragma once

// FUSE over io_uring: each processor has a queue of its own, and threads of this program wait at
// it, bound to that processor. Whoever makes a request there lends the processor to the thread that
// answers, and gets it back with the answer: no other one has to be woken, which costs more than
// most requests, and one system call takes an answer and waits for the next request. A thread that
// moves data is not bound: whoever gave it work may go on meanwhile.
//
// The kernel has it from version 6.14 on, where the parameter enable_uring of its module fuse is
// set. FORGET and INTERRUPT still come through /dev/fuse. A signal to a program that comes before
// its request has been handed over never becomes an INTERRUPT (seen with Linux 6.18).
//
// Each thread has a ring and, as a rule, one entry: the memory for one request and its answer. It
// gives the kernel one more when it leaves its last request to somebody else to answer: a new entry
// takes new requests, but none that wait already. These need an answer to follow; so each
// processor has two threads at least.
//
// Source: Linux, Documentation/filesystems/fuse/fuse-io-uring.rst, include/uapi/linux/fuse.h
// (7.42), fs/fuse/dev_uring.c as to behaviour.

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "fuse/fuse_api.h"

namespace ntfs::frontend {

class RequestRings {
 public:
  struct Options {
    int queue = -1;            ///< /dev/fuse, as it is open for the mount
    size_t payload_bytes = 0;  ///< longest data of a request or an answer
    uint32_t threads = 0;      ///< about so many; from two for each processor to 32
    /// Handles one request, as libfuse reads them from /dev/fuse: in memory that stays until the
    /// answer. The data of a WRITE is at a multiple of 4096. Whether memory alone has the answer.
    std::function<bool(const fuse_buf&)> handle;
    std::function<void()> ended;  ///< a thread has ended: the mount is gone
  };

  /// `device` must outlive the object.
  RequestRings(BlockDevice& device, Options options);
  ~RequestRings();
  RequestRings(const RequestRings&) = delete;
  RequestRings& operator=(const RequestRings&) = delete;

  /// Makes threads, rings and memory; before the kernel is told that there are any.
  /// NotSupported: there are too many processors to give each its memory.
  /// InsufficientResources: the kernel refuses.
  Result<> prepare() EXCLUDES(mutex_);
  /// After the kernel was told: from now on requests come.
  void start() EXCLUDES(mutex_);
  /// Takes the answer to a request that came by a ring: its fuse_out_header and what follows.
  /// False: it did not come so. Any thread may call it.
  bool take_answer(const iovec* parts, int count) EXCLUDES(mutex_);
  /// Ends the threads.
  void stop() EXCLUDES(mutex_);

 private:
  class Entry;
  class Server;
  enum class Stage { Preparing, Started, Stopping };

  Result<> make_servers();
  Entry* find(uint64_t request) EXCLUDES(mutex_);
  Stage wait_for_start() EXCLUDES(mutex_);

  BlockDevice& device_;
  const Options options_;
  std::atomic<bool> stopping_{false};
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable changed_;
  Stage stage_ GUARDED_BY(mutex_) = Stage::Preparing;
  uint32_t prepared_ GUARDED_BY(mutex_) = 0;
  bool failed_ GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<Server>> servers_;
};

}  // namespace ntfs::frontend
