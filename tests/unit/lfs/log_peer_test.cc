// Our log under another program's eyes: ntfsrecover of ntfs-3g plays it on a volume made by mkntfs.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/ondisk/log_operations.h"
#include "tests/unit/lfs/log_samples.h"
#include "tests/unit/lfs/memory_log_store.h"

namespace ntfs::lfs {
namespace {

using ondisk::ClientRecord;
using ondisk::ClientRestart;
using ondisk::LogOp;
using testing::MemoryLogStore;

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kFileRecord = 1024;

bool is_installed(const std::string& program) {
  return std::system(
             ("PATH=$PATH:/sbin:/usr/sbin command -v " + program + " >/dev/null").c_str()) == 0;
}

struct Output {
  int exit_code = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output output;
  std::FILE* pipe = popen(("PATH=$PATH:/sbin:/usr/sbin " + command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.text.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return output;
}

/// A volume of 16 MiB with 4 KiB clusters, and its log as ours.
class LogPeerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_installed("mkntfs") || !is_installed("ntfsrecover")) {
      GTEST_SKIP() << "mkntfs and ntfsrecover (package ntfs-3g) are not installed";
    }
    path_ = std::filesystem::temp_directory_path() /
            ("ntfs-wal-log-peer-" + std::to_string(getpid()) + ".img");
    std::ofstream(path_).close();
    std::filesystem::resize_file(path_, 16 << 20);
    ASSERT_EQ(run("mkntfs -F -Q -s 512 -c 4096 " + path_.string()).exit_code, 0);
    std::ifstream file(path_, std::ios::binary);
    image_.resize(16 << 20);
    file.read(reinterpret_cast<char*>(image_.data()), static_cast<std::streamsize>(image_.size()));
    mft_lcn_ = struct_at<le64>(ByteView(image_), 0x30).get();
    const ntfs::Run log = data_run(2);
    log_lcn_ = log.lcn.raw();
    store_ = std::make_unique<MemoryLogStore>(log.count.raw() * kCluster);
    upcase_lcn_ = data_run(10).lcn.raw();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  /// The one run of the unnamed $DATA of a system file.
  ntfs::Run data_run(uint64_t number) const {
    const ByteView record =
        ByteView(image_).subspan(mft_lcn_ * kCluster + number * kFileRecord, kFileRecord);
    size_t at = struct_at<le16>(record, 0x14).get();
    while (struct_at<le32>(record, at).get() != 0x80) at += struct_at<le32>(record, at + 4).get();
    size_t pair = at + struct_at<le16>(record, at + 0x20).get();
    const auto head = static_cast<unsigned>(record[pair++]);
    const auto number_at = [&](unsigned length) {
      uint64_t value = 0;
      for (unsigned i = 0; i < length; ++i) {
        value |= static_cast<uint64_t>(record[pair++]) << (8 * i);
      }
      return value;
    };
    const uint64_t count = number_at(head & 15);
    return {Vcn(0), Lcn(number_at(head >> 4)), ClusterCount(count)};
  }

