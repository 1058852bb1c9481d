// Model-checked end of log: whatever sectors a crash leaves of the writes in flight, the reader
// finds every record that was acknowledged, in order, none that was not written, and the newest
// restart record whose restart page was acknowledged. A model of ntfs3 judges the same images.
//
// NTFS_TEST_SEED repeats a run; NTFS_TEST_CRASH_IMAGES is the number of images of each test.

#include <gtest/gtest.h>

#include <iostream>

#include "tests/support/sanitized.h"
#include "tests/unit/lfs/crashing_log_store.h"
#include "tests/unit/lfs/memory_log_store.h"
#include "tests/unit/lfs/ntfs3_scan.h"

namespace ntfs::lfs {
namespace {

using testing::append_data;
using testing::CrashingLogStore;
using testing::make_data;
using testing::Ntfs3Scan;
using testing::write_restart;
using Damage = CrashingLogStore::Damage;

constexpr uint32_t kFillerTransaction = 0x40;
constexpr uint64_t kSomeCheckpoints = 6;  // one in so many steps
constexpr uint64_t kImages = ntfs::testing::kIsSanitized ? 3'000 : 90'000;

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given == nullptr ? otherwise : std::strtoull(given, nullptr, 0);
}

struct Written {
  Lsn lsn;  ///< none until the call that writes it has returned
  RecordType type = RecordType::Client;
  ByteVector data;
};

/// One life of the log, from start() to a crash or close().
struct Epoch {
  std::vector<Written> written;  ///< what has an LSN, in its order
  std::vector<Written> pending;  ///< what the call under way writes, in its order
  Lsn acknowledged;              ///< everything up to here is durable
  uint64_t restart_number = 0;   ///< of the restart record that a restart page durably names
  Lsn oldest;
  std::optional<uint64_t> next_restart_number;  ///< the one that is being written, and its oldest
  Lsn next_oldest;
  bool closes = false, closed = false;
};

std::vector<Written>::const_iterator at_or_behind(const Epoch& epoch, Lsn lsn) {
  return std::lower_bound(epoch.written.begin(), epoch.written.end(), lsn,
                          [](const Written& record, Lsn wanted) { return record.lsn < wanted; });
}

/// What a judge read, held against the records of an epoch.
class Follower {
 public:
  Follower(const Epoch& epoch, ByteView filler, Lsn from) : epoch_(epoch), filler_(filler) {
    const auto& written = epoch.written;
    const auto first =
        std::lower_bound(written.begin(), written.end(), from,
                         [](const Written& record, Lsn lsn) { return record.lsn < lsn; });
    index_ = static_cast<size_t>(first - written.begin());
  }
  /// "" or what is wrong with a record.
  std::string take(Lsn lsn, uint32_t type, uint32_t transaction, ByteView data) {
    if (lsn <= last_) return "the LSNs do not rise";
    last_ = lsn;
    const bool is_client = type == static_cast<uint32_t>(RecordType::Client);
    if (is_client && transaction == kFillerTransaction) {
      const bool is_filler = data.size() >= filler_.size() &&
                             std::memcmp(data.data(), filler_.data(), filler_.size()) == 0;
      return is_filler ? "" : "a damaged filler";
    }
    const size_t known = epoch_.written.size();
    if (index_ >= known + epoch_.pending.size()) return "a record that was never written";
    const bool is_pending = index_ >= known;
    const Written& wanted = is_pending ? epoch_.pending[index_ - known] : epoch_.written[index_];
    ++index_;
    if (!is_pending && wanted.lsn != lsn) return "a record is missing, or one never written there";
    if (type != static_cast<uint32_t>(wanted.type)) return "another type of record";
    const bool same = data.size() == wanted.data.size() &&
                      std::memcmp(data.data(), wanted.data.data(), data.size()) == 0;
    return same ? "" : "a record with other contents";
  }
  Lsn last() const { return last_; }
  bool has_all_acknowledged() const {
    return index_ >= epoch_.written.size() || epoch_.written[index_].lsn > epoch_.acknowledged;
  }
  bool has_everything() const { return index_ >= epoch_.written.size() + epoch_.pending.size(); }

