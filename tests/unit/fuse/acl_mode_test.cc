#include "fuse/acl_mode.h"

#include <gtest/gtest.h>

#include "core/ondisk/well_known_sids.h"

namespace ntfs::frontend {
namespace {

using ondisk::AccessMask;
using ondisk::Ace;
using ondisk::SecurityDescriptor;
using ondisk::Sid;

const Sid kUser{5, {21, 1, 2, 3, 1001}};
const Sid kGroup{5, {21, 1, 2, 3, 513}};
const Sid kOther{5, {21, 1, 2, 3, 1002}};
const Sid kRoot = ondisk::administrators();

Ace entry(uint8_t type, const Sid& sid, uint32_t mask, uint8_t flags = 0) {
  Ace ace;
  ace.type = type;
  ace.flags = flags;
  ace.access_mask = mask;
  ace.sid = sid;
  return ace;
}
Ace allow(const Sid& sid, uint32_t mask, uint8_t flags = 0) {
  return entry(Ace::kAllow, sid, mask, flags);
}

SecurityDescriptor owned_by(const Sid& owner, const Sid& group, std::vector<Ace> aces) {
  SecurityDescriptor descriptor;
  descriptor.owner = owner;
  descriptor.group = group;
  descriptor.dacl.emplace();
  descriptor.dacl->aces = std::move(aces);
  return descriptor;
}

TEST(AclMode, EveryModeComesBack) {
  const FileOwner owners[] = {
      {kUser, kGroup}, {kUser, kUser}, {kRoot, kGroup}, {kUser, kRoot}, {kRoot, kRoot}};
  for (const FileOwner& owner : owners) {
    for (const mode_t type : {mode_t{S_IFREG}, mode_t{S_IFDIR}}) {
      for (mode_t mode = 0; mode <= 07777; ++mode) {
        const auto shown = mode_of_descriptor(descriptor_of_mode(type | mode, owner));
        ASSERT_EQ(shown.mode, mode) << std::oct << type << " " << mode;
        ASSERT_EQ(shown.owner.group, owner.group);
        // Of the accounts that may take the file over, the first one counts.
        ASSERT_EQ(shown.owner.owner, owner.owner);
      }
    }
  }
}

TEST(AclMode, DeniesWhatWouldComeFromOthers) {
  const auto descriptor = descriptor_of_mode(S_IFREG | 0076, {kUser, kGroup});
  ASSERT_TRUE(descriptor.dacl);
  const auto& aces = descriptor.dacl->aces;
  ASSERT_EQ(aces.size(), 6u);
  EXPECT_EQ(aces[0].type, Ace::kDeny);
  EXPECT_EQ(aces[0].sid, kUser);
  EXPECT_EQ(aces[0].access_mask, AccessMask::ReadData | AccessMask::WriteData |
                                     AccessMask::AppendData | AccessMask::Execute);
  EXPECT_EQ(aces[1], allow(kUser, 0x001F0198, ondisk::AceFlags::NoPropagateInherit));
  EXPECT_EQ(aces[2].sid, kGroup);
  EXPECT_EQ(aces[3].sid, ondisk::everyone());
  EXPECT_EQ(aces[4].sid, kRoot);
  EXPECT_EQ(aces[5].sid, ondisk::local_system());
}

TEST(AclMode, ShowsWhatWindowsMakes) {
  // In a user's folder.
  EXPECT_EQ(mode_of_descriptor(
                owned_by(kUser, kGroup,
                         {allow(ondisk::local_system(), AccessMask::FileAll),
                          allow(kRoot, AccessMask::FileAll), allow(kUser, AccessMask::FileAll)}))
                .mode,
            0700u);
  // On a data volume.
  const auto shared = mode_of_descriptor(owned_by(
      kUser, kGroup,
      {allow(kRoot, AccessMask::FileAll), allow(ondisk::local_system(), AccessMask::FileAll),
       allow(ondisk::authenticated_users(), AccessMask::FileModify),
       allow(ondisk::users(), AccessMask::FileReadExecute)}));
  EXPECT_EQ(shared.mode, 0777u);
  EXPECT_EQ(shared.owner.owner, kUser);
  // Owned by Administrators, but meant for somebody.
  const auto meant = mode_of_descriptor(
      owned_by(kRoot, ondisk::local_system(),
               {allow(kRoot, AccessMask::FileAll), allow(kOther, AccessMask::FileAll)}));
  EXPECT_EQ(meant.owner.owner, kOther);
  EXPECT_EQ(meant.mode, 0700u);
  // What is only passed on does not count, nor what is denied to everybody.
  EXPECT_EQ(mode_of_descriptor(
                owned_by(kUser, kGroup,
                         {entry(Ace::kDeny, ondisk::everyone(), AccessMask::Execute),
                          allow(kUser, AccessMask::GenericRead | AccessMask::GenericExecute),
                          allow(kGroup, AccessMask::FileAll, ondisk::AceFlags::InheritOnly)}))
                .mode,
            0400u);
}

TEST(AclMode, ShowsFilesWithoutListsAsOpen) {
  SecurityDescriptor descriptor;
  EXPECT_EQ(mode_of_descriptor(descriptor).mode, 0777u);
  EXPECT_EQ(mode_of_descriptor(descriptor).owner.owner, kRoot);
  // An empty list is another matter: nobody may.
  EXPECT_EQ(mode_of_descriptor(owned_by(kUser, kGroup, {})).mode, 0700u);
}

}  // namespace
}  // namespace ntfs::frontend
