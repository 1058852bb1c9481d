#pragma once

// One $DATA of a file: three sizes, runs, and a buffer of units not yet on the device.
//
// Sizes. Invariant: valid data length <= file size; bytes from the valid data length on read as
// zeros, whatever the device holds. The sizes in memory run ahead of those on disk: buffered data
// raises file_size() and valid_data_length() at once; write-back raises them on disk, after the
// data.
//
// Units. The buffer holds whole units of max(4096, cluster size) bytes, or compression units, each
// with its data complete (a partial write reads the rest first). Only units that differ from the
// device are kept (the kernel's page cache is the read cache). A unit without clusters holds a
// promise of space (ClusterAllocator::promise), so that write-back cannot meet DiskFull.
//
// Order of write-back ("data first", MS-FSA fact sheet 3.3): claim clusters in memory; write the
// data; then one transaction: bits, mapping pairs, sizes, times. Lowest units first, so that the
// valid data length never passes bytes that were not written. Small files end resident, in that
// transaction; a little that will be made durable at once stands in it, too, and reaches its place
// later (logged_data.h). A gap behind the runs becomes a hole, unless it is small, or as much data
// follows as it is long (the kernel writes back out of order): then it gets clusters and zeros.
//
// Locks: change_mutex_ (rank StreamChange) is held by whoever changes allocation or sizes on disk,
// across its I/O; mutex_ (rank Stream) guards the state and is never held across data I/O by
// write-back.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"
#include "core/ondisk/attribute_record.h"
#include "core/store/runlist.h"
#include "core/store/stream_buffer.h"
#include "core/store/transaction.h"

namespace ntfs {

class Attributes;
class File;
class Volume;
class WofData;
namespace ondisk {
enum class WofFormat : uint32_t;
}
using ondisk::Compression;

/// What the layer above keeps with a stream that is in memory.
class StreamExtension {
 public:
  virtual ~StreamExtension() = default;
};

class Stream {
 public:
  enum class Buffering { Buffered, Unbuffered };
  enum class RangeKind { Data, Hole };
  enum class KeepSize { No, Yes };
  /// When what is written back will be made durable.
  enum class Durable { Later, AtOnce };

  /// `volume` and `file` must outlive the stream. `name`: empty for the unnamed one. A named one
  /// need not exist: until it does, everything but replace() gives ObjectNameNotFound.
  Stream(Volume& volume, File& file, std::u16string_view name);
  ~Stream();
  const Volume& volume() const { return volume_; }
  File& file() const { return file_; }
  const std::u16string& name() const { return name_; }
  bool is_named() const { return !name_.empty(); }

  /// The size of an encrypted file whose data is shown (VolumeOptions::Encrypted::Raw).
  static uint64_t raw_size(uint64_t file_size);

  struct Sizes {
    uint64_t allocated = 0;  ///< bytes in clusters (not holes), with what buffered units will take
    uint64_t file_size = 0;
    uint64_t valid_data_length = 0;
    /// Bytes from the start to the end of the runs, holes counted. Resident: as allocated.
    uint64_t mapped = 0;
  };
  /// The sizes as a reader sees them. Errors: those of loading the attribute.
  Result<Sizes> sizes() EXCLUDES(mutex_);

  /// Whether its data can be read, or changed. NotSupported: compressed in an unknown way, or (to
  /// change it) by Windows' overlay filter, or what that filter made of it; AccessDenied:
  /// encrypted; IoReparseTagNotHandled: the owner of the file's reparse point has the data, or (to
  /// change it) keeps watch over it.
  Result<> check_readable() EXCLUDES(mutex_) { return ensure_readable(); }
  Result<> check_writable() EXCLUDES(mutex_) { return ensure_writable(); }
  /// The file's reparse point is another one. What is buffered must have been written back.
  void note_reparse_change() EXCLUDES(mutex_, change_mutex_);

