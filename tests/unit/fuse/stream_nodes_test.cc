#include "fuse/stream_nodes.h"

#include <gtest/gtest.h>

#include "fuse/inode_table.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs::frontend {
namespace {

class StreamNodesTest : public ::testing::Test {
 protected:
  Node stream(std::u16string_view name) { return {file_, file_->named_stream(name)}; }

  testing::ScratchVolume volume_{{}};
  const FilePtr file_ = volume_.volume().file(FileReference(64, 1));
  StreamNodes nodes_;
};

TEST_F(StreamNodesTest, GivesAStreamOneIdAboveThoseOfFiles) {
  const uint64_t one = nodes_.remember(stream(u"one"));
  const uint64_t other = nodes_.remember(stream(u"other"));
  EXPECT_TRUE(StreamNodes::contains(one));
  EXPECT_FALSE(StreamNodes::contains(node_of(FileReference(0, 0xFFFF))));
  EXPECT_NE(one, other);
  EXPECT_EQ(nodes_.remember(stream(u"one")), one);
  EXPECT_EQ(nodes_.find(one).stream, stream(u"one").stream);
  EXPECT_EQ(nodes_.find(one).file, file_);
}

TEST_F(StreamNodesTest, ForgetsAfterAsManyLookupsAsItCounted) {
  const uint64_t id = nodes_.remember(stream(u"one"));
  nodes_.remember(stream(u"one"));
  nodes_.forget(id, 1);
  EXPECT_NE(nodes_.find(id).file, nullptr);
  nodes_.forget(id, 1);
  EXPECT_EQ(nodes_.find(id).file, nullptr);
  EXPECT_EQ(nodes_.size(), 0u);
  nodes_.forget(id, 1);
  EXPECT_NE(nodes_.remember(stream(u"one")), id) << "an id is not used again";
}

TEST_F(StreamNodesTest, TakesAStreamOfTheSameNameForAnother) {
  const Node removed = stream(u"one");
  const uint64_t id = nodes_.remember(removed);
  file_->forget_stream(*removed.stream);
  const uint64_t later = nodes_.remember(stream(u"one"));
  EXPECT_NE(later, id);
  EXPECT_EQ(nodes_.find(id).stream, removed.stream);
}

}  // namespace
}  // namespace ntfs::frontend
