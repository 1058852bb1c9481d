// Links of every kind, and special files of Interix, as Linux sees them.

#include "core/fsa/link_target.h"

#include <gtest/gtest.h>

#include "core/ondisk/name_encoding.h"
#include "core/ondisk/reparse_point.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/reparse_values.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::FileAttributes;
using ondisk::ReparseTag;

class LinkTarget : public ::testing::Test {
 protected:
  void SetUp() override {
    // Program Files\Some App\Read Me.txt
    const FilePtr programs = make(*store().root(), u"Program Files", FileKind::Directory);
    const FilePtr app = make(*programs, u"Some App", FileKind::Directory);
    make(*app, u"Read Me.txt", FileKind::File);
    links_ = make(*programs, u"links", FileKind::Directory);
  }
  void TearDown() override { store_.check(); }

  ObjectStore& store() { return store_.store(); }
  FilePtr make(File& directory, std::u16string_view name, FileKind kind) {
    return store_.make(directory, name, kind);
  }
  NtStatus set(const FilePtr& file, ByteView value) {
    OpenParameters parameters;
    parameters.desired_access = AccessMask::WriteAttributes;
    parameters.symbolic_links = SymbolicLinkAccess::Yes;
    auto open = store().open(file, parameters);
    EXPECT_TRUE(open.has_value());
    const auto done = store().set_reparse_point(**open, value);
    store().close(std::move(*open));
    return done.error();
  }
  /// Where a new link in "Program Files\links" leads.
  std::string target(ByteView value, FileKind kind = FileKind::File) {
    const FilePtr link = make(*links_, next_name(), kind);
    EXPECT_EQ(set(link, value), NtStatus::Success);
    return target(*link);
  }
  std::string target(File& link) {
    const auto read = store().read_link(link);
    EXPECT_TRUE(read.has_value()) << name_of(read.error());
    const auto information = store().query_information(link);
    EXPECT_EQ(information->kind, FileKind::Symlink);
    EXPECT_EQ(information->file_size, read->size());
    return *read;
  }
  std::string symlink(std::u16string_view path) {
    return target(symlink_value(path, SymlinkIs::Absolute));
  }
  std::string relative(std::u16string_view path) {
    return target(symlink_value(path, SymlinkIs::Relative));
  }
  std::string junction(std::u16string_view path) {
    return target(mount_point_value(path), FileKind::Directory);
  }
  std::u16string next_name() { return u"link" + std::u16string(1, u'a' + count_links_++); }

  OpenedStore store_{{.mount_point = "/mnt/disk"}};
  FilePtr links_;
  char16_t count_links_ = 0;
};

constexpr std::string_view kReadMe = "/mnt/disk/Program Files/Some App/Read Me.txt";

TEST_F(LinkTarget, AbsoluteOnesLeadFromTheRootOfTheVolumeThatHasThem) {
  EXPECT_EQ(symlink(u"\\??\\C:\\Program Files\\Some App\\Read Me.txt"), kReadMe);
  EXPECT_EQ(symlink(u"\\??\\d:\\PROGRAM files\\some APP\\read me.TXT"), kReadMe);
  EXPECT_EQ(symlink(u"\\Program Files\\some app\\read me.txt"), kReadMe);
  EXPECT_EQ(relative(u"\\program files\\some app\\read me.txt"), kReadMe);
  EXPECT_EQ(junction(u"\\??\\C:\\program files\\some app"), "/mnt/disk/Program Files/Some App");
  EXPECT_EQ(junction(u"\\??\\C:\\Program Files\\"), "/mnt/disk/Program Files");
}

TEST_F(LinkTarget, WhatTheVolumeHasNotIsLookedForOnTheDriveThatTheUserNames) {
  const std::string drive = "/mnt/disk/.NTFS-3G/C:";
  EXPECT_EQ(junction(u"\\??\\C:\\program files\\None\\x"), drive + "/Program Files/None/x");
  EXPECT_EQ(symlink(u"\\??\\C:\\program files\\some app\\read me.txt\\x"),
            drive + "/Program Files/Some App/Read Me.txt/x");
  EXPECT_EQ(junction(u"\\??\\C:\\"), drive);  // every volume has a root
  EXPECT_EQ(junction(u"\\??\\Volume{12345678-abcd-0000-1111-123456789abc}\\"),
            "/mnt/disk/.NTFS-3G/Volume{12345678-abcd-0000-1111-123456789abc}");
}

