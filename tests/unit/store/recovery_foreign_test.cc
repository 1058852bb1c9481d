// Recovery of logs that others write: forms and operations that this driver never logs, made by
// hand, and volumes of Windows whose right answer is known.

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <random>

#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/store/operations.h"
#include "core/store/recovered_pages.h"
#include "core/store/recovery_analysis.h"
#include "lfs/log_file.h"
#include "tests/unit/check/sample_volumes.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs {
namespace {

using lfs::Lsn;
using ondisk::FileRecordView;
using ondisk::LogOp;
using ondisk::test::QuietReports;
using testing::CrashedLog;
using testing::geometry_of;
using testing::MemoryDevice;
using testing::mount;
using testing::recover;

constexpr uint32_t kFirst = ondisk::transaction_id_at(0);
constexpr uint32_t kSecond = ondisk::transaction_id_at(1);
constexpr uint16_t kMftSlot = ondisk::slot_offset(0);
constexpr uint16_t kBitmapSlot = ondisk::slot_offset(1);

struct Step {
  LogOp redo = LogOp::Noop;
  LogOp undo = LogOp::Noop;
  uint16_t record_offset = 0;
  uint16_t attribute_offset = 0;
  ByteView redo_data{};
  ByteView undo_data{};
};

/// A volume with the file "file" (16 bytes, resident), unmounted, and then a log of one's own.
class ForeignLog {
 public:
  ForeignLog() : device_(testing::make_volume(16 << 20, 4096)) {
    const auto store = mount(*device_);
    CreateParameters parameters;
    const FilePtr file = *store->create(*store->root(), u"file", parameters);
    EXPECT_TRUE(
        store->write(*file, 0, text_bytes("sixteen letters!"), ObjectStore::Buffering::Buffered));
    record_ = file->reference().record();
    EXPECT_TRUE(store->dismount());
    geometry_ = geometry_of(*device_);
    store_ = std::move(*find_log(*device_, geometry_));
    ondisk::ClientRestart restart;
    restart.bytes_per_cluster = geometry_.cluster_size;
    const auto bytes = restart.encode();
    const ByteVector filler = ondisk::filler_record();
    lfs::LogStart start;
    start.restart_record = bytes;
    start.filler = filler;
    start.filler_transaction_id = ondisk::kFillerTransaction;
    log_ = std::move(*lfs::LogFile::start(*store_, start));
    open(kMftSlot, FileReference(ondisk::kMftRecord, 1), ondisk::AttributeType::Data);
    open(kBitmapSlot, FileReference(ondisk::kBitmapRecord, 6), ondisk::AttributeType::Data);
    before_ = record();
  }

  MemoryDevice& device() { return *device_; }
  const ondisk::VolumeGeometry& geometry() const { return geometry_; }
  lfs::LogFile& log() { return *log_; }
  uint64_t record_number() const { return record_; }
  /// The file's record as it was.
  const ByteVector& before() const { return before_; }
  uint16_t data_offset() const {
    return static_cast<uint16_t>(
        FileRecordView::of_valid(before_).find(ondisk::AttributeType::Data)->offset());
  }
  Lsn last_of(uint32_t transaction) const { return last_.at(transaction); }

