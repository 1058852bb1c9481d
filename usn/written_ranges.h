#pragma once

// Which ranges of one file were written between its first change and its last close, for the record
// of version 4 that tells them.
// Source: Win32 "FSCTL_USN_TRACK_MODIFIED_RANGES", "USN_RECORD_V4".

#include <cstdint>
#include <vector>

#include "usn/record.h"

namespace ntfs::usn {

constexpr uint64_t kDefaultRangeChunk = uint64_t{16} << 10;
constexpr uint64_t kDefaultRangeThreshold = uint64_t{1} << 20;

/// USN_TRACK_MODIFIED_RANGES.
struct RangeTracking {
  uint64_t chunk_size = 0;           ///< bytes; ranges are told in whole chunks; 0: none are told
  uint64_t file_size_threshold = 0;  ///< bytes; of smaller files none are told
  friend bool operator==(const RangeTracking&, const RangeTracking&) = default;
};

class WrittenRanges {
 public:
  /// So many ranges are told at most, which one record has room for: those that are nearest to each
  /// other are told as one.
  static constexpr size_t kMostExtents = 128;

  /// [offset, offset + length) was written, of a file that has `file_size` bytes then.
  void add(Extent written, uint64_t file_size, const RangeTracking& tracking);
  /// What is to be told, in ascending order, and forgets it: nothing of a file that was small all
  /// the time.
  std::vector<Extent> take();

 private:
  void join_nearest();

  std::vector<Extent> extents_;  // in ascending order, with gaps between them
  bool is_large_ = false;
};

}  // namespace ntfs::usn
