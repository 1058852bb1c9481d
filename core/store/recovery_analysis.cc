#include "core/store/recovery_analysis.h"

#include <fmt/format.h>

#include <algorithm>

namespace ntfs {

using lfs::Lsn;
using ondisk::LogOp;
using ondisk::TransactionState;

namespace {

/// Transactions whose beginning is kept, for the report.
constexpr size_t kLatestCommitted = 256;
/// Entries of a dirty page table, counted in clusters. 64 KiB of table hold fewer.
constexpr size_t kMostDirtyClusters = size_t{1} << 20;

struct FreedRange {  // payload of DeleteDirtyClusters
  le64 lcn;
  le64 count;
};
static_assert(sizeof(FreedRange) == 0x10 && alignof(FreedRange) == 1);

Origin record_origin(Lsn lsn) { return {"log record (its LSN)", 0, lsn.raw()}; }

}  // namespace

NtStatus refuse_recovery(std::string& why_not, NtStatus status, std::string_view reason) {
  why_not = fmt::format(
      "its log is not clean, and cannot be replayed: {}. Nothing was written. Mount it once under "
      "Windows, or look at it as it is with -o ro,norecover",
      reason);
  return status;
}

bool is_known_operation(LogOp op) {
  return op <= LogOp::UpdateRecordDataAllocation || op == LogOp::ZeroEndOfFileRecord;
}

// Tables.

Result<> OpenAttributeTable::open(const ondisk::ClientRecordView& record, Lsn lsn) {
  LoggedAttribute attribute;
  attribute.attribute = TRY(ondisk::OpenAttribute::parse(record.redo_data(), record_origin(lsn)));
  const ByteView name = record.undo_data();
  for (size_t i = 0; i + 1 < name.size(); i += 2) {
    attribute.name.push_back(static_cast<char16_t>(struct_at<le16>(name, i).get()));
  }
  slots_[record.target().target_attribute] = std::move(attribute);
  return {};
}

void OpenAttributeTable::set_name(uint16_t slot, std::u16string name) {
  const auto it = slots_.find(slot);
  if (it != slots_.end()) it->second.name = std::move(name);
}

const LoggedAttribute* OpenAttributeTable::find(uint16_t slot) const {
  const auto it = slots_.find(slot);
  return it == slots_.end() ? nullptr : &it->second;
}

void DeletedClusters::add(Lcn first, ClusterCount count, Lsn lsn) {
  const uint64_t begin = first.raw();
  const uint64_t end = checked_add(begin, count.raw()).value_or(~uint64_t{0});
  if (begin >= end) return;
  // What is there already was freed earlier: the new range takes its place.
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin()) {
    const auto before = std::prev(it);
    const Range old = before->second;
    if (old.end > begin) {
      before->second.end = begin;
      if (before->first == begin) ranges_.erase(before);
      if (old.end > end) ranges_[end] = old;
    }
  }
  while ((it = ranges_.lower_bound(begin)) != ranges_.end() && it->first < end) {
    const Range old = it->second;
    ranges_.erase(it);
    if (old.end > end) ranges_[end] = old;
  }
  ranges_[begin] = {end, lsn};
}

bool DeletedClusters::is_deleted_after(Lcn lcn, Lsn lsn) const {
  const auto it = ranges_.upper_bound(lcn.raw());
  if (it == ranges_.begin()) return false;
  const Range& range = std::prev(it)->second;
  return lcn.raw() < range.end && lsn < range.lsn;
}

std::vector<uint32_t> LogAnalysis::losers() const {
  std::vector<uint32_t> result;
  for (const auto& [id, transaction] : transactions) {
    if (transaction.state == TransactionState::Active && !transaction.undo_next.is_none()) {
      result.push_back(id);
    }
  }
  return result;
}

namespace {

class Analysis {
 public:
  Analysis(lfs::LogReader& reader, std::string& why_not) : reader_(reader), why_not_(why_not) {}