  Lsn append(uint32_t transaction, const ondisk::ClientRecord& record) {
    return append(transaction, record, last_[transaction]);
  }
  Lsn append(uint32_t transaction, const ondisk::ClientRecord& record, Lsn undo_next) {
    const ByteVector data = ondisk::encode(record);
    const ByteView part = data;
    Lsn& last = last_[transaction];
    const lfs::Record client = {transaction, last, undo_next, {&part, 1}};
    last = log_->execute(0, &client, {}).value().lsn;
    return last;
  }
  /// A change of the file record `number`.
  Lsn change(uint32_t transaction, const Step& step, uint64_t number) {
    ondisk::ClientRecord record = place_of(number, lcn_);
    fill(record, step);
    return append(transaction, record);
  }
  Lsn change(uint32_t transaction, const Step& step) { return change(transaction, step, record_); }
  /// A change of bytes or bits in the cluster `lcn`, which is `vcn` of $Bitmap.
  Lsn change_raw(uint32_t transaction, const Step& step, Lcn lcn, Vcn vcn) {
    ondisk::ClientRecord record;
    lcn_ = lcn;
    record.lcns = {&lcn_, 1};
    record.target.target_attribute = kBitmapSlot;
    record.target.target_vcn = vcn;
    fill(record, step);
    return append(transaction, record);
  }
  void end(uint32_t transaction) {
    ondisk::ClientRecord record;
    record.redo = LogOp::ForgetTransaction;
    record.undo = LogOp::CompensationLogRecord;
    record.target.target_attribute = kMftSlot;
    append(transaction, record, Lsn());
    last_.erase(transaction);
  }
  void open(uint16_t slot, FileReference file, ondisk::AttributeType type) {
    ondisk::OpenAttribute attribute;
    attribute.file = file;
    attribute.type_code = static_cast<uint32_t>(type);
    const auto entry = attribute.encode();
    ondisk::ClientRecord record;
    record.redo = LogOp::OpenNonresidentAttribute;
    record.target.target_attribute = slot;
    record.redo_data = entry;
    append(kFirst, record);
    end(kFirst);
  }
  void flush() { EXPECT_TRUE(log_->flush_to(log_->last_lsn())); }
  /// Changes a link of a record that is in the log already, which no writer does.
  void set_undo_next(Lsn lsn, Lsn undo_next) {
    flush();
    AlignedBuffer bytes(store_->size_bytes());
    ASSERT_TRUE(store_->read(0, bytes.bytes()));
    size_t count = 0;
    for (uint64_t at = 0; at + sizeof(lfs::RecordHeader) <= bytes.size(); at += 8) {
      auto& header = struct_at<lfs::RecordHeader>(bytes.bytes(), at);
      if (header.this_lsn.get() != lsn.raw() || header.client_data_length.get() == 0) continue;
      header.client_undo_next_lsn.set(undo_next.raw());
      ++count;
    }
    EXPECT_GT(count, 0u);
    const lfs::LogWrite write{0, bytes.bytes()};
    ASSERT_TRUE(store_->write_durable({&write, 1}));
  }

  /// Replays in memory; on success the file's record as it will be.
  Result<> replay() {
    flush();
    why_not_.clear();
    recovery_ = TRY(Recovery::replay(*device_, geometry_, why_not_));
    return {};
  }
  const RecoveryReport& report() const { return recovery_->report(); }
  const std::string& why_not() const { return why_not_; }
  /// The file's record, and a cluster, as recovery makes them.
  ByteVector record() { return record(record_); }
  ByteVector record(uint64_t number) {
    OverlayDevice view(*device_, recovery_ ? recovery_->patches() : std::span<const DevicePatch>());
    RecoveredPages pages(view, geometry_, Lsn(), 0);
    const uint64_t size = geometry_.file_record_size;
    const uint64_t place = geometry_.mft_lcn.raw() * geometry_.cluster_size + number * size;
    const auto page = pages.get({PageKind::FileRecord, {{place, size}}, number});
    return page && (*page)->is_usable ? (*page)->bytes : ByteVector();
  }
  ByteVector cluster(Lcn lcn) {
    OverlayDevice view(*device_, recovery_ ? recovery_->patches() : std::span<const DevicePatch>());
    AlignedBuffer bytes(geometry_.cluster_size);
    EXPECT_TRUE(view.read(lcn.raw() * geometry_.cluster_size, bytes.bytes()));
    return {bytes.bytes().begin(), bytes.bytes().end()};
  }
  std::string data() {
    const ByteVector bytes = record();
    if (bytes.empty()) return "(damaged)";
    const auto view = FileRecordView::of_valid(bytes);
    if (!view.in_use()) return "(free)";
    const auto attribute = view.find(ondisk::AttributeType::Data);
    return attribute ? std::string(as_text(attribute->value())) : "(no data)";
  }

  /// A log record about the file record `number`, without its operation. `lcn` has to outlive it.
  ondisk::ClientRecord place_of(uint64_t number, Lcn& lcn) const {
    const uint64_t position = number * geometry_.file_record_size;
    const uint64_t cluster = geometry_.cluster_size;
    ondisk::ClientRecord record;
    lcn = geometry_.mft_lcn + ClusterCount(position / cluster);
    record.lcns = {&lcn, 1};
    record.target.target_attribute = kMftSlot;
    record.target.target_vcn = Vcn(position / cluster);
    record.target.cluster_block_offset = static_cast<uint16_t>(position % cluster / 512);
    return record;
  }

