// MS-FSA 2.1.5.14 and 2.1.5.17: security of files; the descriptor of new files.

#include <gtest/gtest.h>

#include "core/ondisk/file_record.h"
#include "core/ondisk/well_known_sids.h"
#include "core/store/attributes.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::Ace;
using ondisk::AttributeType;
using ondisk::DescriptorControl;
using ondisk::SecurityDescriptor;
using ondisk::Sid;
using Part = SecurityInformation;

const Sid kSomebody{5, {21, 1, 2, 3, 1001}};
const Sid kOther{5, {21, 1, 2, 3, 1002}};

ondisk::Acl list_of(uint8_t type, const Sid& sid, uint32_t access_mask, uint8_t flags = 0) {
  Ace ace;
  ace.type = type;
  ace.flags = flags;
  ace.access_mask = access_mask;
  ace.sid = sid;
  return {2, {ace}};
}

SecurityDescriptor sample() {
  SecurityDescriptor descriptor;
  descriptor.owner = kSomebody;
  descriptor.group = ondisk::users();
  descriptor.dacl = list_of(Ace::kAllow, ondisk::everyone(), AccessMask::FileRead);
  descriptor.sacl = list_of(Ace::kAudit, ondisk::everyone(), AccessMask::Delete);
  descriptor.control = DescriptorControl::DaclProtected;
  return descriptor;
}

class SecurityTest : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(); }
  ObjectStore& store() { return s_.store(); }
  OpenPtr open(uint32_t access) {
    OpenParameters parameters;
    parameters.desired_access = access;
    return OpenPtr(store().open(s_.file(), parameters)->release(), Closer{&store()});
  }
  NtStatus set(File& file, uint32_t parts, const SecurityDescriptor& descriptor) {
    const ByteVector bytes = ondisk::build_security_descriptor(descriptor);
    return store().set_security(file, parts, bytes).error();
  }
  ByteVector bytes_of(File& file) {
    const auto bytes = store().query_security(file, Part::All);
    EXPECT_TRUE(bytes);
    return bytes ? *bytes : ByteVector();
  }
  SecurityDescriptor parts_of(File& file, uint32_t parts = Part::All) {
    const auto bytes = store().query_security(file, parts);
    EXPECT_TRUE(bytes);
    if (!bytes) return {};
    auto descriptor = ondisk::parse_security_descriptor(*bytes, Origin{});
    EXPECT_TRUE(descriptor);
    return descriptor ? std::move(*descriptor) : SecurityDescriptor();
  }
  FilePtr make(File& directory, std::u16string_view name, const CreateParameters& parameters) {
    const auto made = store().create(directory, name, parameters);
    EXPECT_TRUE(made) << name_of(made.error());
    return made ? *made : nullptr;
  }
  OpenedStore s_;
};

TEST_F(SecurityTest, IsKeptInItsBytes) {
  const ByteVector bytes = ondisk::build_security_descriptor(sample());
  ASSERT_TRUE(store().set_security(*s_.file(), Part::All, bytes));
  EXPECT_EQ(bytes_of(*s_.file()), bytes);
  s_.remount();
  EXPECT_EQ(bytes_of(*s_.file()), bytes);
  const FilePtr other = make(*store().root(), u"other", {});
  ASSERT_TRUE(store().set_security(*other, Part::All, bytes));
  const auto id = store().query_information(*other)->security_id;
  EXPECT_EQ(id, store().query_information(*s_.file())->security_id);
  EXPECT_NE(id, 0u);
}

TEST_F(SecurityTest, SurvivesACrash) {
  const ByteVector bytes = ondisk::build_security_descriptor(sample());
  ASSERT_TRUE(store().set_security(*s_.file(), Part::All, bytes));
  ASSERT_TRUE(store().flush());
  s_.crash();
  EXPECT_EQ(bytes_of(*s_.file()), bytes);
}

