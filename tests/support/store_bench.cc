// How fast data goes through the store, without FUSE: for scripts/bench store.
//
//   store_bench prepare IMAGE BYTES                       makes the file that the others use
//   store_bench read|write buffered|unbuffered IMAGE BLOCK THREADS SECONDS
//
// IMAGE: a formatted volume. Blocks of 1 MiB and more go one after the other, smaller ones to
// random places. Reads are asked for BATCH at a time. What was buffered is on the device when the
// time ends. Prints one JSON object.

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/fsa/object_store.h"
#include "core/io/uring_device.h"

namespace ntfs {
namespace {

using Buffering = Stream::Buffering;
using Clock = std::chrono::steady_clock;

constexpr std::u16string_view kName = u"data";
constexpr uint64_t kMiB = uint64_t{1} << 20;

[[noreturn]] void give_up(std::string_view what, NtStatus status) {
  fmt::print(stderr, "store_bench: {}: {}\n", what, name_of(status));
  std::exit(1);
}
template <typename T>
T value_of(Result<T> result, std::string_view what) {
  if (!result) give_up(what, result.error());
  return std::move(*result);
}
void check(const Result<>& result, std::string_view what) {
  if (!result) give_up(what, result.error());
}

/// Nothing that a disk could take a short cut with.
AlignedBuffer random_bytes(BlockDevice& device, uint64_t length, uint64_t seed) {
  AlignedBuffer memory = device.allocate(length);
  std::mt19937_64 random(seed);
  for (size_t at = 0; at + sizeof(uint64_t) <= memory.size(); at += sizeof(uint64_t)) {
    const uint64_t value = random();
    std::memcpy(memory.data() + at, &value, sizeof(value));
  }
  return memory;
}

struct Job {
  bool writes = false;
  Buffering buffering = Buffering::Buffered;
  uint64_t block_bytes = 4096;
  size_t threads = 1;
  double seconds = 1;
};

class Bench {
 public:
  explicit Bench(const std::string& image) {
    device_ = value_of(UringDevice::open(image, UringDevice::Access::ReadWrite, {}), image);
    std::string why_not;
    store_ = value_of(ObjectStore::mount(*device_, {}, why_not), "mount");
  }
  void end() { check(store_->dismount(), "dismount"); }

  void prepare(uint64_t bytes) {
    file_ = value_of(store_->create(*store_->root(), kName, {}), "create");
    const auto open = open_file();
    check(store_->allocate(*open, 0, bytes, Stream::KeepSize::Yes), "allocate");
    const AlignedBuffer memory = random_bytes(*device_, kMiB, 1);
    for (uint64_t at = 0; at < bytes; at += kMiB) write(*open, at, memory, Buffering::Unbuffered);
    check(store_->flush(), "flush");
    store_->close(std::unique_ptr<Open>(open));
  }

  /// Bytes a second.
  double run(const Job& job) {
    file_ = value_of(store_->lookup(*store_->root(), kName), "lookup");
    size_ = value_of(file_->data().sizes(), "sizes").file_size;
    const auto begin = Clock::now();
    std::vector<std::thread> threads;
    for (size_t i = 0; i < job.threads; ++i)
      threads.emplace_back([this, &job, i] { work(job, i); });
    std::this_thread::sleep_for(std::chrono::duration<double>(job.seconds));
    is_over_ = true;
    for (std::thread& thread : threads) thread.join();
    if (job.writes) check(store_->flush(), "flush");
    const std::chrono::duration<double> taken = Clock::now() - begin;
    return static_cast<double>(bytes_.load()) / taken.count();
  }

 private:
  Open* open_file() {
    OpenParameters parameters;
    parameters.desired_access = AccessMask::ReadData | AccessMask::WriteData;
    return value_of(store_->open(file_, parameters), "open").release();
  }

  void write(Open& open, uint64_t at, const AlignedBuffer& from, Buffering buffering) {
    WriteParameters parameters;
    parameters.byte_offset = static_cast<int64_t>(at);
    parameters.input = from.bytes();
    parameters.buffering = buffering;
    const auto written = store_->write(open, parameters);
    if (!written) give_up("write", written.error());
  }

  void work(const Job& job, size_t number) {
    Open* open = open_file();
    std::mt19937_64 random(number);
    const uint64_t blocks = size_ / job.block_bytes;
    uint64_t next = number * blocks / job.threads;
    const auto place = [&] {
      const uint64_t block = job.block_bytes >= kMiB ? next++ : random();
      return block % blocks * job.block_bytes;
    };
    AlignedBuffer memory = random_bytes(*device_, job.block_bytes, number);
    uint64_t done = 0;
    for (; !is_over_.load(std::memory_order_relaxed); done += job.block_bytes) {
      if (job.writes) {
        write(*open, place(), memory, job.buffering);
      } else {
        read(*open, place(), memory, job.buffering);
      }
    }
    bytes_ += done;
    store_->close(std::unique_ptr<Open>(open));
  }

  void read(Open& open, uint64_t at, AlignedBuffer& into, Buffering buffering) {
    ReadParameters parameters;
    parameters.byte_offset = static_cast<int64_t>(at);
    parameters.length = into.size();
    parameters.into = into.bytes();
    parameters.buffering = buffering;
    const auto got = store_->read(open, parameters);
    if (!got) give_up("read", got.error());
  }

  std::unique_ptr<UringDevice> device_;
  std::unique_ptr<ObjectStore> store_;
  FilePtr file_;
  uint64_t size_ = 0;
  std::atomic<bool> is_over_{false};
  std::atomic<uint64_t> bytes_{0};
};

int run(const std::vector<std::string>& words) {
  const auto number = [&](size_t index) {
    return std::strtoull(words[index].c_str(), nullptr, 10);
  };
  if (words.size() == 3 && words[0] == "prepare") {
    Bench bench(words[1]);
    bench.prepare(number(2));
    bench.end();
    return 0;
  }
  const bool is_job = words.size() == 6 && (words[0] == "read" || words[0] == "write");
  if (!is_job) {
    fmt::print(stderr,
               "usage: store_bench prepare IMAGE BYTES\n"
               "       store_bench read|write buffered|unbuffered IMAGE BLOCK THREADS SECONDS\n");
    return 64;
  }
  Job job;
  job.writes = words[0] == "write";
  job.buffering = words[1] == "unbuffered" ? Buffering::Unbuffered : Buffering::Buffered;
  job.block_bytes = number(3);
  job.threads = number(4);
  job.seconds = std::atof(words[5].c_str());
  Bench bench(words[2]);
  const double rate = bench.run(job);
  fmt::print(R"({{"bytes_per_second": {:.0f}}})"
             "\n",
             rate);
  bench.end();
  return 0;
}

}  // namespace
}  // namespace ntfs

int main(int count, char** words) {
  return ntfs::run(std::vector<std::string>(words + 1, words + count));
}
