#include "fuse/served_mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

#include "core/base/trace.h"
#include "core/io/mount_table.h"
#include "core/io/uring_device.h"
#include "fuse/end_notice.h"
#include "fuse/mapping_file.h"
#include "fuse/mount_point.h"
#include "fuse/recovery_notice.h"
#include "fuse/session.h"
#include "fuse/volume_device.h"

namespace ntfs::frontend {

namespace {

// The kernel's own 128 KiB leave the device idle between two requests.
constexpr uint64_t kReadAheadBytes = uint64_t{4} << 20;

/// Signals that ask for the end, as something to poll. Blocked in all threads made later.
class EndSignals {
 public:
  EndSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC);
  }
  ~EndSignals() {
    if (fd_ >= 0) close(fd_);
  }
  EndSignals(const EndSignals&) = delete;
  EndSignals& operator=(const EndSignals&) = delete;

  int fd() const { return fd_; }
  void consume() const {
    signalfd_siginfo information{};
    if (read(fd_, &information, sizeof(information)) < 0) {
      log_line(LogLevel::Warning, "a signal could not be read");
    }
  }

 private:
  int fd_ = -1;
};

class ServedMount {
 public:
  ServedMount(const MountRequest& request, ReadyNotice& notice)
      : request_(request), notice_(notice) {}

  int run() {
    const int opened = open();
    if (opened != kMountSucceeded) return opened;
    const int served = serve();
    end_.stop_listening();
    const bool is_clean = close_store();
    end_.tell(problem_);
    return is_clean ? served : kMountSystemError;
  }

 private:
  uint32_t threads() const {
    return request_.options.threads != 0 ? request_.options.threads : default_threads();
  }

  SessionOptions session_options() const {
    SessionOptions options;
    options.source = request_.source;
    options.directory = request_.directory;
    options.read_only = read_only_;
    // Whom root says files belong to, root means to use them.
    const bool is_for_certain_users = request_.options.owner_given || user_mapping_.has_value();
    options.allow_other = request_.options.allow_other || (geteuid() == 0 && is_for_certain_users);
    options.posix_acls = has_posix_acls();
    options.check_permissions =
        request_.options.check_permissions || user_mapping_.has_value() || options.posix_acls;
    options.writeback = request_.options.writeback;
    options.keep_locks = request_.options.mandatory_locks;
    // A signal that ends a wait for a lock may get lost with them (request_rings.h).
    options.rings = !options.keep_locks;
    options.threads = threads();
    options.kernel_flags = request_.options.kernel_flags;
    options.trace_requests = request_.trace_requests;
    return options;
  }

  /// Everything that uses the store ends in here.
  int serve() {
    Filesystem filesystem(*store_, *device_, filesystem_options());
    Session session(filesystem, *device_, session_options());
    if (!session.start()) {
      log_line(LogLevel::Error, fmt::format("{}: cannot be mounted on {} (see above)",
                                            request_.source, request_.directory));
      return kMountFailed;
    }
    announce();
    wait_for_end(session);
    session.stop();
    return kMountSucceeded;
  }

  FilesystemOptions filesystem_options() const {
    FilesystemOptions options;
    options.ownership = request_.options.ownership;
    options.writeback = request_.options.writeback;
    options.mandatory_locks = request_.options.mandatory_locks;
    options.ignore_case = request_.options.ignore_case;
    options.streams = request_.options.streams;
    const SessionOptions session = session_options();
    options.check_permissions = session.allow_other || session.check_permissions;
    options.hide_hidden_files = request_.options.hide_hidden_files;
    options.hide_dot_files = request_.options.hide_dot_files;
    options.posix_acls = session.posix_acls;
    options.user_mapping = user_mapping_;
    if (request_.options.inherit) options.new_descriptors = NewDescriptors::Inherited;
    return options;
  }

  int open() {
    read_only_ = request_.options.read_only;
    if (!ensure_not_mounted(request_.source)) return kMountFailed;  // logged
    if (const int code = open_device(); code != kMountSucceeded) return code;
    auto status = mount_store();
    if (!status && !read_only_ && may_read(status.error())) {
      log_line(LogLevel::Warning,
               fmt::format("{}: {}. Mounted read-only.", request_.source, why_not_));
      read_only_ = true;
      as_it_is_ = true;
      if (const int code = open_device(); code != kMountSucceeded) return code;
      status = mount_store();
    }
    if (status) {
      report_recovery(request_.source, store_->volume());
      return load_mapping();
    }
    const std::string why = !why_not_.empty() ? why_not_
                            : status.error() == NtStatus::UnrecognizedVolume
                                ? "it is not an NTFS volume"
                                : std::string(name_of(status.error()));
    log_line(LogLevel::Error, fmt::format("{}: cannot be mounted: {}", request_.source, why));
    return kMountFailed;
  }

  bool has_posix_acls() const { return request_.options.posix_acls && !user_mapping_; }

  int load_mapping() {
    std::string problem;
    user_mapping_ = load_user_mapping(*store_, request_.options.user_mapping, problem);
    if (problem.empty()) {
      if (request_.options.posix_acls && user_mapping_) {
        log_line(LogLevel::Note,
                 "option 'acl' has no effect: with a user mapping, access control lists are those "
                 "of Windows");
      }
      return kMountSucceeded;
    }
    close_store();
    log_line(LogLevel::Error, fmt::format("{}: cannot be mounted: {}", request_.source, problem));
    return kMountFailed;
  }

  /// Refusals that concern writing alone.
  bool may_read(NtStatus status) const {
    return !why_not_.empty() &&
           (status == NtStatus::SharingViolation || status == NtStatus::DiskCorruptError ||
            status == NtStatus::NotSupported || status == NtStatus::LogCorrupt);
  }

