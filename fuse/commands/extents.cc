#include "fuse/commands/extents.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "fuse/commands/exit_codes.h"
#include "fuse/commands/opened_volume.h"

namespace ntfs::frontend {

namespace {

void print_run(const Run& run, uint32_t cluster_size, const ExtentsOptions& options) {
  const bool is_hole = run.lcn.is_hole();
  if (options.json) {
    nlohmann::json line = {{"vcn", run.vcn.raw()}, {"clusters", run.count.raw()}};
    line["lcn"] = is_hole ? nlohmann::json() : nlohmann::json(run.lcn.raw());
    fmt::print("{}\n", line.dump());
    return;
  }
  const std::string place = is_hole ? "hole" : std::to_string(run.lcn.raw());
  fmt::print("{:>12} {:>12} {:>12} {:>16}\n", run.vcn.raw(), place, run.count.raw(),
             run.count.raw() * cluster_size);
}

}  // namespace

int run_extents(const ExtentsOptions& options) {
  auto volume = open_volume(options.source, View::Recovered);
  if (!volume) return exit_code_of(volume.error());
  const auto file = find_path(*volume, options.path);
  if (!file) return exit_code_of(file.error());
  const auto information = volume->store->query_information(**file);
  if (information && information->kind == FileKind::Directory) {
    report_file_error(*volume, options.path, NtStatus::FileIsADirectory);
    return kExitNoInput;
  }
  const auto runs = (*file)->data().runs();
  if (!runs) {
    report_file_error(*volume, options.path, runs.error());
    return exit_code_of(runs.error());
  }
  if (!options.json) {
    if (runs->empty()) {
      fmt::print("no clusters: the data is resident in the file record, or there is none\n");
      return kExitSuccess;
    }
    fmt::print("{:>12} {:>12} {:>12} {:>16}\n", "vcn", "lcn", "clusters", "bytes");
  }
  const uint32_t cluster_size = volume->store->volume().geometry().cluster_size;
  for (const Run& run : runs->runs()) print_run(run, cluster_size, options);
  return kExitSuccess;
}

}  // namespace ntfs::frontend
