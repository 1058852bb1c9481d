#pragma once

// Workloads: a volume, and sequences of operations on it.

#include <optional>
#include <string>

#include "tests/crash/model.h"

namespace ntfs::crash {

struct Shape {
  uint64_t size_bytes = uint64_t{8} << 20;
  uint32_t cluster_size = 4096;
  uint32_t sector_size = 512;
  uint32_t record_size = 1024;
  uint64_t log_bytes = uint64_t{512} << 10;
  bool reflink = false;
  bool discard = false;  ///< mounted so that freed clusters are told to the device
  /// What is there at the start: names and small files, or these and the file that threads share,
  /// or a file of each form.
  enum class Tree { Names, Common, Forms };
  Tree tree = Tree::Names;
  friend auto operator<=>(const Shape&, const Shape&) = default;
};

/// A workload and its name, from which it can be made again:
///   pair-A-B-END-CLUSTER     operations A and B of the table (B "x": none), then END
///   synced-A-B-END-CLUSTER   small write A, fsync, operation B, END
///   matrix-HOW-WHERE-FORM-COUNT-CLUSTER   one write by an open
///   KIND-SEED                KIND: mixed, splits, links, wrap, big, full, clones, packed, guarded,
///                           threads (which meet in other places each time)
struct Workload {
  enum class Bounds { None, MayFillUp };
  struct Thread {
    std::string prefix;  ///< of its paths: "T0/", a directory of its own, or "T0-", in the root
    std::vector<Operation> operations;
  };
  std::string name;
  Shape shape;
  std::vector<Operation> operations;
  std::vector<Thread> threads;  ///< after those, side by side
  /// All threads change kCommonFile: stripes of so many bytes belong to one after the other.
  uint64_t stripe_bytes = 0;
  Bounds bounds = Bounds::None;
};

constexpr std::string_view kCommonFile = "common";

/// What is there at the start is made by these.
const std::vector<Operation>& operations_at_start(Shape::Tree tree);

/// All sequences of one and two operations, each followed by nothing, an fsync, and a checkpoint;
/// and of a small write, an fsync, and an operation.
std::vector<std::string> pair_names(uint32_t cluster_size);
/// Every way to write (fsa.md 3.4) that changes something: modes, offsets, forms of the stream and
/// counts. What locks and alignment refuse never comes near the device.
std::vector<std::string> matrix_names(uint32_t cluster_size);
/// Kinds of random workloads.
std::vector<std::string> random_kinds();
std::optional<Workload> make_workload(const std::string& name);

/// One random operation for the tree that the model shows now.
Operation random_operation(const Model& model, uint64_t seed);

}  // namespace ntfs::crash
