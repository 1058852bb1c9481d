// system.ntfs_ea: all extended attributes that NTFS itself keeps of a file, as one value: entry
// after entry in the form of $EA, which is FILE_FULL_EA_INFORMATION with each entry's own length,
// the last one's, too. Setting it replaces them all. What WSL keeps of owner and mode ($LXUID,
// $LXGID, $LXMOD, $LXDEV) is among them.
// Source: ntfs-3g's documentation of extended attributes, "Extended Attributes"; MS-FSCC 2.4.16
// "FileFullEaInformation".

#include <array>

#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

using ondisk::EaEntryHeader;

/// What a user gives: whole entries, as NTFS would write them.
bool is_ea_list(ByteView value) {
  if (value.empty()) return false;
  while (!value.empty()) {
    const auto raw = view_as<EaEntryHeader>(value);
    if (!raw) return false;
    const auto name_bytes = static_cast<size_t>((*raw)->name_length);
    const size_t name_end = sizeof(EaEntryHeader) + name_bytes;
    const size_t length = align_up(name_end + 1 + (*raw)->value_length.get(), 4);
    if (name_bytes == 0 || (*raw)->entry_length.get() != length || length > value.size() ||
        value[name_end] != std::byte{0}) {
      return false;
    }
    value = value.subspan(length);
  }
  return true;
}

Result<ByteVector> get_eas(const XattrTarget& target) {
  const auto eas = TRY(target.filesystem.store().query_eas(*target.file));
  if (eas.empty()) return NtStatus::NonexistentEaEntry;
  return ondisk::build_eas(eas);
}

Result<> change_eas(const XattrTarget& target, const std::vector<ondisk::Ea>& eas) {
  TRY(target.filesystem.store().set_eas(*target.file, eas));
  // Owner and mode may be others.
  target.filesystem.kernel_cache().drop_attributes(node_of(target.file->reference()));
  return {};
}

Result<> set_eas(const XattrTarget& target, ByteView value) {
  if (!is_ea_list(value)) return NtStatus::InvalidParameter;
  const auto eas =
      TRY(ondisk::parse_eas(value, {"system.ntfs_ea", target.file->reference().raw(), 0}));
  return change_eas(target, eas);
}

Result<> remove_eas(const XattrTarget& target) { return change_eas(target, {}); }

constexpr std::array kNames = {SystemXattr{"system.ntfs_ea", get_eas, set_eas, remove_eas}};

}  // namespace

std::span<const SystemXattr> ea_xattrs() { return kNames; }

}  // namespace ntfs::frontend