 private:
  const Epoch& epoch_;
  ByteView filler_;
  size_t index_;
  Lsn last_;
};

class LogEndModel : public ::testing::Test {
 protected:
  void SetUp() override {
    seed_ = number_from("NTFS_TEST_SEED", std::random_device()());
    images_ = number_from("NTFS_TEST_CRASH_IMAGES", kImages);
    random_.seed(seed_);
  }
  void TearDown() override {
    log_.reset();
    std::cout << count_images_ + (store_ ? store_->count_images() : 0)
              << " crash images, NTFS_TEST_SEED=" << seed_ << "\n";
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }
  bool one_in(uint64_t count) { return below(count) == 0; }
  bool failed() const { return !failure_.empty(); }
  bool is_enough() const { return failed() || count_images_ + store_->count_images() >= images_; }

  // ---- The workload -----------------------------------------------------------------------------

  void format(uint64_t pages) {
    if (store_) count_images_ += store_->count_images();
    log_.reset();
    epochs_.clear();
    base_.reset();
    store_ = std::make_unique<CrashingLogStore>(pages * kPageSize, random_);
    highest_ = Lsn();
    if (one_in(2)) {
      ASSERT_TRUE(LogFile::format(*store_).has_value());
    }
    store_->set_judge([this](Damage damage) { judge(damage); });
  }

  Written next_restart(RecordType type) {
    return {Lsn(), type, make_data(++number_, type == RecordType::Client ? 0x50 : 0x70)};
  }

  /// A new epoch, above `floor` and above everything in the log.
  void start(Lsn floor) {
    base_ = epochs_.empty() ? std::nullopt : seen_epoch();
    base_is_refused_ =
        scan_.run(store_->bytes(), Ntfs3Scan::TornPages::Taken) == Ntfs3Scan::Verdict::Refused;
    epochs_.emplace_back();
    Epoch& epoch = epochs_.back();
    starting_ = true;
    const Lsn before = highest_;
    epoch.pending = {next_restart(RecordType::ClientRestart)};
    epoch.next_restart_number = number_;
    LogStart how;
    how.floor = floor;
    how.restart_record = epoch.pending.front().data;
    how.filler_transaction_id = kFillerTransaction;
    how.filler = filler_;
    auto log = LogFile::start(*store_, how);
    starting_ = false;
    if (!log) return expect_crash(log.error());
    log_ = std::move(*log);
    epoch.written = std::move(epoch.pending);
    epoch.pending.clear();
    const Lsn lsn = log_->last_lsn();
    ASSERT_GT(lsn, floor);
    ASSERT_GT(lsn, before) << "an LSN is used again, seed " << seed_;
    epoch.written.front().lsn = highest_ = lsn;
    acknowledge_restart(lsn);
  }

  void expect_crash(NtStatus status) {
    ASSERT_TRUE(status == NtStatus::IoDeviceError || status == NtStatus::LogAppendedFlushFailed)
        << name_of(status);
    ASSERT_FALSE(store_->has_power());
  }

  void acknowledge_restart(Lsn oldest) {
    Epoch& epoch = epochs_.back();
    epoch.restart_number = *epoch.next_restart_number;
    epoch.oldest = oldest;
    epoch.next_restart_number.reset();
    epoch.acknowledged = log_->durable_lsn();
  }

  uint64_t random_length() {
    const uint64_t kind = below(100);
    if (kind < 2) return 60'000 + below(kMaximumClientData - 60'000 + 1);
    if (kind < 20) return 8 + below(9'000);
    if (kind < 30) return kPageDataSize - 200 + below(400);  // about a page
    return 8 + below(600);
  }

