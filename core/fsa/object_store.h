#pragma once

// The object store: everything that the front end asks of a volume, in terms of MS-FSA. One call is
// one request; each change is one transaction (or a chain of them that may be cut anywhere).
// Thread safe. Names are UTF-16 code units as on disk; case counts.
//
// A FilePtr names a file; it does not keep it. open() adds a holder: a file whose last name is
// removed lives on, in $Extend\$Deleted, until close() has taken the last holder away. Without a
// holder it is freed at once. Of a freed file its kind is still told, with no names and no
// data, and new times are taken and forgotten; all else gives ObjectNameNotFound.
//
// Requests by an Open are those of MS-FSA, with its checks in its order and its status codes. Calls
// for data by a File are what a cache above, or the file system itself, makes of them (paging I/O):
// nobody's locks and oplocks stand against them.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fsa/change_notify.h"
#include "core/fsa/data_requests.h"
#include "core/fsa/open.h"
#include "core/io/block_device.h"
#include "core/ondisk/attribute_values.h"
#include "core/store/file.h"
#include "core/store/file_information.h"
#include "core/store/index_tree.h"
#include "core/store/security_inheritance.h"
#include "core/store/volume.h"

namespace ntfs {

class Passage;
struct NamedEntry;

struct NameInDirectory {
  FileReference directory;
  std::u16string name;
};

struct DirectoryEntry {
  std::u16string name;
  FileReference reference;
  uint32_t file_attributes = 0;  ///< from the duplicated information
  uint32_t reparse_tag = 0;
};

/// MS-FSCC 2.4.49 "FileStreamInformation".
struct StreamInformation {
  std::u16string name;          ///< empty: the unnamed one
  uint64_t file_size = 0;       ///< bytes
  uint64_t allocated_size = 0;  ///< bytes really allocated
};

struct CreateParameters {
  FileKind kind = FileKind::File;
  std::string symlink_target;  ///< bytes as Linux has them; Symlink only
  LinuxMetadata linux_metadata;
  std::vector<ondisk::Ea> eas;     ///< beside those of linux_metadata
  std::optional<FileOwner> owner;  ///< none: that of the directory
  ByteVector security_descriptor;  ///< empty: what the directory passes on, for `owner`
  /// The file begins with a holder, which the caller takes away.
  enum class Holder { None, Caller };
  Holder holder = Holder::None;
};

/// What set_basic_information changes: only what is given.
struct BasicInformation {
  FileTimes times;
  /// Whether somebody asks for the times, or a cache above says when data changed that it has
  /// written already: the change journal knows of that.
  enum class TimesOf { Request, WrittenData };
  TimesOf times_of = TimesOf::Request;
  std::optional<uint32_t> file_attributes;  ///< the settable bits
  LinuxMetadata linux_metadata;
  /// Further extended attributes, that change together with linux_metadata.
  struct EaChange {
    std::string name;
    std::optional<ByteVector> value;  ///< none: it goes, if it is there
  };
  std::vector<EaChange> eas;
};

/// Parts of a security descriptor. MS-DTYP 2.4.7 "SECURITY_INFORMATION".
struct SecurityInformation {
  static constexpr uint32_t Owner = 1;
  static constexpr uint32_t Group = 2;
  static constexpr uint32_t Dacl = 4;
  static constexpr uint32_t Sacl = 8;
  static constexpr uint32_t All = Owner | Group | Dacl | Sacl;
};

struct ReparsePoint {
  NtStatus status = NtStatus::Success;  ///< BufferOverflow: there is more
  ByteVector value;
};

struct StoreInformation {
  uint32_t cluster_size = 0;  ///< bytes
  uint64_t clusters_total = 0;
  uint64_t clusters_free = 0;       ///< not allocated
  uint64_t clusters_available = 0;  ///< that data may have
  uint64_t file_records = 0;        ///< that exist, in use or not
  uint64_t file_records_free = 0;   ///< plus those that the free space has room for
};

/// Who sets last write and change time when data changes: the store, as MS-FSA has it, or whoever
/// calls it (the kernel with its write-back cache), by set_basic_information.
enum class DataTimes { SetByStore, SetByCaller };

/// Whether opens may take byte-range locks and oplocks, which then stand against other opens.
enum class OpensLock { No, Yes };

struct ObjectStoreOptions {
  VolumeOptions volume;
  bool windows_names = false;      ///< refuse to make names that Windows forbids
  bool ignore_case = false;        ///< find names without regard to case
  bool compress_new_files = true;  ///< where their directory is compressed
  DataTimes data_times = DataTimes::SetByStore;
  bool show_system_files = false;  ///< list $MFT and the other system files in the root
  OpensLock opens_lock = OpensLock::No;
  std::string mount_point;  ///< what targets of links on the volume begin with; no slash at the end
};

class ObjectStore {
 public:
  enum class RenameMode { Replace, NoReplace, Exchange };
  using Buffering = Stream::Buffering;
  using KeepSize = Stream::KeepSize;
  using RangeKind = Stream::RangeKind;