 private:
  static void fill(ondisk::ClientRecord& record, const Step& step) {
    record.redo = step.redo;
    record.undo = step.undo;
    record.target.record_offset = step.record_offset;
    record.target.attribute_offset = step.attribute_offset;
    record.redo_data = step.redo_data;
    record.undo_data = step.undo_data;
  }

  std::unique_ptr<MemoryDevice> device_;
  ondisk::VolumeGeometry geometry_;
  std::unique_ptr<LogStoreOnVolume> store_;
  std::unique_ptr<lfs::LogFile> log_;
  std::map<uint32_t, Lsn> last_;
  uint64_t record_ = 0;
  Lcn lcn_;
  ByteVector before_;
  std::unique_ptr<Recovery> recovery_;
  std::string why_not_;
};

/// Resident $DATA: the value begins behind the header.
constexpr uint16_t kValue = 0x18;

Step update(const ForeignLog& log, uint16_t at, std::string_view redo, std::string_view undo) {
  return {LogOp::UpdateResidentValue,         LogOp::UpdateResidentValue, log.data_offset(),
          static_cast<uint16_t>(kValue + at), text_bytes(redo),           text_bytes(undo)};
}

TEST(RecoveryForeign, AValueGrowsShrinksAndIsOverwritten) {
  ForeignLog log;
  log.change(kFirst, update(log, 16, " and more than there was room for", ""));
  log.change(kFirst, update(log, 0, "SIX", "six"));
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "SIXteen letters! and more than there was room for");
  log.change(kFirst, update(log, 3, "", "teen letters! and more than there was room for"));
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "SIX");
  EXPECT_EQ(log.report().transactions_committed, 4u);
}

TEST(RecoveryForeign, AValueThatGrewIsTakenBack) {
  ForeignLog log;
  log.change(kFirst, update(log, 16, " and more than there was room for", ""));
  log.change(kFirst, update(log, 20, "", " more than there was room for"));
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "sixteen letters!");
  EXPECT_EQ(log.report().records_undone, 2u);
  EXPECT_EQ(log.report().transactions_undone, 1u);
}

TEST(RecoveryForeign, OfTwoTransactionsOnlyTheOneThatDidNotEndIsTakenBack) {
  ForeignLog log;
  log.change(kFirst, update(log, 0, "A", "s"));
  log.change(kSecond, update(log, 1, "B", "i"));
  log.change(kFirst, update(log, 2, "C", "x"));
  log.change(kSecond, update(log, 3, "D", "t"));
  log.end(kSecond);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "sBxDeen letters!");
}

TEST(RecoveryForeign, WhatWasTakenBackBeforeTheCrashIsNotTakenBackAgain) {
  ForeignLog log;
  const Lsn first = log.change(kFirst, update(log, 0, "A", "s"));
  log.change(kFirst, update(log, 0, "B", "A"));
  // The rollback of B had begun: its record says what is next.
  Lcn lcn;
  ondisk::ClientRecord compensation = log.place_of(log.record_number(), lcn);
  compensation.redo = LogOp::UpdateResidentValue;
  compensation.undo = LogOp::CompensationLogRecord;
  compensation.target.record_offset = log.data_offset();
  compensation.target.attribute_offset = kValue;
  compensation.redo_data = compensation.undo_data = text_bytes("A");
  log.append(kFirst, compensation, first);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "sixteen letters!");
  EXPECT_EQ(log.report().records_undone, 1u);
}

TEST(RecoveryForeign, PreparedAndCommittedTransactionsStay) {
  for (const LogOp state : {LogOp::PrepareTransaction, LogOp::CommitTransaction}) {
    ForeignLog log;
    log.change(kFirst, update(log, 0, "A", "s"));
    ondisk::ClientRecord record;
    record.redo = state;
    record.target.target_attribute = kMftSlot;
    log.append(kFirst, record);
    ASSERT_TRUE(log.replay()) << log.why_not();
    EXPECT_EQ(log.data(), "Aixteen letters!");
  }
}

TEST(RecoveryForeign, ANestedTopActionStays) {
  ForeignLog log;
  const Lsn before = log.change(kFirst, update(log, 0, "A", "s"));
  log.change(kFirst, update(log, 1, "B", "i"));
  ondisk::ClientRecord record;
  record.redo = LogOp::EndTopLevelAction;
  record.target.target_attribute = kMftSlot;
  log.append(kFirst, record, before);
  log.change(kFirst, update(log, 2, "C", "x"));
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "sBxteen letters!");
}

