#include "lfs/restart_area.h"

#include <gtest/gtest.h>

#include "tests/unit/lfs/memory_log_store.h"

namespace ntfs::lfs {
namespace {

using testing::MemoryLogStore;

RestartPage open_page() {
  RestartPage page;
  page.major_version = 1;
  page.minor_version = 1;
  page.has_client = true;
  page.update_sequence_number = 6;
  page.current_lsn = page.oldest_lsn = page.client_restart_lsn = Lsn::from_raw(0x100808);
  page.file_size = 0x200000;
  page.sequence_number_bits = 45;
  page.last_lsn_data_length = 0x70;
  page.open_log_count = 0x1234;
  return page;
}

ByteVector serialized(const RestartPage& page) {
  ByteVector bytes(kPageSize);
  page.serialize(bytes);
  return bytes;
}

/// A log with these two pages.
ByteVector log_with(const RestartPage& a, const RestartPage& b) {
  ByteVector bytes(0x200000, std::byte{0xFF});
  a.serialize(MutableBytes(bytes).subspan(0, kPageSize));
  b.serialize(MutableBytes(bytes).subspan(kPageSize, kPageSize));
  return bytes;
}

LogState state_of(MemoryLogStore& store) { return RestartPages::read(store).value().state; }

// The worked example of the format's description, taken into use by ntfs3 and ntfsrecover.
TEST(RestartPage, HasTheDocumentedBytes) {
  const ByteVector page = serialized(open_page());
  const std::vector<unsigned> expected = {
      0x52, 0x53, 0x54, 0x52, 0x1e, 0x00, 0x09, 0x00, 0,    0,    0,    0,    0,    0, 0, 0,
      0x00, 0x10, 0,    0,    0x00, 0x10, 0,    0,    0x30, 0,    1,    0,    1,    0, 7, 0,
      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0,
      0x08, 0x08, 0x10, 0,    0,    0,    0,    0,    1,    0,    0xff, 0xff, 0,    0, 0, 0,
      0x2d, 0,    0,    0,    0xe0, 0,    0x40, 0,    0,    0,    0x20, 0,    0,    0, 0, 0,
      0x70, 0,    0,    0,    0x30, 0,    0x40, 0,    0x34, 0x12, 0,    0,    0,    0, 0, 0,
      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0,
      0x08, 0x08, 0x10, 0,    0,    0,    0,    0,    0x08, 0x08, 0x10, 0,    0,    0, 0, 0,
      0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,    0,    0,    0,    0,    0x08, 0, 0, 0,
      0x4e, 0,    0x54, 0,    0x46, 0,    0x53, 0,    0,    0,    0,    0,    0,    0, 0, 0};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(static_cast<unsigned>(page[i]), expected[i]) << "at " << i;
  }
  EXPECT_EQ(static_cast<unsigned>(page[0x1fe]), 7u);
  EXPECT_EQ(static_cast<unsigned>(page[0xffe]), 7u);
}

TEST(RestartPage, ReadsWhatItWrote) {
  const auto page =
      RestartPage::parse(serialized(open_page()), 0x200000, {"restart page", 0, 0}).value();
  EXPECT_TRUE(page.has_client);
  EXPECT_TRUE(page.is_supported_version());
  EXPECT_EQ(page.oldest_lsn.raw(), 0x100808u);
  EXPECT_EQ(page.file_size, 0x200000u);
  EXPECT_EQ(page.open_log_count, 0x1234u);
  EXPECT_EQ(page.update_sequence_number, 7u);
}

TEST(RestartPage, RefusesWhatTheOtherReadersRefuse) {
  struct Row {
    size_t offset;
    uint16_t value;
  };
  const Row rows[] = {{0x00, 0},     {0x10, 512},  {0x14, 512},  {0x18, 0x34}, {0x18, 0x28},
                      {0x18, 0x1F0}, {0x1c, 0},    {0x1a, 0},    {0x38, 2},    {0x3c, 1},
                      {0x3a, 7},     {0x40, 44},   {0x44, 0x80}, {0x46, 0x41}, {0x46, 0x1E0},
                      {0x4a, 0x21},  {0x54, 0x38}, {0x56, 0x48}, {0x8c, 6},    {0x90, 'M'}};
  for (const Row& row : rows) {
    ByteVector bytes = serialized(open_page());
    struct_at<le16>(MutableBytes(bytes), row.offset).set(row.value);
    EXPECT_FALSE(RestartPage::parse(bytes, 0x200000, {"restart page", 0, 0}).has_value())
        << "offset " << row.offset << " value " << row.value;
  }
  const ByteVector bytes = serialized(open_page());
  EXPECT_FALSE(RestartPage::parse(bytes, 0x1FF000, {"restart page", 0, 0}).has_value());
  EXPECT_FALSE(
      RestartPage::parse(ByteView(bytes).first(512), 0x200000, {"restart page", 0, 0}).has_value());
}

TEST(RestartPage, TakesATornPageWhoseFirstSectorIsWhole) {
  ByteVector bytes = serialized(open_page());
  bytes[0xffe] = std::byte{0};
  EXPECT_TRUE(RestartPage::parse(bytes, 0x200000, {"restart page", 0, 0}).has_value());
  bytes[0x1fe] = std::byte{0};
  EXPECT_FALSE(RestartPage::parse(bytes, 0x200000, {"restart page", 0, 0}).has_value());
}

TEST(RestartPages, ClassifyTheLog) {
  const RestartPage open = open_page();
  RestartPage clean = open;
  clean.flags = kRestartCleanDismount;
  RestartPage closed = open;
  closed.has_client = false;

  MemoryLogStore store(log_with(open, open));
  EXPECT_EQ(state_of(store), LogState::Unclean);
  store.bytes() = log_with(clean, clean);
  EXPECT_EQ(state_of(store), LogState::Clean);
  store.bytes() = log_with(closed, closed);
  EXPECT_EQ(state_of(store), LogState::Clean);

  // chkdsk has reset the log.
  store.bytes() = log_with(open, open);
  for (const size_t page : {size_t{0}, size_t{0x1000}}) {
    std::memcpy(store.bytes().data() + page, "CHKD", 4);
    struct_at<le64>(MutableBytes(store.bytes()), page + 8).set(0x900000);
  }
  EXPECT_EQ(state_of(store), LogState::Clean);
  EXPECT_EQ(RestartPages::read(store).value().current().current_lsn.raw(), 0x900000u);

  MemoryLogStore empty(0x200000);
  EXPECT_EQ(state_of(empty), LogState::Empty);
  MemoryLogStore zeros(ByteVector(0x200000));
  EXPECT_EQ(state_of(zeros), LogState::Corrupt);
  MemoryLogStore small(ByteVector(0x2000));
  EXPECT_EQ(state_of(small), LogState::Corrupt);
}

TEST(RestartPages, AnOpenLogOfVersionTwoIsUnclean) {
  MemoryLogStore store(log_with(open_page(), open_page()));
  for (const size_t page : {size_t{0}, size_t{0x1000}}) {
    struct_at<le16>(MutableBytes(store.bytes()), page + 0x1a).set(0);
    struct_at<le16>(MutableBytes(store.bytes()), page + 0x1c).set(2);
  }
  EXPECT_EQ(state_of(store), LogState::Unclean);
  EXPECT_EQ(RestartPages::read(store).value().current().geometry().value().first_record_offset(),
            kFirstRecordOffset2);
}

TEST(RestartPages, TheLargerLsnCountsAndPageAOnATie) {
  RestartPage newer = open_page();
  newer.current_lsn = Lsn::from_raw(0x100900);
  newer.open_log_count = 2;
  MemoryLogStore store(log_with(open_page(), newer));
  EXPECT_EQ(RestartPages::read(store).value().newest, 1u);
  store.bytes() = log_with(newer, open_page());
  EXPECT_EQ(RestartPages::read(store).value().newest, 0u);
  store.bytes() = log_with(open_page(), open_page());
  EXPECT_EQ(RestartPages::read(store).value().newest, 0u);
  // With one page damaged the other one counts.
  store.bytes() = log_with(newer, open_page());
  store.bytes()[0x40] = std::byte{0};
  EXPECT_EQ(RestartPages::read(store).value().newest, 1u);
}

}  // namespace
}  // namespace ntfs::lfs
