#include "fuse/nearest_name.h"

#include <gtest/gtest.h>

#include <array>

namespace ntfs::frontend {
namespace {

TEST(NearestName, CountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", "abc"), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("umaks", "umask"), 1u) << "a swap is one";
}

TEST(NearestName, FindsTheMisspeltAndNothingForTheForeign) {
  constexpr std::array<std::string_view, 3> kWords = {"umask", "windows_names", "ro"};
  EXPECT_EQ(nearest_name("umaks", kWords), "umask");
  EXPECT_EQ(nearest_name("windowsnames", kWords), "windows_names");
  EXPECT_EQ(nearest_name("xylophone", kWords), "");
}

}  // namespace
}  // namespace ntfs::frontend