  /// Reads up to `length` bytes from `offset` into `into`, which is 4096-aligned memory of at least
  /// align_up(length, 4096) bytes. Returns the bytes read; 0 at or past the end.
  /// NotSupported: compressed in another way than LZNT1; AccessDenied: encrypted (VolumeOptions).
  Result<size_t> read(uint64_t offset, size_t length, MutableBytes into)
      EXCLUDES(mutex_, change_mutex_);

  /// A read in two steps: what several reads, of several streams, need goes to the device together.
  struct ReadStep {
    size_t length = 0;                ///< what the read returns
    uint64_t count_frees = 0;         ///< of the stream, when the step began
    std::vector<MutableBytes> zeros;  ///< what must be zeros after the transfer
  };
  /// As read(), for an `offset` that is a multiple of the device's block size. What is missing in
  /// `into` then comes with the transfer of what was added to `requests`.
  Result<ReadStep> begin_read(uint64_t offset, size_t length, MutableBytes into,
                              std::vector<IoRequest>& requests) EXCLUDES(mutex_);
  /// After the transfer. False: clusters were freed meanwhile, `into` may hold what is not of this
  /// stream, and the read has to be done again.
  bool end_read(const ReadStep& step) EXCLUDES(mutex_);

  /// Writes all of `from`. Buffered: into the buffer (space promised: DiskFull now or never).
  /// Unbuffered: through to the device where memory, offset and length are aligned to its blocks
  /// (buffered and written back at once otherwise). FileTooLarge past the largest file size.
  Result<> write(uint64_t offset, ByteView from, Buffering buffering)
      EXCLUDES(mutex_, change_mutex_);
  /// Appends at the file size, whatever it is by then. Returns the offset.
  Result<uint64_t> append(ByteView from) EXCLUDES(mutex_, change_mutex_);
  /// The same, through to the device. InvalidParameter: the file size is no multiple of a sector.
  Result<uint64_t> append_unbuffered(ByteView from) EXCLUDES(mutex_, change_mutex_);

  /// Sets the file size. Growing leaves a tail that reads as zeros; shrinking frees clusters, in
  /// several transactions where there are many runs.
  Result<> set_size(uint64_t size) EXCLUDES(mutex_, change_mutex_);
  /// Frees what is allocated from `bytes`, or the end of the file, on.
  Result<> trim(uint64_t bytes) EXCLUDES(mutex_, change_mutex_);
  /// Raises the valid data length over clusters as they are, in one transaction: whatever the
  /// device holds there is shown. InvalidParameter: less than it is, more than the file size, or
  /// there are holes.
  Result<> set_valid_data_length(uint64_t length) EXCLUDES(mutex_, change_mutex_);
  /// Whether it is marked sparse or has holes on disk. A resident stream is not.
  Result<bool> is_sparse() EXCLUDES(mutex_);
  /// Whether what is written to it is compressed with LZNT1.
  Result<bool> is_compressed() EXCLUDES(mutex_);
  /// Compresses what it holds, or decompresses it, in many transactions; what is still a hole then
  /// makes it sparse. DiskFull: nothing, or half of it, is done. InvalidDeviceRequest: the clusters
  /// are too large. FileSystemLimitation: too many fragments. NotSupported: always written to.
  Result<> set_compression(Compression wanted) EXCLUDES(mutex_, change_mutex_);
  enum class Sparse { No, Yes };
  /// Marks it sparse (it becomes nonresident), or allocates every hole and takes the mark away.
  /// NotSupported: compressed.
  Result<> set_sparse(Sparse wanted) EXCLUDES(mutex_, change_mutex_);
  /// Allocates clusters for every hole in the range. KeepSize::No: the file grows to cover it.
  /// NotSupported: compressed.
  Result<> allocate(uint64_t offset, uint64_t length, KeepSize keep)
      EXCLUDES(mutex_, change_mutex_);
  /// The range reads as zeros; whole clusters in it are freed. The size stays.
  Result<> punch(uint64_t offset, uint64_t length) EXCLUDES(mutex_, change_mutex_);
  /// The range reads as zeros; its clusters stay (or are allocated). KeepSize::No: grows the file.
  Result<> zero(uint64_t offset, uint64_t length, KeepSize keep) EXCLUDES(mutex_, change_mutex_);
  /// Takes [offset, offset + length) out of the stream: what lies behind moves down, and the file
  /// gets shorter. Nobody else changes the stream meanwhile. InvalidParameter: not of whole
  /// clusters (compressed: units), or not before the end of the file. FileSystemLimitation: too
  /// many fragments. NotSupported: always written to.
  Result<> collapse(uint64_t offset, uint64_t length) EXCLUDES(mutex_, change_mutex_);
  /// Makes room for `length` bytes at `offset`, which read as zeros: what lies there moves up. The
  /// same errors; FileTooLarge.
  Result<> insert(uint64_t offset, uint64_t length) EXCLUDES(mutex_, change_mutex_);
  /// [offset, offset + length) becomes what `source` has from `from` on, in the same clusters, on a
  /// volume with reference counts; the file grows to cover it. Offsets are multiples of the cluster
  /// size; so is the length, unless the range ends at or behind the end of this file. The source
  /// reaches to the end of the range's last cluster, rounded up. Returns the bytes done: all, or
  /// fewer where there are many runs and space for the counts ran out. InvalidParameter: offsets,
  /// ends, or the ranges overlap. NotSupported: no such volume, compressed, or always written to.
  Result<uint64_t> share(Stream& source, uint64_t from, uint64_t offset, uint64_t length)
      EXCLUDES(mutex_, change_mutex_);
  /// The first offset >= `offset` of that kind; holes are what is not allocated and not buffered,
  /// or past the valid data length. The end of the file is a hole. NoMoreEntries: no data from
  /// there on, or `offset` at or past the end.
  Result<uint64_t> next_range(uint64_t offset, RangeKind kind) EXCLUDES(mutex_);

