#pragma once

// Which clusters the attributes claim: a bit for each, in chunks that exist only where they are
// neither empty nor full, so that a large sparse volume costs little. And the runs with their
// owners, to name the first owner of a cluster that is claimed twice.

#include <array>
#include <memory>
#include <vector>

#include "core/base/units.h"
#include "core/check/findings.h"
#include "core/check/volume_reader.h"
#include "core/ondisk/cluster_references.h"

namespace ntfs::check {

class ClusterClaims {
 public:
  /// `findings` must outlive this.
  ClusterClaims(uint64_t total_clusters, Findings& findings);

  /// Claims `run`, which must lie on the volume, for a file. False when one of its clusters was
  /// claimed before; report_overlaps() reports that.
  bool claim(ClusterRun run, FileReference owner) { return claim(run, owner, Sharing::None); }
  /// Whether other runs may have the clusters, too: file data where clusters are counted.
  enum class Sharing { None, Counted };
  bool claim(ClusterRun run, FileReference owner, Sharing sharing);
  uint64_t count_claimed() const { return claimed_; }
  /// Reports each overlap with both owners. Call once, after the last claim.
  void report_overlaps();
  /// In place of report_overlaps(), where file data may share clusters: compares with `counts`, in
  /// the order of their lcns.
  void compare_with(const std::vector<ondisk::ClusterReferences>& counts);
  /// Compares with the bits of `bitmap`, the value of $Bitmap.
  void compare_with(const Stream& bitmap, VolumeReader& reader);

 private:
  static constexpr uint64_t kChunkClusters = uint64_t{1} << 20;
  static constexpr size_t kWordBits = 64;
  static constexpr size_t kChunkWords = kChunkClusters / kWordBits;
  using Words = std::array<uint64_t, kChunkWords>;
  struct Chunk {
    bool full = false;
    std::unique_ptr<Words> words;
  };
  struct OwnedRun {
    uint64_t lcn;
    uint64_t count;
    FileReference owner;
    Sharing sharing;
  };
  struct Difference;

  std::vector<ondisk::ClusterReferences> count_shared();
  uint64_t claim_in_chunk(Chunk& chunk, uint64_t first, uint64_t count);
  void compare_chunk(uint64_t chunk_index, ByteView bits, Difference& difference);
  void report(Difference& difference);

  const uint64_t total_clusters_;
  Findings& findings_;
  std::vector<Chunk> chunks_;
  std::vector<OwnedRun> runs_;
  std::vector<OwnedRun> overlaps_;
  uint64_t claimed_ = 0;
};

}  // namespace ntfs::check
