#pragma once

// Runs: a workload's operations on a device that records them, and what a crash may leave of them.

#include <memory>
#include <string>
#include <vector>

#include "tests/crash/judge.h"
#include "tests/crash/recording_device.h"
#include "tests/crash/workload.h"

namespace ntfs::crash {

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

/// Operations of one thread, one after the other.
struct Strand {
  struct Moment {
    size_t calls = 0;   ///< of the device, before it
    uint64_t time = 0;  ///< by a clock of all strands
  };
  struct Span {
    Moment began;
    Moment ended;
    bool succeeded = false;
  };

  std::string prefix;  ///< of its paths; "" where there are no threads yet
  std::vector<Operation> operations;
  std::unique_ptr<History> history;
  std::vector<Span> spans;  ///< of its operations
  std::string failure;      ///< the store and the model disagreed, without any crash
};

/// A workload that was run on a device which recorded it, up to the end of a clean close.
struct Run {
  Recording recording;
  std::vector<Strand> strands;
  uint64_t stripe_bytes = 0;  ///< of the common file (workload.h)
  std::string failure;        ///< of a strand, or of the volume, without any crash

  /// What a crash in that call may leave of each strand.
  std::vector<Window> windows(size_t call) const;
  /// Differs where what is promised by that call differs.
  uint64_t promise(size_t call) const;
  /// What the volume holds after the clean close.
  std::vector<Window> last_windows() const;
  /// What is wrong with a tree that was found; "" when nothing is. Each strand's names, and its
  /// stripes of the common file, are judged by its own window. And when something is there, so is
  /// all that had ended before it began.
  std::string judge(const std::vector<Window>& windows, const Tree& found) const;

 private:
  Tree part_of(const Tree& tree, size_t strand) const;
  Content stripes_of(const ByteVector& content, size_t strand) const;
  Window window(const Strand& strand, size_t call) const;
  std::string judge_order(std::vector<std::vector<size_t>> states) const;
};
Run run_workload(const Workload& workload, const Start& start);

}  // namespace ntfs::crash
