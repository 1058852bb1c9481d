#include "core/store/runlist.h"

#include <algorithm>

#include "core/base/assert.h"

namespace ntfs {

namespace {

/// Whether `b` continues `a` on the volume (or both are holes).
bool continues(const Run& a, const Run& b) {
  if (a.lcn.is_hole() || b.lcn.is_hole()) return a.lcn.is_hole() && b.lcn.is_hole();
  return a.lcn + a.count == b.lcn;
}

Lcn advance(Lcn lcn, ClusterCount count) { return lcn.is_hole() ? lcn : lcn + count; }

}  // namespace

Runlist::Runlist(std::vector<Run> runs) {
  for (const Run& run : runs) {
    ASSERT(run.vcn == end());
    append(run.lcn, run.count);
  }
}

size_t Runlist::index_of(Vcn vcn) const {
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), vcn,
                                      [](Vcn v, const Run& run) { return v < run.end(); });
  return static_cast<size_t>(after - runs_.begin());
}

Run Runlist::find(Vcn vcn) const {
  const size_t index = index_of(vcn);
  ASSERT(index < runs_.size());
  const Run& run = runs_[index];
  const ClusterCount skip = vcn - run.vcn;
  return {vcn, advance(run.lcn, skip), run.count - skip};
}

void Runlist::append(Lcn lcn, ClusterCount count) {
  if (count == ClusterCount(0)) return;
  if (!lcn.is_hole()) allocated_ += count;
  const Run run{end(), lcn, count};
  if (!runs_.empty() && continues(runs_.back(), run)) {
    runs_.back().count += count;
  } else {
    runs_.push_back(run);
  }
}

void Runlist::replace(Vcn vcn, Lcn lcn, ClusterCount count) {
  if (count == ClusterCount(0)) return;
  if (vcn > end()) append(Lcn::hole(), vcn - end());
  if (vcn == end()) return append(lcn, count);
  const Vcn stop = vcn + count;
  const size_t first = index_of(vcn);
  const size_t last = stop >= end() ? runs_.size() - 1 : index_of(Vcn(stop.raw() - 1));
  std::vector<Run> pieces;
  const Run head = runs_[first];
  const Run tail = runs_[last];
  for (size_t i = first; i <= last; ++i) {
    if (!runs_[i].lcn.is_hole()) allocated_ -= runs_[i].count;
  }
  if (head.vcn < vcn) pieces.push_back({head.vcn, head.lcn, vcn - head.vcn});
  pieces.push_back({vcn, lcn, count});
  if (tail.end() > stop) {
    pieces.push_back({stop, advance(tail.lcn, stop - tail.vcn), tail.end() - stop});
  }
  for (const Run& piece : pieces) {
    if (!piece.lcn.is_hole()) allocated_ += piece.count;
  }
  const size_t old_count = last - first + 1;
  if (pieces.size() <= old_count) {
    std::copy(pieces.begin(), pieces.end(), runs_.begin() + static_cast<ptrdiff_t>(first));
    runs_.erase(runs_.begin() + static_cast<ptrdiff_t>(first + pieces.size()),
                runs_.begin() + static_cast<ptrdiff_t>(last + 1));
  } else {
    std::copy(pieces.begin(), pieces.begin() + static_cast<ptrdiff_t>(old_count),
              runs_.begin() + static_cast<ptrdiff_t>(first));
    runs_.insert(runs_.begin() + static_cast<ptrdiff_t>(last + 1),
                 pieces.begin() + static_cast<ptrdiff_t>(old_count), pieces.end());
  }
  merge_around(first == 0 ? 0 : first - 1, first + pieces.size());
}

void Runlist::merge_around(size_t first, size_t last) {
  size_t i = std::min(last, runs_.size() - 1);
  while (i > first) {
    if (continues(runs_[i - 1], runs_[i])) {
      runs_[i - 1].count += runs_[i].count;
      runs_.erase(runs_.begin() + static_cast<ptrdiff_t>(i));
    }
    --i;
  }
}

void Runlist::truncate(Vcn vcn) {
  while (!runs_.empty() && runs_.back().vcn >= vcn) {
    if (!runs_.back().lcn.is_hole()) allocated_ -= runs_.back().count;
    runs_.pop_back();
  }
  if (runs_.empty() || runs_.back().end() <= vcn) return;
  const ClusterCount cut = runs_.back().end() - vcn;
  if (!runs_.back().lcn.is_hole()) allocated_ -= cut;
  runs_.back().count -= cut;
}

std::vector<ClusterRun> Runlist::allocated_in(Vcn vcn, ClusterCount count) const {
  std::vector<ClusterRun> result;
  const Vcn stop = vcn + count;
  for (size_t i = index_of(vcn); i < runs_.size() && runs_[i].vcn < stop; ++i) {
    const Run& run = runs_[i];
    if (run.lcn.is_hole()) continue;
    const Vcn from = std::max(run.vcn, vcn);
    const Vcn to = std::min(run.end(), stop);
    result.push_back({run.lcn + (from - run.vcn), to - from});
  }
  return result;
}

}  // namespace ntfs
