// MS-FSA 2.1.5.10: FSCTL_SET_REPARSE_POINT, FSCTL_GET_REPARSE_POINT, FSCTL_DELETE_REPARSE_POINT;
// and that the checker finds $Reparse right after all of it.

#include <gtest/gtest.h>

#include "core/fsa/small_values.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/attributes.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/reparse_values.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::build_reparse_point;
using ondisk::FileAttributes;
using ondisk::ReparseHeader;
using ondisk::ReparseTag;

constexpr uint32_t kCloud = 0x9000101A;    // with the directory bit
constexpr uint32_t kForeign = 0x00000042;  // not Microsoft's

ByteVector with_guid(uint32_t tag, int guid, ByteView data) {
  ByteVector value(sizeof(ReparseHeader) + ondisk::kReparseGuidBytes, static_cast<std::byte>(guid));
  auto& header = struct_at<ReparseHeader>(MutableBytes(value));
  header = {};
  header.tag.set(tag);
  header.data_length.set(static_cast<uint16_t>(data.size()));
  value.insert(value.end(), data.begin(), data.end());
  return value;
}

class ReparseControl : public ::testing::Test {
 protected:
  void TearDown() override { store_.check(OpenedStore::Entries::RepeatTheirFiles); }

  ObjectStore& store() { return store_.store(); }
  OpenPtr open(const FilePtr& file, uint32_t access = AccessMask::WriteAttributes,
               SymbolicLinkAccess links = SymbolicLinkAccess::Yes) {
    OpenParameters parameters;
    parameters.desired_access = access;
    parameters.symbolic_links = links;
    parameters.reparse_point = OpenReparsePoint::Yes;
    auto made = store().open(file, parameters);
    EXPECT_TRUE(made.has_value());
    return OpenPtr(made ? made->release() : nullptr, Closer{&store()});
  }
  FilePtr make(std::u16string_view name, FileKind kind) {
    CreateParameters parameters;
    parameters.kind = kind;
    auto made = store().create(*store().root(), name, parameters);
    EXPECT_TRUE(made.has_value());
    return made ? *made : nullptr;
  }
  NtStatus set(const FilePtr& file, ByteView value) {
    return store().set_reparse_point(*open(file), value).error();
  }
  NtStatus remove(const FilePtr& file, ByteView head) {
    return store().delete_reparse_point(*open(file), head).error();
  }
  ByteVector get(const FilePtr& file) {
    auto answer = store().get_reparse_point(*open(file), ondisk::kMaxReparsePointBytes);
    return answer ? std::move(answer->value) : ByteVector();
  }
  /// The entry of the root's index that leads to `name`.
  DirectoryEntry entry(std::u16string_view name) {
    const auto entries = store().query_directory(*store().root());
    for (const DirectoryEntry& each : *entries) {
      if (each.name == name) return each;
    }
    ADD_FAILURE() << "no such entry";
    return {};
  }

  OpenedStore store_;
};

TEST_F(ReparseControl, SetTellsTheFileAndItsNames) {
  proves("RP12 RP16");
  BasicInformation information;
  information.file_attributes = FileAttributes::Hidden;
  information.times.change = ondisk::FileTime::from_raw(130000000000000000);
  ASSERT_TRUE(store().set_basic_information(*store_.file(), information));
  ASSERT_TRUE(store().link(*store_.file(), *store().root(), u"second"));
  const ByteVector value = build_reparse_point(kCloud, filled(100, 1));
  ASSERT_EQ(set(store_.file(), value), NtStatus::Success);
  EXPECT_EQ(get(store_.file()), value);
  const FileInformation now = store_.information();
  EXPECT_EQ(now.reparse_tag, kCloud);
  EXPECT_EQ(now.file_attributes,
            FileAttributes::Hidden | FileAttributes::Archive | FileAttributes::ReparsePoint);
  EXPECT_GT(now.change_time.raw(), 130000000000000000u);
  for (const auto* name : {u"file", u"second"}) {
    EXPECT_EQ(entry(name).reparse_tag, kCloud);
    EXPECT_NE(entry(name).file_attributes & FileAttributes::ReparsePoint, 0u);
  }
  store_.check();  // $R has it
  store_.remount();
  EXPECT_EQ(get(store_.file()), value);
}

