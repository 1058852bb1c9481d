#pragma once

// POSIX access control lists as the kernel gives them to file systems, and what they have to do
// with the mode. Source: acl(5); Linux, include/uapi/linux/posix_acl_xattr.h.

#include <sys/stat.h>

#include <optional>
#include <vector>

#include "core/base/bytes.h"

namespace ntfs::frontend {

class PosixAcl {
 public:
  enum class Tag : uint16_t {
    UserObject = 0x01,
    User = 0x02,
    GroupObject = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
  };
  struct Entry {
    Tag tag = Tag::Other;
    uint16_t permissions = 0;  ///< three bits: read, write, execute
    uint32_t id = kNoId;       ///< of User and Group
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  static constexpr uint32_t kNoId = 0xFFFFFFFF;

  /// The value of an extended attribute. Nothing: it is not one, or its entries are not those that
  /// an ACL must have, in the order in which they must stand.
  static std::optional<PosixAcl> parse(ByteView value);
  ByteVector build() const;
  const std::vector<Entry>& entries() const { return entries_; }

  /// Permission bits that show of it: those of the owner, of the mask, or of the group where there
  /// is none, and of others.
  mode_t mode() const;
  /// Whether its mode says all.
  bool is_mode() const;
  /// chmod(2): takes these permission bits over.
  void set_mode(mode_t mode);
  /// As the default ACL of the directory of a new file with `mode`: becomes its access ACL. Returns
  /// the permission bits that it then has.
  mode_t restrict_to(mode_t mode);

 private:
  Entry* find(Tag tag);
  const Entry* find(Tag tag) const;

  std::vector<Entry> entries_;
};

}  // namespace ntfs::frontend