TEST(RecoveryForeign, AFreedRecordComesBackFromItsHeadAlone) {
  ForeignLog log;
  const ByteView image(log.before());
  log.change(kFirst, {LogOp::DeallocateFileRecordSegment,
                      LogOp::InitializeFileRecordSegment,
                      0,
                      0,
                      {},
                      image.first(24)});
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "sixteen letters!");
  EXPECT_EQ(FileRecordView::of_valid(log.record()).sequence(),
            FileRecordView::of_valid(log.before()).sequence());
}

TEST(RecoveryForeign, AFreedRecordThatIsTornIsTakenFromTheLog) {
  ForeignLog log;
  const ByteView image(log.before());
  const uint64_t place = log.geometry().mft_lcn.raw() * log.geometry().cluster_size +
                         log.record_number() * log.geometry().file_record_size;
  AlignedBuffer spoilt(4096);
  ASSERT_TRUE(log.device().read(place, spoilt.bytes().first(512)));
  spoilt.data()[510] ^= std::byte{1};
  ASSERT_TRUE(log.device().write(place, spoilt.bytes().first(512)));
  const uint32_t used = FileRecordView::of_valid(image).used_bytes();
  log.change(kFirst, {LogOp::DeallocateFileRecordSegment,
                      LogOp::InitializeFileRecordSegment,
                      0,
                      0,
                      {},
                      image.first(used)});
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "(free)");
}

TEST(RecoveryForeign, ATornRecordWithoutAnImageIsAnErrorThatSaysWhere) {
  const QuietReports quiet;
  ForeignLog log;
  const uint64_t place = log.geometry().mft_lcn.raw() * log.geometry().cluster_size +
                         log.record_number() * log.geometry().file_record_size;
  AlignedBuffer spoilt(4096);
  ASSERT_TRUE(log.device().read(place, spoilt.bytes().first(512)));
  spoilt.data()[510] ^= std::byte{1};
  ASSERT_TRUE(log.device().write(place, spoilt.bytes().first(512)));
  log.change(kFirst, update(log, 0, "A", "s"));
  log.end(kFirst);
  EXPECT_EQ(log.replay().error(), NtStatus::FileCorruptError);
  EXPECT_NE(log.why_not().find("file record " + std::to_string(log.record_number())),
            std::string::npos)
      << log.why_not();
}

TEST(RecoveryForeign, WhatThePageShowsAlreadyIsNotDoneAgain) {
  ForeignLog log;
  const Lsn lsn = log.change(kFirst, update(log, 0, "A", "s"));
  log.end(kFirst);
  log.flush();
  // The page reached the device before the crash, with a change that the log does not hold.
  ByteVector page = log.before();
  auto& header = struct_at<ondisk::FileRecordHeader>(MutableBytes(page));
  header.lsn.set(lsn.raw());
  page[size_t{log.data_offset()} + kValue] = std::byte{'Z'};
  protect(page);
  AlignedBuffer buffer(4096);
  std::copy(page.begin(), page.end(), buffer.data());
  const uint64_t place = log.geometry().mft_lcn.raw() * log.geometry().cluster_size +
                         log.record_number() * page.size();
  ASSERT_TRUE(log.device().write(place, buffer.bytes().first(page.size())));
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "Zixteen letters!");
  EXPECT_EQ(log.report().records_redone, 0u);
}

TEST(RecoveryForeign, TheEndOfARecordIsZeroed) {
  ForeignLog log;
  const uint32_t used = FileRecordView::of_valid(log.before()).used_bytes();
  const ByteVector zeros(64);
  log.change(kFirst,
             {LogOp::ZeroEndOfFileRecord, LogOp::Noop, static_cast<uint16_t>(used), 0, zeros, {}});
  log.change(kFirst, update(log, 0, "A", "s"));
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "Aixteen letters!");
}

TEST(RecoveryForeign, ClustersThatWereFreedAreLeftToWhoHasThemNow) {
  ForeignLog log;
  const Lcn lcn(log.geometry().total_clusters - 5);
  const Lcn other(log.geometry().total_clusters - 4);
  const ByteVector old = log.cluster(lcn);
  const Step step{LogOp::UpdateNonresidentValue, LogOp::Noop, 8, 0, text_bytes("metadata"), {}};
  log.change_raw(kFirst, step, lcn, Vcn(0));
  log.change_raw(kFirst, step, other, Vcn(1));
  std::array<le64, 2> range{le64::of(lcn.raw()), le64::of(1)};
  ondisk::ClientRecord freed;
  freed.redo = LogOp::DeleteDirtyClusters;
  freed.redo_data = ByteView(reinterpret_cast<const std::byte*>(range.data()), sizeof(range));
  log.append(kFirst, freed);
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.cluster(lcn), old);
  EXPECT_EQ(as_text(ByteView(log.cluster(other)).subspan(8, 8)), "metadata");
  // Whoever has the cluster next logs it anew.
  log.change_raw(kFirst, step, lcn, Vcn(2));
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(as_text(ByteView(log.cluster(lcn)).subspan(8, 8)), "metadata");
}

