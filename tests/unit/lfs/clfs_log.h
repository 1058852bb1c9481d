#pragma once

// A private log for the checks C1 to C98 of the CLFS model (lfs/README.md lists them), on a store
// that tests can hold up, slow down, fail, and copy as a power cut would leave it.

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lfs/marshalling_area.h"
#include "lfs/read_context.h"

namespace ntfs::lfs::testing {

/// Thread safe.
class ClfsStore final : public LogStore {
 public:
  explicit ClfsStore(uint64_t size_bytes) : bytes_(size_bytes, std::byte{0xFF}) {}
  explicit ClfsStore(ByteVector bytes) : bytes_(std::move(bytes)) {}

  uint64_t size_bytes() const override { return bytes_.size(); }

  Result<> read(uint64_t offset, MutableBytes into) override {
    std::unique_lock lock(mutex_);
    ++waiting_reads_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !reads_held_; });
    --waiting_reads_;
    const auto from = slice(ByteView(bytes_), offset, into.size());
    if (!from) return NtStatus::EndOfFile;
    std::copy(from->begin(), from->end(), into.begin());
    return {};
  }

  Result<> write_durable(std::span<const LogWrite> writes) override {
    if (latency_.count() != 0) std::this_thread::sleep_for(latency_);
    std::unique_lock lock(mutex_);
    ++waiting_writes_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !writes_held_; });
    --waiting_writes_;
    if (fails_) return NtStatus::IoDeviceError;
    if (writes_until_cut_ && (*writes_until_cut_)-- == 0) {
      cut_ = bytes_;
      writes_until_cut_.reset();
    }
    ++write_calls_;
    changed_.notify_all();
    for (const LogWrite& write : writes) {
      EXPECT_LE(write.offset + write.bytes.size(), bytes_.size());
      std::memcpy(bytes_.data() + write.offset, write.bytes.data(), write.bytes.size());
      pages_written_ += write.bytes.size() / kPageSize;
    }
    return {};
  }

  void hold_writes() { set(writes_held_, true); }
  void let_writes_go() { set(writes_held_, false); }
  void hold_reads() { set(reads_held_, true); }
  void let_reads_go() { set(reads_held_, false); }
  void fail() { set(fails_, true); }
  /// Each write takes this long. Before the log is used.
  void set_latency(std::chrono::microseconds latency) { latency_ = latency; }
  /// Keeps what the store holds before the n-th write from now on.
  void cut_power_after(uint64_t writes) {
    const std::lock_guard lock(mutex_);
    writes_until_cut_ = writes;
  }

  /// False after a minute: what is waited for does not come.
  bool wait_for_held_write() {
    return wait([this] { return waiting_writes_ != 0; });
  }
  bool wait_for_held_read() {
    return wait([this] { return waiting_reads_ != 0; });
  }
  bool wait_for_write_calls(uint64_t count) {
    return wait([this, count] { return write_calls_ >= count; });
  }

  uint64_t write_calls() const {
    const std::lock_guard lock(mutex_);
    return write_calls_;
  }
  uint64_t pages_written() const {
    const std::lock_guard lock(mutex_);
    return pages_written_;
  }
  /// What is on the device now.
  ByteVector image() const {
    const std::lock_guard lock(mutex_);
    return bytes_;
  }
  /// What was on it at the cut; empty if that did not come.
  ByteVector image_at_cut() const {
    const std::lock_guard lock(mutex_);
    return cut_;
  }

 private:
  void set(bool& flag, bool value) {
    const std::lock_guard lock(mutex_);
    flag = value;
    changed_.notify_all();
  }
  template <typename Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), condition);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ByteVector bytes_;
  ByteVector cut_;
  std::optional<uint64_t> writes_until_cut_;
  std::chrono::microseconds latency_{0};
  bool writes_held_ = false;
  bool reads_held_ = false;
  bool fails_ = false;
  uint64_t waiting_writes_ = 0;
  uint64_t waiting_reads_ = 0;
  uint64_t write_calls_ = 0;
  uint64_t pages_written_ = 0;
};

/// Never flushes by itself.
constexpr FlushPolicy kNoPolicy{uint64_t{1} << 40, std::chrono::hours(1)};

constexpr uint64_t kTestLogBytes = 52 * kPageSize;

inline ByteVector text_data(uint64_t number, uint64_t length_bytes) {
  ByteVector data(length_bytes);
  std::mt19937_64 random(number);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  return data;
}