  void append() {
    Epoch& epoch = epochs_.back();
    Written record{Lsn(), RecordType::Client, make_data(++number_, random_length())};
    auto lsn = append_data(*log_, record.data);
    while (!lsn && lsn.error() == NtStatus::LogFileFull) {
      checkpoint(epoch.written.back().lsn);
      if (!store_->has_power() || failed()) return;
      lsn = append_data(*log_, record.data);
    }
    ASSERT_TRUE(lsn.has_value());
    record.lsn = highest_ = *lsn;
    epoch.written.push_back(std::move(record));
  }

  void flush(Lsn lsn) {
    const auto flushed = log_->flush_to(lsn);
    if (!flushed) return expect_crash(flushed.error());
    ASSERT_GE(log_->durable_lsn(), lsn);
    epochs_.back().acknowledged = log_->durable_lsn();
  }

  void checkpoint(Lsn oldest) {
    Epoch& epoch = epochs_.back();
    epoch.pending = {next_restart(RecordType::ClientRestart)};
    epoch.next_restart_number = number_;
    epoch.next_oldest = oldest;
    const auto lsn = write_restart(*log_, epoch.pending.front().data, oldest);
    if (!lsn) return expect_crash(lsn.error());
    epoch.pending.front().lsn = highest_ = *lsn;
    epoch.written.push_back(std::move(epoch.pending.front()));
    epoch.pending.clear();
    acknowledge_restart(oldest);
  }

  void close() {
    Epoch& epoch = epochs_.back();
    epoch.pending = {next_restart(RecordType::ClientRestart)};
    epoch.next_restart_number = number_;
    epoch.next_oldest = log_->last_lsn();  // what close() makes it: nothing before is needed
    epoch.closes = true;
    const auto closed = log_->close(epoch.pending.front().data);
    if (!closed) return expect_crash(closed.error());
    epoch.pending.front().lsn = highest_ = log_->last_lsn();
    epoch.written.push_back(std::move(epoch.pending.front()));
    epoch.pending.clear();
    acknowledge_restart(epoch.next_oldest);
    epoch.closed = true;
  }

  /// One step of work: some records, and then perhaps a flush, or a checkpoint in one of
  /// `checkpoints` cases.
  void step(uint64_t checkpoints) {
    for (uint64_t left = 1 + below(one_in(8) ? 40 : 6); left > 0 && !is_over(); --left) append();
    if (is_over()) return;
    const auto& written = epochs_.back().written;
    if (one_in(checkpoints)) {
      const auto oldest = at_or_behind(epochs_.back(), epochs_.back().oldest);
      const auto count = static_cast<uint64_t>(written.end() - oldest);
      checkpoint((oldest + static_cast<ptrdiff_t>(below(count)))->lsn);
    } else if (!one_in(4)) {
      flush(one_in(3) ? written[below(written.size())].lsn : written.back().lsn);
    }
  }
  bool is_over() const { return failed() || HasFatalFailure() || !store_->has_power(); }

  // ---- The judges -------------------------------------------------------------------------------

  /// The epoch that a restart record tells of, and whether it is the one being written.
  struct Named {
    Epoch* epoch = nullptr;
    bool is_next = false;
  };
  Named named_by(ByteView restart_data) {
    const uint64_t number = struct_at<le64>(restart_data).get();
    for (Epoch& epoch : epochs_) {
      if (epoch.next_restart_number == number) return {&epoch, true};
      if (epoch.restart_number == number) return {&epoch, false};
    }
    return {};
  }
  /// The epoch that the log shows now; nothing for an empty or closed log.
  std::optional<size_t> seen_epoch() {
    auto reader = LogReader::open(*store_);
    if (!reader) return std::nullopt;
    const auto restart = reader->read(reader->restart().client_restart_lsn);
    if (!restart) return std::nullopt;
    const Named named = named_by(restart->data);
    if (named.epoch == nullptr) return std::nullopt;
    return static_cast<size_t>(named.epoch - epochs_.data());
  }
  bool may_show(const Epoch& epoch) const {
    if (&epoch == &epochs_.back()) return true;
    return starting_ && base_ && &epoch == &epochs_[*base_];
  }

