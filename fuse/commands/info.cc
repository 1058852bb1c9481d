#include "fuse/commands/info.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/fsa/usn_control.h"
#include "core/ondisk/utf16.h"
#include "fuse/byte_size.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/opened_volume.h"

namespace ntfs::frontend {

namespace {

struct FlagName {
  uint16_t bit;
  std::string_view name;
};
constexpr std::array kFlagNames = {
    FlagName{ondisk::VolumeFlags::Dirty, "dirty"},
    FlagName{ondisk::VolumeFlags::ResizeLogFile, "resize-log-file"},
    FlagName{ondisk::VolumeFlags::UpgradeOnMount, "upgrade-on-mount"},
    FlagName{ondisk::VolumeFlags::MountedOnNt4, "mounted-on-nt4"},
    FlagName{ondisk::VolumeFlags::DeleteUsnUnderway, "delete-usn-underway"},
    FlagName{ondisk::VolumeFlags::RepairObjectIds, "repair-object-ids"},
    FlagName{ondisk::VolumeFlags::ChkdskUnderway, "chkdsk-underway"},
    FlagName{ondisk::VolumeFlags::ModifiedByChkdsk, "modified-by-chkdsk"},
};

std::vector<std::string> flag_names(uint16_t flags) {
  std::vector<std::string> names;
  for (const FlagName& flag : kFlagNames) {
    if ((flags & flag.bit) != 0) names.emplace_back(flag.name);
  }
  return names;
}

/// What the volume has that NTFS as others know it does not.
std::vector<std::string> feature_names(const ondisk::VolumeGeometry& geometry) {
  return geometry.has_refcounts ? std::vector<std::string>{"reflink"} : std::vector<std::string>{};
}

nlohmann::json usn_json(const Result<UsnJournalData>& usn) {
  if (!usn) return {{"active", false}};
  return {{"active", true},
          {"id", usn->id},
          {"first", usn->first.raw()},
          {"next", usn->next.raw()},
          {"lowest_valid", usn->lowest_valid.raw()},
          {"max_size", usn->maximum_size}};
}

std::string version_of(const Volume& volume) {
  return fmt::format("{}.{}", static_cast<unsigned>(volume.information().major_version),
                     static_cast<unsigned>(volume.information().minor_version));
}

void print_json(OpenedVolume& opened) {
  const Volume& volume = opened.store->volume();
  const auto& geometry = volume.geometry();
  const auto& log = volume.log_status();
  const StoreInformation store = opened.store->query_store();
  const uint16_t flags = volume.information().flags.get();
  const nlohmann::json object = {
      {"source", opened.source},
      {"version", version_of(volume)},
      {"size", geometry.volume_bytes()},
      {"sector_size", geometry.sector_size},
      {"cluster_size", geometry.cluster_size},
      {"record_size", geometry.file_record_size},
      {"index_block_size", geometry.index_block_size},
      {"clusters_total", store.clusters_total},
      {"clusters_free", store.clusters_free},
      {"file_records", opened.store->volume().mft().total_records()},
      {"mft_lcn", geometry.mft_lcn.raw()},
      {"label", ondisk::to_display(volume.label())},
      {"serial", fmt::format("{:016x}", geometry.serial)},
      {"dirty", (flags & ondisk::VolumeFlags::Dirty) != 0},
      {"flags", flag_names(flags)},
      {"features", feature_names(geometry)},
      {"in_use", opened.device->in_use_elsewhere()},
      {"log",
       {{"version", fmt::format("{}.{}", log.major_version, log.minor_version)},
        {"state", lfs::name_of(log.state)},
        {"size", log.size_bytes},
        {"oldest_lsn", log.oldest_lsn.raw()},
        {"last_lsn", log.last_lsn.raw()}}},
      {"usn", usn_json(UsnControls(*opened.store).query())},
  };
  fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_usn(const Result<UsnJournalData>& usn) {
  if (!usn) {
    fmt::print("{:<16}none\n", "change journal");
    return;
  }
  fmt::print("{:<16}id {:016x}, usn {} to {}, lowest valid {}, at most {}\n", "change journal",
             usn->id, usn->first.raw(), usn->next.raw(), usn->lowest_valid.raw(),
             format_byte_size(usn->maximum_size));
}

void print_text(OpenedVolume& opened) {
  Volume& volume = opened.store->volume();
  const auto& geometry = volume.geometry();
  const auto& log = volume.log_status();
  const StoreInformation store = opened.store->query_store();
  const auto flags = flag_names(volume.information().flags.get());
  fmt::print("{:<16}NTFS {}{}\n", "version", version_of(volume),
             opened.device->in_use_elsewhere() ? ", in use" : "");
  fmt::print("{:<16}{}\n", "label", ondisk::to_display(volume.label()));
  fmt::print("{:<16}{:016x}\n", "serial", geometry.serial);
  fmt::print("{:<16}{}\n", "size", format_byte_size(geometry.volume_bytes()));
  fmt::print("{:<16}{} of {} clusters ({})\n", "free", store.clusters_free, store.clusters_total,
             format_byte_size(store.clusters_free * store.cluster_size));
  fmt::print("{:<16}sectors {}, clusters {}, file records {}, index blocks {}\n", "sizes",
             format_byte_size(geometry.sector_size), format_byte_size(geometry.cluster_size),
             format_byte_size(geometry.file_record_size),
             format_byte_size(geometry.index_block_size));
  fmt::print("{:<16}{} file records, first at cluster {}\n", "$MFT", volume.mft().total_records(),
             geometry.mft_lcn.raw());
  fmt::print("{:<16}{}\n", "flags",
             flags.empty() ? "none" : fmt::format("{}", fmt::join(flags, " ")));
  const auto features = feature_names(geometry);
  fmt::print("{:<16}{}\n", "features",
             features.empty() ? "none" : fmt::format("{}", fmt::join(features, " ")));
  fmt::print("{:<16}LFS {}.{}, {}, {}, oldest lsn {:#x}, last lsn {:#x}\n", "log",
             log.major_version, log.minor_version, lfs::name_of(log.state),
             format_byte_size(log.size_bytes), log.oldest_lsn.raw(), log.last_lsn.raw());
  print_usn(UsnControls(*opened.store).query());
}

}  // namespace

int run_info(const InfoOptions& options) {
  auto volume = open_volume(options.source, View::AsItIs);
  if (!volume) return exit_code_of(volume.error());
  if (options.json) {
    print_json(*volume);
  } else {
    print_text(*volume);
  }
  return kExitSuccess;
}

}  // namespace ntfs::frontend