  int open_device() {
    device_.reset();
    UringDevice::Options options;
    // Beside what the store needs: a request and an answer for each thread.
    options.arena_bytes += threads() * (2 * Filesystem::kMaxTransferBytes + (size_t{64} << 10));
    const auto access = read_only_ ? UringDevice::Access::ReadOnly : UringDevice::Access::ReadWrite;
    auto device = open_volume_device(request_.source, access, options);
    if (!device && device.error() == NtStatus::MediaWriteProtected && !read_only_) {
      log_line(LogLevel::Warning,
               fmt::format("{}: is write-protected. Mounted read-only.", request_.source));
      read_only_ = true;
      return open_device_read_only(options);
    }
    if (!device) return kMountFailed;  // logged
    device_ = std::move(*device);
    return kMountSucceeded;
  }

  int open_device_read_only(const UringDevice::Options& options) {
    auto device = open_volume_device(request_.source, UringDevice::Access::ReadOnly, options);
    if (!device) return kMountFailed;  // logged
    device_ = std::move(*device);
    return kMountSucceeded;
  }

  Result<> mount_store() {
    using Access = VolumeOptions::Access;
    ObjectStoreOptions options;
    const bool as_it_is = request_.options.norecover || as_it_is_;
    options.volume.access = !read_only_ ? Access::ReadWrite
                            : as_it_is  ? Access::NoRecover
                                        : Access::ReadOnly;
    options.volume.cache_bytes = request_.options.cache_bytes;
    options.volume.commit_interval = std::chrono::seconds(request_.options.commit_seconds);
    options.windows_names = request_.options.windows_names;
    options.ignore_case = request_.options.ignore_case;
    options.show_system_files = request_.options.show_system_files;
    options.compress_new_files = request_.options.compression;
    using Encrypted = VolumeOptions::Encrypted;
    if (request_.options.raw_encrypted) options.volume.encrypted = Encrypted::Raw;
    options.mount_point = request_.directory == "/" ? "" : request_.directory;
    using UsnRecords = VolumeOptions::UsnRecords;
    options.volume.usn_records = request_.options.usn ? UsnRecords::Yes : UsnRecords::No;
    if (request_.options.remove_hiberfile) {
      options.volume.sleep_guard = VolumeOptions::SleepGuard::RemoveFile;
    }
    using Discard = VolumeOptions::Discard;
    options.volume.discard = request_.options.discard ? Discard::Yes : Discard::No;
    if (request_.options.writeback) options.data_times = DataTimes::SetByCaller;
    if (request_.options.mandatory_locks) options.opens_lock = OpensLock::Yes;
    why_not_.clear();
    store_ = TRY(ObjectStore::mount(*device_, options, why_not_));
    return {};
  }

  /// The mount is usable: says so, and makes it known.
  void announce() {
    for (const std::string& note : request_.options.notes) log_line(LogLevel::Note, note);
    if (const auto entry = find_mount(request_.directory)) {
      set_read_ahead(*entry, kReadAheadBytes);
      end_.listen(*entry);
    }
    notice_.ready();
  }

  void wait_for_end(Session& session) {
    for (;;) {
      std::array<pollfd, 3> events = {pollfd{session.end_event(), POLLIN, 0},
                                      pollfd{signals_.fd(), POLLIN, 0},
                                      pollfd{end_.fd(), POLLIN, 0}};
      if (poll(events.data(), events.size(), -1) < 0) continue;  // interrupted
      if (events[2].revents != 0) end_.admit();
      if (events[0].revents != 0) return;
      if (events[1].revents == 0) continue;
      signals_.consume();
      end_by_signal();
      return;
    }
  }

  /// The threads still answer, so that the kernel can hand over what it holds back.
  void end_by_signal() {
    const int fd = ::open(request_.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    // Also before an unmount that succeeds: the same may be mounted at a second place.
    if (fd < 0 || syncfs(fd) != 0) {
      log_line(LogLevel::Error, "what the kernel holds back may be lost");
    }
    if (fd >= 0) close(fd);
    if (unmount_directory(request_.directory).done) return;
    log_line(LogLevel::Warning,
             fmt::format("{}: ended by a signal while in use; files open on it become unusable",
                         request_.directory));
  }

  bool close_store() {
    const auto closed = store_->dismount();
    store_.reset();
    if (!closed) {
      problem_ = fmt::format(
          "{}: the last changes could not be written ({}); what fsync answered "
          "for is safe. Run ntfs-wal check on it",
          request_.source, name_of(closed.error()));
      log_line(LogLevel::Error, problem_);
    }
    device_.reset();
    return closed.has_value();
  }

  const MountRequest& request_;
  ReadyNotice& notice_;
  EndSignals signals_;
  bool read_only_ = false;
  bool as_it_is_ = false;  // show it even if its log cannot be replayed
  std::string why_not_;
  std::string problem_;
  EndNotice end_;
  std::unique_ptr<UringDevice> device_;
  std::unique_ptr<ObjectStore> store_;
  std::optional<UserMapping> user_mapping_;
};

}  // namespace

int serve_mount(const MountRequest& request, ReadyNotice notice) {
  // Whoever waits for word of the mount, or reads what it reports, may have gone.
  signal(SIGPIPE, SIG_IGN);
  // The kernel must not wait for us to write back before it gives us memory. Without the right to
  // ask for it, nothing changes.
  prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  int code = kMountBug;
  {
    ServedMount mount(request, notice);
    code = mount.run();
  }                     // the device is free again
  notice.failed(code);  // no effect once it was ready
  return code;
}

}  // namespace ntfs::frontend
