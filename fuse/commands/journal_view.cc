#include "fuse/commands/journal_view.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/fsa/usn_life_cycle.h"
#include "core/io/mount_table.h"
#include "fuse/commands/opened_volume.h"
#include "fuse/reply.h"
#include "fuse/volume_device.h"

namespace ntfs::frontend {

namespace {

class MountedJournal final : public JournalView {
 public:
  explicit MountedJournal(int fd) : fd_(fd) {}
  ~MountedJournal() override { close(fd_); }
  MountedJournal(const MountedJournal&) = delete;
  MountedJournal& operator=(const MountedJournal&) = delete;

  bool is_mounted() const override { return true; }

  Result<UsnJournalData> query() override {
    // What the kernel holds back goes first; what fails has nothing to do with the journal.
    (void)syncfs(fd_);
    UsnJournalDataV2 data{};
    if (ioctl(fd_, UsnIoctl::Query, &data) < 0) return last_control_status();
    return decode(data);
  }
  Result<UsnAnswer> read(const UsnReadParameters& parameters) override {
    const auto raw = encode(parameters);
    return call(UsnIoctl::Read, bytes_of(raw));
  }
  Result<> change(const JournalChange& change) {
    if (change.kind == JournalChange::Kind::Delete) {
      DeleteUsnJournalData raw{};
      raw.journal_id.set(TRY(query()).id);
      raw.flags.set(3);
      return ioctl(fd_, UsnIoctl::Delete, &raw) < 0 ? last_control_status() : NtStatus::Success;
    }
    CreateUsnJournalData raw{};
    raw.maximum_size.set(change.maximum_size);
    raw.allocation_delta.set(change.allocation_delta);
    return ioctl(fd_, UsnIoctl::Create, &raw) < 0 ? last_control_status() : NtStatus::Success;
  }
  Result<> track_ranges(const usn::RangeTracking& tracking) {
    UsnTrackModifiedRanges raw{};
    raw.flags.set(kUsnTracksRanges);
    raw.chunk_size.set(tracking.chunk_size);
    raw.file_size_threshold.set(tracking.file_size_threshold);
    const int done = ioctl(fd_, UsnIoctl::TrackModifiedRanges, &raw);
    return done < 0 ? last_control_status() : NtStatus::Success;
  }
  Result<UsnAnswer> enumerate(const UsnEnumerateParameters& parameters) override {
    const auto raw = encode(parameters);
    return call(UsnIoctl::Enumerate, bytes_of(raw));
  }

 private:
  Result<UsnAnswer> call(unsigned command, ByteView input) {
    UsnBuffer buffer{};
    std::copy(input.begin(), input.end(), buffer.begin());
    const int length = ioctl(fd_, command, buffer.data());
    if (length < 0) return last_control_status();
    if (length == 0) return NtStatus::EndOfFile;
    return decode_answer(TRY(slice(ByteView(buffer), 0, static_cast<uint64_t>(length))));
  }

  const int fd_;
};

class UnmountedJournal final : public JournalView {
 public:
  explicit UnmountedJournal(OpenedVolume volume)
      : volume_(std::move(volume)), controls_(*volume_.store) {}

  bool is_mounted() const override { return false; }

  Result<UsnJournalData> query() override { return controls_.query(); }
  Result<UsnAnswer> read(const UsnReadParameters& parameters) override {
    auto answer = TRY(controls_.read(parameters));
    return UsnAnswer{answer.next.raw(), std::move(answer.records)};
  }
  Result<UsnAnswer> enumerate(const UsnEnumerateParameters& parameters) override {
    auto answer = TRY(controls_.enumerate(parameters));
    return UsnAnswer{answer.next_record, std::move(answer.records)};
  }

 private:
  OpenedVolume volume_;
  UsnControls controls_;
};

bool is_directory(const std::string& path) {
  struct stat what {};
  return stat(path.c_str(), &what) == 0 && S_ISDIR(what.st_mode);
}

}  // namespace

namespace {

/// Nothing, and a message: it cannot be opened.
std::unique_ptr<MountedJournal> open_mounted(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) return std::make_unique<MountedJournal>(fd);
  log_line(LogLevel::Error, fmt::format("{}: {}", directory, last_system_error().text));
  return nullptr;
}

Result<> change_unmounted(const std::string& source, const JournalChange& change) {
  TRY(ensure_not_mounted(source));  // printed
  const auto device = TRY(open_volume_device(source, UringDevice::Access::ReadWrite));
  std::string why_not;
  auto store = ObjectStore::mount(*device, {}, why_not);
  if (!store && !why_not.empty()) {
    log_line(LogLevel::Error, fmt::format("{}: {}", source, why_not));
  }
  if (!store) return store.error();
  const auto changed =
      change.kind == JournalChange::Kind::Delete
          ? delete_usn_journal(**store, (*store)->volume().usn().information().id)
          : create_usn_journal(**store, change.maximum_size, change.allocation_delta);
  TRY((*store)->dismount());
  return changed.error();
}

}  // namespace

Result<> change_journal(const std::string& source, const JournalChange& change) {
  if (!is_directory(source)) return change_unmounted(source, change);
  const auto journal = open_mounted(source);
  return journal == nullptr ? NtStatus::AccessDenied : journal->change(change).error();
}

Result<std::unique_ptr<JournalView>> open_journal(const std::string& source) {
  if (!is_directory(source)) {
    OpenedVolume volume = TRY(open_volume(source, View::Recovered));
    return std::unique_ptr<JournalView>(std::make_unique<UnmountedJournal>(std::move(volume)));
  }
  std::unique_ptr<JournalView> mounted = open_mounted(source);
  if (mounted == nullptr) return NtStatus::AccessDenied;
  return mounted;
}

Result<> track_ranges(const std::string& source, const usn::RangeTracking& tracking) {
  if (!is_directory(source)) return NtStatus::InvalidDeviceRequest;
  const auto journal = open_mounted(source);
  return journal == nullptr ? NtStatus::AccessDenied : journal->track_ranges(tracking);
}

std::string explain_journal(NtStatus status) {
  switch (status) {
    case NtStatus::JournalNotActive:
      return "the volume has no change journal; `ntfs-wal usn create` makes one";
    case NtStatus::JournalDeleteInProgress:
      return "the change journal is being deleted; try again later";
    case NtStatus::JournalEntryDeleted:
      return "the records there have been trimmed away; read from the oldest one, and compare "
             "everything else in another way";
    case NtStatus::InvalidParameter:
      return "no record begins there, or the journal was stamped anew meanwhile: records may be "
             "missing";
    case NtStatus::InvalidDeviceRequest:
      return "it is not on a volume that ntfs-wal has mounted";
    case NtStatus::AccessDenied:
      return "only root and the user who mounted it may read the change journal";
    case NtStatus::VolumeDismounted:
      return "the volume is not mounted any more";
    default:
      return explain(status);
  }
}

}  // namespace ntfs::frontend