TEST(RecoveryForeign, AClusterThatMovedIsChangedWhereItIsNow) {
  ForeignLog log;
  const Lcn bad(log.geometry().total_clusters - 5);
  Lcn good(log.geometry().total_clusters - 4);
  const ByteVector old = log.cluster(bad);
  const Step step{LogOp::UpdateNonresidentValue, LogOp::Noop, 8, 0, text_bytes("metadata"), {}};
  log.change_raw(kFirst, step, bad, Vcn(0));
  ondisk::ClientRecord fix;
  fix.redo = LogOp::HotFix;
  fix.target.target_attribute = kBitmapSlot;
  fix.lcns = {&good, 1};
  log.append(kFirst, fix);
  log.end(kFirst);
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.cluster(bad), old);
  EXPECT_EQ(as_text(ByteView(log.cluster(good)).subspan(8, 8)), "metadata");
}

TEST(RecoveryForeign, BitsAreSetAndClearedWhereverTheyAre) {
  ForeignLog log;
  const Lcn lcn(log.geometry().total_clusters - 5);
  const auto set = encode_bit_range(13, 4000);
  const auto clear = encode_bit_range(100, 8);
  const auto lost = encode_bit_range(5000, 9);
  log.change_raw(
      kFirst,
      {LogOp::SetBitsInNonresidentBitMap, LogOp::ClearBitsInNonresidentBitMap, 0, 0, set, set}, lcn,
      Vcn(0));
  log.change_raw(
      kFirst,
      {LogOp::ClearBitsInNonresidentBitMap, LogOp::SetBitsInNonresidentBitMap, 0, 0, clear, clear},
      lcn, Vcn(0));
  log.end(kFirst);
  log.change_raw(
      kFirst,
      {LogOp::SetBitsInNonresidentBitMap, LogOp::ClearBitsInNonresidentBitMap, 0, 0, lost, lost},
      lcn, Vcn(0));
  ASSERT_TRUE(log.replay()) << log.why_not();
  const ByteVector bytes = log.cluster(lcn);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const bool expected = bit >= 13 && bit < 4013 && (bit < 100 || bit >= 108);
    const bool found = ((bytes[bit / 8] >> (bit % 8)) & std::byte{1}) != std::byte{0};
    ASSERT_EQ(found, expected) << bit;
  }
}

// Checkpoints with tables.

/// A checkpoint as others take them: with transactions open and pages dirty.
struct Tables {
  std::optional<Lsn> dirty_since;  ///< of the file's record
  uint32_t transaction = 0;        ///< open; 0: none
  Lsn first;
  Lsn undo_next;
};

