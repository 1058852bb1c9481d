#pragma once

// lfs::LogStore over the runlist of $LogFile: offsets of the log file become places on the device.
//
// Data first: a record that makes bytes of a file reachable must not be durable before they are. Of
// most records that is known when their flush begins (note_settled). Records that other threads
// append after that, and that the same flush takes along, wait for the device here.

#include <atomic>

#include "core/io/block_device.h"
#include "core/store/runlist.h"
#include "lfs/log_store.h"
#include "lfs/lsn.h"

namespace ntfs {

class LogStoreOnVolume final : public lfs::LogStore {
 public:
  /// `device` must outlive the store. `runs` has no holes and covers `size_bytes`.
  LogStoreOnVolume(BlockDevice& device, Runlist runs, uint64_t size_bytes, uint32_t cluster_size)
      : device_(device),
        runs_(std::move(runs)),
        size_bytes_(size_bytes),
        cluster_size_(cluster_size) {}

  uint64_t size_bytes() const override { return size_bytes_; }
  const Runlist& runs() const { return runs_; }
  Result<> read(uint64_t offset, MutableBytes into) override;
  Result<> write_durable(std::span<const lfs::LogWrite> writes) override;
  /// The data that records up to `lsn` speak of is durable.
  void note_settled(lfs::Lsn lsn);

 private:
  Result<> map(uint64_t offset, IoRequest::Kind kind, MutableBytes memory,
               std::vector<IoRequest>& requests) const;

  BlockDevice& device_;
  const Runlist runs_;
  const uint64_t size_bytes_;
  const uint32_t cluster_size_;
  std::atomic<uint64_t> settled_{0};  // raw lsn
};

}  // namespace ntfs