  Result<LogAnalysis> run() {
    result_.end = reader_.last_lsn();
    const Lsn restart_lsn = reader_.restart().client_restart_lsn;
    if (restart_lsn.is_none()) return std::move(result_);
    TRY(load_checkpoint(restart_lsn));
    result_.opened_at_end = result_.opened_at_checkpoint;
    TRY(scan(result_.check_point_start.is_none() ? restart_lsn : result_.check_point_start));
    find_redo_start();
    return std::move(result_);
  }

 private:
  NtStatus refuse(std::string_view what, Lsn lsn, NtStatus status = NtStatus::LogCorrupt) {
    return refuse_recovery(why_not_, status, fmt::format("{} at LSN {:#x}", what, lsn.raw()));
  }
  /// Damage gets words; errors of the device stay what they are.
  NtStatus explain(NtStatus status, std::string_view what, Lsn lsn) {
    const bool is_damage = status == NtStatus::LogCorrupt || status == NtStatus::FileCorruptError ||
                           status == NtStatus::InvalidParameter;
    return is_damage ? refuse(what, lsn) : status;
  }

  Result<> load_checkpoint(Lsn restart_lsn) {
    const auto record = reader_.read(restart_lsn);
    if (!record) return explain(record.error(), "there is no readable checkpoint", restart_lsn);
    if (!record->is_restart()) return refuse("there is no checkpoint", restart_lsn);
    const auto restart =
        ondisk::ClientRestart::parse(record->data, {"client restart record", 0, restart_lsn.raw()});
    if (!restart) return explain(restart.error(), "the checkpoint is damaged", restart_lsn);
    if (restart->major_version > 1) {
      return refuse("the checkpoint has an unknown version", restart_lsn, NtStatus::NotSupported);
    }
    version_ = restart->major_version;
    result_.check_point_start = restart->check_point_start;
    result_.usn_file = restart->usn_file;
    result_.usn_restart_offset = restart->usn_restart_offset;
    TRY(load_open_attributes(restart->open_attributes));
    TRY(load_names(restart->names));
    TRY(load_dirty_pages(restart->dirty_pages));
    return load_transactions(restart->transactions);
  }

  /// The table that a dump record carries; empty when the checkpoint has none.
  Result<ByteView> read_dump(const ondisk::ClientRestart::Dump& dump, LogOp op) {
    if (dump.length_bytes == 0) return ByteView();
    const auto record = reader_.read(dump.lsn);
    if (!record) return explain(record.error(), "a table of the checkpoint is missing", dump.lsn);
    if (!record->is_client()) return refuse("a table of the checkpoint is missing", dump.lsn);
    const auto client =
        ondisk::ClientRecordView::parse(record->data, record->flags, record_origin(dump.lsn));
    if (!client) return explain(client.error(), "a table of the checkpoint is damaged", dump.lsn);
    if (client->redo() != op || client->redo_data().empty()) {
      return refuse("a table of the checkpoint is another one", dump.lsn);
    }
    // To the end of the record: 16 bits do not hold the length of a large table.
    const auto offset = client->redo_data().data() - record->data.data();
    return record->data.subspan(static_cast<size_t>(offset));
  }

  template <typename Take>
  Result<> load_table(const ondisk::ClientRestart::Dump& dump, LogOp op, Take&& take) {
    const ByteView bytes = TRY(read_dump(dump, op));
    if (bytes.empty()) return {};
    const Origin origin{"table of a checkpoint (its LSN)", 0, dump.lsn.raw()};
    const auto table = ondisk::RestartTable::parse(bytes, origin);
    if (!table) return explain(table.error(), "a table of the checkpoint is damaged", dump.lsn);
    for (size_t i = 0; i < table->entry_count(); ++i) {
      const auto entry = table->entry(i);
      if (!entry) continue;
      const Result<> taken = take(*entry, table->offset_of(i), origin);
      if (!taken) return explain(taken.error(), "a table of the checkpoint is damaged", dump.lsn);
    }
    return {};
  }

