// How fast the log is: records appended, and commits made durable, by several threads.
//
//   log_bench append memory|FILE THREADS BYTES SECONDS     appends of records with BYTES of data
//   log_bench commit FILE THREADS SECONDS                  each thread: append, and wait until
//   durable
//
// FILE is an existing file or device; all of it becomes the log. Prints one JSON object.

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "core/io/uring_device.h"
#include "lfs/log_file.h"

namespace ntfs {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kCommitBytes = 200;  // client data of a commit's record
/// Appenders let so much gather before they ask for a flush.
constexpr uint64_t kFlushBytes = uint64_t{1} << 20;

/// A store that forgets: what is left is the cost of the log itself.
class NullStore final : public lfs::LogStore {
 public:
  uint64_t size_bytes() const override { return uint64_t{1} << 30; }
  Result<> read(uint64_t, MutableBytes into) override {
    std::fill(into.begin(), into.end(), std::byte{0xFF});
    return {};
  }
  Result<> write_durable(std::span<const lfs::LogWrite>) override {
    count_writes.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  std::atomic<uint64_t> count_writes{0};
};

class DeviceStore final : public lfs::LogStore {
 public:
  explicit DeviceStore(std::unique_ptr<UringDevice> device) : device_(std::move(device)) {}
  uint64_t size_bytes() const override { return device_->size_bytes(); }
  Result<> read(uint64_t offset, MutableBytes into) override { return device_->read(offset, into); }
  Result<> write_durable(std::span<const lfs::LogWrite> writes) override {
    std::vector<IoRequest> requests;
    for (const lfs::LogWrite& write : writes) {
      requests.push_back(IoRequest::write(write.offset, write.bytes));
    }
    count_writes.fetch_add(1, std::memory_order_relaxed);
    return device_->transfer_durable(requests);
  }
  std::atomic<uint64_t> count_writes{0};

 private:
  std::unique_ptr<UringDevice> device_;
};

class Bench {
 public:
  Bench(lfs::LogStore& store, uint64_t data_bytes) : data_(data_bytes, std::byte{7}) {
    lfs::LogStart how;
    how.restart_record = restart_;
    how.filler_transaction_id = 0x40;
    how.filler = filler_;
    log_ = lfs::LogFile::start(store, how).value();
  }

  /// Runs `step` on so many threads until the time is over; records per second.
  template <typename Step>
  double run(int threads, double seconds, const Step& step) {
    std::atomic<uint64_t> count{0};
    std::atomic<bool> is_over{false};
    const auto begin = Clock::now();
    std::vector<std::thread> workers;
    for (int i = 0; i < threads; ++i) {
      workers.emplace_back([&] {
        uint64_t done = 0;
        while (!is_over.load(std::memory_order_relaxed)) step(++done);
        count.fetch_add(done);
      });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    is_over.store(true);
    for (std::thread& worker : workers) worker.join();
    ASSERT(log_->flush_to(log_->last_lsn()).has_value());
    const std::chrono::duration<double> taken = Clock::now() - begin;
    return static_cast<double>(count.load()) / taken.count();
  }

  lfs::Lsn append() {
    const ByteView part = data_;
    lfs::Record record;
    record.transaction_id = 0x18;
    record.parts = {&part, 1};
    while (true) {
      const auto appended = log_->execute(0, &record, {});
      if (appended) return appended->lsn;
      ASSERT(appended.error() == NtStatus::LogFileFull);
      free_space();
    }
  }
  void append_and_flush_some(uint64_t number) {
    const lfs::Lsn lsn = append();
    const uint64_t between = std::max<uint64_t>(1, kFlushBytes / data_.size());
    if (number % between == 0) ASSERT(log_->flush_to(lsn).has_value());
  }
  void commit() { ASSERT(log_->flush_to(append()).has_value()); }

 private:
  void free_space() {
    const MutexLock lock(checkpoint_);
    if (log_->used_bytes() < log_->capacity_bytes() / 2) return;  // another thread was here
    const ByteView restart = restart_;
    ASSERT(log_->write_restart(0, {&restart, 1}, log_->last_lsn(), {}).has_value());
  }

  const ByteVector data_;
  const ByteVector restart_ = ByteVector(0x70, std::byte{1});
  const ByteVector filler_ = ByteVector(0x28, std::byte{2});
  std::unique_ptr<lfs::LogFile> log_;
  Mutex checkpoint_{LockRank::Volume};
};

int bench_append(const std::string& where, int threads, uint64_t bytes, double seconds,
                 lfs::LogStore& store) {
  Bench bench(store, bytes);
  const double rate =
      bench.run(threads, seconds, [&](uint64_t number) { bench.append_and_flush_some(number); });
  fmt::print(R"({{"where": "{}", "threads": {}, "bytes": {}, "records_per_second": {:.0f}, )"
             R"("bytes_per_second": {:.0f}}})"
             "\n",
             where, threads, bytes, rate, rate * static_cast<double>(bytes));
  return 0;
}

int bench_commit(int threads, double seconds, DeviceStore& store) {
  Bench bench(store, kCommitBytes);
  const uint64_t before = store.count_writes.load();
  const double rate = bench.run(threads, seconds, [&](uint64_t) { bench.commit(); });
  const double writes = static_cast<double>(store.count_writes.load() - before);
  fmt::print(R"({{"waiters": {}, "commits_per_second": {:.0f}, "commits_per_write": {:.2f}}})"
             "\n",
             threads, rate, rate * seconds / writes);
  return 0;
}

std::unique_ptr<DeviceStore> open_store(const std::string& path) {
  auto device = UringDevice::open(path, UringDevice::Access::ReadWrite, {});
  if (!device) std::exit(1);  // said why
  return std::make_unique<DeviceStore>(std::move(*device));
}

}  // namespace
}  // namespace ntfs

int main(int count, char** words) {
  const std::vector<std::string> arguments(words + 1, words + count);
  const auto number = [&](size_t index) { return std::atof(arguments[index].c_str()); };
  if (arguments.size() == 5 && arguments[0] == "append") {
    const int threads = static_cast<int>(number(2));
    const auto bytes = static_cast<uint64_t>(number(3));
    if (arguments[1] == "memory") {
      ntfs::NullStore store;
      return ntfs::bench_append("memory", threads, bytes, number(4), store);
    }
    const auto store = ntfs::open_store(arguments[1]);
    return ntfs::bench_append("device", threads, bytes, number(4), *store);
  }
  if (arguments.size() == 4 && arguments[0] == "commit") {
    const auto store = ntfs::open_store(arguments[1]);
    return ntfs::bench_commit(static_cast<int>(number(2)), number(3), *store);
  }
  fmt::print(stderr,
             "usage: log_bench append memory|FILE THREADS BYTES SECONDS\n"
             "       log_bench commit FILE THREADS SECONDS\n");
  return 64;
}