  void fail(std::string_view judge, const std::string& what) {
    if (failed()) return;
    failure_ = what;
    ADD_FAILURE() << judge << ": " << what << "; image " << store_->count_images()
                  << ", NTFS_TEST_SEED=" << seed_;
  }

  void judge(Damage damage) {
    if (failed()) return;
    const std::string found = judge_reader();
    if (!found.empty()) return fail("reader", found);
    for (const auto torn : {Ntfs3Scan::TornPages::Unreadable, Ntfs3Scan::TornPages::Taken}) {
      if (damage == Damage::WholePages && torn == Ntfs3Scan::TornPages::Taken) continue;
      const std::string theirs = judge_ntfs3(torn);
      if (!theirs.empty()) return fail("ntfs3", theirs);
    }
  }

  std::string judge_reader() {
    auto opened = LogReader::open(*store_);
    if (!opened) {
      if (starting_ && opened.error() == NtStatus::EndOfFile) return "";
      return "the log cannot be opened";
    }
    LogReader& reader = *opened;
    const Lsn restart_lsn = reader.restart().client_restart_lsn;
    const auto restart = reader.read(restart_lsn);
    if (!restart || !restart->is_restart()) return "no restart record where the page says";
    const Named named = named_by(restart->data);
    if (named.epoch == nullptr || !may_show(*named.epoch)) return "an old restart record";
    const Epoch& epoch = *named.epoch;
    const bool is_clean = reader.state() == LogState::Clean;
    if (is_clean != (epoch.closed || (epoch.closes && named.is_next))) return "the wrong state";
    const Lsn oldest = named.is_next && epoch.written.empty() ? restart_lsn
                       : named.is_next                        ? epoch.next_oldest
                                                              : epoch.oldest;
    if (reader.oldest_lsn() != oldest) return "another oldest LSN than was set";

    Follower follower(epoch, filler_, oldest);
    for (auto record = reader.read(oldest);; record = reader.next()) {
      if (!record && record.error() == NtStatus::EndOfFile) break;
      if (!record) return "the chain of records breaks";
      std::string wrong =
          follower.take(record->lsn, record->type, record->transaction_id, record->data);
      if (!wrong.empty()) return wrong;
    }
    if (follower.last() != reader.last_lsn()) return "the end is not that of the last record";
    if (reader.last_lsn() < epoch.acknowledged) return "the end lies before what is durable";
    if (!follower.has_all_acknowledged()) return "a durable record is missing";
    if (is_clean && !follower.has_everything()) return "a clean log without its last record";
    highest_ = std::max(highest_, reader.last_lsn());
    return one_in(8) ? judge_older_records(reader, epoch) : "";
  }

  /// What can still be found before the oldest LSN was written as it is now.
  std::string judge_older_records(LogReader& reader, const Epoch& epoch) {
    const auto first = reader.first_readable_lsn();
    if (!first || *first > reader.oldest_lsn()) return "no first record";
    const auto last_known = epoch.written.empty() ? Lsn() : epoch.written.back().lsn;
    Lsn before;
    for (auto record = reader.read(*first);; record = reader.next()) {
      if (!record && record.error() == NtStatus::EndOfFile) return "";
      if (!record) return "the chain of older records breaks";
      if (record->lsn <= before) return "the LSNs of older records do not rise";
      before = record->lsn;
      if (record->transaction_id == kFillerTransaction || before > last_known) continue;
      const auto found = at_or_behind(epoch, before);
      if (found->lsn != before) return "an older record that was never written";
      if (!std::equal(record->data.begin(), record->data.end(), found->data.begin(),
                      found->data.end())) {
        return "an older record with other contents";
      }
    }
  }

