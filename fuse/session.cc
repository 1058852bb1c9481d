#include "fuse/session.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "core/base/trace.h"
#include "fuse/attribute_ops.h"
#include "fuse/channel.h"
#include "fuse/control_ops.h"
#include "fuse/directory_ops.h"
#include "fuse/file_ops.h"
#include "fuse/lock_ops.h"
#include "fuse/namespace_ops.h"
#include "fuse/xattr_ops.h"

namespace ntfs::frontend {

namespace {

// Requests that the kernel sends ahead of need: read-ahead, write-back, asynchronous O_DIRECT.
constexpr unsigned kMaxBackground = 64;
constexpr unsigned kCongestionThreshold = 48;
constexpr unsigned kTimeGranularityNs = 100;  // of NTFS
/// Wakes a thread out of its read; the handler does nothing.
constexpr int kWakeSignal = SIGUSR1;
constexpr std::chrono::milliseconds kWakeInterval{20};
/// About what it costs to wake a thread in a virtual machine.
constexpr std::chrono::microseconds kAwakeTime{40};
/// Who yields the processor and gets it back this much later has met programs that compute: to look
/// for requests would mean to wait for those. A thread that sleeps is let in at once.
constexpr std::chrono::microseconds kBusyPause{200};
constexpr std::chrono::milliseconds kRestTime{100};

/// With rings, only FORGET and INTERRUPT are read: they may wait, to be read together.
constexpr std::chrono::milliseconds kGatherTime{2};

/// How long, and how often in vain, a thread without the baton waits for a request.
constexpr int kPatienceMs = 2;
constexpr int kMostInVain = 16;

/// An option of libfuse: its commas and backslashes need a backslash.
std::string escaped(std::string_view value) {
  std::string result;
  for (const char c : value) {
    if (c == ',' || c == '\\') result.push_back('\\');
    result.push_back(c);
  }
  return result;
}

std::string libfuse_options(const SessionOptions& options) {
  std::string text = "subtype=ntfs-wal,max_read=" + std::to_string(Filesystem::kMaxTransferBytes) +
                     ",fsname=" + escaped(options.source);
  if (options.allow_other) text += ",allow_other";
  // The kernel checks owner and mode. It asks for a directory's attributes again after each change
  // in it, so that is not done where only the user who mounted comes near the files.
  if (options.allow_other || options.check_permissions) text += ",default_permissions";
  if (options.read_only) text += ",ro";
  // libfuse takes both away otherwise; mount(8) adds nosuid and nodev where users may mount.
  if (geteuid() == 0) text += ",suid,dev";
  for (const std::string& flag : options.kernel_flags) text += "," + flag;
  return text;
}

constexpr uint32_t kMediumBytes = ReadBatch::kLargestRead;
/// A value of an attribute that goes where the file's record is, as a rule.
constexpr size_t kShortBytes = 512;
/// Medium requests that another thread reads behind once it shows that several are made at a time.
constexpr uint32_t kParallelCredit = 256;
/// So many medium ones in a row, each with another request behind it, show it. With one it may have
/// come after the answer.
constexpr uint32_t kParallelSigns = 8;

Session::Duration duration_of(const fuse_buf& buffer) {
  using Duration = Session::Duration;
  const ByteView bytes{static_cast<const std::byte*>(buffer.mem), buffer.size};
  if (bytes.size() < sizeof(fuse_in_header)) return Duration::Long;
  fuse_in_header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  switch (header.opcode) {
    case FUSE_LOOKUP:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_GETATTR:
    case FUSE_READLINK:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_MKDIR:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
    case FUSE_STATFS:
    case FUSE_OPENDIR:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_RELEASEDIR:
    case FUSE_ACCESS:
    case FUSE_CREATE:
    case FUSE_OPEN:
    case FUSE_RELEASE:
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
      return Duration::Short;
    case FUSE_SETATTR: {
      fuse_setattr_in change;
      if (bytes.size() < sizeof(header) + sizeof(change)) return Duration::Long;
      std::memcpy(&change, bytes.data() + sizeof(header), sizeof(change));
      return (change.valid & FATTR_SIZE) == 0 ? Duration::Short : Duration::Long;
    }
    case FUSE_READ:
    case FUSE_WRITE: {
      // The size stands at the same place in both.
      static_assert(offsetof(fuse_read_in, size) == offsetof(fuse_write_in, size));
      fuse_read_in transfer;
      if (bytes.size() < sizeof(header) + sizeof(transfer)) return Duration::Long;
      std::memcpy(&transfer, bytes.data() + sizeof(header), sizeof(transfer));
      if (transfer.size > kMediumBytes) return Duration::Long;
      return header.opcode == FUSE_READ ? Duration::Read : Duration::Medium;
    }
    case FUSE_SETXATTR:
    case FUSE_REMOVEXATTR:
      return bytes.size() <= kShortBytes ? Duration::Short : Duration::Long;
    default:
      return Duration::Long;
  }
}

void ignore_signal(int) {}

void install_wake_signal() {
  struct sigaction action {};
  action.sa_handler = ignore_signal;  // without SA_RESTART: the read ends
  sigaction(kWakeSignal, &action, nullptr);
}

}  // namespace

uint32_t default_threads() {
  return std::clamp<uint32_t>(2 * std::thread::hardware_concurrency(), 4, 8);
}

// What the kernel is asked for.

void Session::on_init(void* user_data, fuse_conn_info* connection) {
  auto* context = static_cast<Context*>(static_cast<RequestContext*>(user_data));
  context->session.initialize(*connection);
}

void Session::initialize(fuse_conn_info& connection) {
  unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS |
                    FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                    FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_IOCTL_DIR |
                    FUSE_CAP_EXPORT_SUPPORT;
  if (options_.writeback) wanted |= FUSE_CAP_WRITEBACK_CACHE;
  if (options_.posix_acls) wanted |= FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
  if (options_.keep_locks) wanted |= FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
  // Not wanted, among what libfuse turns on by itself: splice, which cannot go to aligned memory;
  // HANDLE_KILLPRIV, whose second version is promised (channel.h); AUTO_INVAL_DATA, because
  // nobody else changes files.
  connection.want = connection.capable & wanted;
  connection.max_write = Filesystem::kMaxTransferBytes;
  connection.max_read = Filesystem::kMaxTransferBytes;
  connection.max_background = kMaxBackground;
  connection.congestion_threshold = kCongestionThreshold;
  connection.time_gran = kTimeGranularityNs;
  if (context_.rings_offered && options_.rings) prepare_rings();
  const MutexLock lock(mutex_);
  initialized_ = true;
  changed_.notify_all();
}

/// Where they cannot be had, all goes through /dev/fuse.
void Session::prepare_rings() {
  RequestRings::Options options;
  options.queue = fuse_session_fd(session_);
  options.payload_bytes = Filesystem::kMaxTransferBytes;
  options.threads = 2 * options_.threads;  // no thread answers for another
  options.handle = [this](const fuse_buf& request) {
    const Duration duration = duration_of(request);
    fuse_session_process_buf(session_, &request);
    if (duration == Duration::Read) context_.filesystem.small_reads().answer();
    return duration == Duration::Short;
  };
  options.ended = [this] { tell_end(); };
  rings_ = std::make_unique<RequestRings>(device_, std::move(options));
  const auto prepared = rings_->prepare();
  if (prepared) {
    context_.rings = rings_.get();
  } else {
    rings_.reset();
    log_line(LogLevel::Note,
             "FUSE over io_uring cannot be used: " + std::string(name_of(prepared.error())));
  }
}

// Life.

Result<> Session::mount() {
  fuse_lowlevel_ops operations{};
  operations.init = on_init;
  add_namespace_operations(operations);
  add_attribute_operations(operations);
  add_file_operations(operations);
  add_directory_operations(operations);
  add_control_operations(operations);
  add_xattr_operations(operations);
  if (options_.keep_locks) add_lock_operations(operations);
  fuse_args arguments{};
  fuse_opt_add_arg(&arguments, "ntfs-wal");
  fuse_opt_add_arg(&arguments, "-o");
  fuse_opt_add_arg(&arguments, libfuse_options(options_).c_str());
  if (options_.trace_requests) fuse_opt_add_arg(&arguments, "-d");
  session_ = fuse_session_new(&arguments, &operations, sizeof(operations),
                              static_cast<RequestContext*>(&context_));
  fuse_opt_free_args(&arguments);
  if (session_ == nullptr) return NtStatus::InvalidParameter;
  if (fuse_session_mount(session_, options_.directory.c_str()) != 0) {
    return NtStatus::Unsuccessful;
  }
  mounted_ = true;
  TRY(open_channel(session_));
  // A thread that finds no request goes elsewhere.
  const int queue = fuse_session_fd(session_);
  if (fcntl(queue, F_SETFL, fcntl(queue, F_GETFL) | O_NONBLOCK) != 0) {
    return NtStatus::Unsuccessful;
  }
  context_.filesystem.kernel_cache().start(session_);
  return {};
}

Result<> Session::start() {
  end_event_ = eventfd(0, EFD_CLOEXEC);
  if (end_event_ < 0) return NtStatus::InsufficientResources;
  TRY(mount());
  install_wake_signal();
  add_thread();
  wait_until_initialized();
  // The rings have threads of their own.
  while (rings_ == nullptr && threads_.size() < options_.threads) add_thread();
  return {};
}

void Session::add_thread() {
  ++running_;
  threads_.emplace_back([this] { work(); });
}

void Session::wait_until_initialized() {
  const MutexLock lock(mutex_);
  while (!initialized_ && running_ > 0) changed_.wait_for(mutex_, kWakeInterval);
}

void Session::work() {
  AlignedBuffer memory = device_.allocate(kRequestBytes);
  fuse_buf buffer{};
  static_assert(sizeof(fuse_in_header) + sizeof(fuse_write_in) == kPayloadOffset);
  buffer.mem = memory.data() + kAlignment - kPayloadOffset;
  while (!stopping_ && fuse_session_exited(session_) == 0 && baton_.take()) {
    answer_requests(buffer);
  }
  baton_.close();
  --running_;
  tell_end();
}

void Session::tell_end() const {
  const uint64_t one = 1;
  if (::write(end_event_, &one, sizeof(one)) < 0) {
    log_line(LogLevel::Error, "cannot tell that a thread has ended");
  }
}

bool Session::has_request() const {
  pollfd queue{fuse_session_fd(session_), POLLIN, 0};
  return poll(&queue, 1, 0) > 0;
}

/// Size of the next request, 0 if there is none, negative when the session is at its end.
int Session::receive(fuse_buf& buffer) {
  const int received = fuse_session_receive_buf(session_, &buffer);
  const bool again = received == -static_cast<int>(std::errc::interrupted) ||
                     received == -static_cast<int>(std::errc::resource_unavailable_try_again);
  if (again) return 0;
  return received > 0 ? received : -1;  // 0: unmounted; else the connection is of no use
}

/// Looks for the next request a little while before the thread sleeps for it: a program that makes
/// one request after the other is served without a wake-up, which costs more than most requests.
/// The result as of receive().
int Session::await_request(fuse_buf& buffer) {
  if (context_.rings != nullptr) return receive(buffer);
  using Clock = std::chrono::steady_clock;
  auto now = Clock::now();
  const auto end = now + kAwakeTime;
  do {
    const int received = receive(buffer);
    if (received != 0 || now < rests_until_) return received;
    std::this_thread::yield();
    const auto before = std::exchange(now, Clock::now());
    if (now - before > kBusyPause) rests_until_ = now + kRestTime;
  } while (may_stay_awake_ && !stopping_ && now < end);
  return 0;
}

/// Sleeps until there is a request, or a signal comes. False when neither came in `most_ms`
/// milliseconds (-1: without limit).
bool Session::sleep(int most_ms) const {
  pollfd queue{fuse_session_fd(session_), POLLIN, 0};
  return poll(&queue, 1, most_ms) != 0;
}

/// Whether somebody else should read while this thread answers. Short requests mostly wait for the
/// same locks: they are answered side by side only where that leaves processors for those who make
/// them. For medium ones it depends on whether others came while the last ones were answered.
bool Session::wants_to_pass(Duration duration, uint32_t busy) {
  if (duration == Duration::Long) return true;
  if (busy < most_busy_ && has_request()) return true;
  if (duration == Duration::Short || parallel_credit_ == 0) return false;
  --parallel_credit_;
  return true;
}

/// After a medium request that nobody read behind.
void Session::look_for_others() {
  parallel_signs_ = has_request() ? parallel_signs_ + 1 : 0;
  if (parallel_signs_ < kParallelSigns) return;
  parallel_signs_ = 0;
  parallel_credit_ = kParallelCredit;
}

/// Answers the small read in `buffer`, and with it those that wait behind it: they go to the device
/// together. Returns the size of a request that is none, and is in the buffer then; else as
/// receive().
int Session::answer_reads(fuse_buf& buffer, bool& has_baton) {
  int received = 0;
  size_t count = 0;
  do {
    fuse_session_process_buf(session_, &buffer);
    ++count;
    received = count < ReadBatch::kMost ? receive(buffer) : 0;
  } while (received > 0 && duration_of(buffer) == Duration::Read);
  // Alone it is one of a series, as a rule: the next comes after the answer.
  const bool is_alone = count == 1 && received == 0;
  if (has_baton && (!is_alone || parallel_credit_ > 0)) {
    if (is_alone) --parallel_credit_;
    baton_.pass();
    has_baton = false;
  }
  context_.filesystem.small_reads().answer();
  return received;
}

/// As the holder of the baton: reads and answers until nobody makes requests for a thread that has
/// passed it, or the session ends. Such a thread sleeps at the kernel's queue: whoever makes a
/// request wakes it on a processor that is about to be free. One that another thread wakes may wait
/// for that thread's processor.
void Session::answer_requests(fuse_buf& buffer) {
  bool has_baton = true;
  int in_vain = 0;
  int received = 0;
  while (received > 0 || (!stopping_ && fuse_session_exited(session_) == 0)) {
    if (received == 0) received = has_baton ? await_request(buffer) : receive(buffer);
    if (received < 0) {
      baton_.close();
      return;
    }
    if (received == 0) {
      if (has_baton) {
        sleep(-1);
        if (context_.rings != nullptr) std::this_thread::sleep_for(kGatherTime);
      } else if (!(has_baton = baton_.try_take())) {
        if (++in_vain > kMostInVain || !sleep(kPatienceMs)) return;
      }
      continue;
    }
    in_vain = 0;
    const uint32_t busy = ++busy_;
    const Duration duration = duration_of(buffer);
    if (duration == Duration::Read) {
      received = answer_reads(buffer, has_baton);
    } else {
      if (has_baton && wants_to_pass(duration, busy)) {
        baton_.pass();
        has_baton = false;
      }
      fuse_session_process_buf(session_, &buffer);
      received = 0;
    }
    --busy_;
    const bool is_medium = duration == Duration::Medium || duration == Duration::Read;
    if (has_baton && is_medium && received == 0) look_for_others();
  }
  baton_.close();
}

void Session::stop() {
  // First, while there are threads to answer the writes that it may wait for.
  context_.filesystem.kernel_cache().stop();
  stopping_ = true;
  baton_.close();
  if (session_ != nullptr) fuse_session_exit(session_);
  if (rings_ != nullptr) rings_->stop();
  // A signal that comes just before the read is lost: hence again until it worked.
  while (running_ > 0) {
    for (std::thread& thread : threads_) pthread_kill(thread.native_handle(), kWakeSignal);
    std::this_thread::sleep_for(kWakeInterval);
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  context_.filesystem.waiting_locks().stop();
  context_.filesystem.usn_watches().stop();
  if (mounted_) fuse_session_unmount(session_);
  mounted_ = false;
}

Session::~Session() {
  stop();
  if (session_ != nullptr) fuse_session_destroy(session_);
  if (end_event_ >= 0) close(end_event_);
}

}  // namespace ntfs::frontend
