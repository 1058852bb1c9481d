#include "core/store/security_inheritance.h"

#include <gtest/gtest.h>

#include "core/fsa/security.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/well_known_sids.h"
#include "core/store/attributes.h"
#include "core/store/volume.h"
#include "tests/support/file_device.h"
#include "tests/unit/check/sample_volumes.h"

namespace ntfs {
namespace {

using ondisk::AccessMask;
using ondisk::Ace;
using ondisk::AceFlags;
using ondisk::AttributeType;
using ondisk::DescriptorControl;
using ondisk::SecurityDescriptor;
using ondisk::Sid;

constexpr uint8_t kOi = AceFlags::ObjectInherit;
constexpr uint8_t kCi = AceFlags::ContainerInherit;
constexpr uint8_t kNp = AceFlags::NoPropagateInherit;
constexpr uint8_t kIo = AceFlags::InheritOnly;
constexpr uint8_t kId = AceFlags::Inherited;

const Sid kSomebody{5, {21, 1, 2, 3, 1001}};
const Sid kSomeGroup{5, {21, 1, 2, 3, 513}};

Ace entry(const Sid& sid, uint32_t access_mask, int flags) {
  Ace ace;
  ace.flags = static_cast<uint8_t>(flags);
  ace.access_mask = access_mask;
  ace.sid = sid;
  return ace;
}

SecurityDescriptor directory_with(std::vector<Ace> aces) {
  SecurityDescriptor descriptor;
  descriptor.owner = kSomebody;
  descriptor.group = kSomeGroup;
  descriptor.dacl.emplace();
  descriptor.dacl->aces = std::move(aces);
  return descriptor;
}

/// What a file or directory below one with `ace` gets of it.
std::vector<Ace> inherited(const Ace& ace, Inheritor inheritor) {
  // With a further entry, so that there is always something to inherit.
  SecurityDescriptor parent =
      directory_with({entry(ondisk::users(), AccessMask::ReadData, kOi | kCi), ace});
  parent.control = DescriptorControl::DaclAutoInherited;
  const auto made = inherit(parent, inheritor, FileOwner{kSomebody, kSomeGroup});
  EXPECT_TRUE(made && made->dacl && !made->dacl->aces.empty());
  if (!made || !made->dacl || made->dacl->aces.empty()) return {};
  return {made->dacl->aces.begin() + 1, made->dacl->aces.end()};
}

struct Row {
  int flags;
  std::vector<int> file;       ///< flags of what a file gets
  std::vector<int> directory;  ///< and a directory
};

std::vector<Ace> with_flags(const Ace& ace, const std::vector<int>& all) {
  std::vector<Ace> result;
  for (const int flags : all) result.push_back(entry(ace.sid, ace.access_mask, flags));
  return result;
}

TEST(SecurityInheritance, FollowsTheFlags) {
  const Row rows[] = {
      {0, {}, {}},
      {kOi, {kId}, {kOi | kIo | kId}},
      {kCi, {}, {kCi | kId}},
      {kOi | kCi, {kId}, {kOi | kCi | kId}},
      {kOi | kIo, {kId}, {kOi | kIo | kId}},
      {kCi | kIo, {}, {kCi | kId}},
      {kOi | kCi | kIo, {kId}, {kOi | kCi | kId}},
      {kOi | kNp, {kId}, {}},
      {kCi | kNp, {}, {kId}},
      {kOi | kCi | kNp, {kId}, {kId}},
      {kOi | kCi | kNp | kIo, {kId}, {kId}},
      {kOi | kCi | kId, {kId}, {kOi | kCi | kId}},
      {kNp | kIo, {}, {}},
  };
  for (const Row& row : rows) {
    const Ace ace = entry(kSomebody, AccessMask::FileModify, row.flags);
    EXPECT_EQ(inherited(ace, Inheritor::File), with_flags(ace, row.file)) << row.flags;
    EXPECT_EQ(inherited(ace, Inheritor::Directory), with_flags(ace, row.directory)) << row.flags;
  }
}

TEST(SecurityInheritance, GivesTheOwnerWhatIsTheCreators) {
  const Ace owner = entry(ondisk::creator_owner(), AccessMask::FileAll, kOi | kCi | kIo);
  EXPECT_EQ(inherited(owner, Inheritor::File),
            std::vector{entry(kSomebody, AccessMask::FileAll, kId)});
  const std::vector both = {entry(kSomebody, AccessMask::FileAll, kId),
                            entry(owner.sid, AccessMask::FileAll, kOi | kCi | kIo | kId)};
  EXPECT_EQ(inherited(owner, Inheritor::Directory), both);
  const Ace group = entry(ondisk::creator_group(), AccessMask::FileRead, kCi | kNp);
  EXPECT_EQ(inherited(group, Inheritor::Directory),
            std::vector{entry(kSomeGroup, AccessMask::FileRead, kId)});
}

TEST(SecurityInheritance, MapsGenericRightsWhereTheyCount) {
  const struct {
    uint32_t generic;
    uint32_t specific;
  } kRows[] = {
      {AccessMask::GenericAll, AccessMask::FileAll},
      {AccessMask::GenericReadExecute, AccessMask::FileReadExecute},
      {AccessMask::GenericModify, AccessMask::FileModify},
      {AccessMask::GenericWrite | AccessMask::ReadData,
       AccessMask::FileWrite | AccessMask::ReadData},
  };
  for (const auto& [generic, specific] : kRows) {
    const Ace ace = entry(ondisk::users(), generic, kOi | kCi);
    EXPECT_EQ(inherited(ace, Inheritor::File), std::vector{entry(ace.sid, specific, kId)});
    const std::vector both = {entry(ace.sid, specific, kId),
                              entry(ace.sid, generic, kOi | kCi | kIo | kId)};
    EXPECT_EQ(inherited(ace, Inheritor::Directory), both);
    const Ace for_files = entry(ondisk::users(), generic, kOi);
    EXPECT_EQ(inherited(for_files, Inheritor::Directory),
              std::vector{entry(ace.sid, generic, kOi | kIo | kId)});
  }
}

TEST(SecurityInheritance, PassesOnEntriesThatItDoesNotKnow) {
  Ace ace;
  ace.type = 0x12;  // SYSTEM_RESOURCE_ATTRIBUTE_ACE
  ace.flags = kOi | kCi;
  ace.body = ByteVector(24, std::byte{7});
  Ace expected = ace;
  expected.flags = kId;
  EXPECT_EQ(inherited(ace, Inheritor::File), std::vector{expected});
  expected.flags = kOi | kCi | kId;
  EXPECT_EQ(inherited(ace, Inheritor::Directory), std::vector{expected});
}

TEST(SecurityInheritance, MarksWhatTheDirectorySaysIsMarked) {
  SecurityDescriptor parent =
      directory_with({entry(ondisk::users(), AccessMask::FileRead, kOi | kCi | kId)});
  parent.sacl.emplace();
  parent.sacl->aces = {entry(ondisk::everyone(), AccessMask::Delete, kOi)};
  parent.sacl->aces[0].type = Ace::kAudit;
  constexpr uint16_t kDacl = DescriptorControl::DaclAutoInherited;
  constexpr uint16_t kSacl = DescriptorControl::SaclAutoInherited;
  for (const int marked : {0, int{kDacl}, int{kSacl}, kDacl | kSacl}) {
    parent.control = static_cast<uint16_t>(marked | DescriptorControl::DaclProtected |
                                           DescriptorControl::DaclDefaulted);
    const auto made = inherit(parent, Inheritor::File, FileOwner{kSomebody, kSomeGroup});
    ASSERT_TRUE(made && made->dacl && made->sacl);
    EXPECT_EQ(made->control, marked);
    EXPECT_EQ(made->owner, kSomebody);
    EXPECT_EQ(made->group, kSomeGroup);
    EXPECT_EQ(made->dacl->aces[0].flags, (marked & kDacl) != 0 ? kId : 0) << marked;
    EXPECT_EQ(made->sacl->aces[0].type, Ace::kAudit);
    EXPECT_EQ(made->sacl->aces[0].flags, (marked & kSacl) != 0 ? kId : 0) << marked;
  }
}

TEST(SecurityInheritance, GivesOwnerAndSystemAllWhereThereIsNothingToInherit) {
  const auto made = inherit(directory_with({entry(ondisk::everyone(), AccessMask::FileAll, 0)}),
                            Inheritor::File, FileOwner{kSomebody, kSomeGroup});
  ASSERT_TRUE(made && made->dacl);
  EXPECT_EQ(made->control, 0);
  EXPECT_FALSE(made->sacl);
  const std::vector expected = {entry(kSomebody, AccessMask::FileAll, 0),
                                entry(ondisk::local_system(), AccessMask::FileAll, 0)};
  EXPECT_EQ(made->dacl->aces, expected);
  const auto of_system = inherit(SecurityDescriptor(), Inheritor::Directory,
                                 FileOwner{ondisk::local_system(), ondisk::local_system()});
  ASSERT_TRUE(of_system && of_system->dacl);
  EXPECT_EQ(of_system->dacl->aces.size(), 1u);
}

TEST(SecurityInheritance, RefusesListsThatGrowTooLong) {
  // Each entry becomes two of 20 bytes.
  const std::vector<Ace> aces(2000,
                              entry(ondisk::everyone(), AccessMask::GenericAll, kOi | kCi | kIo));
  const auto parent = directory_with(aces);
  EXPECT_TRUE(inherit(parent, Inheritor::File, FileOwner{kSomebody, kSomeGroup}));
  const auto made = inherit(parent, Inheritor::Directory, FileOwner{kSomebody, kSomeGroup});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), NtStatus::FileSystemLimitation);
}