TEST_F(ReparseControl, SetAgainChangesTheData) {
  proves("RP12");
  // Of all sizes, so that the value moves in and out of the record.
  for (const size_t length : {10, 5000, 16376, 300, 16000, 0}) {
    const ByteVector value = build_reparse_point(kCloud, filled(length, 3));
    ASSERT_EQ(set(store_.file(), value), NtStatus::Success) << length;
    EXPECT_EQ(get(store_.file()), value) << length;
    store_.check();
  }
}

TEST_F(ReparseControl, ADamagedOneDoesNotKeepTheFileFromBeingWritten) {
  const FilePtr file = make(u"file of a cloud", FileKind::File);
  ASSERT_EQ(set(file, build_reparse_point(kCloud, filled(20, 1))), NtStatus::Success);
  const ByteVector good = get(file);
  const auto put = [&](ByteView value) {
    Transaction transaction(store().volume().journal());
    ASSERT_TRUE(transaction.begin());
    Attributes attributes(store().volume(), file->reference());
    ASSERT_TRUE(attributes.set_value(transaction, ondisk::AttributeType::ReparsePoint, u"", value));
    transaction.commit();
  };
  put(ByteView(good).first(3));
  file->note_modified();
  EXPECT_TRUE(store().flush());
  put(good);
}

TEST_F(ReparseControl, DeleteTakesEverythingBack) {
  proves("RP15 RP16");
  ASSERT_EQ(set(store_.file(), build_reparse_point(kCloud, filled(9000, 1))), NtStatus::Success);
  ASSERT_EQ(remove(store_.file(), build_reparse_point(kCloud, {})), NtStatus::Success);
  EXPECT_EQ(store_.information().reparse_tag, 0u);
  EXPECT_EQ(store_.information().file_attributes, FileAttributes::Archive);
  EXPECT_EQ(entry(u"file").reparse_tag, 0u);
  EXPECT_EQ(entry(u"file").file_attributes & FileAttributes::ReparsePoint, 0u);
  EXPECT_EQ(remove(store_.file(), build_reparse_point(kCloud, {})), NtStatus::NotAReparsePoint);
}

TEST_F(ReparseControl, ARemovedFileLeavesTheIndex) {
  proves("RP16");
  const ByteVector value = build_reparse_point(kCloud, filled(9000, 1));
  const FilePtr held = make(u"held", FileKind::File);
  ASSERT_EQ(set(store_.file(), value), NtStatus::Success);
  ASSERT_EQ(set(held, value), NtStatus::Success);
  auto keeper = open(held);
  using Kind = ObjectStore::RemoveKind;
  ASSERT_TRUE(store().remove(*store().root(), u"held", Kind::File));
  ASSERT_TRUE(store().remove(*store().root(), u"file", Kind::File));
  store_.check();
  // One without a name changes as any other.
  ASSERT_EQ(store().delete_reparse_point(*keeper, build_reparse_point(kCloud, {})).error(),
            NtStatus::Success);
  ASSERT_TRUE(store().set_reparse_point(*keeper, build_reparse_point(kForeign | 0x80000000, {})));
  store_.check();
}

TEST_F(ReparseControl, NeedsTheRightToWriteDataOrAttributes) {
  proves("RP1");
  const ByteVector value = build_reparse_point(kCloud, {});
  const auto with = [&](uint32_t access) {
    return store().set_reparse_point(*open(store_.file(), access), value).error();
  };
  EXPECT_EQ(with(AccessMask::ReadData | AccessMask::ReadAttributes), NtStatus::AccessDenied);
  EXPECT_EQ(with(AccessMask::WriteData), NtStatus::Success);
  EXPECT_EQ(with(AccessMask::WriteAttributes), NtStatus::Success);
  const auto reader = open(store_.file(), AccessMask::ReadData);
  EXPECT_EQ(store().delete_reparse_point(*reader, value).error(), NtStatus::AccessDenied);
  EXPECT_EQ(set(store().root(), value), NtStatus::AccessDenied);
}

TEST_F(ReparseControl, WritesNothingOnAReadOnlyVolume) {
  proves("RP2");
  store_.remount(VolumeOptions::Access::ReadOnly);
  const ByteVector value = build_reparse_point(kCloud, {});
  EXPECT_EQ(set(store_.file(), value), NtStatus::MediaWriteProtected);
  EXPECT_EQ(remove(store_.file(), value), NtStatus::MediaWriteProtected);
}