/// A log of 52 pages with one stream and one area, sequence 2.
class Clfs : public ::testing::Test {
 protected:
  void SetUp() override { begin(kTestLogBytes, kNoPolicy); }
  void TearDown() override {
    if (store_) store_->let_writes_go();
  }

  void begin(uint64_t size_bytes, FlushPolicy policy) {
    area_.reset();
    log_.reset();
    store_ = std::make_unique<ClfsStore>(size_bytes);
    log_ = LogFile::create_private(*store_, policy).value();
    stream_ = log_->create_stream(u"TEST").value();
    make_area();
  }
  void make_area() {
    area_ = std::make_unique<MarshallingArea>(*stream_, log_->maximum_record_bytes(), 10);
  }
  /// Opens what a power cut leaves.
  void reopen(ByteVector image) {
    auto store = std::make_unique<ClfsStore>(std::move(image));
    auto log = LogFile::open_private(*store, kNoPolicy).value();
    area_.reset();
    log_ = std::move(log);
    store_ = std::move(store);
    stream_ = log_->open_stream(u"TEST").value();
    make_area();
  }

  Result<Appended> append(ByteView data, Lsn previous = {}, Lsn undo_next = {},
                          AppendFlags flags = AppendFlags::None) {
    AppendRequest request;
    request.entries = {&data, 1};
    request.previous = previous;
    request.undo_next = undo_next;
    request.flags = flags;
    return area_->reserve_and_append(request);
  }
  Result<Appended> append_size(uint64_t length_bytes, AppendFlags flags = AppendFlags::None) {
    return append(text_data(length_bytes, length_bytes), {}, {}, flags);
  }
  Result<Appended> reserve(std::span<int64_t> sizes) {
    AppendRequest request;
    request.reserve = sizes;
    return area_->reserve_and_append(request);
  }
  Result<Appended> append_and_reserve(uint64_t length_bytes, std::span<int64_t> sizes,
                                      AppendFlags flags = AppendFlags::None) {
    const ByteVector data = text_data(length_bytes, length_bytes);
    const ByteView entry = data;
    AppendRequest request;
    request.entries = {&entry, 1};
    request.reserve = sizes;
    request.flags = flags;
    return area_->reserve_and_append(request);
  }
  /// 100, 200 and 300 bytes: 152 + 248 + 352.
  void reserve_three() {
    std::array<int64_t, 3> sizes = {100, 200, 300};
    ASSERT_TRUE(reserve(sizes).has_value());
  }
  uint32_t records() const { return stream_->info().reserved_records; }
  uint64_t bytes() const { return stream_->info().reserved_bytes; }
  uint64_t available() const { return stream_->info().available_bytes; }
  static uint64_t cost(uint64_t client_data_bytes) { return plain_record_cost(client_data_bytes); }

  /// Data of the record at `lsn`.
  ByteVector read_data(Lsn lsn) {
    const auto context = area_->read(lsn, ReadMode::Record);
    EXPECT_TRUE(context.has_value()) << name_of(context.error());
    if (!context) return {};
    const ByteView data = (*context)->record().data;
    return {data.begin(), data.end()};
  }
  /// Takes everything that is free, in pieces of at least 48 bytes.
  void reserve_all_of(ReservationSet& set) {
    for (uint64_t piece = 4096; piece >= 8; piece /= 2) {
      while (available() >= cost(piece)) {
        std::array<int64_t, 1> size = {static_cast<int64_t>(piece)};
        ASSERT_TRUE(set.add(size).has_value());
      }
    }
    const uint64_t rest = available();
    if (rest != 0) {
      ASSERT_TRUE(set.set_aside(rest).has_value());
    }
    ASSERT_EQ(available(), 0u);
  }

  /// What a refused call must leave alone.
  struct State {
    uint32_t records;
    uint64_t bytes, available, file;
    Lsn next, last, durable_end;
    friend bool operator==(const State&, const State&) = default;
  };
  State state() const {
    const SpaceInfo info = stream_->info();
    const ByteVector image = store_->image();
    const auto hash = std::hash<std::string_view>()(as_text(image));
    return {info.reserved_records, info.reserved_bytes, info.available_bytes, hash,
            log_->next_lsn(),      info.last,           log_->durable_end()};
  }

  std::unique_ptr<ClfsStore> store_;
  std::unique_ptr<LogFile> log_;
  std::optional<LogStream> stream_;
  std::unique_ptr<MarshallingArea> area_;
};

}  // namespace ntfs::lfs::testing
