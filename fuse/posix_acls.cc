#include "fuse/posix_acls.h"

namespace ntfs::frontend {

BasicInformation::EaChange PosixAcls::change_of(Which which, const std::optional<PosixAcl>& acl) {
  return {std::string(name_of(which)), acl ? std::optional(acl->build()) : std::nullopt};
}

Result<std::optional<PosixAcl>> PosixAcls::find(File& file, Which which) {
  const auto value = store_.query_ea(file, name_of(which));
  if (!value && value.error() == NtStatus::NonexistentEaEntry) return std::optional<PosixAcl>();
  if (!value) return value.error();
  return PosixAcl::parse(*value);
}

Result<> PosixAcls::follow_mode(File& file, BasicInformation& information) {
  if (!information.linux_metadata.mode) return {};
  auto acl = TRY(find(file, Which::Access));
  if (!acl) return {};
  acl->set_mode(*information.linux_metadata.mode);
  information.eas.push_back(change_of(Which::Access, acl));
  return {};
}

Result<mode_t> PosixAcls::describe_new(File& directory, mode_t wanted, mode_t umask,
                                       CreateParameters& parameters) {
  if (S_ISLNK(wanted)) return wanted;
  const auto passed_on = TRY(find(directory, Which::Default));
  if (!passed_on) return wanted & ~umask;
  const auto add = [&](Which which, const PosixAcl& acl) {
    parameters.eas.push_back({0, std::string(name_of(which)), acl.build()});
  };
  PosixAcl acl = *passed_on;
  const mode_t mode = acl.restrict_to(wanted);
  if (!acl.is_mode()) add(Which::Access, acl);
  if (S_ISDIR(wanted)) add(Which::Default, *passed_on);
  return mode;
}

}  // namespace ntfs::frontend
