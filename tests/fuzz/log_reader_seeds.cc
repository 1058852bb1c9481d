// Writes the seeds of log_reader_fuzz into the folder named: small logs of every kind.

#include <fmt/format.h>

#include <fstream>
#include <random>

#include "core/ondisk/log_operations.h"
#include "lfs/log_file.h"
#include "tests/fuzz/log_image.h"

namespace ntfs {
namespace {

using ondisk::ClientRecord;
using ondisk::LogOp;

class MemoryLog final : public lfs::LogStore {
 public:
  explicit MemoryLog(uint64_t size_bytes) : bytes(size_bytes, std::byte{0xFF}) {}
  uint64_t size_bytes() const override { return bytes.size(); }
  Result<> read(uint64_t offset, MutableBytes into) override {
    std::memcpy(into.data(), bytes.data() + offset, into.size());
    return {};
  }
  Result<> write_durable(std::span<const lfs::LogWrite> writes) override {
    for (const lfs::LogWrite& write : writes) {
      std::memcpy(bytes.data() + write.offset, write.bytes.data(), write.bytes.size());
    }
    return {};
  }
  ByteVector bytes;
};

/// A payload as `op` has it, or some bytes.
ByteVector payload_of(LogOp op, std::mt19937& random) {
  switch (op) {
    case LogOp::SetNewAttributeSizes:
      return ondisk::NewAttributeSizes{4096, 100, 200, 4096}.encode();
    case LogOp::SetBitsInNonresidentBitMap:
    case LogOp::ClearBitsInNonresidentBitMap: {
      const auto bits = ondisk::BitRange{7, 3}.encode();
      return {bits.begin(), bits.end()};
    }
    case LogOp::OpenNonresidentAttribute: {
      const auto entry = ondisk::OpenAttribute{FileReference(5, 5), 0xA0, 4096, {}}.encode();
      return {entry.begin(), entry.end()};
    }
    case LogOp::OpenAttributeTableDump: {
      const std::array<std::optional<ondisk::OpenAttribute>, 3> slots = {
          ondisk::OpenAttribute{FileReference(0, 1), 0x80, 0, {}}, std::nullopt,
          ondisk::OpenAttribute{FileReference(5, 5), 0xA0, 4096, {}}};
      return ondisk::encode_open_attributes(slots);
    }
    case LogOp::AttributeNamesDump: {
      const std::array<ondisk::OpenAttributeName, 1> names = {
          ondisk::OpenAttributeName{ondisk::slot_offset(2), u"$I30"}};
      return ondisk::encode_names(names);
    }
    case LogOp::DirtyPageTableDump:
    case LogOp::TransactionTableDump: {
      const ByteVector entry(0x28, std::byte{0x18});
      const std::array<ByteView, 2> slots = {entry, ByteView()};
      return ondisk::encode_restart_table(0x28, slots);
    }
    default: {
      ByteVector bytes(random() % 200);
      for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
      return bytes;
    }
  }
}

void append(lfs::LogFile& log, LogOp op, std::mt19937& random, lfs::Lsn& previous) {
  const ByteVector redo = payload_of(op, random);
  const ByteVector undo = random() % 2 == 0 ? redo : payload_of(LogOp::Noop, random);
  const Lcn lcn(random() % 1000);
  ClientRecord client;
  client.redo = op;
  client.undo = static_cast<LogOp>(random() % 0x26);
  client.target.target_attribute = ondisk::slot_offset(random() % 3);
  client.lcns = {&lcn, 1};
  client.redo_data = redo;
  client.undo_data = undo;
  const ByteVector encoded = encode(client);
  const ByteView part = encoded;
  lfs::Record record;
  record.transaction_id = ondisk::transaction_id_at(random() % 3);
  record.previous = record.undo_next = previous;
  record.parts = {&part, 1};
  previous = log.execute(0, &record, {}).value().lsn;
}

/// A log of ours after `rounds` of work; every record may spill, all operations come up.
ByteVector busy_log(uint64_t pages, unsigned rounds, bool closes) {
  std::mt19937 random(rounds);
  MemoryLog store(pages * lfs::kPageSize);
  ondisk::ClientRestart restart;
  restart.bytes_per_cluster = 4096;
  const auto restart_bytes = restart.encode();
  const ByteVector filler = ondisk::filler_record();
  lfs::LogStart how;
  how.restart_record = restart_bytes;
  how.filler = filler;
  how.filler_transaction_id = ondisk::kFillerTransaction;
  auto log = lfs::LogFile::start(store, how).value();
  lfs::Lsn previous;
  for (unsigned round = 0; round < rounds; ++round) {
    append(*log, static_cast<LogOp>(round % 0x26), random, previous);
    if (round % 7 == 0) (void)log->flush_to(log->last_lsn());
    if (log->used_bytes() > log->capacity_bytes() / 2) {
      const ByteView part = restart_bytes;
      (void)log->write_restart(0, {&part, 1}, log->last_lsn(), {});
    }
  }
  (void)log->flush_to(log->last_lsn());
  if (closes) (void)log->close(restart_bytes);
  return store.bytes;
}

/// A log of LFS 2.0: two pages in place, the last one as a pair of fast pages.
ByteVector fast_log() {
  constexpr uint64_t kPages = 52;
  MemoryLog store(kPages * lfs::kPageSize);
  const uint64_t first = lfs::kFirstRecordOffset2;
  const auto shape = lfs::LogGeometry::for_new_log(store.size_bytes()).value();
  const auto geometry =
      lfs::LogGeometry::from_disk(store.size_bytes(), shape.sequence_number_bits(), first).value();
  lfs::RestartPage restart;
  restart.major_version = restart.minor_version = 1;
  restart.has_client = true;
  restart.current_lsn = restart.oldest_lsn = restart.client_restart_lsn =
      geometry.lsn_at(3, first + lfs::kPageDataOffset);
  restart.file_size = store.size_bytes();
  restart.sequence_number_bits = shape.sequence_number_bits();
  for (const uint64_t page : {0, 1}) {
    const MutableBytes bytes =
        MutableBytes(store.bytes).subspan(page * lfs::kPageSize, lfs::kPageSize);
    restart.serialize(bytes);
    (void)try_unprotect(bytes);
    auto& header = struct_at<lfs::RestartPageHeader>(bytes);
    header.major_version.set(2);
    header.minor_version.set(0);
    protect(bytes);
  }
  const auto client = ondisk::filler_record();
  const auto write_page = [&](uint64_t place, uint64_t target, size_t records) {
    const MutableBytes bytes = MutableBytes(store.bytes).subspan(place, lfs::kPageSize);
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    auto& page = struct_at<lfs::RecordPageHeader>(bytes);
    page.header.signature = {'R', 'C', 'R', 'D'};
    page.header.update_sequence_array_offset.set(0x28);
    page.header.update_sequence_array_count.set(9);
    page.page_count.set(1);
    page.page_position.set(1);
    page.flags.set(lfs::kPageRecordEnd);
    if (place != target) page.copy_of_offset.set(static_cast<uint32_t>(target));
    uint64_t at = lfs::kPageDataOffset;
    for (size_t i = 0; i < records; ++i) {
      const uint64_t lsn = geometry.lsn_at(3, target + at).raw();
      auto& header = struct_at<lfs::RecordHeader>(bytes, at);
      header.this_lsn.set(lsn);
      header.client_data_length.set(static_cast<uint32_t>(client.size()));
      header.record_type.set(1);
      header.transaction_id.set(ondisk::kFillerTransaction);
      std::memcpy(bytes.data() + at + lfs::kRecordHeaderSize, client.data(), client.size());
      at += lfs::kRecordHeaderSize + client.size();
      page.last_lsn.set(lsn);
      page.last_end_lsn.set(lsn);
    }
    page.next_record_offset.set(static_cast<uint16_t>(at));
    protect(bytes);
  };
  const size_t full = lfs::kPageDataSize / (lfs::kRecordHeaderSize + client.size());
  write_page(first, first, full);
  write_page(first + lfs::kPageSize, first + lfs::kPageSize, full);
  write_page(lfs::kFastPageOffset, first + 2 * lfs::kPageSize, 3);
  write_page(lfs::kFastPageOffset + lfs::kFastPairs * lfs::kPageSize, first + 2 * lfs::kPageSize,
             4);
  return store.bytes;
}

bool write_seed(const std::string& folder, std::string_view name, ByteView log) {
  const ByteVector image = fuzz::encode_log(log);
  std::ofstream file(fmt::format("{}/{}", folder, name), std::ios::binary);
  file.write(reinterpret_cast<const char*>(image.data()),
             static_cast<std::streamsize>(image.size()));
  return file.good();
}

}  // namespace
}  // namespace ntfs

int main(int count, char** words) {
  if (count != 2) {
    fmt::print(stderr, "usage: log_reader_seeds FOLDER\n");
    return 64;
  }
  const std::string folder = words[1];
  bool good = ntfs::write_seed(folder, "empty", ntfs::ByteVector(52 * 4096, std::byte{0xFF}));
  good = ntfs::write_seed(folder, "small", ntfs::busy_log(52, 40, false)) && good;
  good = ntfs::write_seed(folder, "closed", ntfs::busy_log(52, 60, true)) && good;
  good = ntfs::write_seed(folder, "pages", ntfs::busy_log(64, 200, false)) && good;
  good = ntfs::write_seed(folder, "wrapped", ntfs::busy_log(52, 1500, false)) && good;
  good = ntfs::write_seed(folder, "fast", ntfs::fast_log()) && good;
  return good ? 0 : 1;
}
