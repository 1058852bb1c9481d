#include "fuse/mapped_ownership.h"

#include "core/ondisk/well_known_sids.h"
#include "fuse/acl_mode.h"

namespace ntfs::frontend {

namespace {
constexpr size_t kMostShown = 4096;
constexpr mode_t kPermissionBits = 07777;
}  // namespace

Result<ondisk::SecurityDescriptor> MappedOwnership::descriptor_of(File& file) {
  const ByteVector bytes = TRY(store_.query_security(file, SecurityInformation::All));
  return ondisk::parse_security_descriptor(bytes,
                                           {"security descriptor", file.reference().raw(), 0});
}

Result<MappedOwnership::Shown> MappedOwnership::shown(File& file, uint32_t security_id) {
  if (security_id != 0) {
    const MutexLock lock(mutex_);
    const auto known = shown_.find(security_id);
    if (known != shown_.end()) return known->second;
  }
  const auto descriptor = descriptor_of(file);
  if (!descriptor && descriptor.error() == NtStatus::ObjectNameNotFound) return Shown{};
  if (!descriptor) return descriptor.error();
  const ModeAndOwner found = mode_of_descriptor(*descriptor);
  const Shown shown{mapping_.uid_of(found.owner.owner), mapping_.gid_of(found.owner.group),
                    found.mode};
  if (security_id != 0) {
    const MutexLock lock(mutex_);
    if (shown_.size() >= kMostShown) shown_.clear();
    shown_[security_id] = shown;
  }
  return shown;
}

Result<> MappedOwnership::show(File& file, FileInformation& information) {
  if (file.remains() != nullptr) return {};
  const Shown found = TRY(shown(file, information.security_id));
  information.linux_metadata.uid = found.uid;
  information.linux_metadata.gid = found.gid;
  information.linux_metadata.mode =
      information.kind == FileKind::Symlink ? mode_t{0777} : found.mode;
  return {};
}

Result<> MappedOwnership::change(File& file, const LinuxMetadata& wanted) {
  const auto before = descriptor_of(file);
  if (!before && before.error() != NtStatus::ObjectNameNotFound) return before.error();
  ModeAndOwner now;
  now.owner = {ondisk::administrators(), ondisk::administrators()};
  if (before) now = mode_of_descriptor(*before);
  if (wanted.uid) {
    const auto sid = mapping_.sid_of_user(*wanted.uid);
    if (!sid) return NtStatus::PrivilegeNotHeld;
    now.owner.owner = *sid;
  }
  if (wanted.gid) {
    const auto sid = mapping_.sid_of_group(*wanted.gid);
    if (!sid) return NtStatus::PrivilegeNotHeld;
    now.owner.group = *sid;
  }
  if (wanted.mode) now.mode = *wanted.mode & kPermissionBits;
  const FileInformation information = TRY(store_.query_information(file));
  const ByteVector bytes = ondisk::build_security_descriptor(
      descriptor_of_mode(type_bits(information.kind) | now.mode, now.owner));
  constexpr uint32_t kParts =
      SecurityInformation::Owner | SecurityInformation::Group | SecurityInformation::Dacl;
  return store_.set_security(file, kParts, bytes);
}

void MappedOwnership::describe(const Creator& creator, mode_t mode,
                               CreateParameters& parameters) const {
  const FileOwner owner{mapping_.sid_of_user(creator.uid).value_or(ondisk::administrators()),
                        mapping_.sid_of_group(creator.gid).value_or(ondisk::administrators())};
  parameters.owner = owner;
  if (new_descriptors_ == NewDescriptors::Inherited) return;
  parameters.security_descriptor =
      ondisk::build_security_descriptor(descriptor_of_mode(mode, owner));
}

}  // namespace ntfs::frontend