void checkpoint(ForeignLog& log, const Tables& tables, Lsn oldest) {
  ondisk::ClientRestart restart;
  restart.check_point_start = log.log().last_lsn();
  restart.bytes_per_cluster = log.geometry().cluster_size;
  restart.oldest_lsn = oldest;
  const auto dump = [&](LogOp op, const ByteVector& table) {
    ondisk::ClientRecord record;
    record.redo = op;
    record.target.target_attribute = kMftSlot;
    record.redo_data = table;
    const ByteVector data = ondisk::encode(record);
    const ByteView part = data;
    const lfs::Record client = {kFirst, {}, {}, {&part, 1}};
    const Lsn lsn = log.log().execute(0, &client, {}).value().lsn;
    return ondisk::ClientRestart::Dump{lsn, static_cast<uint32_t>(table.size())};
  };
  ondisk::OpenAttribute mft;
  mft.file = FileReference(ondisk::kMftRecord, 1);
  mft.type_code = static_cast<uint32_t>(ondisk::AttributeType::Data);
  const std::array<std::optional<ondisk::OpenAttribute>, 3> attributes = {mft, std::nullopt, mft};
  restart.open_attributes =
      dump(LogOp::OpenAttributeTableDump, ondisk::encode_open_attributes(attributes));
  const std::vector<ondisk::OpenAttributeName> names = {{ondisk::slot_offset(2), u"$SDS"}};
  restart.names = dump(LogOp::AttributeNamesDump, ondisk::encode_names(names));
  if (tables.dirty_since) {
    const uint64_t vcn =
        log.record_number() * log.geometry().file_record_size / log.geometry().cluster_size;
    ByteVector entry(0x28);
    const MutableBytes bytes(entry);
    struct_at<le32>(bytes, 4).set(kMftSlot);
    struct_at<le32>(bytes, 8).set(4096);
    struct_at<le32>(bytes, 12).set(1);
    struct_at<le64>(bytes, 0x10).set(vcn);
    struct_at<le64>(bytes, 0x18).set(tables.dirty_since->raw());
    struct_at<le64>(bytes, 0x20).set(log.geometry().mft_lcn.raw() + vcn);
    const std::array<ByteView, 2> slots = {ByteView(), ByteView(entry)};
    restart.dirty_pages =
        dump(LogOp::DirtyPageTableDump, ondisk::encode_restart_table(0x28, slots));
  }
  if (tables.transaction != 0) {
    ondisk::TransactionEntry entry{};
    entry.state = static_cast<std::byte>(ondisk::TransactionState::Active);
    entry.first_lsn.set(tables.first.raw());
    entry.previous_lsn.set(tables.undo_next.raw());
    entry.undo_next_lsn.set(tables.undo_next.raw());
    std::vector<ByteView> slots((tables.transaction - kFirst) / sizeof(entry) + 1);
    slots.back() = bytes_of(entry);
    restart.transactions =
        dump(LogOp::TransactionTableDump, ondisk::encode_restart_table(sizeof(entry), slots));
  }
  const auto bytes = restart.encode();
  const ByteView part = bytes;
  ASSERT_TRUE(log.log().write_restart(0, {&part, 1}, oldest, {}));
}

TEST(RecoveryForeign, APageThatWasDirtyAtTheCheckpointIsRedoneFromItsOldestRecord) {
  for (const bool is_dirty : {true, false}) {
    ForeignLog log;
    const Lsn first = log.change(kFirst, update(log, 0, "A", "s"));
    const Lsn second = log.change(kFirst, update(log, 1, "B", "i"));
    log.end(kFirst);
    Tables tables;
    if (is_dirty) tables.dirty_since = second;
    checkpoint(log, tables, first);
    log.change(kFirst, update(log, 2, "C", "x"));
    log.end(kFirst);
    ASSERT_TRUE(log.replay()) << log.why_not();
    EXPECT_EQ(log.data(), is_dirty ? "sBCteen letters!" : "siCteen letters!");
  }
}

TEST(RecoveryForeign, ATransactionOpenAtTheCheckpointIsTakenBackFromBeforeIt) {
  ForeignLog log;
  const Lsn first = log.change(kSecond, update(log, 0, "A", "s"));
  Tables tables;
  tables.dirty_since = first;
  tables.transaction = kSecond;
  tables.first = tables.undo_next = first;
  checkpoint(log, tables, first);
  log.change(kFirst, update(log, 2, "C", "x"));
  log.end(kFirst);
  log.change(kSecond, update(log, 4, "E", "e"));
  ASSERT_TRUE(log.replay()) << log.why_not();
  EXPECT_EQ(log.data(), "siCteen letters!");
  EXPECT_EQ(log.report().records_undone, 2u);
}

// Refusals.

TEST(RecoveryForeign, AnOperationThatNobodyKnowsIsRefused) {
  ForeignLog log;
  log.change(kFirst, {LogOp::UpdateRelativeDataInIndex, LogOp::Noop, 0, 0, text_bytes("x"), {}});
  EXPECT_EQ(log.replay().error(), NtStatus::NotSupported);
  EXPECT_NE(log.why_not().find("unknown operation"), std::string::npos) << log.why_not();
}

