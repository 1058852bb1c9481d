#include "tests/crash/model.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>

namespace ntfs::crash {

namespace {

using Kind = Operation::Kind;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

uint64_t mix(uint64_t hash, uint64_t value) {
  return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 31);
}

uint64_t mix(uint64_t hash, const Values& values) {
  const std::hash<std::string> text;
  hash = mix(hash, values.size());
  for (const auto& [name, value] : values) hash = mix(mix(hash, text(name)), value);
  return hash;
}

std::string to_text(const Values& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format(" {}={:x}", name, value);
  return text;
}

std::string to_text(const Entry& entry) {
  return fmt::format("kind {}, links {}, mode {:o}, guard {}, target '{}', streams{}, eas{}, is {}",
                     static_cast<int>(entry.kind), entry.links, entry.mode, entry.guard,
                     entry.target, to_text(entry.streams), to_text(entry.eas), entry.first_name);
}

}  // namespace

uint64_t hash_of(ByteView value) {
  uint64_t hash = value.size();
  for (const std::byte byte : value) hash = mix(hash, std::to_integer<uint64_t>(byte));
  return hash;
}

uint64_t hash_of(const Listing& listing) {
  const std::hash<std::string> text;
  uint64_t hash = listing.size();
  for (const auto& [path, entry] : listing) {
    hash = mix(hash, text(path));
    hash = mix(hash, static_cast<uint64_t>(entry.kind) + (uint64_t{entry.links} << 8) +
                         (uint64_t{entry.mode} << 32));
    hash = mix(hash, entry.guard);
    hash = mix(hash, text(entry.target));
    hash = mix(mix(hash, entry.streams), entry.eas);
    hash = mix(hash, text(entry.first_name));
  }
  return hash;
}

std::string difference(const Listing& expected, const Listing& found) {
  constexpr size_t kMostShown = 6;
  std::vector<std::string> lines;
  for (const auto& [path, entry] : expected) {
    const auto other = found.find(path);
    if (other == found.end()) {
      lines.push_back(path + " is missing");
    } else if (other->second != entry) {
      lines.push_back(
          fmt::format("{}: expected {}; found {}", path, to_text(entry), to_text(other->second)));
    }
  }
  for (const auto& [path, entry] : found) {
    if (!expected.contains(path)) lines.push_back(path + " is there: " + to_text(entry));
  }
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), kMostShown); ++i) text += "\n      " + lines[i];
  if (lines.size() > kMostShown) text += fmt::format("\n      ({} in all)", lines.size());
  return text;
}

Model Model::of(const Listing& listing, const std::map<std::string, Content>& contents) {
  Model model;
  for (const auto& [path, entry] : listing) {
    const auto first = model.names_.find(entry.first_name);
    if (first != model.names_.end()) {
      model.names_[path] = first->second;
      continue;
    }
    const uint32_t id = model.next_file_++;
    model.names_[path] = id;
    model.files_[id] = {entry.kind,   entry.links,   entry.mode, entry.guard,
                        entry.target, entry.streams, entry.eas};
    if (entry.kind == FileKind::File) model.contents_[id] = contents.at(path);
  }
  return model;
}

const Model::File* Model::find(const std::string& path) const {
  const auto name = names_.find(path);
  return name == names_.end() ? nullptr : &files_.at(name->second);
}

bool Model::is_directory(const std::string& path) const {
  if (path.empty()) return true;
  const File* file = find(path);
  return file != nullptr && file->kind == FileKind::Directory;
}

bool Model::may_create(const std::string& path) const {
  return is_directory(parent_of(path)) && !names_.contains(path);
}

bool Model::is_empty(const std::string& directory) const {
  const auto next = names_.upper_bound(directory + "/");
  return next == names_.end() || !is_below(next->first, directory);
}

Listing Model::listing() const {
  Listing listing;
  std::map<uint32_t, std::string> first;
  for (const auto& [path, id] : names_) {
    const File& file = files_.at(id);
    const auto& name = first.emplace(id, path).first->second;
    listing[path] = {file.kind,   file.links,   file.mode, file.guard,
                     file.target, file.streams, file.eas,  name};
  }
  return listing;
}

void Model::drop(uint32_t file) {
  if (--files_[file].links != 0) return;
  files_.erase(file);
  contents_.erase(file);
}

/// With everything below it.
void Model::move(const std::string& from, const std::string& to) {
  std::map<std::string, uint32_t> moved;
  for (auto it = names_.lower_bound(from); it != names_.end() && it->first.starts_with(from);) {
    if (it->first != from && !is_below(it->first, from)) {
      ++it;
      continue;
    }
    moved[to + it->first.substr(from.size())] = it->second;
    it = names_.erase(it);
  }
  names_.merge(moved);
}

/// What a file inherits that is made there.
uint64_t Model::guard_below(const std::string& path) const {
  const size_t slash = path.rfind('/');
  const File* directory = slash == path.npos ? nullptr : find(path.substr(0, slash));
  return directory == nullptr ? 0 : directory->guard;
}

