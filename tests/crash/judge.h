#pragma once

// What a recovered volume must be. The states of a history are numbered: 0 is the tree before the
// workload, n the one after its first n operations. Let `promised` be the last state that an fsync
// or a checkpoint which had returned covers, and `latest` the last whose operation had begun.
//
// - Names, kinds, link counts, modes and targets of links are those of one state k, with
//   promised <= k <= latest: operations on names are in the log one after the other, and so whole
//   and in order.
// - The data of a file is buffered and reaches the device later than names that were made after it,
//   so it may be of another state. The size is the file's size in some state from `promised` to
//   `latest`. Each byte below it is what the file had there in one of these states: an overwrite
//   that was under way may be there in part. Nothing else is ever seen: not what stood on the
//   device before, not another file's data, not zeros where data was promised.
// - The checker finds nothing.

#include "core/fsa/object_store.h"
#include "tests/crash/model.h"

namespace ntfs::crash {

struct Window {
  size_t promised = 0;
  size_t latest = 0;
};

struct Tree {
  Listing listing;
  std::map<std::string, Content> contents;  ///< of regular files, by each of their paths
};

/// All that a mounted volume shows. Errors: those of the store.
Result<Tree> read_tree(ObjectStore& store);

/// The states that a tree which was found after a crash may be in, in order. None: `wrong` says
/// why.
std::vector<size_t> possible_states(const History& history, const Window& window, const Tree& found,
                                    std::string& wrong);
/// What differs between two trees; "" when nothing does.
std::string difference(const Tree& expected, const Tree& found);

/// What the checker finds on a volume that was closed (or, with `live`, whose store is open).
std::string check(BlockDevice& device, bool live);

}  // namespace ntfs::crash