  /// Puts all buffered units on the device and logs sizes, runs and times. On an error the units
  /// stay buffered. Does not make the log durable. Few units that are to be durable at once go into
  /// the log themselves (LoggedData).
  Result<> write_back(Durable durable = Durable::Later) EXCLUDES(mutex_, change_mutex_);
  /// The same, if something of the range is buffered.
  Result<> write_back(uint64_t offset, uint64_t length) EXCLUDES(mutex_, change_mutex_);
  /// Whether anything is buffered or a size has yet to be logged.
  bool is_dirty() const { return dirty_.load(std::memory_order_acquire); }

  /// Longest value that replace() takes.
  static constexpr size_t kMostReplaced = 64 << 10;
  /// Makes `value` all that the stream holds, in one transaction; makes the stream if there is
  /// none.
  Result<> replace(ByteView value) EXCLUDES(mutex_, change_mutex_);
  /// Removes a named stream, for good: whatever still uses the object gets ObjectNameNotFound.
  Result<> remove() EXCLUDES(mutex_, change_mutex_);

  /// How many opens a named stream has (ObjectStore).
  std::atomic<uint64_t>& openers() { return openers_; }
  /// Whether it goes with its last open. Who opens it counts first and asks then; who deletes it
  /// says so first and counts then.
  std::atomic<bool>& deleted() { return deleted_; }
  /// Null until somebody needs one.
  StreamExtension* extension() const { return extension_.load(std::memory_order_acquire); }
  /// Gives the stream an extension, for good. Returns the stream's: that of whoever was first.
  StreamExtension& extend(std::unique_ptr<StreamExtension> extension) EXCLUDES(mutex_);

  /// Frees all clusters, buffered units and promises: the file is being deleted. In several
  /// transactions where there are many runs.
  Result<> discard() EXCLUDES(mutex_, change_mutex_);

  /// The runs on disk, for tools (`extents`). Empty for a resident stream.
  Result<Runlist> runs() EXCLUDES(mutex_);

 private:
  struct Flight;  // one step of write-back: stream_flight.h
  struct FlightPiece;
  struct Prepared;  // units of a large write, copied before the lock is taken
  /// Everything: what was buffered when it began. Urgent: that, to be durable at once. Relief: some
  /// of it, to make room.
  enum class Sweep { Everything, Urgent, Relief };
  enum class Form { AsFits, Nonresident };