TEST_F(SecurityTest, ShowsThePartsAskedFor) {
  proves("S2");
  ASSERT_EQ(set(*s_.file(), Part::All, sample()), NtStatus::Success);
  const auto owner = parts_of(*s_.file(), Part::Owner);
  EXPECT_EQ(owner.owner, kSomebody);
  EXPECT_FALSE(owner.group || owner.dacl || owner.sacl);
  EXPECT_EQ(owner.control, DescriptorControl::SelfRelative);
  const auto lists = parts_of(*s_.file(), Part::Dacl | Part::Sacl);
  EXPECT_FALSE(lists.owner || lists.group);
  EXPECT_EQ(lists.dacl, sample().dacl);
  EXPECT_EQ(lists.sacl, sample().sacl);
  EXPECT_NE(lists.control & DescriptorControl::DaclProtected, 0);
  EXPECT_EQ(parts_of(*s_.file(), Part::Group).group, ondisk::users());
  EXPECT_EQ(store().query_security(*s_.file(), 0x20).error(), NtStatus::NotSupported);
}

TEST_F(SecurityTest, ChangesThePartsGiven) {
  proves("S8");
  ASSERT_EQ(set(*s_.file(), Part::All, sample()), NtStatus::Success);
  SecurityDescriptor other;
  other.owner = kOther;
  other.dacl = list_of(Ace::kDeny, kOther, AccessMask::FileAll);
  ASSERT_EQ(set(*s_.file(), Part::Owner, other), NtStatus::Success);
  SecurityDescriptor expected = sample();
  expected.owner = kOther;
  EXPECT_EQ(bytes_of(*s_.file()), ondisk::build_security_descriptor(expected));
  ASSERT_EQ(set(*s_.file(), Part::Dacl, other), NtStatus::Success);
  expected.dacl = other.dacl;
  expected.control = 0;  // the protection was the old list's
  EXPECT_EQ(bytes_of(*s_.file()), ondisk::build_security_descriptor(expected));
  ASSERT_EQ(set(*s_.file(), Part::Sacl | Part::Group, other), NtStatus::Success);
  expected.sacl.reset();
  expected.group.reset();
  EXPECT_EQ(bytes_of(*s_.file()), ondisk::build_security_descriptor(expected));
}

TEST_F(SecurityTest, RefusesWhatIsNoDescriptor) {
  proves("S7");
  const ByteVector before = bytes_of(*s_.file());
  SecurityDescriptor nobodys = sample();
  nobodys.owner.reset();
  EXPECT_EQ(set(*s_.file(), Part::All, nobodys), NtStatus::InvalidOwner);
  EXPECT_EQ(set(*s_.file(), Part::Owner, nobodys), NtStatus::InvalidOwner);
  ByteVector bytes = ondisk::build_security_descriptor(sample());
  const auto status = [&](ByteView given) {
    return store().set_security(*s_.file(), Part::All, given).error();
  };
  EXPECT_EQ(status({}), NtStatus::InvalidSecurityDescr);
  EXPECT_EQ(status(ByteView(bytes).first(bytes.size() - 1)), NtStatus::InvalidSecurityDescr);
  bytes[3] = std::byte{0};  // not self-relative
  EXPECT_EQ(status(bytes), NtStatus::InvalidSecurityDescr);
  EXPECT_EQ(status(ByteVector(70000)), NtStatus::InvalidSecurityDescr);
  EXPECT_EQ(bytes_of(*s_.file()), before);
  const FilePtr mft = store().file(FileReference(0, 1));
  EXPECT_EQ(set(*mft, Part::All, sample()), NtStatus::AccessDenied);
}

TEST_F(SecurityTest, AsksForTheRightAccess) {
  proves("S1 S4");
  const ByteVector bytes = ondisk::build_security_descriptor(sample());
  struct Row {
    uint32_t part;
    uint32_t to_query;
    uint32_t to_set;
  };
  constexpr uint32_t kSystem = AccessMask::AccessSystemSecurity;
  for (const Row& row : {Row{Part::Owner, AccessMask::ReadControl, AccessMask::WriteOwner},
                         Row{Part::Group, AccessMask::ReadControl, AccessMask::WriteOwner},
                         Row{Part::Dacl, AccessMask::ReadControl, AccessMask::WriteDac},
                         Row{Part::Sacl, kSystem, kSystem}}) {
    constexpr uint32_t kAll = AccessMask::FileAll | kSystem;
    EXPECT_EQ(store().query_security(*open(kAll & ~row.to_query), row.part).error(),
              NtStatus::AccessDenied);
    EXPECT_EQ(store().set_security(*open(kAll & ~row.to_set), row.part, bytes).error(),
              NtStatus::AccessDenied);
    EXPECT_TRUE(store().query_security(*open(row.to_query), row.part)) << row.part;
    EXPECT_TRUE(store().set_security(*open(row.to_set), row.part, bytes)) << row.part;
  }
  EXPECT_EQ(bytes_of(*s_.file()), bytes);
}

