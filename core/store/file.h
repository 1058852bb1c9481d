#pragma once

// One file in memory, shared by everybody who has it open: its streams, and what changed of its
// information and is not yet logged (times, sizes in the directory entries).

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ondisk/attribute_values.h"
#include "core/store/file_information.h"
#include "core/store/stream.h"
#include "core/store/transaction.h"
#include "usn/file_changes.h"

namespace ntfs {

class Volume;
using StreamPtr = std::shared_ptr<Stream>;

/// Times that a change sets; only those given.
struct FileTimes {
  std::optional<ondisk::FileTime> creation;
  std::optional<ondisk::FileTime> last_write;
  std::optional<ondisk::FileTime> change;
  std::optional<ondisk::FileTime> last_access;
};

class File final : public Participant, public std::enable_shared_from_this<File> {
 public:
  /// `volume` must outlive the file, which a shared_ptr owns.
  File(Volume& volume, FileReference reference)
      : volume_(volume), reference_(reference), data_(volume, *this, {}) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  FileReference reference() const { return reference_; }
  /// The unnamed stream.
  Stream& data() { return data_; }
  /// The named stream, whether or not it exists on the volume. Good as long as the file.
  StreamPtr named_stream(std::u16string_view name) EXCLUDES(mutex_);
  /// Those in memory, used or not.
  std::vector<StreamPtr> named_streams() const EXCLUDES(mutex_);
  /// Forgets one that was removed: the name may stand for another.
  void forget_stream(const Stream& stream) EXCLUDES(mutex_);
  /// Whether data of any stream has yet to be written.
  bool has_dirty_data() const EXCLUDES(mutex_);

  /// Notes new times, to be logged with the file's next transaction or the next commit.
  void note_times(const FileTimes& times) EXCLUDES(mutex_);
  /// Those bits of `attributes` (FILE_ATTRIBUTE_*) that a user may set.
  static uint32_t settable_attributes(uint32_t attributes);
  /// Notes new FILE_ATTRIBUTE_* bits (those that a user may set).
  void note_attributes(uint32_t attributes) EXCLUDES(mutex_);
  /// The data was changed: last write and change time are now, archive bit set.
  void note_modified() EXCLUDES(mutex_);
  /// The same with the times that `times` gives.
  void note_modified(const FileTimes& times) EXCLUDES(mutex_);
  /// The data was changed by a caller that sets the times itself: archive bit set.
  void note_archive() EXCLUDES(mutex_);
  /// Times and attributes as a reader sees them: what is on disk (`disk`) with what is noted.
  void overlay(ondisk::StandardInformation& disk) const EXCLUDES(mutex_);
  /// Keeps what was worked out from the file's only record, without what is noted. Caller holds
  /// Journal::metadata_lock.
  void remember(RecordMemo memo) EXCLUDES(mutex_);
  /// That, with what is noted, and without a lock: nothing when a transaction has changed the
  /// record since.
  std::optional<FileInformation> recall() const EXCLUDES(mutex_);
  /// Notes for the change journal that the file changes for these reasons (usn::Reason): a record
  /// goes with its next transaction. Nothing, and 0, where changes are not recorded.
  usn::FileChanges::Ticket post(uint32_t reasons) EXCLUDES(mutex_);
  /// The change did not happen.
  void retract(usn::FileChanges::Ticket ticket) EXCLUDES(mutex_);
  /// Notes which data of the unnamed stream was written, where that is recorded.
  void note_written(uint64_t offset, uint64_t length) EXCLUDES(mutex_);
  /// Notes that nobody has the file open any more.
  void post_close() EXCLUDES(mutex_);
  /// `use(changes)`: what the journal knows of the file. Inside a transaction that the file has
  /// joined, where changes are more than asked for.
  template <typename Use>
  auto changes(Use&& use) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    return use(changes_);
  }

  /// Whether something is noted or the directory entries lag behind.
  bool has_noted() const EXCLUDES(mutex_);

