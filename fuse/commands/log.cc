#include "fuse/commands/log.h"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "core/base/trace.h"
#include "core/ondisk/log_operations.h"
#include "core/ondisk/utf16.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/open_attributes.h"
#include "fuse/commands/opened_volume.h"
#include "fuse/commands/path_names.h"
#include "lfs/log_reader.h"

namespace ntfs::frontend {

namespace {

using ondisk::LogOp;

constexpr uint64_t kMftRecord = 0;
constexpr uint64_t kLogBlock = 512;  // unit of cluster_block_offset

/// What a record changes.
struct Target {
  const LoggedAttribute* attribute = nullptr;
  std::optional<uint64_t> file_record;  ///< the file that it belongs to
  uint16_t sequence = 0;  ///< of that record: as the log says, else as the volume has it now
};

struct Totals {
  uint64_t records = 0;
  uint64_t restart_records = 0;
  uint64_t bytes = 0;
  std::map<std::string, uint64_t> by_operation;
  std::map<uint32_t, uint64_t> by_transaction;
};

class LogPrinter {
 public:
  LogPrinter(OpenedVolume& volume, const LogOptions& options)
      : volume_(volume.store->volume()), options_(options), paths_(volume_) {}

  void take(const lfs::RecordView& record) {
    if (record.is_restart()) return take_restart(record);
    const auto client = ondisk::ClientRecordView::parse(record.data, record.flags,
                                                        {"log record", 0, record.lsn.raw()});
    if (!client) return;  // reported
    attributes_.learn(*client);
    const Target target = target_of(*client);
    if (!is_wanted(record, target)) return;
    count(record, *client);
    if (options_.stats) return;
    if (options_.json) {
      print_json(record, *client, target);
    } else {
      print_text(record, *client, target);
    }
  }

  void print_totals() const {
    if (options_.json) {
      const nlohmann::json object = {{"records", totals_.records},
                                     {"restart_records", totals_.restart_records},
                                     {"bytes", totals_.bytes},
                                     {"transactions", totals_.by_transaction.size()},
                                     {"operations", totals_.by_operation}};
      fmt::print("{}\n", object.dump());
      return;
    }
    fmt::print("{} records, {} restart records, {} bytes, {} transaction ids\n", totals_.records,
               totals_.restart_records, totals_.bytes, totals_.by_transaction.size());
    for (const auto& [name, count] : totals_.by_operation) fmt::print("{:>10} {}\n", count, name);
  }

 private:
  Target target_of(const ondisk::ClientRecordView& client) const {
    Target target;
    if (!ondisk::needs_target(client.redo()) && !ondisk::needs_target(client.undo())) return target;
    target.attribute = attributes_.find(client.target().target_attribute);
    if (target.attribute == nullptr) return target;
    target.file_record = target.attribute->file.record();
    target.sequence = target.attribute->file.sequence();
    const bool is_mft_data =
        *target.file_record == kMftRecord &&
        target.attribute->type_code == static_cast<uint32_t>(ondisk::AttributeType::Data);
    if (is_mft_data) {
      const auto& geometry = volume_.geometry();
      const uint64_t position = client.target().target_vcn.raw() * geometry.cluster_size +
                                client.target().cluster_block_offset * kLogBlock;
      target.file_record = position / geometry.file_record_size;
      target.sequence = current_sequence(*target.file_record);
    }
    return target;
  }

  uint16_t current_sequence(uint64_t record) const {
    const SharedLock lock(volume_.journal().metadata_lock());
    const auto page = volume_.mft().record(record);
    return page ? ondisk::FileRecordView::of_valid((*page)->bytes()).sequence() : uint16_t{0};
  }

  bool is_wanted(const lfs::RecordView& record, const Target& target) const {
    if (options_.from_lsn && record.lsn.raw() < *options_.from_lsn) return false;
    if (options_.transaction && record.transaction_id != *options_.transaction) return false;
    return !options_.file_record || target.file_record == options_.file_record;
  }

  void count(const lfs::RecordView& record, const ondisk::ClientRecordView& client) {
    ++totals_.records;
    totals_.bytes += record.data.size() + lfs::kRecordHeaderSize;
    ++totals_.by_operation[std::string(name_of(client.redo()))];
    ++totals_.by_transaction[record.transaction_id];
  }

  void take_restart(const lfs::RecordView& record) {
    if (options_.transaction || options_.file_record) return;
    if (options_.from_lsn && record.lsn.raw() < *options_.from_lsn) return;
    ++totals_.restart_records;
    totals_.bytes += record.data.size() + lfs::kRecordHeaderSize;
    if (options_.stats) return;
    const auto restart =
        ondisk::ClientRestart::parse(record.data, {"client restart", 0, record.lsn.raw()});
    if (!restart) return;  // reported
    if (options_.json) {
      const nlohmann::json line = {{"lsn", record.lsn.raw()},
                                   {"previous_lsn", record.previous.raw()},
                                   {"undo_next_lsn", record.undo_next.raw()},
                                   {"type", "restart"},
                                   {"transaction", record.transaction_id},
                                   {"data_length", record.data.size()},
                                   {"check_point_start", restart->check_point_start.raw()},
                                   {"oldest_lsn", restart->oldest_lsn.raw()}};
      fmt::print("{}\n", line.dump());
      return;
    }
    fmt::print("{:#014x} checkpoint, begun at {:#x}, oldest {:#x}\n", record.lsn.raw(),
               restart->check_point_start.raw(), restart->oldest_lsn.raw());
  }