  Result<> load_open_attributes(const ondisk::ClientRestart::Dump& dump) {
    return load_table(dump, LogOp::OpenAttributeTableDump,
                      [&](ByteView entry, uint32_t offset, const Origin& origin) -> Result<> {
                        if (offset > 0xFFFF) return corrupt(origin, "offset of an entry", offset);
                        result_.opened_at_checkpoint.set(
                            static_cast<uint16_t>(offset),
                            TRY(ondisk::OpenAttribute::parse(entry, origin)));
                        return {};
                      });
  }

  Result<> load_names(const ondisk::ClientRestart::Dump& dump) {
    const ByteView bytes = TRY(read_dump(dump, LogOp::AttributeNamesDump));
    auto names = ondisk::parse_names(bytes, {"table of a checkpoint (its LSN)", 0, dump.lsn.raw()});
    if (!names) return explain(names.error(), "a table of the checkpoint is damaged", dump.lsn);
    for (auto& name : *names) {
      result_.opened_at_checkpoint.set_name(name.slot, std::move(name.name));
    }
    return {};
  }

  Result<> load_dirty_pages(const ondisk::ClientRestart::Dump& dump) {
    return load_table(dump, LogOp::DirtyPageTableDump,
                      [&](ByteView entry, uint32_t, const Origin& origin) -> Result<> {
                        const auto page = TRY(ondisk::DirtyPage::parse(entry, version_, origin));
                        if (page.target_attribute > 0xFFFF) {
                          return corrupt(origin, "target attribute", page.target_attribute);
                        }
                        for (size_t i = 0; i < page.lcns.size(); ++i) {
                          if (result_.dirty.size() >= kMostDirtyClusters)
                            return NtStatus::LogCorrupt;
                          const LogAnalysis::Cluster cluster{
                              static_cast<uint16_t>(page.target_attribute),
                              page.vcn + ClusterCount(i)};
                          // Where a cluster is larger than a page there are several entries.
                          const auto [it, is_new] = result_.dirty.try_emplace(cluster);
                          if (is_new || page.oldest_lsn < it->second.oldest_lsn) {
                            it->second.oldest_lsn = page.oldest_lsn;
                          }
                          it->second.is_freed = page.lcns[i] == Lcn(0);
                        }
                        return {};
                      });
  }

  Result<> load_transactions(const ondisk::ClientRestart::Dump& dump) {
    return load_table(dump, LogOp::TransactionTableDump,
                      [&](ByteView bytes, uint32_t offset, const Origin& origin) -> Result<> {
                        const auto entry = view_as<ondisk::TransactionEntry>(bytes);
                        if (!entry) return corrupt(origin, "entry size", bytes.size());
                        const auto state = static_cast<uint8_t>((*entry)->state);
                        if (state > 3) return corrupt(origin, "transaction state", state);
                        result_.transactions[offset] = {
                            static_cast<TransactionState>(state),
                            Lsn::from_raw((*entry)->first_lsn.get()),
                            Lsn::from_raw((*entry)->undo_next_lsn.get())};
                        return {};
                      });
  }

  /// From the record behind `start` to the end.
  Result<> scan(Lsn start) {
    const auto first = reader_.read(start);
    if (!first) return explain(first.error(), "the record before the checkpoint is missing", start);
    Lsn last = start;
    for (;;) {
      const auto record = reader_.next();
      if (!record && record.error() == NtStatus::EndOfFile) return {};
      if (!record) return explain(record.error(), "the log breaks off behind the record", last);
      last = record->lsn;
      ++result_.records;
      if (record->is_restart()) continue;
      if (!record->is_client()) return refuse("there is a record of an unknown type", last);
      TRY(take(*record));
    }
  }

