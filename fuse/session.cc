#include "fuse/session.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "core/base/trace.h"
#include "fuse/attribute_ops.h"
#include "fuse/directory_ops.h"
#include "fuse/file_ops.h"
#include "fuse/namespace_ops.h"

namespace ntfs::frontend {

namespace {

// Requests that the kernel sends ahead of need: read-ahead, write-back, asynchronous O_DIRECT.
constexpr unsigned kMaxBackground = 64;
constexpr unsigned kCongestionThreshold = 48;
constexpr unsigned kTimeGranularityNs = 100;  // of NTFS
/// Wakes a thread out of its read; the handler does nothing.
constexpr int kWakeSignal = SIGUSR1;
constexpr std::chrono::milliseconds kWakeInterval{20};

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
  // The kernel checks permissions: it knows owner and mode of everything that it asks about.
  std::string text = "default_permissions,subtype=ntfs-wal,max_read=" +
                     std::to_string(Filesystem::kMaxTransferBytes) +
                     ",fsname=" + escaped(options.source);
  if (options.allow_other) text += ",allow_other";
  if (options.read_only) text += ",ro";
  // libfuse takes both away otherwise; mount(8) adds nosuid and nodev where users may mount.
  if (geteuid() == 0) text += ",suid,dev";
  for (const std::string& flag : options.kernel_flags) text += "," + flag;
  return text;
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
                    FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA;
  if (options_.writeback) wanted |= FUSE_CAP_WRITEBACK_CACHE;
  // Not wanted, among what libfuse turns on by itself: splice, which cannot go to aligned memory;
  // HANDLE_KILLPRIV, because the kernel clears set-user-ID bits well; AUTO_INVAL_DATA, because
  // nobody else changes files.
  connection.want = connection.capable & wanted;
  connection.max_write = Filesystem::kMaxTransferBytes;
  connection.max_read = Filesystem::kMaxTransferBytes;
  connection.max_background = kMaxBackground;
  connection.congestion_threshold = kCongestionThreshold;
  connection.time_gran = kTimeGranularityNs;
  const MutexLock lock(mutex_);
  initialized_ = true;
  changed_.notify_all();
}

// Life.

Result<> Session::mount() {
  fuse_lowlevel_ops operations{};
  operations.init = on_init;
  add_namespace_operations(operations);
  add_attribute_operations(operations);
  add_file_operations(operations);
  add_directory_operations(operations);
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
  return {};
}

Result<> Session::start() {
  end_event_ = eventfd(0, EFD_CLOEXEC);
  if (end_event_ < 0) return NtStatus::InsufficientResources;
  TRY(mount());
  install_wake_signal();
  running_ = options_.threads;
  for (uint32_t i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { work(); });
  wait_until_initialized();
  return {};
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
  while (!stopping_ && fuse_session_exited(session_) == 0) {
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received > 0) {
      fuse_session_process_buf(session_, &buffer);
    } else if (received != -static_cast<int>(std::errc::interrupted) &&
               received != -static_cast<int>(std::errc::resource_unavailable_try_again)) {
      break;  // 0: unmounted; else the connection is of no use
    }
  }
  --running_;
  const uint64_t one = 1;
  if (::write(end_event_, &one, sizeof(one)) < 0) {
    log_line(LogLevel::Error, "cannot tell that a thread has ended");
  }
}

void Session::stop() {
  stopping_ = true;
  if (session_ != nullptr) fuse_session_exit(session_);
  // A signal that comes just before the read is lost: hence again until it worked.
  while (running_ > 0) {
    for (std::thread& thread : threads_) pthread_kill(thread.native_handle(), kWakeSignal);
    std::this_thread::sleep_for(kWakeInterval);
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (mounted_) fuse_session_unmount(session_);
  mounted_ = false;
}

Session::~Session() {
  stop();
  if (session_ != nullptr) fuse_session_destroy(session_);
  if (end_event_ >= 0) close(end_event_);
}

}  // namespace ntfs::frontend