TEST_F(SecurityTest, BreaksWhoKeepsHandles) {
  proves("S5");
  const auto owner = open(AccessMask::FileAll);
  auto holding = open(AccessMask::FileAll);
  Holder holder;
  ASSERT_TRUE(store().request_oplock(*holding, OplockLevel::ReadHandle, holder));
  const ByteVector bytes = ondisk::build_security_descriptor(sample());
  auto done = std::async(std::launch::async,
                         [&] { return store().set_security(*owner, Part::Dacl, bytes).error(); });
  EXPECT_EQ(holder.told().new_level, OplockLevel::Read);
  holding.reset();
  EXPECT_EQ(done.get(), NtStatus::Success);
}

TEST_F(SecurityTest, SetsTheChangeTimeAndTheArchiveBit) {
  proves("S9");
  const auto past = ondisk::FileTime::from_raw(130000000000000000);
  CreateParameters parameters;
  parameters.kind = FileKind::Directory;
  const FilePtr directory = make(*store().root(), u"directory", parameters);
  for (const FilePtr& file : {s_.file(), directory}) {
    BasicInformation information;
    information.times = {past, past, past, past};
    information.file_attributes = ondisk::FileAttributes::Hidden;
    ASSERT_TRUE(store().set_basic_information(*file, information));
    ASSERT_EQ(set(*file, Part::All, sample()), NtStatus::Success);
    const auto after = store().query_information(*file);
    ASSERT_TRUE(after);
    EXPECT_GT(after->change_time, past);
    EXPECT_EQ(after->last_write_time, past);
    const bool has_archive = (after->file_attributes & ondisk::FileAttributes::Archive) != 0;
    EXPECT_EQ(has_archive, file == s_.file());
  }
}

TEST_F(SecurityTest, OfNewFilesIsInherited) {
  proves("S10");
  SecurityDescriptor parent = sample();
  parent.dacl = list_of(Ace::kAllow, ondisk::creator_owner(), AccessMask::GenericAll,
                        ondisk::AceFlags::ObjectInherit | ondisk::AceFlags::ContainerInherit);
  parent.sacl.reset();
  ASSERT_EQ(set(*store().root(), Part::All, parent), NtStatus::Success);
  const FilePtr file = make(*store().root(), u"inherits", {});
  EXPECT_EQ(parts_of(*file).owner, kSomebody);
  EXPECT_EQ(parts_of(*file).group, ondisk::users());
  EXPECT_EQ(parts_of(*file).dacl, list_of(Ace::kAllow, kSomebody, AccessMask::FileAll));
  CreateParameters of_other;
  of_other.kind = FileKind::Directory;
  of_other.owner = FileOwner{kOther, kOther};
  const FilePtr directory = make(*store().root(), u"of other", of_other);
  EXPECT_EQ(parts_of(*directory).owner, kOther);
  EXPECT_EQ(parts_of(*directory).dacl->aces.size(), 2u);
  CreateParameters with_descriptor;
  with_descriptor.security_descriptor = ondisk::build_security_descriptor(sample());
  const FilePtr given = make(*directory, u"given", with_descriptor);
  EXPECT_EQ(bytes_of(*given), with_descriptor.security_descriptor);
  const FilePtr deep = make(*directory, u"deep", {});
  EXPECT_EQ(parts_of(*deep).dacl, list_of(Ace::kAllow, kOther, AccessMask::FileAll));
}

