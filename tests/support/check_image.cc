// check_image IMAGE [--strict] [--live]: what the checker finds in a volume image, a line each, and
// what it counted. Reads with plain system calls, so that it works whatever the state of the rest.
// Exit code 0: clean, 4: errors found, 8: could not run.

#include <chrono>
#include <cstdio>
#include <cstring>

#include "core/check/check.h"
#include "tests/support/file_device.h"

namespace ntfs {
namespace {

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
  const auto device = testing::FileDevice::open(path);
  if (device == nullptr) {
    std::perror(path);
    return 8;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto report = check_volume(*device, options);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
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
      options.strict_lsns = true;
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