  /// See Volume::open for the errors and `why_not`. Frees files that a crash left in
  /// $Extend\$Deleted.
  static Result<std::unique_ptr<ObjectStore>> mount(BlockDevice& device,
                                                    const ObjectStoreOptions& options,
                                                    std::string& why_not);
  ~ObjectStore();
  /// Writes everything and leaves the log clean. No call may follow but the destructor.
  Result<> dismount();

  Volume& volume() { return *volume_; }
  StoreInformation query_store();
  /// A range of the volume, in bytes.
  struct TrimRange {
    uint64_t offset = 0;
    uint64_t length = 0;  ///< may reach past the end
    uint64_t least = 0;   ///< free space in shorter pieces is left alone
  };
  /// Tells the device of the free space there: how many bytes. MediaWriteProtected, NotSupported,
  /// InvalidParameter (begins past the end).
  Result<uint64_t> trim(const TrimRange& range);

  // Finding.
  FilePtr root();
  /// The file with that reference, which need not exist any more.
  FilePtr file(FileReference reference) { return volume_->file(reference); }
  /// NotADirectory, ObjectNameNotFound.
  Result<FilePtr> lookup(File& directory, std::u16string_view name);
  /// The file whose base record has that number, of whatever sequence number. ObjectNameNotFound:
  /// there is none, or it has no name any more.
  Result<FilePtr> find_by_record(uint64_t record);
  /// Adds a holder. ObjectNameNotFound when the file is gone.
  Result<> open(File& file);
  /// Takes a holder away; when none is left and the file has no name, it is freed.
  void close(const FilePtr& file);
  /// Makes an Open, which is a holder. Waits where an oplock has to be broken. InvalidParameter,
  /// AccessDenied (no access, or unknown bits), ObjectNameNotFound, SharingViolation; NotSupported
  /// (it does not share everything, and opens do not lock).
  Result<std::unique_ptr<Open>> open(const FilePtr& file, const OpenParameters& parameters);
  /// Ends its locks, oplocks and waiting operations.
  void close(std::unique_ptr<Open> open);
  /// Every operation of the open that waits ends with Cancelled.
  void cancel(Open& open);

  // Information.
  Result<FileInformation> query_information(File& file);
  Result<> set_basic_information(File& file, const BasicInformation& information);
  /// Target of a symbolic link, as bytes for Linux: see link_target.h. NotAReparsePoint (no link),
  /// IoReparseTagInvalid.
  Result<std::string> read_link(File& file);

