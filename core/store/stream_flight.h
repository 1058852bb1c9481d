#pragma once

// One step of a stream's write-back (or of an allocation): units on their way to the device, the
// clusters they get, and what the transaction behind them will say. For the sources of Stream only.

#include "core/ondisk/attribute_record.h"
#include "core/store/cluster_refcounts.h"
#include "core/store/stream.h"

namespace ntfs {

/// Units whose memory is contiguous.
struct Stream::FlightPiece {
  uint64_t first = 0;
  uint64_t count = 0;
  const std::byte* memory = nullptr;
  ChunkRef chunk;          ///< keeps the memory
  bool is_logged = false;  ///< goes into the log, and later in place
  uint64_t end() const { return first + count; }
};

struct Stream::Flight {
  using Piece = FlightPiece;
  /// Neighbouring clusters that get new lcns, to be claimed: they have none, or shared ones.
  struct Stretch {
    Vcn vcn;
    ClusterCount count;
    bool is_extra = false;   ///< not of a unit: nobody promised it
    bool is_zeroed = false;  ///< below the valid data length: zeros go there first
    Vcn end() const { return vcn + count; }
  };

  std::vector<Piece> pieces;
  std::vector<Piece> packed;  ///< is_compressed: of each unit that is no hole, what is written
  std::vector<Stretch> stretches;
  size_t shared_parts = 0;       ///< runs of shared clusters in them: each is released by itself
  size_t most_shared_parts = 0;  ///< that one transaction takes
  uint64_t most_clusters = 0;    ///< of the stretches, with as many of them
  bool is_urgent = false;        ///< will be made durable at once
  bool needs_extra = false;      ///< an allocation: without its clusters it fails
  bool is_foreign = false;       ///< the memory is a caller's
  bool is_compressed = false;    ///< the pieces' units are packed, and get all their clusters anew
  bool sets_file_size = false;   ///< nothing else is buffered: the file size in memory goes to disk
  uint64_t end_unit = 0;         ///< one past the last unit
  uint64_t file_size = 0;        ///< in memory when it began
  uint64_t file_size_before = 0;  ///< is_foreign: before the caller's write
  // As on disk before.
  bool was_resident = false;
  uint64_t old_file_size = 0;
  uint64_t old_valid = 0;
  Vcn old_end;
  bool had_holes = false;

  // Set by claim().
  std::vector<ClusterRun> claimed;
  uint64_t extra = 0;  ///< promised in addition, clusters
  bool is_trimmed = false;
  std::vector<ClusterRun> released;  ///< shared ones that it leaves
  Runlist after;
  bool changes_runs = false;
  Vcn first_change;
  Vcn end_change;
  ondisk::AttributeSizes sizes;

  uint64_t count_units() const;
  bool has_logged_units() const;
  /// Its sizes or runs. After take_off().
  bool changes_attribute() const;
  ClusterCount wanted() const;
  /// Joins it to the last one where that is possible. In order of vcn.
  void add_stretch(const Stretch& stretch);
  /// The same for shared clusters.
  void add_shared(const Stretch& stretch);
  /// Puts stretches that nobody promised in their places among the others.
  void add_extra(const std::vector<Stretch>& fillings);
  /// Units from piece `index` on without a gap.
  uint64_t contiguous_units(size_t index) const;
};

/// Those of the allocated clusters of [vcn, vcn + count) that other runs have, too. `refcounts`:
/// null where clusters are not shared.
uint64_t count_shared(ClusterRefcounts* refcounts, const Runlist& runs, Vcn vcn, uint64_t count);

/// Clusters of [vcn, vcn + count) that are allocated.
uint64_t count_allocated(const Runlist& runs, Vcn vcn, uint64_t count);

}  // namespace ntfs
