#pragma once

// What every request handler works with: the store, the files that the kernel knows, and how files
// are shown. One for each mount; libfuse hands it to the handlers. Thread safe.

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/base/mutex.h"
#include "core/fsa/object_store.h"
#include "fuse/buffer_pool.h"
#include "fuse/fuse_api.h"
#include "fuse/inode_table.h"
#include "fuse/kernel_cache.h"
#include "fuse/mapped_ownership.h"
#include "fuse/posix_acls.h"
#include "fuse/read_batch.h"
#include "fuse/shown_attributes.h"
#include "fuse/stream_names.h"
#include "fuse/stream_nodes.h"
#include "fuse/usn_watches.h"
#include "fuse/waiting_locks.h"

namespace ntfs::frontend {

class RequestRings;

/// Mount options that concern the handlers.
struct FilesystemOptions {
  ShownOwnership ownership;
  bool writeback = true;  ///< the kernel keeps written pages and sends them later
  StreamsInterface streams = StreamsInterface::Xattr;
  bool mandatory_locks = false;  ///< locks stand against reads and writes; without writeback
  bool ignore_case = false;
  bool check_permissions = false;  ///< others than the mounting user may come near the files
  bool hide_hidden_files = false;  ///< do not list what has the hidden attribute
  bool hide_dot_files = false;     ///< give new names with a leading dot the hidden attribute
  /// Owners and modes are those of the security descriptors.
  std::optional<UserMapping> user_mapping;
  NewDescriptors new_descriptors = NewDescriptors::OfMode;  ///< with a user mapping
  bool posix_acls = false;                                  ///< without a user mapping
};

/// An open directory; fuse_file_info::fh is its address. Its listing is taken when it is read from
/// the start, and stays until then: what comes and goes meanwhile does not move the entries that
/// are still to be told.
struct OpenDirectory {
  struct Listing {
    std::vector<DirectoryEntry> entries;
    FileReference parent;
    uint64_t changes = 0;  ///< Filesystem::directory_changes() before it was taken
  };
  FilePtr file;
  Mutex mutex{LockRank::Frontend};
  std::shared_ptr<const Listing> listing GUARDED_BY(mutex);
};

class Filesystem {
 public:
  /// Longest request and answer.
  static constexpr size_t kMaxTransferBytes = size_t{1} << 20;
  static_assert(ReadBatch::kMost * ReadBatch::kLargestRead <= kMaxTransferBytes);
  /// How long the kernel may believe what it was told: nobody else changes the volume.
  static constexpr double kValidSeconds = 3600;

  /// `store` and `device` must outlive the object.
  Filesystem(ObjectStore& store, BlockDevice& device, const FilesystemOptions& options)
      : store_(store),
        options_(options),
        inodes_(store.root()),
        read_buffers_(device, kMaxTransferBytes),
        small_reads_(store, read_buffers_),
        waiting_locks_(store),
        usn_watches_(store) {
    if (options.posix_acls) posix_acls_ = std::make_unique<PosixAcls>(store);
    if (!options.user_mapping) return;
    mapped_ =
        std::make_unique<MappedOwnership>(store, *options.user_mapping, options.new_descriptors);
  }

  ObjectStore& store() { return store_; }
  const FilesystemOptions& options() const { return options_; }
  InodeTable& inodes() { return inodes_; }
  BufferPool& read_buffers() { return read_buffers_; }
  ReadBatch& small_reads() { return small_reads_; }
  KernelCache& kernel_cache() { return kernel_cache_; }
  WaitingLocks& waiting_locks() { return waiting_locks_; }
  UsnWatches& usn_watches() { return usn_watches_; }
  PosixAcls* posix_acls() { return posix_acls_.get(); }  ///< null: not on this mount

  /// What the kernel means. FileDeleted when it cannot know it.
  Result<Node> node(fuse_ino_t id);
  /// The same where it must be a file. NotSupported: it is a named stream.
  Result<FilePtr> file(fuse_ino_t id);
  /// How long a name stays valid: not at all when several spellings name one file.
  double name_timeout(std::string_view name) const;
  /// How long one that leads nowhere stays so: "file:stream" makes the file, too.
  double absence_timeout() const;

  /// Counts changes of names in the directory (and in others now and then). The kernel sends no
  /// change and no listing of one directory at the same time.
  uint64_t directory_changes(uint64_t node) const { return changes_[node % kChangeCounters]; }
  void count_directory_change(uint64_t node) { ++changes_[node % kChangeCounters]; }

  /// Opens a file for a handle: fuse_file_info::fh is the Open's address, until RELEASE ends it;
  /// the kernel sends nothing with it afterwards. `flags`: of open(2).
  Result<std::unique_ptr<Open>> open(const Node& node, int flags);
  /// What the kernel shall do with such a handle.
  void set_handle(const Open& open, fuse_file_info& info) const;

  Result<struct stat> attributes(File& file);
  /// Of a stream: the file's, with its own sizes. `id` is its number.
  Result<struct stat> attributes(const Node& node, fuse_ino_t id);
  /// How long they stay valid: others are told of a stream when they are set for the file.
  static double attributes_timeout(fuse_ino_t id) {
    return StreamNodes::contains(id) ? 0 : kValidSeconds;
  }
  /// Answer to a lookup of `node` by `name`, which is counted.
  Result<fuse_entry_param> look_up(const Node& node, std::string_view name);
  void forget(fuse_ino_t id, uint64_t count);
  /// Changes times, attribute bits, and owner and mode where the mount keeps them.
  Result<> set_information(File& file, BasicInformation information);
  /// What a new file in `directory` gets of owner, mode and access control lists. `mode`: with its
  /// type.
  Result<> describe_new(File& directory, const Creator& creator, mode_t mode, dev_t device,
                        CreateParameters& parameters);
  /// Takes the lookup back: the kernel did not get the answer.
  void take_back(const fuse_entry_param& entry) { forget(entry.ino, 1); }

 private:
  /// With the owner and mode that the mount shows.
  Result<FileInformation> information(File& file);

  static constexpr size_t kChangeCounters = 256;

  ObjectStore& store_;
  const FilesystemOptions options_;
  InodeTable inodes_;
  StreamNodes stream_nodes_;
  BufferPool read_buffers_;
  ReadBatch small_reads_;
  KernelCache kernel_cache_;
  WaitingLocks waiting_locks_;
  UsnWatches usn_watches_;
  std::unique_ptr<MappedOwnership> mapped_;  // null: owner and mode are kept as WSL keeps them
  std::unique_ptr<PosixAcls> posix_acls_;
  std::array<std::atomic<uint64_t>, kChangeCounters> changes_{};
};

/// What libfuse hands to every handler.
struct RequestContext {
  Filesystem& filesystem;
  // Of the thread that answers INIT, before all others:
  bool is_init_answered = false;
  bool rings_offered = false;     ///< by the kernel
  RequestRings* rings = nullptr;  ///< null: all requests come through /dev/fuse
};
inline Filesystem& filesystem_of(fuse_req_t request) {
  return static_cast<RequestContext*>(fuse_req_userdata(request))->filesystem;
}
/// The file that a request came with.
inline Open& open_of(const fuse_file_info* info) { return *reinterpret_cast<Open*>(info->fh); }

}  // namespace ntfs::frontend
