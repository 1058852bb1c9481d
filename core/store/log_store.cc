#include "core/store/log_store.h"

#include <algorithm>

#include "lfs/log_format.h"

namespace ntfs {

namespace {

/// The last record that ends in one of the pages; none in restart pages.
lfs::Lsn last_lsn_of(std::span<const lfs::LogWrite> writes) {
  lfs::Lsn last;
  for (const lfs::LogWrite& write : writes) {
    for (size_t at = 0; at + lfs::kPageSize <= write.bytes.size(); at += lfs::kPageSize) {
      const auto& header = struct_at<lfs::RecordPageHeader>(write.bytes, at);
      if (as_text(bytes_of(header.header.signature)) != "RCRD") continue;
      last = std::max(last, lfs::Lsn::from_raw(header.last_end_lsn.get()));
    }
  }
  return last;
}

}  // namespace

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
  const lfs::Lsn last = last_lsn_of(writes);
  if (last.raw() > settled_.load(std::memory_order_acquire)) {
    // What was appended is fixed by now: its data was written before.
    TRY(device_.flush());
    note_settled(last);
  }
  return device_.transfer_durable(requests);
}

void LogStoreOnVolume::note_settled(lfs::Lsn lsn) {
  uint64_t before = settled_.load(std::memory_order_relaxed);
  while (before < lsn.raw() &&
         !settled_.compare_exchange_weak(before, lsn.raw(), std::memory_order_acq_rel)) {
  }
}

}  // namespace ntfs
