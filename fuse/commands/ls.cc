#include "fuse/commands/ls.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/ondisk/reparse_point.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/opened_volume.h"
#include "fuse/name_encoding.h"

namespace ntfs::frontend {

namespace {

void print_json(const std::string& name, const FileInformation& information) {
  nlohmann::json line = {
      {"name", name},
      {"type", name_of(information.kind)},
      {"file_reference", information.reference.raw()},
      {"size", information.file_size},
      {"allocated_size", information.allocated_size},
      {"links", information.link_count},
      {"attributes", information.file_attributes},
      {"last_write_time", format_time(information.last_write_time)},
  };
  if (information.reparse_tag != 0) {
    line["reparse_tag"] = information.reparse_tag;
    line["reparse_tag_name"] = ondisk::name_of_reparse_tag(information.reparse_tag);
  }
  fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_line(const std::string& name, const FileInformation& information,
                const LsOptions& options) {
  if (options.json) return print_json(name, information);
  if (!options.is_long) {
    fmt::print("{}\n", name);
    return;
  }
  const std::string tag =
      information.reparse_tag != 0
          ? fmt::format(" [{}]", ondisk::name_of_reparse_tag(information.reparse_tag))
          : "";
  fmt::print("{:<10} {:>4} {:>14} {} {:>8}:{:<5} {}{}\n", name_of(information.kind),
             information.link_count, information.file_size,
             format_time(information.last_write_time), information.reference.record(),
             information.reference.sequence(), name, tag);
}

/// Lists what it can; the first error decides the exit code.
int list_directory(OpenedVolume& volume, File& directory, const LsOptions& options) {
  const auto entries = volume.store->query_directory(directory);
  if (!entries) {
    report_file_error(volume, options.path, entries.error());
    return exit_code_of(entries.error());
  }
  int code = kExitSuccess;
  for (const DirectoryEntry& entry : *entries) {
    const std::string name = name_bytes(entry.name);
    FileInformation information;
    if (options.is_long || options.json) {
      const FilePtr file = volume.store->file(entry.reference);
      auto queried = volume.store->query_information(*file);
      if (!queried) {
        report_file_error(volume, name, queried.error());
        if (code == kExitSuccess) code = exit_code_of(queried.error());
        continue;
      }
      information = *queried;
    }
    print_line(name, information, options);
  }
  return code;
}

}  // namespace

int run_ls(const LsOptions& options) {
  auto volume = open_volume(options.source, View::Recovered);
  if (!volume) return exit_code_of(volume.error());
  const auto file = find_path(*volume, options.path);
  if (!file) return exit_code_of(file.error());
  const auto information = volume->store->query_information(**file);
  if (!information) {
    report_file_error(*volume, options.path, information.error());
    return exit_code_of(information.error());
  }
  if (information->kind == FileKind::Directory) return list_directory(*volume, **file, options);
  print_line(options.path.substr(options.path.rfind('/') + 1), *information, options);
  return kExitSuccess;
}

}  // namespace ntfs::frontend
