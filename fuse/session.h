#pragma once

// One FUSE mount: the connection to the kernel and the threads that answer it.
//
// Each thread reads requests into memory of its own, laid out so that the data of a WRITE starts
// at a multiple of 4096: with the device's memory it goes to the disk without a copy.
//
// Threads: start() and all that follows are for one thread, the one that made the session.
// Source: libfuse's fuse_lowlevel.h; fuse(4).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "fuse/filesystem.h"
#include "fuse/fuse_api.h"
#include "fuse/mount_options.h"
#include "fuse/reader_baton.h"
#include "fuse/request_rings.h"

namespace ntfs::frontend {

struct SessionOptions {
  std::string source;     ///< as the mount table shows it
  std::string directory;  ///< absolute
  bool read_only = false;
  bool allow_other = false;
  bool check_permissions = false;  ///< also where allow_other is not given
  bool writeback = true;
  bool posix_acls = false;  ///< the kernel enforces them; the umask is left to us
  bool keep_locks = false;  ///< locks are the file system's matter, not the kernel's
  uint32_t threads = 4;
  std::vector<std::string> kernel_flags;
  bool rings = true;            ///< request_rings.h, where the kernel has them
  bool trace_requests = false;  ///< print every request (libfuse's debug output)
};

/// The threads that a mount should have where the user did not say.
uint32_t default_threads();

class Session {
 public:
  /// How long a request takes, as a rule.
  enum class Duration {
    Read,    ///< what a ReadBatch answers
    Short,   ///< answered from memory: names and what is known of files
    Medium,  ///< one small transfer at most
    Long,
  };

  /// All must outlive the session.
  Session(Filesystem& filesystem, BlockDevice& device, const SessionOptions& options)
      : device_(device), options_(options), context_{{filesystem}, *this} {}
  /// Ends the threads and the mount, if they still are.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Mounts and starts the threads; returns when the kernel has asked for its first answer.
  /// On failure libfuse has printed why.
  Result<> start();

  /// Readable once a thread has ended, because the mount is gone.
  int end_event() const { return end_event_; }
  /// Makes the threads end although the mount may still be there, and waits for them.
  void stop();

 private:
  static constexpr size_t kPayloadOffset = 80;  ///< fuse_in_header and fuse_write_in
  static constexpr size_t kAlignment = AlignedBuffer::kAlignment;
  /// libfuse reads up to 1 MiB and one page into it.
  static constexpr size_t kRequestBytes = Filesystem::kMaxTransferBytes + 2 * kAlignment;

  struct Context : RequestContext {
    Session& session;
  };

  static void on_init(void* user_data, fuse_conn_info* connection);
  void initialize(fuse_conn_info& connection);
  Result<> mount();
  void prepare_rings();
  void add_thread();
  void work();
  void tell_end() const;
  void answer_requests(fuse_buf& buffer);
  int answer_reads(fuse_buf& buffer, bool& has_baton);
  bool wants_to_pass(Duration duration, uint32_t busy);
  void look_for_others();
  int receive(fuse_buf& buffer);
  int await_request(fuse_buf& buffer);
  bool sleep(int most_ms) const;
  bool has_request() const;
  void wait_until_initialized() EXCLUDES(mutex_);

  BlockDevice& device_;
  const SessionOptions options_;
  Context context_;
  fuse_session* session_ = nullptr;
  bool mounted_ = false;
  int end_event_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> running_{0};
  std::atomic<uint32_t> busy_{0};  // threads that answer a request
  ReaderBaton baton_;
  std::atomic<uint32_t> parallel_credit_{0};           // only the reader changes it
  uint32_t parallel_signs_ = 0;                        // whoever has the baton
  std::chrono::steady_clock::time_point rests_until_;  // whoever has the baton
  // With one processor, staying awake takes it from whoever makes the requests.
  const bool may_stay_awake_ = std::thread::hardware_concurrency() > 1;
  const uint32_t most_busy_ = std::thread::hardware_concurrency() / 2;  // with short requests
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable changed_;
  bool initialized_ GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
  std::unique_ptr<RequestRings> rings_;  // null: not on this kernel
};

}  // namespace ntfs::frontend
