#pragma once

// Keeps corruption reports off the terminal while tests feed broken bytes by the thousand.

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

namespace ntfs::ondisk::test {

/// stderr goes to /dev/null as long as this lives, unless NTFS_TEST_REPORTS is set (to see what an
/// ASSERT or a sanitizer says).
class QuietReports {
 public:
  QuietReports() : saved_(dup(STDERR_FILENO)) {
    if (std::getenv("NTFS_TEST_REPORTS") != nullptr) return;
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
      dup2(null, STDERR_FILENO);
      close(null);
    }
  }
  ~QuietReports() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  QuietReports(const QuietReports&) = delete;
  QuietReports& operator=(const QuietReports&) = delete;

 private:
  int saved_;
};

}  // namespace ntfs::ondisk::test