  // stream.cc: state
  Result<> ensure_loaded() EXCLUDES(mutex_);
  Result<> ensure_readable() EXCLUDES(mutex_);
  Result<> ensure_writable() EXCLUDES(mutex_);
  Result<> load_locked() REQUIRES(mutex_);
  Result<> check_end(uint64_t offset, uint64_t length) const;
  uint64_t missing_clusters(uint64_t first_unit, uint64_t count) const REQUIRES_SHARED(mutex_);
  Result<> promise_units(uint64_t first_unit, uint64_t count) REQUIRES(mutex_);
  void settle_promises() REQUIRES(mutex_);
  void drop_units(uint64_t first_unit, uint64_t count) REQUIRES(mutex_);
  void note_state() REQUIRES(mutex_);
  Result<> read_resident_value(uint64_t offset, MutableBytes into) const REQUIRES_SHARED(mutex_);
  bool is_value_on_disk() const REQUIRES_SHARED(mutex_) {
    return resident_ && disk_file_size_ != 0 && !buffer_.contains(0);
  }
  Result<> keep_resident_value() REQUIRES(mutex_);

  // stream_reparse.cc
  Result<> look_at_reparse_point(Attributes& attributes) REQUIRES(mutex_);
  void read_from_wof(ondisk::WofFormat format) REQUIRES(mutex_);
  std::shared_ptr<WofData> wof() const EXCLUDES(mutex_);
  bool is_read_as_data() EXCLUDES(mutex_);

  // stream_read.cc
  Result<size_t> read_aligned(uint64_t offset, size_t length, MutableBytes into) EXCLUDES(mutex_);
  Result<> read_range(uint64_t from, uint64_t to, std::byte* into) const REQUIRES_SHARED(mutex_);
  Result<> read_raw(uint64_t from, uint64_t to, std::byte* into) const REQUIRES_SHARED(mutex_);
  Result<> plan_range(uint64_t from, uint64_t to, std::byte* into, std::vector<IoRequest>& requests,
                      std::vector<MutableBytes>& zeros) const REQUIRES_SHARED(mutex_);
  Result<> read_disk(uint64_t from, uint64_t to, std::byte* into) const REQUIRES_SHARED(mutex_);
  void plan_read(uint64_t from, uint64_t to, std::byte* into, std::vector<IoRequest>& requests,
                 std::vector<MutableBytes>& zeros) const REQUIRES_SHARED(mutex_);

  // stream_compressed.cc
  struct PackedUnit;
  struct ByteRange {
    uint64_t from = 0;
    uint64_t to = 0;
  };
  /// Units that a write adds to those that are to go out.
  struct NewUnits {
    uint64_t fresh = 0;    ///< not buffered yet
    uint64_t retaken = 0;  ///< changed while they are in flight
  };
  void set_form(Compression compression) REQUIRES(mutex_);
  uint64_t count_needed(const NewUnits& units) const REQUIRES_SHARED(mutex_);
  Result<> promise_new_units(uint64_t first_unit, uint64_t count) REQUIRES(mutex_);
  void pad_to_unit(Runlist& runs) const REQUIRES_SHARED(mutex_);
  Result<> compress_all() REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> decompress_all() REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> fill_partial_units() REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<bool> take_in(uint64_t& unit, Compression wanted) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> rewrite(Compression wanted) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<bool> change_form(Compression wanted) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> log_form(Compression wanted) REQUIRES(change_mutex_, mutex_);
  void pack(Flight& flight) const REQUIRES(change_mutex_);
  void take_tail_along() EXCLUDES(mutex_);
  void raise_valid(Flight& flight) const;
  void place_packed(Flight& flight) const REQUIRES_SHARED(mutex_);
  Result<> read_compressed(uint64_t from, uint64_t to, std::byte* into) const
      REQUIRES_SHARED(mutex_);
  Result<> unpack(std::vector<IoRequest>& requests, std::vector<PackedUnit>& packed,
                  MutableBytes scratch, const ByteRange& wanted, std::byte* into) const
      REQUIRES_SHARED(mutex_);