  ByteVector restart_record(Lsn start) const {
    ClientRestart restart;
    restart.check_point_start = start;
    restart.bytes_per_cluster = kCluster;
    restart.oldest_lsn = start;
    const auto encoded = restart.encode();
    return {encoded.begin(), encoded.end()};
  }
  void begin() {
    ASSERT_TRUE(LogFile::format(*store_).has_value());
    filler_ = ondisk::filler_record();
    const ByteVector first = restart_record({});
    LogStart how;
    how.restart_record = first;
    how.filler = filler_;
    how.filler_transaction_id = ondisk::kFillerTransaction;
    log_ = LogFile::start(*store_, how).value();
    open_attributes();
  }
  void append(const ClientRecord& client) {
    const ByteVector encoded = encode(client);
    const ByteView part = encoded;
    Record record;
    record.transaction_id = ondisk::transaction_id_at(0);
    record.previous = previous_;
    record.undo_next = client.redo == LogOp::ForgetTransaction ? Lsn() : previous_;
    record.parts = {&part, 1};
    previous_ = log_->execute(0, &record, {}).value().lsn;
    ++actions_;
  }
  void open_attributes() {
    struct Row {
      size_t slot;
      uint64_t file;
    };
    for (const Row& row : {Row{0, 0}, Row{1, 10}}) {
      ondisk::OpenAttribute open;
      open.file = FileReference(row.file, static_cast<uint16_t>(row.file == 0 ? 1 : row.file));
      open.type_code = 0x80;
      open.open_lsn = log_->last_lsn();
      const auto entry = open.encode();
      ClientRecord record;
      record.redo = LogOp::OpenNonresidentAttribute;
      record.target.target_attribute = ondisk::slot_offset(row.slot);
      record.redo_data = entry;
      append(record);
    }
  }
  /// New times in $STANDARD_INFORMATION of the root directory.
  void update_times() {
    const auto redo = le64::of(++times_);
    const auto undo = le64::of(times_ - 1);
    const uint64_t at = 5 * kFileRecord;
    const Lcn lcn(mft_lcn_ + at / kCluster);
    ClientRecord record;
    record.redo = record.undo = LogOp::UpdateResidentValue;
    record.target = {ondisk::slot_offset(0),
                     struct_at<le16>(ByteView(image_), mft_lcn_ * kCluster + at + 0x14).get(),
                     0x18,
                     static_cast<uint16_t>(at % kCluster / 512),
                     2,
                     Vcn(at / kCluster)};
    record.lcns = {&lcn, 1};
    record.redo_data = bytes_of(redo);
    record.undo_data = bytes_of(undo);
    append(record);
  }
  /// A cluster of $UpCase over itself: a record that spans two or three pages.
  void update_cluster(bool with_undo) {
    const Lcn lcn(upcase_lcn_ + 3);
    const ByteView bytes = ByteView(image_).subspan(lcn.raw() * kCluster, kCluster);
    const ByteVector undo(bytes.begin(), bytes.end());
    ClientRecord record;
    record.redo = LogOp::UpdateNonresidentValue;
    record.target.target_attribute = ondisk::slot_offset(1);
    record.target.target_vcn = Vcn(3);
    record.lcns = {&lcn, 1};
    record.redo_data = bytes;
    if (with_undo) {
      record.undo = LogOp::UpdateNonresidentValue;
      record.undo_data = undo;
    }
    append(record);
  }
  void forget() {
    ClientRecord record;
    record.redo = LogOp::ForgetTransaction;
    record.undo = LogOp::CompensationLogRecord;
    record.target.target_attribute = ondisk::slot_offset(0);
    append(record);
    previous_ = Lsn();
  }
  void checkpoint() {
    const Lsn start = log_->last_lsn();
    ASSERT_TRUE(lfs::testing::write_restart(*log_, restart_record(start), start).has_value());
    actions_ = 0;
    open_attributes();
  }
  /// A filler up to the end of the page.
  void fill_page() {
    const uint64_t room =
        kPageSize - LogGeometry::in_page(log_->geometry().offset_of(log_->next_lsn()));
    ByteVector data = filler_;
    ASSERT_GE(room, kRecordHeaderSize + data.size());
    data.resize(room - kRecordHeaderSize);
    const ByteView part = data;
    Record record;
    record.transaction_id = ondisk::kFillerTransaction;
    record.parts = {&part, 1};
    ASSERT_TRUE(log_->execute(0, &record, {}));
  }
  void flush() { ASSERT_TRUE(log_->flush_to(log_->last_lsn()).has_value()); }

  /// `rounds` transactions of all sizes, flushed, with checkpoints.
  void work(int rounds, std::mt19937& random) {
    for (int i = 0; i < rounds; ++i) {
      if (log_->used_bytes() > log_->capacity_bytes() / 3) checkpoint();
      const unsigned count = 1 + random() % 30;
      for (unsigned u = 0; u < count; ++u) update_times();
      if (random() % 3 == 0) update_cluster(random() % 2 == 0);
      forget();
      if (random() % 2 == 0) flush();
    }
    flush();
  }

  /// What ntfsrecover says of the volume with this log.
  Output judge(const ByteVector& log) {
    std::copy(log.begin(), log.end(), image_.begin() + static_cast<ptrdiff_t>(log_lcn_ * kCluster));
    std::ofstream file(path_, std::ios::binary);
    file.write(reinterpret_cast<const char*>(image_.data()),
               static_cast<std::streamsize>(image_.size()));
    file.close();
    return run("timeout 60 ntfsrecover -n -v " + path_.string());
  }
  /// Whether it played, without a complaint, all that was appended since the checkpoint.
  bool plays_all(const Output& output) const {
    constexpr std::string_view kPlayed = "Sync simulation successful after playing ";
    const size_t played = output.text.find(kPlayed);
    return output.exit_code == 0 && played != std::string::npos &&
           std::stoull(output.text.substr(played + kPlayed.size())) >= actions_ &&
           output.text.find("\n** ") == std::string::npos;
  }

