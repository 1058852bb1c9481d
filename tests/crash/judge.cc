#include "tests/crash/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/check/check.h"
#include "tests/crash/guard.h"

namespace ntfs::crash {

namespace {

/// Deeper trees than this are not made here.
constexpr size_t kMostDepth = 32;
constexpr uint64_t kMostFileBytes = uint64_t{64} << 20;

Result<Content> read_content(ObjectStore& store, File& file, uint64_t size) {
  if (size > kMostFileBytes) return NtStatus::FileCorruptError;
  AlignedBuffer memory(align_up(size, 4096) + 4096);
  const size_t length = TRY(store.read(file, 0, size, memory.bytes()));
  return Content(std::make_shared<ByteVector>(memory.data(), memory.data() + length));
}

Result<Values> read_streams(ObjectStore& store, File& file) {
  Values values;
  for (const StreamInformation& stream : TRY(store.query_streams(file))) {
    if (stream.name.empty()) continue;
    const ByteVector value = TRY(store.read_stream(file, stream.name));
    values[std::string(stream.name.begin(), stream.name.end())] = hash_of(value);
  }
  return values;
}

Result<Values> read_eas(ObjectStore& store, File& file) {
  Values values;
  for (const ondisk::Ea& ea : TRY(store.query_eas(file))) {
    if (!ea.name.starts_with("$LX")) values[ea.name] = hash_of(ea.value);
  }
  return values;
}

class TreeReader {
 public:
  explicit TreeReader(ObjectStore& store) : store_(store) {}

  Result<> read_directory(File& directory, const std::string& path, size_t depth) {
    if (depth > kMostDepth) return NtStatus::FileCorruptError;
    for (const DirectoryEntry& entry : TRY(store_.query_directory(directory))) {
      const std::string name(entry.name.begin(), entry.name.end());
      const std::string full = path.empty() ? name : path + "/" + name;
      const FilePtr file = store_.file(entry.reference);
      TRY(read_file(*file, full));
      if (tree.listing[full].kind == FileKind::Directory) {
        TRY(read_directory(*file, full, depth + 1));
      }
    }
    return {};
  }

  /// Names in the order of paths: the first of each file.
  void name_files() {
    std::map<uint64_t, std::string> first;
    for (auto& [path, entry] : tree.listing) {
      entry.first_name = first.emplace(references_.at(path), path).first->second;
    }
  }

  Tree tree;

 private:
  Result<> read_file(File& file, const std::string& path) {
    const FileInformation information = TRY(store_.query_information(file));
    Entry entry;
    entry.kind = information.kind;
    entry.links = information.link_count;
    entry.mode = information.linux_metadata.mode.value_or(0);
    entry.guard = TRY(guard_on(store_, file));
    if (entry.kind == FileKind::Symlink) entry.target = TRY(store_.read_link(file));
    entry.streams = TRY(read_streams(store_, file));
    entry.eas = TRY(read_eas(store_, file));
    const uint64_t reference = file.reference().raw();
    if (entry.kind == FileKind::File) {
      Content& content = contents_[reference];
      if (content == nullptr) {
        content = TRY(read_content(store_, file, information.file_size));
        if (content->size() != information.file_size) return NtStatus::FileCorruptError;
      }
      tree.contents[path] = content;
    }
    references_[path] = reference;
    tree.listing[path] = std::move(entry);
    return {};
  }

  ObjectStore& store_;
  std::map<std::string, uint64_t> references_;
  std::map<uint64_t, Content> contents_;
};

/// The contents that a file had within the window.
std::vector<Content> contents_within(const History& history, const Window& window, uint32_t file) {
  std::vector<Content> within;
  for (const History::ContentState& state : history.contents(file)) {
    if (state.state > window.latest) break;
    if (state.state <= window.promised) within.clear();
    within.push_back(state.content);
  }
  return within;
}

bool is_same(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

bool is_allowed(const std::vector<Content>& allowed, size_t position, std::byte found) {
  bool was_data = false;
  for (const Content& content : allowed) {
    const bool is_data = position < content->size();
    if (is_data && (*content)[position] == found) return true;
    if (!is_data && was_data && found == std::byte{0}) return true;  // it was cut off
    was_data = is_data;
  }
  return false;
}

std::string judge_content(const std::vector<Content>& allowed, const ByteVector& found) {
  for (const Content& content : allowed) {
    if (is_same(*content, found)) return {};
  }
  const bool is_size = std::any_of(allowed.begin(), allowed.end(), [&](const Content& content) {
    return content->size() == found.size();
  });
  if (!is_size) {
    std::string sizes;
    for (const Content& content : allowed) sizes += fmt::format(" {}", content->size());
    return fmt::format("its size is {}; it was{}", found.size(), sizes);
  }
  for (size_t i = 0; i < found.size(); ++i) {
    if (is_allowed(allowed, i, found[i])) continue;
    std::string values;
    for (const Content& content : allowed) {
      values += i < content->size() ? fmt::format(" {:02X}", std::to_integer<int>((*content)[i]))
                                    : std::string(" -");
    }
    return fmt::format("byte {} of {} is {:02X}; it was{}", i, found.size(),
                       std::to_integer<int>(found[i]), values);
  }
  return {};
}

std::string judge_contents(const History& history, const Window& window,
                           const std::map<std::string, uint32_t>& names, const Tree& found) {
  for (const auto& [path, content] : found.contents) {
    const auto wrong = judge_content(contents_within(history, window, names.at(path)), *content);
    if (!wrong.empty()) return path + ": " + wrong;
  }
  return {};
}

}  // namespace

Result<Tree> read_tree(ObjectStore& store) {
  TreeReader reader(store);
  const FilePtr root = store.root();
  TRY(reader.read_directory(*root, "", 0));
  reader.name_files();
  return std::move(reader.tree);
}

std::vector<size_t> possible_states(const History& history, const Window& window, const Tree& found,
                                    std::string& wrong) {
  const uint64_t hash = hash_of(found.listing);
  std::vector<size_t> states;
  const std::map<std::string, uint32_t>* judged = nullptr;
  wrong.clear();
  for (size_t state = window.promised; state <= window.latest; ++state) {
    const History::Names& names = history.names(state);
    if (names.hash != hash) continue;
    if (judged != names.files.get()) {
      judged = names.files.get();
      wrong = judge_contents(history, window, *judged, found);
    }
    if (wrong.empty()) states.push_back(state);
  }
  if (judged != nullptr) return states;
  wrong = fmt::format(
      "the names are those of no state from {} to {}.\n    against the promised:{}\n    against "
      "the "
      "latest:{}",
      window.promised, window.latest,
      difference(*history.names(window.promised).listing, found.listing),
      difference(*history.names(window.latest).listing, found.listing));
  return states;
}

std::string difference(const Tree& expected, const Tree& found) {
  if (expected.listing != found.listing) return difference(expected.listing, found.listing);
  for (const auto& [path, content] : expected.contents) {
    const std::string wrong = judge_content({content}, *found.contents.at(path));
    if (!wrong.empty()) return path + ": " + wrong;
  }
  return {};
}

std::string check(BlockDevice& device, bool live) {
  CheckOptions options;
  options.live = live;
  options.max_findings = 8;
  const auto report = check_volume(device, options);
  if (!report) return fmt::format("the checker gives up: {}", name_of(report.error()));
  std::string text;
  for (const Finding& finding : report->errors) text += "\n    " + to_line(finding);
  return text.empty() ? text : "the checker finds:" + text;
}

}  // namespace ntfs::crash