/// Gives a file a descriptor of its own, as NTFS 1.2 and some drivers keep it.
void make_own(Volume& volume, FileReference file, const ByteVector& descriptor) {
  Transaction transaction(volume.journal());
  ASSERT_TRUE(transaction.begin());
  Attributes attributes(volume, file);
  const auto found = attributes.find(AttributeType::StandardInformation);
  ASSERT_TRUE(found);
  const ByteView value = found->view().value().first(ondisk::kStandardInformationV1Bytes);
  const ByteVector old_form(value.begin(), value.end());
  ASSERT_TRUE(attributes.set_value(transaction, AttributeType::StandardInformation, u"", old_form));
  ASSERT_TRUE(
      attributes.set_value(transaction, AttributeType::SecurityDescriptor, u"", descriptor));
  transaction.commit();
}

TEST_F(SecurityTest, OfAFilesOwnIsReadInheritedAndMovedToTheOthers) {
  SecurityDescriptor own = sample();
  own.sacl.reset();
  own.dacl = list_of(Ace::kAllow, ondisk::everyone(), AccessMask::FileAll,
                     ondisk::AceFlags::ObjectInherit | ondisk::AceFlags::ContainerInherit);
  CreateParameters parameters;
  parameters.kind = FileKind::Directory;
  const FilePtr directory = make(*store().root(), u"own", parameters);
  const ByteVector bytes = ondisk::build_security_descriptor(own);
  make_own(store().volume(), directory->reference(), bytes);
  EXPECT_EQ(bytes_of(*directory), bytes);
  EXPECT_EQ(store().query_information(*directory)->security_id, 0u);
  const FilePtr file = make(*directory, u"file", {});
  EXPECT_EQ(parts_of(*file).owner, kSomebody);
  EXPECT_EQ(parts_of(*file).dacl, list_of(Ace::kAllow, ondisk::everyone(), AccessMask::FileAll));
  ASSERT_EQ(set(*directory, Part::All, sample()), NtStatus::Success);
  EXPECT_EQ(bytes_of(*directory), ondisk::build_security_descriptor(sample()));
  EXPECT_NE(store().query_information(*directory)->security_id, 0u);
  const SharedLock lock(store().volume().journal().metadata_lock());
  Attributes attributes(store().volume(), directory->reference());
  EXPECT_EQ(attributes.find(AttributeType::SecurityDescriptor).error(),
            NtStatus::ObjectNameNotFound);
}

TEST_F(SecurityTest, OfAFileWithoutAnyIsMade) {
  const FilePtr file = s_.file();
  {
    Volume& volume = store().volume();
    make_own(volume, file->reference(), {});
    Transaction transaction(volume.journal());
    ASSERT_TRUE(transaction.begin());
    Attributes attributes(volume, file->reference());
    ASSERT_TRUE(attributes.remove(transaction, AttributeType::SecurityDescriptor, u""));
    transaction.commit();
  }
  EXPECT_EQ(store().query_security(*file, Part::All).error(), NtStatus::ObjectNameNotFound);
  EXPECT_EQ(set(*file, Part::Dacl, sample()), NtStatus::InvalidOwner);
  EXPECT_EQ(set(*file, Part::All, sample()), NtStatus::Success);
  EXPECT_EQ(bytes_of(*file), ondisk::build_security_descriptor(sample()));
}

TEST_F(SecurityTest, IsToldToTheChangeJournal) {
  proves("S6 S7");
  UsnStore s;
  const FilePtr file = s.make(u"file");
  s.news();
  const ByteVector bytes = ondisk::build_security_descriptor(sample());
  ASSERT_TRUE(s.store().set_security(*file, Part::All, bytes));
  SecurityDescriptor nobodys = sample();
  nobodys.owner.reset();
  const ByteVector refused = ondisk::build_security_descriptor(nobodys);
  EXPECT_FALSE(s.store().set_security(*file, Part::All, refused));
  const FileReference root = s.root()->reference();
  constexpr uint32_t kChange = usn::Reason::SecurityChange;
  const std::vector<Said> expected = {{"file", kChange, root},
                                      {"file", kChange | usn::Reason::Close, root}};
  EXPECT_EQ(s.news(), expected);
  EXPECT_EQ(s.check(), "");
}

}  // namespace
}  // namespace ntfs
