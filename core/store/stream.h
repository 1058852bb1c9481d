#pragma once

// The unnamed $DATA of one file: three sizes, runs, and a buffer of units not yet on the device.
//
// Sizes. Invariant: valid data length <= file size; bytes from the valid data length on read as
// zeros, whatever the device holds. The sizes in memory run ahead of those on disk: buffered data
// raises file_size() and valid_data_length() at once; write-back raises them on disk, after the
// data.
//
// Units. The buffer holds whole units of max(4096, cluster size) bytes, each with its data complete
// (a partial write reads the rest first). Only units that differ from the device are kept (the
// kernel's page cache is the read cache). A unit without clusters holds a promise of space
// (ClusterAllocator::promise), so that write-back cannot meet DiskFull.
//
// Order of write-back ("data first", MS-FSA fact sheet 3.3): claim clusters in memory; write the
// data; then one transaction: bits, mapping pairs, sizes, times. Lowest units first, so that the
// valid data length never passes bytes that were not written. Small files end resident, in that
// transaction.
//
// Locks: change_mutex_ (rank StreamChange) is held by whoever changes allocation or sizes on disk,
// across its I/O; mutex_ (rank Stream) guards the state and is never held across data I/O by
// write-back.

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/store/runlist.h"
#include "core/store/transaction.h"

namespace ntfs {

class File;
class Volume;

class Stream {
 public:
  enum class Buffering { Buffered, Unbuffered };
  enum class RangeKind { Data, Hole };
  enum class KeepSize { No, Yes };

  /// Both must outlive the stream.
  Stream(Volume& volume, File& file);
  ~Stream();

  struct Sizes {
    uint64_t allocated = 0;  ///< bytes in clusters (not holes), with what buffered units will take
    uint64_t file_size = 0;
    uint64_t valid_data_length = 0;
  };
  /// The sizes as a reader sees them. Errors: those of loading the attribute.
  Result<Sizes> sizes() EXCLUDES(mutex_);

  /// Reads up to `length` bytes from `offset` into `into`, which is 4096-aligned memory of at least
  /// align_up(length, 4096) bytes. Returns the bytes read; 0 at or past the end.
  /// NotSupported: compressed; AccessDenied: encrypted.
  Result<size_t> read(uint64_t offset, size_t length, MutableBytes into)
      EXCLUDES(mutex_, change_mutex_);

  /// Writes all of `from`. Buffered: into the buffer (space promised: DiskFull now or never).
  /// Unbuffered: through to the device where memory, offset and length are aligned to its blocks
  /// (buffered and written back at once otherwise). FileTooLarge past the largest file size.
  Result<> write(uint64_t offset, ByteView from, Buffering buffering)
      EXCLUDES(mutex_, change_mutex_);
  /// Appends at the file size, whatever it is by then. Returns the offset.
  Result<uint64_t> append(ByteView from) EXCLUDES(mutex_, change_mutex_);

  /// Sets the file size. Growing leaves a tail that reads as zeros; shrinking frees clusters, in
  /// several transactions where there are many runs.
  Result<> set_size(uint64_t size) EXCLUDES(mutex_, change_mutex_);
  /// Allocates clusters for every hole in the range. KeepSize::No: the file grows to cover it.
  Result<> allocate(uint64_t offset, uint64_t length, KeepSize keep)
      EXCLUDES(mutex_, change_mutex_);
  /// The range reads as zeros; whole clusters in it are freed. The size stays.
  Result<> punch(uint64_t offset, uint64_t length) EXCLUDES(mutex_, change_mutex_);
  /// The range reads as zeros; its clusters stay (or are allocated). KeepSize::No: grows the file.
  Result<> zero(uint64_t offset, uint64_t length, KeepSize keep) EXCLUDES(mutex_, change_mutex_);
  /// The first offset >= `offset` of that kind; holes are what is not allocated and not buffered,
  /// or past the valid data length. The end of the file is a hole. NoMoreEntries: no data from
  /// there on, or `offset` at or past the end.
  Result<uint64_t> next_range(uint64_t offset, RangeKind kind) EXCLUDES(mutex_);

  /// Puts all buffered units on the device and logs sizes, runs and times. On an error the units
  /// stay buffered. Does not make the log durable.
  Result<> write_back() EXCLUDES(mutex_, change_mutex_);
  /// Whether anything is buffered or a size has yet to be logged.
  bool is_dirty() const { return dirty_.load(std::memory_order_acquire); }

  /// Frees all clusters, buffered units and promises: the file is being deleted. In several
  /// transactions where there are many runs.
  Result<> discard() EXCLUDES(mutex_, change_mutex_);

  /// The runs on disk, for tools (`extents`). Empty for a resident stream.
  Result<Runlist> runs() EXCLUDES(mutex_);

 private:
  Volume& volume_;
  File& file_;
  std::atomic<bool> dirty_{false};
  mutable Mutex change_mutex_{LockRank::StreamChange};
  mutable SharedMutex mutex_{LockRank::Stream};
  // (state: to be completed by the implementation)
};

}  // namespace ntfs
