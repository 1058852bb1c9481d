#include "tests/crash/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>

namespace ntfs::crash {

using Kind = Operation::Kind;

// What is there at the start.

namespace {

const std::vector<Operation>& forms_at_start() {
  static const std::vector<Operation> operations = {
      {Kind::Create, "resident", "", 0, 0},
      {Kind::Write, "resident", "", 0, 100},
      {Kind::Truncate, "resident", "", 512, 0},
      {Kind::Create, "plain", "", 0, 0},
      {Kind::Write, "plain", "", 0, 20000},
      {Kind::Truncate, "plain", "", 61440, 0},
      {Kind::Create, "sparse", "", 0, 0},
      {Kind::Write, "sparse", "", 0, 8192},
      {Kind::Fsync, "", "", 0, 0},
      {Kind::Write, "sparse", "", 393216, 8192},
      {Kind::Truncate, "sparse", "", 409600, 0},
      {Kind::Create, "origin", "", 0, 0},
      {Kind::Write, "origin", "", 0, 61440},
      {Kind::Fsync, "", "", 0, 0},
      {Kind::Create, "shared", "", 0, 0},
      {Kind::Clone, "origin", "shared", 0, 61440},
  };
  return operations;
}

const std::vector<Operation>& tree_at_start() {
  static const std::vector<Operation> operations = {
      {Kind::MakeDirectory, "A", "", 0, 0},      {Kind::MakeDirectory, "B", "", 0, 0},
      {Kind::MakeDirectory, "A/C", "", 0, 0},    {Kind::Create, "A/foo", "", 0, 0},
      {Kind::Write, "A/foo", "", 0, 10000},      {Kind::Create, "A/small", "", 0, 0},
      {Kind::Write, "A/small", "", 0, 200},      {Kind::Create, "B/bar", "", 0, 0},
      {Kind::Write, "B/bar", "", 0, 5000},       {Kind::Create, "A/two", "", 0, 0},
      {Kind::Write, "A/two", "", 0, 100},        {Kind::Link, "A/two", "B/two", 0, 0},
      {Kind::MakeSymlink, "sym", "A/foo", 0, 0}, {Kind::SetStream, "A/foo", "old", 0, 6000},
      {Kind::SetStream, "A/two", "old", 0, 100}, {Kind::SetEa, "A/two", "OLD", 0, 50},
  };
  return operations;
}

constexpr uint64_t kCommonBytes = 300000;

const std::vector<Operation>& common_tree_at_start() {
  static const std::vector<Operation> operations = [] {
    const std::string common(kCommonFile);
    std::vector<Operation> all = tree_at_start();
    all.push_back({Kind::Create, common, "", 0, 0});
    all.push_back({Kind::Truncate, common, "", kCommonBytes, 0});
    return all;
  }();
  return operations;
}

}  // namespace

const std::vector<Operation>& operations_at_start(Shape::Tree tree) {
  switch (tree) {
    case Shape::Tree::Names:
      return tree_at_start();
    case Shape::Tree::Common:
      return common_tree_at_start();
    default:
      return forms_at_start();
  }
}

// One and two operations.

namespace {

const std::vector<Operation>& pair_table() {
  static const std::vector<Operation> table = {
      {Kind::Create, "A/new", "", 0, 0},
      {Kind::Create, "B/foo", "", 0, 0},
      {Kind::MakeDirectory, "B/D", "", 0, 0},
      {Kind::MakeDirectory, "A/new", "", 0, 0},
      {Kind::MakeSymlink, "A/new", "B/bar", 0, 0},
      {Kind::SetLink, "sym", "B/bar and somewhere else", 0, 0},
      {Kind::MakeFifo, "B/pipe", "", 0, 0},
      {Kind::Append, "A/foo", "", 0, 4000},
      {Kind::Append, "A/small", "", 0, 100},
      {Kind::Append, "A/small", "", 0, 7000},
      {Kind::Write, "A/foo", "", 3000, 4000},
      {Kind::Write, "A/small", "", 50, 50},
      {Kind::Write, "A/two", "", 0, 100},
      {Kind::Write, "A/foo", "", 140000, 1000},
      {Kind::Write, "A/small", "", 20000, 500},
      {Kind::WriteThrough, "A/foo", "", 4096, 4096},
      {Kind::WriteThrough, "B/bar", "", 65536, 8192},
      {Kind::Truncate, "A/foo", "", 5000, 0},
      {Kind::Truncate, "A/foo", "", 0, 0},
      {Kind::Truncate, "A/foo", "", 30000, 0},
      {Kind::Truncate, "A/small", "", 10, 0},
      {Kind::Truncate, "A/small", "", 9000, 0},
      {Kind::Punch, "A/foo", "", 4096, 4096},
      {Kind::Punch, "A/foo", "", 1000, 8000},
      {Kind::Punch, "A/small", "", 20, 100},
      {Kind::Allocate, "A/foo", "", 8000, 30000},
      {Kind::Reserve, "A/foo", "", 8000, 90000},
      {Kind::Reserve, "A/small", "", 0, 5000},
      {Kind::Zero, "A/foo", "", 3000, 20000},
      {Kind::ZeroWithin, "A/foo", "", 2000, 6000},
      {Kind::SetMode, "A/foo", "", 0640, 0},
      {Kind::SetMode, "A", "", 0700, 0},
      {Kind::SetShortName, "A/foo", "FOO~1", 0, 0},
      {Kind::SetShortName, "A/C", "c", 0, 0},
      {Kind::SetSecurity, "A/foo", "", 1, 0},
      {Kind::SetSecurity, "A", "", 8, 0},
      {Kind::SetStream, "A/foo", "new", 0, 200},
      {Kind::SetStream, "A/foo", "old", 0, 20000},
      {Kind::RemoveStream, "A/foo", "old", 0, 0},
      {Kind::SetEa, "A/foo", "NEW", 0, 3000},
      {Kind::RemoveEa, "A/two", "OLD", 0, 0},
      {Kind::Rename, "A/foo", "A/new", 0, 0},
      {Kind::Rename, "A/foo", "B/foo", 0, 0},
      {Kind::Rename, "A/foo", "B/bar", 0, 0},
      {Kind::Rename, "A/small", "A/foo", 0, 0},
      {Kind::Rename, "B/two", "B/bar", 0, 0},
      {Kind::Rename, "A", "B/D", 0, 0},
      {Kind::Rename, "B", "A/C", 0, 0},
      {Kind::RenameLeaving, "A/foo", "B/bar", 0, 0},
      {Kind::Exchange, "A/foo", "B/bar", 0, 0},
      {Kind::Exchange, "A/C", "B/two", 0, 0},
      {Kind::Link, "A/foo", "B/foo", 0, 0},
      {Kind::Link, "B/bar", "A/new", 0, 0},
      {Kind::Unlink, "A/foo", "", 0, 0},
      {Kind::Unlink, "A/two", "", 0, 0},
      {Kind::Unlink, "sym", "", 0, 0},
      {Kind::UnlinkOpen, "A/foo", "", 0, 0},
      {Kind::UnlinkOpen, "A/small", "", 0, 0},
      {Kind::RemoveDirectory, "A/C", "", 0, 0},
      {Kind::Fsync, "", "", 0, 0},
      {Kind::Checkpoint, "", "", 0, 0},
      {Kind::BareCheckpoint, "", "", 0, 0},
  };
  return table;
}

/// What an fsync puts into the log with the change of the file's sizes.
const std::vector<Operation>& logged_table() {
  static const std::vector<Operation> table = {
      {Kind::Append, "A/foo", "", 0, 4000},
      {Kind::Append, "A/small", "", 0, 7000},
      {Kind::Append, "B/bar", "", 0, 24000},
      {Kind::Write, "A/foo", "", 140000, 1000},
  };
  return table;
}

/// What comes behind that fsync: over the same clusters, and all else.
const std::vector<Operation>& after_logged_table() {
  static const std::vector<Operation> table = [] {
    std::vector<Operation> all = {
        {Kind::WriteThrough, "A/foo", "", 8192, 4096},
        {Kind::WriteThrough, "A/foo", "", 8192, 512},
        {Kind::WriteThrough, "A/small", "", 0, 4096},
        {Kind::WriteThrough, "B/bar", "", 4096, 16384},
        {Kind::Write, "A/foo", "", 9000, 3000},
        {Kind::Write, "B/bar", "", 100, 28000},
        {Kind::Write, "B/bar", "", 4096, 90000},
        {Kind::Append, "A/foo", "", 0, 100},
        {Kind::Append, "A/foo", "", 0, 100000},
        {Kind::Append, "A/small", "", 0, 5000},
        {Kind::Zero, "A/foo", "", 8192, 4096},
        {Kind::Zero, "B/bar", "", 3000, 20000},
        {Kind::Truncate, "A/foo", "", 12000, 0},
        {Kind::Truncate, "B/bar", "", 8192, 0},
        {Kind::Punch, "A/foo", "", 8192, 4096},
        {Kind::Unlink, "B/bar", "", 0, 0},
    };
    all.insert(all.end(), pair_table().begin(), pair_table().end());
    return all;
  }();
  return table;
}

constexpr std::array<std::string_view, 3> kEnds = {"none", "fsync", "checkpoint"};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

Shape pair_shape(uint32_t cluster_size) {
  Shape shape;
  shape.cluster_size = cluster_size;
  return shape;
}

void add_end(Workload& workload, std::string_view end) {
  if (end == "fsync") workload.operations.push_back({Kind::Fsync, "", "", 0, 0});
  if (end == "checkpoint") workload.operations.push_back({Kind::Checkpoint, "", "", 0, 0});
}

std::optional<Workload> make_pair(const std::string& name, const std::vector<std::string>& parts) {
  Workload workload;
  workload.name = name;
  workload.shape = pair_shape(static_cast<uint32_t>(std::stoul(parts[4])));
  for (const std::string& which : {parts[1], parts[2]}) {
    if (which == "x") continue;
    const size_t number = std::stoul(which);
    if (number >= pair_table().size()) return std::nullopt;
    workload.operations.push_back(pair_table()[number]);
  }
  add_end(workload, parts[3]);
  return workload;
}

std::optional<Workload> make_synced(const std::string& name,
                                    const std::vector<std::string>& parts) {
  const size_t first = std::stoul(parts[1]);
  const size_t second = std::stoul(parts[2]);
  if (first >= logged_table().size() || second >= after_logged_table().size()) return std::nullopt;
  Workload workload;
  workload.name = name;
  workload.shape = pair_shape(static_cast<uint32_t>(std::stoul(parts[4])));
  workload.operations = {
      logged_table()[first], {Kind::Fsync, "", "", 0, 0}, after_logged_table()[second]};
  add_end(workload, parts[3]);
  return workload;
}

}  // namespace

std::vector<std::string> pair_names(uint32_t cluster_size) {
  std::vector<std::string> names;
  for (size_t a = 0; a < pair_table().size(); ++a) {
    for (size_t b = 0; b <= pair_table().size(); ++b) {
      const std::string second = b == pair_table().size() ? "x" : std::to_string(b);
      for (const std::string_view end : kEnds) {
        names.push_back(fmt::format("pair-{}-{}-{}-{}", a, second, end, cluster_size));
      }
    }
  }
  for (size_t a = 0; a < logged_table().size(); ++a) {
    for (size_t b = 0; b < after_logged_table().size(); ++b) {
      for (const std::string_view end : kEnds) {
        names.push_back(fmt::format("synced-{}-{}-{}-{}", a, b, end, cluster_size));
      }
    }
  }
  return names;
}

// Every way to write.

namespace {

struct MatrixForm {
  std::string_view path;
  uint64_t valid = 0;  // bytes that were written
  uint64_t hole = 0;   // where there is one
  uint64_t size = 0;
};
constexpr std::array<MatrixForm, 4> kForms = {{{"resident", 100, 0, 512},
                                               {"plain", 20000, 20000, 61440},
                                               {"sparse", 401408, 16384, 409600},
                                               {"shared", 57344, 16384, 61440}}};
constexpr std::array<std::string_view, 3> kHows = {
    WriteByOpenText::Buffered, WriteByOpenText::Unbuffered, WriteByOpenText::WriteThrough};
constexpr std::array<std::string_view, 7> kWheres = {"start",  "hole", "behind-valid", "size",
                                                     "behind", "end",  "position"};
constexpr std::array<uint64_t, 6> kCounts = {1, 512, 4095, 4096, 4097, (1 << 20) + 512};

uint64_t matrix_offset(std::string_view where, const MatrixForm& form) {
  if (where == "start") return 0;
  if (where == "hole") return form.hole;
  if (where == "behind-valid") return align_up(form.valid + 1, form.size == 512 ? 256 : 512);
  if (where == "behind") return form.size + 40960;
  if (where == "position") return 2 * 4096 + 512;
  return form.size;  // "size", "end"
}

bool is_refused(std::string_view how, uint64_t offset, uint64_t count) {
  return how == WriteByOpenText::Unbuffered && (offset % 512 != 0 || count % 512 != 0);
}

std::optional<Workload> make_matrix(const std::string& name,
                                    const std::vector<std::string>& parts) {
  const size_t how = std::stoul(parts[1]);
  const size_t where = std::stoul(parts[2]);
  const size_t form = std::stoul(parts[3]);
  const size_t count = std::stoul(parts[4]);
  const bool is_one = how < kHows.size() && where < kWheres.size() && form < kForms.size() &&
                      count < kCounts.size();
  if (!is_one) return std::nullopt;
  Workload workload;
  workload.name = name;
  workload.shape = pair_shape(static_cast<uint32_t>(std::stoul(parts[5])));
  workload.shape.tree = Shape::Tree::Forms;
  workload.shape.reflink = kForms[form].path == "shared";
  const std::string_view by = kWheres[where] == "end"        ? WriteByOpenText::AtEnd
                              : kWheres[where] == "position" ? WriteByOpenText::AtPosition
                                                             : WriteByOpenText::AtOffset;
  workload.operations.push_back({Kind::WriteByOpen, std::string(kForms[form].path),
                                 fmt::format("{} {}", kHows[how], by),
                                 matrix_offset(kWheres[where], kForms[form]), kCounts[count]});
  return workload;
}

}  // namespace

std::vector<std::string> matrix_names(uint32_t cluster_size) {
  std::vector<std::string> names;
  for (size_t how = 0; how < kHows.size(); ++how) {
    for (size_t where = 0; where < kWheres.size(); ++where) {
      for (size_t form = 0; form < kForms.size(); ++form) {
        for (size_t count = 0; count < kCounts.size(); ++count) {
          const uint64_t offset = matrix_offset(kWheres[where], kForms[form]);
          if (is_refused(kHows[how], offset, kCounts[count])) continue;
          names.push_back(
              fmt::format("matrix-{}-{}-{}-{}-{}", how, where, form, count, cluster_size));
        }
      }
    }
  }
  return names;
}

// Random sequences.

namespace {

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  size_t below(size_t bound) { return static_cast<size_t>(random_() % bound); }
  bool one_in(size_t count) { return below(count) == 0; }
  /// Small numbers as often as large ones.
  uint64_t size(uint64_t bound) {
    uint64_t limit = bound;
    for (size_t halvings = below(8); halvings != 0 && limit > 16; --halvings) limit /= 2;
    return below(limit);
  }
  const std::string& pick(const std::vector<std::string>& from) { return from[below(from.size())]; }

