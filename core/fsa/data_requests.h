#pragma once

// What requests for the data of a stream are made of: parameters and answers of ObjectStore.

#include <cstdint>
#include <optional>
#include <vector>

#include "core/base/bytes.h"
#include "core/fsa/byte_range_lock.h"
#include "core/fsa/open.h"

namespace ntfs {

/// Offsets with a meaning of their own. MS-FSA 2.1.5.4.
constexpr int64_t kEndOfStream = -1;
constexpr int64_t kCurrentPosition = -2;

struct WriteParameters {
  int64_t byte_offset = 0;  ///< bytes, kEndOfStream or kCurrentPosition
  ByteView input;
  Stream::Buffering buffering = Stream::Buffering::Buffered;
  std::optional<LockKey> key = 0;  ///< nothing: any of the open
};

struct ReadParameters {
  int64_t byte_offset = 0;
  size_t length = 0;
  MutableBytes into;  ///< see Stream::read
  Stream::Buffering buffering = Stream::Buffering::Buffered;
  std::optional<LockKey> key = 0;
};

struct LockParameters {
  uint64_t offset = 0;
  uint64_t length = 0;
  ByteRangeLock::Mode mode = ByteRangeLock::Mode::Shared;
  LockKey key = 0;
  ByteRangeLock::Kind kind = ByteRangeLock::Kind::Range;
  uint32_t process = 0;
};

/// A part of a stream. MS-FSCC 2.3.34 "FILE_ALLOCATED_RANGE_BUFFER".
struct StreamRange {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool operator==(const StreamRange&) const = default;
};
struct AllocatedRanges {
  NtStatus status = NtStatus::Success;  ///< BufferOverflow: there are more
  std::vector<StreamRange> ranges;
};

/// MS-FSCC 2.3.7 "FSCTL_DUPLICATE_EXTENTS_TO_FILE Request": bytes, multiples of the cluster size.
struct DuplicateExtents {
  int64_t source_offset = 0;
  int64_t target_offset = 0;
  int64_t byte_count = 0;
};

/// One of several reads: see Stream::read.
struct DataRead {
  File* file = nullptr;
  Open* open = nullptr;  ///< of that file; null: the unnamed stream, by the file
  Stream::Buffering buffering = Stream::Buffering::Buffered;
  uint64_t offset = 0;
  size_t length = 0;
  MutableBytes into;
  std::optional<LockKey> key = 0;
  Result<size_t> done = size_t{0};  ///< the answer
};

}  // namespace ntfs