  std::filesystem::path path_;
  ByteVector image_;
  ByteVector filler_;
  uint64_t mft_lcn_ = 0;
  uint64_t log_lcn_ = 0;
  uint64_t upcase_lcn_ = 0;
  uint64_t actions_ = 0;
  uint64_t times_ = 0x01D0000000000000;
  std::unique_ptr<MemoryLogStore> store_;
  std::unique_ptr<LogFile> log_;
  Lsn previous_;
};

TEST_F(LogPeerTest, PlaysASmallLog) {
  begin();
  update_times();
  forget();
  flush();
  const Output output = judge(store_->bytes());
  EXPECT_TRUE(plays_all(output)) << output.text;
}

TEST_F(LogPeerTest, PlaysRecordsThatSpanPages) {
  begin();
  for (int i = 0; i < 20; ++i) {
    update_cluster(true);
    update_times();
    forget();
    flush();
  }
  const Output output = judge(store_->bytes());
  EXPECT_TRUE(plays_all(output)) << output.text;
}

TEST_F(LogPeerTest, FindsTheFormattedLogClean) {
  ASSERT_TRUE(LogFile::format(*store_).has_value());
  // Its exit code says nothing here: it misses a record page behind the restart pages.
  const Output output = judge(store_->bytes());
  EXPECT_NE(output.text.find("Volume is clean"), std::string::npos) << output.text;
}

TEST_F(LogPeerTest, FindsTheClosedLogClean) {
  begin();
  std::mt19937 random(1);
  work(300, random);
  const Lsn start = log_->last_lsn();
  ASSERT_TRUE(log_->close(restart_record(start)).has_value());
  const Output output = judge(store_->bytes());
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_NE(output.text.find("Volume is clean"), std::string::npos) << output.text;
  const Output info = run("ntfsinfo -m " + path_.string());
  EXPECT_EQ(info.exit_code, 0) << info.text;
}

TEST_F(LogPeerTest, PlaysALogAfterManyLaps) {
  begin();
  const unsigned seed = 77;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 12; ++round) {
    work(100 + static_cast<int>(random() % 60), random);
    const Output output = judge(store_->bytes());
    ASSERT_TRUE(plays_all(output)) << "round " << round << "\n" << output.text;
  }
  EXPECT_GT(log_->geometry().sequence_of(log_->last_lsn()), 5u);
}

// It looks for the end from the last tail copy on, and stops before a page that one record covers.
TEST_F(LogPeerTest, FindsTheEndBehindACoveredPageThatNoTailCopyFollowed) {
  begin();
  update_times();
  forget();
  flush();
  update_cluster(true);
  for (int page = 0; page < 2; ++page) {
    forget();
    fill_page();
    update_times();
  }
  forget();
  fill_page();
  flush();  // ends with a page: no tail copy
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 60; ++i) update_times();  // more than a page
    forget();
    flush();
  }
  const Output output = judge(store_->bytes());
  EXPECT_TRUE(plays_all(output)) << output.text;
}

// A crash between any two writes, and in one with some of its pages arrived, leaves a log that the
// peer plays as well.
TEST_F(LogPeerTest, PlaysWhatACrashLeaves) {
  begin();
  const unsigned seed = 78;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  work(250, random);
  ByteVector bytes = store_->bytes();
  store_->keep_history();
  work(500, random);
  size_t calls = 0;
  int judged = 0;
  for (const auto& call : store_->history()) {
    if (calls++ % 23 == 0) {
      ByteVector partial = bytes;
      for (const auto& write : call) {
        for (uint64_t at = 0; at < write.bytes.size(); at += kPageSize) {
          if (random() % 2 == 0) continue;
          std::memcpy(partial.data() + write.offset + at, write.bytes.data() + at, kPageSize);
        }
      }
      const Output output = judge(partial);
      ++judged;
      // An unfinished transaction at the end is reported with "** Action ... was aborted".
      EXPECT_EQ(output.exit_code, 0) << "call " << calls << "\n" << output.text;
      EXPECT_NE(output.text.find("Sync simulation successful"), std::string::npos);
    }
    for (const auto& write : call) {
      std::memcpy(bytes.data() + write.offset, write.bytes.data(), write.bytes.size());
    }
  }
  EXPECT_GT(judged, 20);
}

}  // namespace
}  // namespace ntfs::lfs
