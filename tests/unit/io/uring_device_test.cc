#include "core/io/uring_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "core/io/mount_table.h"

namespace ntfs {
namespace {

using Access = UringDevice::Access;
using Options = UringDevice::Options;

std::string unique_path(const std::string& folder) {
  static int count = 0;
  return folder + "uring_device_" + std::to_string(getpid()) + "_" + std::to_string(count++);
}

/// An image file that goes away with the object.
class Image {
 public:
  Image(const std::string& folder, uint64_t size) : path_(unique_path(folder)) {
    EXPECT_TRUE(create_image(path_, size));
  }
  explicit Image(uint64_t size) : Image(::testing::TempDir(), size) {}
  ~Image() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// The first line that a command prints; "" when it fails.
std::string run(const std::string& command) {
  FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return {};
  char line[256] = "";
  const bool any = fgets(line, sizeof(line), pipe) != nullptr;
  if (pclose(pipe) != 0 || !any) return {};
  line[std::strcspn(line, "\n")] = '\0';
  return line;
}

class LoopDevice {
 public:
  LoopDevice(const Image& image, const std::string& options)
      : path_(run("losetup " + options + " --show -f " + image.path())) {}
  ~LoopDevice() {
    if (!path_.empty()) run("losetup -d " + path_);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::unique_ptr<UringDevice> must_open(const std::string& path, Access access = Access::ReadWrite,
                                       const Options& options = {}) {
  auto device = UringDevice::open(path, access, options);
  EXPECT_TRUE(device.has_value()) << path;
  return device.has_value() ? std::move(device).value() : nullptr;
}

void fill(MutableBytes bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
}

bool is_filled(ByteView bytes, uint64_t seed) {
  AlignedBuffer expected(bytes.size());
  fill(expected.bytes().first(bytes.size()), seed);
  return std::memcmp(expected.data(), bytes.data(), bytes.size()) == 0;
}

/// Random transfers of all shapes against a model in memory.
void exercise(BlockDevice& device, uint64_t seed) {
  const size_t size = device.size_bytes();
  const size_t block = device.logical_block_size();
  std::mt19937_64 random(seed);
  std::vector<std::byte> model(size);
  AlignedBuffer all(size);
  ASSERT_TRUE(device.write(0, all.bytes().first(size)));
  for (int round = 0; round < 60; ++round) {
    std::vector<AlignedBuffer> buffers;
    std::vector<IoRequest> requests;
    size_t offset = 0;  // requests of one call must not overlap
    const bool is_write = random() % 2 == 0;
    const size_t step = round % 5 == 0 ? size / block : size / block / 16;
    for (size_t i = 0; i < 150; ++i) {
      offset += random() % std::max<size_t>(step / 4, 1) * block;
      const size_t length = std::min((1 + random() % step) * block, size - std::min(offset, size));
      if (length == 0) break;
      buffers.push_back(random() % 2 == 0 ? device.allocate(length) : AlignedBuffer(length));
      const MutableBytes memory = buffers.back().bytes().first(length);
      if (is_write) {
        fill(memory, random());
        std::memcpy(model.data() + offset, memory.data(), length);
        requests.push_back(IoRequest::write(offset, memory));
      } else {
        requests.push_back(IoRequest::read(offset, memory));
      }
      offset += length;
    }
    if (is_write && random() % 3 == 0) {
      ASSERT_TRUE(device.transfer_durable(requests));
    } else {
      ASSERT_TRUE(device.transfer(requests));
    }
    if (random() % 8 == 0) {
      ASSERT_TRUE(device.flush());
    }
    for (const IoRequest& request : requests) {
      ASSERT_EQ(
          std::memcmp(request.memory.data(), model.data() + request.offset, request.memory.size()),
          0)
          << "seed " << seed;
    }
  }
  ASSERT_TRUE(device.read(0, all.bytes().first(size)));
  ASSERT_EQ(std::memcmp(all.data(), model.data(), size), 0) << "seed " << seed;
}

TEST(UringDevice, TransfersWhatItIsGiven) {
  Image image(24 << 20);
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->size_bytes(), 24u << 20);
  EXPECT_FALSE(device->is_read_only());
  exercise(*device, 1);
}

TEST(UringDevice, WorksWithAShallowQueueAndNoArena) {
  Image image(24 << 20);
  Options options;
  options.queue_depth = 2;
  options.max_rings = 1;
  options.arena_bytes = 0;
  const auto device = must_open(image.path(), Access::ReadWrite, options);
  ASSERT_NE(device, nullptr);
  EXPECT_FALSE(device->has_registered_buffers());
  exercise(*device, 2);
}

TEST(UringDevice, WorksWithoutUring) {
  Image image(8 << 20);
  Options options;
  options.engine = UringDevice::Engine::Synchronous;
  const auto device = must_open(image.path(), Access::ReadWrite, options);
  ASSERT_NE(device, nullptr);
  exercise(*device, 3);
}

TEST(UringDevice, WorksOnTmpfs) {
  struct stat status {};
  if (stat("/dev/shm", &status) != 0) GTEST_SKIP() << "there is no /dev/shm";
  Image image("/dev/shm/", 8 << 20);
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  exercise(*device, 4);
}

TEST(UringDevice, SaysOnceThatODirectIsRefusedAndGoesOn) {
  const std::string folder = unique_path(::testing::TempDir());
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  // ramfs never takes O_DIRECT; tmpfs does since Linux 6.6.
  if (mount("none", folder.c_str(), "ramfs", 0, nullptr) != 0) {
    rmdir(folder.c_str());
    GTEST_SKIP() << "mounting a ramfs needs root";
  }
  {
    Image image(folder + "/", 8 << 20);
    ::testing::internal::CaptureStderr();
    auto device = must_open(image.path());
    if (device != nullptr) exercise(*device, 5);
    device.reset();
    const std::string said = ::testing::internal::GetCapturedStderr();
    const size_t first = said.find("O_DIRECT");
    EXPECT_NE(first, std::string::npos);
    EXPECT_EQ(said.find("O_DIRECT", first + 1), std::string::npos) << said;
  }
  umount(folder.c_str());
  rmdir(folder.c_str());
}

TEST(UringDevice, UsesBlocksOf4096WhereTheDeviceHasThem) {
  Image image(8 << 20);
  LoopDevice loop(image, "-b 4096");
  if (loop.path().empty()) GTEST_SKIP() << "a loop device needs root and a free /dev/loop";
  {
    const auto device = must_open(loop.path());
    ASSERT_NE(device, nullptr);
    EXPECT_EQ(device->logical_block_size(), 4096u);
    EXPECT_EQ(device->size_bytes(), 8u << 20);
    EXPECT_TRUE(device->is_direct());
    AlignedBuffer buffer(4096);
    EXPECT_EQ(device->read(512, buffer.bytes()).error(), NtStatus::InvalidParameter);
    EXPECT_EQ(device->read(0, buffer.bytes().first(512)).error(), NtStatus::InvalidParameter);
    exercise(*device, 6);
    EXPECT_TRUE(device->discard(4096, 8192));
  }
  Options options;
  options.max_block_size = 512;
  const auto device = UringDevice::open(loop.path(), Access::ReadWrite, options);
  ASSERT_TRUE(device) << "smaller ones go through the page cache";
  EXPECT_EQ((*device)->logical_block_size(), 512u);
  EXPECT_EQ((*device)->size_bytes(), 8u << 20);
  EXPECT_FALSE((*device)->is_direct());
  exercise(**device, 6);
}

TEST(UringDevice, ClaimsABlockDeviceForWriting) {
  Image image(8 << 20);
  LoopDevice loop(image, "");
  if (loop.path().empty()) GTEST_SKIP() << "a loop device needs root and a free /dev/loop";
  for (int round = 0; round < 20; ++round) {  // the claim ends with the object
    const auto writer = must_open(loop.path());
    ASSERT_NE(writer, nullptr);
    AlignedBuffer buffer = writer->allocate(64 << 10);
    ASSERT_TRUE(writer->write(0, buffer.bytes()));
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(UringDevice::open(loop.path(), Access::ReadWrite, {}).error(),
              NtStatus::SharingViolation);
    EXPECT_NE(::testing::internal::GetCapturedStderr().find("in use"), std::string::npos);
    const auto reader = must_open(loop.path(), Access::ReadOnly);
    ASSERT_NE(reader, nullptr);
    EXPECT_TRUE(reader->in_use_elsewhere());
    buffer = {};
  }
  EXPECT_FALSE(must_open(loop.path(), Access::ReadOnly)->in_use_elsewhere());
}

TEST(UringDevice, RefusesToWriteToAReadOnlyDevice) {
  Image image(8 << 20);
  LoopDevice loop(image, "-r");
  if (loop.path().empty()) GTEST_SKIP() << "a loop device needs root and a free /dev/loop";
  EXPECT_EQ(UringDevice::open(loop.path(), Access::ReadWrite, {}).error(),
            NtStatus::MediaWriteProtected);
  EXPECT_NE(must_open(loop.path(), Access::ReadOnly), nullptr);
}

TEST(UringDevice, LocksAnImageForWriting) {
  Image image(1 << 20);
  for (int round = 0; round < 20; ++round) {
    auto writer = must_open(image.path());
    ASSERT_NE(writer, nullptr);
    AlignedBuffer buffer = writer->allocate(1 << 20);
    ASSERT_TRUE(writer->write(0, buffer.bytes()));
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(UringDevice::open(image.path(), Access::ReadWrite, {}).error(),
              NtStatus::SharingViolation);
    EXPECT_NE(::testing::internal::GetCapturedStderr().find("in use"), std::string::npos);
    const auto reader = must_open(image.path(), Access::ReadOnly);
    ASSERT_NE(reader, nullptr);
    EXPECT_TRUE(reader->in_use_elsewhere());
    buffer = {};
  }
  const auto first = must_open(image.path(), Access::ReadOnly);
  const auto second = must_open(image.path(), Access::ReadOnly);
  ASSERT_NE(second, nullptr);
  EXPECT_FALSE(second->in_use_elsewhere());
  EXPECT_EQ(UringDevice::open(image.path(), Access::ReadWrite, {}).error(),
            NtStatus::SharingViolation);
}

TEST(UringDevice, ReadOnlyRefusesWrites) {
  Image image(1 << 20);
  const auto device = must_open(image.path(), Access::ReadOnly);
  ASSERT_NE(device, nullptr);
  EXPECT_TRUE(device->is_read_only());
  AlignedBuffer buffer(4096);
  const IoRequest write = IoRequest::write(0, buffer.bytes());
  EXPECT_TRUE(device->read(0, buffer.bytes()));
  EXPECT_EQ(device->transfer({&write, 1}).error(), NtStatus::MediaWriteProtected);
  EXPECT_EQ(device->transfer_durable({&write, 1}).error(), NtStatus::MediaWriteProtected);
  EXPECT_EQ(device->discard(0, 4096).error(), NtStatus::MediaWriteProtected);
  EXPECT_TRUE(device->flush());
}

TEST(UringDevice, AReadOnlyFileSystemIsWriteProtected) {
  const std::string folder = unique_path(::testing::TempDir());
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  if (mount("none", folder.c_str(), "tmpfs", 0, nullptr) != 0) {
    rmdir(folder.c_str());
    GTEST_SKIP() << "mounting a tmpfs needs root";
  }
  const std::string path = folder + "/image";
  EXPECT_TRUE(create_image(path, 1 << 20));
  EXPECT_EQ(mount("none", folder.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr), 0);
  EXPECT_EQ(UringDevice::open(path, Access::ReadWrite, {}).error(), NtStatus::MediaWriteProtected);
  EXPECT_NE(must_open(path, Access::ReadOnly), nullptr);
  umount(folder.c_str());
  rmdir(folder.c_str());
}

TEST(UringDevice, AFullFileSystemIsDiskFull) {
  const std::string folder = unique_path(::testing::TempDir());
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  if (mount("none", folder.c_str(), "tmpfs", 0, "size=1m") != 0) {
    rmdir(folder.c_str());
    GTEST_SKIP() << "mounting a tmpfs needs root";
  }
  {
    Image image(folder + "/", 16 << 20);
    const auto device = must_open(image.path());
    AlignedBuffer buffer(4 << 20);
    EXPECT_EQ(device->write(0, buffer.bytes()).error(), NtStatus::DiskFull);
  }
  umount(folder.c_str());
  rmdir(folder.c_str());
}

TEST(UringDevice, NothingLiesPastTheEnd) {
  Image image((1 << 20) + 100);  // not a whole block
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->size_bytes(), 1u << 20);
  AlignedBuffer buffer(8192);
  EXPECT_TRUE(device->read((1 << 20) - 8192, buffer.bytes()));
  EXPECT_EQ(device->read((1 << 20) - 4096, buffer.bytes()).error(), NtStatus::EndOfFile);
  EXPECT_EQ(device->write((1 << 20) - 4096, buffer.bytes()).error(), NtStatus::EndOfFile);
  EXPECT_EQ(device->read(uint64_t{0} - 4096, buffer.bytes()).error(), NtStatus::EndOfFile);
  EXPECT_EQ(device->discard(1 << 20, 4096).error(), NtStatus::EndOfFile);
}

TEST(UringDevice, AnImageThatShrinksGivesEndOfFile) {
  Image image(4 << 20);
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  ASSERT_EQ(truncate(image.path().c_str(), 1000), 0);
  AlignedBuffer buffer(2 << 20);
  for (const size_t length : {size_t{4096}, size_t{2} << 20}) {  // plain call, ring
    EXPECT_EQ(device->read(0, buffer.bytes().first(length)).error(), NtStatus::EndOfFile);
    EXPECT_EQ(device->read(2 << 20, buffer.bytes().first(length)).error(), NtStatus::EndOfFile);
  }
}

TEST(UringDevice, AnEmptyImageHasNoBytes) {
  Image image(0);
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->size_bytes(), 0u);
  AlignedBuffer buffer(4096);
  EXPECT_EQ(device->read(0, buffer.bytes()).error(), NtStatus::EndOfFile);
}

TEST(UringDevice, NothingToTransferIsFine) {
  Image image(1 << 20);
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  EXPECT_TRUE(device->transfer({}));
  EXPECT_TRUE(device->transfer_durable({}));
  EXPECT_TRUE(device->read(4096, {}));
  EXPECT_TRUE(device->flush());
}

TEST(UringDevice, ServesMoreThreadsThanRings) {
  Image image(64 << 20);
  Options options;
  options.max_rings = 3;
  options.queue_depth = 8;
  const auto device = must_open(image.path(), Access::ReadWrite, options);
  ASSERT_NE(device, nullptr);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 16; ++i) {
    threads.emplace_back([&device, i] {
      std::mt19937_64 random(i);
      for (uint64_t round = 0; round < 30; ++round) {
        const size_t length = 4096 * (1 + random() % 64);
        AlignedBuffer buffer = random() % 2 == 0 ? device->allocate(length) : AlignedBuffer(length);
        fill(buffer.bytes(), i * 1000 + round);
        const size_t half = align_down(length / 2, 4096);
        const ByteView bytes = buffer.bytes();
        const IoRequest writes[] = {
            IoRequest::write(i << 22, bytes.first(half)),
            IoRequest::write((i << 22) + half, bytes.subspan(half)),
        };
        if (random() % 4 == 0) {
          ASSERT_TRUE(device->transfer_durable(writes));
        } else {
          ASSERT_TRUE(device->transfer(writes));
        }
        if (random() % 8 == 0) {
          ASSERT_TRUE(device->flush());
        }
        AlignedBuffer in = device->allocate(length);
        ASSERT_TRUE(device->read(i << 22, in.bytes()));
        ASSERT_TRUE(is_filled(in.bytes(), i * 1000 + round));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(UringDevice, DiscardMakesAHoleInAnImage) {
  Image image(8 << 20);
  const auto device = must_open(image.path());
  ASSERT_NE(device, nullptr);
  AlignedBuffer buffer(4 << 20);
  fill(buffer.bytes(), 1);
  ASSERT_TRUE(device->write(0, buffer.bytes()));
  const Result<> result = device->discard(1 << 20, 2 << 20);
  if (result.error() == NtStatus::NotSupported) GTEST_SKIP() << "no holes on this file system";
  ASSERT_TRUE(result);
  AlignedBuffer hole(2 << 20);
  fill(hole.bytes(), 2);
  ASSERT_TRUE(device->read(1 << 20, hole.bytes()));
  EXPECT_TRUE(std::all_of(hole.bytes().begin(), hole.bytes().end(),
                          [](std::byte byte) { return byte == std::byte{0}; }));
}

/// Uses a device as an ordinary user who may lock so much memory; false if anything fails. In a
/// child, for a limit cannot be raised again, and root has none.
bool works_with_memory_limit(const std::string& path, rlim_t limit_bytes) {
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    const rlimit limit{limit_bytes, limit_bytes};
    bool good = setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
    if (getuid() == 0) good = good && chmod(path.c_str(), 0666) == 0 && setuid(65534) == 0;
    if (good) {
      const auto device = must_open(path);
      good = device != nullptr && !device->has_registered_buffers();
      if (good) exercise(*device, 7);
    }
    _exit(good && !::testing::Test::HasFailure() ? 0 : 1);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

TEST(UringDevice, WorksWhenLittleMemoryMayBeLocked) {
  Image image(4 << 20);
  EXPECT_TRUE(works_with_memory_limit(image.path(), 1 << 20));  // rings, but not the arena
  EXPECT_TRUE(works_with_memory_limit(image.path(), 0));        // not even rings, on new kernels
}

TEST(UringDevice, RefusesWhatIsNeitherFileNorBlockDevice) {
  EXPECT_EQ(UringDevice::open("/dev/null", Access::ReadOnly, {}).error(),
            NtStatus::InvalidDeviceRequest);
  EXPECT_EQ(UringDevice::open("/tmp", Access::ReadOnly, {}).error(), NtStatus::FileIsADirectory);
  EXPECT_EQ(UringDevice::open("/tmp/there/is/none", Access::ReadOnly, {}).error(),
            NtStatus::ObjectNameNotFound);
  const std::string fifo = unique_path(::testing::TempDir());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(UringDevice::open(fifo, Access::ReadOnly, {}).error(), NtStatus::InvalidDeviceRequest);
  unlink(fifo.c_str());
}

TEST(CreateImage, NeverOverwrites) {
  Image image(1 << 20);
  EXPECT_EQ(create_image(image.path(), 4096).error(), NtStatus::ObjectNameCollision);
  struct stat status {};
  ASSERT_EQ(stat(image.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 1 << 20);
  EXPECT_EQ(status.st_blocks, 0);
}

TEST(CreateImage, LeavesNothingBehindWhenTheFileCannotBeThatLarge) {
  const std::string path = unique_path(::testing::TempDir());
  EXPECT_EQ(create_image(path, UINT64_MAX).error(), NtStatus::FileTooLarge);
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(MountTable, ToleratesWhatIsNotMounted) {
  Image image(1 << 20);
  EXPECT_TRUE(ensure_not_mounted(image.path()));
  EXPECT_TRUE(ensure_not_mounted("/there/is/none"));
  EXPECT_TRUE(ensure_not_mounted("/dev/null"));
}

TEST(MountTable, FindsAnImageThatIsMountedThroughALoopDevice) {
  Image image(16 << 20);
  if (std::system(("mkfs.ext4 -q -F " + image.path() + " >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << "there is no mkfs.ext4";
  }
  LoopDevice loop(image, "");
  if (loop.path().empty()) GTEST_SKIP() << "a loop device needs root and a free /dev/loop";
  EXPECT_TRUE(ensure_not_mounted(image.path()));
  EXPECT_TRUE(ensure_not_mounted(loop.path()));
  const std::string folder = unique_path(::testing::TempDir()) + " with space";
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  if (mount(loop.path().c_str(), folder.c_str(), "ext4", 0, nullptr) != 0) {
    rmdir(folder.c_str());
    GTEST_SKIP() << "mounting ext4 is not possible here";
  }
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(ensure_not_mounted(image.path()).error(), NtStatus::SharingViolation);
  EXPECT_EQ(ensure_not_mounted(loop.path()).error(), NtStatus::SharingViolation);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find(folder), std::string::npos) << said;
  EXPECT_EQ(UringDevice::open(loop.path(), Access::ReadWrite, {}).error(),
            NtStatus::SharingViolation);
  umount(folder.c_str());
  rmdir(folder.c_str());
  EXPECT_TRUE(ensure_not_mounted(image.path()));
}

}  // namespace
}  // namespace ntfs
