#pragma once

// A log file in memory. It can keep every write it got, so that a test can rebuild what a crash
// would have left, and it can fail on demand. Thread safe.

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "lfs/log_file.h"
#include "lfs/log_reader.h"
#include "lfs/log_store.h"
#include "tests/support/unseen_mix.h"

namespace ntfs::lfs::testing {

class MemoryLogStore final : public LogStore {
 public:
  struct Write {
    uint64_t offset = 0;
    ByteVector bytes;
  };

  explicit MemoryLogStore(uint64_t size_bytes) : bytes_(size_bytes, std::byte{0xFF}) {}
  explicit MemoryLogStore(ByteVector bytes) : bytes_(std::move(bytes)) {}

  uint64_t size_bytes() const override { return bytes_.size(); }

  Result<> read(uint64_t offset, MutableBytes into) override {
    const std::lock_guard lock(mutex_);
    const auto from = slice(ByteView(bytes_), offset, into.size());
    if (!from) return NtStatus::EndOfFile;
    std::copy(from->begin(), from->end(), into.begin());
    return {};
  }

  Result<> write_durable(std::span<const LogWrite> writes) override {
    const std::lock_guard lock(mutex_);
    if (writes_until_failure_ && (*writes_until_failure_)-- == 0) {
      writes_until_failure_ = 0;
      return NtStatus::IoDeviceError;
    }
    ++barriers_;
    if (keeps_history_) history_.emplace_back();
    for (const LogWrite& write : writes) {
      EXPECT_EQ(write.offset % kPageSize, 0u);
      EXPECT_EQ(write.bytes.size() % kPageSize, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(write.bytes.data()) % 4096, 0u);
      EXPECT_LE(write.offset + write.bytes.size(), bytes_.size());
      const ByteView before = ByteView(bytes_).subspan(write.offset, write.bytes.size());
      EXPECT_EQ(ntfs::testing::unseen_mix(before, write.bytes, write.offset), "");
      std::memcpy(bytes_.data() + write.offset, write.bytes.data(), write.bytes.size());
      if (keeps_history_) {
        history_.back().push_back({write.offset, {write.bytes.begin(), write.bytes.end()}});
      }
    }
    return {};
  }

  void keep_history() { keeps_history_ = true; }
  void fail_after(uint64_t calls) { writes_until_failure_ = calls; }
  /// What each call of write_durable wrote since keep_history().
  const std::vector<std::vector<Write>>& history() const { return history_; }
  const ByteVector& bytes() const { return bytes_; }
  ByteVector& bytes() { return bytes_; }
  uint64_t barriers() const { return barriers_; }

 private:
  std::mutex mutex_;
  ByteVector bytes_;
  bool keeps_history_ = false;
  std::optional<uint64_t> writes_until_failure_;
  uint64_t barriers_ = 0;
  std::vector<std::vector<Write>> history_;
};

/// A restart record, a filler and how to start with them; what they say means nothing to lfs.
struct StartValues {
  ByteVector restart = ByteVector(0x70, std::byte{1});
  ByteVector filler = ByteVector(0x28, std::byte{2});

  LogStart start(Lsn floor) const {
    LogStart how;
    how.floor = floor;
    how.restart_record = restart;
    how.filler_transaction_id = 0x40;
    how.filler = filler;
    return how;
  }
};

/// Client data that tells which record it is: length and contents follow from `number`.
inline ByteVector make_data(uint64_t number, uint64_t length_bytes) {
  ByteVector data(align_up(std::max<uint64_t>(length_bytes, 8), 8));
  std::mt19937_64 random(number);
  for (size_t at = 0; at < data.size(); at += 8) {
    const le64 word = le64::of(at == 0 ? number : random());
    std::memcpy(data.data() + at, &word, 8);
  }
  return data;
}

/// What the stream of a volume's log does with LogFile's calls for any stream.
inline Result<> reserve(LogFile& log, uint64_t cost_bytes) {
  SpaceChange change;
  change.taken_bytes = cost_bytes;
  TRY(log.execute(0, nullptr, change));
  return {};
}

inline void release(LogFile& log, uint64_t cost_bytes) {
  SpaceChange change;
  change.given_up_bytes = cost_bytes;
  log.release(0, change);
}

inline Result<Lsn> write_restart(LogFile& log, ByteView restart_record, Lsn new_oldest) {
  const Appended written = TRY(log.write_restart(0, {&restart_record, 1}, new_oldest, {}));
  return written.lsn;
}

/// `from_reserved`: the record is paid from what reserve() took.
inline Result<Lsn> append_data(LogFile& log, ByteView data, bool from_reserved = false) {
  Record record;
  record.transaction_id = 0x18;
  record.parts = {&data, 1};
  SpaceChange change;
  if (from_reserved) change.given_up_bytes = log.cost_of(data.size());
  const Appended appended = TRY(log.execute(0, &record, change));
  return appended.lsn;
}

}  // namespace ntfs::lfs::testing