TEST(SecurityInheritance, FilesBelongToTheOwnerOfTheirDirectory) {
  const FileOwner administrators{ondisk::administrators(), ondisk::administrators()};
  EXPECT_EQ(owner_from_parent(directory_with({})), (FileOwner{kSomebody, kSomeGroup}));
  EXPECT_EQ(owner_from_parent(SecurityDescriptor()), administrators);
  SecurityDescriptor of_windows;
  of_windows.owner = Sid{5, {80, 956008885, 3418522649, 1831038044, 1853292631, 2271478464}};
  of_windows.group = ondisk::local_system();
  EXPECT_EQ(owner_from_parent(of_windows), administrators);
}

// What Windows stored for files of its volumes that were made without a descriptor of their own.

struct MadeByWindows {
  const char* image;
  std::vector<uint64_t> records;
};
void PrintTo(const MadeByWindows& made, std::ostream* stream) { *stream << made.image; }

class WindowsDescriptors : public ::testing::TestWithParam<MadeByWindows> {};

FileReference reference_of(Volume& volume, uint64_t record) {
  const auto page = volume.mft().record(record);
  EXPECT_TRUE(page);
  if (!page) return FileReference();
  return FileReference(record, ondisk::FileRecordView::of_valid((*page)->bytes()).sequence());
}