TEST_F(ReparseControl, RefusesValuesOfAnotherLengthThanTheySay) {
  proves("RP4");
  constexpr auto kInvalid = NtStatus::IoReparseDataInvalid;
  ByteVector value = build_reparse_point(kCloud, filled(20, 1));
  EXPECT_EQ(set(store_.file(), {}), kInvalid);
  EXPECT_EQ(set(store_.file(), ByteView(value).first(7)), kInvalid);
  EXPECT_EQ(set(store_.file(), ByteView(value).first(27)), kInvalid);
  value.push_back(std::byte{0});
  EXPECT_EQ(set(store_.file(), value), kInvalid);
  // Without a GUID where there must be one.
  EXPECT_EQ(set(store_.file(), ByteView(with_guid(kForeign, 1, {})).first(8)), kInvalid);
  ByteVector large(ondisk::kMaxReparsePointBytes + 1);
  struct_at<le32>(MutableBytes(large)).set(kCloud);
  struct_at<le16>(MutableBytes(large), 4).set(static_cast<uint16_t>(large.size() - 8));
  EXPECT_EQ(set(store_.file(), large), kInvalid);
  for (const uint32_t reserved : {0u, 1u}) {
    const ByteVector head = with_guid(reserved, 1, {});
    EXPECT_EQ(set(store_.file(), head), NtStatus::IoReparseTagInvalid);
  }
  EXPECT_EQ(store_.information().reparse_tag, 0u);
}

TEST_F(ReparseControl, MountPointsAreDirectoriesWithoutEntries) {
  proves("RP5 RP7");
  const ByteVector junction = mount_point_value(u"\\??\\C:\\dir");
  const FilePtr directory = make(u"directory", FileKind::Directory);
  EXPECT_EQ(set(store_.file(), junction), NtStatus::NotADirectory);
  ASSERT_TRUE(store().create(*directory, u"inside", {}));
  EXPECT_EQ(set(directory, junction), NtStatus::DirectoryNotEmpty);
  EXPECT_EQ(set(directory, build_reparse_point(ReparseTag::Wof, {})), NtStatus::DirectoryNotEmpty);
  EXPECT_EQ(set(directory, build_reparse_point(kCloud, {})), NtStatus::Success);
  EXPECT_EQ(remove(directory, build_reparse_point(kCloud, {})), NtStatus::Success);
  ASSERT_TRUE(store().remove(*directory, u"inside", ObjectStore::RemoveKind::File));
  EXPECT_EQ(set(directory, junction), NtStatus::Success);
  EXPECT_EQ(entry(u"directory").reparse_tag, ReparseTag::MountPoint);
}

TEST_F(ReparseControl, SymbolicLinksNeedTheirPrivilegeAndNoData) {
  proves("RP6 RP8");
  const ByteVector link = symlink_value(u"target", SymlinkIs::Relative);
  const auto without = open(store_.file(), AccessMask::WriteAttributes, SymbolicLinkAccess::No);
  EXPECT_EQ(store().set_reparse_point(*without, link).error(), NtStatus::AccessDenied);
  const auto writer = open(store_.file(), AccessMask::WriteData);
  ASSERT_EQ(store_.write(*writer, 0, filled(1, 1)), NtStatus::Success);
  EXPECT_EQ(set(store_.file(), link), NtStatus::IoReparseDataInvalid);
  ASSERT_TRUE(store().set_end_of_file(*writer, 0));
  EXPECT_EQ(set(store_.file(), link), NtStatus::Success);
  EXPECT_EQ(*store().read_link(*store_.file()), "target");
  // Names out of bounds.
  ByteVector broken = link;
  struct_at<le16>(MutableBytes(broken), sizeof(ReparseHeader)).set(2);
  EXPECT_EQ(set(store_.file(), broken), NtStatus::IoReparseDataInvalid);
}

TEST_F(ReparseControl, ExtendedAttributesStandAgainstItUnlessTheyAreLinuxs) {
  proves("RP9");
  BasicInformation owner;
  owner.linux_metadata.uid = 1000;
  ASSERT_TRUE(store().set_basic_information(*store_.file(), owner));
  const ByteVector value = build_reparse_point(kCloud, {});
  EXPECT_EQ(set(store_.file(), value), NtStatus::Success);
  EXPECT_EQ(remove(store_.file(), value), NtStatus::Success);
  // The names tell the length of the attributes again.
  EXPECT_NE(entry(u"file").reparse_tag, 0u);
  {
    Volume& volume = store().volume();
    const FileReference file = store_.file()->reference();
    Transaction transaction(volume.journal());
    ASSERT_TRUE(transaction.begin());
    std::vector<ondisk::Ea> eas = {{0, "OTHER", filled(4, 1)}};
    ASSERT_TRUE(remove_small_value(transaction, volume, file, ondisk::AttributeType::Ea));
    ASSERT_TRUE(insert_small_value(transaction, volume, file, ondisk::AttributeType::Ea,
                                   ondisk::build_eas(eas), 400));
    Attributes attributes(volume, file);
    ASSERT_TRUE(attributes.set_value(transaction, ondisk::AttributeType::EaInformation, u"",
                                     bytes_of(*ondisk::ea_information_of(eas))));
    transaction.commit();
  }
  EXPECT_EQ(set(store_.file(), value), NtStatus::EasNotSupported);
}