 private:
  std::mt19937_64 random_;
};

struct Paths {
  std::vector<std::string> files;        // regular ones
  std::vector<std::string> others;       // links, pipes
  std::vector<std::string> directories;  // with the root, ""
};

Paths paths_of(const Model& model) {
  Paths paths;
  paths.directories.emplace_back();
  for (const auto& [path, id] : model.names()) {
    if (model.is_directory(path)) {
      paths.directories.push_back(path);
    } else if (model.contents().contains(id)) {
      paths.files.push_back(path);
    } else {
      paths.others.push_back(path);
    }
  }
  return paths;
}

std::string join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

/// A name that may be there or not.
std::string some_path(Dice& dice, const Paths& paths) {
  return join(dice.pick(paths.directories), fmt::format("f{}", dice.below(6)));
}

std::string some_file(Dice& dice, const Paths& paths) {
  return paths.files.empty() ? "missing" : dice.pick(paths.files);
}

std::string some_name(Dice& dice, const Paths& paths) {
  if (!paths.others.empty() && dice.one_in(8)) return dice.pick(paths.others);
  if (paths.directories.size() > 1 && dice.one_in(4)) {
    return paths.directories[1 + dice.below(paths.directories.size() - 1)];  // not the root
  }
  return some_file(dice, paths);
}

Operation random_data_operation(Dice& dice, const Paths& paths) {
  static constexpr std::array<Kind, 12> kKinds = {
      Kind::Write,    Kind::Write,   Kind::Write,    Kind::WriteThrough,
      Kind::Append,   Kind::Append,  Kind::Truncate, Kind::Punch,
      Kind::Allocate, Kind::Reserve, Kind::Zero,     Kind::ZeroWithin};
  constexpr uint64_t kMostBytes = 150000;
  Operation operation;
  operation.kind = kKinds[dice.below(kKinds.size())];
  operation.path = some_file(dice, paths);
  operation.offset = operation.kind == Kind::Append ? 0 : dice.size(kMostBytes);
  operation.length = 1 + dice.size(kMostBytes / 3);
  if (operation.kind == Kind::WriteThrough) {
    operation.offset = align_down(operation.offset, 4096);
    operation.length = align_up(operation.length, 4096);
  }
  if (operation.kind == Kind::Truncate) operation.length = 0;
  return operation;
}

Operation random_name_operation(Dice& dice, const Paths& paths) {
  switch (dice.below(20)) {
    case 0:
    case 1:
    case 2:
      return {Kind::Create, some_path(dice, paths), "", 0, 0};
    case 3:
      return {Kind::MakeDirectory, some_path(dice, paths), "", 0, 0};
    case 4:
      return {Kind::MakeSymlink, some_path(dice, paths),
              std::string(1 + dice.size(900), static_cast<char>('a' + dice.below(26))), 0, 0};
    case 5:
      return {Kind::MakeFifo, some_path(dice, paths), "", 0, 0};
    case 6:
    case 7:
      return {Kind::Rename, some_name(dice, paths), some_path(dice, paths), 0, 0};
    case 8:
      return {Kind::Rename, some_name(dice, paths), some_name(dice, paths), 0, 0};
    case 9:
      return {Kind::Exchange, some_name(dice, paths), some_name(dice, paths), 0, 0};
    case 10:
    case 11:
      return {Kind::Link, some_file(dice, paths), some_path(dice, paths), 0, 0};
    case 12:
      return {Kind::Unlink, some_name(dice, paths), "", 0, 0};
    case 13:
      return {Kind::UnlinkOpen, some_file(dice, paths), "", 0, 0};
    case 14:
      return {Kind::RemoveDirectory, dice.pick(paths.directories), "", 0, 0};
    case 15:
      return {Kind::SetLink, some_name(dice, paths), std::string(1 + dice.size(900), 's'), 0, 0};
    case 16:
      return {Kind::SetLink, some_name(dice, paths), "", 0, 0};
    case 17:
      return {Kind::RenameLeaving, some_name(dice, paths), some_path(dice, paths), 0, 0};
    case 18:
      return {Kind::SetSecurity, some_name(dice, paths), "", 1 + dice.below(20), 0};
    default:
      return {Kind::SetMode, some_file(dice, paths), "", dice.below(01000), 0};
  }
}

Operation random_attribute_operation(Dice& dice, const Paths& paths) {
  const std::string path = dice.one_in(4) ? some_name(dice, paths) : some_file(dice, paths);
  const std::string name = fmt::format("N{}", dice.below(4));
  switch (dice.below(6)) {
    case 0:
      return {Kind::RemoveStream, path, name, 0, 0};
    case 1:
      return {Kind::RemoveEa, path, name, 0, 0};
    case 2:
      return {Kind::SetEa, path, name, 0, dice.size(15000)};
    default:
      return {Kind::SetStream, path, name, 0, dice.size(65537)};
  }
}

Operation random_step(Dice& dice, const Model& model) {
  const Paths paths = paths_of(model);
  static constexpr std::array<Kind, 4> kCommits = {Kind::Fsync, Kind::Fsync, Kind::Checkpoint,
                                                   Kind::BareCheckpoint};
  if (dice.one_in(7)) return {kCommits[dice.below(kCommits.size())], "", "", 0, 0};
  if (dice.one_in(9)) return random_attribute_operation(dice, paths);
  return dice.one_in(2) ? random_data_operation(dice, paths) : random_name_operation(dice, paths);
}

/// Adds the operation to the workload and to the model that chooses the next ones.
void add(Workload& workload, Model& model, const Operation& operation) {
  model.apply(operation, workload.operations.size());
  workload.operations.push_back(operation);
}

void add_promise(Workload& workload, Model& model, Dice& dice, size_t one_in) {
  if (!dice.one_in(one_in)) return;
  add(workload, model, {dice.one_in(3) ? Kind::Checkpoint : Kind::Fsync, "", "", 0, 0});
}

void make_mixed(Workload& workload, Model& model, Dice& dice) {
  const size_t count = 10 + dice.below(40);
  for (size_t i = 0; i < count; ++i) add(workload, model, random_step(dice, model));
}

/// Within one of the thread's stripes of the file that all of them change.
Operation common_operation(Dice& dice, uint64_t stripe_bytes, size_t thread, size_t threads) {
  static constexpr std::array<Kind, 8> kKinds = {Kind::Write,      Kind::Write,        Kind::Write,
                                                 Kind::Write,      Kind::WriteThrough, Kind::Punch,
                                                 Kind::ZeroWithin, Kind::Reserve};
  const uint64_t rounds = kCommonBytes / (stripe_bytes * threads);
  const uint64_t stripe = (dice.size(rounds) * threads + thread) * stripe_bytes;
  const uint64_t from = dice.one_in(2) ? 0 : dice.size(stripe_bytes);
  Operation operation;
  operation.kind = kKinds[dice.below(kKinds.size())];
  operation.path = kCommonFile;
  operation.offset = stripe + from;
  operation.length = dice.one_in(2) ? stripe_bytes - from : 1 + dice.size(stripe_bytes - from);
  if (operation.kind == Kind::WriteThrough && stripe_bytes % 4096 == 0) {
    operation.offset = align_down(operation.offset, 4096);
    operation.length = align_up(operation.length, 4096);
  } else if (operation.kind == Kind::WriteThrough) {
    operation.kind = Kind::Write;
  }
  return operation;
}

/// Each thread chooses by what it has made, in a directory of its own or beside the others', and
/// changes its part of a file that all of them change.
void make_threads(Workload& workload, Model& model, Dice& dice) {
  static constexpr std::array<uint64_t, 4> kStripes = {1000, 4096, 16384, 65536};
  workload.shape.size_bytes *= 2;
  workload.shape.tree = Shape::Tree::Common;
  workload.stripe_bytes = kStripes[dice.below(kStripes.size())];
  const bool share_root = dice.one_in(2);
  const size_t most_common = dice.below(6);
  workload.threads.resize(2 + dice.below(3));
  for (size_t i = 0; i < workload.threads.size(); ++i) {
    const std::string name = fmt::format("T{}", i);
    if (!share_root) add(workload, model, {Kind::MakeDirectory, name, "", 0, 0});
    Workload own;
    Model tree;
    const size_t count = 10 + dice.below(40);
    for (size_t step = 0; step < count; ++step) {
      const bool is_common = dice.below(6) < most_common;
      const Operation operation =
          is_common ? common_operation(dice, workload.stripe_bytes, i, workload.threads.size())
                    : random_step(dice, tree);
      add(own, tree, operation);
    }
    workload.threads[i] = {name + (share_root ? "-" : "/"), std::move(own.operations)};
  }
}

/// Long names fill index blocks soon; many files let $MFT grow.
void make_splits(Workload& workload, Model& model, Dice& dice) {
  const size_t count = 60 + dice.below(120);
  std::vector<std::string> made;
  for (size_t i = 0; i < count; ++i) {
    if (made.size() > 10 && dice.one_in(4)) {
      const size_t which = dice.below(made.size());
      add(workload, model, {Kind::Unlink, made[which], "", 0, 0});
      made.erase(made.begin() + static_cast<ptrdiff_t>(which));
    } else {
      const std::string name = fmt::format("{:03}", dice.below(1000)) +
                               std::string(60 + dice.below(140), 'n') + std::to_string(i);
      made.push_back("A/" + name);
      const bool is_link = dice.one_in(5);
      add(workload, model,
          {is_link ? Kind::Link : Kind::Create, is_link ? "A/foo" : made.back(),
           is_link ? made.back() : "", 0, 0});
    }
    add_promise(workload, model, dice, 25);
  }
  while (!made.empty() && dice.below(3) != 0) {
    for (size_t i = 0; i < 20 && !made.empty(); ++i) {
      add(workload, model, {Kind::Unlink, made.back(), "", 0, 0});
      made.pop_back();
    }
    add_promise(workload, model, dice, 2);
  }
}

/// Many names and many runs of one file: attribute lists, extension records.
void make_links(Workload& workload, Model& model, Dice& dice) {
  const uint64_t cluster = std::max<uint64_t>(workload.shape.cluster_size, 4096);
  const size_t links = 5 + dice.below(30);
  const size_t pieces = cluster > 4096 ? 12 : 20 + dice.below(150);
  std::vector<std::string> made;
  for (size_t i = 0; i < std::max(links, pieces); ++i) {
    if (i < links) {
      made.push_back("B/" + std::string(100 + dice.below(100), 'l') + std::to_string(i));
      add(workload, model, {Kind::Link, "A/foo", made.back(), 0, 0});
    }
    if (i < pieces) {
      add(workload, model, {Kind::Write, "A/foo", "", 2 * i * cluster, cluster});
      if (dice.one_in(3)) add(workload, model, {Kind::Write, "B/bar", "", i * cluster, cluster});
    }
    if (dice.one_in(12)) add(workload, model, {Kind::SetMode, "A/foo", "", dice.below(01000), 0});
    add_promise(workload, model, dice, 15);
  }
  for (size_t i = 0; i < pieces && dice.below(10) != 0; ++i) {
    add(workload, model, {Kind::Punch, "A/foo", "", 2 * dice.below(pieces) * cluster, cluster});
    if (!made.empty() && dice.one_in(3)) {
      add(workload, model, {Kind::Unlink, made.back(), "", 0, 0});
      made.pop_back();
    }
    add_promise(workload, model, dice, 10);
  }
  if (dice.one_in(2)) add(workload, model, {Kind::Truncate, "A/foo", "", 100, 0});
}

/// Much more than the log holds, mostly without asking for anything.
void make_wrap(Workload& workload, Model& model, Dice& dice) {
  workload.shape.log_bytes = std::max<uint64_t>(256 << 10, workload.shape.cluster_size);
  const size_t count = 150 + dice.below(150);
  for (size_t i = 0; i < count; ++i) {
    const Paths paths = paths_of(model);
    add(workload, model,
        dice.one_in(5) ? random_data_operation(dice, paths) : random_name_operation(dice, paths));
    add_promise(workload, model, dice, 20);
  }
}

void make_big(Workload& workload, Model& model, Dice& dice) {
  workload.shape.size_bytes = std::max(workload.shape.size_bytes, uint64_t{16} << 20);
  const size_t count = 8 + dice.below(12);
  for (size_t i = 0; i < count; ++i) {
    const Paths paths = paths_of(model);
    Operation operation = random_data_operation(dice, paths);
    operation.path = dice.one_in(2) ? "A/foo" : "B/bar";
    operation.offset *= 10;
    operation.length = align_up(operation.length * 8, 4096);
    if (operation.kind == Kind::Truncate) operation.length = 0;
    add(workload, model, operation);
    add_promise(workload, model, dice, 4);
  }
}

/// Until there is no room, and on.
void make_full(Workload& workload, Model& model, Dice& dice) {
  workload.bounds = Workload::Bounds::MayFillUp;
  add(workload, model, {Kind::Create, "fill", "", 0, 0});
  const uint64_t most = uint64_t{9} << 20;
  add(workload, model, {Kind::Reserve, "fill", "", 0, most - dice.size(4 << 20)});
  for (size_t i = 0; i < 30; ++i) {
    if (dice.one_in(8)) add(workload, model, {Kind::Truncate, "fill", "", 0, 0});
    if (dice.one_in(4)) {
      add(workload, model, {Kind::Reserve, "fill", "", dice.size(4 << 20), dice.size(4 << 20) + 1});
    }
    add(workload, model, random_step(dice, model));
  }
}

/// Whole clusters, or up to the end of a file that is not shorter than the other: then it is one
/// change. Else the rest is copied.
Operation random_clone(Dice& dice, const Paths& paths, const Model& model, uint64_t cluster) {
  Operation operation;
  operation.kind = Kind::Clone;
  operation.path = some_file(dice, paths);
  operation.target = some_file(dice, paths);
  const auto size_of = [&](const std::string& path) {
    const auto name = model.names().find(path);
    return name == model.names().end() ? 0 : model.contents().at(name->second)->size();
  };
  const uint64_t size = size_of(operation.path);
  operation.offset = align_down(dice.size(size + 1), cluster);
  operation.length = size - operation.offset;
  if (dice.one_in(3) || size < size_of(operation.target)) {
    operation.length = align_down(dice.size(operation.length + 1), cluster);
  }
  return operation;
}

/// Files that share clusters: clones, and whatever else happens to them.
void make_clones(Workload& workload, Model& model, Dice& dice) {
  workload.shape.reflink = true;
  const size_t count = 15 + dice.below(50);
  for (size_t i = 0; i < count; ++i) {
    const Paths paths = paths_of(model);
    switch (dice.below(5)) {
      case 0:
      case 1:
        add(workload, model, random_clone(dice, paths, model, workload.shape.cluster_size));
        break;
      case 2:
      case 3:
        add(workload, model, random_data_operation(dice, paths));
        break;
      default:
        add(workload, model, random_step(dice, model));
    }
  }
}

/// Files that are compressed, some of the time.
void make_packed(Workload& workload, Model& model, Dice& dice) {
  if (workload.shape.cluster_size > 4096) workload.shape.cluster_size = 4096;
  add(workload, model, {Kind::Compress, "A/foo", "", 1, 0});
  add(workload, model, {Kind::Compress, "B/bar", "", 1, 0});
  const size_t count = 12 + dice.below(40);
  for (size_t i = 0; i < count; ++i) {
    const Paths paths = paths_of(model);
    Operation operation = random_data_operation(dice, paths);
    if (dice.one_in(12)) operation = {Kind::Compress, "", "", dice.below(2), 0};
    if (dice.below(4) != 0) operation.path = dice.one_in(2) ? "A/foo" : "B/bar";
    if (operation.kind == Kind::Write && dice.below(4) != 0) operation.kind = Kind::WriteSmooth;
    if (operation.path.empty()) operation.path = some_file(dice, paths);
    add(workload, model, operation);
    add_promise(workload, model, dice, 5);
  }
}

/// Security descriptors by the dozen, long ones, too: $SDS grows into a further pair of blocks.
void make_guarded(Workload& workload, Model& model, Dice& dice) {
  const size_t count = 30 + dice.below(40);
  for (size_t i = 0; i < count; ++i) {
    const Paths paths = paths_of(model);
    const bool is_file = dice.one_in(2);
    std::string path = is_file ? some_file(dice, paths) : dice.pick(paths.directories);
    if (path.empty()) path = "A";
    const uint64_t number = 1 + (dice.one_in(3) ? 8 * dice.below(40) + 7 : dice.below(300));
    if (dice.below(4) != 0) {
      add(workload, model, {Kind::SetSecurity, path, "", number, 0});
    } else {
      add(workload, model, random_name_operation(dice, paths));
    }
    add_promise(workload, model, dice, 6);
  }
}

struct RandomKind {
  std::string_view name;
  void (*make)(Workload&, Model&, Dice&);
};
constexpr std::array<RandomKind, 10> kRandomKinds = {{{"mixed", make_mixed},
                                                      {"splits", make_splits},
                                                      {"links", make_links},
                                                      {"wrap", make_wrap},
                                                      {"big", make_big},
                                                      {"full", make_full},
                                                      {"clones", make_clones},
                                                      {"packed", make_packed},
                                                      {"guarded", make_guarded},
                                                      {"threads", make_threads}}};

Shape random_shape(Dice& dice) {
  Shape shape;
  static constexpr std::array<uint32_t, 4> kClusters = {512, 4096, 4096, 65536};
  shape.cluster_size = kClusters[dice.below(kClusters.size())];
  if (shape.cluster_size == 65536 && dice.one_in(3)) shape.cluster_size = 2 << 20;
  if (shape.cluster_size >= 65536) shape.size_bytes = uint64_t{16} << 20;
  if (shape.cluster_size > 65536) {
    shape.size_bytes = uint64_t{96} << 20;
    shape.log_bytes = shape.cluster_size;
  }
  if (dice.one_in(4)) shape.record_size = 4096;
  if (shape.cluster_size >= 4096 && dice.one_in(6)) {
    shape.sector_size = 4096;
    shape.record_size = 4096;
  }
  return shape;
}

}  // namespace

