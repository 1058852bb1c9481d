// What making a change durable costs the device: counted, not timed.

#include <gtest/gtest.h>

#include "core/fsa/object_store.h"
#include "core/store/format.h"
#include "lfs/log_format.h"
#include "tests/support/memory_device.h"

namespace ntfs {
namespace {

using testing::MemoryDevice;

class DurabilityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FormatOptions format;
    format.content = DeviceContent::Zeroed;
    ASSERT_TRUE(format_volume(device_, format));
    ObjectStoreOptions options;
    options.volume.commit_interval = std::chrono::hours(1);
    std::string why_not;
    auto store = ObjectStore::mount(device_, options, why_not);
    ASSERT_TRUE(store) << why_not;
    store_ = std::move(*store);
    auto file = store_->create(*store_->root(), u"small", {});
    ASSERT_TRUE(file);
    file_ = *file;
    ASSERT_TRUE(store_->flush());
  }

  /// Changes the file, and counts what fsync then asks of the device.
  MemoryDevice::Counters fsync_after_write(std::byte value) {
    const ByteVector bytes(100, value);
    EXPECT_TRUE(store_->write(*file_, 0, bytes, ObjectStore::Buffering::Buffered));
    device_.reset_counters();
    EXPECT_TRUE(store_->flush());
    return device_.counters();
  }

  MemoryDevice device_{uint64_t{64} << 20};
  std::unique_ptr<ObjectStore> store_;
  FilePtr file_;
};

// The open page of the log goes to a tail slot; only where it has filled up meanwhile, it goes to
// its place first.
TEST_F(DurabilityTest, FsyncOfASmallFileWritesTheLogOnce) {
  constexpr int kRounds = 64;
  uint64_t filled = 0;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t before = store_->volume().journal().log()->used_bytes();
    const auto counters = fsync_after_write(static_cast<std::byte>(round + 1));
    EXPECT_EQ(counters.writes, counters.durable_transfers) << "something else was written";
    EXPECT_GE(counters.durable_transfers, 1u);
    EXPECT_LE(counters.durable_transfers, 2u);
    EXPECT_EQ(counters.bytes_written, counters.writes * lfs::kPageSize);
    EXPECT_LT(store_->volume().journal().log()->used_bytes() - before, lfs::kPageSize / 2);
    filled += counters.durable_transfers - 1;
  }
  EXPECT_LT(filled, kRounds / 4u);
}

TEST_F(DurabilityTest, FsyncWithoutAChangeWritesNothing) {
  fsync_after_write(std::byte{1});
  device_.reset_counters();
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(device_.counters().writes, 0u);
}

}  // namespace
}  // namespace ntfs
