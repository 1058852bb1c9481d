#include "core/store/default_security.h"

#include <algorithm>

#include "core/ondisk/well_known_sids.h"
#include "core/store/format.h"

namespace ntfs {

namespace {

using ondisk::AccessMask;
using ondisk::Ace;
using ondisk::AceFlags;
using ondisk::administrators;
using ondisk::authenticated_users;
using ondisk::everyone;
using ondisk::local_system;
using ondisk::SecurityDescriptor;
using ondisk::Sid;
using ondisk::users;

constexpr uint8_t kInheritToAll = AceFlags::ObjectInherit | AceFlags::ContainerInherit;

Ace allow(Sid sid, uint32_t access_mask, uint8_t flags) {
  Ace ace;
  ace.flags = flags;
  ace.access_mask = access_mask;
  ace.sid = std::move(sid);
  return ace;
}

SecurityDescriptor descriptor_of(Sid owner, Sid group, std::vector<Ace> aces) {
  SecurityDescriptor descriptor;
  descriptor.owner = std::move(owner);
  descriptor.group = std::move(group);
  descriptor.dacl.emplace();
  descriptor.dacl->aces = std::move(aces);
  return descriptor;
}

SecurityDescriptor system_descriptor(uint32_t access_mask) {
  return descriptor_of(
      local_system(), administrators(),
      {allow(local_system(), access_mask, 0), allow(administrators(), access_mask, 0)});
}

SecurityDescriptor root_descriptor() {
  constexpr uint8_t inherit_only = kInheritToAll | AceFlags::InheritOnly;
  return descriptor_of(local_system(), local_system(),
                       {allow(administrators(), AccessMask::FileAll, 0),
                        allow(administrators(), AccessMask::GenericAll, inherit_only),
                        allow(local_system(), AccessMask::FileAll, 0),
                        allow(local_system(), AccessMask::GenericAll, inherit_only),
                        allow(authenticated_users(), AccessMask::FileModify, 0),
                        allow(authenticated_users(), AccessMask::GenericModify, inherit_only),
                        allow(users(), AccessMask::FileReadExecute, 0),
                        allow(users(), AccessMask::GenericReadExecute, inherit_only)});
}

SecurityDescriptor open_descriptor(uint8_t flags) {
  return descriptor_of(administrators(), administrators(),
                       {allow(everyone(), AccessMask::FileAll, flags)});
}

struct IdAndDescriptor {
  uint32_t id;
  SecurityDescriptor descriptor;
};

}  // namespace

DefaultSecurity build_default_security() {
  const IdAndDescriptor all[] = {
      {kReadOnlySystemSecurityId, system_descriptor(AccessMask::FileRead)},
      {kSystemSecurityId, system_descriptor(AccessMask::FileReadWrite)},
      {kRootSecurityId, root_descriptor()},
      {kDefaultFileSecurityId, open_descriptor(0)},
      {kDefaultDirectorySecurityId, open_descriptor(kInheritToAll)},
  };
  DefaultSecurity security;
  ByteVector block;
  for (const auto& [id, descriptor] : all) {
    block.resize(align_up(block.size(), ondisk::kSdsAlignment));
    const ByteVector entry =
        ondisk::build_sds_entry(id, block.size(), ondisk::build_security_descriptor(descriptor));
    security.entries.push_back(struct_at<ondisk::SdsEntryHeader>(ByteView(entry)));
    block.insert(block.end(), entry.begin(), entry.end());
  }
  security.sds = block;
  security.sds.resize(ondisk::kSdsBlockBytes);
  security.sds.insert(security.sds.end(), block.begin(), block.end());
  return security;
}

}  // namespace ntfs
