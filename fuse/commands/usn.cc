#include "fuse/commands/usn.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/base/trace.h"
#include "fuse/byte_size.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/journal_paths.h"
#include "fuse/commands/journal_view.h"
#include "fuse/commands/opened_volume.h"
#include "fuse/name_encoding.h"
#include "usn/reason.h"

namespace ntfs::frontend {

namespace {

using usn::Reason;

int refuse(const UsnOptions& options, NtStatus status) {
  log_line(LogLevel::Error, fmt::format("{}: {}", options.source, explain_journal(status)));
  return exit_code_of(status);
}

std::string as_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::vector<std::string> keywords(std::span<const usn::BitName> names, uint32_t bits) {
  std::vector<std::string> words;
  for (const usn::BitName& name : names) {
    if ((bits & name.bit) != 0) words.emplace_back(name.keyword);
    bits &= ~name.bit;
  }
  if (bits != 0) words.push_back(fmt::format("{:#x}", bits));
  return words;
}

/// Prints the records that the options ask for.
class RecordPrinter {
 public:
  RecordPrinter(JournalView& view, const UsnOptions& options) : paths_(view), options_(options) {}

  JournalPaths& paths() { return paths_; }

  void take(const usn::Record& record) {
    paths_.learn(record);
    if (options_.reasons != 0 && (record.reason & options_.reasons) == 0) return;
    if (options_.only_close && (record.reason & Reason::Close) == 0) return;
    const auto path = paths_.path_of(record);
    if (!options_.path.empty() && fnmatch(options_.path.c_str(), path.text.c_str(), 0) != 0) return;
    if (options_.json) {
      print_json(record, path);
    } else {
      print_text(record, path);
    }
  }

 private:
  static void print_json(const usn::Record& record, const JournalPaths::Path& path) {
    // The control tells what stands on the volume in version 2 as version 3.
    const bool is_narrow = record.major_version == 3 && record.file.high == 0;
    nlohmann::json line = {{"usn", record.usn.raw()},
                           {"file_reference", record.file.low},
                           {"parent_reference", record.parent.low},
                           {"name", name_bytes(record.name)},
                           {"reasons", keywords(usn::reason_names(), record.reason)},
                           {"source_info", keywords(usn::source_names(), record.source_info)},
                           {"attributes", record.file_attributes},
                           {"version", is_narrow ? 2 : record.major_version}};
    if (record.timestamp != 0) {
      line["timestamp"] = format_time(ondisk::FileTime::from_raw(record.timestamp));
    }
    if (!path.text.empty()) line["path"] = path.text;
    if (path.has_deleted_parent) line["parent_deleted"] = true;
    for (const usn::Extent& extent : record.extents) {
      line["extents"].push_back({{"offset", extent.offset}, {"length", extent.length}});
    }
    fmt::print("{}\n", as_text(line));
  }

  static void print_text(const usn::Record& record, const JournalPaths::Path& path) {
    const FileReference file = record.file.reference();
    const FileReference parent = record.parent.reference();
    std::string where = path.text;
    if (record.name.empty()) {
      where = fmt::format("file {}-{}", file.record(), file.sequence());
    } else if (where.empty()) {
      where = fmt::format("<deleted {}-{}>/{}", parent.record(), parent.sequence(),
                          name_bytes(record.name));
    } else if (path.has_deleted_parent) {
      where += " (parent deleted)";
    }
    const std::string time = record.timestamp == 0
                                 ? std::string(28, ' ')
                                 : format_time(ondisk::FileTime::from_raw(record.timestamp));
    fmt::print("{:>12}  {}  {}  {}\n", record.usn.raw(), time, where,
               usn::reason_labels(record.reason));
    for (const usn::Extent& extent : record.extents) {
      fmt::print("{:>12}  bytes {} to {}\n", "", extent.offset, extent.offset + extent.length);
    }
  }

