#pragma once

// The object store: everything that the front end asks of a volume, in terms of MS-FSA. One call is
// one request; each change is one transaction (or a chain of them that may be cut anywhere).
// Thread safe. Names are UTF-16 code units as on disk; case counts.
//
// A FilePtr names a file; it does not keep it. open() adds a holder: a file whose last name is
// removed lives on, in $Extend\$Deleted, until close() has taken the last holder away. Without a
// holder it is freed at once. Of a freed file its kind is still told, with no names and no
// data, and new times are taken and forgotten; all else gives ObjectNameNotFound.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/block_device.h"
#include "core/ondisk/attribute_values.h"
#include "core/store/file.h"
#include "core/store/index_tree.h"
#include "core/store/volume.h"

namespace ntfs {

struct NamedEntry;

enum class FileKind { File, Directory, Symlink, Fifo, CharacterDevice, BlockDevice, Socket };

/// Owner and mode as WSL keeps them in extended attributes; each may be missing.
struct LinuxMetadata {
  std::optional<uint32_t> uid;     ///< $LXUID
  std::optional<uint32_t> gid;     ///< $LXGID
  std::optional<uint32_t> mode;    ///< $LXMOD: type and permission bits as in st_mode
  std::optional<uint64_t> device;  ///< $LXDEV: major in the low, minor in the high 32 bits
  bool empty() const { return !uid && !gid && !mode && !device; }
};

struct FileInformation {
  FileReference reference;
  FileKind kind = FileKind::File;
  uint64_t file_size = 0;        ///< bytes; of a symlink: of its target
  uint64_t allocated_size = 0;   ///< bytes really allocated
  uint32_t link_count = 0;       ///< names without DOS ones; 1 for a directory
  uint32_t file_attributes = 0;  ///< ondisk::FileAttributes
  uint32_t reparse_tag = 0;      ///< 0: none
  ondisk::FileTime creation_time;
  ondisk::FileTime last_write_time;
  ondisk::FileTime change_time;
  ondisk::FileTime last_access_time;
  LinuxMetadata linux_metadata;
};

struct DirectoryEntry {
  std::u16string name;
  FileReference reference;
  uint32_t file_attributes = 0;  ///< from the duplicated information
  uint32_t reparse_tag = 0;
};

struct CreateParameters {
  FileKind kind = FileKind::File;
  std::string symlink_target;  ///< bytes as Linux has them; Symlink only
  LinuxMetadata linux_metadata;
};

/// What set_basic_information changes: only what is given.
struct BasicInformation {
  FileTimes times;
  std::optional<uint32_t> file_attributes;  ///< the settable bits
  LinuxMetadata linux_metadata;
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

struct ObjectStoreOptions {
  VolumeOptions volume;
  bool windows_names = false;  ///< refuse to make names that Windows forbids
  bool ignore_case = false;    ///< find names without regard to case
  DataTimes data_times = DataTimes::SetByStore;
  bool show_system_files = false;  ///< list $MFT and the other system files in the root
};

/// One of several reads: see Stream::read.
struct DataRead {
  File* file = nullptr;
  uint64_t offset = 0;
  size_t length = 0;
  MutableBytes into;
  Result<size_t> done = size_t{0};  ///< the answer
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

  // Finding.
  FilePtr root();
  /// The file with that reference, which need not exist any more.
  FilePtr file(FileReference reference) { return volume_->file(reference); }
  /// NotADirectory, ObjectNameNotFound.
  Result<FilePtr> lookup(File& directory, std::u16string_view name);
  /// Adds a holder. ObjectNameNotFound when the file is gone.
  Result<> open(File& file);
  /// Takes a holder away; when none is left and the file has no name, it is freed.
  void close(const FilePtr& file);

  // Information.
  Result<FileInformation> query_information(File& file);
  Result<> set_basic_information(File& file, const BasicInformation& information);
  /// Target of a symbolic link, as bytes for Linux. Windows links come with '/' for '\\' when
  /// relative. NotAReparsePoint, IoReparseTagInvalid.
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
  Result<> rename(File& from_directory, std::u16string_view from, File& to_directory,
                  std::u16string_view to, RenameMode mode);
  /// All entries in index order, without "." and "..", DOS names, and (unless shown) system files.
  Result<std::vector<DirectoryEntry>> query_directory(File& directory);
  /// The directory that holds `directory`; the root's is itself.
  Result<FileReference> query_parent(File& directory);

  // Data, see Stream. FileIsADirectory for directories.
  Result<size_t> read(File& file, uint64_t offset, size_t length, MutableBytes into);
  /// Several reads that go to the device together.
  void read(std::span<DataRead> reads);
  Result<> write(File& file, uint64_t offset, ByteView from, Buffering buffering);
  Result<uint64_t> append(File& file, ByteView from);
  Result<> set_end_of_file(File& file, uint64_t size);
  Result<> allocate(File& file, uint64_t offset, uint64_t length, KeepSize keep);
  Result<> punch(File& file, uint64_t offset, uint64_t length);
  Result<> zero(File& file, uint64_t offset, uint64_t length, KeepSize keep);
  Result<uint64_t> next_range(File& file, uint64_t offset, RangeKind kind);
  /// Copies up to `length` bytes; returns how many (fewer at the source's end).
  Result<uint64_t> copy_range(File& from, uint64_t from_offset, File& to, uint64_t to_offset,
                              uint64_t length);

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
  Result<> check_parent(const File& directory) const;
  Result<> check_data() const;
  void note_data_change(File& file) const;
  Result<> check_target(Attributes& file, RemoveKind kind);
  void note_entry_change(File& directory);

  Result<FilePtr> create_in_directory(File& directory, std::u16string_view name,
                                      const CreateParameters& parameters);
  Result<FileReference> deleted_directory();
  Result<FileReference> find_or_make_deleted_directory();
  Result<> remove_entry(Transaction& transaction, IndexTree& directory, Attributes& file,
                        const NamedEntry& entry, FileReference deleted, RemovedFile& removed);
  void finish_removal(const RemovedFile& removed);
  void free_unlinked(const FilePtr& file);
  Result<> free_unlinked_now(File& file);
  Result<> free_orphans();

  Result<> exchange_names(Transaction& transaction, const Place& from, const NamedEntry& source,
                          const Place& to, const NamedEntry& target);
  Result<> replace_name(Transaction& transaction, const Place& from, const NamedEntry& source,
                        const Place& to, const std::optional<NamedEntry>& target,
                        FileReference deleted, RemovedFile& removed);
  Result<> rename_now(Transaction& transaction, const Place& from, const Place& to, RenameMode mode,
                      FileReference deleted, RemovedFile& removed);

  const ObjectStoreOptions options_;
  std::unique_ptr<Volume> volume_;
  std::atomic<uint64_t> deleted_directory_{0};  // raw reference of $Extend\$Deleted once known
};

}  // namespace ntfs
