#include "tests/support/memory_device.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace ntfs::testing {
namespace {

void fill(MutableBytes bytes, uint8_t value) {
  std::fill(bytes.begin(), bytes.end(), std::byte{value});
}

bool holds(ByteView bytes, uint8_t value) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [value](std::byte byte) { return byte == std::byte{value}; });
}

TEST(MemoryDevice, KeepsWhatIsWrittenAcrossChunks) {
  MemoryDevice device(1 << 20);
  AlignedBuffer out(128 << 10);
  fill(out.bytes(), 0xA5);
  ASSERT_TRUE(device.write(61440, out.bytes()));
  AlignedBuffer in(136 << 10);
  ASSERT_TRUE(device.read(57344, in.bytes()));
  EXPECT_TRUE(holds(in.bytes().first(4096), 0));
  EXPECT_TRUE(holds(in.bytes().subspan(4096, 128 << 10), 0xA5));
  EXPECT_TRUE(holds(in.bytes().last(4096), 0));
}

TEST(MemoryDevice, Holds16TiBSparsely) {
  const uint64_t size = uint64_t{16} << 40;
  MemoryDevice device(size, 4096);
  AlignedBuffer buffer(4096);
  fill(buffer.bytes(), 7);
  ASSERT_TRUE(device.write(size - 4096, buffer.bytes()));
  fill(buffer.bytes(), 0);
  ASSERT_TRUE(device.write(size / 2, buffer.bytes()));
  EXPECT_EQ(device.allocated_bytes(), 64u << 10);  // zeros need no memory
  ASSERT_TRUE(device.read(size - 4096, buffer.bytes()));
  EXPECT_TRUE(holds(buffer.bytes(), 7));
}

