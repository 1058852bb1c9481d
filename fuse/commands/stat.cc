#include "fuse/commands/stat.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/ondisk/reparse_point.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/opened_volume.h"

namespace ntfs::frontend {

namespace {

using Attributes = ondisk::FileAttributes;

struct AttributeName {
  uint32_t bit;
  std::string_view name;
};
constexpr std::array kAttributeNames = {
    AttributeName{Attributes::ReadOnly, "read-only"},
    AttributeName{Attributes::Hidden, "hidden"},
    AttributeName{Attributes::System, "system"},
    AttributeName{Attributes::Archive, "archive"},
    AttributeName{Attributes::Temporary, "temporary"},
    AttributeName{Attributes::SparseFile, "sparse"},
    AttributeName{Attributes::ReparsePoint, "reparse-point"},
    AttributeName{Attributes::Compressed, "compressed"},
    AttributeName{Attributes::Offline, "offline"},
    AttributeName{Attributes::NotContentIndexed, "not-content-indexed"},
    AttributeName{Attributes::Encrypted, "encrypted"},
};

std::vector<std::string> attribute_names(uint32_t attributes) {
  std::vector<std::string> names;
  for (const AttributeName& attribute : kAttributeNames) {
    if ((attributes & attribute.bit) != 0) names.emplace_back(attribute.name);
  }
  return names;
}

nlohmann::json to_json(const FileInformation& information, const std::string& path,
                       const std::string& target) {
  nlohmann::json object = {
      {"path", path},
      {"type", name_of(information.kind)},
      {"file_reference", information.reference.raw()},
      {"record", information.reference.record()},
      {"sequence", information.reference.sequence()},
      {"size", information.file_size},
      {"allocated_size", information.allocated_size},
      {"links", information.link_count},
      {"attributes", attribute_names(information.file_attributes)},
      {"creation_time", format_time(information.creation_time)},
      {"last_write_time", format_time(information.last_write_time)},
      {"change_time", format_time(information.change_time)},
      {"last_access_time", format_time(information.last_access_time)},
  };
  const LinuxMetadata& metadata = information.linux_metadata;
  if (metadata.uid) object["uid"] = *metadata.uid;
  if (metadata.gid) object["gid"] = *metadata.gid;
  if (metadata.mode) object["mode"] = fmt::format("{:o}", *metadata.mode);
  if (metadata.device) object["device"] = *metadata.device;
  if (information.reparse_tag != 0) {
    object["reparse_tag"] = information.reparse_tag;
    object["reparse_tag_name"] = ondisk::name_of_reparse_tag(information.reparse_tag);
  }
  if (!target.empty()) object["target"] = target;
  return object;
}

void print_text(const FileInformation& information, const std::string& path,
                const std::string& target) {
  fmt::print("{:<16}{}{}\n", "path", path, target.empty() ? "" : " -> " + target);
  fmt::print("{:<16}{}\n", "type", name_of(information.kind));
  fmt::print("{:<16}{}, sequence {}\n", "file record", information.reference.record(),
             information.reference.sequence());
  fmt::print("{:<16}{} bytes, {} allocated\n", "size", information.file_size,
             information.allocated_size);
  fmt::print("{:<16}{}\n", "links", information.link_count);
  fmt::print("{:<16}{:#x} {}\n", "attributes", information.file_attributes,
             fmt::join(attribute_names(information.file_attributes), " "));
  fmt::print("{:<16}{}\n", "created", format_time(information.creation_time));
  fmt::print("{:<16}{}\n", "written", format_time(information.last_write_time));
  fmt::print("{:<16}{}\n", "changed", format_time(information.change_time));
  fmt::print("{:<16}{}\n", "accessed", format_time(information.last_access_time));
  const LinuxMetadata& metadata = information.linux_metadata;
  if (metadata.uid) fmt::print("{:<16}{}\n", "owner", *metadata.uid);
  if (metadata.gid) fmt::print("{:<16}{}\n", "group", *metadata.gid);
  if (metadata.mode) fmt::print("{:<16}{:o}\n", "mode", *metadata.mode);
  if (information.reparse_tag != 0) {
    fmt::print("{:<16}{:#x} {}\n", "reparse tag", information.reparse_tag,
               ondisk::name_of_reparse_tag(information.reparse_tag));
  }
}

}  // namespace

int run_stat(const StatOptions& options) {
  auto volume = open_volume(options.source, View::Recovered);
  if (!volume) return exit_code_of(volume.error());
  const auto file = find_path(*volume, options.path);
  if (!file) return exit_code_of(file.error());
  const auto information = volume->store->query_information(**file);
  if (!information) {
    report_file_error(*volume, options.path, information.error());
    return exit_code_of(information.error());
  }
  std::string target;
  if (information->kind == FileKind::Symlink) {
    target = volume->store->read_link(**file).value_or(std::string("(cannot be read)"));
  }
  if (options.json) {
    const auto replace = nlohmann::json::error_handler_t::replace;
    fmt::print("{}\n", to_json(*information, options.path, target).dump(-1, ' ', false, replace));
  } else {
    print_text(*information, options.path, target);
  }
  return kExitSuccess;
}

}  // namespace ntfs::frontend
