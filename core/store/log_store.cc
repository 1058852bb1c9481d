#include "core/store/log_store.h"

#include <algorithm>

namespace ntfs {

Result<> LogStoreOnVolume::map(uint64_t offset, IoRequest::Kind kind, MutableBytes memory,
                               std::vector<IoRequest>& requests) const {
  if (offset > size_bytes_ || memory.size() > size_bytes_ - offset) return NtStatus::EndOfFile;
  while (!memory.empty()) {
    const Run run = runs_.find(Vcn(offset / cluster_size_));
    const uint64_t in_cluster = offset % cluster_size_;
    const uint64_t length =
        std::min<uint64_t>(memory.size(), run.count.raw() * cluster_size_ - in_cluster);
    requests.push_back({kind, run.lcn.raw() * cluster_size_ + in_cluster, memory.first(length)});
    memory = memory.subspan(length);
    offset += length;
  }
  return {};
}

Result<> LogStoreOnVolume::read(uint64_t offset, MutableBytes into) {
  std::vector<IoRequest> requests;
  TRY(map(offset, IoRequest::Kind::Read, into, requests));
  return device_.transfer(requests);
}

Result<> LogStoreOnVolume::write_durable(std::span<const lfs::LogWrite> writes) {
  std::vector<IoRequest> requests;
  for (const lfs::LogWrite& write : writes) {
    const IoRequest whole = IoRequest::write(write.offset, write.bytes);
    TRY(map(whole.offset, whole.kind, whole.memory, requests));
  }
  return device_.transfer_durable(requests);
}

}  // namespace ntfs
