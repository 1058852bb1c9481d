// system.ntfs_object_id: a file's object id, 16 bytes as on disk, and behind it where file and id
// come from (48 bytes) as far as is known. Setting takes 16 to 64 bytes; what is not given stays.
// Source: ntfs-3g's documentation of extended attributes, "Object identifiers".

#include <algorithm>
#include <array>

#include "core/fsa/object_id.h"
#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

Result<ByteVector> get_id(const XattrTarget& target) {
  const auto id = ObjectIdControls(target.filesystem.store()).get(*target.file);
  if (!id && id.error() == NtStatus::ObjectIdNotFound) return NtStatus::NonexistentEaEntry;
  if (!id) return id.error();
  const ByteView bytes = bytes_of(*id);
  return ByteVector(bytes.begin(), bytes.end());
}

Result<> set_id(const XattrTarget& target, ByteView value) {
  if (value.size() < sizeof(ondisk::Guid)) return NtStatus::InvalidParameter;
  ObjectIdControls controls(target.filesystem.store());
  const auto now = controls.get(*target.file);
  if (!now && now.error() != NtStatus::ObjectIdNotFound) return now.error();
  ondisk::ObjectIdBuffer wanted = now ? *now : ondisk::ObjectIdBuffer{};
  std::copy_n(value.begin(), std::min(value.size(), sizeof(wanted)),
              mutable_bytes_of(wanted).begin());
  return controls.replace(*target.file, wanted);
}

Result<> remove_id(const XattrTarget& target) {
  return ObjectIdControls(target.filesystem.store()).remove(*target.file);
}

constexpr std::array kNames = {
    SystemXattr{"system.ntfs_object_id", get_id, set_id, remove_id},
};

}  // namespace

std::span<const SystemXattr> object_id_xattrs() { return kNames; }

}  // namespace ntfs::frontend