  /// Torn pages that ntfs3 takes for whole may give it records in pieces; the end it finds must be
  /// right all the same.
  std::string judge_ntfs3(Ntfs3Scan::TornPages torn) {
    const auto verdict = scan_.run(store_->bytes(), torn);
    if (verdict == Ntfs3Scan::Verdict::Refused) {
      return starting_ && base_is_refused_ ? "" : "refused: " + scan_.why();
    }
    if (verdict == Ntfs3Scan::Verdict::Nothing) return starting_ ? "" : "nothing to replay";
    if (torn == Ntfs3Scan::TornPages::Taken) {
      const bool is_short = !starting_ && scan_.end_lsn() < epochs_.back().acknowledged.raw();
      return is_short ? "the end lies before what is durable" : "";
    }
    auto record = scan_.read(scan_.client_restart_lsn());
    if (!record) return "no restart record: " + scan_.why();
    const Named named = named_by(record->data);
    if (named.epoch == nullptr || !may_show(*named.epoch)) return "an old restart record";
    Follower follower(*named.epoch, filler_, Lsn::from_raw(scan_.oldest_lsn()));
    for (uint64_t lsn = scan_.oldest_lsn(); lsn != 0; lsn = scan_.next_lsn()) {
      record = scan_.read(lsn);
      if (!record) return "a record: " + scan_.why();
      std::string wrong = follower.take(Lsn::from_raw(record->lsn), record->type,
                                        record->transaction_id, record->data);
      if (!wrong.empty()) return wrong;
    }
    return follower.has_all_acknowledged() ? "" : "a durable record is missing";
  }

  // ---- The tests --------------------------------------------------------------------------------

  /// Work on a log of `pages`, with laps around the file, until there were enough images. One step
  /// of `checkpoints` ends with one.
  void work(uint64_t pages, uint64_t checkpoints) {
    ASSERT_NO_FATAL_FAILURE(format(pages));
    ASSERT_NO_FATAL_FAILURE(start({}));
    // A part of the work goes unobserved, so that the observed part is everywhere in the file.
    while (!is_enough()) {
      const bool is_observed = one_in(12);
      if (!is_observed) store_->set_judge({});
      ASSERT_NO_FATAL_FAILURE(step(checkpoints));
      store_->set_judge([this](Damage damage) { judge(damage); });
    }
  }

