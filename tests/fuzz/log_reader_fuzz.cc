// libFuzzer target: any log file through lfs::LogReader, and what it finds through the parsers of
// client records. Beyond what the sanitizers see: records come in rising order, each one once, and
// a walk ends.

#include <cstdint>

#include "core/ondisk/log_operations.h"
#include "lfs/log_file.h"
#include "lfs/log_reader.h"
#include "tests/fuzz/log_image.h"

namespace ntfs {
namespace {

using ondisk::LogOp;

constexpr Origin kOrigin{"fuzzed log", 0, 0};

void parse_payload(LogOp op, ByteView payload) {
  ondisk::describe_payload(op, payload);
  if (const auto table = ondisk::RestartTable::parse(payload, kOrigin)) {
    for (size_t i = 0; i < table->entry_count(); ++i) {
      const auto entry = table->entry(i);
      if (!entry) continue;
      (void)ondisk::OpenAttribute::parse(*entry, kOrigin);
      (void)ondisk::DirtyPage::parse(*entry, 0, kOrigin);
      (void)ondisk::DirtyPage::parse(*entry, 1, kOrigin);
    }
  }
  (void)ondisk::parse_names(payload, kOrigin);
  (void)ondisk::OpenAttribute::parse(payload, kOrigin);
  (void)ondisk::NewAttributeSizes::parse(payload, kOrigin);
  (void)ondisk::BitRange::parse(payload, kOrigin);
}

void parse_record(const lfs::RecordView& record) {
  if (record.is_restart()) (void)ondisk::ClientRestart::parse(record.data, kOrigin);
  const auto client = ondisk::ClientRecordView::parse(record.data, record.flags, kOrigin);
  if (!client) return;
  for (size_t i = 0; i < client->lcn_count(); ++i) (void)client->lcn(i);
  parse_payload(client->redo(), client->redo_data());
  parse_payload(client->undo(), client->undo_data());
}

/// Every record from the first on; some of their links are followed.
void walk(lfs::LogReader& reader, uint64_t log_bytes) {
  const auto first = reader.first_readable_lsn();
  if (!first) return;
  std::vector<lfs::Lsn> links;
  lfs::Lsn before;
  uint64_t count = 0;
  for (auto record = reader.read(*first); record; record = reader.next()) {
    ASSERT(record->lsn > before);
    ASSERT(++count <= log_bytes / lfs::kRecordHeaderSize);
    before = record->lsn;
    if (count % 16 == 0) links.insert(links.end(), {record->previous, record->undo_next});
    parse_record(*record);
  }
  for (const lfs::Lsn link : links) {
    const auto record = reader.read(link);
    ASSERT(!record || record->lsn == link);
  }
}

/// The whole log; then from the oldest record on, as recovery does, and in no order.
void read_all(lfs::LogReader& reader, ByteView log) {
  walk(reader, log.size());
  for (auto record = reader.read(reader.oldest_lsn()); record; record = reader.next()) {
    ASSERT(record->lsn >= reader.oldest_lsn() && record->lsn <= reader.last_lsn());
  }
  for (size_t i = 0; i < 256; i += 8) {
    const uint64_t raw = struct_at<le64>(log, i).get();
    (void)reader.read(lfs::Lsn::from_raw(raw));
    (void)reader.read(lfs::Lsn::from_raw(reader.last_lsn().raw() - raw % 4096));
  }
}

}  // namespace
}  // namespace ntfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ntfs::ByteVector log =
      ntfs::fuzz::decode_log({reinterpret_cast<const std::byte*>(data), size});
  ntfs::fuzz::ReadOnlyLogStore store(log);
  (void)ntfs::lfs::LogFile::inspect(store);
  auto reader = ntfs::lfs::LogReader::open(store);
  if (reader) ntfs::read_all(*reader, log);
  return 0;
}
