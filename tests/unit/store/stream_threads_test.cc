// Streams that several threads use at once.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "tests/unit/store/stream_model.h"

namespace ntfs {
namespace {

using testing::aligned;
using testing::Buffering;
using testing::difference;
using testing::Fixture;
using testing::KeepSize;
using testing::kKiB;
using testing::kMiB;
using testing::pattern;
using testing::RangeKind;
using testing::read;

/// A part of a file that one thread has for itself; its edges share units with the neighbours'.
void exercise_part(Stream& stream, uint64_t start, uint64_t length, uint64_t seed) {
  std::mt19937_64 random(seed);
  ByteVector model(length);
  for (int i = 0; i < 150; ++i) {
    const uint64_t at = random() % length;
    const uint64_t count = std::min<uint64_t>(1 + random() % 40000, length - at);
    const auto first = model.begin() + static_cast<ptrdiff_t>(at);
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        ByteVector bytes = pattern(count, random());
        if (random() % 2 == 0) std::fill_n(bytes.begin(), count * 3 / 4, bytes[0]);
        const AlignedBuffer memory = aligned(bytes);
        const auto buffering = random() % 3 == 0 ? Buffering::Unbuffered : Buffering::Buffered;
        ASSERT_TRUE(stream.write(start + at, memory.bytes().first(count), buffering).has_value());
        std::copy(bytes.begin(), bytes.end(), first);
        break;
      }
      case 3:
        ASSERT_TRUE(stream.punch(start + at, count).has_value());
        std::fill_n(first, count, std::byte{0});
        break;
      case 4:
        ASSERT_TRUE(stream.zero(start + at, count, KeepSize::Yes).has_value());
        std::fill_n(first, count, std::byte{0});
        break;
      case 5:
        if (random() % 4 == 0) {
          ASSERT_TRUE(stream.write_back(Stream::Durable::AtOnce).has_value());
        }
        break;
      default:
        ASSERT_EQ(difference(ByteView(model).subspan(at, count), read(stream, start + at, count)),
                  "");
    }
  }
  ASSERT_EQ(difference(model, read(stream, start, length)), "");
}

void share_a_file(uint32_t cluster_size, Compression compression) {
  Fixture f({64 * kMiB, cluster_size, 1024});
  ASSERT_TRUE(f.stream().set_compression(compression).has_value());
  constexpr uint64_t kPart = 700001;
  constexpr uint64_t kThreads = 4;
  ASSERT_TRUE(f.stream().set_size(kPart * kThreads).has_value());
  std::atomic<bool> stop{false};
  std::thread flusher([&] {
    while (!stop) {
      EXPECT_TRUE(f.volume().commit().has_value());
      (void)f.stream().next_range(0, RangeKind::Hole).has_value();
      (void)f.stream().sizes().has_value();
    }
  });
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { exercise_part(f.stream(), i * kPart, kPart, 100 + i); });
  }
  for (std::thread& thread : threads) thread.join();
  stop = true;
  flusher.join();
  EXPECT_TRUE(f.checked.file().write_back().has_value());
  EXPECT_EQ(f.scratch.check(), "");
}

TEST(Stream, LetsThreadsShareAFile) {
  for (const uint32_t cluster_size : {4096u, 512u}) share_a_file(cluster_size, Compression::None);
}

TEST(CompressedStream, LetsThreadsShareAFile) {
  for (const uint32_t cluster_size : {4096u, 512u}) share_a_file(cluster_size, Compression::Lznt1);
}

TEST(Stream, GivesEachAppendAPlaceOfItsOwn) {
  Fixture f({64 * kMiB, 4096, 1024});
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kRecords = 300;
  constexpr size_t kRecordBytes = 3333;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t number = 0; number < kRecords; ++number) {
        const ByteVector record(kRecordBytes, static_cast<std::byte>(1 + i));
        ASSERT_TRUE(f.stream().append(record).has_value());
        if (number % 50 == 7) {
          ASSERT_TRUE(f.stream().write_back(Stream::Durable::AtOnce).has_value());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(f.checked.file().write_back().has_value());
  EXPECT_EQ(f.scratch.check(), "");
  const ByteVector all = read(f.stream(), 0, kThreads * kRecords * kRecordBytes + 1);
  ASSERT_EQ(all.size(), kThreads * kRecords * kRecordBytes);
  std::array<uint64_t, kThreads + 1> counts{};
  for (size_t at = 0; at < all.size(); at += kRecordBytes) {
    const ByteView record = ByteView(all).subspan(at, kRecordBytes);
    ASSERT_TRUE(std::all_of(record.begin(), record.end(),
                            [&](std::byte byte) { return byte == record[0]; }));
    ++counts[std::to_integer<size_t>(record[0])];
  }
  for (uint64_t i = 1; i <= kThreads; ++i) EXPECT_EQ(counts[i], kRecords);
}

TEST(Stream, WritesBackWhileMoreIsBuffered) {
  Fixture f({192 * kMiB, 4096, 1024});
  constexpr uint64_t kThreads = 3;
  constexpr uint64_t kEach = 40 * kMiB;
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t at = 0; at < kEach; at += 128 * kKiB) {
        const ByteVector bytes(128 * kKiB, static_cast<std::byte>((at >> 17) + i));
        // Side by side, as the kernel hands out a stream.
        ASSERT_TRUE(f.stream()
                        .write(at * kThreads + i * 128 * kKiB, bytes, Buffering::Buffered)
                        .has_value());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(f.checked.file().write_back().has_value());
  EXPECT_EQ(f.scratch.check(), "");
  for (uint64_t at = 0; at < kEach; at += 128 * kKiB) {
    for (uint64_t i = 0; i < kThreads; ++i) {
      const ByteVector bytes = read(f.stream(), at * kThreads + i * 128 * kKiB, 128 * kKiB);
      const ByteVector expected(128 * kKiB, static_cast<std::byte>((at >> 17) + i));
      ASSERT_EQ(difference(expected, bytes), "");
    }
  }
}

}  // namespace
}  // namespace ntfs