  // Names. Errors: ObjectNameCollision, ObjectNameNotFound, ObjectNameInvalid (empty, or forbidden
  // under windows_names), NameTooLong (over 255 code units), NotADirectory, DiskFull, TooManyLinks,
  // AccessDenied (system files), FileDeleted (the directory was removed).
  /// Makes a file.
  Result<FilePtr> create(File& directory, std::u16string_view name,
                         const CreateParameters& parameters);
  /// A further name. FileIsADirectory for directories.
  Result<> link(File& file, File& directory, std::u16string_view name);
  enum class RemoveKind { File, Directory };
  /// Removes a name. FileIsADirectory / NotADirectory when the kind differs, DirectoryNotEmpty.
  /// Returns the file that the name led to.
  Result<FileReference> remove(File& directory, std::u16string_view name, RemoveKind kind);
  /// Moves a name. Replace: an existing target goes (a directory only when empty and by a
  /// directory; FileIsADirectory, NotADirectory, DirectoryNotEmpty). InvalidParameter: a directory
  /// into itself.
  /// `successor`: what takes the old name, in the same transaction; not where a file gets another
  /// of its own names, which changes nothing.
  Result<> rename(File& from_directory, std::u16string_view from, File& to_directory,
                  std::u16string_view to, RenameMode mode,
                  const CreateParameters* successor = nullptr);
  /// The short (8.3) name of the file, in capitals. ObjectNameNotFound.
  Result<std::u16string> query_short_name(File& file);
  /// The long name of the entry that `name` leads to, which may be the same. ObjectNameNotFound.
  Result<std::u16string> query_long_name(File& directory, std::u16string_view name);
  /// Gives the file a short name, or none (empty). InvalidParameter: not of that form, the long
  /// name is none of Windows, the root. TooManyLinks: none of several names has one.
  Result<> set_short_name(File& file, std::u16string_view name);
  /// AccessDenied, too.
  Result<> set_short_name(Open& open, std::u16string_view name);
  /// All entries in index order, without "." and "..", DOS names, and (unless shown) system files.
  Result<std::vector<DirectoryEntry>> query_directory(File& directory);
  /// The names of a file, without DOS ones.
  Result<std::vector<NameInDirectory>> names_of(FileReference file);
  /// The directory that holds `directory`; the root's is itself.
  Result<FileReference> query_parent(File& directory);

  // Named streams. Their names are found as those of files are. AccessDenied: of system files.
  // DeletePending: removed, and still open.
  /// The unnamed stream, where there is one, first.
  Result<std::vector<StreamInformation>> query_streams(File& file);
  /// ObjectNameNotFound.
  Result<StreamPtr> find_stream(File& file, std::u16string_view name);
  /// Makes an empty one. ObjectNameCollision, ObjectNameInvalid, NameTooLong.
  Result<> create_stream(File& file, std::u16string_view name);
  /// Removes one, when nobody has it open any more.
  Result<> remove_stream(File& file, std::u16string_view name);
  /// All that the stream holds. BufferOverflow: more than Stream::kMostReplaced bytes.
  Result<ByteVector> read_stream(File& file, std::u16string_view name);
  /// Makes `value`, of up to as many bytes, all that the stream holds, in one transaction; makes
  /// the stream where there is none. Whoever calls it sets the time of the last write.
  Result<> set_stream(File& file, std::u16string_view name, ByteView value);

  // Extended attributes of NTFS. A name is bytes, and case counts. AccessDenied: of system files.
  /// None is no error.
  Result<std::vector<ondisk::Ea>> query_eas(File& file);
  /// NonexistentEaEntry.
  Result<ByteVector> query_ea(File& file, std::string_view name);
  /// Makes or replaces one. EaTooLarge: all of the file have more than 64 KiB; NameTooLong.
  Result<> set_ea(File& file, std::string_view name, ByteView value);
  /// NonexistentEaEntry.
  Result<> remove_ea(File& file, std::string_view name);
  /// Makes `eas` all that the file has.
  Result<> set_eas(File& file, const std::vector<ondisk::Ea>& eas);

  // Data by an open. Refusals change nothing.
  /// Returns the bytes written: all. InvalidParameter, MediaWriteProtected, InvalidDeviceRequest (a
  /// directory), FileLockConflict, DiskFull, Cancelled.
  Result<size_t> write(Open& open, const WriteParameters& parameters);
  /// Returns the bytes read, at least one unless none is asked for. EndOfFile, InvalidParameter,
  /// InvalidDeviceRequest, FileLockConflict, Cancelled.
  Result<size_t> read(Open& open, const ReadParameters& parameters);
  /// Makes what is cached of the stream, and everything before, durable.
  Result<> flush(Open& open);
  /// Copies up to `length` bytes; returns how many (fewer at the source's end). Where files may
  /// share clusters, those of whole clusters are not copied but shared.
  Result<uint64_t> copy_range(Open& from, uint64_t from_offset, Open& to, uint64_t to_offset,
                              uint64_t length);

