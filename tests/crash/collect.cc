#include "tests/crash/collect.h"

#include <fmt/format.h>

#include <fstream>

#include "tests/support/sha256.h"

namespace ntfs::crash {

namespace {

/// 100 ns from 1601 to 1970.
constexpr int64_t kUnixEpoch = 116444736000000000;
constexpr int64_t kTicksASecond = 10000000;

char letter_of(FileKind kind) {
  switch (kind) {
    case FileKind::Directory:
      return 'd';
    case FileKind::Symlink:
      return 'l';
    case FileKind::Fifo:
      return 'p';
    default:
      return 'f';
  }
}

std::string hash_of(const ByteVector& content) {
  support::Sha256 hash;
  hash.update({reinterpret_cast<const unsigned char*>(content.data()), content.size()});
  return hash.hex_digest();
}

Result<FilePtr> find(ObjectStore& store, std::string_view path) {
  FilePtr file = store.root();
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    file = TRY(store.lookup(*file, std::u16string(name.begin(), name.end())));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
  }
  return file;
}

Result<std::string> line_of(ObjectStore& store, const std::string& path, const Tree& tree) {
  const FilePtr file = TRY(find(store, path));
  const FileInformation information = TRY(store.query_information(*file));
  const Entry& entry = tree.listing.at(path);
  const auto content = tree.contents.find(path);
  const bool is_file = content != tree.contents.end();
  const int64_t ticks = static_cast<int64_t>(information.last_write_time.raw()) - kUnixEpoch;
  return fmt::format("{}\t{}\t{}\t{}\t{}.{:09}\t{}\t{}\n", path, letter_of(entry.kind),
                     is_file ? content->second->size() : 0, entry.links, ticks / kTicksASecond,
                     ticks % kTicksASecond * 100, is_file ? hash_of(*content->second) : "-",
                     entry.kind == FileKind::Symlink ? entry.target : "-");
}

}  // namespace

std::string collect_image(const Start& start, const DiskImage& crashed, const std::string& path) {
  DiskImage disk(&crashed);
  RecordingDevice device(disk, start.shape.sector_size, nullptr);
  std::string why_not;
  auto store = ObjectStore::mount(device, mount_options(start.shape), why_not);
  if (!store) return fmt::format("mounting gives {}: {}", name_of(store.error()), why_not);
  if ((*store)->volume().recovery() == nullptr) return "clean";
  const auto tree = read_tree(**store);
  if (!tree) return fmt::format("reading the tree gives {}", name_of(tree.error()));
  std::ofstream list(path + ".list", std::ios::trunc);
  for (const auto& [name, entry] : tree->listing) {
    const auto line = line_of(**store, name, *tree);
    if (!line) return fmt::format("reading {} gives {}", name, name_of(line.error()));
    list << *line;
  }
  list.close();
  return !list.fail() && crashed.save(path + ".img") ? "" : "saving " + path + " fails";
}

}  // namespace ntfs::crash