  uint64_t seed_ = 0;
  uint64_t images_ = 0;
  std::mt19937_64 random_;
  const ByteVector filler_ = ByteVector(0x28, std::byte{2});
  uint64_t count_images_ = 0;
  std::unique_ptr<CrashingLogStore> store_;
  std::unique_ptr<LogFile> log_;
  std::vector<Epoch> epochs_;
  std::optional<size_t> base_;    ///< the epoch that the log showed before the start under way
  bool base_is_refused_ = false;  ///< by ntfs3: pages without a restart page
  bool starting_ = false;
  uint64_t number_ = 0;  ///< each record has its own
  Lsn highest_;          ///< that was ever given or seen
  std::string failure_;
  Ntfs3Scan scan_;
};

TEST_F(LogEndModel, C69_FindsAllDurableRecordsOfALogOf52Pages) { work(52, kSomeCheckpoints); }
TEST_F(LogEndModel, C69_FindsAllDurableRecordsOfALogOf64Pages) { work(64, kSomeCheckpoints); }
TEST_F(LogEndModel, C69_FindsAllDurableRecordsOfALogOf204Pages) { work(204, kSomeCheckpoints); }
TEST_F(LogEndModel, C81_C88_ACheckpointIsThereAsAWholeOrNotAtAll) { work(52, 1); }

TEST_F(LogEndModel, StartAndCloseLeaveTheOldLogAClosedOneOrTheNewOne) {
  ASSERT_NO_FATAL_FAILURE(format(52));
  while (!is_enough()) {
    ASSERT_NO_FATAL_FAILURE(start({}));
    const CrashingLogStore::Judge judge = [this](Damage damage) { this->judge(damage); };
    store_->set_judge({});
    for (uint64_t steps = below(30); steps > 0; --steps)
      ASSERT_NO_FATAL_FAILURE(step(kSomeCheckpoints));
    store_->set_judge(judge);
    if (one_in(2)) {
      ASSERT_NO_FATAL_FAILURE(close());
    }
    log_.reset();
  }
}

TEST_F(LogEndModel, C70_NoRecordOfALostWriteReappearsAfterCrashes) {
  ASSERT_NO_FATAL_FAILURE(format(one_in(2) ? 52 : 64));
  while (!is_enough()) {
    store_->restore_power();
    // In start() there are about five writes; later in the work, each flush has one to four.
    const bool early = one_in(4);
    store_->lose_power_in(early ? below(8) : below(150));
    const bool is_observed = one_in(3) || early;
    if (!is_observed) store_->set_judge({});
    ASSERT_NO_FATAL_FAILURE(start({}));
    while (!is_over()) ASSERT_NO_FATAL_FAILURE(step(kSomeCheckpoints));
    log_.reset();
    store_->set_judge([this](Damage damage) { judge(damage); });
  }
}

TEST_F(LogEndModel, C70_ALogWipedByOthersStartsAboveTheFloor) {
  while (count_images_ < images_ && !failed()) {
    ASSERT_NO_FATAL_FAILURE(format(52));
    for (int life = 0; life < 3 && !failed(); ++life) {
      Lsn floor;
      if (life > 0) {
        const auto& written = epochs_.back().written;
        if (one_in(2)) {
          store_->wipe();
          // The pages of the volume carry LSNs up to some durable one.
          if (!written.empty()) floor = written[below(written.size())].lsn;
        } else {
          store_->wipe_restart_pages();
          floor = highest_;
        }
        highest_ = floor;
        epochs_.clear();
      }
      store_->restore_power();
      store_->lose_power_in(below(60));
      ASSERT_NO_FATAL_FAILURE(start(floor));
      store_->set_judge({});
      while (!is_over()) {
        ASSERT_NO_FATAL_FAILURE(step(kSomeCheckpoints));
        store_->set_judge(one_in(10) ? CrashingLogStore::Judge([this](Damage d) { judge(d); })
                                     : CrashingLogStore::Judge());
      }
      store_->set_judge([this](Damage damage) { judge(damage); });
      log_.reset();
    }
  }
}

// ntfs3 takes the copy of a page that ends a record of the lap before, and no other, for a page of
// that lap.
TEST(LogFile, TheFirstPageOfALapNeverEndsWithARecordOfTheLapBefore) {
  testing::MemoryLogStore store(52 * kPageSize);
  const testing::StartValues values;
  auto log = LogFile::start(store, values.start({})).value();
  Ntfs3Scan scan;
  int count_fillers = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const Lsn lsn = append_data(*log, make_data(i, 8 + 8 * (i * 37 % 300))).value();
    ASSERT_TRUE(log->flush_to(lsn).has_value());
    count_fillers += log->last_lsn() != lsn ? 1 : 0;
    ASSERT_EQ(scan.run(store.bytes(), Ntfs3Scan::TornPages::Taken), Ntfs3Scan::Verdict::Log)
        << scan.why();
    ASSERT_GE(scan.end_lsn(), lsn.raw());
    // A checkpoint well before the end of the file: its page is the first of the search.
    if (log->used_bytes() > log->capacity_bytes() * 2 / 3) {
      ASSERT_TRUE(write_restart(*log, values.restart, log->last_lsn()).has_value());
    }
  }
  EXPECT_GT(count_fillers, 2);
}

}  // namespace
}  // namespace ntfs::lfs