bool Model::create(const Operation& operation) {
  if (!may_create(operation.path)) return false;
  File file;
  file.links = 1;
  file.guard = guard_below(operation.path);
  if (operation.kind == Kind::MakeDirectory) file.kind = FileKind::Directory;
  if (operation.kind == Kind::MakeFifo) {
    file.kind = FileKind::Fifo;
    file.mode = kFifoMode;
  }
  if (operation.kind == Kind::MakeSymlink) {
    file.kind = FileKind::Symlink;
    file.target = operation.target;
  }
  const uint32_t id = next_file_++;
  names_[operation.path] = id;
  if (file.kind == FileKind::File) contents_[id] = std::make_shared<ByteVector>();
  files_[id] = std::move(file);
  return true;
}

bool Model::unlink(const std::string& path) {
  const File* file = find(path);
  if (file == nullptr || file->kind == FileKind::Directory) return false;
  const uint32_t id = names_.at(path);
  names_.erase(path);
  drop(id);
  return true;
}

/// What is written to the open file shows where a crash takes back that it lost its name.
bool Model::unlink_open(const std::string& path, size_t number) {
  const auto name = names_.find(path);
  if (name == names_.end()) return false;
  const uint32_t id = name->second;
  const auto before = contents_.find(id);
  const Content content = before == contents_.end() ? nullptr : before->second;
  if (!unlink(path)) return false;
  if (content == nullptr || contents_.contains(id)) return true;
  auto bytes = std::make_shared<ByteVector>(*content);
  bytes->resize(std::max<uint64_t>(bytes->size(), kWrittenUnlinked));
  for (uint64_t i = 0; i < kWrittenUnlinked; ++i) (*bytes)[i] = written_byte(number, i);
  contents_[id] = std::move(bytes);
  return true;
}

bool Model::rename(const Operation& operation) {
  const std::string& from = operation.path;
  const std::string& to = operation.target;
  const File* source = find(from);
  if (source == nullptr || !is_directory(parent_of(to))) return false;
  const bool moves_directory = source->kind == FileKind::Directory;
  const File* target = find(to);
  if (target == source) return true;
  if (moves_directory && (from == to || is_below(to, from))) return false;
  if (target != nullptr) {
    if (moves_directory != (target->kind == FileKind::Directory)) return false;
    if (moves_directory && !is_empty(to)) return false;
    const uint32_t id = names_.at(to);
    names_.erase(to);
    drop(id);
  }
  move(from, to);
  return true;
}

bool Model::rename_leaving(const Operation& operation) {
  const bool is_one_file = find(operation.path) == find(operation.target);
  if (!rename(operation)) return false;
  return is_one_file || create({Kind::MakeFifo, operation.path, "", 0, 0});
}

bool Model::exchange(const Operation& operation) {
  const std::string& from = operation.path;
  const std::string& to = operation.target;
  const File* source = find(from);
  const File* target = find(to);
  if (source == nullptr || target == nullptr) return false;
  if (source == target) return true;
  if (is_below(to, from) || is_below(from, to)) return false;
  const std::string aside = "\x01";
  move(from, aside);
  move(to, from);
  move(aside, to);
  return true;
}

bool Model::link(const Operation& operation) {
  const File* source = find(operation.path);
  if (source == nullptr || source->kind == FileKind::Directory) return false;
  if (!may_create(operation.target)) return false;
  const uint32_t id = names_.at(operation.path);
  names_[operation.target] = id;
  ++files_[id].links;
  return true;
}

bool Model::change_data(const Operation& operation, size_t number) {
  const File* file = find(operation.path);
  if (file == nullptr || file->kind != FileKind::File) return false;
  Content& content = contents_[names_.at(operation.path)];
  auto bytes = std::make_shared<ByteVector>(*content);
  const bool appends = operation.kind == Kind::Append;
  const uint64_t offset = appends ? bytes->size() : operation.offset;
  const uint64_t end = offset + operation.length;
  const bool is_smooth = operation.kind == Kind::WriteSmooth;
  const auto fill = [&](bool with_data) {
    const uint64_t stop = std::min<uint64_t>(end, bytes->size());
    for (uint64_t i = offset; i < stop; ++i) {
      const std::byte written = is_smooth ? smooth_byte(number, i) : written_byte(number, i);
      (*bytes)[i] = with_data ? written : std::byte{0};
    }
  };
  switch (operation.kind) {
    case Kind::Write:
    case Kind::WriteThrough:
    case Kind::WriteSmooth:
    case Kind::WriteByOpen:
    case Kind::Append:
      if (operation.length == 0) return true;
      bytes->resize(std::max<uint64_t>(bytes->size(), end));
      fill(true);
      break;
    case Kind::Truncate:
      bytes->resize(operation.offset);
      break;
    case Kind::Punch:
    case Kind::ZeroWithin:
      fill(false);
      break;
    case Kind::Zero:
      bytes->resize(std::max<uint64_t>(bytes->size(), end));
      fill(false);
      break;
    case Kind::Allocate:
      bytes->resize(std::max<uint64_t>(bytes->size(), end));
      break;
    default:
      return true;
  }
  if (*bytes != *content) content = std::move(bytes);
  return true;
}