Operation random_operation(const Model& model, uint64_t seed) {
  Dice dice(seed);
  return random_step(dice, model);
}

std::vector<std::string> random_kinds() {
  std::vector<std::string> names;
  for (const RandomKind& kind : kRandomKinds) names.emplace_back(kind.name);
  return names;
}

std::optional<Workload> make_workload(const std::string& name) {
  const auto parts = split(name, '-');
  if (parts.size() == 5 && parts[0] == "pair") return make_pair(name, parts);
  if (parts.size() == 5 && parts[0] == "synced") return make_synced(name, parts);
  if (parts.size() == 6 && parts[0] == "matrix") return make_matrix(name, parts);
  const auto* kind = std::find_if(kRandomKinds.begin(), kRandomKinds.end(),
                                  [&](const RandomKind& one) { return one.name == parts[0]; });
  if (parts.size() != 2 || kind == kRandomKinds.end()) return std::nullopt;
  Workload workload;
  workload.name = name;
  const uint64_t seed = std::stoull(parts[1]);
  Dice dice(seed);
  workload.shape = random_shape(dice);
  workload.shape.discard = seed % 3 == 0;
  Model model;
  for (size_t i = 0; i < tree_at_start().size(); ++i) model.apply(tree_at_start()[i], i);
  kind->make(workload, model, dice);
  return workload;
}

}  // namespace ntfs::crash