TEST(MemoryDevice, RefusesWhatARealDeviceRefuses) {
  MemoryDevice device(8192, 4096);
  AlignedBuffer buffer(8192);
  EXPECT_EQ(device.read(512, buffer.bytes().first(4096)).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(device.read(0, buffer.bytes().first(512)).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(device.read(0, buffer.bytes().subspan(512, 4096)).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(device.read(4096, buffer.bytes()).error(), NtStatus::EndOfFile);
  EXPECT_EQ(device.read(uint64_t{0} - 4096, buffer.bytes()).error(), NtStatus::EndOfFile);
  const IoRequest read = IoRequest::read(0, buffer.bytes());
  EXPECT_EQ(device.transfer_durable({&read, 1}).error(), NtStatus::InvalidParameter);
  device.make_read_only();
  EXPECT_EQ(device.write(0, buffer.bytes()).error(), NtStatus::MediaWriteProtected);
}

TEST(MemoryDevice, FailsTheNthWriteOnce) {
  MemoryDevice device(1 << 20);
  AlignedBuffer buffer(4096);
  fill(buffer.bytes(), 1);
  device.fail_write(3);
  EXPECT_TRUE(device.write(0, buffer.bytes()));
  EXPECT_TRUE(device.write(4096, buffer.bytes()));
  EXPECT_EQ(device.write(8192, buffer.bytes()).error(), NtStatus::IoDeviceError);
  EXPECT_TRUE(device.write(12288, buffer.bytes()));
  AlignedBuffer in(4096);
  ASSERT_TRUE(device.read(8192, in.bytes()));
  EXPECT_TRUE(holds(in.bytes(), 0));
}

TEST(MemoryDevice, FailsEveryWriteFromTheNth) {
  MemoryDevice device(1 << 20);
  AlignedBuffer buffer(4096);
  device.fail_write(2, MemoryDevice::Lasting::Forever);
  EXPECT_TRUE(device.write(0, buffer.bytes()));
  EXPECT_FALSE(device.write(0, buffer.bytes()));
  EXPECT_FALSE(device.write(0, buffer.bytes()));
  device.clear_faults();
  EXPECT_TRUE(device.write(0, buffer.bytes()));
}

TEST(MemoryDevice, FailsReadsThatTouchARange) {
  MemoryDevice device(1 << 20);
  AlignedBuffer buffer(8192);
  device.fail_reads(8192, 512);
  EXPECT_TRUE(device.read(0, buffer.bytes()));
  EXPECT_EQ(device.read(4096, buffer.bytes()).error(), NtStatus::IoDeviceError);
  EXPECT_EQ(device.read(8192, buffer.bytes()).error(), NtStatus::IoDeviceError);
  EXPECT_TRUE(device.read(8704, buffer.bytes()));
}

TEST(MemoryDevice, CountsRequestsCallsAndBytes) {
  MemoryDevice device(1 << 20);
  AlignedBuffer buffer(8192);
  const IoRequest both[] = {IoRequest::write(0, buffer.bytes()),
                            IoRequest::write(65536, buffer.bytes().first(512))};
  ASSERT_TRUE(device.transfer_durable(both));
  ASSERT_TRUE(device.read(0, buffer.bytes()));
  ASSERT_TRUE(device.flush());
  const MemoryDevice::Counters counters = device.counters();
  EXPECT_EQ(counters.writes, 2u);
  EXPECT_EQ(counters.reads, 1u);
  EXPECT_EQ(counters.transfers, 2u);
  EXPECT_EQ(counters.durable_transfers, 1u);
  EXPECT_EQ(counters.flushes, 1u);
  EXPECT_EQ(counters.bytes_written, 8704u);
  EXPECT_EQ(counters.bytes_read, 8192u);
}

TEST(MemoryDevice, DiscardLeavesTheNeighboursAlone) {
  MemoryDevice device(1 << 20);
  AlignedBuffer buffer(256 << 10);
  fill(buffer.bytes(), 9);
  ASSERT_TRUE(device.write(0, buffer.bytes()));
  ASSERT_TRUE(device.discard(4096, 192 << 10));
  ASSERT_TRUE(device.read(0, buffer.bytes()));
  EXPECT_TRUE(holds(buffer.bytes().first(4096), 9));
  EXPECT_TRUE(holds(buffer.bytes().subspan(4096, 192 << 10), 0));
  EXPECT_TRUE(holds(buffer.bytes().subspan(4096 + (192 << 10)), 9));
  EXPECT_EQ(device.allocated_bytes(), 128u << 10);
}

TEST(MemoryDevice, CloneAndFileHoldTheSame) {
  MemoryDevice device(200 << 10);
  AlignedBuffer buffer(4096);
  fill(buffer.bytes(), 3);
  ASSERT_TRUE(device.write(100 << 10, buffer.bytes()));
  const auto copy = device.clone();
  fill(buffer.bytes(), 4);
  ASSERT_TRUE(device.write(100 << 10, buffer.bytes()));
  ASSERT_TRUE(copy->read(100 << 10, buffer.bytes()));
  EXPECT_TRUE(holds(buffer.bytes(), 3));

  const std::string path = ::testing::TempDir() + "memory_device_" + std::to_string(getpid());
  ASSERT_TRUE(device.save(path));
  const auto loaded = MemoryDevice::load(path);
  unlink(path.c_str());
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->size_bytes(), device.size_bytes());
  ASSERT_TRUE(loaded->read(100 << 10, buffer.bytes()));
  EXPECT_TRUE(holds(buffer.bytes(), 4));
}

TEST(MemoryDevice, ServesManyThreads) {
  MemoryDevice device(16 << 20);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 8; ++i) {
    threads.emplace_back([&device, i] {
      AlignedBuffer buffer(64 << 10);
      for (uint64_t round = 0; round < 50; ++round) {
        fill(buffer.bytes(), static_cast<uint8_t>(i + round));
        ASSERT_TRUE(device.write(i << 20, buffer.bytes()));
        ASSERT_TRUE(device.read(i << 20, buffer.bytes()));
        ASSERT_TRUE(holds(buffer.bytes(), static_cast<uint8_t>(i + round)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(device.counters().writes, 400u);
}

}  // namespace
}  // namespace ntfs::testing