/// Each is one transaction: what there is of it is in the listing.
bool Model::change_attributes(const Operation& operation, size_t number) {
  const auto name = names_.find(operation.path);
  if (name == names_.end()) return false;
  File& file = files_[name->second];
  if (file.kind != FileKind::File && file.kind != FileKind::Directory) return false;
  const bool is_stream = operation.kind == Kind::SetStream || operation.kind == Kind::RemoveStream;
  Values& values = is_stream ? file.streams : file.eas;
  if (operation.kind == Kind::RemoveStream || operation.kind == Kind::RemoveEa) {
    return values.erase(operation.target) != 0;
  }
  values[operation.target] = hash_of(written_bytes(number, 0, operation.length));
  return true;
}

bool Model::clone(const Operation& operation) {
  const File* from = find(operation.path);
  const File* to = find(operation.target);
  if (from == nullptr || from->kind != FileKind::File) return false;
  if (to == nullptr || to->kind != FileKind::File) return false;
  const Content source = contents_.at(names_.at(operation.path));
  Content& content = contents_[names_.at(operation.target)];
  const uint64_t end = std::min<uint64_t>(operation.offset + operation.length, source->size());
  if (operation.offset >= end) return true;
  auto bytes = std::make_shared<ByteVector>(*content);
  bytes->resize(std::max<uint64_t>(bytes->size(), end));
  for (uint64_t i = operation.offset; i < end; ++i) (*bytes)[i] = (*source)[i];
  if (*bytes != *content) content = std::move(bytes);
  return true;
}

bool Model::set_link(const Operation& operation) {
  const auto name = names_.find(operation.path);
  if (name == names_.end()) return false;
  const uint32_t id = name->second;
  File& file = files_.at(id);
  const bool is_empty = file.kind == FileKind::File && contents_.at(id)->empty();
  if (file.kind != FileKind::Symlink && (!is_empty || operation.target.empty())) return false;
  if (!file.eas.empty()) return false;  // NTFS has one or the other
  file.target = operation.target;
  file.kind = operation.target.empty() ? FileKind::File : FileKind::Symlink;
  if (file.kind == FileKind::Symlink) {
    contents_.erase(id);
  } else {
    contents_[id] = std::make_shared<ByteVector>();
  }
  return true;
}

bool Model::apply(const Operation& operation, size_t number) {
  switch (operation.kind) {
    case Kind::Create:
    case Kind::MakeDirectory:
    case Kind::MakeSymlink:
    case Kind::MakeFifo:
      return create(operation);
    case Kind::Rename:
      return rename(operation);
    case Kind::RenameLeaving:
      return rename_leaving(operation);
    case Kind::Exchange:
      return exchange(operation);
    case Kind::Link:
      return link(operation);
    case Kind::Unlink:
      return unlink(operation.path);
    case Kind::UnlinkOpen:
      return unlink_open(operation.path, number);
    case Kind::Clone:
      return clone(operation);
    case Kind::SetLink:
      return set_link(operation);
    case Kind::RemoveDirectory: {
      if (operation.path.empty() || !is_directory(operation.path)) return false;
      if (!is_empty(operation.path)) return false;
      const uint32_t id = names_.at(operation.path);
      names_.erase(operation.path);
      drop(id);
      return true;
    }
    case Kind::SetMode: {
      const auto name = names_.find(operation.path);
      if (name == names_.end()) return false;
      File& file = files_[name->second];
      const uint32_t type = file.kind == FileKind::Directory ? S_IFDIR : S_IFREG;
      file.mode = type | static_cast<uint32_t>(operation.offset);
      return true;
    }
    case Kind::SetShortName: {
      // The tree does not show it; the checker looks at both names of the pair.
      const auto name = names_.find(operation.path);
      if (name == names_.end()) return false;
      const auto has_other = [&](const auto& other) { return other.second == name->second; };
      return std::count_if(names_.begin(), names_.end(), has_other) == 1;
    }
    case Kind::SetSecurity: {
      const auto name = names_.find(operation.path);
      if (name == names_.end()) return false;
      files_[name->second].guard = operation.offset;
      return true;
    }
    case Kind::SetStream:
    case Kind::RemoveStream:
    case Kind::SetEa:
    case Kind::RemoveEa:
      return change_attributes(operation, number);
    case Kind::Fsync:
    case Kind::Checkpoint:
    case Kind::BareCheckpoint:
      return true;
    default:
      return change_data(operation, number);
  }
}

void History::add(const Model& model) {
  auto listing = std::make_shared<const Listing>(model.listing());
  const size_t state = names_.size();
  for (const auto& [file, content] : model.contents()) {
    auto& states = contents_[file];
    if (states.empty() || states.back().content != content) states.push_back({state, content});
  }
  const bool is_same = !names_.empty() && *names_.back().listing == *listing &&
                       *names_.back().files == model.names();
  if (is_same) {
    names_.push_back(names_.back());
    return;
  }
  const uint64_t hash = hash_of(*listing);
  names_.push_back({hash, std::move(listing),
                    std::make_shared<const std::map<std::string, uint32_t>>(model.names())});
}

}  // namespace ntfs::crash
