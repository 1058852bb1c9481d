#pragma once

// Workloads: a volume, a sequence of operations on it, and the record of what the device saw.

#include <memory>
#include <optional>
#include <string>

#include "tests/crash/judge.h"
#include "tests/crash/recording_device.h"

namespace ntfs::crash {

struct Shape {
  uint64_t size_bytes = uint64_t{8} << 20;
  uint32_t cluster_size = 4096;
  uint32_t sector_size = 512;
  uint32_t record_size = 1024;
  uint64_t log_bytes = uint64_t{512} << 10;
  bool reflink = false;
  bool discard = false;  ///< mounted so that freed clusters are told to the device
  /// What is there at the start: names and small files, or a file of each form.
  enum class Tree { Names, Forms };
  Tree tree = Tree::Names;
  friend auto operator<=>(const Shape&, const Shape&) = default;
};

/// A workload and its name, from which it can be made again:
///   pair-A-B-END-CLUSTER     operations A and B of the table (B "x": none), then END
///   synced-A-B-END-CLUSTER   small write A, fsync, operation B, END
///   matrix-HOW-WHERE-FORM-COUNT-CLUSTER   one write by an open
///   KIND-SEED                KIND: mixed, splits, links, wrap, big, full, clones, packed, guarded
struct Workload {
  enum class Bounds { None, MayFillUp };
  std::string name;
  Shape shape;
  std::vector<Operation> operations;
  Bounds bounds = Bounds::None;
};

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

/// How the rig mounts: deterministic, no thread of the store's does anything by itself.
ObjectStoreOptions mount_options(const Shape& shape);

/// A volume with a small tree, closed. The same for all workloads of a shape.
struct Start {
  Start(const Shape& shape);
  Shape shape;
  DiskImage disk;
  Model model;
  std::string failure;  ///< "" unless making it failed
};

/// A workload that was run on a device which recorded it, up to the end of a clean close.
struct Run {
  Recording recording;
  std::vector<Operation> operations;
  std::unique_ptr<History> history;
  /// Calls of the device before the operation with that number began, and when it had ended.
  std::vector<size_t> began;
  std::vector<size_t> ended;
  std::vector<bool> succeeded;
  std::string failure;  ///< the store and the model disagreed, without any crash

  /// What a crash in that call may leave.
  Window window(size_t call) const;
};
Run run_workload(const Workload& workload, const Start& start);

}  // namespace ntfs::crash
