#include "fuse/acl_mode.h"

#include <algorithm>

#include "core/ondisk/well_known_sids.h"

namespace ntfs::frontend {

using ondisk::AccessMask;
using ondisk::Ace;
using ondisk::AceFlags;
using ondisk::DescriptorControl;
using ondisk::SecurityDescriptor;
using ondisk::Sid;

namespace {

/// What the three bits of a mode mean.
struct Rights {
  uint32_t read;
  uint32_t write;
  uint32_t execute;
};
constexpr uint32_t kWriteAnything = AccessMask::WriteData | AccessMask::AppendData |
                                    AccessMask::ReadControl | AccessMask::WriteAttributes |
                                    AccessMask::WriteEa;
constexpr Rights kOfFile = {AccessMask::ReadData, kWriteAnything, AccessMask::Execute};
constexpr Rights kOfDirectory = {AccessMask::ReadData, kWriteAnything | AccessMask::DeleteChild,
                                 AccessMask::Execute};
/// Any of these shows as the bit.
constexpr Rights kShown = {AccessMask::ReadData, AccessMask::WriteData | AccessMask::AppendData,
                           AccessMask::Execute};

constexpr uint32_t kOwnerAlways =
    AccessMask::Delete | AccessMask::ReadControl | AccessMask::WriteDac | AccessMask::WriteOwner |
    AccessMask::Synchronize | AccessMask::ReadAttributes | AccessMask::WriteAttributes |
    AccessMask::ReadEa | AccessMask::WriteEa;
constexpr uint32_t kEveryoneAlways = AccessMask::ReadControl | AccessMask::ReadAttributes |
                                     AccessMask::ReadEa | AccessMask::Synchronize;

uint32_t rights_of(mode_t bits, const Rights& rights) {
  uint32_t mask = 0;
  if ((bits & S_IROTH) != 0) mask |= rights.read;
  if ((bits & S_IWOTH) != 0) mask |= rights.write;
  if ((bits & S_IXOTH) != 0) mask |= rights.execute;
  return mask;
}

mode_t bits_of(uint32_t mask) {
  mode_t bits = 0;
  if ((mask & kShown.read) != 0) bits |= S_IROTH;
  if ((mask & kShown.write) != 0) bits |= S_IWOTH;
  if ((mask & kShown.execute) != 0) bits |= S_IXOTH;
  return bits;
}

struct SpecialBit {
  mode_t mode;
  uint32_t right;
};
constexpr SpecialBit kSpecialBits[] = {{S_ISUID, AccessMask::AppendData},
                                       {S_ISGID, AccessMask::WriteData},
                                       {S_ISVTX, AccessMask::ReadData}};

bool is_administrators(const FileOwner& owner) {
  return owner.owner == ondisk::administrators() || owner.group == ondisk::administrators();
}

bool is_everyone(const Sid& sid) {
  return sid == ondisk::everyone() || sid == ondisk::users() ||
         sid == ondisk::authenticated_users();
}

class ListBuilder {
 public:
  explicit ListBuilder(uint8_t flags) : flags_(flags) {}
  void allow(const Sid& sid, uint32_t mask) { add(Ace::kAllow, sid, mask, flags_); }
  void deny(const Sid& sid, uint32_t mask) {
    if (mask != 0) add(Ace::kDeny, sid, mask, flags_);
  }
  void add(uint8_t type, const Sid& sid, uint32_t mask, uint8_t flags) {
    Ace ace;
    ace.type = type;
    ace.flags = flags;
    ace.access_mask = mask;
    ace.sid = sid;
    acl_.aces.push_back(std::move(ace));
  }
  ondisk::Acl finish() && { return std::move(acl_); }

