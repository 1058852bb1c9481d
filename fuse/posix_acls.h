#pragma once

// The POSIX access control lists of files, on mounts with the option acl: kept as ntfs3 keeps them,
// in extended attributes of NTFS that have the names and values of Linux. The kernel enforces them;
// what it leaves to file systems is here: lists and modes follow each other, new files inherit.
// Source: acl(5) "Correspondence Between ACL Entries And File Permission Bits", "Object Creation
// And Default ACLs"; Linux, fs/ntfs3/xattr.c.

#include "core/fsa/object_store.h"
#include "fuse/posix_acl.h"

namespace ntfs::frontend {

class PosixAcls {
 public:
  enum class Which { Access, Default };
  /// Of the extended attribute, both for Linux and on the volume.
  static constexpr std::string_view name_of(Which which) {
    return which == Which::Access ? "system.posix_acl_access" : "system.posix_acl_default";
  }
  /// What makes `acl` (none: nothing) the file's list.
  static BasicInformation::EaChange change_of(Which which, const std::optional<PosixAcl>& acl);

  /// `store` must outlive the object.
  explicit PosixAcls(ObjectStore& store) : store_(store) {}

  /// Nothing when the file has none, or one that is damaged.
  Result<std::optional<PosixAcl>> find(File& file, Which which);
  /// When `information` gives the file another mode, it gets what gives the access list the same
  /// permission bits.
  Result<> follow_mode(File& file, BasicInformation& information);
  /// What a new file in `directory` has to begin with. Returns its mode, that which `wanted`, its
  /// type and what the maker asks for, becomes. `umask` counts where nothing is inherited.
  Result<mode_t> describe_new(File& directory, mode_t wanted, mode_t umask,
                              CreateParameters& parameters);

 private:
  ObjectStore& store_;
};

}  // namespace ntfs::frontend
