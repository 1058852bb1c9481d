#pragma once

// The names of the namespace system.*: what NTFS keeps of a file and no attribute of POSIX shows.
// A table, in families; each family stands in a file of its own, which says whose format its values
// have. What all have in common (XATTR_CREATE and XATTR_REPLACE, sizes, who may change) is done by
// whoever walks the table: xattr_ops.cc.

#include <span>
#include <string_view>

#include "fuse/filesystem.h"

namespace ntfs::frontend {

/// What a request for an extended attribute is about, and who makes it.
struct XattrTarget {
  Filesystem& filesystem;
  FilePtr file;
  Creator caller;
  fuse_req_t request = nullptr;  ///< for what else there is to know of the caller
};

/// One name. A function that is null is not offered: NotSupported (EOPNOTSUPP).
struct SystemXattr {
  /// The whole value. NonexistentEaEntry (ENODATA): the file has none.
  using Get = Result<ByteVector> (*)(const XattrTarget& target);
  /// Makes or replaces it. The caller may change the file. InvalidParameter: not such a value.
  using Set = Result<> (*)(const XattrTarget& target, ByteView value);
  /// Called only where there is a value, if `get` can tell, or where absence is no error.
  using Remove = Result<> (*)(const XattrTarget& target);
  enum class Listed { No, WhereItHasAValue };
  enum class RemoveOfNone { IsAnError, Succeeds };
  /// What changes with it. TheFile: what it holds, or even what kind of file it is.
  enum class Effect { ItsValue, TheFile };

  std::string_view name;  ///< all of it: "system.ntfs_attrib"
  Get get = nullptr;
  Set set = nullptr;
  Remove remove = nullptr;
  Listed listed = Listed::No;
  RemoveOfNone remove_of_none = RemoveOfNone::IsAnError;
  Effect effect = Effect::ItsValue;
};

/// What a value that is set may find: XATTR_CREATE and XATTR_REPLACE of setxattr(2).
enum class XattrPolicy { CreateOrReplace, Create, Replace };

/// Attribute bits and times: xattr_attributes.cc.
std::span<const SystemXattr> attribute_xattrs();
/// Extended attributes of NTFS: xattr_eas.cc.
std::span<const SystemXattr> ea_xattrs();
/// ntfs.streams.list, for paths that name streams: xattr_streams.cc.
std::span<const SystemXattr> stream_list_xattrs();
/// Object ids: xattr_object_id.cc.
std::span<const SystemXattr> object_id_xattrs();
/// Short names: xattr_short_name.cc.
std::span<const SystemXattr> short_name_xattrs();
/// Encrypted files: xattr_encryption.cc.
std::span<const SystemXattr> encryption_xattrs();
/// POSIX access control lists: xattr_posix_acls.cc.
std::span<const SystemXattr> posix_acl_xattrs();
/// Security descriptors: xattr_security.cc.
std::span<const SystemXattr> security_xattrs();

/// Reparse points: xattr_reparse.cc.
std::span<const SystemXattr> reparse_xattrs();

}  // namespace ntfs::frontend
