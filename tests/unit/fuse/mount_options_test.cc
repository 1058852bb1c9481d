#include "fuse/mount_options.h"

#include <gtest/gtest.h>

namespace ntfs::frontend {
namespace {

ParsedOptions parse(std::string_view text) {
  ShownOwnership defaults;
  defaults.uid = 7;
  defaults.gid = 8;
  return parse_mount_options(text, defaults, UnknownOptions::Refuse);
}

TEST(MountOptions, DefaultsAreThoseOfTheContract) {
  const auto parsed = parse("");
  EXPECT_EQ(parsed.error, "");
  EXPECT_FALSE(parsed.options.read_only);
  EXPECT_TRUE(parsed.options.writeback);
  EXPECT_EQ(parsed.options.cache_bytes, uint64_t{256} << 20);
  EXPECT_EQ(parsed.options.commit_seconds, 5u);
  EXPECT_EQ(parsed.options.ownership.uid, 7u);
  EXPECT_EQ(parsed.options.ownership.gid, 8u);
}

TEST(MountOptions, TakesWhatFstabLinesForNtfs3gSay) {
  const auto parsed = parse(
      "defaults,uid=1000,gid=1001,umask=027,windows_names,big_writes,locale=en_US.UTF-8,"
      "nofail,x-systemd.automount,_netdev,uhelper=udisks2,nodev,nosuid,streams_interface=none");
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.options.ownership.uid, 1000u);
  EXPECT_EQ(parsed.options.ownership.gid, 1001u);
  EXPECT_EQ(parsed.options.ownership.file_mask, 027u);
  EXPECT_EQ(parsed.options.ownership.directory_mask, 027u);
  EXPECT_TRUE(parsed.options.windows_names);
  EXPECT_TRUE(parsed.options.nofail);
  EXPECT_EQ(parsed.options.notes.size(), 2u) << "big_writes and locale";
  EXPECT_EQ(parsed.options.kernel_flags, (std::vector<std::string>{"nodev", "nosuid"}));
}

TEST(MountOptions, TakesWhatFstabLinesForNtfs3Say) {
  const auto parsed = parse(
      "rw,relatime,prealloc,iocharset=utf8,showmeta,nocase,nohidden,"
      "hide_dot_files,fmask=0133,dmask=0022,sparse,force");
  EXPECT_EQ(parsed.error, "");
  EXPECT_TRUE(parsed.options.show_system_files);
  EXPECT_TRUE(parsed.options.ignore_case);
  EXPECT_TRUE(parsed.options.hide_hidden_files);
  EXPECT_TRUE(parsed.options.hide_dot_files);
  EXPECT_EQ(parsed.options.ownership.file_mask, 0133u);
  EXPECT_EQ(parsed.options.ownership.directory_mask, 0022u);
}

TEST(MountOptions, TakesWhatFstabLinesForTheKernelsNtfsSay) {
  const auto parsed =
      parse("show_sys_files=true,case_sensitive=no,disable_sparse=1,errors=recover");
  EXPECT_EQ(parsed.error, "");
  EXPECT_TRUE(parsed.options.show_system_files);
  EXPECT_TRUE(parsed.options.ignore_case);
  const auto others = parse("show_sys_files=false,case_sensitive=1,noprealloc,nosparse,noshowmeta");
  EXPECT_EQ(others.error, "");
  EXPECT_FALSE(others.options.show_system_files);
  EXPECT_FALSE(others.options.ignore_case);
  EXPECT_NE(parse("show_sys_files=perhaps").error, "");
}

TEST(MountOptions, TheLastOfTwoCounts) {
  EXPECT_TRUE(parse("rw,ro").options.read_only);
  EXPECT_FALSE(parse("ro,rw").options.read_only);
  EXPECT_EQ(parse("uid=1,uid=2").options.ownership.uid, 2u);
}

TEST(MountOptions, SuggestsTheNearest) {
  EXPECT_NE(parse("window_names").error.find("'windows_names'"), std::string::npos);
  EXPECT_NE(parse("umaks=022").error.find("'umask'"), std::string::npos);
  EXPECT_NE(parse("read_only_please").error.find("there is no option"), std::string::npos);
}

TEST(MountOptions, RefusesWrongValues) {
  EXPECT_NE(parse("uid=root").error, "");
  EXPECT_NE(parse("umask=8").error, "");
  EXPECT_NE(parse("uid").error, "");
  EXPECT_NE(parse("ro=1").error, "");
  EXPECT_NE(parse("cache=lots").error, "");
  EXPECT_NE(parse("cache=1M").error, "");
  EXPECT_NE(parse("threads=0").error, "");
  EXPECT_NE(parse("commit=0").error, "");
  EXPECT_NE(parse("locks=sometimes").error, "");
  EXPECT_EQ(parse("cache=1G").options.cache_bytes, uint64_t{1} << 30);
  EXPECT_EQ(parse("locks=advisory,errors=remount-ro,threads=2,commit=1").error, "");
}

TEST(MountOptions, RefusesWhatItCannotKeepYet) {
  EXPECT_NE(parse("remount,ro").error.find("not available in this version"), std::string::npos);
}

TEST(MountOptions, ShowsStreamsAsExtendedAttributesUnlessToldOtherwise) {
  EXPECT_EQ(parse("").options.streams, StreamsInterface::Xattr);
  EXPECT_EQ(parse("streams_interface=none").options.streams, StreamsInterface::None);
  EXPECT_EQ(parse("streams_interface=windows").options.streams, StreamsInterface::Windows);
  EXPECT_EQ(parse("streams_interface=none,user_xattr").options.streams, StreamsInterface::Xattr);
  EXPECT_NE(parse("streams_interface=windos").error, "");
  EXPECT_NE(parse("streams_interface").error, "");
}

TEST(MountOptions, MandatoryLocksLeaveNothingToTheKernelsCache) {
  const auto mandatory = parse("locks=mandatory,writeback");
  EXPECT_EQ(mandatory.error, "");
  EXPECT_TRUE(mandatory.options.mandatory_locks);
  EXPECT_FALSE(mandatory.options.writeback);
  EXPECT_FALSE(parse("locks=advisory").options.mandatory_locks);
  EXPECT_TRUE(parse("locks=advisory").options.writeback);
}

TEST(MountOptions, KnowsWhetherFilesAreMeantForSomebody) {
  EXPECT_FALSE(parse("ro,windows_names").options.owner_given);
  EXPECT_TRUE(parse("uid=1000").options.owner_given);
  EXPECT_TRUE(parse("umask=022").options.owner_given);
}

TEST(MountOptions, DiscardIsOffUnlessGiven) {
  EXPECT_FALSE(parse("ro").options.discard);
  EXPECT_TRUE(parse("compression").options.compression);
  EXPECT_FALSE(parse("nocompression").options.compression);
  EXPECT_TRUE(parse("ro,efs_raw").options.raw_encrypted);
  EXPECT_NE(parse("efs_raw").error.find("needs 'ro'"), std::string::npos);
  EXPECT_TRUE(parse("discard").options.discard);
  EXPECT_FALSE(parse("discard,nodiscard").options.discard);
  EXPECT_TRUE(parse("discard").options.notes.empty());
  EXPECT_FALSE(parse("discard").options.remove_hiberfile);
  EXPECT_TRUE(parse("remove_hiberfile").options.remove_hiberfile);
}

TEST(MountOptions, AUserMappingMayBeNamed) {
  EXPECT_EQ(parse("ro").options.user_mapping, "");
  EXPECT_FALSE(parse("ro").options.inherit);
  const auto parsed = parse("usermapping=/etc/mapping,inherit");
  EXPECT_EQ(parsed.error, "");
  EXPECT_EQ(parsed.options.user_mapping, "/etc/mapping");
  EXPECT_TRUE(parsed.options.inherit);
  EXPECT_TRUE(parsed.options.notes.empty());
  EXPECT_NE(parse("usermapping=").error, "");
  EXPECT_NE(parse("usermapping").error, "");
}

TEST(MountOptions, AccessControlListsAreOffUnlessGiven) {
  EXPECT_FALSE(parse("ro").options.posix_acls);
  EXPECT_TRUE(parse("acl").options.posix_acls);
  EXPECT_TRUE(parse("acl").options.notes.empty());
  EXPECT_FALSE(parse("acl,noacl").options.posix_acls);
}

TEST(MountOptions, NorecoverNeedsReadOnly) {
  EXPECT_NE(parse("norecover").error, "");
  EXPECT_EQ(parse("norecover,ro").error, "");
}

TEST(MountOptions, SloppyMakesUnknownOptionsNotes) {
  const auto parsed = parse_mount_options("frobnicate=1,ro", {}, UnknownOptions::Note);
  EXPECT_EQ(parsed.error, "");
  EXPECT_TRUE(parsed.options.read_only);
  EXPECT_EQ(parsed.options.notes.size(), 1u);
}

}  // namespace
}  // namespace ntfs::frontend