 private:
  const uint8_t flags_;
  ondisk::Acl acl_;
};

}  // namespace

SecurityDescriptor descriptor_of_mode(mode_t mode, const FileOwner& owner) {
  const bool is_directory = S_ISDIR(mode);
  const Rights& rights = is_directory ? kOfDirectory : kOfFile;
  const mode_t user = mode >> 6 & 7;
  const mode_t group = mode >> 3 & 7;
  const mode_t other = mode & 7;
  const bool has_root = is_administrators(owner);
  const bool is_own_group = !has_root && owner.owner == owner.group;
  ListBuilder list(is_directory ? AceFlags::ObjectInherit | AceFlags::ContainerInherit
                                : AceFlags::NoPropagateInherit);
  const uint32_t to_owner = kOwnerAlways | rights_of(user, rights);
  const uint32_t to_group = kEveryoneAlways | rights_of(group, rights);
  if (!has_root) {
    const mode_t elsewhere = is_own_group ? other & ~group : group | other;
    list.deny(owner.owner, rights_of(elsewhere, rights) & ~to_owner);
  }
  if (is_directory) {
    list.add(Ace::kDeny, ondisk::everyone(), AccessMask::Execute,
             AceFlags::InheritOnly | AceFlags::ObjectInherit);
  }
  list.allow(owner.owner, to_owner);
  if (has_root || group != other) {
    if (!has_root && !is_own_group) {
      list.deny(owner.group, rights_of(other, rights) & ~(to_group | kOwnerAlways));
    }
    const bool has_more = (group & ~other) != 0;
    if (has_root || is_own_group || has_more) list.allow(owner.group, to_group);
  }
  list.allow(ondisk::everyone(), kEveryoneAlways | rights_of(other, rights));
  const uint32_t all = kOwnerAlways | rights_of(7, kOfFile);
  list.allow(ondisk::administrators(), all);
  list.allow(ondisk::local_system(), all);
  uint32_t special = 0;
  for (const auto& [bit, right] : kSpecialBits) special |= (mode & bit) != 0 ? right : 0;
  if (special != 0) {
    list.add(Ace::kAllow, ondisk::null_sid(), special, AceFlags::NoPropagateInherit);
  }
  SecurityDescriptor descriptor;
  descriptor.control = DescriptorControl::DaclProtected;
  descriptor.owner = owner.owner;
  descriptor.group = owner.group;
  descriptor.dacl = std::move(list).finish();
  return descriptor;
}

namespace {

/// What a list grants and denies to three kinds of users.
struct Access {
  uint32_t allowed = 0;
  uint32_t denied = 0;
  bool is_present = false;  ///< something is granted