  // Information by an open. InvalidParameter, AccessDenied, MediaWriteProtected, DiskFull.
  Result<> set_end_of_file(Open& open, int64_t size);
  Result<> set_allocation(Open& open, int64_t bytes);
  /// Shows what the device holds up to there. PrivilegeNotHeld.
  Result<> set_valid_data_length(Open& open, int64_t length);
  Result<> set_position(Open& open, int64_t offset);
  Result<> set_mode(Open& open, uint32_t mode);
  /// UserSetTimes that this open shall leave alone from now on.
  void set_user_set_times(Open& open, uint32_t times) { open.user_set_times_ = times; }

  // Compression, of files and directories (which new files take it over from).
  Result<Compression> query_compression(File& file);
  /// Compresses or decompresses all that a file holds. InvalidDeviceRequest: encrypted, neither a
  /// file nor a directory, or the volume's clusters are too large; DiskFull; see
  /// Stream::set_compression.
  Result<> set_compression(File& file, Compression wanted);

  /// The keys of an encrypted file, as $EFS has them. ObjectNameNotFound: it has none.
  Result<ByteVector> query_encryption(File& file);

  // Controls by an open. InvalidParameter, AccessDenied, FileLockConflict, DiskFull,
  // BufferTooSmall.
  Result<> set_sparse(Open& open, Stream::Sparse wanted);
  /// Zeroes [offset, beyond); what is sparse gives its clusters back.
  Result<> set_zero_data(Open& open, int64_t offset, int64_t beyond);
  Result<AllocatedRanges> query_allocated_ranges(Open& open, int64_t offset, int64_t length,
                                                 size_t most);
  /// Lets `target` have a part of `source` in the same clusters. InvalidDeviceRequest: not on a
  /// volume without reference counts. NotSupported: a file is shorter, or only the source sparse.
  Result<> duplicate_extents(Open& target, Open& source, const DuplicateExtents& range);
  /// fallocate(2): as by the file, but held locks stand against it.
  Result<> allocate(Open& open, uint64_t offset, uint64_t length, KeepSize keep);
  Result<> punch(Open& open, uint64_t offset, uint64_t length);
  Result<> zero(Open& open, uint64_t offset, uint64_t length, KeepSize keep);
  /// See Stream::collapse and Stream::insert. AccessDenied: not opened for writing.
  Result<> collapse(Open& open, uint64_t offset, uint64_t length);
  Result<> insert(Open& open, uint64_t offset, uint64_t length);

  // Security: self-relative descriptors, of which SecurityInformation tells the parts.
  // NotSupported: other parts; ObjectNameNotFound: the file has none, or is gone.
  /// AccessDenied.
  Result<ByteVector> query_security(Open& open, uint32_t parts);
  Result<ByteVector> query_security(File& file, uint32_t parts);
  /// AccessDenied, InvalidOwner (it has none), InvalidSecurityDescr, DiskFull, MediaWriteProtected.
  Result<> set_security(Open& open, uint32_t parts, ByteView descriptor);
  Result<> set_security(File& file, uint32_t parts, ByteView descriptor);

  // Reparse points by an open. A value is as on disk: the head, a GUID where the tag is not
  // Microsoft's, the data.
  /// Up to `room` bytes. NotAReparsePoint, BufferTooSmall (no room for the head).
  Result<ReparsePoint> get_reparse_point(Open& open, size_t room);
  /// Makes one, or changes the data of the one there is. IoReparseDataInvalid, IoReparseTagInvalid,
  /// IoReparseTagMismatch and ReparseAttributeConflict (there is another), NotADirectory,
  /// DirectoryNotEmpty, EasNotSupported.
  Result<> set_reparse_point(Open& open, ByteView value);
  /// `head`: a value without data that says which one. NotAReparsePoint, and as above.
  Result<> delete_reparse_point(Open& open, ByteView head);

