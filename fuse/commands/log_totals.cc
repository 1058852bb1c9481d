#include "fuse/commands/log_totals.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace ntfs::frontend {

using ondisk::LogOp;

void LogTotals::note_lsn(lfs::Lsn lsn) {
  const uint64_t offset = geometry_.offset_of(lsn);
  if (offset < last_offset_) ++count_wraps_;
  last_offset_ = offset;
}

void LogTotals::take(const lfs::RecordView& record, const ondisk::ClientRecordView& client) {
  const uint64_t bytes = record.data.size() + lfs::kRecordHeaderSize;
  ++count_records_;
  bytes_ += bytes;
  Operation& operation = operations_[std::string(name_of(client.redo()))];
  ++operation.count;
  operation.bytes += bytes;

  if (client.redo() == LogOp::ForgetTransaction || client.redo() == LogOp::CommitTransaction) {
    const auto ended = open_.find(record.transaction_id);
    if (ended == open_.end()) return;  // a filler, or begun before the first record here
    note_lsn(record.lsn);
    ++(ended->second.is_rolled_back ? count_rolled_back_ : count_committed_);
    open_.erase(ended);
    return;
  }
  note_lsn(record.lsn);
  const bool is_of_checkpoint = client.redo() >= LogOp::OpenNonresidentAttribute &&
                                client.redo() <= LogOp::TransactionTableDump;
  const bool is_mark = client.redo() == LogOp::Noop && client.undo() == LogOp::Noop;
  if (is_of_checkpoint || is_mark) return;
  Transaction& transaction = open_[record.transaction_id];
  ++transaction.records;
  transaction.is_rolled_back =
      client.undo() == LogOp::CompensationLogRecord && client.redo() != LogOp::Noop;
}

void LogTotals::take_restart(const lfs::RecordView& record) {
  note_lsn(record.lsn);
  ++count_restart_records_;
  bytes_ += record.data.size() + lfs::kRecordHeaderSize;
}

void LogTotals::take_space(const lfs::LogReader& reader) {
  log_bytes_ = geometry_.record_pages() * lfs::kPageSize;
  if (!geometry_.can_hold_record(reader.oldest_lsn())) return;
  const uint64_t from = lfs::LogGeometry::page_of(geometry_.offset_of(reader.oldest_lsn()));
  const uint64_t to = lfs::LogGeometry::page_of(geometry_.offset_of(reader.last_lsn()));
  used_bytes_ = (to + log_bytes_ - from) % log_bytes_ + lfs::kPageSize;
}

std::string LogTotals::as_json() const {
  nlohmann::json operations = nlohmann::json::object();
  nlohmann::json bytes = nlohmann::json::object();
  for (const auto& [name, operation] : operations_) {
    operations[name] = operation.count;
    bytes[name] = operation.bytes;
  }
  nlohmann::json open = nlohmann::json::array();
  for (const auto& [id, transaction] : open_) {
    open.push_back({{"transaction", id}, {"records", transaction.records}});
  }
  const nlohmann::json told = {
      {"records", count_records_},
      {"restart_records", count_restart_records_},
      {"bytes", bytes_},
      {"transactions", count_committed_ + count_rolled_back_ + open_.size()},
      {"committed", count_committed_},
      {"rolled_back", count_rolled_back_},
      {"open", open},
      {"wraps", count_wraps_},
      {"space", {{"size", log_bytes_}, {"used", used_bytes_}, {"free", log_bytes_ - used_bytes_}}},
      {"operations", operations},
      {"operation_bytes", bytes}};
  return told.dump();
}

void LogTotals::print() const {
  fmt::print("{} records, {} checkpoints, {} bytes, {} wraps\n", count_records_,
             count_restart_records_, bytes_, count_wraps_);
  fmt::print("{} transactions: {} committed, {} rolled back, {} open at the end\n",
             count_committed_ + count_rolled_back_ + open_.size(), count_committed_,
             count_rolled_back_, open_.size());
  for (const auto& [id, transaction] : open_) {
    fmt::print("  open: {:#x} with {} records\n", id, transaction.records);
  }
  fmt::print("{} of {} bytes of record pages are needed, {} are free\n", used_bytes_, log_bytes_,
             log_bytes_ - used_bytes_);
  for (const auto& [name, operation] : operations_) {
    fmt::print("{:>10} {:>12} bytes {}\n", operation.count, operation.bytes, name);
  }
}

}  // namespace ntfs::frontend
