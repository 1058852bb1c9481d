#include "core/io/buffer_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "core/io/block_device.h"

namespace ntfs {
namespace {

constexpr size_t kArena = size_t{2} << 20;

TEST(BufferArena, GivesAlignedMemoryUntilItIsFull) {
  BufferArena arena(kArena - 5);
  EXPECT_EQ(arena.bytes().size(), kArena);
  std::byte* first = arena.take(kArena / 2);
  std::byte* second = arena.take(kArena / 2);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(second) % 4096, 0u);
  EXPECT_EQ(arena.take(4096), nullptr);
  arena.give_back(first, kArena / 2);
  EXPECT_EQ(arena.take(4096), first);
  arena.give_back(first, 4096);
  arena.give_back(second, kArena / 2);
}

TEST(BufferArena, JoinsWhatComesBack) {
  BufferArena arena(kArena);
  std::vector<std::byte*> parts(8);
  for (std::byte*& part : parts) part = arena.take(kArena / 8);
  for (const size_t i : {1, 3, 5, 7, 0, 2, 6, 4}) arena.give_back(parts[i], kArena / 8);
  std::byte* whole = arena.take(kArena);
  EXPECT_NE(whole, nullptr);
  arena.give_back(whole, kArena);
}

TEST(BufferArena, EmptyOneGivesNothing) {
  BufferArena arena(0);
  EXPECT_EQ(arena.take(4096), nullptr);
  AlignedBuffer buffer(4096, arena);
  EXPECT_NE(buffer.data(), nullptr);
  EXPECT_FALSE(arena.contains(buffer.bytes()));
}

TEST(BufferArena, BuffersAreZeroedAndMove) {
  BufferArena arena(kArena);
  {
    AlignedBuffer buffer(10000, arena);
    EXPECT_EQ(buffer.size(), 12288u);
    EXPECT_TRUE(arena.contains(buffer.bytes()));
    std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{1});
    AlignedBuffer other = std::move(buffer);
    EXPECT_EQ(buffer.size(), 0u);  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(other.size(), 12288u);
    other = AlignedBuffer(4096);
    EXPECT_FALSE(arena.contains(other.bytes()));
  }
  AlignedBuffer again(12288, arena);
  EXPECT_TRUE(std::all_of(again.bytes().begin(), again.bytes().end(),
                          [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST(BufferArena, ManyThreadsNeverShareMemory) {
  BufferArena arena(kArena);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&arena, i] {
      std::mt19937 random(i);
      for (int round = 0; round < 100; ++round) {
        AlignedBuffer buffer(4096 * (1 + random() % 100), arena);
        const auto mark = std::byte(i + 1);
        std::fill(buffer.bytes().begin(), buffer.bytes().end(), mark);
        std::this_thread::yield();
        ASSERT_TRUE(std::all_of(buffer.bytes().begin(), buffer.bytes().end(),
                                [mark](std::byte byte) { return byte == mark; }));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ntfs
