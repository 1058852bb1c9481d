#include "tests/crash/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <random>
#include <thread>

#include "core/store/format.h"

namespace ntfs::crash {

using Kind = Operation::Kind;

ObjectStoreOptions mount_options(const Shape& shape) {
  ObjectStoreOptions options;
  options.volume.commit_interval = std::chrono::milliseconds(0);
  options.volume.cache_bytes = uint64_t{16} << 20;
  if (shape.discard) options.volume.discard = VolumeOptions::Discard::Yes;
  return options;
}

namespace {

/// After each operation: what the commit thread would do.
Result<> keep_up(ObjectStore& store) {
  Volume& volume = store.volume();
  return volume.journal().wants_checkpoint() ? volume.checkpoint() : Result<>();
}

std::string describe(const Operation& operation, size_t number, const Result<>& done) {
  return fmt::format("operation {} ({}) gives {}", number, operation.to_text(),
                     done ? "success" : name_of(done.error()));
}

}  // namespace

Start::Start(const Shape& wanted) : shape(wanted), disk(wanted.size_bytes, kNeverWritten) {
  RecordingDevice device(disk, shape.sector_size, nullptr);
  FormatOptions options;
  options.cluster_size = shape.cluster_size;
  options.sector_size = shape.sector_size;
  options.record_size = shape.record_size;
  options.log_size = shape.log_bytes;
  options.reflink = shape.reflink;
  options.usn_size = 0;
  options.serial = 1;
  const auto formatted = format_volume(device, options);
  if (!formatted) {
    failure = "format: " + format_refusal(options, device.size_bytes());
    return;
  }
  std::string why_not;
  auto store = ObjectStore::mount(device, mount_options(shape), why_not);
  if (!store) {
    failure = "mount: " + why_not;
    return;
  }
  Performer performer(**store);
  const auto& operations = operations_at_start(shape.tree);
  for (size_t i = 0; i < operations.size() && failure.empty(); ++i) {
    const Operation& operation = operations[i];
    const auto done = performer.perform(operation, i);
    if (!done || !model.apply(operation, i)) failure = describe(operation, i, done);
  }
  if (failure.empty()) failure = (*store)->dismount() ? device.unseen_mix() : "dismount";
}

// Running.

namespace {

/// As slow as a disk, now and then, so that threads meet in different places each time.
class SlowDevice final : public BlockDevice {
 public:
  SlowDevice(BlockDevice& device, uint64_t seed) : device_(device), seed_(seed) {}

  uint64_t size_bytes() const override { return device_.size_bytes(); }
  uint32_t logical_block_size() const override { return device_.logical_block_size(); }
  bool is_read_only() const override { return false; }
  Result<> transfer(std::span<const IoRequest> requests) override {
    dawdle();
    auto done = device_.transfer(requests);
    dawdle();
    return done;
  }
  Result<> transfer_durable(std::span<const IoRequest> writes) override {
    dawdle();
    auto done = device_.transfer_durable(writes);
    dawdle();
    return done;
  }
  Result<> flush() override {
    dawdle();
    auto done = device_.flush();
    dawdle();
    return done;
  }
  Result<> discard(uint64_t offset, uint64_t length_bytes) override {
    return device_.discard(offset, length_bytes);
  }

 private:
  void dawdle() {
    std::mt19937_64 random(seed_++);
    const auto microseconds = random() % 4 == 0 ? random() % 300 : 0;
    if (microseconds != 0) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  }

  BlockDevice& device_;
  std::atomic<uint64_t> seed_;
};

/// Where the operation of a strand leads on the volume.
Operation behind(const std::string& prefix, Operation operation) {
  if (operation.path == kCommonFile) return operation;
  static constexpr std::array kKindsOfTwo = {Kind::Rename, Kind::RenameLeaving, Kind::Exchange,
                                             Kind::Link, Kind::Clone};
  const bool has_paths = std::ranges::find(kKindsOfTwo, operation.kind) != kKindsOfTwo.end();
  operation.path = prefix + operation.path;
  if (has_paths) operation.target = prefix + operation.target;
  return operation;
}

class Runner {
 public:
  Runner(ObjectStore& store, const RecordingDevice& device, Workload::Bounds bounds)
      : store_(store), device_(device), bounds_(bounds) {}