TEST_F(LinkTarget, ADriveThatTheUserNamesComesFirst) {
  const FilePtr drives = make(*store().root(), u".NTFS-3G", FileKind::Directory);
  make(*drives, u"c:", FileKind::Directory);
  EXPECT_EQ(symlink(u"\\??\\C:\\program files\\some app"),
            "/mnt/disk/.NTFS-3G/c:/program files/some app");
  EXPECT_EQ(symlink(u"\\??\\D:\\program files\\some app"), "/mnt/disk/Program Files/Some App");
}

TEST_F(LinkTarget, RelativeOnesLeadFromTheDirectoryOfTheLink) {
  EXPECT_EQ(relative(u"..\\some app\\READ me.txt"), "../Some App/Read Me.txt");
  EXPECT_EQ(relative(u"..\\.\\..\\program files\\LINKS"), ".././../Program Files/links");
  EXPECT_EQ(relative(u"..\\..\\..\\..\\program files"), "../../../../Program Files");
  EXPECT_EQ(relative(u"..\\some app\\None\\some app"), "../Some App/None/some app");
  EXPECT_EQ(relative(u"None"), "None");
}

TEST_F(LinkTarget, BehindALinkWhoeverFollowsItGoesOn) {
  const FilePtr link = make(*store().root(), u"Apps", FileKind::Directory);
  ASSERT_EQ(set(link, mount_point_value(u"\\??\\C:\\Program Files")), NtStatus::Success);
  EXPECT_EQ(symlink(u"\\??\\C:\\APPS\\some app"), "/mnt/disk/Apps/some app");
}

TEST_F(LinkTarget, WhatIsOnNoDriveIsShownAsItIs) {
  EXPECT_EQ(symlink(u"\\??\\UNC\\server\\share"), "\\??\\UNC\\server\\share");
  EXPECT_EQ(relative(u"\\\\server\\share"), "\\\\server\\share");
}

TEST_F(LinkTarget, NamesComeInTheBytesThatListingsShow) {
  // A byte that is no UTF-8, as it is kept; and a control character.
  const std::u16string name = {u'x', 0xDC80, u'\x1F', u'é'};
  make(*links_, name, FileKind::File);
  EXPECT_EQ(relative(name), ondisk::name_bytes(name));
  EXPECT_EQ(relative(name), "x\x80\x1F\u00e9");
}

TEST_F(LinkTarget, OtherNameSurrogatesAreLinksThatLeadNowhere) {
  constexpr uint32_t kGlobalReparse = 0xA0000019;
  const ByteVector value = ondisk::build_reparse_point(kGlobalReparse, filled(8, 1));
  EXPECT_EQ(target(value), "unsupported reparse tag 0xa0000019");
  const FilePtr cloud = make(*links_, u"cloud", FileKind::Directory);
  ASSERT_EQ(set(cloud, ondisk::build_reparse_point(0x9000101A, {})), NtStatus::Success);
  EXPECT_EQ(store().query_information(*cloud)->kind, FileKind::Directory);
  EXPECT_EQ(store().read_link(*cloud).error(), NtStatus::IoReparseTagInvalid);
  EXPECT_EQ(store().read_link(*links_).error(), NtStatus::NotAReparsePoint);
}

