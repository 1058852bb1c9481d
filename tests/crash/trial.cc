#include "tests/crash/trial.h"

#include <fmt/format.h>

#include "tests/support/usn_names.h"

namespace ntfs::crash {

std::string Case::to_text() const {
  std::string text = workload;
  for (const PowerCut& cut : cuts) text += "@" + cut.to_text();
  return text;
}

std::optional<Case> Case::parse(const std::string& text) {
  Case result;
  size_t at = text.find('@');
  result.workload = text.substr(0, at);
  while (at != std::string::npos) {
    const size_t next = text.find('@', at + 1);
    const auto cut = PowerCut::parse(std::string_view(text).substr(at + 1, next - at - 1));
    if (!cut) return std::nullopt;
    result.cuts.push_back(*cut);
    at = next;
  }
  if (result.cuts.empty() || result.cuts.size() > 2) return std::nullopt;
  return result;
}

/// Random operations; `expected` becomes the tree that must be there afterwards.
std::string Trial::use(ObjectStore& store, const Tree& tree, size_t count, uint64_t seed,
                       Tree& expected) {
  // Numbers that no operation of the workload had.
  constexpr size_t kFirstNumber = 1000000;
  Model model = Model::of(tree.listing, tree.contents);
  Performer performer(store);
  for (size_t i = 0; i < count; ++i) {
    const Operation operation = random_operation(model, seed + i);
    const auto done = performer.perform(operation, kFirstNumber + i);
    if (!done && done.error() == NtStatus::DiskFull) continue;
    if (model.apply(operation, kFirstNumber + i) != done.has_value()) {
      return fmt::format("afterwards, {} gives {}", operation.to_text(), name_of(done.error()));
    }
  }
  performer.finish();
  expected.listing = model.listing();
  expected.contents.clear();
  for (const auto& [path, id] : model.names()) {
    const auto content = model.contents().find(id);
    if (content != model.contents().end()) expected.contents[path] = content->second;
  }
  return {};
}

/// Mounts, reads the tree, and unmounts; with the checker before and after.
Trial::Recovered Trial::recover(DiskImage& disk, Recording* recording, size_t uses, uint64_t seed) {
  Recovered recovered;
  RecordingDevice device(disk, start_.shape.sector_size, recording);
  std::string why_not;
  auto store = ObjectStore::mount(device, mount_options(start_.shape), why_not);
  if (!store) {
    recovered.failure = fmt::format("mounting gives {}: {}", name_of(store.error()), why_not);
    return recovered;
  }
  auto tree = read_tree(**store);
  if (!tree) {
    recovered.failure = fmt::format("reading the tree gives {}", name_of(tree.error()));
    return recovered;
  }
  recovered.tree = std::move(*tree);
  recovered.failure = testing::judge_journal(**store);
  if (!recovered.failure.empty()) return recovered;
  if (uses != 0) {
    recovered.failure = check(device, true);
    if (!recovered.failure.empty()) return recovered;
    Tree expected;
    recovered.failure = use(**store, recovered.tree, uses, seed, expected);
    if (!recovered.failure.empty()) return recovered;
    recovered.tree = std::move(expected);
  }
  const auto closed = (*store)->dismount();
  store->reset();
  recovered.failure =
      closed ? check(device, false) : fmt::format("closing gives {}", name_of(closed.error()));
  if (recovered.failure.empty()) recovered.failure = device.unseen_mix();
  return recovered;
}

std::string Trial::try_recrash(const DiskImage& recrashed, const Tree& expected) {
  DiskImage disk(&recrashed);
  const Recovered again = recover(disk, nullptr, 0, 0);
  if (!again.failure.empty()) return again.failure;
  const std::string wrong = difference(expected, again.tree);
  return wrong.empty() ? wrong : "the second recovery differs from the first: " + wrong;
}

std::string Trial::try_closed() {
  CutDisks disks(start_.disk, run_.recording, start_.shape.sector_size);
  const auto closed = disks.make({run_.recording.calls.size(), PowerCut::Kind::All, 0, 0}, 0);
  const Recovered whole = recover(*closed, nullptr, 0, 0);
  return whole.failure.empty() ? run_.judge(run_.last_windows(), whole.tree) : whole.failure;
}

Outcome Trial::try_image(const Case& name, const DiskImage& crashed, const Extras& extras) {
  Outcome outcome;
  outcome.case_text = name.to_text();
  outcome.images = 1;
  announce_(outcome.case_text);
  DiskImage disk(&crashed);
  Recording recording;
  const Recovered first = recover(disk, extras.recrashes != 0 ? &recording : nullptr, 0, 0);
  outcome.failure = first.failure;
  if (outcome.failure.empty()) {
    outcome.failure = run_.judge(run_.windows(name.cuts[0].call), first.tree);
  }
  if (!outcome.failure.empty()) return outcome;
  CutDisks disks(crashed, recording, start_.shape.sector_size);
  for (const PowerCut& cut :
       choose_cuts(recording, start_.shape.sector_size, extras.recrashes, extras.seed)) {
    const auto recrashed = disks.make(cut, 0);
    if (recrashed == nullptr) continue;
    ++outcome.images;
    ++outcome.recrashed;
    Case second = name;
    second.cuts.push_back(cut);
    outcome.case_text = second.to_text();
    announce_(outcome.case_text);
    outcome.failure = try_recrash(*recrashed, first.tree);
    if (!outcome.failure.empty()) return outcome;
  }
  if (extras.uses == 0) return outcome;
  ++outcome.used;
  outcome.case_text = name.to_text();
  announce_(outcome.case_text);
  DiskImage again(&crashed);
  const Recovered used = recover(again, nullptr, extras.uses, extras.seed);
  outcome.failure = used.failure;
  if (!outcome.failure.empty()) return outcome;
  const Recovered last = recover(again, nullptr, 0, 0);
  outcome.failure = last.failure.empty() ? difference(used.tree, last.tree) : last.failure;
  if (!outcome.failure.empty()) outcome.failure = "used afterwards: " + outcome.failure;
  return outcome;
}

Outcome Trial::replay_recrash(const Case& name, const DiskImage& crashed) {
  Outcome outcome;
  outcome.case_text = name.to_text();
  outcome.images = 1;
  announce_(outcome.case_text);
  DiskImage disk(&crashed);
  Recording recording;
  const Recovered first = recover(disk, &recording, 0, 0);
  outcome.failure = first.failure;
  if (!outcome.failure.empty()) return outcome;
  CutDisks disks(crashed, recording, start_.shape.sector_size);
  outcome.failure = try_recrash(*disks.make(name.cuts[1], 0), first.tree);
  return outcome;
}

bool Trial::save(const Case& name, const DiskImage& crashed, const std::string& path) {
  if (name.cuts.size() == 1) return crashed.save(path);
  DiskImage disk(&crashed);
  Recording recording;
  (void)recover(disk, &recording, 0, 0);
  CutDisks disks(crashed, recording, start_.shape.sector_size);
  return disks.make(name.cuts[1], 0)->save(path);
}

}  // namespace ntfs::crash
