#include "fuse/stream_names.h"

#include <gtest/gtest.h>

namespace ntfs::frontend {
namespace {

NtStatus refusal(std::string_view path) { return stream_path_from_kernel(path).error(); }

TEST(StreamNames, ColonsCountWherePathsNameStreamsOnly) {
  EXPECT_TRUE(is_stream_path("a:b", StreamsInterface::Windows));
  EXPECT_FALSE(is_stream_path("ab", StreamsInterface::Windows));
  EXPECT_FALSE(is_stream_path("a:b", StreamsInterface::Xattr));
  EXPECT_FALSE(is_stream_path("a:b", StreamsInterface::None));
  EXPECT_EQ(*file_name_from_kernel("a:b", StreamsInterface::Xattr), u"a:b");
  EXPECT_EQ(file_name_from_kernel("a:b", StreamsInterface::Windows).error(),
            NtStatus::ObjectNameInvalid);
  EXPECT_EQ(*file_name_from_kernel("ab", StreamsInterface::Windows), u"ab");
}

TEST(StreamNames, PathsAreTakenApart) {
  struct Row {
    std::string_view path;
    std::u16string_view file;
    std::u16string_view stream;
  };
  for (const Row& row :
       {Row{"a:b", u"a", u"b"}, Row{"a:b:$DATA", u"a", u"b"}, Row{"a:b:$data", u"a", u"b"},
        Row{"a::$DATA", u"a", u""}, Row{"a:$DATA", u"a", u"$DATA"}, Row{"a:b:c", u"a", u"b:c"},
        Row{"a:b:c:$Data", u"a", u"b:c"}, Row{"ä:ö", u"ä", u"ö"}}) {
    const auto path = stream_path_from_kernel(row.path);
    ASSERT_TRUE(path) << row.path;
    EXPECT_EQ(path->file, row.file) << row.path;
    EXPECT_EQ(path->stream, row.stream) << row.path;
  }
}

TEST(StreamNames, EachPartHasItsOwnLimit) {
  const std::string longest(255, 'x');
  const auto path = stream_path_from_kernel(longest + ":" + longest + ":$DATA");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->file.size(), 255u);
  EXPECT_EQ(path->stream.size(), 255u);
  EXPECT_EQ(refusal("x" + longest + ":s"), NtStatus::NameTooLong);
  EXPECT_EQ(refusal("x:s" + longest), NtStatus::NameTooLong);
  for (const char* path_without_a_part : {":", "a:", ":b", "::$DATA"}) {
    EXPECT_EQ(refusal(path_without_a_part), NtStatus::ObjectNameInvalid) << path_without_a_part;
  }
}

}  // namespace
}  // namespace ntfs::frontend