TEST_F(LinkTarget, ALinkToADirectoryIsRemovedAndReplacedAsALink) {
  const ByteVector junction = mount_point_value(u"\\??\\C:\\Program Files");
  using Remove = ObjectStore::RemoveKind;
  for (const auto* name : {u"one", u"two"}) {
    ASSERT_EQ(set(make(*links_, name, FileKind::Directory), junction), NtStatus::Success);
  }
  const FilePtr cloud = make(*links_, u"cloud", FileKind::Directory);
  ASSERT_EQ(set(cloud, ondisk::build_reparse_point(0x9000101A, {})), NtStatus::Success);
  EXPECT_EQ(store().remove(*links_, u"one", Remove::Directory).error(), NtStatus::NotADirectory);
  EXPECT_EQ(store().remove(*links_, u"cloud", Remove::File).error(), NtStatus::FileIsADirectory);
  make(*links_, u"file", FileKind::File);
  using Mode = ObjectStore::RenameMode;
  EXPECT_TRUE(store().rename(*links_, u"one", *links_, u"file", Mode::Replace));
  EXPECT_TRUE(store().remove(*links_, u"file", Remove::File));
  EXPECT_TRUE(store().remove(*links_, u"two", Remove::File));
  EXPECT_TRUE(store().remove(*links_, u"cloud", Remove::Directory));
}

class Interix : public LinkTarget {
 protected:
  /// A file with the system attribute.
  FilePtr make_system(std::string_view data, uint32_t attributes = FileAttributes::System) {
    FilePtr file = make(*links_, next_name(), FileKind::File);
    EXPECT_TRUE(store().write(*file, 0, text_bytes(data), Stream::Buffering::Buffered));
    BasicInformation information;
    information.file_attributes = attributes;
    EXPECT_TRUE(store().set_basic_information(*file, information));
    return file;
  }
  FileInformation shown(std::string_view data, uint32_t attributes = FileAttributes::System) {
    return *store().query_information(*make_system(data, attributes));
  }
  static std::string link_to(std::u16string_view target, std::string_view head = {"IntxLNK\1", 8}) {
    std::string data(head);
    for (const char16_t unit : target) {
      data.push_back(static_cast<char>(unit & 0xFF));
      data.push_back(static_cast<char>(unit >> 8));
    }
    return data;
  }
};

TEST_F(Interix, SystemFilesAreLinks) {
  EXPECT_EQ(target(*make_system(link_to(u"a/b"))), "a/b");
  EXPECT_EQ(target(*make_system(link_to(u"/dev/é"))), "/dev/\u00e9");
  EXPECT_EQ(target(*make_system(link_to({u"a\0b", 3}))), "a");
  const std::u16string longest(4096, u'x');
  EXPECT_EQ(target(*make_system(link_to(longest))), std::string(4096, 'x'));
  ASSERT_TRUE(store().flush());
  EXPECT_EQ(target(*make_system(link_to(longest))), std::string(4096, 'x')) << "not resident";
  constexpr uint32_t kHidden = FileAttributes::System | FileAttributes::Hidden;
  EXPECT_EQ(shown(link_to(u"a"), kHidden).kind, FileKind::Symlink);
  // Not such ones.
  EXPECT_EQ(shown(link_to(u"")).kind, FileKind::File);
  EXPECT_EQ(shown(link_to(longest + u"x")).kind, FileKind::File);
  EXPECT_EQ(shown(link_to(u"a", {"IntxLNK\0", 8})).kind, FileKind::File);
  EXPECT_EQ(shown(link_to(u"a"), FileAttributes::Archive).kind, FileKind::File);
}

TEST_F(Interix, SystemFilesAreFifosSocketsAndDevices) {
  constexpr uint32_t kHidden = FileAttributes::System | FileAttributes::Hidden;
  EXPECT_EQ(shown("").kind, FileKind::Fifo);
  EXPECT_EQ(shown("x").kind, FileKind::Socket);
  EXPECT_EQ(shown("xy").kind, FileKind::File);
  EXPECT_EQ(shown("", kHidden).kind, FileKind::File);
  EXPECT_EQ(shown("x", kHidden).kind, FileKind::File);
  std::string device("IntxCHR\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0", 24);
  FileInformation information = shown(device);
  EXPECT_EQ(information.kind, FileKind::CharacterDevice);
  EXPECT_EQ(*information.linux_metadata.device, uint64_t{3} << 32 | 1);
  device.replace(4, 3, "BLK");
  EXPECT_EQ(shown(device).kind, FileKind::BlockDevice);
  EXPECT_EQ(shown(device.substr(0, 23)).kind, FileKind::File);
  EXPECT_EQ(shown(device + "x").kind, FileKind::File);
}

}  // namespace
}  // namespace ntfs