  // stream_write.cc
  /// Where a buffered write goes: to an offset, or to the end, which must be a multiple then.
  struct Place {
    std::optional<uint64_t> offset;
    uint64_t multiple_of = 1;
  };
  Result<uint64_t> write_buffered(const Place& place, ByteView from)
      EXCLUDES(mutex_, change_mutex_);
  Result<uint64_t> try_buffer(const Place& place, ByteView from, const Prepared& prepared)
      EXCLUDES(mutex_);
  Prepared prepare(uint64_t offset, ByteView from) const;
  Result<> bring_in(uint64_t unit, uint64_t written_from, uint64_t written_to) REQUIRES(mutex_);
  Result<> bring_in_edges(uint64_t offset, uint64_t end) REQUIRES(mutex_);
  void copy_in(uint64_t offset, ByteView from, const Prepared& prepared) REQUIRES(mutex_);
  Result<> zero_edge(uint64_t from, uint64_t to) REQUIRES(mutex_);
  Result<> write_unbuffered(uint64_t offset, ByteView from) EXCLUDES(mutex_, change_mutex_);
  bool is_plain_overwrite(uint64_t offset, uint64_t length) const REQUIRES_SHARED(mutex_);
  Result<> overwrite(uint64_t offset, ByteView from) REQUIRES_SHARED(mutex_);
  Result<> relieve() EXCLUDES(mutex_, change_mutex_);

  // stream_write_back.cc
  Result<> sweep(Sweep kind, Form form) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> sweep_steps(Sweep kind, Form form) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<bool> write_back_resident() REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> log_information(Transaction& transaction, const Sizes& sizes);
  Result<bool> log_value(ByteView value) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<bool> write_through(uint64_t offset, ByteView from) EXCLUDES(mutex_, change_mutex_);
  Result<bool> begin_direct(Flight& flight, uint64_t offset, ByteView from) REQUIRES(change_mutex_)
      EXCLUDES(mutex_);
  void forget() EXCLUDES(mutex_);
  bool begin_conversion(Flight& flight) EXCLUDES(mutex_);
  bool begin_flight(Flight& flight, uint64_t cursor, Sweep kind) REQUIRES(change_mutex_)
      EXCLUDES(mutex_);
  void note_disk_state(Flight& flight) const REQUIRES_SHARED(mutex_);
  void collect(Flight& flight, uint64_t cursor, Sweep kind) REQUIRES(mutex_);
  void collect_compressed(Flight& flight, uint64_t cursor) REQUIRES(mutex_);
  void fill_gaps(Flight& flight) const;
  void add_missing(Flight& flight, uint64_t first_unit, uint64_t count) const
      REQUIRES_SHARED(mutex_);
  void add_shared(Flight& flight, const Run& run) const REQUIRES_SHARED(mutex_);

  // stream_share.cc
  struct Clone;
  size_t most_shared_parts() const;
  uint64_t count_replaced(const Runlist& runs) const REQUIRES_SHARED(mutex_);
  Result<> drop_unsafe_tail() REQUIRES(change_mutex_) EXCLUDES(mutex_);
  bool has_unsafe_tail_before(uint64_t unit) const REQUIRES_SHARED(mutex_);
  Result<> bring_in_tail() REQUIRES(mutex_);
  Result<> ensure_space_for_copies(uint64_t from, uint64_t to) REQUIRES(change_mutex_)
      EXCLUDES(mutex_);
  Result<> replace_shared(Vcn from, Vcn to) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Vcn plan_replacing(Flight& flight, Vcn from, Vcn to) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<std::optional<uint64_t>> try_share(Stream& source, Clone& clone)
      EXCLUDES(mutex_, change_mutex_);
  Result<uint64_t> seal_tail() REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<uint64_t> share_runs(Stream& source, const Clone& clone)
      REQUIRES(change_mutex_, mutex_, source.mutex_);
  Run cloned_run(const Stream& source, const Clone& clone, Vcn at) const
      REQUIRES(mutex_, source.mutex_);
  Result<ClusterCount> exchange_run(Transaction& transaction, Runlist& after, Run run)
      REQUIRES(mutex_);
  Result<Vcn> share_step(Stream& source, const Clone& clone, Vcn first)
      REQUIRES(change_mutex_, mutex_, source.mutex_);

