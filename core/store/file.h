#pragma once

// One file in memory, shared by everybody who has it open: its data stream, and what changed of its
// information and is not yet logged (times, sizes in the directory entries).

#include <atomic>
#include <memory>
#include <optional>

#include "core/ondisk/attribute_values.h"
#include "core/store/stream.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

/// Times that a change sets; only those given.
struct FileTimes {
  std::optional<ondisk::FileTime> creation;
  std::optional<ondisk::FileTime> last_write;
  std::optional<ondisk::FileTime> change;
  std::optional<ondisk::FileTime> last_access;
};

class File {
 public:
  /// `volume` must outlive the file.
  File(Volume& volume, FileReference reference)
      : volume_(volume), reference_(reference), data_(volume, *this) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  FileReference reference() const { return reference_; }
  Stream& data() { return data_; }

  /// Notes new times, to be logged with the file's next transaction or the next commit.
  void note_times(const FileTimes& times) EXCLUDES(mutex_);
  /// The data was changed: last write and change time are now, archive bit set.
  void note_modified() EXCLUDES(mutex_);
  /// Times and attributes as a reader sees them: what is on disk (`disk`) with what is noted.
  void overlay(ondisk::StandardInformation& disk) const EXCLUDES(mutex_);
  /// Whether something is noted or the directory entries lag behind.
  bool has_noted() const EXCLUDES(mutex_);

  /// Logs noted times into $STANDARD_INFORMATION, and times and `sizes` into the directory entry of
  /// each name. Part of the caller's transaction; what was noted is gone when it commits.
  Result<> log_information(Transaction& transaction, const Stream::Sizes& sizes);
  /// The same in a transaction of its own, when something is noted. ObjectNameNotFound is success.
  Result<> write_information();

  /// Set once the last name is gone: the file lives until its last holder closes it.
  void mark_unlinked() { unlinked_ = true; }
  bool is_unlinked() const { return unlinked_; }
  /// How many opens and lookups hold the file (ObjectStore).
  std::atomic<uint64_t>& holders() { return holders_; }

 private:
  struct Noted {
    FileTimes times;
    bool archive = false;
    bool duplicates = false;  // the directory entries lag behind
  };

  Volume& volume_;
  const FileReference reference_;
  Stream data_;
  std::atomic<bool> unlinked_{false};
  std::atomic<uint64_t> holders_{0};
  mutable Mutex mutex_{LockRank::ClusterBitmap};
  Noted noted_ GUARDED_BY(mutex_);
};
using FilePtr = std::shared_ptr<File>;

}  // namespace ntfs