  Result<> take(const lfs::RecordView& record) {
    const auto parsed =
        ondisk::ClientRecordView::parse(record.data, record.flags, record_origin(record.lsn));
    if (!parsed) return explain(parsed.error(), "there is a damaged record", record.lsn);
    if (first_.is_none()) first_ = record.lsn;
    if (!is_known_operation(parsed->redo()) || !is_known_operation(parsed->undo())) {
      return refuse(
          fmt::format("there is an unknown operation ({:#x}/{:#x})",
                      static_cast<uint16_t>(parsed->redo()), static_cast<uint16_t>(parsed->undo())),
          record.lsn, NtStatus::NotSupported);
    }
    switch (parsed->redo()) {
      case LogOp::OpenAttributeTableDump:
      case LogOp::AttributeNamesDump:
      case LogOp::DirtyPageTableDump:
      case LogOp::TransactionTableDump:
        return {};  // of a checkpoint that was not finished; no transaction's
      case LogOp::DeleteDirtyClusters:
        take_freed_clusters(*parsed, record.lsn);
        break;
      case LogOp::HotFix:
        if (parsed->lcn_count() != 0) {
          result_.moved[{parsed->target().target_attribute, parsed->target().target_vcn}] = {
              record.lsn, parsed->lcn(0)};
        }
        break;
      case LogOp::OpenNonresidentAttribute: {
        const Result<> opened = result_.opened_at_end.open(*parsed, record.lsn);
        if (!opened) return explain(opened.error(), "there is a damaged record", record.lsn);
        break;
      }
      default:
        break;
    }
    return take_transaction(record, *parsed);
  }

  void take_freed_clusters(const ondisk::ClientRecordView& record, Lsn lsn) {
    const ByteView ranges = record.redo_data();
    for (size_t at = 0; at + sizeof(FreedRange) <= ranges.size(); at += sizeof(FreedRange)) {
      const auto& range = struct_at<FreedRange>(ranges, at);
      result_.deleted.add(Lcn(range.lcn.get()), ClusterCount(range.count.get()), lsn);
    }
  }

  Result<> take_transaction(const lfs::RecordView& record, const ondisk::ClientRecordView& client) {
    const uint32_t id = record.transaction_id;
    const uint32_t first_id = ondisk::transaction_id_at(0);
    if (id < first_id || (id - first_id) % sizeof(ondisk::TransactionEntry) != 0) {
      return refuse("there is a record of no transaction", record.lsn);
    }
    const auto [it, is_new] = result_.transactions.try_emplace(id);
    LogAnalysis::Transaction& transaction = it->second;
    if (is_new) transaction.first = record.lsn;
    const bool closes =
        client.undo() == LogOp::CompensationLogRecord || client.redo() == LogOp::EndTopLevelAction;
    transaction.undo_next = closes ? record.undo_next : record.lsn;
    if (client.redo() == LogOp::PrepareTransaction) transaction.state = TransactionState::Prepared;
    if (client.redo() == LogOp::CommitTransaction) transaction.state = TransactionState::Committed;
    if (client.redo() == LogOp::ForgetTransaction) {
      ++result_.committed;
      if (result_.latest_committed.size() == kLatestCommitted) {
        result_.latest_committed.pop_front();
      }
      result_.latest_committed.push_back(transaction.first);
      result_.transactions.erase(it);
    }
    return {};
  }

  void find_redo_start() {
    Lsn start = first_;
    const auto lower = [&](Lsn lsn) {
      if (!lsn.is_none() && (start.is_none() || lsn < start)) start = lsn;
    };
    for (const auto& [cluster, dirty] : result_.dirty) lower(dirty.oldest_lsn);
    for (const auto& [id, transaction] : result_.transactions) lower(transaction.first);
    result_.redo_start = start;
  }

  lfs::LogReader& reader_;
  std::string& why_not_;
  LogAnalysis result_;
  uint32_t version_ = 1;
  Lsn first_;  // client record of the scan
};

}  // namespace

Result<LogAnalysis> analyze_log(lfs::LogReader& reader, std::string& why_not) {
  return Analysis(reader, why_not).run();
}

}  // namespace ntfs
