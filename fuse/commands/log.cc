#include "fuse/commands/log.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/trace.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/log_operations.h"
#include "core/ondisk/utf16.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/log_totals.h"
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

/// The field of $STANDARD_INFORMATION that begins at `offset`; "" between fields.
std::string_view information_field(size_t offset) {
  switch (offset) {
    case offsetof(ondisk::StandardInformation, creation_time):
      return "created";
    case offsetof(ondisk::StandardInformation, last_write_time):
      return "written";
    case offsetof(ondisk::StandardInformation, change_time):
      return "changed";
    case offsetof(ondisk::StandardInformation, last_access_time):
      return "accessed";
    case offsetof(ondisk::StandardInformation, file_attributes):
      return "attributes";
    case offsetof(ondisk::StandardInformation, owner_id):
      return "owner";
    case offsetof(ondisk::StandardInformation, security_id):
      return "security";
    case offsetof(ondisk::StandardInformation, quota_charged):
      return "quota charged";
    case offsetof(ondisk::StandardInformation, usn):
      return "usn";
    default:
      return "";
  }
}

/// Bytes of $STANDARD_INFORMATION from `offset` on, field by field; nothing if they do not begin
/// and end with fields.
std::optional<std::string> describe_information(size_t offset, ByteView bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::string_view field = information_field(offset);
    const bool is_time = offset < offsetof(ondisk::StandardInformation, file_attributes);
    const bool is_long = is_time || offset >= offsetof(ondisk::StandardInformation, quota_charged);
    const size_t length = is_long ? 8 : 4;
    if (bytes.size() < length || offset >= sizeof(ondisk::StandardInformation)) return std::nullopt;
    const uint64_t value = is_long ? struct_at<le64>(bytes).get() : struct_at<le32>(bytes).get();
    if (!field.empty()) {
      text += fmt::format("{}{} ", text.empty() ? "" : "; ", field);
      text +=
          is_time ? format_time(ondisk::FileTime::from_raw(value)) : fmt::format("{:#x}", value);
    }
    bytes = bytes.subspan(length);
    offset += length;
  }
  return text;
}

/// Both payloads of a record in words.
struct Payloads {
  std::string redo;
  std::string undo;
};

class LogPrinter {
 public:
  LogPrinter(OpenedVolume& volume, const lfs::LogReader& reader, const LogOptions& options)
      : volume_(volume.store->volume()),
        options_(options),
        paths_(volume_),
        totals_(reader.geometry()) {
    totals_.take_space(reader);
  }

  void take(const lfs::RecordView& record) {
    if (record.is_restart()) return take_restart(record);
    const auto client = ondisk::ClientRecordView::parse(record.data, record.flags,
                                                        {"log record", 0, record.lsn.raw()});
    if (!client) return;  // reported
    attributes_.learn(*client);
    const Target target = target_of(*client);
    if (!is_wanted(record, target)) return;
    totals_.take(record, *client);
    if (options_.stats) return;
    if (options_.json) {
      print_json(record, *client, target);
    } else {
      print_text(record, *client, target);
    }
  }