  /// Logs noted times into $STANDARD_INFORMATION, and times and `sizes` into the directory entry of
  /// each name; notes for the change journal become records. Part of the caller's transaction; what
  /// was noted is gone when it commits. `sizes`: of the unnamed stream, nothing if they are as
  /// before. Of a file with many names some entries wait for the next write_back().
  Result<> log_information(Transaction& transaction, const std::optional<Stream::Sizes>& sizes);
  /// Writes back the data and logs what is noted. A file that is gone meanwhile is success.
  Result<> write_back(Stream::Durable durable = Stream::Durable::Later);

  /// Set once the last name is gone: the file lives until its last holder closes it.
  void mark_unlinked() { unlinked_ = true; }
  bool is_unlinked() const { return unlinked_; }
  /// What can still be told of a file that was freed while somebody knew it.
  struct Remains {
    bool is_directory = false;
    uint32_t reparse_tag = 0;
  };
  /// Nothing of it is on the volume any more: nothing of it is written.
  void mark_freed(const Remains& remains) {
    remains_ = remains;
    freed_.store(true, std::memory_order_release);
  }
  /// Null unless the file was freed.
  const Remains* remains() const {
    return freed_.load(std::memory_order_acquire) ? &remains_ : nullptr;
  }
  /// True from the second call on: one caller frees the file.
  bool mark_freeing() { return freeing_.exchange(true); }
  /// How many opens and lookups hold the file (ObjectStore).
  std::atomic<uint64_t>& holders() { return holders_; }
  /// One more where there is one already, whom a removal sees. Needs no lock.
  bool hold_again();
  /// How many of them may write.
  std::atomic<uint64_t>& writers() { return writers_; }

 private:
  struct Noted {
    FileTimes times;
    std::optional<uint32_t> attributes;
    bool archive = false;
  };

  void transaction_ended(const Transaction& transaction, bool committed) override EXCLUDES(mutex_);
  void overlay_noted(ondisk::StandardInformation& disk) const REQUIRES(mutex_);
  Result<> log_names(Transaction& transaction, const ondisk::StandardInformation& information,
                     const std::optional<Stream::Sizes>& sizes, size_t most_names);
  Result<> log_information(Transaction& transaction, const std::optional<Stream::Sizes>& sizes,
                           size_t most_names);
  Result<> write_information() EXCLUDES(mutex_);
  Result<> write_back_data(Stream::Durable durable) EXCLUDES(mutex_);
  void drop_unused_streams() EXCLUDES(mutex_);

  Volume& volume_;
  const FileReference reference_;
  Stream data_;
  std::atomic<bool> unlinked_{false};
  std::atomic<bool> freeing_{false};
  Remains remains_;  // written once, before freed_
  std::atomic<bool> freed_{false};
  std::atomic<uint64_t> holders_{0};
  std::atomic<uint64_t> writers_{0};
  mutable Mutex mutex_{LockRank::FileTable};
  // Those that somebody uses, or that are dirty, and others until the next write-back.
  std::map<std::u16string, StreamPtr, std::less<>> named_ GUARDED_BY(mutex_);
  Noted noted_ GUARDED_BY(mutex_);
  bool has_noted_ GUARDED_BY(mutex_) = false;
  Noted logged_ GUARDED_BY(mutex_);  // by the running transaction: noted again if it is taken back
  bool has_logged_ GUARDED_BY(mutex_) = false;
  // Whether names have yet to be told; whether that is so once the running transaction commits.
  bool names_lag_ GUARDED_BY(mutex_) = false;
  bool leaves_names_ GUARDED_BY(mutex_) = false;
  usn::FileChanges changes_ GUARDED_BY(mutex_);
  std::unique_ptr<RecordMemo> memo_ GUARDED_BY(mutex_);  // null: nothing is remembered
};
using FilePtr = std::shared_ptr<File>;

}  // namespace ntfs
