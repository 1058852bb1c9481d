#include "core/store/runlist.h"

#include <algorithm>
#include <atomic>

#include "core/base/assert.h"

namespace ntfs {

namespace {

/// Runs of a chunk, at most; one that gets longer is divided.
constexpr size_t kMostRuns = 128;
/// A chunk with so few takes the next one in, or goes into the one before.
constexpr size_t kFewRuns = 32;

/// Whether `b` continues `a` on the volume (or both are holes).
bool continues(const Run& a, const Run& b) {
  if (a.lcn.is_hole() || b.lcn.is_hole()) return a.lcn.is_hole() && b.lcn.is_hole();
  return a.lcn + a.count == b.lcn;
}

Lcn advance(Lcn lcn, ClusterCount count) { return lcn.is_hole() ? lcn : lcn + count; }

void add(std::vector<Run>& runs, const Run& run) {
  if (!runs.empty() && continues(runs.back(), run)) {
    runs.back().count += run.count;
  } else {
    runs.push_back(run);
  }
}

ptrdiff_t offset(size_t index) { return static_cast<ptrdiff_t>(index); }

}  // namespace

Runlist::Runlist(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    ASSERT(run.vcn == end());
    append(run.lcn, run.count);
  }
}

// Finding.

size_t Runlist::chunk_of(size_t index) const {
  const auto after = std::upper_bound(chunks_.begin(), chunks_.end(), index,
                                      [](size_t i, const Chunk& chunk) { return i < chunk.first; });
  return static_cast<size_t>(after - chunks_.begin()) - 1;
}

const Run& Runlist::at(size_t index) const {
  const Chunk& chunk = chunks_[chunk_of(index)];
  return (*chunk.runs)[index - chunk.first];
}

size_t Runlist::index_of(Vcn vcn) const {
  if (vcn >= end()) return size();
  const auto after = std::upper_bound(chunks_.begin(), chunks_.end(), vcn,
                                      [](Vcn v, const Chunk& chunk) { return v < chunk.vcn; });
  const Chunk& chunk = *std::prev(after);
  const auto run = std::upper_bound(chunk.runs->begin(), chunk.runs->end(), vcn,
                                    [](Vcn v, const Run& r) { return v < r.end(); });
  return chunk.first + static_cast<size_t>(run - chunk.runs->begin());
}

Run Runlist::find(Vcn vcn) const {
  const size_t index = index_of(vcn);
  ASSERT(index < size());
  const Run& run = at(index);
  const ClusterCount skip = vcn - run.vcn;
  return {vcn, advance(run.lcn, skip), run.count - skip};
}

std::vector<Run> Runlist::runs_in(Vcn from, Vcn to) const {
  std::vector<Run> result;
  const Runs list = runs();
  for (auto it = list.from(index_of(from)); it != list.end() && (*it).vcn < to; ++it) {
    const Run& run = *it;
    const Vcn start = std::max(run.vcn, from);
    const Vcn stop = std::min(run.end(), to);
    result.push_back({start, advance(run.lcn, start - run.vcn), stop - start});
  }
  return result;
}

std::vector<Run> Runlist::first_runs(size_t most) const {
  std::vector<Run> result;
  for (const Run& run : runs()) {
    if (result.size() == most) break;
    result.push_back(run);
  }
  return result;
}

std::vector<ClusterRun> Runlist::allocated_in(Vcn vcn, ClusterCount count) const {
  std::vector<ClusterRun> result;
  for (const Run& run : runs_in(vcn, vcn + count)) {
    if (!run.lcn.is_hole()) result.push_back({run.lcn, run.count});
  }
  return result;
}

// Changing.

/// The runs of a chunk that no other list has, or has any more.
std::vector<Run>& Runlist::writable(size_t chunk) {
  auto& runs = chunks_[chunk].runs;
  if (runs.use_count() != 1) {
    runs = std::make_shared<std::vector<Run>>(*runs);
  } else {
    // What the last other list read here, maybe in another thread, comes before what is written.
    std::atomic_thread_fence(std::memory_order_acquire);
  }
  return *runs;
}

void Runlist::append(Lcn lcn, ClusterCount count) {
  if (count == ClusterCount(0)) return;
  if (!lcn.is_hole()) allocated_ += count;
  const Run run{end(), lcn, count};
  if (!chunks_.empty()) {
    const Chunk& last = chunks_.back();
    if (last.runs->size() < kMostRuns || continues(last.runs->back(), run)) {
      return add(writable(chunks_.size() - 1), run);
    }
  }
  chunks_.push_back({std::make_shared<std::vector<Run>>(1, run), size(), run.vcn});
}

void Runlist::replace(Vcn vcn, Lcn lcn, ClusterCount count) {
  if (count == ClusterCount(0)) return;
  if (vcn > end()) append(Lcn::hole(), vcn - end());
  if (vcn == end()) return append(lcn, count);
  const Vcn stop = vcn + count;
  size_t first = index_of(vcn);
  size_t last = stop >= end() ? size() - 1 : index_of(Vcn(stop.raw() - 1));
  for (size_t i = first; i <= last; ++i) {
    if (!at(i).lcn.is_hole()) allocated_ -= at(i).count;
  }
  const Run head = at(first);
  const Run tail = at(last);
  std::vector<Run> pieces;
  if (head.vcn < vcn) pieces.push_back({head.vcn, head.lcn, vcn - head.vcn});
  pieces.push_back({vcn, lcn, count});
  if (tail.end() > stop) {
    pieces.push_back({stop, advance(tail.lcn, stop - tail.vcn), tail.end() - stop});
  }
  for (const Run& piece : pieces) {
    if (!piece.lcn.is_hole()) allocated_ += piece.count;
  }
  // The neighbours may be continued now.
  std::vector<Run> merged;
  if (first > 0) merged.push_back(at(--first));
  for (const Run& piece : pieces) add(merged, piece);
  if (last + 1 < size()) add(merged, at(++last));
  splice(first, last + 1, merged);
}