SecurityDescriptor security_of(Volume& volume, FileReference file) {
  const auto bytes = read_security(volume, file);
  EXPECT_TRUE(bytes) << file.record();
  if (!bytes) return {};
  auto parts = ondisk::parse_security_descriptor(*bytes, Origin{});
  EXPECT_TRUE(parts) << file.record();
  return parts ? std::move(*parts) : SecurityDescriptor();
}

TEST_P(WindowsDescriptors, AreWhatFilesInherit) {
  testing::ScratchDirectory directory;
  const auto image = testing::unpack_image(GetParam().image, directory.path());
  if (!image) GTEST_SKIP() << "no image (NTFS_WAL_IMAGES names the folder)";
  const auto device = testing::FileDevice::open(image->string());
  ASSERT_NE(device, nullptr);
  VolumeOptions options;
  options.access = VolumeOptions::Access::AsItIs;
  std::string why_not;
  const auto opened = Volume::open(*device, options, why_not);
  ASSERT_TRUE(opened) << why_not;
  Volume& volume = **opened;
  const SharedLock lock(volume.journal().metadata_lock());
  for (const uint64_t number : GetParam().records) {
    const FileReference file = reference_of(volume, number);
    Attributes attributes(volume, file);
    const auto page = attributes.base();
    const auto name = attributes.find(AttributeType::FileName);
    ASSERT_TRUE(page && name) << number;
    const bool is_directory = ondisk::FileRecordView::of_valid((*page)->bytes()).is_directory();
    const auto parent = ondisk::FileNameView::of_valid(name->view().value()).parent();
    const SecurityDescriptor stored = security_of(volume, file);
    ASSERT_TRUE(stored.owner && stored.group) << number;
    const auto made =
        inherit(security_of(volume, parent), is_directory ? Inheritor::Directory : Inheritor::File,
                FileOwner{*stored.owner, *stored.group});
    ASSERT_TRUE(made);
    EXPECT_EQ(ondisk::build_security_descriptor(*made), ondisk::build_security_descriptor(stored))
        << number << ": " << describe(*made) << " instead of " << describe(stored);
  }
}

INSTANTIATE_TEST_SUITE_P(
    SecurityInheritance, WindowsDescriptors,
    ::testing::Values(MadeByWindows{"ms_lastaccess", {37, 38, 39, 42, 43}},
                      MadeByWindows{"vel_charlie", {37, 38}}, MadeByWindows{"ms_2m", {37, 38}},
                      MadeByWindows{"js_tiny", {32, 33, 36, 37, 38, 39, 40, 41, 42}}));

}  // namespace
}  // namespace ntfs