  // stream_shift.cc
  struct Shift;
  Result<> shift(const Shift& wanted) EXCLUDES(mutex_, change_mutex_);
  Result<> check_shift(const Shift& wanted) const REQUIRES_SHARED(mutex_);
  Result<> shift_runs(const Shift& wanted) REQUIRES(change_mutex_, mutex_);

  // stream_flight.cc
  Result<> fly(Flight& flight) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> claim(Flight& flight) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> promise_extra(Flight& flight);
  void trim(Flight& flight);
  void take_off(Flight& flight) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  bool can_log_units() const EXCLUDES(mutex_);
  void choose_logged(Flight& flight) const REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Lcn hint_for(Vcn vcn) const REQUIRES_SHARED(mutex_);
  Result<> send(const Flight& flight);
  Result<> send_if_many(std::vector<IoRequest>& requests);
  Result<> add_piece(const Flight& flight, const FlightPiece& piece,
                     std::vector<IoRequest>& requests);
  Result<> add_zeros(const Runlist& runs, uint64_t from, uint64_t to,
                     std::vector<IoRequest>& requests);
  Result<> zero_block_tail(const Runlist& runs, uint64_t from);
  Result<> log(const Flight& flight) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> log_units(Transaction& transaction, const Flight& flight) REQUIRES(change_mutex_);
  void land(Flight& flight) EXCLUDES(mutex_);
  void abandon(Flight& flight) EXCLUDES(mutex_);

  // stream_truncate.cc
  Result<bool> grow(uint64_t size) EXCLUDES(mutex_);
  Result<bool> grow_locked(uint64_t size) REQUIRES(mutex_);
  Result<> shrink(uint64_t size) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> cut_runs(uint64_t size, Vcn end) REQUIRES(change_mutex_, mutex_);
  Vcn runs_needed(uint64_t size) const REQUIRES(mutex_);
  Result<> cut_step(uint64_t size, Vcn end) REQUIRES(change_mutex_, mutex_);
  Result<> free_from_end(Transaction& transaction, Runlist& runs, Vcn end);
  void cut_memory(uint64_t size) REQUIRES(mutex_);

  // stream_replace.cc
  struct Replacement;
  Result<> claim(Replacement& replacement) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> log(const Replacement& replacement) REQUIRES(change_mutex_, mutex_);
  Result<> log_removal() REQUIRES(change_mutex_, mutex_);
  Result<> release_runs(Transaction& transaction) REQUIRES(change_mutex_, mutex_);
  Result<> cut_long_runs() REQUIRES(change_mutex_, mutex_);
  void become(Replacement& replacement) REQUIRES(change_mutex_, mutex_);

  // stream_form.cc
  Result<> log_sizes(const ondisk::AttributeSizes& sizes) REQUIRES(change_mutex_, mutex_);
  Result<> log_sparse(Sparse wanted) REQUIRES(change_mutex_, mutex_);

  // stream_ranges.cc
  struct Middle;  // the whole units of a range
  Middle split_range(uint64_t from, uint64_t to) const REQUIRES_SHARED(mutex_);
  Result<> fill_holes(uint64_t from, uint64_t to) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> ensure_space(ClusterCount wanted);
  Vcn plan_filling(Flight& flight, Vcn from, Vcn to) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> punch_locked(uint64_t offset, uint64_t length) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  Result<> punch_units(const Middle& middle) REQUIRES(change_mutex_, mutex_);
  Result<Vcn> punch_step(Vcn from, Vcn to) REQUIRES(change_mutex_, mutex_);
  Result<> log_punch(Vcn from, Vcn to) REQUIRES(change_mutex_, mutex_);
  Result<> zero_on_device(const Middle& middle) REQUIRES(change_mutex_) EXCLUDES(mutex_);
  RangeKind range_at(uint64_t at, uint64_t& stop) const REQUIRES_SHARED(mutex_);
  RangeKind compressed_range_at(const Run& run, uint64_t& stop) const REQUIRES_SHARED(mutex_);

