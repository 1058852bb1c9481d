#pragma once

// What the log service needs from below: bytes at offsets of the log file. The store implements it
// over the runlist of $LogFile; tests implement it in memory. All calls may come from any thread.

#include <span>

#include "core/base/bytes.h"

namespace ntfs::lfs {

/// One page-aligned write: `bytes.size()` is a multiple of 4096, `offset` too.
struct LogWrite {
  uint64_t offset = 0;  ///< bytes from the start of the log file
  ByteView bytes;       ///< 4096-aligned memory
};

class LogStore {
 public:
  virtual ~LogStore() = default;

  /// Size of the log file in bytes.
  virtual uint64_t size_bytes() const = 0;
  /// Fills `into`, a multiple of 512 bytes in 4096-aligned memory. Errors: the device's.
  virtual Result<> read(uint64_t offset, MutableBytes into) = 0;
  /// Writes all of `writes`, in any order, and returns when every one is on stable storage. Data
  /// that was written to the volume before is on stable storage then, too.
  virtual Result<> write_durable(std::span<const LogWrite> writes) = 0;
};

}  // namespace ntfs::lfs
