#include "fuse/commands/check.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/base/mutex.h"
#include "core/base/trace.h"
#include "core/check/check.h"
#include "core/io/uring_device.h"
#include "core/store/volume.h"
#include "fuse/volume_device.h"

namespace ntfs::frontend {

namespace {

/// A line on the terminal that says how far the check is, with an estimate; nothing elsewhere.
class ProgressLine {
 public:
  explicit ProgressLine(const CheckProgress& progress) : progress_(progress) {
    if (isatty(STDERR_FILENO) != 0) thread_ = std::thread([this] { run(); });
  }
  ~ProgressLine() {
    if (!thread_.joinable()) return;
    {
      MutexLock lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
    fmt::print(stderr, "\r\033[K");
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  void run() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!done_) {
      changed_.wait_for(mutex_, std::chrono::milliseconds(500));
      print();
    }
  }
  void print() const {
    const uint64_t total = progress_.records_total;
    const uint64_t records = progress_.records;
    if (total == 0 || records == 0) return;
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin_;
    const double share = static_cast<double>(records) / static_cast<double>(total);
    fmt::print(stderr, "\rchecking: {:.0f} %, about {:.0f} s left \033[K", share * 100,
               spent.count() * (1 - share) / share);
    std::fflush(stderr);
  }

  const CheckProgress& progress_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  Mutex mutex_{LockRank::Frontend};
  ConditionVariable changed_;
  bool done_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all the others
};

/// The volume as the next mount will find it: an unclean log is replayed, in memory. Null: as it
/// is on the device.
std::unique_ptr<Recovery> replay(BlockDevice& device, const std::string& source) {
  const auto geometry = Volume::read_geometry(device);
  if (!geometry) return nullptr;
  std::string why_not;
  auto recovery = Recovery::replay(device, *geometry, why_not);
  if (!recovery) {
    if (why_not.empty()) {
      why_not = fmt::format("its log could not be read ({})", name_of(recovery.error()));
    }
    log_line(LogLevel::Warning, fmt::format("{}: {}", source, why_not));
    return nullptr;
  }
  if (*recovery != nullptr) {
    log_line(LogLevel::Note,
             source + ": was not unmounted; this is what it is like when its log is replayed");
  }
  return std::move(*recovery);
}

void print_json(const CheckReport& report, bool is_recovered) {
  nlohmann::json errors = nlohmann::json::array();
  for (const Finding& finding : report.errors) {
    errors.push_back({{"structure", finding.structure},
                      {"file_reference", finding.file_reference},
                      {"where", finding.where},
                      {"expected", finding.expected},
                      {"found", finding.found},
                      {"message", finding.message}});
  }
  const nlohmann::json object = {{"errors", std::move(errors)},
                                 {"recovered", is_recovered},
                                 {"errors_not_listed", report.suppressed},
                                 {"files", report.files},
                                 {"directories", report.directories},
                                 {"names", report.names},
                                 {"records", report.records},
                                 {"records_in_use", report.records_in_use},
                                 {"index_entries", report.index_entries},
                                 {"index_blocks", report.index_blocks},
                                 {"clusters_total", report.clusters_total},
                                 {"clusters_used", report.clusters_used},
                                 {"fragments", report.fragments},
                                 {"fragmented_attributes", report.fragmented_attributes}};
  fmt::print("{}\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_text(const CheckReport& report, const std::string& source) {
  for (const Finding& finding : report.errors) fmt::print("{}\n", to_line(finding));
  if (report.suppressed != 0) fmt::print("and {} more\n", report.suppressed);
  fmt::print("{}: {} files and {} directories in {} of {} clusters, {} fragmented attributes\n",
             source, report.files, report.directories, report.clusters_used, report.clusters_total,
             report.fragmented_attributes);
  const uint64_t count = report.errors.size() + report.suppressed;
  if (count == 0) {
    fmt::print("{}: no errors\n", source);
  } else {
    fmt::print(
        "{}: {} errors. Do not write to this volume: copy what you need, or repair it with "
        "chkdsk on Windows\n",
        source, count);
  }
}

}  // namespace

int run_check(const CheckCommandOptions& options) {
  auto device = open_volume_device(options.source, UringDevice::Access::ReadOnly);
  if (!device) return kCheckCouldNotRun;  // the device said why
  if ((*device)->in_use_elsewhere()) {
    log_line(LogLevel::Warning,
             options.source + " is in use: changes under way look like errors; unmount it first");
  }
  CheckProgress progress;
  CheckOptions check_options;
  check_options.progress = &progress;
  const auto recovery = replay(**device, options.source);
  check_options.replayed = recovery != nullptr;
  OverlayDevice view(**device, recovery ? recovery->patches() : std::span<const DevicePatch>());
  const auto report = [&] {
    const ProgressLine line(progress);
    return check_volume(view, check_options);
  }();
  if (!report) {
    const bool foreign = report.error() == NtStatus::UnrecognizedVolume;
    log_line(LogLevel::Error,
             fmt::format("{}: {}", options.source,
                         foreign ? "this is no NTFS volume: there is no boot sector of one"
                                 : name_of(report.error())));
    return kCheckCouldNotRun;
  }
  if (options.json) {
    print_json(*report, recovery != nullptr);
  } else {
    print_text(*report, options.source);
  }
  return report->is_clean() ? kCheckClean : kCheckErrors;
}

}  // namespace ntfs::frontend
