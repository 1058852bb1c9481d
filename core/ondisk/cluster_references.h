#pragma once

// Clusters that several runs of file data have, on volumes whose boot sector says that they may:
// the entries of the view index $C of $Extend\$Refcounts, in the order of their lcns. What
// no entry names belongs to one run, or to none. MS-FSA 2.1.1.1, ClusterRefcount.

#include <string_view>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"

namespace ntfs::ondisk {

constexpr std::u16string_view kRefcountsName = u"$Refcounts";  ///< in $Extend
constexpr std::u16string_view kRefcountsIndex = u"$C";
/// Of such a volume: more do not fit the key.
constexpr uint64_t kMostCountedClusters = 0xFFFFFFFF;

/// Data of an entry. Its key is the first lcn, in 32 bits.
struct ClusterReferencesData {
  le32 count_clusters;  // at least 1
  le32 references;      // runs that have each of them, at least 2
};
static_assert(sizeof(ClusterReferencesData) == 8 && alignof(ClusterReferencesData) == 1);

struct ClusterReferences {
  ClusterRun run;
  uint32_t references = 0;
};

/// FileCorruptError (reported): lengths, or clusters that are not on the volume.
Result<ClusterReferences> parse_cluster_references(ByteView key, ByteView data,
                                                   uint64_t total_clusters, const Origin& origin);
/// The key of the entry that begins with `lcn`.
le32 cluster_references_key(Lcn lcn);
/// The whole entry, without a subnode.
ByteVector build_cluster_references(const ClusterReferences& shared);

}  // namespace ntfs::ondisk
