#include "fuse/commands/probe.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/io/mount_table.h"
#include "core/store/hibernation.h"
#include "fuse/commands/opened_volume.h"

namespace ntfs::frontend {

namespace {

struct Verdict {
  int code = kProbeYes;
  std::string text;
};

int code_of_refusal(NtStatus status) {
  switch (status) {
    case NtStatus::UnrecognizedVolume:
      return kProbeNotNtfs;
    case NtStatus::FileCorruptError:
    case NtStatus::DiskCorruptError:
      return kProbeInconsistent;
    case NtStatus::AccessDenied:
    case NtStatus::PrivilegeNotHeld:
      return kProbePrivilege;
    case NtStatus::SharingViolation:
      return kProbeInUse;
    case NtStatus::InsufficientResources:
      return kProbeMemory;
    default:
      return kProbeUnknown;
  }
}

Verdict judge(OpenedVolume& volume, bool readwrite) {
  Volume& opened = volume.store->volume();
  const lfs::LogState log = opened.log_status().state;
  const Sleep sleep = find_sleep(opened).value_or(Sleep::None);  // what cannot be read does not
  if (sleep != Sleep::None && (readwrite || log == lfs::LogState::Unclean)) {
    return {kProbeHibernated, std::string(explain(sleep))};
  }
  if (log == lfs::LogState::Unclean) {
    return {kProbeLogUnclean,
            "its log is not clean: it was not unmounted. A mount recovers it, and so does "
            "`ntfs-wal recover`"};
  }
  if (log == lfs::LogState::Corrupt) {
    return {kProbeInconsistent, "its $LogFile is damaged: run chkdsk under Windows"};
  }
  if (readwrite && (opened.information().flags.get() & ondisk::VolumeFlags::Dirty) != 0) {
    return {kProbeInconsistent, "it is marked dirty: run chkdsk under Windows, or mount read-only"};
  }
  if (readwrite && static_cast<int>(opened.information().major_version) < 3) {
    return {kProbeInconsistent, "its NTFS version is before 3.0: it can be mounted read-only"};
  }
  if (access("/dev/fuse", R_OK | W_OK) != 0) {
    return {kProbeFuse, "/dev/fuse cannot be used: load the kernel module fuse"};
  }
  return {kProbeYes, "it can be mounted"};
}

Verdict probe(const ProbeOptions& options) {
  if (!ensure_not_mounted(options.source)) return {kProbeInUse, "it is mounted"};
  auto volume = open_volume(options.source, View::Recovered);
  if (!volume) return {code_of_refusal(volume.error()), "it cannot be mounted (see above)"};
  if (volume->device->in_use_elsewhere()) return {kProbeInUse, "it is in use by another program"};
  if (options.readwrite && volume->device->is_write_protected()) {
    return {kProbePrivilege, "it is write-protected: it can be mounted read-only"};
  }
  return judge(*volume, options.readwrite);
}

}  // namespace

int run_probe(const ProbeOptions& options) {
  const Verdict verdict = probe(options);
  if (options.json) {
    const nlohmann::json object = {
        {"mountable", verdict.code == kProbeYes}, {"code", verdict.code}, {"text", verdict.text}};
    fmt::print("{}\n", object.dump());
  } else {
    fmt::print("{}: {}\n", options.source, verdict.text);
  }
  return verdict.code;
}

}  // namespace ntfs::frontend