  void take(const Ace& ace) {
    if (ace.type == Ace::kDeny) denied |= ace.access_mask;
    if (ace.type == Ace::kAllow) {
      allowed |= ace.access_mask;
      is_present = true;
    }
  }
};
struct AccessOfAll {
  Access owner;
  Access group;
  Access everyone;
  uint32_t special = 0;
};

mode_t mode_of_access(const AccessOfAll& access) {
  const uint32_t denied_to_all = access.everyone.denied;
  mode_t mode = bits_of(access.owner.allowed & ~(access.owner.denied | denied_to_all)) << 6 |
                bits_of(access.group.allowed & ~(access.group.denied | denied_to_all)) << 3 |
                bits_of(access.everyone.allowed & ~denied_to_all);
  for (const auto& [bit, right] : kSpecialBits) mode |= (access.special & right) != 0 ? bit : 0;
  return mode;
}

bool is_owners(const Ace& ace, const FileOwner& owner) {
  return ace.sid == owner.owner || ace.sid == ondisk::creator_owner();
}

bool may_take_over(const Ace& ace) { return (ace.access_mask & AccessMask::WriteOwner) != 0; }

/// What counts for everybody, and the special bits.
void take_common(const Ace& ace, AccessOfAll& access) {
  if (is_everyone(ace.sid)) {
    access.everyone.take(ace);
  } else if (ace.sid == ondisk::null_sid() && ace.type == Ace::kAllow) {
    access.special |= ace.access_mask;
  }
}

using Entries = std::vector<Ace>;

/// Owner, group and Administrators are different.
AccessOfAll access_of_owner_and_group(const Entries& entries, const FileOwner& owner) {
  AccessOfAll access;
  bool speaks_of_owner = false;
  for (const Ace& ace : entries) {
    if (is_owners(ace, owner)) {
      access.owner.take(ace);
      speaks_of_owner = true;
    } else if (ace.sid == owner.group && !may_take_over(ace)) {
      access.group.take(ace);
    } else {
      take_common(ace, access);
    }
  }
  // Windows merges grants to Administrators, for instance into those of a file that root owned.
  constexpr uint32_t kAll = AccessMask::ReadData | AccessMask::WriteData | AccessMask::Execute;
  if (!speaks_of_owner) access.owner.allowed = kAll;
  access.owner.allowed |= access.group.allowed | access.everyone.allowed;
  access.group.allowed |= access.everyone.allowed;
  return access;
}

/// One account is owner and group: whoever may take over is meant as the owner.
AccessOfAll access_of_one_for_both(const Entries& entries, const FileOwner& owner) {
  AccessOfAll access;
  for (const Ace& ace : entries) {
    if (is_owners(ace, owner) && may_take_over(ace)) {
      if (ace.type == Ace::kAllow) access.owner.take(ace);
    } else if (ace.sid == owner.owner) {
      if (ace.type == Ace::kAllow) access.group.take(ace);
    } else {
      take_common(ace, access);
    }
  }
  if (!access.owner.is_present) access.owner.allowed = access.everyone.allowed;
  if (!access.group.is_present) access.group.allowed = access.everyone.allowed;
  return access;
}

/// Administrators are owner or group: the first entry is the owner's, and what they may anyway does
/// not count.
AccessOfAll access_with_administrators(const Entries& entries, const FileOwner& owner) {
  constexpr uint32_t kOfAnyGrant = AccessMask::Synchronize | AccessMask::ReadEa;
  AccessOfAll access;
  bool is_first = true;
  for (const Ace& ace : entries) {
    if ((ace.access_mask & kOfAnyGrant) != kOfAnyGrant) {
      if (ace.sid == ondisk::null_sid()) take_common(ace, access);
      continue;
    }
    if (is_first && is_owners(ace, owner) && may_take_over(ace)) {
      access.owner.take(ace);
    } else if (ace.sid == owner.group && !may_take_over(ace)) {
      access.group.take(ace);
    } else {
      take_common(ace, access);
    }
    is_first = false;
  }
  if (!access.owner.is_present || !access.group.is_present) {  // not made here
    access.owner.allowed |= access.group.allowed | access.everyone.allowed;
    access.group.allowed |= access.everyone.allowed;
  }
  return access;
}

/// The entries that count for the file itself, with specific rights.
Entries effective_entries(const ondisk::Acl& acl) {
  Entries entries;
  for (const Ace& ace : acl.aces) {
    if (!ace.is_simple() || (ace.flags & AceFlags::InheritOnly) != 0) continue;
    entries.push_back(ace);
    entries.back().access_mask = ondisk::without_generic_rights(ace.access_mask);
  }
  return entries;
}

FileOwner shown_owner(const SecurityDescriptor& descriptor, const Entries& entries) {
  FileOwner owner{descriptor.owner.value_or(ondisk::administrators()),
                  descriptor.group.value_or(ondisk::administrators())};
  const auto is_owner = [](const Ace& ace) {
    return ace.type == Ace::kAllow && may_take_over(ace) && ondisk::is_account(ace.sid);
  };
  const auto found = std::ranges::find_if(entries, is_owner);
  if (found != entries.end()) owner.owner = found->sid;
  return owner;
}

}  // namespace

ModeAndOwner mode_of_descriptor(const SecurityDescriptor& descriptor) {
  const Entries entries = descriptor.dacl ? effective_entries(*descriptor.dacl) : Entries();
  ModeAndOwner shown;
  shown.owner = shown_owner(descriptor, entries);
  AccessOfAll access;
  if (is_administrators(shown.owner)) {
    access = access_with_administrators(entries, shown.owner);
  } else if (shown.owner.owner == shown.owner.group) {
    access = access_of_one_for_both(entries, shown.owner);
  } else {
    access = access_of_owner_and_group(entries, shown.owner);
  }
  // Without a list everybody may do everything.
  shown.mode = descriptor.dacl ? mode_of_access(access) : mode_t{0777};
  return shown;
}

}  // namespace ntfs::frontend
