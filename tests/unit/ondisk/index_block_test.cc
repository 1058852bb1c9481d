#include "core/ondisk/index_block.h"

#include <gtest/gtest.h>

#include <functional>

#include "core/ondisk/attribute_values.h"
#include "tests/unit/ondisk/samples.h"

namespace ntfs::ondisk {
namespace {

constexpr Origin kOrigin{"index", 0, 0};

TEST(IndexBlock, FormatsAnEmptyNode) {
  for (size_t size = 512; size <= 65536; size *= 2) {
    ByteVector block(size, std::byte{0x55});
    format_index_block(block, Vcn(7), std::nullopt);
    const auto view = parse_index_block(block, Vcn(7), IndexKind::FileNames, kOrigin);
    ASSERT_TRUE(view) << size;
    EXPECT_TRUE(view->node().is_empty());
    EXPECT_FALSE(view->node().has_subnodes());
    EXPECT_EQ(view->node().allocated_bytes(), size - 0x18);
    protect(block);
    EXPECT_TRUE(unprotect(block, kOrigin));
    format_index_block(block, Vcn(8), Vcn(3));
    const auto above = parse_index_block(block, Vcn(8), IndexKind::View, kOrigin);
    ASSERT_TRUE(above);
    EXPECT_EQ(above->node().end_entry().subnode_vcn(), Vcn(3));
  }
  EXPECT_EQ(index_block_entries_offset(4096), 0x28u);
}

TEST(IndexBlock, WalksFileNames) {
  const ByteVector block = test::sample_name_block();
  const auto view = parse_index_block(block, Vcn(2), IndexKind::FileNames, kOrigin);
  ASSERT_TRUE(view);
  const IndexNodeView node = view->node();
  uint64_t count = 0;
  for (const IndexEntryView entry : node) {
    EXPECT_EQ(node.entry_at(entry.offset())->length(), entry.length());
    EXPECT_FALSE(node.entry_at(entry.offset() + 8));
    if (entry.is_end()) continue;
    EXPECT_EQ(entry.reference(), FileReference(100 + count, 1));
    EXPECT_EQ(FileNameView::of_valid(entry.key()).name().size(), 1 + count);
    ++count;
  }
  EXPECT_EQ(count, 20u);
  EXPECT_EQ(node.end_entry().offset() + node.end_entry().length(), node.used_bytes());
  EXPECT_TRUE(node.end_entry().key().empty());
  const std::string text = describe(*view, IndexKind::FileNames);
  EXPECT_NE(text.find("file 119-1 \"tttt"), std::string::npos);
  EXPECT_NE(text.find("END"), std::string::npos);
}

TEST(IndexBlock, WalksViews) {
  const ByteVector block = test::sample_view_block();
  const auto view = parse_index_block(block, Vcn(3), IndexKind::View, kOrigin);
  ASSERT_TRUE(view);
  const IndexEntryView first = *view->node().begin();
  EXPECT_EQ(struct_at<le32>(first.key()).get(), 0x100u);
  EXPECT_EQ(first.data_offset(), 0x14);
  EXPECT_EQ(first.data().data(), first.bytes().data() + 0x14);
  EXPECT_EQ(first.data().size(), 20u);
  EXPECT_EQ(first.length(), 0x28);
  EXPECT_NE(describe(*view, IndexKind::View).find("key 00 01 00 00, 20 bytes"), std::string::npos);
}

TEST(IndexBlock, AddsAndRemovesSubnodes) {
  const ByteVector leaf = build_entry(FileReference(9, 1), test::sample_file_name(), std::nullopt);
  const IndexEntryView entry = IndexEntryView::of_valid(leaf, 0);
  EXPECT_FALSE(entry.has_subnode());
  const ByteVector above = with_subnode(entry, Vcn(77));
  const IndexEntryView raised = IndexEntryView::of_valid(above, 0);
  EXPECT_EQ(raised.subnode_vcn(), Vcn(77));
  EXPECT_EQ(raised.length(), leaf.size() + 8);
  EXPECT_EQ(with_subnode(raised, std::nullopt), leaf);
  EXPECT_EQ(with_subnode(raised, Vcn(77)), above);
  const ByteVector end = build_end_entry(Vcn(5));
  EXPECT_EQ(with_subnode(IndexEntryView::of_valid(end, 0), std::nullopt),
            build_end_entry(std::nullopt));
}

TEST(IndexBlock, ChecksAnEntryAlone) {
  ByteVector entry = build_entry(FileReference(9, 1), test::sample_file_name(), Vcn(4));
  const size_t length = entry.size();
  entry.resize(length + 16);
  const auto view = IndexEntryView::parse(entry, IndexKind::FileNames, kOrigin);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->bytes().size(), length);
  EXPECT_FALSE(IndexEntryView::parse(ByteView(entry).first(15), IndexKind::FileNames, kOrigin));
  EXPECT_FALSE(
      IndexEntryView::parse(ByteView(entry).first(length - 8), IndexKind::FileNames, kOrigin));
}

TEST(IndexRoot, RoundTrips) {
  const ByteVector value = test::sample_index_root();
  const auto root = IndexRootView::parse(value, kOrigin);
  ASSERT_TRUE(root);
  EXPECT_EQ(root->kind(), IndexKind::FileNames);
  EXPECT_EQ(root->collation(), Collation::FileName);
  EXPECT_EQ(root->index_block_size(), 4096u);
  EXPECT_TRUE(root->node().has_subnodes());
  EXPECT_EQ((*root->node().begin()).subnode_vcn(), Vcn('a'));
  EXPECT_EQ(root->node().end_entry().subnode_vcn(), Vcn(9));
  EXPECT_EQ(root->node().free_bytes(), 0u);

  const ByteVector view =
      build_index_root({IndexKind::View, Collation::NtofsSecurityHash, 4096, 8}, std::nullopt);
  EXPECT_EQ(view.size(), 0x30u);
  const auto view_root = IndexRootView::parse(view, kOrigin);
  ASSERT_TRUE(view_root);
  EXPECT_EQ(view_root->kind(), IndexKind::View);
  EXPECT_TRUE(view_root->node().is_empty());
}

TEST(IndexRoot, RefusesBrokenHeaders) {
  const std::vector<std::pair<const char*, std::function<void(IndexRootHeader&)>>> defects = {
      {"type", [](auto& header) { header.indexed_type.set(0x40); }},
      {"names without their collation", [](auto& header) { header.collation.set(0x10); }},
      {"view with the names' collation", [](auto& header) { header.indexed_type.set(0); }},
      {"block 0", [](auto& header) { header.index_block_size.set(0); }},
      {"block 3000", [](auto& header) { header.index_block_size.set(3000); }},
      {"block 256", [](auto& header) { header.index_block_size.set(256); }},
      {"block 128 KiB", [](auto& header) { header.index_block_size.set(128u << 10); }},
  };
  for (const auto& [name, break_it] : defects) {
    ByteVector value = test::sample_index_root();
    break_it(struct_at<IndexRootHeader>(MutableBytes(value)));
    EXPECT_EQ(IndexRootView::parse(value, kOrigin).error(), NtStatus::FileCorruptError) << name;
  }
  EXPECT_FALSE(IndexRootView::parse(ByteVector(15), kOrigin));
  EXPECT_FALSE(IndexRootView::parse(ByteView(test::sample_index_root()).first(0x1F), kOrigin));
}

TEST(IndexBlock, RefusesBrokenHeaders) {
  const std::vector<std::pair<const char*, std::function<void(IndexBlockHeader&)>>> defects = {
      {"signature", [](auto& h) { h.multi_sector.signature[3] = 'Y'; }},
      {"array count", [](auto& h) { h.multi_sector.update_sequence_array_count.set(8); }},
      {"array in the header", [](auto& h) { h.multi_sector.update_sequence_array_offset.set(8); }},
      {"odd array", [](auto& h) { h.multi_sector.update_sequence_array_offset.set(0x29); }},
      {"late array", [](auto& h) { h.multi_sector.update_sequence_array_offset.set(0x1F0); }},
      {"array in the entries",
       [](auto& h) { h.multi_sector.update_sequence_array_offset.set(0x30); }},
      {"vcn", [](auto& h) { h.vcn.set(3); }},
      {"allocated", [](auto& h) { h.index.allocated_bytes.set(4096); }},
      {"odd allocated", [](auto& h) { h.index.allocated_bytes.set(4001); }},
      {"used > allocated", [](auto& h) { h.index.used_bytes.set(4080); }},
      {"odd used", [](auto& h) { h.index.used_bytes.set(h.index.used_bytes.get() + 1); }},
      {"used without END", [](auto& h) { h.index.used_bytes.set(h.index.used_bytes.get() - 16); }},
      {"used 0", [](auto& h) { h.index.used_bytes.set(0); }},
      {"entries in the header", [](auto& h) { h.index.entries_offset.set(8); }},
      {"odd entries", [](auto& h) { h.index.entries_offset.set(0x2C); }},
      {"entries outside", [](auto& h) { h.index.entries_offset.set(0xFFFFFFF8); }},
      {"subnodes", [](auto& h) { h.index.flags = IndexHeaderFlags::HasSubnodes; }},
  };
  for (const auto& [name, break_it] : defects) {
    ByteVector block = test::sample_name_block();
    break_it(struct_at<IndexBlockHeader>(MutableBytes(block)));
    const auto view = parse_index_block(block, Vcn(2), IndexKind::FileNames, kOrigin);
    EXPECT_EQ(view.error(), NtStatus::FileCorruptError) << name;
  }
  EXPECT_FALSE(parse_index_block(ByteVector(4095), Vcn(0), IndexKind::View, kOrigin));
  EXPECT_FALSE(parse_index_block({}, Vcn(0), IndexKind::View, kOrigin));
}

/// Breaks the second entry of a block and expects the refusal.
void expect_entry_refused(ByteVector block, Vcn vcn, IndexKind kind, const char* name,
                          const std::function<void(MutableBytes)>& break_it) {
  ASSERT_TRUE(parse_index_block(block, vcn, kind, kOrigin));
  IndexEntryIterator entry = IndexBlockView::of_valid(block).node().begin();
  ++entry;
  const size_t offset = kIndexHeaderInBlock + (*entry).offset();
  break_it(MutableBytes(block).subspan(offset));
  EXPECT_EQ(parse_index_block(block, vcn, kind, kOrigin).error(), NtStatus::FileCorruptError)
      << name;
}

TEST(IndexBlock, RefusesBrokenEntries) {
  const std::vector<std::pair<const char*, std::function<void(MutableBytes)>>> defects = {
      {"length 0", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).entry_length.set(0); }},
      {"length 8", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).entry_length.set(8); }},
      {"odd", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).entry_length.set(0x5C); }},
      {"long", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).entry_length.set(0xFFF8); }},
      {"key", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).key_length.set(0xFFFF); }},
      {"subnode", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).flags.set(1); }},
      {"short name", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).key_length.set(0x43); }},
      {"no name", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).key_length.set(0); }},
      {"name type", [](MutableBytes e) { e[0x10 + 0x41] = std::byte{9}; }},
  };
  for (const auto& [name, break_it] : defects) {
    expect_entry_refused(test::sample_name_block(), Vcn(2), IndexKind::FileNames, name, break_it);
  }
  const std::vector<std::pair<const char*, std::function<void(MutableBytes)>>> view_defects = {
      {"data outside", [](MutableBytes e) { struct_at<le16>(e).set(0x20); }},
      {"data in the key", [](MutableBytes e) { struct_at<le16>(e).set(0x10); }},
      {"long data", [](MutableBytes e) { struct_at<le16>(e, 2).set(0xFFFF); }},
      {"long key", [](MutableBytes e) { struct_at<IndexEntryHeader>(e).key_length.set(0x19); }},
  };
  for (const auto& [name, break_it] : view_defects) {
    expect_entry_refused(test::sample_view_block(), Vcn(3), IndexKind::View, name, break_it);
  }
}

TEST(IndexBlock, RefusesASubnodeThatCannotBe) {
  const ByteVector entry =
      build_entry(FileReference(9, 1), test::sample_file_name(), Vcn(uint64_t{1} << 60));
  EXPECT_FALSE(IndexEntryView::parse(entry, IndexKind::FileNames, kOrigin));
}

}  // namespace
}  // namespace ntfs::ondisk