  // Locks, on stores with OpensLock::Yes (NotSupported else).
  /// InvalidParameter, InvalidLockRange, LockNotGranted (no `waiter`), Pending: the waiter, which
  /// must live until then, will be told.
  Result<> lock(Open& open, const LockParameters& wanted, PendingLock* waiter);
  /// RangeNotLocked. Linux's are given back in any part.
  Result<> unlock(Open& open, const LockParameters& held);
  /// What stands against the lock wanted.
  Result<std::optional<ByteRangeLock>> query_lock(Open& open, const LockParameters& wanted);
  void cancel(Stream& stream, PendingLock& waiter);

  /// See Oplock.
  Result<> request_oplock(Open& open, OplockLevel level, OplockRequest& request);
  Result<> acknowledge_oplock_break(Open& open, OplockLevel level, OplockRequest& request);
  /// Asks for what happens in the directory from the open's first request on; `request` is told
  /// once. NotSupported, InvalidParameter (not a directory), DeletePending.
  Result<> notify(Open& directory, const NotifyParameters& parameters, NotifyRequest& request);

  // Data by a file or stream, see Stream. FileIsADirectory for directories.
  Result<size_t> read(File& file, uint64_t offset, size_t length, MutableBytes into);
  /// Several reads that go to the device together.
  void read(std::span<DataRead> reads);
  Result<> write(Stream& stream, uint64_t offset, ByteView from, Buffering buffering);
  Result<> write(File& file, uint64_t offset, ByteView from, Buffering buffering) {
    return write(file.data(), offset, from, buffering);
  }
  Result<uint64_t> append(File& file, ByteView from);
  Result<> set_end_of_file(Stream& stream, uint64_t size);
  Result<> set_end_of_file(File& file, uint64_t size) { return set_end_of_file(file.data(), size); }
  Result<> allocate(File& file, uint64_t offset, uint64_t length, KeepSize keep);
  Result<> punch(File& file, uint64_t offset, uint64_t length);
  Result<> zero(File& file, uint64_t offset, uint64_t length, KeepSize keep);
  Result<uint64_t> next_range(Stream& stream, uint64_t offset, RangeKind kind);
  Result<uint64_t> next_range(File& file, uint64_t offset, RangeKind kind) {
    return next_range(file.data(), offset, kind);
  }

  /// Everything that happened before is durable when it returns (fsync, fsyncdir, sync).
  Result<> flush();

 private:
  explicit ObjectStore(const ObjectStoreOptions& options) : options_(options) {}

  /// A name to be: the directory and the name in it.
  struct Place {
    IndexTree& directory;
    std::u16string_view name;
  };
  /// What became of a file that lost a name, for after the commit.
  struct RemovedFile {
    FilePtr file;
    bool was_last_name = false;
    bool is_freed = false;
    File::Remains remains;
  };

