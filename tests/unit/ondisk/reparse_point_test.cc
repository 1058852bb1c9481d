#include "core/ondisk/reparse_point.h"

#include <gtest/gtest.h>

#include "core/ondisk/utf16.h"
#include "tests/unit/ondisk/quiet_reports.h"

namespace ntfs::ondisk {
namespace {

const Origin kOrigin{"reparse point"};

/// Data of a symbolic link or mount point: print name first, as some programs write it.
ByteVector link_data(std::u16string_view substitute, std::u16string_view print,
                     std::optional<uint32_t> flags) {
  ByteVector data;
  const auto put16 = [&data](size_t value) {
    const le16 word = le16::of(static_cast<uint16_t>(value));
    const ByteView bytes = bytes_of(word);
    data.insert(data.end(), bytes.begin(), bytes.end());
  };
  put16(2 * print.size());
  put16(2 * substitute.size());
  put16(0);
  put16(2 * print.size());
  if (flags) {
    put16(*flags);
    put16(0);
  }
  for (const auto name : {print, substitute}) {
    const ByteVector bytes = utf16_bytes(name);
    data.insert(data.end(), bytes.begin(), bytes.end());
  }
  return data;
}

TEST(ReparsePoint, LxSymlinkKeepsItsTarget) {
  const std::string target = "../\xC3\xA4/\xFF not UTF-8";
  const auto value = build_lx_symlink(target);
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->size(), sizeof(ReparseHeader) + 4 + target.size());
  const auto point = ReparsePointView::parse(*value, kOrigin);
  ASSERT_TRUE(point.has_value());
  EXPECT_EQ(point->tag(), ReparseTag::LxSymlink);
  EXPECT_TRUE(point->is_microsoft());
  EXPECT_TRUE(point->is_name_surrogate());
  const auto back = lx_symlink_target(*point);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(*back, target);
}

TEST(ReparsePoint, LxSymlinkTargetsThatCannotBeAreRefused) {
  EXPECT_EQ(build_lx_symlink("").error(), NtStatus::ObjectNameInvalid);
  EXPECT_EQ(build_lx_symlink(std::string_view("a\0b", 3)).error(), NtStatus::ObjectNameInvalid);
  EXPECT_TRUE(build_lx_symlink(std::string(4095, 'x')).has_value());
  EXPECT_TRUE(build_lx_symlink(std::string(kMaxLxSymlinkTargetBytes, 'x')).has_value());
  EXPECT_EQ(build_lx_symlink(std::string(kMaxLxSymlinkTargetBytes + 1, 'x')).error(),
            NtStatus::NameTooLong);
}

TEST(ReparsePoint, LxSymlinkOfAnotherVersionIsRefused) {
  ByteVector value = *build_lx_symlink("x");
  value[sizeof(ReparseHeader)] = std::byte{3};
  const auto point = ReparsePointView::parse(value, kOrigin);
  ASSERT_TRUE(point.has_value());
  EXPECT_EQ(lx_symlink_target(*point).error(), NtStatus::IoReparseDataInvalid);
}

TEST(ReparsePoint, WindowsLinksGiveTheirNames) {
  const ByteVector symlink =
      build_reparse_point(ReparseTag::Symlink, link_data(u"dir\\file", u"shown", 1));
  const auto link = windows_link(*ReparsePointView::parse(symlink, kOrigin));
  ASSERT_TRUE(link.has_value());
  EXPECT_EQ(*link, (WindowsLink{u"dir\\file", u"shown", true}));

  const ByteVector junction =
      build_reparse_point(ReparseTag::MountPoint, link_data(u"\\??\\C:\\x", u"", std::nullopt));
  const auto mount = windows_link(*ReparsePointView::parse(junction, kOrigin));
  ASSERT_TRUE(mount.has_value());
  EXPECT_EQ(*mount, (WindowsLink{u"\\??\\C:\\x", u"", false}));
}

TEST(ReparsePoint, WindowsLinksWithNamesOutOfBoundsAreRefused) {
  ByteVector data = link_data(u"abc", u"def", 0);
  for (size_t length = 0; length < data.size(); ++length) {
    const ByteVector value = build_reparse_point(ReparseTag::Symlink, ByteView(data).first(length));
    const auto point = ReparsePointView::parse(value, kOrigin);
    ASSERT_TRUE(point.has_value());
    EXPECT_EQ(windows_link(*point).error(), NtStatus::IoReparseDataInvalid) << length;
  }
}

TEST(ReparsePoint, TruncatedValuesAreRefused) {
  const test::QuietReports quiet;
  const ByteVector value = *build_lx_symlink("target");
  for (size_t length = 0; length < value.size(); ++length) {
    EXPECT_FALSE(ReparsePointView::parse(ByteView(value).first(length), kOrigin).has_value());
  }
}

TEST(ReparsePoint, ForeignTagsHaveAGuid) {
  const test::QuietReports quiet;
  ByteVector value(sizeof(ReparseHeader) + kReparseGuidBytes + 2);
  struct_at<ReparseHeader>(MutableBytes(value)).tag.set(0x00000100);
  struct_at<ReparseHeader>(MutableBytes(value)).data_length.set(2);
  const auto point = ReparsePointView::parse(value, kOrigin);
  ASSERT_TRUE(point.has_value());
  EXPECT_FALSE(point->is_microsoft());
  EXPECT_EQ(point->data().size(), 2u);
  struct_at<ReparseHeader>(MutableBytes(value)).data_length.set(3);
  EXPECT_FALSE(ReparsePointView::parse(value, kOrigin).has_value());
}

}  // namespace
}  // namespace ntfs::ondisk