TEST(RecoveryForeign, WhatDoesNotFitIsRefused) {
  const QuietReports quiet;
  const std::vector<Step> steps = {
      {LogOp::DeleteAttribute, LogOp::Noop, 0x3A, 0, {}, {}},
      {LogOp::UpdateResidentValue, LogOp::Noop, 0x38, 0x400, text_bytes("x"), {}},
      {LogOp::AddIndexEntryRoot, LogOp::Noop, 0x38, 0x18, text_bytes("x"), {}},
      {LogOp::InitializeFileRecordSegment, LogOp::Noop, 0, 0, text_bytes("BAAD"), {}},
      {LogOp::UpdateNonresidentValue, LogOp::Noop, 0, 0, text_bytes("BAAD"), {}},
      {LogOp::WriteEndOfIndexBuffer, LogOp::Noop, 0, 0x40, text_bytes("BAAD"), {}},
      {LogOp::SetBitsInNonresidentBitMap, LogOp::Noop, 0, 0, text_bytes("BAAD"), {}},
  };
  for (const Step& step : steps) {
    ForeignLog log;
    log.change(kFirst, step);
    EXPECT_EQ(log.replay().error(), NtStatus::LogCorrupt) << name_of(step.redo);
    EXPECT_FALSE(log.why_not().empty());
  }
}

TEST(RecoveryForeign, TheLogItselfAndWhatIsBeyondTheEndAreNotTouched) {
  const QuietReports quiet;
  for (const bool is_log : {true, false}) {
    ForeignLog log;
    const Lcn lcn = is_log ? CrashedLog(log.device()).runs().find(Vcn(7)).lcn
                           : Lcn(log.geometry().total_clusters);
    log.change_raw(kFirst, {LogOp::UpdateNonresidentValue, LogOp::Noop, 0, 0, text_bytes("x"), {}},
                   lcn, Vcn(0));
    EXPECT_EQ(log.replay().error(), NtStatus::LogCorrupt);
  }
}

TEST(RecoveryForeign, AChainThatLeadsForwardIsRefused) {
  const QuietReports quiet;
  ForeignLog log;
  const Lsn first = log.change(kFirst, update(log, 0, "A", "s"));
  ondisk::ClientRecord record;
  record.redo = record.undo = LogOp::Noop;
  record.target.target_attribute = kMftSlot;
  const Lsn second = log.append(kFirst, record, first);
  log.set_undo_next(second, Lsn::from_raw(first.raw() + 0x1000));
  EXPECT_EQ(log.replay().error(), NtStatus::LogCorrupt);
}

