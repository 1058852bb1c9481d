#pragma once

// Power cuts: what a disk that lost power while (or before) a call ran may hold afterwards. All
// writes that were sure are there; of the others, the "pending" ones, each cut says which survived,
// whole or by sectors.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/crash/disk_image.h"
#include "tests/crash/recording_device.h"

namespace ntfs::crash {

struct PowerCut {
  enum class Kind {
    None,     ///< all pending writes are lost
    All,      ///< all are there
    Earlier,  ///< those of earlier calls are there, those of this call are not
    Drop,     ///< all but one
    Only,     ///< none but one
    Tear,     ///< all, but of one only the first sectors
    Tail,     ///< all, but of one only the sectors behind the first ones
    Random,   ///< a subset, some of them torn
  };
  size_t call = 0;  ///< the one that was running; calls.size(): after the last
  Kind kind = Kind::None;
  size_t write = 0;     ///< Drop, Only, Tear, Tail: which of the pending writes
  uint64_t detail = 0;  ///< Tear, Tail: sectors; Random: seed

  std::string to_text() const;
  static std::optional<PowerCut> parse(std::string_view text);
};

/// Cuts of every kind, in random order, each kind about as often as the others. At most `limit`.
std::vector<PowerCut> choose_cuts(const Recording& recording, uint32_t sector_size, size_t limit,
                                  uint64_t seed);

/// Each moment from `first_call` on, with everything, nothing, and what earlier calls had pending;
/// and each write of the running call alone missing, and torn in the middle.
std::vector<PowerCut> every_cut(const Recording& recording, uint32_t sector_size,
                                size_t first_call);

/// Makes the images that cuts leave. Cuts must come in the order of their calls.
class CutDisks {
 public:
  /// `before`: the disk when the recording began. Both must outlive this.
  CutDisks(const DiskImage& before, const Recording& recording, uint32_t sector_size)
      : recording_(recording), sector_size_(sector_size), sure_(&before) {}

  /// An image on top of what is sure; until the next call only. Null when an image with the very
  /// same survivors was made before, under the same promise (a number that tells promises apart).
  std::unique_ptr<DiskImage> make(const PowerCut& cut, uint64_t promise);

 private:
  const Recording& recording_;
  const uint32_t sector_size_;
  DiskImage sure_;
  size_t sure_writes_ = 0;
  std::vector<uint64_t> made_;  // signatures of the images on this sure_
};

}  // namespace ntfs::crash