  void print_json(const lfs::RecordView& record, const ondisk::ClientRecordView& client,
                  const Target& target) {
    nlohmann::json shown;
    if (target.attribute != nullptr) {
      const auto type = static_cast<ondisk::AttributeType>(target.attribute->type_code);
      shown = {{"file_reference", FileReference(*target.file_record, target.sequence).raw()},
               {"record", *target.file_record},
               {"attribute", ondisk::name_of(type)},
               {"name", ondisk::to_display(target.attribute->name)}};
      const std::string& path = paths_.path_of(*target.file_record);
      if (!path.empty()) shown["path"] = path;
    }
    const nlohmann::json line = {
        {"lsn", record.lsn.raw()},
        {"previous_lsn", record.previous.raw()},
        {"undo_next_lsn", record.undo_next.raw()},
        {"type", "client"},
        {"transaction", record.transaction_id},
        {"data_length", record.data.size()},
        {"redo", name_of(client.redo())},
        {"undo", name_of(client.undo())},
        {"target", shown},
        {"target_attribute", client.target().target_attribute},
        {"vcn", client.target().target_vcn.raw()},
        {"record_offset", client.target().record_offset},
        {"attribute_offset", client.target().attribute_offset},
        {"redo_length", client.redo_length()},
        {"undo_length", client.undo_length()},
        {"redo_data", describe_payload(client.redo(), client.redo_data())},
        {"undo_data", describe_payload(client.undo(), client.undo_data())}};
    fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }

  void print_text(const lfs::RecordView& record, const ondisk::ClientRecordView& client,
                  const Target& target) {
    fmt::print("{:#014x} tx {:#x} {} / {}", record.lsn.raw(), record.transaction_id,
               name_of(client.redo()), name_of(client.undo()));
    if (target.attribute != nullptr) {
      const auto type = static_cast<ondisk::AttributeType>(target.attribute->type_code);
      const std::string& path = paths_.path_of(*target.file_record);
      fmt::print(" file {} {} {}{}{}", *target.file_record, path.empty() ? "(no path)" : path,
                 ondisk::name_of(type), target.attribute->name.empty() ? "" : ":",
                 ondisk::to_display(target.attribute->name));
      fmt::print(" vcn {} record+{:#x} attribute+{:#x}", client.target().target_vcn.raw(),
                 client.target().record_offset, client.target().attribute_offset);
    }
    fmt::print("\n");
    print_payload("redo", client.redo(), client.redo_data());
    print_payload("undo", client.undo(), client.undo_data());
  }

  static void print_payload(std::string_view which, LogOp op, ByteView payload) {
    const std::string text = describe_payload(op, payload);
    if (!text.empty()) fmt::print("    {} {}\n", which, text);
  }

  Volume& volume_;
  const LogOptions& options_;
  PathNames paths_;
  OpenAttributes attributes_;
  Totals totals_;
};

/// Every record from the first that can be read to the end. The first error is returned.
Result<> walk(lfs::LogReader& reader, LogPrinter& printer) {
  const lfs::Lsn first = TRY(reader.first_readable_lsn());
  printer.take(TRY(reader.read(first)));
  for (;;) {
    const auto record = reader.next();
    if (!record && record.error() == NtStatus::EndOfFile) return {};
    if (!record) return record.error();
    printer.take(*record);
  }
}

}  // namespace

std::optional<uint64_t> parse_file_record(const std::string& text) {
  const bool is_hex = text.starts_with("0x");
  const char* begin = text.data() + (is_hex ? 2 : 0);
  const char* end = text.data() + text.size();
  uint64_t value = 0;
  const auto parsed = std::from_chars(begin, end, value, is_hex ? 16 : 10);
  if (parsed.ec != std::errc() || parsed.ptr == begin) return std::nullopt;
  if (parsed.ptr != end && *parsed.ptr != ':') return std::nullopt;
  return FileReference::from_raw(value).record();
}

int run_log(const LogOptions& options) {
  auto volume = open_volume(options.source, View::AsItIs);
  if (!volume) return exit_code_of(volume.error());
  auto reader = lfs::LogReader::open(volume->store->volume().log_store());
  LogPrinter printer(*volume, options);
  if (!reader && reader.error() != NtStatus::EndOfFile) {
    log_line(LogLevel::Error, fmt::format("{}: the log cannot be read: {}", options.source,
                                          reader.error() == NtStatus::NotSupported
                                              ? "its version is later than LFS 2.0"
                                              : "it is damaged; `ntfs-wal info` shows its state"));
    return exit_code_of(reader.error());
  }
  int code = kExitSuccess;
  if (reader) {
    const auto walked = walk(*reader, printer);
    if (!walked && walked.error() != NtStatus::EndOfFile) {
      log_line(LogLevel::Error, fmt::format("{}: the log breaks off here: {}", options.source,
                                            explain(walked.error())));
      code = exit_code_of(walked.error());
    }
  }
  if (options.stats) printer.print_totals();
  return code;
}

}  // namespace ntfs::frontend