  IndexTree::NameMatch name_match() const;
  Result<FileInformation> query_record(File& file);
  Result<FileInformation> read_record(File& file);
  void remember(File& file);
  Result<> check_data_access(File& file, const OpenParameters& parameters);
  Result<> check_parent(const File& directory) const;
  Result<> check_data() const;
  /// Times and archive bit: MS-FSA 2.1.4.17, 2.1.4.18 and 2.1.4.20.
  void note_file_modified(Open& open) const;
  void note_file_changed(Open& open) const;
  void note_file_accessed(Open& open) const;
  static uint32_t size_filter(const Open& open);
  void note_stream_change(File& file) const;
  bool is_aligned(uint64_t offset, uint64_t length) const;
  Result<std::optional<uint64_t>> write_now(Open& open, const WriteParameters& parameters,
                                            Passage& passage, std::optional<uint64_t> wanted);
  Result<uint64_t> transfer_write(Open& open, const WriteParameters& parameters,
                                  std::optional<uint64_t> wanted);
  Result<> check_read(Open& open, const ReadParameters& parameters) const;
  Result<> begin_read(Open& open, const ReadParameters& parameters) const;
  bool answer_early(DataRead& read);
  Result<size_t> finish_read(Open& open, const ReadParameters& parameters, size_t length) const;
  Result<> check_size_change(Open& open, int64_t size) const;
  struct SharedRange {
    uint64_t source_offset = 0;
    uint64_t target_offset = 0;
    uint64_t length = 0;
  };
  Result<uint64_t> share_range(Open& from, Open& to, const SharedRange& range);
  Result<uint64_t> copy_shared(Open& from, Open& to, SharedRange range);
  Result<> set_allocation_now(Open& open, uint64_t bytes);
  Result<> check_reparse_change(const Open& open) const;
  void finish_reparse_change(Open& open);
  void finish_size_change(Open& open);
  /// What a change of a range is to the change journal.
  struct RangeReasons {
    uint32_t always = 0;
    KeepSize keep = KeepSize::Yes;
  };
  template <typename Change>
  Result<> change_range(Open& open, uint64_t offset, uint64_t length, const RangeReasons& reasons,
                        Change&& change);
  /// For names: breaks what stands in the way on the file's stream, or the directory's.
  Result<> break_oplock(File& file, OplockOperation operation);
  Result<> break_oplock(File& directory, std::u16string_view name, OplockOperation operation);
  void break_parents_oplocks(File& file, const Open* open);
  void report_names(FileReference directory, std::vector<NotifyEvent> events, uint32_t filter);
  void report_file(File& file, uint32_t filter);
  void report_stream(File& file, std::u16string_view stream, NotifyAction action, uint32_t filter);
  void end_watches(File& directory);
  struct RenameNews {
    RenameMode mode;
    bool is_replaced;  ///< what had the new name is gone
  };
  void report_rename(File& from_directory, std::u16string_view from, File& to_directory,
                     std::u16string_view to, const RenameNews& news);
  void note_data_change(File& file) const;
  Result<> check_target(Attributes& file, RemoveKind kind);
  void note_entry_change(File& directory);
  Result<ByteVector> merge_security(FileReference file, uint32_t parts,
                                    const ondisk::SecurityDescriptor& wanted);
  void note_security_change(File& file);

  Result<FilePtr> create_in_directory(File& directory, std::u16string_view name,
                                      const CreateParameters& parameters);
  Result<> create_now(Transaction& transaction, FileReference directory, std::u16string_view name,
                      const CreateParameters& parameters);
  Result<FileReference> deleted_directory();
  Result<FileReference> find_or_make_deleted_directory();
  Result<> remove_entry(Transaction& transaction, IndexTree& directory, Attributes& file,
                        const NamedEntry& entry, FileReference deleted, RemovedFile& removed);
  static void mark_removal(const RemovedFile& removed);
  void finish_removal(const RemovedFile& removed);
  Result<StreamPtr> find_stream_locked(File& file, std::u16string_view name);
  Result<> check_streams_removal(File& file);
  Result<> check_ordinary(File& file);
  Result<> check_stream_change(File& file);
  template <typename Change>
  Result<> change_eas(File& file, Change&& change);
  Result<> remove_now(Stream& stream);
  void remove_deleted(const StreamPtr& stream);
  Result<> discard_data(File& file);
  void free_unlinked(const FilePtr& file);
  Result<> free_unlinked_now(File& file, std::u16string_view name);
  Result<bool> is_orphan(FileReference file, FileReference deleted);
  Result<> free_orphans();
  Result<> remove_hibernation_file();

  Result<> exchange_names(Transaction& transaction, const Place& from, const NamedEntry& source,
                          const Place& to, const NamedEntry& target);
  Result<uint32_t> reasons_of(File& file, const BasicInformation& information);
  Result<> replace_name(Transaction& transaction, const Place& from, const NamedEntry& source,
                        const Place& to, const std::optional<NamedEntry>& target,
                        FileReference deleted, RemovedFile& removed);
  Result<bool> rename_now(Transaction& transaction, const Place& from, const Place& to,
                          RenameMode mode, FileReference deleted, RemovedFile& removed);

  const ObjectStoreOptions options_;
  std::unique_ptr<Volume> volume_;
  std::atomic<uint64_t> count_tree_watches_{0};  // opens that watch what is below a directory
  std::atomic<uint64_t> deleted_directory_{0};   // raw reference of $Extend\$Deleted once known
};

}  // namespace ntfs
