#pragma once

// The map vcn -> lcn of one attribute, in memory: runs in vcn order, without gaps (holes are runs),
// adjacent runs that continue each other merged. Not thread safe; its owner's lock guards it.

#include <cstddef>
#include <span>
#include <vector>

#include "core/base/units.h"

namespace ntfs {

class Runlist {
 public:
  Runlist() = default;
  /// `runs`: in vcn order from vcn 0 without gaps.
  explicit Runlist(std::vector<Run> runs);

  std::span<const Run> runs() const { return runs_; }
  bool empty() const { return runs_.empty(); }
  /// One past the last vcn.
  Vcn end() const { return runs_.empty() ? Vcn(0) : runs_.back().end(); }
  /// Clusters that are allocated (not holes).
  ClusterCount allocated() const { return allocated_; }

  /// The part of a run from `vcn` on: `vcn`, its lcn, and how far it goes. `vcn` < end().
  Run find(Vcn vcn) const;
  /// Index of the run that holds `vcn`; runs().size() when vcn >= end().
  size_t index_of(Vcn vcn) const;

  /// Appends at end(). A hole when `lcn` is Lcn::hole().
  void append(Lcn lcn, ClusterCount count);
  /// Replaces [vcn, vcn + count) by one run at `lcn` (or a hole). The range may reach past end().
  void replace(Vcn vcn, Lcn lcn, ClusterCount count);
  /// Drops everything from `vcn` on.
  void truncate(Vcn vcn);
  /// The allocated runs within [vcn, vcn + count).
  std::vector<ClusterRun> allocated_in(Vcn vcn, ClusterCount count) const;

  friend bool operator==(const Runlist& a, const Runlist& b) { return a.runs_ == b.runs_; }

 private:
  void merge_around(size_t first, size_t last);

  std::vector<Run> runs_;
  ClusterCount allocated_;
};

}  // namespace ntfs
