#pragma once

// An open: MS-FSA 2.1.1.6 "Per Open". What one handle may do, how its data goes, and where it
// stands. Made by ObjectStore::open, ended by ObjectStore::close. Thread safe.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/fsa/oplock.h"
#include "core/ondisk/security_descriptor.h"
#include "core/store/file.h"

namespace ntfs {

class StreamState;

using ondisk::AccessMask;

/// MS-FSCC 2.4.31 "FileModeInformation".
struct OpenMode {
  static constexpr uint32_t WriteThrough = 0x02;
  static constexpr uint32_t SequentialOnly = 0x04;
  static constexpr uint32_t NoIntermediateBuffering = 0x08;
  static constexpr uint32_t SynchronousIoAlert = 0x10;
  static constexpr uint32_t SynchronousIoNonalert = 0x20;
  static constexpr uint32_t Synchronous = SynchronousIoAlert | SynchronousIoNonalert;
};

/// What other opens of the stream may do while this one is there. MS-FSA 2.1.1.6, SharingMode.
struct ShareAccess {
  static constexpr uint32_t Read = 1;
  static constexpr uint32_t Write = 2;
  static constexpr uint32_t Delete = 4;
  static constexpr uint32_t All = Read | Write | Delete;
};

/// Times that the store does not set by itself for what this open does (UserSetModificationTime,
/// UserSetChangeTime, UserSetAccessTime).
struct UserSetTimes {
  static constexpr uint32_t LastWrite = 1;
  static constexpr uint32_t Change = 2;
  static constexpr uint32_t LastAccess = 4;
};

/// Whether the open was made to use SeManageVolumePrivilege.
enum class ManageVolumeAccess { No, Yes };

/// Whether the open was made to use SeCreateSymbolicLinkPrivilege.
enum class SymbolicLinkAccess { No, Yes };

/// FILE_OPEN_REPARSE_POINT: the open is of a reparse point and not of what its owner makes of it.
enum class OpenReparsePoint { No, Yes };

struct OpenParameters {
  std::u16string_view stream = {};  ///< name of a stream that exists; empty: the unnamed one
  uint32_t desired_access = AccessMask::ReadData;
  uint32_t share_access = ShareAccess::All;
  uint32_t mode = 0;            ///< OpenMode
  uint32_t user_set_times = 0;  ///< UserSetTimes
  OplockOwner oplock_keys;
  ManageVolumeAccess manage_volume = ManageVolumeAccess::No;
  SymbolicLinkAccess symbolic_links = SymbolicLinkAccess::No;
  OpenReparsePoint reparse_point = OpenReparsePoint::No;
};

class Open {
 public:
  const FilePtr& file() const { return file_; }
  Stream& stream() const { return stream_ != nullptr ? *stream_ : file_->data(); }
  /// Null: the unnamed one.
  const StreamPtr& named_stream() const { return stream_; }
  /// Of a directory as such: a named stream of one is data.
  bool is_directory() const { return is_directory_; }
  uint32_t granted_access() const { return granted_access_; }
  uint32_t share_access() const { return share_access_; }
  bool has_manage_volume_access() const { return manage_volume_ == ManageVolumeAccess::Yes; }
  bool has_symbolic_link_access() const { return symbolic_links_ == SymbolicLinkAccess::Yes; }
  uint32_t mode() const { return mode_.load(std::memory_order_relaxed); }
  bool is_synchronous() const { return (mode() & OpenMode::Synchronous) != 0; }
  bool is_unbuffered() const { return (mode() & OpenMode::NoIntermediateBuffering) != 0; }
  /// Bytes; moves only in a synchronous mode.
  int64_t current_byte_offset() const { return current_byte_offset_; }
  uint32_t user_set_times() const { return user_set_times_.load(std::memory_order_relaxed); }

 private:
  friend class ObjectStore;
  friend class StreamState;

  /// Of a file that it holds.
  Open(FilePtr file, StreamPtr stream, const OpenParameters& parameters, StreamState* state,
       bool is_directory)
      : file_(std::move(file)),
        stream_(std::move(stream)),
        state_(state),
        granted_access_(parameters.desired_access),
        share_access_(parameters.share_access),
        is_directory_(is_directory),
        manage_volume_(parameters.manage_volume),
        symbolic_links_(parameters.symbolic_links),
        oplock_owner_(parameters.oplock_keys),
        mode_(parameters.mode),
        user_set_times_(parameters.user_set_times) {}

  const FilePtr file_;
  const StreamPtr stream_;
  StreamState* const state_;  // of the stream; null where opens do not lock
  const uint32_t granted_access_;
  const uint32_t share_access_;
  const bool is_directory_;
  const ManageVolumeAccess manage_volume_;
  const SymbolicLinkAccess symbolic_links_;
  const OplockOwner oplock_owner_;
  std::atomic<uint32_t> mode_;
  std::atomic<uint32_t> user_set_times_;
  std::atomic<int64_t> current_byte_offset_{0};
  std::atomic<bool> watches_tree_{false};
};

}  // namespace ntfs