  JournalPaths paths_;
  const UsnOptions& options_;
};

/// Names of directories that are gone, from the records of their removal.
Result<> learn_deleted(JournalView& view, const UsnJournalData& journal, usn::Usn from,
                       JournalPaths& paths) {
  UsnReadParameters parameters;
  parameters.journal_id = journal.id;
  parameters.start = from;
  parameters.reason_mask = Reason::FileDelete;
  while (true) {
    const auto answer = TRY(view.read(parameters));
    for (const usn::Record& record : answer.records) paths.learn(record);
    const auto next = usn::Usn::from_raw(answer.next);
    if (next == parameters.start || next >= journal.next) return {};
    parameters.start = next;
  }
}

Result<> read_records(JournalView& view, const UsnJournalData& journal, const UsnOptions& options) {
  RecordPrinter printer(view, options);
  printer.paths().set_upto(journal.next);
  UsnReadParameters parameters;
  parameters.journal_id = journal.id;
  parameters.start = usn::Usn::from_raw(options.since.value_or(0));
  TRY(learn_deleted(view, journal, parameters.start, printer.paths()));
  while (true) {
    const auto answer = TRY(view.read(parameters));
    for (const usn::Record& record : answer.records) {
      if (options.until_now && record.usn >= journal.next) return {};
      printer.take(record);
    }
    const auto next = usn::Usn::from_raw(answer.next);
    if (next == parameters.start || (answer.records.empty() && next >= journal.next)) return {};
    parameters.start = next;
  }
}

// Ctrl-C ends a watch between two records: at once while it waits.
volatile sig_atomic_t is_waiting = 0;
volatile sig_atomic_t is_ended = 0;

void end_watch(int) {
  if (is_waiting != 0) _exit(kExitSuccess);
  is_ended = 1;
}

void install_end_signals() {
  struct sigaction action {};
  action.sa_handler = end_watch;  // without SA_RESTART: the wait ends
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

Result<> watch_records(JournalView& view, const UsnJournalData& journal,
                       const UsnOptions& options) {
  RecordPrinter printer(view, options);
  printer.paths().set_upto(journal.next);
  UsnReadParameters parameters;
  parameters.journal_id = journal.id;
  parameters.start = options.since ? usn::Usn::from_raw(*options.since) : journal.next;
  parameters.bytes_to_wait_for = 1;
  while (true) {
    is_waiting = 1;
    if (is_ended != 0) return {};
    const auto answer = view.read(parameters);
    is_waiting = 0;
    if (!answer) return answer.error();
    parameters.start = usn::Usn::from_raw(answer->next);
    printer.paths().set_upto(std::max(journal.next, parameters.start));
    for (const usn::Record& record : answer->records) printer.take(record);
    // Nobody reads any more: an end like another.
    if (fflush(stdout) != 0) return {};
  }
}

void print_query_json(const UsnJournalData& data) {
  constexpr UsnVersions kAll;
  fmt::print("{}\n", as_text({{"active", true},
                              {"id", data.id},
                              {"first", data.first.raw()},
                              {"next", data.next.raw()},
                              {"lowest_valid", data.lowest_valid.raw()},
                              {"max_usn", data.max_usn},
                              {"max_size", data.maximum_size},
                              {"allocation_delta", data.allocation_delta},
                              {"min_version", kAll.least},
                              {"max_version", kAll.most},
                              {"range_chunk_size", data.ranges.chunk_size},
                              {"range_file_size_threshold", data.ranges.file_size_threshold}}));
}

/// The words of `fsutil usn queryjournal`.
void print_query_text(const UsnJournalData& data) {
  constexpr UsnVersions kAll;
  const auto number = [](std::string_view label, uint64_t value) {
    fmt::print("{:<17}: {:#018x}\n", label, value);
  };
  const auto size = [](std::string_view label, uint64_t value) {
    fmt::print("{:<17}: {:#018x}  ({})\n", label, value, format_byte_size(value));
  };
  number("Usn Journal ID", data.id);
  number("First Usn", data.first.raw());
  number("Next Usn", data.next.raw());
  number("Lowest Valid Usn", data.lowest_valid.raw());
  number("Max Usn", data.max_usn);
  size("Maximum Size", data.maximum_size);
  size("Allocation Delta", data.allocation_delta);
  fmt::print("Minimum record version supported : {}\n", kAll.least);
  fmt::print("Maximum record version supported : {}\n", kAll.most);
  const bool are_tracked = data.ranges.chunk_size != 0;
  fmt::print("Write range tracking: {}\n", are_tracked ? "Enabled" : "Disabled");
  if (!are_tracked) return;
  size("Range track chunk size", data.ranges.chunk_size);
  size("Range track file size threshold", data.ranges.file_size_threshold);
}

/// Runs `act(view, journal)`, and says what went wrong.
template <typename Act>
int with_journal(const UsnOptions& options, Act&& act) {
  const auto view = open_journal(options.source);
  if (!view) return exit_code_of(view.error());  // printed
  const auto journal = (*view)->query();
  if (!journal) return refuse(options, journal.error());
  const Result<> done = act(**view, *journal);
  return done ? kExitSuccess : refuse(options, done.error());
}

int change(const UsnOptions& options, JournalChange::Kind kind) {
  const auto done =
      change_journal(options.source, {kind, options.maximum_size, options.allocation_delta});
  if (done) return kExitSuccess;
  const bool is_wrong =
      kind == JournalChange::Kind::Create && done.error() == NtStatus::InvalidParameter;
  if (!is_wrong) return refuse(options, done.error());
  log_line(LogLevel::Error, fmt::format("{}: such sizes are not possible: --max up to 1T, --delta "
                                        "not above it",
                                        options.source));
  return kExitUsage;
}

struct ReasonGroup {
  std::string_view word;
  uint32_t reasons;
};
constexpr std::array kReasonGroups = {
    ReasonGroup{"create", Reason::FileCreate},
    ReasonGroup{"delete", Reason::FileDelete},
    ReasonGroup{"rename", Reason::RenameOldName | Reason::RenameNewName},
    ReasonGroup{"data", Reason::DataOverwrite | Reason::DataExtend | Reason::DataTruncation},
};

}  // namespace

std::optional<uint32_t> parse_usn_reasons(const std::string& text) {
  uint32_t reasons = 0;
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string word = text.substr(at, comma - at);
    const auto group = std::find_if(kReasonGroups.begin(), kReasonGroups.end(),
                                    [&](const ReasonGroup& known) { return known.word == word; });
    const auto parsed =
        group != kReasonGroups.end() ? std::optional(group->reasons) : usn::parse_reason(word);
    if (!parsed) return std::nullopt;
    reasons |= *parsed;
    at = comma + 1;
  }
  return reasons;
}

int run_usn_query(const UsnOptions& options) {
  return with_journal(options, [&](JournalView&, const UsnJournalData& journal) -> Result<> {
    options.json ? print_query_json(journal) : print_query_text(journal);
    return {};
  });
}

int run_usn_read(const UsnOptions& options) {
  return with_journal(options, [&](JournalView& view, const UsnJournalData& journal) {
    return read_records(view, journal, options);
  });
}

int run_usn_watch(const UsnOptions& options) {
  install_end_signals();
  return with_journal(options, [&](JournalView& view, const UsnJournalData& journal) -> Result<> {
    // Nobody changes what is not mounted.
    if (!view.is_mounted()) return NtStatus::InvalidDeviceRequest;
    return watch_records(view, journal, options);
  });
}

int run_usn_create(const UsnOptions& options) {
  return change(options, JournalChange::Kind::Create);
}

int run_usn_delete(const UsnOptions& options) {
  return change(options, JournalChange::Kind::Delete);
}

int run_usn_track(const UsnOptions& options) {
  const auto done = track_ranges(options.source, {options.range_chunk, options.range_threshold});
  if (done) return kExitSuccess;
  if (done.error() != NtStatus::InvalidParameter) return refuse(options, done.error());
  log_line(LogLevel::Error,
           fmt::format("{}: --chunk is a power of two from 4K to 1G", options.source));
  return kExitUsage;
}

}  // namespace ntfs::frontend
