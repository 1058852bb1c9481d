#include "core/store/security_inheritance.h"

#include "core/ondisk/well_known_sids.h"

namespace ntfs {

using ondisk::AccessMask;
using ondisk::Ace;
using ondisk::AceFlags;
using ondisk::Acl;
using ondisk::DescriptorControl;
using ondisk::SecurityDescriptor;
using ondisk::Sid;

namespace {

constexpr uint8_t kToFiles = AceFlags::ObjectInherit;
constexpr uint8_t kToDirectories = AceFlags::ContainerInherit;
constexpr uint8_t kInheritance =
    kToFiles | kToDirectories | AceFlags::NoPropagateInherit | AceFlags::InheritOnly;

/// What all entries of one list have in common.
struct Way {
  Inheritor inheritor;
  const FileOwner& owner;
  uint8_t mark;  ///< AceFlags::Inherited or nothing
};

uint8_t with_flags(const Ace& ace, int taken, int given, const Way& way) {
  constexpr int kMarks = kInheritance | AceFlags::Inherited;
  return static_cast<uint8_t>((ace.flags & ~kMarks) | (ace.flags & kInheritance & ~taken) | given |
                              way.mark);
}

/// The entry as it counts for the file itself.
Ace effective(const Ace& ace, const Way& way) {
  Ace result = ace;
  result.flags = with_flags(ace, kInheritance, 0, way);
  if (!ace.is_simple()) return result;
  result.access_mask = ondisk::without_generic_rights(ace.access_mask);
  if (ace.sid == ondisk::creator_owner()) result.sid = way.owner.owner;
  if (ace.sid == ondisk::creator_group()) result.sid = way.owner.group;
  return result;
}

/// 2.5.3.4.4 "ComputeInheritedACLfromParent" and 2.5.3.4.7 "PostProcessACL", for one entry.
void add_inherited(const Ace& ace, const Way& way, std::vector<Ace>& aces) {
  const bool to_files = (ace.flags & kToFiles) != 0;
  const bool to_directories = (ace.flags & kToDirectories) != 0;
  if (way.inheritor == Inheritor::File) {
    if (to_files) aces.push_back(effective(ace, way));
    return;
  }
  const bool goes_on = (ace.flags & AceFlags::NoPropagateInherit) == 0;
  Ace further = ace;  // what the directory passes on
  further.flags = with_flags(ace, 0, AceFlags::InheritOnly, way);
  if (!to_directories) {
    if (to_files && goes_on) aces.push_back(std::move(further));
    return;
  }
  Ace here = effective(ace, way);
  if (!goes_on) {
    aces.push_back(std::move(here));
    return;
  }
  // One entry serves both purposes when it says the same here and below.
  if (here.access_mask == ace.access_mask && here.sid == ace.sid) {
    here.flags |= ace.flags & (kToFiles | kToDirectories);
    aces.push_back(std::move(here));
    return;
  }
  aces.push_back(std::move(here));
  aces.push_back(std::move(further));
}

/// Nothing when there is nothing to inherit.
Result<std::optional<Acl>> inherit(const std::optional<Acl>& parent, const Way& way) {
  if (!parent) return std::optional<Acl>();
  Acl acl;
  acl.revision = parent->revision;
  for (const Ace& ace : parent->aces) add_inherited(ace, way, acl.aces);
  if (acl.aces.empty()) return std::optional<Acl>();
  if (acl_length(acl) > ondisk::kMostAclBytes) return NtStatus::FileSystemLimitation;
  return std::optional(std::move(acl));
}

/// Stands for the default DACL of a token, which nobody has here.
Acl default_dacl(const FileOwner& owner) {
  Acl acl;
  const Sid system = ondisk::local_system();
  for (const Sid& sid : {owner.owner, system}) {
    Ace ace;
    ace.access_mask = AccessMask::FileAll;
    ace.sid = sid;
    if (acl.aces.empty() || sid != owner.owner) acl.aces.push_back(std::move(ace));
  }
  return acl;
}

Sid person_or_administrators(const std::optional<Sid>& sid) {
  return sid && !ondisk::is_service(*sid) ? *sid : ondisk::administrators();
}

}  // namespace

FileOwner owner_from_parent(const SecurityDescriptor& parent) {
  return {person_or_administrators(parent.owner), person_or_administrators(parent.group)};
}

Result<SecurityDescriptor> inherit(const SecurityDescriptor& parent, Inheritor inheritor,
                                   const FileOwner& owner) {
  const auto way = [&](uint16_t marks) {
    return Way{inheritor, owner, (parent.control & marks) != 0 ? AceFlags::Inherited : uint8_t{0}};
  };
  constexpr uint16_t kOfDacl = DescriptorControl::DaclAutoInherited;
  constexpr uint16_t kOfSacl = DescriptorControl::SaclAutoInherited;
  SecurityDescriptor made;
  made.owner = owner.owner;
  made.group = owner.group;
  made.dacl = TRY(inherit(parent.dacl, way(kOfDacl)));
  made.sacl = TRY(inherit(parent.sacl, way(kOfSacl)));
  if (made.dacl) made.control |= parent.control & kOfDacl;
  if (made.sacl) made.control |= parent.control & kOfSacl;
  if (!made.dacl) made.dacl = default_dacl(owner);
  return made;
}

}  // namespace ntfs
