#include "fuse/mapping_file.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "core/base/trace.h"
#include "fuse/name_encoding.h"

namespace ntfs::frontend {

namespace {

constexpr std::string_view kUsualPath = ".NTFS-3G/UserMapping";
constexpr uint64_t kMostBytes = 1 << 20;

Result<FilePtr> find_on_volume(ObjectStore& store, std::string_view path) {
  FilePtr file = store.root();
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty()) continue;
    const std::u16string units = TRY(name_from_kernel(name));
    file = TRY(store.lookup(*file, units));
  }
  return file;
}

Result<std::string> read_on_volume(ObjectStore& store, std::string_view path) {
  const FilePtr file = TRY(find_on_volume(store, path));
  const FileInformation information = TRY(store.query_information(*file));
  const uint64_t size = information.file_size;
  if (size > kMostBytes) return NtStatus::FileTooLarge;
  AlignedBuffer bytes(align_up(size + 1, 4096));
  const size_t length = TRY(store.read(*file, 0, size, bytes.bytes()));
  return std::string(as_text(bytes.bytes().first(length)));
}

std::optional<std::string> read_on_host(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (!(text << stream.rdbuf())) return std::nullopt;
  return text.str();
}

}  // namespace

std::optional<UserMapping> load_user_mapping(ObjectStore& store, const std::string& path,
                                             std::string& problem) {
  std::string text;
  if (path.starts_with('/')) {
    const auto found = read_on_host(path);
    if (!found) problem = fmt::format("the user mapping {} cannot be read", path);
    if (!found) return std::nullopt;
    text = *found;
  } else {
    const auto found = read_on_volume(store, path.empty() ? kUsualPath : path);
    if (!found && !path.empty()) {
      problem = fmt::format("the user mapping {} on the volume cannot be read: {}", path,
                            name_of(found.error()));
    }
    if (!found) return std::nullopt;
    text = *found;
  }
  std::vector<std::string> problems;
  UserMapping mapping = UserMapping::parse(text, UserMapping::names_of_host(), problems);
  for (const std::string& line : problems) log_line(LogLevel::Warning, line);
  if (mapping.is_usable()) return mapping;
  constexpr std::string_view kUseless = "the user mapping names no user, or no group";
  if (path.empty()) log_line(LogLevel::Warning, kUseless);
  if (!path.empty()) problem = kUseless;
  return std::nullopt;
}

}  // namespace ntfs::frontend