  void run(Strand& strand, Model model, Performer& performer, size_t first_number) {
    strand.history = std::make_unique<History>(model);
    for (size_t i = 0; i < strand.operations.size(); ++i) {
      const Operation& operation = strand.operations[i];
      Strand::Span span;
      span.began = now();
      auto done = performer.perform(behind(strand.prefix, operation), first_number + i);
      const bool is_full =
          !done && done.error() == NtStatus::DiskFull && bounds_ == Workload::Bounds::MayFillUp;
      if (!is_full && model.apply(operation, first_number + i) != done.has_value()) {
        strand.failure = describe(operation, i, done);
        return;
      }
      span.succeeded = done.has_value();
      if (done && !keep_up(store_)) strand.failure = fmt::format("a checkpoint after {} fails", i);
      span.ended = now();
      strand.spans.push_back(span);
      strand.history->add(model);
    }
  }

 private:
  Strand::Moment now() { return {device_.count_calls(), clock_++}; }

  ObjectStore& store_;
  const RecordingDevice& device_;
  const Workload::Bounds bounds_;
  std::atomic<uint64_t> clock_ = 0;
};

/// What each thread sees of the tree at the start.
Model common_part(const Model& model) {
  const std::string path(kCommonFile);
  const Content content = model.contents().at(model.names().at(path));
  return Model::of({{path, model.listing().at(path)}}, {{path, content}});
}

/// Numbers tell the bytes of one write from those of another, and of the tree at the start.
constexpr size_t kNumbersOfStrand = 10000;

void run_strands(const Workload& workload, const Start& start, ObjectStore& store,
                 const RecordingDevice& device, Run& run) {
  run.strands.resize(1 + workload.threads.size());
  run.stripe_bytes = workload.stripe_bytes;
  run.strands[0].operations = workload.operations;
  for (size_t i = 0; i < workload.threads.size(); ++i) {
    run.strands[1 + i].prefix = workload.threads[i].prefix;
    run.strands[1 + i].operations = workload.threads[i].operations;
  }
  Runner runner(store, device, workload.bounds);
  std::vector<Performer> performers(run.strands.size(), Performer(store));
  runner.run(run.strands[0], start.model, performers[0],
             operations_at_start(start.shape.tree).size());
  const Model common = workload.threads.empty() ? Model() : common_part(start.model);
  std::vector<std::thread> threads;
  for (size_t i = 1; i < run.strands.size(); ++i) {
    threads.emplace_back(
        [&, i] { runner.run(run.strands[i], common, performers[i], i * kNumbersOfStrand); });
  }
  for (std::thread& thread : threads) thread.join();
  for (Performer& performer : performers) performer.finish();
  for (const Strand& strand : run.strands) {
    if (run.failure.empty() && !strand.failure.empty()) {
      run.failure = strand.prefix + ": " + strand.failure;
    }
  }
}

}  // namespace

Run run_workload(const Workload& workload, const Start& start) {
  Run run;
  DiskImage disk(&start.disk);
  RecordingDevice device(disk, start.shape.sector_size, &run.recording);
  SlowDevice slow(device, std::hash<std::string>()(workload.name));
  ObjectStoreOptions options = mount_options(start.shape);
  const bool has_threads = !workload.threads.empty();
  if (has_threads) options.volume.commit_interval = std::chrono::milliseconds(5);
  std::string why_not;
  auto store =
      ObjectStore::mount(has_threads ? static_cast<BlockDevice&>(slow) : device, options, why_not);
  if (!store) {
    run.failure = "mount: " + why_not;
    return run;
  }
  run_strands(workload, start, **store, device, run);
  if (!run.failure.empty()) return run;
  run.failure = (*store)->dismount() ? device.unseen_mix() : "dismount";
  return run;
}

// Judging.

namespace {

bool promises(const Operation& operation) {
  return operation.kind == Kind::Fsync || operation.kind == Kind::Checkpoint ||
         (operation.kind == Kind::WriteByOpen &&
          operation.target.starts_with(WriteByOpenText::WriteThrough));
}

}  // namespace

/// The content, with zeros where it is another strand's. The first strand has none of it.
Content Run::stripes_of(const ByteVector& content, size_t strand) const {
  auto part = std::make_shared<ByteVector>(content.size());
  for (size_t at = 0; at < content.size(); at += stripe_bytes) {
    const size_t owner = 1 + at / stripe_bytes % (strands.size() - 1);
    const size_t length = std::min<size_t>(stripe_bytes, content.size() - at);
    if (owner == strand) std::copy_n(content.begin() + at, length, part->begin() + at);
  }
  return part;
}

/// What the strand's paths lead to, and those of no other one.
Tree Run::part_of(const Tree& tree, size_t strand) const {
  Tree part;
  const auto path_within = [&](const std::string& path) -> std::optional<std::string> {
    if (path == kCommonFile) return path;
    for (size_t i = 1; i < strands.size(); ++i) {
      const std::string& prefix = strands[i].prefix;
      if (!path.starts_with(prefix)) continue;
      return i == strand ? std::optional(path.substr(prefix.size())) : std::nullopt;
    }
    return strand == 0 ? std::optional(path) : std::nullopt;
  };
  for (const auto& [path, entry] : tree.listing) {
    const auto within = path_within(path);
    if (!within) continue;
    Entry& own = part.listing[*within] = entry;
    own.first_name = path_within(entry.first_name).value_or("of another thread");
    const auto content = tree.contents.find(path);
    if (content == tree.contents.end()) continue;
    const bool is_common = path == kCommonFile && stripe_bytes != 0;
    part.contents[*within] = is_common ? stripes_of(*content->second, strand) : content->second;
  }
  return part;
}

Window Run::window(const Strand& strand, size_t call) const {
  Window window;
  for (const Strand::Span& span : strand.spans) {
    if (span.began.calls <= call) ++window.latest;
  }
  // Whoever asks, all that had ended before is promised; and of the strand itself, that, too.
  for (const Strand& other : strands) {
    for (size_t i = 0; i < other.spans.size(); ++i) {
      const Strand::Span& promise = other.spans[i];
      const bool counts =
          promises(other.operations[i]) && promise.succeeded && promise.ended.calls <= call;
      if (!counts) continue;
      const auto is_covered = [&](const Strand::Span& span) {
        return span.ended.time < promise.began.time || &span == &promise;
      };
      const auto end = std::find_if_not(strand.spans.begin(), strand.spans.end(), is_covered);
      window.promised = std::max(window.promised, static_cast<size_t>(end - strand.spans.begin()));
    }
  }
  return window;
}

std::vector<Window> Run::windows(size_t call) const {
  std::vector<Window> windows;
  for (const Strand& strand : strands) windows.push_back(window(strand, call));
  return windows;
}

uint64_t Run::promise(size_t call) const {
  uint64_t promise = 0;
  for (const Window& window : windows(call)) promise = promise * kNumbersOfStrand + window.promised;
  return promise;
}

std::vector<Window> Run::last_windows() const {
  std::vector<Window> windows;
  for (const Strand& strand : strands) {
    windows.push_back({strand.spans.size(), strand.spans.size()});
  }
  return windows;
}

std::string Run::judge(const std::vector<Window>& windows, const Tree& found) const {
  std::vector<std::vector<size_t>> states;
  for (size_t i = 0; i < strands.size(); ++i) {
    const Tree part = part_of(found, i);
    std::string wrong;
    states.push_back(possible_states(*strands[i].history, windows[i], part, wrong));
    if (!states.back().empty()) continue;
    return i == 0 ? wrong : "of " + strands[i].prefix + ", " + wrong;
  }
  return judge_order(std::move(states));
}

/// Looks for the latest states that go together, one of each strand; `states` are those that the
/// tree may be in, in order.
std::string Run::judge_order(std::vector<std::vector<size_t>> states) const {
  for (bool is_changed = true; is_changed;) {
    is_changed = false;
    for (size_t i = 0; i < strands.size(); ++i) {
      const size_t missing = states[i].back();  // the first operation that is not there
      if (missing == strands[i].spans.size()) continue;
      const uint64_t ended = strands[i].spans[missing].ended.time;
      for (size_t j = 0; j < strands.size(); ++j) {
        const auto began = [&] { return strands[j].spans[states[j].back() - 1].began.time; };
        while (states[j].back() != 0 && began() > ended) {
          const size_t later = states[j].back();
          states[j].pop_back();
          is_changed = true;
          if (!states[j].empty()) continue;
          return fmt::format(
              "operation {} of {} is there, and operation {} of {}, which had ended "
              "before, is not",
              later, strands[j].prefix, missing + 1, strands[i].prefix);
        }
      }
    }
  }
  return {};
}

}  // namespace ntfs::crash
