#pragma once

// A read-only BlockDevice over an image file or a block device, with plain system calls: for tools
// and tests that must work whatever the state of the real device.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "core/io/block_device.h"

namespace ntfs::testing {

class FileDevice final : public BlockDevice {
 public:
  /// Null when it cannot be opened.
  static std::unique_ptr<FileDevice> open(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return nullptr;
    const off_t size = lseek(fd, 0, SEEK_END);
    return std::unique_ptr<FileDevice>(new FileDevice(fd, static_cast<uint64_t>(size)));
  }
  ~FileDevice() override { close(fd_); }
  FileDevice(const FileDevice&) = delete;
  FileDevice& operator=(const FileDevice&) = delete;

  uint64_t size_bytes() const override { return size_ / 512 * 512; }
  uint32_t logical_block_size() const override { return 512; }
  bool is_read_only() const override { return true; }
  Result<> transfer(std::span<const IoRequest> requests) override {
    for (const IoRequest& request : requests) {
      if (request.kind == IoRequest::Kind::Write) return NtStatus::MediaWriteProtected;
      for (size_t done = 0; done < request.memory.size();) {
        const ssize_t part = pread(fd_, request.memory.data() + done, request.memory.size() - done,
                                   static_cast<off_t>(request.offset + done));
        if (part <= 0) return NtStatus::IoDeviceError;
        done += static_cast<size_t>(part);
      }
    }
    return {};
  }
  Result<> transfer_durable(std::span<const IoRequest>) override {
    return NtStatus::MediaWriteProtected;
  }
  Result<> flush() override { return {}; }

 private:
  FileDevice(int fd, uint64_t size) : fd_(fd), size_(size) {}
  const int fd_;
  const uint64_t size_;
};

}  // namespace ntfs::testing
