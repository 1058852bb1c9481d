#include "core/check/cluster_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace ntfs::check {

namespace {

constexpr size_t kMaxOwnedRuns = size_t{1} << 25;
constexpr size_t kMaxOverlaps = 1000;

/// `count` one bits from bit `first` of a word.
uint64_t mask(uint64_t first, uint64_t count) {
  return (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << first;
}

}  // namespace

/// A stretch of clusters that differ in the same way.
struct ClusterClaims::Difference {
  uint64_t first = 0;
  uint64_t count = 0;
  bool claimed = false;
};

ClusterClaims::ClusterClaims(uint64_t total_clusters, Findings& findings)
    : total_clusters_(total_clusters),
      findings_(findings),
      chunks_(divide_up(total_clusters, kChunkClusters)) {}

bool ClusterClaims::claim(ClusterRun run, FileReference owner, Sharing sharing) {
  const uint64_t end = run.end().raw();
  ASSERT(end <= total_clusters_ && run.lcn.raw() <= end);
  uint64_t fresh = 0;
  for (uint64_t lcn = run.lcn.raw(); lcn < end;) {
    const uint64_t in_chunk = lcn % kChunkClusters;
    const uint64_t part = std::min(end - lcn, kChunkClusters - in_chunk);
    fresh += claim_in_chunk(chunks_[lcn / kChunkClusters], in_chunk, part);
    lcn += part;
  }
  claimed_ += fresh;
  const OwnedRun owned{run.lcn.raw(), run.count.raw(), owner, sharing};
  const bool alone = fresh == run.count.raw();
  if (!alone && overlaps_.size() < kMaxOverlaps) overlaps_.push_back(owned);
  if (runs_.size() < kMaxOwnedRuns) runs_.push_back(owned);
  return alone;
}

/// Clusters that were not claimed before.
uint64_t ClusterClaims::claim_in_chunk(Chunk& chunk, uint64_t first, uint64_t count) {
  if (chunk.full) return 0;
  if (chunk.words == nullptr) {
    if (count == kChunkClusters) {
      chunk.full = true;
      return count;
    }
    chunk.words = std::make_unique<Words>();
  }
  uint64_t fresh = 0;
  for (uint64_t bit = first; bit < first + count;) {
    const uint64_t part = std::min(first + count - bit, kWordBits - bit % kWordBits);
    uint64_t& word = (*chunk.words)[bit / kWordBits];
    const uint64_t wanted = mask(bit % kWordBits, part);
    fresh += static_cast<uint64_t>(std::popcount(wanted & ~word));
    word |= wanted;
    bit += part;
  }
  return fresh;
}

void ClusterClaims::report_overlaps() {
  if (overlaps_.empty()) return;
  std::stable_sort(runs_.begin(), runs_.end(),
                   [](const OwnedRun& a, const OwnedRun& b) { return a.lcn < b.lcn; });
  for (const OwnedRun& second : overlaps_) {
    std::string others = "another run of the same file";
    for (const OwnedRun& first : runs_) {
      if (first.lcn >= second.lcn + second.count) break;
      if (first.lcn + first.count <= second.lcn || first.owner == second.owner) continue;
      others = name_reference(first.owner);
      break;
    }
    findings_.add({"cluster", second.owner, fmt::format("lcn {:#x}", second.lcn)}, "one owner",
                  fmt::format("{} clusters that belong to {} too", second.count, others),
                  "a cluster is claimed twice");
  }
}

namespace {

/// A place where what a cluster counts for changes.
struct Edge {
  uint64_t lcn;
  int64_t change;  // of the runs that have the clusters from here on
  int64_t alone;   // of those that may not share them
  friend bool operator<(const Edge& a, const Edge& b) { return a.lcn < b.lcn; }
};

}  // namespace

/// Clusters of several claims. Those of a claim that may not share are findings instead.
std::vector<ondisk::ClusterReferences> ClusterClaims::count_shared() {
  std::vector<Edge> edges;
  for (const OwnedRun& run : runs_) {
    const int64_t alone = run.sharing == Sharing::None ? 1 : 0;
    edges.push_back({run.lcn, 1, alone});
    edges.push_back({run.lcn + run.count, -1, -alone});
  }
  std::sort(edges.begin(), edges.end());
  std::vector<ondisk::ClusterReferences> shared;
  int64_t count = 0;
  int64_t alone = 0;
  uint64_t first = 0;
  for (const Edge& edge : edges) {
    const ClusterRun part{Lcn(first), ClusterCount(edge.lcn - first)};
    if (edge.lcn > first && count >= 2 && alone > 0) {
      findings_.add({"cluster", {}, fmt::format("lcn {:#x}", first)}, "one owner",
                    fmt::format("{} clusters that {} runs have", part.count.raw(), count),
                    "a cluster of metadata is claimed twice");
    } else if (edge.lcn > first && count >= 2) {
      shared.push_back({part, static_cast<uint32_t>(count)});
    }
    count += edge.change;
    alone += edge.alone;
    first = edge.lcn;
  }
  return shared;
}

void ClusterClaims::compare_with(const std::vector<ondisk::ClusterReferences>& counts) {
  std::vector<Edge> edges;  // `alone`: as the counts have it
  for (const auto& [run, references] : count_shared()) {
    edges.push_back({run.lcn.raw(), references, 0});
    edges.push_back({run.end().raw(), -int64_t{references}, 0});
  }
  for (const auto& [run, references] : counts) {
    edges.push_back({run.lcn.raw(), 0, references});
    edges.push_back({run.end().raw(), 0, -int64_t{references}});
  }
  std::sort(edges.begin(), edges.end());
  int64_t claimed = 0;
  int64_t counted = 0;
  uint64_t first = 0;
  for (const Edge& edge : edges) {
    if (edge.lcn > first && claimed != counted) {
      findings_.add(
          {"$Refcounts", {}, fmt::format("lcn {:#x}, {} clusters", first, edge.lcn - first)},
          claimed == 0 ? "no count" : fmt::format("{} references", claimed),
          fmt::format("{}", counted), "the count of a shared cluster is wrong");
    }
    claimed += edge.change;
    counted += edge.alone;
    first = edge.lcn;
  }
}

void ClusterClaims::compare_with(const Stream& bitmap, VolumeReader& reader) {
  const FileReference owner(6, 6);
  const uint64_t needed = divide_up(total_clusters_, 64) * 8;
  if (bitmap.file_size < divide_up(total_clusters_, 8)) {
    findings_.add({"$Bitmap", owner, "file size"}, needed, bitmap.file_size,
                  "$Bitmap has no bit for some clusters");
    return;
  }
  constexpr uint64_t kChunkBytes = kChunkClusters / 8;
  Difference difference;
  ByteVector bits(kChunkBytes);
  for (uint64_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    const uint64_t offset = chunk * kChunkBytes;
    const uint64_t length = std::min(kChunkBytes, bitmap.file_size - offset);
    const MutableBytes part = MutableBytes(bits).first(static_cast<size_t>(length));
    if (!reader.read(bitmap, offset, part)) return;
    // What the bitmap lacks beyond the last cluster reads as set, which is what it has to be.
    std::fill(bits.begin() + static_cast<ptrdiff_t>(length), bits.end(), std::byte{0xFF});
    compare_chunk(chunk, bits, difference);
  }
  report(difference);
}

void ClusterClaims::compare_chunk(uint64_t chunk_index, ByteView bits, Difference& difference) {
  const Chunk& chunk = chunks_[chunk_index];
  for (size_t i = 0; i < kChunkWords; ++i) {
    uint64_t claimed = chunk.full ? ~uint64_t{0} : (chunk.words ? (*chunk.words)[i] : 0);
    const uint64_t first = chunk_index * kChunkClusters + i * kWordBits;
    if (first >= total_clusters_) claimed = ~uint64_t{0};
    if (first < total_clusters_ && total_clusters_ - first < kWordBits) {
      const uint64_t inside = total_clusters_ - first;
      claimed |= mask(inside, kWordBits - inside);
    }
    const uint64_t set = struct_at<le64>(bits, i * 8).get();
    for (uint64_t differing = claimed ^ set; differing != 0;) {
      const auto bit = static_cast<uint64_t>(std::countr_zero(differing));
      differing &= differing - 1;
      const bool is_claimed = (claimed >> bit & 1) != 0;
      if (difference.count != 0 && difference.first + difference.count == first + bit &&
          difference.claimed == is_claimed) {
        ++difference.count;
        continue;
      }
      report(difference);
      difference = {first + bit, 1, is_claimed};
    }
  }
}

void ClusterClaims::report(Difference& difference) {
  if (difference.count == 0) return;
  const Place place{"$Bitmap", FileReference(6, 6),
                    fmt::format("lcn {:#x}, {} clusters", difference.first, difference.count)};
  if (difference.first >= total_clusters_) {
    findings_.add(place, "set", "clear", "bits past the last cluster must be set");
  } else if (difference.claimed) {
    findings_.add(place, "set", "clear", "a cluster in use is marked free");
  } else {
    findings_.add(place, "clear", "set", "a cluster is leaked: marked in use, claimed by nothing");
  }
  difference.count = 0;
}

}  // namespace ntfs::check
