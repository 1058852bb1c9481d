// check_image IMAGE [--strict] [--live]: what the checker finds in a volume image, a line each, and
// what it counted. Reads with plain system calls, so that it works whatever the state of the rest.
// Exit code 0: clean, 4: errors found, 8: could not run.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "core/check/check.h"

namespace ntfs {
namespace {

class PlainDevice final : public BlockDevice {
 public:
  PlainDevice(int fd, uint64_t size) : fd_(fd), size_(size) {}
  uint64_t size_bytes() const override { return size_; }
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
  int fd_;
  uint64_t size_;
};

void print_counts(const CheckReport& report, double seconds) {
  std::printf(
      "%zu errors (%llu more), %llu records, %llu in use, %llu files, %llu directories, "
      "%llu names, %llu entries in %llu blocks, %llu of %llu clusters, %llu fragments, "
      "%.3f s\n",
      report.errors.size(), static_cast<unsigned long long>(report.suppressed),
      static_cast<unsigned long long>(report.records),
      static_cast<unsigned long long>(report.records_in_use),
      static_cast<unsigned long long>(report.files),
      static_cast<unsigned long long>(report.directories),
      static_cast<unsigned long long>(report.names),
      static_cast<unsigned long long>(report.index_entries),
      static_cast<unsigned long long>(report.index_blocks),
      static_cast<unsigned long long>(report.clusters_used),
      static_cast<unsigned long long>(report.clusters_total),
      static_cast<unsigned long long>(report.fragments), seconds);
}

int run(const char* path, const CheckOptions& options) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) {
    std::perror(path);
    return 8;
  }
  const off_t size = S_ISBLK(status.st_mode) ? lseek(fd, 0, SEEK_END) : status.st_size;
  PlainDevice device(fd, static_cast<uint64_t>(size));
  const auto begin = std::chrono::steady_clock::now();
  const auto report = check_volume(device, options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  close(fd);
  if (!report) {
    std::fprintf(stderr, "%s: %.*s\n", path, static_cast<int>(name_of(report.error()).size()),
                 name_of(report.error()).data());
    return 8;
  }
  for (const Finding& finding : report->errors) std::puts(to_line(finding).c_str());
  print_counts(*report, seconds.count());
  return report->is_clean() ? 0 : 4;
}

}  // namespace
}  // namespace ntfs

int main(int argc, char** argv) {
  ntfs::CheckOptions options;
  const char* path = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--strict") == 0) {
      options.strict_duplicates = true;
    } else if (std::strcmp(argv[i], "--live") == 0) {
      options.live = true;
    } else {
      path = argv[i];
    }
  }
  if (path == nullptr) {
    std::fputs("usage: check_image IMAGE [--strict] [--live]\n", stderr);
    return 8;
  }
  return ntfs::run(path, options);
}
