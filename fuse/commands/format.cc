#include "fuse/commands/format.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/base/trace.h"
#include "core/io/mount_table.h"
#include "core/io/uring_device.h"
#include "core/store/format.h"
#include "core/store/volume.h"
#include "fuse/byte_size.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/signatures.h"
#include "fuse/name_encoding.h"

namespace ntfs::frontend {

namespace {

int refuse(const std::string& source, const std::string& why, int code) {
  log_line(LogLevel::Error, fmt::format("{}: {}", source, why));
  return code;
}

FormatOptions to_format_options(const FormatCommandOptions& options) {
  // What does not fit 32 bits is no size that format_refusal() lets pass.
  const auto narrow = [](uint64_t value) {
    return static_cast<uint32_t>(std::min<uint64_t>(value, UINT32_MAX));
  };
  FormatOptions result;
  result.size_bytes = options.size_bytes;
  result.cluster_size = narrow(options.cluster_size);
  result.sector_size = narrow(options.sector_size);
  result.record_size = narrow(options.record_size);
  result.log_size = options.log_size;
  result.label = name_units(options.label);
  result.reflink = options.reflink;
  if (!options.no_usn) result.usn_size = options.usn_size;
  return result;
}

void print_summary(const FormatCommandOptions& options, const FormatSummary& summary) {
  const auto& geometry = summary.geometry;
  if (options.json) {
    const nlohmann::json object = {
        {"source", options.source},
        {"version", "3.1"},
        {"size", geometry.volume_bytes()},
        {"sector_size", geometry.sector_size},
        {"cluster_size", geometry.cluster_size},
        {"record_size", geometry.file_record_size},
        {"clusters_total", geometry.total_clusters},
        {"clusters_free", summary.free_clusters},
        {"log_size", summary.log_bytes},
        {"reflink", geometry.has_refcounts},
        {"label", options.label},
        {"serial", fmt::format("{:016x}", geometry.serial)},
    };
    fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  fmt::print("{}: NTFS 3.1, {}, {} clusters of {}, {} free\n", options.source,
             format_byte_size(geometry.volume_bytes()), geometry.total_clusters,
             format_byte_size(geometry.cluster_size),
             format_byte_size(summary.free_clusters * geometry.cluster_size));
  fmt::print("sectors of {}, file records of {}, log of {}, label \"{}\", serial {:016x}\n",
             format_byte_size(geometry.sector_size), format_byte_size(geometry.file_record_size),
             format_byte_size(summary.log_bytes), options.label, geometry.serial);
  if (geometry.has_refcounts) fmt::print("files may share clusters: no other driver mounts it\n");
}

/// Refuses what must not be overwritten.
int check_content(const FormatCommandOptions& options, BlockDevice& device) {
  if (options.force) return kExitSuccess;
  std::string content;
  if (const auto geometry = Volume::read_geometry(device)) {
    content =
        geometry->has_refcounts ? "an NTFS volume whose files share clusters" : "an NTFS volume";
  } else if (const auto found = recognize_content(options.source); found) {
    content = *found;
  } else {
    return refuse(options.source, "cannot be read", exit_code_of(found.error()));
  }
  if (content.empty()) return kExitSuccess;
  return refuse(options.source,
                fmt::format("holds {}; format it with --force if nothing on it is needed", content),
                kExitCannotCreate);
}

/// For sectors of `sector_size` bytes; 0: those of a block device, 512 in an image.
Result<std::unique_ptr<UringDevice>> open_for_format(const std::string& source,
                                                     uint32_t& sector_size) {
  constexpr uint32_t kLeastSector = 512;
  {
    auto device = TRY(UringDevice::open(source, UringDevice::Access::ReadWrite, {}));
    const uint32_t block_size = device->logical_block_size();
    if (sector_size == 0) sector_size = device->is_block_device() ? block_size : kLeastSector;
    if (sector_size >= block_size) return device;
    if (device->is_block_device()) {
      log_line(LogLevel::Error,
               fmt::format("{}: its sectors have {} bytes; no system could use smaller ones on it",
                           source, block_size));
      return NtStatus::InvalidParameter;
    }
  }
  UringDevice::Options options;
  options.max_block_size = kLeastSector;
  return UringDevice::open(source, UringDevice::Access::ReadWrite, options);
}

int format_device(const FormatCommandOptions& options, FormatOptions format) {
  auto device = open_for_format(options.source, format.sector_size);
  if (!device) return exit_code_of(device.error());  // logged
  const std::string why = format_refusal(format, (*device)->size_bytes());
  if (!why.empty()) return refuse(options.source, why, kExitUsage);
  if (const int code = check_content(options, **device); code != kExitSuccess) return code;
  const auto summary = format_volume(**device, format);
  if (!summary) {
    return refuse(options.source, fmt::format("cannot be formatted: {}", name_of(summary.error())),
                  exit_code_of(summary.error()));
  }
  print_summary(options, *summary);
  return kExitSuccess;
}

}  // namespace

int run_format(const FormatCommandOptions& options) {
  FormatOptions format = to_format_options(options);
  const bool exists = access(options.source.c_str(), F_OK) == 0;
  if (exists) {
    if (!ensure_not_mounted(options.source)) return kExitInUse;  // logged
    return format_device(options, std::move(format));
  }
  if (options.size_bytes == 0) {
    return refuse(options.source, "does not exist; give --size to create an image file",
                  kExitNoInput);
  }
  const std::string why = format_refusal(format, options.size_bytes);
  if (!why.empty()) return refuse(options.source, why, kExitUsage);
  if (const auto made = create_image(options.source, options.size_bytes); !made) {
    return exit_code_of(made.error());  // logged
  }
  format.content = DeviceContent::Zeroed;
  const int code = format_device(options, std::move(format));
  if (code != kExitSuccess) unlink(options.source.c_str());
  return code;
}

}  // namespace ntfs::frontend
