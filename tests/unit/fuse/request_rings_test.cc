#include "fuse/request_rings.h"

#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/support/memory_device.h"

namespace ntfs::frontend {
namespace {

// What needs the kernel's side is verified on mounts: tests/mounted/rings.py.

class RequestRingsTest : public ::testing::Test {
 protected:
  RequestRingsTest() {
    options_.queue = file_;
    options_.payload_bytes = 4096;
    options_.threads = 2;
    options_.handle = [](const fuse_buf&) { return true; };
    options_.ended = [this] { ++ended_; };
  }
  ~RequestRingsTest() override { close(file_); }

  const int file_ = memfd_create("none", MFD_CLOEXEC);  // which knows nothing of requests
  std::atomic<int> ended_{0};
  testing::MemoryDevice device_{1 << 20};
  RequestRings::Options options_;
};

TEST_F(RequestRingsTest, ThatNeverStartedDoNotEndTheMount) {
  {
    RequestRings rings(device_, options_);
    if (!rings.prepare()) GTEST_SKIP() << "no io_uring on this system";
  }
  EXPECT_EQ(ended_, 0);
}

TEST_F(RequestRingsTest, EndTheMountWhenTheKernelDoesNotTakeThem) {
  RequestRings rings(device_, options_);
  if (!rings.prepare()) GTEST_SKIP() << "no io_uring on this system";
  rings.start();
  while (ended_ < 2) std::this_thread::yield();
}

TEST_F(RequestRingsTest, AreOfSoManyThreadsThatTheirMemoryIsBounded) {
  options_.threads = 1000;
  {
    RequestRings rings(device_, options_);
    if (!rings.prepare()) GTEST_SKIP() << "no io_uring on this system, or too many processors";
    rings.start();
    while (ended_ < 2) std::this_thread::yield();
  }
  EXPECT_LE(ended_, 32);
}

TEST_F(RequestRingsTest, LeaveOtherAnswersAlone) {
  RequestRings rings(device_, options_);
  fuse_out_header header{};
  header.len = sizeof(header);
  const iovec part{&header, sizeof(header)};
  EXPECT_FALSE(rings.take_answer(&part, 1)) << "a notification";
  header.unique = 7;
  EXPECT_FALSE(rings.take_answer(&part, 1)) << "of a request that was read from /dev/fuse";
}

}  // namespace
}  // namespace ntfs::frontend