/// Puts `runs` in the place of those from index `first` up to `end`.
void Runlist::splice(size_t first, size_t end, const std::vector<Run>& runs) {
  const size_t chunk = chunk_of(first);
  const size_t last_chunk = chunk_of(end - 1);
  std::vector<Run>& target = writable(chunk);
  const size_t in_first = first - chunks_[chunk].first;
  const size_t in_last = end - chunks_[last_chunk].first;
  if (chunk == last_chunk) {
    const size_t same = std::min(runs.size(), in_last - in_first);
    std::copy_n(runs.begin(), same, target.begin() + offset(in_first));
    if (same < runs.size()) {
      target.insert(target.begin() + offset(in_first + same), runs.begin() + offset(same),
                    runs.end());
    } else {
      target.erase(target.begin() + offset(in_first + same), target.begin() + offset(in_last));
    }
  } else {
    const std::vector<Run>& rest = *chunks_[last_chunk].runs;
    target.resize(in_first);
    target.insert(target.end(), runs.begin(), runs.end());
    target.insert(target.end(), rest.begin() + offset(in_last), rest.end());
    chunks_.erase(chunks_.begin() + offset(chunk + 1), chunks_.begin() + offset(last_chunk + 1));
  }
  divide(chunk);
  number_from(chunk);
}

/// Divides a chunk that got too long; joins one that got short with a neighbour.
void Runlist::divide(size_t chunk) {
  if (chunks_[chunk].runs->size() < kFewRuns && chunks_.size() > 1) {
    if (chunk + 1 == chunks_.size()) --chunk;
    std::vector<Run>& target = writable(chunk);
    const std::vector<Run>& next = *chunks_[chunk + 1].runs;
    target.insert(target.end(), next.begin(), next.end());
    chunks_.erase(chunks_.begin() + offset(chunk + 1));
    number_from(chunk);
  }
  if (chunks_[chunk].runs->size() <= kMostRuns) return;
  std::vector<Run>& all = writable(chunk);
  const size_t pieces = (all.size() + kMostRuns / 2) / kMostRuns + 1;
  const size_t per_piece = (all.size() + pieces - 1) / pieces;
  std::vector<Chunk> added;
  for (size_t from = per_piece; from < all.size(); from += per_piece) {
    const size_t to = std::min(all.size(), from + per_piece);
    added.push_back(
        {std::make_shared<std::vector<Run>>(all.begin() + offset(from), all.begin() + offset(to)),
         0, Vcn(0)});
  }
  all.resize(per_piece);
  chunks_.insert(chunks_.begin() + offset(chunk + 1), added.begin(), added.end());
}

/// Sets what the chunks from this one on say of their first runs.
void Runlist::number_from(size_t chunk) {
  for (size_t i = chunk; i < chunks_.size(); ++i) {
    chunks_[i].first = i == 0 ? 0 : chunks_[i - 1].end();
    chunks_[i].vcn = chunks_[i].runs->front().vcn;
  }
}

void Runlist::truncate(Vcn vcn) {
  while (!chunks_.empty() && end() > vcn) {
    std::vector<Run>& runs = writable(chunks_.size() - 1);
    while (!runs.empty() && runs.back().end() > vcn) {
      Run& last = runs.back();
      const ClusterCount cut = last.end() - std::max(vcn, last.vcn);
      if (!last.lcn.is_hole()) allocated_ -= cut;
      last.count -= cut;
      if (last.count == ClusterCount(0)) runs.pop_back();
    }
    if (runs.empty()) chunks_.pop_back();
  }
}

// Comparing.

size_t Runlist::equal_at_start(const Runlist& other) const {
  const size_t common = std::min(size(), other.size());
  size_t chunk = 0;
  while (chunk < chunks_.size() && chunk < other.chunks_.size() &&
         chunks_[chunk].runs == other.chunks_[chunk].runs) {
    ++chunk;
  }
  size_t equal = chunk == 0 ? 0 : chunks_[chunk - 1].end();
  while (equal < common && at(equal) == other.at(equal)) ++equal;
  return equal;
}

size_t Runlist::equal_at_end(const Runlist& other) const {
  const size_t common = std::min(size(), other.size());
  size_t equal = 0;
  for (size_t i = 1; i <= std::min(chunks_.size(), other.chunks_.size()); ++i) {
    const Chunk& mine = chunks_[chunks_.size() - i];
    if (mine.runs != other.chunks_[other.chunks_.size() - i].runs) break;
    equal += mine.runs->size();
  }
  while (equal < common && at(size() - 1 - equal) == other.at(other.size() - 1 - equal)) ++equal;
  return equal;
}

bool operator==(const Runlist& a, const Runlist& b) {
  return a.size() == b.size() && a.equal_at_start(b) == a.size();
}

}  // namespace ntfs
