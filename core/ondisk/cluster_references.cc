#include "core/ondisk/cluster_references.h"

#include "core/ondisk/index_block.h"

namespace ntfs::ondisk {

Result<ClusterReferences> parse_cluster_references(ByteView key, ByteView data,
                                                   uint64_t total_clusters, const Origin& origin) {
  if (key.size() != sizeof(le32)) return corrupt(origin, "key length", key.size(), "4");
  if (data.size() != sizeof(ClusterReferencesData)) {
    return corrupt(origin, "data length", data.size(), "8");
  }
  const uint64_t lcn = struct_at<le32>(key).get();
  const auto& raw = struct_at<ClusterReferencesData>(data);
  const uint64_t count = raw.count_clusters.get();
  if (count == 0 || lcn + count > total_clusters) {
    return corrupt(origin, "clusters", count, "some, all on the volume");
  }
  const uint32_t references = raw.references.get();
  if (references < 2) return corrupt(origin, "references", references, "two or more");
  return ClusterReferences{{Lcn(lcn), ClusterCount(count)}, references};
}

le32 cluster_references_key(Lcn lcn) {
  ASSERT(lcn.raw() < kMostCountedClusters);
  return le32::of(static_cast<uint32_t>(lcn.raw()));
}

ByteVector build_cluster_references(const ClusterReferences& shared) {
  ASSERT(shared.run.end().raw() <= kMostCountedClusters);
  const le32 key = cluster_references_key(shared.run.lcn);
  ClusterReferencesData data;
  data.count_clusters.set(static_cast<uint32_t>(shared.run.count.raw()));
  data.references.set(shared.references);
  return build_view_entry(bytes_of(key), bytes_of(data), {});
}

}  // namespace ntfs::ondisk
