#include "fuse/commands/recover.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/base/trace.h"
#include "core/fsa/object_store.h"
#include "core/io/mount_table.h"
#include "core/io/uring_device.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/opened_volume.h"
#include "fuse/volume_device.h"

namespace ntfs::frontend {

namespace {

using Access = VolumeOptions::Access;

void print(const RecoverOptions& options, const RecoveryReport* report) {
  const bool was_clean = report == nullptr;
  if (!options.json) {
    if (was_clean) {
      fmt::print("{}: its log is clean, there is nothing to recover\n", options.source);
      return;
    }
    fmt::print("{}: {}: {}\n", options.source,
               options.dry_run ? "a recovery would come to this" : "recovered", describe(*report));
    for (const std::string& operation : report->last_operations) fmt::print("  {}\n", operation);
    return;
  }
  nlohmann::json object = {
      {"source", options.source}, {"was_clean", was_clean}, {"dry_run", options.dry_run}};
  if (!was_clean) {
    object["records_scanned"] = report->records_scanned;
    object["records_redone"] = report->records_redone;
    object["records_undone"] = report->records_undone;
    object["transactions_committed"] = report->transactions_committed;
    object["transactions_undone"] = report->transactions_undone;
    object["pages"] = report->pages;
    object["start_lsn"] = report->start_lsn.raw();
    object["end_lsn"] = report->end_lsn.raw();
    object["seconds"] = std::chrono::duration<double>(report->duration).count();
    object["last_operations"] = report->last_operations;
  }
  fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

int refuse(const RecoverOptions& options, NtStatus status, const std::string& why_not) {
  log_line(LogLevel::Error,
           fmt::format("{}: {}", options.source, why_not.empty() ? explain(status) : why_not));
  return exit_code_of(status);
}

/// Opens, and with ReadWrite recovers and leaves a clean log.
Result<> recover(BlockDevice& device, const RecoverOptions& options, Access access,
                 std::string& why_not) {
  ObjectStoreOptions store_options;
  store_options.volume.access = access;
  // Whoever calls this knows whether Windows was cut off.
  store_options.volume.sleep_guard = VolumeOptions::SleepGuard::Known;
  const auto store = TRY(ObjectStore::mount(device, store_options, why_not));
  if (access == Access::ReadWrite) TRY(store->dismount());
  print(options, store->volume().recovery());
  return {};
}

/// Whether there is something to recover. A clean volume is not written to.
Result<bool> is_unclean(BlockDevice& device, std::string& why_not) {
  VolumeOptions options;
  options.access = Access::ReadOnly;
  const auto volume = TRY(Volume::open(device, options, why_not));
  return volume->recovery() != nullptr;
}

}  // namespace

int run_recover(const RecoverOptions& options) {
  if (const auto free = ensure_not_mounted(options.source); !free) {
    return exit_code_of(free.error());  // logged
  }
  const auto mode =
      options.dry_run ? UringDevice::Access::ReadOnly : UringDevice::Access::ReadWrite;
  const auto device = open_volume_device(options.source, mode);
  if (!device) return exit_code_of(device.error());  // logged
  std::string why_not;
  const auto unclean = is_unclean(**device, why_not);
  if (!unclean) return refuse(options, unclean.error(), why_not);
  const Access access = options.dry_run || !*unclean ? Access::ReadOnly : Access::ReadWrite;
  const auto recovered = recover(**device, options, access, why_not);
  return recovered ? kExitSuccess : refuse(options, recovered.error(), why_not);
}

}  // namespace ntfs::frontend
