#include "fuse/xattr_named_eas.h"

namespace ntfs::frontend {

namespace {

constexpr std::string_view kSecurity = "security.";
constexpr std::string_view kTrusted = "trusted.";

bool is_below(std::string_view name, std::string_view space) {
  return name.starts_with(space) && name.size() > space.size();
}

}  // namespace

bool is_ea_xattr(std::string_view name) {
  return is_below(name, kSecurity) || is_below(name, kTrusted);
}

Result<ByteVector> get_ea_xattr(const XattrTarget& target, std::string_view name) {
  return target.filesystem.store().query_ea(*target.file, name);
}

Result<> set_ea_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                      XattrPolicy policy) {
  if (policy != XattrPolicy::CreateOrReplace) {
    const auto found = get_ea_xattr(target, name);
    if (!found && found.error() != NtStatus::NonexistentEaEntry) return found.error();
    if (found && policy == XattrPolicy::Create) return NtStatus::ObjectNameCollision;
    if (!found && policy == XattrPolicy::Replace) return found.error();
  }
  return target.filesystem.store().set_ea(*target.file, name, value);
}

Result<> remove_ea_xattr(const XattrTarget& target, std::string_view name) {
  return target.filesystem.store().remove_ea(*target.file, name);
}

Result<> list_ea_xattrs(const XattrTarget& target, std::string& names) {
  for (const ondisk::Ea& ea : TRY(target.filesystem.store().query_eas(*target.file))) {
    const bool is_shown =
        is_below(ea.name, kSecurity) || (target.caller.uid == 0 && is_below(ea.name, kTrusted));
    if (is_shown) names.append(ea.name).push_back('\0');
  }
  return {};
}

}  // namespace ntfs::frontend
