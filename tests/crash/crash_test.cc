// The crash rig: runs workloads on a device that records what it is told, makes the images that
// power cuts would have left, recovers and judges each (judge.h says by what rule, run.h for
// several threads). The last line of the output is "N images, N failures"; the exit code is 1 when
// there were any.

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>

#include "tests/crash/collect.h"
#include "tests/crash/trial.h"

namespace ntfs::crash {
namespace {

/// An image that takes longer than this hangs: seconds of processor time, as other programs may
/// keep the machine busy, and seconds altogether, as a deadlock takes none.
constexpr unsigned kMostProcessorSeconds = 60;
constexpr unsigned kMostSeconds = 900;
constexpr size_t kMostFailures = 25;
constexpr size_t kMostWorkers = 64;
/// Of the images wanted, the part that the sequences of one and two operations get.
constexpr double kPairShare = 0.6;
constexpr size_t kFewestPairImages = 4;
/// Workloads whose names begin so are cut at every write.
constexpr std::string_view kMatrix = "matrix-";
constexpr size_t kImagesARandomWorkload = 250;
/// One image in so many is crashed again during its recovery, or used afterwards.
constexpr size_t kRecrashOneIn = 24;
constexpr size_t kRecrashes = 6;
constexpr size_t kUseOneIn = 24;
constexpr size_t kUses = 6;

struct Options {
  uint64_t seed = 0;
  uint64_t images = 100000;
  uint64_t seconds = 0;
  uint64_t workers = 0;
  std::string only;
  std::string replay;
  std::string save;
  uint64_t collect = 0;
  bool verbose = false;
};

/// What the workers and the parent share.
struct Board {
  std::atomic<uint64_t> next_workload;
  std::atomic<uint64_t> workloads;
  std::atomic<uint64_t> images;
  std::atomic<uint64_t> recrashed;
  std::atomic<uint64_t> used;
  std::atomic<uint64_t> matrix_workloads;
  std::atomic<uint64_t> matrix_images;
  std::atomic<uint64_t> failures;
  char current[kMostWorkers][512];  ///< the case that the worker has in hand
};

Board* board = nullptr;
size_t worker_number = 0;

void announce(const std::string& case_text) {
  std::snprintf(board->current[worker_number], sizeof(board->current[0]), "%s", case_text.c_str());
  const itimerval limit = {{0, 0}, {kMostProcessorSeconds, 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
  alarm(kMostSeconds);
}

void report_failure(const std::string& case_text, const std::string& failure) {
  ++board->failures;
  const std::string text = fmt::format("FAIL {}\n    {}\n    again: crash_test --replay {}\n",
                                       case_text, failure, case_text);
  (void)!write(STDOUT_FILENO, text.data(), text.size());
}

/// Starts, by shape.
class Starts {
 public:
  const Start& of(const Shape& shape) {
    auto& start = starts_[shape];
    if (start == nullptr) start = std::make_unique<Start>(shape);
    return *start;
  }

 private:
  std::map<Shape, std::unique_ptr<Start>> starts_;
};

std::string file_name_of(const std::string& case_text) {
  std::string name = case_text;
  std::replace(name.begin(), name.end(), '@', '_');
  return name;
}

void save_image(const Options& options, Trial& trial, const std::string& case_text,
                const DiskImage& crashed) {
  if (options.save.empty()) return;
  const auto parsed = Case::parse(case_text);
  if (parsed) trial.save(*parsed, crashed, options.save + "/" + file_name_of(case_text) + ".img");
}

class Worker {
 public:
  Worker(const Options& options, Starts& starts) : options_(options), starts_(starts) {}

  void try_workload(const std::string& name, size_t limit, uint64_t seed) {
    announce(name);
    const auto workload = make_workload(name);
    if (!workload) return report_failure(name, "there is no such workload");
    const Start& start = starts_.of(workload->shape);
    if (!start.failure.empty()) return report_failure(name, start.failure);
    const Run run = run_workload(*workload, start);
    if (!run.failure.empty()) return report_failure(name, "before any crash: " + run.failure);
    ++board->workloads;
    Trial trial(start, run, announce);
    const std::string wrong = trial.try_closed();
    if (!wrong.empty()) return report_failure(name, "without a crash: " + wrong);
    CutDisks disks(start.disk, run.recording, start.shape.sector_size);
    std::mt19937_64 random(seed);
    const uint32_t sector = start.shape.sector_size;
    const bool is_matrix = name.starts_with(kMatrix);
    if (is_matrix) ++board->matrix_workloads;
    const auto cuts = is_matrix && limit != 0
                          ? every_cut(run.recording, sector, run.strands[0].spans[0].began.calls)
                          : choose_cuts(run.recording, sector, limit, random());
    for (const PowerCut& cut : cuts) {
      const auto crashed = disks.make(cut, run.promise(cut.call));
      if (crashed == nullptr) continue;
      Trial::Extras extras;
      if (random() % kRecrashOneIn == 0) extras.recrashes = kRecrashes;
      if (random() % kUseOneIn == 0) extras.uses = kUses;
      extras.seed = random();
      const Outcome outcome = trial.try_image({name, {cut}}, *crashed, extras);
      board->images += outcome.images;
      if (is_matrix) board->matrix_images += outcome.images;
      board->recrashed += outcome.recrashed;
      board->used += outcome.used;
      if (outcome.failure.empty()) continue;
      report_failure(outcome.case_text, outcome.failure);
      save_image(options_, trial, outcome.case_text, *crashed);
      return;  // the next images of this workload mostly say the same
    }
  }

 private:
  const Options& options_;
  Starts& starts_;
};

/// The sequences, in random order, then every way to write, then random workloads without end.
class Schedule {
 public:
  explicit Schedule(const Options& options) : options_(options) {
    for (const uint32_t cluster_size : {4096, 512, 65536}) {
      for (const std::string& name : pair_names(cluster_size)) add(name);
      for (const std::string& name : matrix_names(cluster_size)) {
        if (name.starts_with(options.only)) matrix_.push_back(name);
      }
      if (options.only.empty() && options.seconds == 0) break;  // all sizes in long runs
    }
    std::mt19937_64 random(options.seed);
    std::shuffle(pairs_.begin(), pairs_.end(), random);
    for (const std::string& kind : random_kinds()) {
      if (kind.starts_with(options.only) || options.only.starts_with(kind + "-")) {
        kinds_.push_back(kind);
      }
    }
    const double wanted = static_cast<double>(options.images) * kPairShare;
    const double each = pairs_.empty() ? 0 : wanted / static_cast<double>(pairs_.size());
    pair_images_ = std::max(static_cast<size_t>(each), kFewestPairImages);
  }

  size_t count_pairs() const { return pairs_.size(); }
  /// What is no random workload.
  size_t count_fixed() const { return pairs_.size() + matrix_.size(); }

  /// "" when there is nothing left.
  std::string name(uint64_t number) const {
    if (number < pairs_.size()) return pairs_[number];
    if (number < count_fixed()) return matrix_[number - pairs_.size()];
    if (kinds_.empty()) return "";
    if (options_.only.find('-') != std::string::npos) {
      return number == count_fixed() ? options_.only : "";
    }
    const uint64_t random = number - matrix_.size();
    const std::string& kind = kinds_[random % kinds_.size()];
    return fmt::format("{}-{}", kind, options_.seed * 1000000 + random);
  }
  size_t images(uint64_t number) const {
    if (options_.images == 0) return 0;
    return number < pairs_.size() ? pair_images_ : kImagesARandomWorkload;
  }

 private:
  void add(const std::string& name) {
    if (name.starts_with(options_.only)) pairs_.push_back(name);
  }

  const Options& options_;
  std::vector<std::string> pairs_;
  std::vector<std::string> matrix_;
  std::vector<std::string> kinds_;
  size_t pair_images_ = 0;
};

using Clock = std::chrono::steady_clock;

bool is_done(const Options& options, const Schedule& schedule, uint64_t number,
             Clock::time_point start) {
  if (board->failures >= kMostFailures) return true;
  if (number < schedule.count_fixed()) return false;
  const bool has_time = Clock::now() - start < std::chrono::seconds(options.seconds);
  return board->images >= options.images && !has_time;
}

[[noreturn]] void run_worker(const Options& options, const Schedule& schedule,
                             Clock::time_point start) {
  if (!options.verbose) {
    // What the store reports is known to whoever replays a case.
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
  }
  Starts starts;
  Worker worker(options, starts);
  while (true) {
    const uint64_t number = board->next_workload++;
    const std::string name = schedule.name(number);
    if (name.empty() || is_done(options, schedule, number, start)) _exit(0);
    worker.try_workload(name, schedule.images(number), options.seed + number);
  }
}

pid_t start_worker(size_t number, const Options& options, const Schedule& schedule,
                   Clock::time_point start) {
  const pid_t child = fork();
  if (child == 0) {
    worker_number = number;
    run_worker(options, schedule, start);
  }
  return child;
}

/// Starts the workers, and again those that an image kills.
void run_all(const Options& options, const Schedule& schedule) {
  const auto start = Clock::now();
  std::map<pid_t, size_t> workers;
  for (size_t i = 0; i < options.workers; ++i) {
    workers[start_worker(i, options, schedule, start)] = i;
  }
  while (!workers.empty()) {
    int status = 0;
    const pid_t child = wait(&status);
    if (child < 0) return;
    const size_t number = workers[child];
    workers.erase(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    report_failure(board->current[number],
                   signal == SIGPROF || signal == SIGALRM
                       ? fmt::format("no end after {} s of processor time, or {} s",
                                     kMostProcessorSeconds, kMostSeconds)
                       : fmt::format("the program died (wait status {})", status));
    workers[start_worker(number, options, schedule, start)] = number;
  }
}

void print(const std::vector<Operation>& operations) {
  for (size_t i = 0; i < operations.size(); ++i) {
    fmt::print("  {:3} {}\n", i + 1, operations[i].to_text());
  }
}

int replay(const Options& options) {
  const auto name = Case::parse(options.replay);
  const std::string workload_name = name ? name->workload : options.replay;
  const auto workload = make_workload(workload_name);
  if (!workload) {
    fmt::print("crash_test: '{}' is no case\n", options.replay);
    return 64;
  }
  print(workload->operations);
  for (const Workload::Thread& thread : workload->threads) {
    fmt::print("{}, side by side with the others:\n", thread.prefix);
    print(thread.operations);
  }
  const Start start(workload->shape);
  const Run run = run_workload(*workload, start);
  if (!start.failure.empty() || !run.failure.empty()) {
    fmt::print("FAIL before any crash: {}{}\n", start.failure, run.failure);
    return 1;
  }
  if (!name) {
    const std::string wrong = Trial(start, run, announce).try_closed();
    if (!wrong.empty()) report_failure(workload_name, "without a crash: " + wrong);
    return wrong.empty() ? 0 : 1;
  }
  const size_t call = name->cuts[0].call;
  fmt::print("call {} of {}\n", call, run.recording.calls.size());
  const auto windows = run.windows(call);
  for (size_t i = 0; i < windows.size(); ++i) {
    fmt::print("{}: promised: state {}; latest: {}\n", run.strands[i].prefix, windows[i].promised,
               windows[i].latest);
  }
  CutDisks disks(start.disk, run.recording, start.shape.sector_size);
  const auto crashed = disks.make(name->cuts[0], 0);
  Trial trial(start, run, announce);
  save_image(options, trial, options.replay, *crashed);
  std::fflush(stdout);
  const Trial::Extras extras{kRecrashes, kUses, options.seed};
  const Outcome outcome = name->cuts.size() == 2 ? trial.replay_recrash(*name, *crashed)
                                                 : trial.try_image(*name, *crashed, extras);
  if (!outcome.failure.empty()) report_failure(outcome.case_text, outcome.failure);
  fmt::print("{} images, {} failures\n", outcome.images, outcome.failure.empty() ? 0 : 1);
  return outcome.failure.empty() ? 0 : 1;
}

/// One image of each workload, until there are as many as asked for.
int collect(const Options& options) {
  const Schedule schedule(options);
  Starts starts;
  std::mt19937_64 random(options.seed);
  uint64_t saved = 0;
  for (uint64_t number = 0; saved < options.collect; ++number) {
    // As many long sequences as short ones.
    const std::string name =
        schedule.name(number % 2 == 0 ? number / 2 : schedule.count_fixed() + number / 2);
    const auto workload = make_workload(name);
    // The peers refuse volumes that count references, as they should.
    if (!workload || workload->shape.sector_size != 512 || workload->shape.reflink) continue;
    if (!workload->threads.empty()) continue;  // not the same each time
    const Start& start = starts.of(workload->shape);
    const Run run = run_workload(*workload, start);
    if (!start.failure.empty() || !run.failure.empty()) continue;  // failures of the trial proper
    const auto cuts = choose_cuts(run.recording, start.shape.sector_size, 1, random());
    CutDisks disks(start.disk, run.recording, start.shape.sector_size);
    const auto crashed = disks.make(cuts.at(0), 0);
    const std::string case_text = Case{name, {cuts[0]}}.to_text();
    const std::string wrong = collect_image(
        start, *crashed, fmt::format("{}/{:04}_{}", options.save, saved, file_name_of(case_text)));
    if (wrong == "clean") continue;
    if (!wrong.empty()) {
      report_failure(case_text, wrong);
      return 1;
    }
    ++saved;
  }
  fmt::print("{} images saved, seed {}\n", saved, options.seed);
  return 0;
}

int run(int argument_count, char** arguments) {
  Options options;
  CLI::App app("Cuts the power of a volume everywhere, and judges what recovery makes of it.");
  app.add_option("--seed", options.seed, "chooses images and random workloads (by the clock)");
  app.add_option("--images", options.images, "images to try at least (100000); 0: workloads only");
  app.add_option("--seconds", options.seconds, "go on for as long, with all cluster sizes");
  app.add_option("--workers", options.workers, "processes (one a processor)");
  app.add_option("--only", options.only, "workloads whose names begin so");
  app.add_option("--replay", options.replay, "one case, as a failure printed it");
  app.add_option("--save", options.save, "folder for the images of failures");
  app.add_option("--collect", options.collect,
                 "only save so many images, each with the tree that recovery shows");
  app.add_flag("--verbose", options.verbose, "show what the store reports");
  CLI11_PARSE(app, argument_count, arguments);
  void* shared =
      mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  board = new (shared) Board();
  if (!options.replay.empty()) return replay(options);
  if (options.seed == 0) options.seed = static_cast<uint64_t>(std::time(nullptr)) % 1000000;
  if (options.collect != 0) return collect(options);
  if (options.workers == 0) options.workers = static_cast<uint64_t>(sysconf(_SC_NPROCESSORS_ONLN));
  options.workers = std::min<uint64_t>(options.workers, kMostWorkers);
  const Schedule schedule(options);
  fmt::print("seed {}, {} sequences of one and two operations, {} ways to write\n", options.seed,
             schedule.count_pairs(), schedule.count_fixed() - schedule.count_pairs());
  std::fflush(stdout);
  const auto start = Clock::now();
  run_all(options, schedule);
  const std::chrono::duration<double> took = Clock::now() - start;
  fmt::print(
      "{} workloads; {} images were crashed again during recovery, {} used after it; {:.1f} s\n",
      board->workloads.load(), board->recrashed.load(), board->used.load(), took.count());
  fmt::print("{} ways to write, cut at every write: {} images\n", board->matrix_workloads.load(),
             board->matrix_images.load());
  fmt::print("{} images, {} failures\n", board->images.load(), board->failures.load());
  return board->failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ntfs::crash

int main(int argument_count, char** arguments) {
  return ntfs::crash::run(argument_count, arguments);
}
