#pragma once

// ASSERT: we are wrong (a bug). On in release too. Never for disk bytes, never for user input.

namespace ntfs {
/// Prints the place and the trace ring to stderr and ends the process.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}  // namespace ntfs

#define ASSERT(condition)                                                       \
  do {                                                                          \
    if (!(condition)) ::ntfs::assertion_failed(#condition, __FILE__, __LINE__); \
  } while (false)
