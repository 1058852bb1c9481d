#pragma once

// The map vcn -> lcn of one attribute, in memory: runs in vcn order, without gaps (holes are runs),
// adjacent runs that continue each other merged. Not thread safe; its owner's lock guards it.
//
// Runs lie in chunks that copies of a list share until one of them changes there: a copy, and a
// change of a few runs, cost little however long the list is.

#include <cstddef>
#include <memory>
#include <vector>

#include "core/base/units.h"

namespace ntfs {

class Runlist {
 public:
  class Runs;

  Runlist() = default;
  /// `runs`: in vcn order from vcn 0 without gaps.
  explicit Runlist(const std::vector<Run>& runs);

  /// Good until the list changes.
  Runs runs() const;
  bool empty() const { return chunks_.empty(); }
  /// One past the last vcn.
  Vcn end() const { return chunks_.empty() ? Vcn(0) : chunks_.back().runs->back().end(); }
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
  /// The runs within [from, to), cut to it.
  std::vector<Run> runs_in(Vcn from, Vcn to) const;
  /// The first runs, as many as there are up to `most`.
  std::vector<Run> first_runs(size_t most) const;
  /// The allocated runs within [vcn, vcn + count).
  std::vector<ClusterRun> allocated_in(Vcn vcn, ClusterCount count) const;

  /// How many runs from the first on, or from the last back, are the same in both lists.
  size_t equal_at_start(const Runlist& other) const;
  size_t equal_at_end(const Runlist& other) const;
  friend bool operator==(const Runlist& a, const Runlist& b);

 private:
  struct Chunk {
    std::shared_ptr<std::vector<Run>> runs;  // never empty; shared by copies of the list
    size_t first = 0;                        // index of its first run
    Vcn vcn;                                 // of its first run
    size_t end() const { return first + runs->size(); }
  };

  const Run& at(size_t index) const;
  size_t size() const { return chunks_.empty() ? 0 : chunks_.back().end(); }
  size_t chunk_of(size_t index) const;
  std::vector<Run>& writable(size_t chunk);
  void splice(size_t first, size_t end, const std::vector<Run>& runs);
  void divide(size_t chunk);
  void number_from(size_t chunk);

  std::vector<Chunk> chunks_;
  ClusterCount allocated_;
};

/// The runs of a list, in order.
class Runlist::Runs {
 public:
  class Iterator {
   public:
    Iterator(const Runlist& list, size_t chunk, size_t in_chunk)
        : list_(&list), chunk_(chunk), in_chunk_(in_chunk) {}
    const Run& operator*() const { return (*list_->chunks_[chunk_].runs)[in_chunk_]; }
    Iterator& operator++() {
      if (++in_chunk_ == list_->chunks_[chunk_].runs->size()) {
        ++chunk_;
        in_chunk_ = 0;
      }
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Runlist* list_;
    size_t chunk_;
    size_t in_chunk_;
  };

  explicit Runs(const Runlist& list) : list_(list) {}
  size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  const Run& operator[](size_t index) const { return list_.at(index); }
  const Run& front() const { return list_.chunks_.front().runs->front(); }
  const Run& back() const { return list_.chunks_.back().runs->back(); }
  Iterator begin() const { return {list_, 0, 0}; }
  Iterator end() const { return {list_, list_.chunks_.size(), 0}; }
  /// The run of that index, or end().
  Iterator from(size_t index) const;

 private:
  const Runlist& list_;
};

inline Runlist::Runs::Iterator Runlist::Runs::from(size_t index) const {
  if (index >= list_.size()) return end();
  const size_t chunk = list_.chunk_of(index);
  return {list_, chunk, index - list_.chunks_[chunk].first};
}

inline Runlist::Runs Runlist::runs() const { return Runs(*this); }

}  // namespace ntfs