  void print_totals() const {
    if (!options_.json) return totals_.print();
    fmt::print("{}\n", totals_.as_json());
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

  /// The type of the attribute that begins at `record_offset` of a file record, as the volume has
  /// it now.
  std::optional<ondisk::AttributeType> attribute_at(uint64_t record, uint16_t record_offset) const {
    const SharedLock lock(volume_.journal().metadata_lock());
    const auto page = volume_.mft().record(record);
    if (!page) return std::nullopt;
    for (const auto attribute : ondisk::FileRecordView::of_valid((*page)->bytes())) {
      if (attribute.offset() == record_offset) return attribute.type();
    }
    return std::nullopt;
  }

  static bool begins_mapping_pairs(const ondisk::ClientRecordView& client) {
    const size_t offset = client.target().attribute_offset;
    return offset == sizeof(ondisk::NonresidentForm) ||
           offset == sizeof(ondisk::NonresidentSparseForm);
  }

  Payloads describe(const ondisk::ClientRecordView& client, const Target& target) const {
    Payloads payloads{describe_payload(client.redo(), client.redo_data()),
                      describe_payload(client.undo(), client.undo_data())};
    if (client.redo() == LogOp::OpenNonresidentAttribute && !client.undo_data().empty()) {
      const std::u16string name = ondisk::utf16_from(client.undo_data());
      payloads.undo = fmt::format("name \"{}\"", ondisk::to_display(name));
    }
    if (client.redo() == LogOp::UpdateMappingPairs && !begins_mapping_pairs(client)) {
      // From the middle of a pair on, perhaps: only its bytes are certain.
      payloads = {describe_payload(LogOp::Noop, client.redo_data()),
                  describe_payload(LogOp::Noop, client.undo_data())};
    }
    if (client.redo() != LogOp::UpdateResidentValue || !target.file_record) return payloads;
    const uint16_t value_at = sizeof(ondisk::ResidentForm);
    const uint16_t offset = client.target().attribute_offset;
    const bool is_information =
        offset >= value_at && attribute_at(*target.file_record, client.target().record_offset) ==
                                  ondisk::AttributeType::StandardInformation;
    if (!is_information) return payloads;
    for (const auto& [bytes, text] : {std::pair(client.redo_data(), &payloads.redo),
                                      std::pair(client.undo_data(), &payloads.undo)}) {
      const auto fields = describe_information(offset - value_at, bytes);
      if (fields) *text = *fields;
    }
    return payloads;
  }

  void take_restart(const lfs::RecordView& record) {
    if (options_.transaction || options_.file_record) return;
    if (options_.from_lsn && record.lsn.raw() < *options_.from_lsn) return;
    totals_.take_restart(record);
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
                                   {"oldest_lsn", restart->oldest_lsn.raw()},
                                   {"open_attributes", dump_as_json(restart->open_attributes)},
                                   {"names", dump_as_json(restart->names)},
                                   {"dirty_pages", dump_as_json(restart->dirty_pages)},
                                   {"transactions", dump_as_json(restart->transactions)}};
      fmt::print("{}\n", line.dump());
      return;
    }
    fmt::print("{:#014x} checkpoint, begun at {:#x}, oldest {:#x}\n", record.lsn.raw(),
               restart->check_point_start.raw(), restart->oldest_lsn.raw());
    print_dump("open attributes", restart->open_attributes);
    print_dump("names", restart->names);
    print_dump("dirty pages", restart->dirty_pages);
    print_dump("transactions", restart->transactions);
  }

  static nlohmann::json dump_as_json(const ondisk::ClientRestart::Dump& dump) {
    return {{"lsn", dump.lsn.raw()}, {"length", dump.length_bytes}};
  }
  static void print_dump(std::string_view which, const ondisk::ClientRestart::Dump& dump) {
    if (dump.length_bytes == 0) return;
    fmt::print("    {} at {:#x}, {} bytes\n", which, dump.lsn.raw(), dump.length_bytes);
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
    const Payloads payloads = describe(client, target);
    const nlohmann::json line = {{"lsn", record.lsn.raw()},
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
                                 {"cluster_block_offset", client.target().cluster_block_offset},
                                 {"record_offset", client.target().record_offset},
                                 {"attribute_offset", client.target().attribute_offset},
                                 {"redo_length", client.redo_length()},
                                 {"undo_length", client.undo_length()},
                                 {"redo_data", payloads.redo},
                                 {"undo_data", payloads.undo}};
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
      // Where in the cluster the record or block, or a value without one, begins.
      fmt::print(" vcn {} cluster+{:#x} record+{:#x} attribute+{:#x}",
                 client.target().target_vcn.raw(), client.target().cluster_block_offset * kLogBlock,
                 client.target().record_offset, client.target().attribute_offset);
    }
    fmt::print("\n");
    const Payloads payloads = describe(client, target);
    if (!payloads.redo.empty()) fmt::print("    redo {}\n", payloads.redo);
    if (!payloads.undo.empty()) fmt::print("    undo {}\n", payloads.undo);
  }

  Volume& volume_;
  const LogOptions& options_;
  PathNames paths_;
  OpenAttributes attributes_;
  LogTotals totals_;
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
  if (!reader && reader.error() != NtStatus::EndOfFile) {
    log_line(LogLevel::Error, fmt::format("{}: the log cannot be read: {}", options.source,
                                          reader.error() == NtStatus::NotSupported
                                              ? "its version is later than LFS 2.0"
                                              : "it is damaged; `ntfs-wal info` shows its state"));
    return exit_code_of(reader.error());
  }
  if (!reader) return kExitSuccess;  // no records to speak of
  LogPrinter printer(*volume, *reader, options);
  int code = kExitSuccess;
  const auto walked = walk(*reader, printer);
  if (!walked && walked.error() != NtStatus::EndOfFile) {
    log_line(LogLevel::Error, fmt::format("{}: the log breaks off here: {}", options.source,
                                          explain(walked.error())));
    code = exit_code_of(walked.error());
  }
  if (options.stats) printer.print_totals();
  return code;
}

}  // namespace ntfs::frontend
