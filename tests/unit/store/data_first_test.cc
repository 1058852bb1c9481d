// A record that makes bytes reachable is durable only after them, whatever other threads do.

#include <gtest/gtest.h>

#include <functional>

#include "core/fsa/object_store.h"
#include "core/store/format.h"
#include "tests/support/memory_device.h"

namespace ntfs {
namespace {

/// Notes the order of data writes, flushes and writes of the log; runs something after a flush, as
/// another thread might.
class WatchedDevice final : public BlockDevice {
 public:
  explicit WatchedDevice(BlockDevice& below) : below_(below) {}
  uint64_t size_bytes() const override { return below_.size_bytes(); }
  uint32_t logical_block_size() const override { return below_.logical_block_size(); }
  bool is_read_only() const override { return false; }
  Result<> transfer(std::span<const IoRequest> requests) override {
    for (const IoRequest& request : requests) {
      if (request.kind == IoRequest::Kind::Write) {
        events += 'd';
        break;
      }
    }
    return below_.transfer(requests);
  }
  Result<> transfer_durable(std::span<const IoRequest> writes) override {
    events += 'L';
    return below_.transfer_durable(writes);
  }
  Result<> flush() override {
    events += 'f';
    const auto todo = std::move(after_flush);
    after_flush = nullptr;
    if (todo) todo();
    return below_.flush();
  }

  std::string events;
  std::function<void()> after_flush;

 private:
  BlockDevice& below_;
};

TEST(DataFirst, WhatIsWrittenDuringAFlushOfTheLogIsDurableBeforeItsRecords) {
  testing::MemoryDevice memory(uint64_t{16} << 20);
  FormatOptions format;
  format.content = DeviceContent::Zeroed;
  ASSERT_TRUE(format_volume(memory, format));
  WatchedDevice device(memory);
  ObjectStoreOptions options;
  options.volume.commit_interval = std::chrono::milliseconds(0);
  std::string why_not;
  auto store = ObjectStore::mount(device, options, why_not);
  ASSERT_TRUE(store) << why_not;
  ObjectStore& volume = **store;
  const auto first = volume.create(*volume.root(), u"first", {});
  const auto second = volume.create(*volume.root(), u"second", {});
  ASSERT_TRUE(first && second);
  ASSERT_TRUE(volume.flush());

  AlignedBuffer data(4096);
  ASSERT_TRUE(volume.write(**first, 0, data.bytes(), Stream::Buffering::Buffered));
  device.after_flush = [&] {
    device.events.clear();
    EXPECT_TRUE(volume.write(**second, 0, data.bytes(), Stream::Buffering::Unbuffered));
    EXPECT_EQ(device.events, "d");  // the data; its record waits for the log
  };
  ASSERT_TRUE(volume.flush());
  // A page of the log that was full before goes by itself.
  EXPECT_TRUE(device.events.starts_with("dfL") || device.events.starts_with("dLfL"))
      << device.events;

  // Without others one flush is enough.
  AlignedBuffer more(64 << 10);
  ASSERT_TRUE(volume.write(**first, 4096, more.bytes(), Stream::Buffering::Buffered));
  device.events.clear();
  ASSERT_TRUE(volume.flush());
  EXPECT_EQ(device.events, "dfL");
  ASSERT_TRUE(volume.dismount());
}

}  // namespace
}  // namespace ntfs