TEST(RecoveryForeign, AnyBytesInRecordsAreSurvived) {
  const QuietReports quiet;
  const char* given = std::getenv("NTFS_TEST_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10))
                                         : std::random_device()();
  std::printf("NTFS_TEST_SEED=%u\n", seed);
  std::mt19937 random(seed);
  const auto start = testing::make_volume(16 << 20, 4096);
  const auto store = mount(*start);
  for (int i = 0; i < 60; ++i) {
    CreateParameters parameters;
    const std::u16string name(20, static_cast<char16_t>(u'a' + i % 26));
    ASSERT_TRUE(store->create(*store->root(), name + static_cast<char16_t>(u'A' + i), parameters));
  }
  ASSERT_TRUE(store->flush());
  const auto positions = CrashedLog(*start).positions({});
  const ondisk::VolumeGeometry geometry = geometry_of(*start);
  size_t replayed = 0;
  for (int round = 0; round < 400; ++round) {
    const auto device = start->clone();
    CrashedLog log(*device);
    for (uint32_t i = random() % 4 + 1; i > 0; --i) {
      log.spoil(positions[random() % positions.size()], random);
    }
    std::string why_not;
    const auto recovery = Recovery::replay(*device, geometry, why_not);
    ASSERT_TRUE(recovery || !why_not.empty());
    if (recovery) ++replayed;
  }
  EXPECT_GT(replayed, 0u);
  EXPECT_LT(replayed, 400u);
}

// Forms of operations, by themselves.

TEST(RecoveryForeign, ThePartOfAnIndexBlockIsOverwritten) {
  ByteVector block(4096);
  ondisk::format_index_block(block, Vcn(3), std::nullopt);
  const ByteVector end = ondisk::build_end_entry(std::nullopt);
  const uint32_t at = static_cast<uint32_t>(ondisk::kIndexHeaderInBlock +
                                            ondisk::index_block_entries_offset(block.size()));
  Operation part = update_nonresident_value(at, end);
  part.form = OperationForm::Partial;
  EXPECT_TRUE(check(part, PageKind::IndexBlock, block));
  part.payload = text_bytes("this is no entry");
  const QuietReports quiet;
  EXPECT_FALSE(check(part, PageKind::IndexBlock, block));
}

TEST(RecoveryForeign, DataOfAViewIsReplaced) {
  ByteVector block(4096);
  ondisk::format_index_block(block, Vcn(0), std::nullopt);
  ByteVector scratch;
  const ByteVector entry =
      ondisk::build_view_entry(text_bytes("keykey"), text_bytes("datadata"), std::nullopt);
  const uint32_t at = static_cast<uint32_t>(ondisk::kIndexHeaderInBlock +
                                            ondisk::index_block_entries_offset(block.size()));
  const Operation add = add_index_entry(at, entry, block, scratch);
  ASSERT_TRUE(check(add, PageKind::IndexBlock, block));
  apply(add, PageKind::IndexBlock, block, Lsn());
  Operation replace{LogOp::UpdateRecordDataAllocation, 0, static_cast<uint16_t>(at),
                    text_bytes("DATA")};
  ASSERT_TRUE(check(replace, PageKind::IndexBlock, block));
  apply(replace, PageKind::IndexBlock, block, Lsn());
  const auto node = ondisk::IndexBlockView::of_valid(block).node();
  EXPECT_EQ(as_text((*node.begin()).data()), "DATAdata");
  const QuietReports quiet;
  replace.payload = text_bytes("longer than what is there");
  EXPECT_FALSE(check(replace, PageKind::IndexBlock, block));
}

// Volumes of Windows.

std::string unescaped(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "\\x") == 0 && i + 3 < text.size()) {
      result += static_cast<char>(std::stoi(text.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

TEST(RecoveryForeign, VolumesOfWindowsComeToTheKnownAnswer) {
  const testing::ScratchDirectory scratch;
  bool is_there = false;
  for (const char* name : {"grr.back4.undo4", "grr.back12.undo10", "ms_lastaccess.back6.undo5"}) {
    SCOPED_TRACE(name);
    const std::string inside = std::string("rewind/") + name;
    const auto image = testing::unpack_image(inside, scratch.path());
    if (!image) continue;
    is_there = true;
    const auto device = MemoryDevice::load(image->string());
    ASSERT_NE(device, nullptr);
    const auto tree = recover(*device);
    std::ifstream names(testing::images_folder() / (inside + ".names"));
    std::string kind, size, path;
    size_t count = 0;
    while (names >> kind >> size >> path) {
      if (kind == "s" || path.find(':') != std::string::npos) continue;
      ++count;
      const auto found = tree.find("/" + unescaped(path));
      ASSERT_NE(found, tree.end()) << path;
      EXPECT_EQ(kind == "d", found->second == "directory") << path;
      if (kind == "f") {
        EXPECT_EQ(found->second.size() - found->second.find(": ") - 2, std::stoull(size)) << path;
      }
    }
    EXPECT_GT(count, 3u);
  }
  if (!is_there) GTEST_SKIP() << "no sample images";
}

TEST(RecoveryForeign, WritesThatACrashCutShortAreDoneAgain) {
  const testing::ScratchDirectory scratch;
  const auto image = testing::unpack_image("rewind/grr.back12.undo10", scratch.path());
  if (!image) GTEST_SKIP() << "no sample images";
  const auto device = MemoryDevice::load(image->string());
  ASSERT_NE(device, nullptr);
  const auto whole = device->clone();
  const auto expected = recover(*whole);
  std::string why_not;
  const auto recovery = Recovery::replay(*device, geometry_of(*device), why_not);
  ASSERT_TRUE(recovery) << why_not;
  const auto patches = (*recovery)->patches();
  ASSERT_GT(patches.size(), 4u);
  // Every subset would be too many: each page alone, all but each, and the first ones.
  for (size_t i = 0; i < patches.size(); ++i) {
    for (int kind = 0; kind < 3; ++kind) {
      const auto crashed = device->clone();
      for (size_t j = 0; j < patches.size(); ++j) {
        const bool arrived = kind == 0 ? j == i : kind == 1 ? j != i : j <= i;
        if (!arrived) continue;
        AlignedBuffer buffer(patches[j].bytes.size());
        std::copy(patches[j].bytes.begin(), patches[j].bytes.end(), buffer.data());
        ASSERT_TRUE(
            crashed->write(patches[j].offset, buffer.bytes().first(patches[j].bytes.size())));
      }
      ASSERT_EQ(recover(*crashed), expected) << i << " " << kind;
    }
  }
}

}  // namespace
}  // namespace ntfs
