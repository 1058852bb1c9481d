#pragma once

// The device as file data sees it.
//
// A small write that is to be durable at once goes into the log: the transaction that says sizes
// and times holds the bytes, too (UpdateNonresidentValue of the unnamed $DATA). That is one durable
// write instead of two, one after the other. The clusters reach the device with the next
// checkpoint, as pages of metadata do. Until it is done
// - they are read from those pages;
// - whoever writes to one of them in place makes a checkpoint first: a replay of the log would put
//   the older bytes over the newer ones;
// - those that are freed have no new owner (Journal, intervals).

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/store/page_cache.h"

namespace ntfs {

class Journal;
class Transaction;

class LoggedData final : public BlockDevice {
 public:
  /// Of a cluster that can be logged: that of nearly all volumes.
  static constexpr uint32_t kClusterBytes = 4096;

  /// References must outlive the object.
  LoggedData(BlockDevice& device, Journal& journal) : device_(device), journal_(journal) {}

  /// Makes `bytes` the first ones of cluster `vcn` of `stream`, which lies at `lcn`. At the end of
  /// a transaction: when it is taken back afterwards, the volume must become read-only.
  Result<> log(Transaction& transaction, const MetadataStreamRef& stream, Vcn vcn, Lcn lcn,
               ByteView bytes) EXCLUDES(mutex_);
  /// Whether all that was logged is in place.
  bool is_settled() const;
  /// The page of a cluster that is not in place yet; null for all others.
  PageRef find(Lcn lcn) const EXCLUDES(mutex_);
  /// Gives back the memory of what is in place.
  void forget_settled() EXCLUDES(mutex_);

  // BlockDevice
  uint64_t size_bytes() const override { return device_.size_bytes(); }
  uint32_t logical_block_size() const override { return device_.logical_block_size(); }
  bool is_read_only() const override { return device_.is_read_only(); }
  /// As the device's, and the errors of a checkpoint. The caller holds no lock of metadata.
  Result<> transfer(std::span<const IoRequest> requests) override EXCLUDES(mutex_);
  Result<> transfer_durable(std::span<const IoRequest> writes) override EXCLUDES(mutex_);
  Result<> flush() override { return device_.flush(); }
  AlignedBuffer allocate(size_t size_bytes) override { return device_.allocate(size_bytes); }

 private:
  struct Logged {
    PageRef page;
    size_t length = 0;      ///< of its first bytes, which the log has
    uint64_t interval = 0;  ///< in which it was logged last
  };
  /// Bytes of a page that belong into a reader's memory.
  struct Part {
    MutableBytes into;
    PageRef page;
    size_t offset = 0;
  };

  bool is_in_place(const Logged& logged) const;
  Logged look_up(Lcn lcn) const EXCLUDES(mutex_);
  void add_parts(const IoRequest& request, std::vector<Part>& parts) const EXCLUDES(mutex_);
  Result<> prepare(std::span<const IoRequest> requests, std::vector<Part>& read) EXCLUDES(mutex_);

  BlockDevice& device_;
  Journal& journal_;
  std::atomic<uint64_t> last_interval_{0};  // in which anything was logged
  mutable Mutex mutex_{LockRank::Page};
  std::map<Lcn, Logged> clusters_ GUARDED_BY(mutex_);
};

}  // namespace ntfs