TEST_F(ReparseControl, OneReparsePointStandsAgainstAnother) {
  proves("RP10 RP11 RP13 RP14");
  constexpr uint32_t kOther = kCloud + 0x1000;
  constexpr auto kMismatch = NtStatus::IoReparseTagMismatch;
  const ByteVector cloud = build_reparse_point(kCloud, {});
  ASSERT_EQ(set(store_.file(), cloud), NtStatus::Success);
  EXPECT_EQ(set(store_.file(), build_reparse_point(kOther, {})), kMismatch);
  EXPECT_EQ(remove(store_.file(), build_reparse_point(kOther, {})), kMismatch);
  for (const uint32_t reserved : {0u, 1u}) {
    EXPECT_EQ(remove(store_.file(), with_guid(reserved, 1, {})), NtStatus::IoReparseTagInvalid);
  }
  EXPECT_EQ(remove(store_.file(), build_reparse_point(kCloud, filled(1, 1))),
            NtStatus::IoReparseDataInvalid);
  ASSERT_EQ(remove(store_.file(), cloud), NtStatus::Success);
  ASSERT_EQ(set(store_.file(), with_guid(kForeign, 1, filled(5, 1))), NtStatus::Success);
  EXPECT_EQ(get(store_.file()), with_guid(kForeign, 1, filled(5, 1)));
  constexpr auto kConflict = NtStatus::ReparseAttributeConflict;
  EXPECT_EQ(set(store_.file(), with_guid(kForeign, 2, {})), kConflict);
  EXPECT_EQ(remove(store_.file(), with_guid(kForeign, 2, {})), kConflict);
  EXPECT_EQ(set(store_.file(), with_guid(kForeign, 1, filled(9, 1))), NtStatus::Success);
  EXPECT_EQ(remove(store_.file(), with_guid(kForeign, 1, {})), NtStatus::Success);
}

TEST_F(ReparseControl, GetGivesWhatThereIsRoomFor) {
  proves("RP17");
  const auto reader = open(store_.file(), AccessMask::ReadAttributes);
  const auto with_room = [&](size_t room) { return store().get_reparse_point(*reader, room); };
  EXPECT_EQ(with_room(1000).error(), NtStatus::NotAReparsePoint);
  const ByteVector value = build_reparse_point(kCloud, filled(20, 1));
  ASSERT_EQ(set(store_.file(), value), NtStatus::Success);
  EXPECT_EQ(with_room(7).error(), NtStatus::BufferTooSmall);
  EXPECT_EQ(with_room(28)->status, NtStatus::Success);
  EXPECT_EQ(with_room(28)->value, value);
  EXPECT_EQ(with_room(27)->status, NtStatus::BufferOverflow);
  EXPECT_EQ(with_room(27)->value, ByteVector(value.begin(), value.begin() + 27));
}

TEST(ReparseUsn, SetAndDeleteAreSaid) {
  UsnStore s;
  const FilePtr file = s.make(u"file");
  auto open = s.open(file);
  s.news();
  const FileReference root = s.root()->reference();
  const ByteVector value = build_reparse_point(kCloud, {});
  ASSERT_TRUE(s.store().set_reparse_point(*open, value));
  ASSERT_TRUE(s.store().delete_reparse_point(*open, value));
  constexpr uint32_t kChange = usn::Reason::ReparsePointChange;
  EXPECT_EQ(s.news(), (std::vector<Said>{{"file", kChange, root}}));
  s.store().close(std::move(open));
  EXPECT_EQ(s.news(), (std::vector<Said>{{"file", kChange | usn::Reason::Close, root}}));
  EXPECT_EQ(s.check(), "");
}

}  // namespace
}  // namespace ntfs