  Volume& volume_;
  File& file_;
  const std::u16string name_;
  static constexpr uint64_t kMinUnitBytes = 4096;
  static constexpr uint64_t kClustersPerCompressionUnit = 1 << ondisk::kCompressionUnitShift;

  const uint64_t cluster_size_;
  // Change with both locks held, while nothing is buffered.
  std::atomic<uint64_t> unit_bytes_;
  std::atomic<uint64_t> clusters_per_unit_;
  std::atomic<bool> dirty_{false};
  std::atomic<bool> loaded_{false};
  std::atomic<uint64_t> buffered_bytes_{0};  // as Volume::add_buffered knows them
  std::atomic<bool> relieving_{false};       // a writer writes back to make room
  std::atomic<bool> removed_{false};
  std::atomic<bool> deleted_{false};
  std::atomic<uint64_t> openers_{0};
  std::atomic<StreamExtension*> extension_{nullptr};  // the one below
  mutable Mutex change_mutex_{LockRank::StreamChange};
  Compression packing_ GUARDED_BY(change_mutex_) = Compression::Lznt1;  // of units going out
  MetadataStreamRef logged_as_ GUARDED_BY(change_mutex_);  // what the log calls it; null: never did
  mutable SharedMutex mutex_{LockRank::Stream};

  std::unique_ptr<StreamExtension> owned_extension_ GUARDED_BY(mutex_);
  // Set before loaded_ is.
  std::atomic<NtStatus> cannot_read_ = NtStatus::Success;
  std::atomic<NtStatus> cannot_write_ = NtStatus::Success;
  uint64_t encrypted_size_ = 0;  // the file size, where encrypted data is shown
  std::atomic<bool> has_wof_{false};
  std::shared_ptr<WofData> wof_ GUARDED_BY(mutex_);  // null unless that is where its data is
  // On disk, as the last committed transaction left it. Changes with change_mutex_ held, too.
  bool resident_ GUARDED_BY(mutex_) = true;
  Runlist runs_ GUARDED_BY(mutex_);
  bool compressed_ GUARDED_BY(mutex_) = false;
  uint64_t cache_number_ GUARDED_BY(mutex_) = 0;   // of a compressed stream, in Volume::units()
  bool marked_sparse_ GUARDED_BY(mutex_) = false;  // nonresident only; implied by holes
  uint64_t count_frees_ GUARDED_BY(mutex_) = 0;    // how often clusters of it were freed
  uint64_t disk_file_size_ GUARDED_BY(mutex_) = 0;
  uint64_t disk_valid_ GUARDED_BY(mutex_) = 0;
  // In memory. Invariant: file_size_ >= disk_file_size_ unless resident; then unit 0 is buffered
  // whenever the value on disk is neither empty nor what a reader must see.
  uint64_t file_size_ GUARDED_BY(mutex_) = 0;
  uint64_t valid_ GUARDED_BY(mutex_) = 0;
  // Invariant: buffered units are zero from file_size_ on.
  StreamBuffer buffer_ GUARDED_BY(mutex_);
  // Clusters promised: those that buffered units lack, in the runs as a flight under way will leave
  // them. Compressed: those of the flight count until it has landed; see count_needed().
  uint64_t promised_ GUARDED_BY(mutex_) = 0;
  uint64_t flight_units_ GUARDED_BY(mutex_) = 0;         // compressed: of the flight under way
  uint64_t flight_claimed_ GUARDED_BY(mutex_) = 0;       // clusters, by that flight
  const Runlist* planned_ GUARDED_BY(mutex_) = nullptr;  // of the flight under way
};

}  // namespace ntfs
