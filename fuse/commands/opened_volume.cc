#include "fuse/commands/opened_volume.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/base/trace.h"
#include "fuse/name_encoding.h"
#include "fuse/recovery_notice.h"
#include "fuse/volume_device.h"

namespace ntfs::frontend {

std::string explain(NtStatus status) {
  switch (status) {
    case NtStatus::ObjectNameNotFound:
      return "there is no such file";
    case NtStatus::NotADirectory:
      return "it is not a directory";
    case NtStatus::FileIsADirectory:
      return "it is a directory";
    case NtStatus::NameTooLong:
      return "the name is too long: at most 255 UTF-16 code units";
    case NtStatus::UnrecognizedVolume:
      return "it is not an NTFS volume";
    case NtStatus::NotSupported:
      return "it uses something that this version does not support";
    case NtStatus::AccessDenied:
      return "access is denied; it may be encrypted";
    case NtStatus::FileCorruptError:
    case NtStatus::DiskCorruptError:
    case NtStatus::EaCorruptError:
      return "it is damaged (see above); `ntfs-wal check` lists what is wrong with the volume";
    case NtStatus::IoDeviceError:
      return "the device could not be read";
    default:
      return std::string(ntfs::name_of(status));
  }
}

Result<OpenedVolume> open_volume(const std::string& source, View view) {
  OpenedVolume opened;
  opened.source = source;
  UringDevice::Options device_options;
  device_options.arena_bytes = 0;  // one thread, for a moment
  auto device = open_volume_device(source, UringDevice::Access::ReadOnly, device_options);
  if (!device) return device.error();  // logged
  opened.device = std::move(*device);
  ObjectStoreOptions options;
  options.volume.access =
      view == View::AsItIs ? VolumeOptions::Access::AsItIs : VolumeOptions::Access::NoRecover;
  options.show_system_files = true;
  std::string why_not;
  auto store = ObjectStore::mount(*opened.device, options, why_not);
  if (!store && view == View::AsItIs) {
    // What a crash tore, the log may make whole.
    options.volume.access = VolumeOptions::Access::NoRecover;
    store = ObjectStore::mount(*opened.device, options, why_not);
  }
  if (!store) {
    log_line(LogLevel::Error,
             fmt::format("{}: {}", source, why_not.empty() ? explain(store.error()) : why_not));
    return store.error();
  }
  opened.store = std::move(*store);
  report_recovery(source, opened.store->volume());
  return opened;
}

Result<FilePtr> find_path(OpenedVolume& volume, std::string_view path) {
  FilePtr file = volume.store->root();
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view component = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (component.empty() || component == ".") continue;
    const auto name = name_from_kernel(component);
    auto next = name ? volume.store->lookup(*file, *name) : Result<FilePtr>(name.error());
    if (!next) {
      report_file_error(volume, path.substr(0, path.size() - rest.size()), next.error());
      return next.error();
    }
    file = std::move(*next);
  }
  return file;
}

void report_file_error(const OpenedVolume& volume, std::string_view path, NtStatus status) {
  log_line(LogLevel::Error, fmt::format("{}: {}: {}", volume.source, path, explain(status)));
}

std::string_view name_of(FileKind kind) {
  switch (kind) {
    case FileKind::File:
      return "file";
    case FileKind::Directory:
      return "directory";
    case FileKind::Symlink:
      return "symlink";
    case FileKind::Fifo:
      return "fifo";
    case FileKind::CharacterDevice:
      return "character device";
    case FileKind::BlockDevice:
      return "block device";
    case FileKind::Socket:
      return "socket";
  }
  return "?";
}

std::string format_time(ondisk::FileTime time) {
  const timespec when = time.to_timespec();
  tm parts{};
  if (gmtime_r(&when.tv_sec, &parts) == nullptr) return "?";
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:07}Z", parts, when.tv_nsec / 100);
}

}  // namespace ntfs::frontend
