#pragma once

// Mapping pairs: a runlist as a nonresident attribute record holds it. Each pair is
//   1 byte    low nibble: bytes of the length, 1..8; high nibble: bytes of the distance, 0..8
//   n bytes   length in clusters, signed little-endian, > 0
//   m bytes   distance of the lcn from the previous run that is no hole (the first: from 0), signed
// A pair without distance is a hole. A zero byte ends the list. Each attribute record starts anew.

#include <vector>

#include "core/base/bytes.h"
#include "core/base/units.h"

namespace ntfs::ondisk {

/// The runs from `lowest`, as encoded (neighbours are not merged). FileCorruptError (reported): a
/// pair that is not whole, no terminator, a length of 0, an lcn outside of the volume, or runs that
/// do not end at `expected_next`.
Result<std::vector<Run>> decode_mapping_pairs(ByteView pairs, Vcn lowest, Vcn expected_next,
                                              uint64_t total_clusters, const Origin& origin);

/// Clusters in all runs together; FileCorruptError (quiet) if the pairs are not well formed.
Result<ClusterCount> count_mapped_clusters(ByteView pairs);

struct EncodedMappingPairs {
  ByteVector bytes;      ///< with terminator
  size_t run_count = 0;  ///< runs that are in
  Vcn next;              ///< one past the last cluster that is in
};

/// As many whole runs as fit into `max_bytes` (at least 1, terminator included). `runs` follow each
/// other in vcn. `next` is the first vcn of `runs` when none fits, Vcn(0) when there is none.
EncodedMappingPairs encode_mapping_pairs(std::span<const Run> runs, size_t max_bytes);

/// Bytes that all of `runs` take, terminator included.
size_t encoded_mapping_pairs_size(std::span<const Run> runs);

}  // namespace ntfs::ondisk
