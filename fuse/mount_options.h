#pragma once

// The options of `mount`: what users of ntfs-3g, ntfs3 and ntfs write in fstab, and ours. Those
// that matter do what those drivers' man pages say; those without meaning here are noted; what
// mount(8) and udisks add is dropped; anything else is an error that names the nearest option.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuse/shown_attributes.h"
#include "fuse/stream_names.h"

namespace ntfs::frontend {

struct MountOptions {
  bool read_only = false;
  bool norecover = false;  ///< show a volume whose log is not clean as it is, read-only
  bool allow_other = false;
  bool owner_given = false;        ///< uid, gid or a mask: files are meant for certain users
  bool check_permissions = false;  ///< permissions, default_permissions
  bool posix_acls = false;         ///< acl; without a user mapping
  bool inherit = false;            ///< with a user mapping: new files get what directories pass on
  std::string user_mapping;        ///< usermapping=: the file; "" for the usual one
  bool windows_names = false;
  bool ignore_case = false;
  bool compression = true;     ///< new files take it over from their directory
  bool raw_encrypted = false;  ///< efs_raw: with read_only
  bool show_system_files = false;
  bool hide_hidden_files = false;
  bool hide_dot_files = false;
  bool writeback = true;
  bool remove_hiberfile = false;  ///< write although Windows sleeps on it: its session is lost
  bool discard = false;           ///< tell the device of freed clusters
  bool usn = true;                ///< record changes where the volume has a change journal
  bool mandatory_locks = false;   ///< locks=mandatory; then not writeback
  bool nofail = false;            ///< a SOURCE that is not there is no error
  uint64_t cache_bytes = uint64_t{256} << 20;
  uint32_t commit_seconds = 5;
  StreamsInterface streams = StreamsInterface::Xattr;  ///< streams_interface=
  uint32_t threads = 0;                                ///< 0: by the number of processors
  ShownOwnership ownership;                            ///< of files that have none of their own
  std::vector<std::string> kernel_flags;  ///< nosuid, nodev, noexec, sync, noatime: for mount(2)
  std::vector<std::string> notes;         ///< what the user should know about options given
};

enum class UnknownOptions { Refuse, Note };

struct ParsedOptions {
  MountOptions options;
  std::string error;  ///< "" when all is well; else what is wrong and what to write instead
};

/// `text`: as behind -o, separated by commas. `defaults`: ownership of the mounting user.
ParsedOptions parse_mount_options(std::string_view text, const ShownOwnership& defaults,
                                  UnknownOptions unknown);

}  // namespace ntfs::frontend
