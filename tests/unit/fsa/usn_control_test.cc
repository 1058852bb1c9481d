// The controls of the change journal: what they answer, and when they refuse.

#include "core/fsa/usn_control.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/fsa/usn_life_cycle.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/usn_store.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "usn/reason.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using usn::Reason;
using usn::Usn;
using OnlyOnClose = UsnReadParameters::OnlyOnClose;

class UsnControlTest : public ::testing::Test {
 protected:
  void SetUp() override { make({.usn_size = uint64_t{1} << 20}); }

  struct Shape {
    std::optional<uint64_t> usn_size;
  };
  void make(const Shape& shape) {
    device_ = std::make_unique<MemoryDevice>(uint64_t{32} << 20);
    FormatOptions format;
    format.content = DeviceContent::Zeroed;
    format.usn_size = shape.usn_size;
    ASSERT_TRUE(format_volume(*device_, format));
    mount(VolumeOptions::Access::ReadWrite);
  }
  void mount(VolumeOptions::Access access) {
    controls_.reset();
    store_.reset();
    ObjectStoreOptions options;
    options.volume.access = access;
    options.volume.commit_interval = std::chrono::hours(1);
    std::string why_not;
    auto store = ObjectStore::mount(*device_, options, why_not);
    ASSERT_TRUE(store) << name_of(store.error()) << " " << why_not;
    store_ = std::move(*store);
    controls_.emplace(*store_);
  }
  void remount(VolumeOptions::Access access) {
    ASSERT_TRUE(store_->dismount());
    mount(access);
  }

  FilePtr create(std::u16string_view name, FileKind kind = FileKind::File) {
    CreateParameters parameters;
    parameters.kind = kind;
    auto file = store_->create(*store_->root(), name, parameters);
    EXPECT_TRUE(file);
    return file ? *file : nullptr;
  }
  void remove(std::u16string_view name) {
    ASSERT_TRUE(store_->remove(*store_->root(), name, ObjectStore::RemoveKind::File));
  }
  UsnJournalData query() {
    auto data = controls_->query();
    EXPECT_TRUE(data) << name_of(data.error());
    return data ? *data : UsnJournalData();
  }
  UsnReadParameters from(Usn start) {
    UsnReadParameters parameters;
    parameters.journal_id = query().id;
    parameters.start = start;
    parameters.versions = {2, 2};
    return parameters;
  }
  UsnReadAnswer read(const UsnReadParameters& parameters) {
    auto answer = controls_->read(parameters);
    EXPECT_TRUE(answer) << name_of(answer.error());
    return answer ? std::move(*answer) : UsnReadAnswer();
  }
  NtStatus refusal(const UsnReadParameters& parameters) {
    return controls_->read(parameters).error();
  }
  /// Enough records for the head to be trimmed.
  void overflow() {
    const std::u16string name(200, u'n');
    while (query().first == Usn()) {
      for (int i = 0; i < 500; ++i) {
        create(name);
        remove(name);
      }
    }
  }

  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<ObjectStore> store_;
  std::optional<UsnControls> controls_;
};

TEST_F(UsnControlTest, QueryTellsTheJournalsLimits) {
  const UsnJournalData empty = query();
  EXPECT_NE(empty.id, 0u);
  EXPECT_EQ(empty.first, empty.next);
  EXPECT_EQ(empty.maximum_size, uint64_t{1} << 20);
  EXPECT_GT(empty.allocation_delta, 0u);
  EXPECT_EQ(empty.max_usn, 0x00000FFFFFFF0000u);
  create(u"a");
  EXPECT_GT(query().next, empty.next);
}

TEST_F(UsnControlTest, EverythingBeforeAQueryIsRecorded) {
  const FilePtr file = create(u"a");
  const Usn before = query().next;
  const ByteVector bytes(100, std::byte{1});
  ASSERT_TRUE(store_->write(*file, 0, bytes, Buffering::Buffered));
  const Usn after = query().next;
  EXPECT_GT(after, before);
  const auto answer = read(from(before));
  ASSERT_FALSE(answer.records.empty());
  EXPECT_NE(answer.records.back().reason & Reason::DataExtend, 0u);
  EXPECT_EQ(answer.next, after);
}

TEST_F(UsnControlTest, WithoutAJournalNothingIsActive) {
  make({.usn_size = std::nullopt});
  EXPECT_EQ(controls_->query().error(), NtStatus::JournalNotActive);
  EXPECT_EQ(controls_->read(UsnReadParameters{}).error(), NtStatus::JournalNotActive);
  EXPECT_EQ(controls_->enumerate({}).error(), NtStatus::JournalNotActive);
  const FilePtr file = create(u"a");
  EXPECT_EQ(controls_->write_close_record(*file).error(), NtStatus::JournalNotActive);
  const auto data = controls_->read_file_data(*file, {2, 2});
  ASSERT_TRUE(data);
  EXPECT_EQ(data->usn, Usn());
}

TEST_F(UsnControlTest, ReadsFromAnyRecordOn) {
  for (const auto* name : {u"a", u"b", u"c", u"d"}) create(name);
  const auto all = read(from(Usn()));
  ASSERT_GE(all.records.size(), 8u);
  for (size_t i = 0; i < all.records.size(); ++i) {
    const auto rest = read(from(all.records[i].usn));
    if (i == 0) continue;  // 0: the oldest
    ASSERT_EQ(rest.records.size(), all.records.size() - i);
    ASSERT_EQ(rest.records.front(), all.records[i]);
  }
  const auto end = read(from(all.next));
  EXPECT_TRUE(end.records.empty());
  EXPECT_EQ(end.next, all.next);
}

TEST_F(UsnControlTest, SmallAnswersFollowEachOther) {
  for (char16_t c = u'a'; c <= u'z'; ++c) create(std::u16string(40, c));
  const auto all = read(from(Usn()));
  UsnReadParameters parameters = from(Usn());
  parameters.most_bytes = 500;
  std::vector<usn::Record> records;
  while (true) {
    auto part = read(parameters);
    if (part.next == parameters.start) break;
    EXPECT_LE(part.records.size(), 3u);
    records.insert(records.end(), part.records.begin(), part.records.end());
    parameters.start = part.next;
  }
  EXPECT_EQ(records, all.records);
  parameters.start = Usn();
  parameters.most_bytes = 100;
  EXPECT_EQ(refusal(parameters), NtStatus::BufferTooSmall);
}

TEST_F(UsnControlTest, GivesRecordsOfTheReasonsAskedFor) {
  create(u"a");
  create(u"b");
  remove(u"a");
  UsnReadParameters parameters = from(Usn());
  parameters.reason_mask = Reason::FileDelete;
  const auto removed = read(parameters);
  ASSERT_EQ(removed.records.size(), 1u);
  EXPECT_EQ(removed.records[0].name, u"a");
  // It can go on without any record.
  parameters.reason_mask = Reason::EncryptionChange;
  const auto none = read(parameters);
  EXPECT_TRUE(none.records.empty());
  EXPECT_EQ(none.next, query().next);
}

TEST_F(UsnControlTest, GivesRecordsOfLastClosesAlone) {
  create(u"a");
  create(u"b");
  UsnReadParameters parameters = from(Usn());
  parameters.only_on_close = OnlyOnClose::Yes;
  const auto closed = read(parameters);
  EXPECT_EQ(closed.records.size(), 2u);
  for (const auto& record : closed.records) EXPECT_NE(record.reason & Reason::Close, 0u);
  // Without Close in the mask it means nothing.
  parameters.reason_mask = Reason::FileCreate;
  EXPECT_EQ(read(parameters).records.size(), 4u);
}

TEST_F(UsnControlTest, TellsVersion2AsVersion3ToThoseWhoReadIt) {
  create(u"a");
  UsnReadParameters parameters = from(Usn());
  parameters.versions = {2, 4};
  for (const auto& record : read(parameters).records) EXPECT_EQ(record.major_version, 3);
  parameters.versions = {3, 3};
  EXPECT_FALSE(read(parameters).records.empty());
  parameters.versions = {4, 4};
  EXPECT_TRUE(read(parameters).records.empty());
  for (const UsnVersions wrong : {UsnVersions{3, 2}, UsnVersions{0, 1}, UsnVersions{5, 6}}) {
    parameters.versions = wrong;
    EXPECT_EQ(refusal(parameters), NtStatus::InvalidParameter);
  }
}

TEST_F(UsnControlTest, RefusesAnotherJournalAndPlacesWithoutARecord) {
  create(u"a");
  const Usn next = query().next;
  UsnReadParameters parameters = from(Usn());
  ++parameters.journal_id;
  EXPECT_EQ(refusal(parameters), NtStatus::InvalidParameter);
  for (const uint64_t wrong : {uint64_t{4}, uint64_t{8}, uint64_t{56}, next.raw() + 8}) {
    EXPECT_EQ(refusal(from(Usn::from_raw(wrong))), NtStatus::InvalidParameter) << wrong;
  }
}

TEST_F(UsnControlTest, WhatWasTrimmedAwayIsDeleted) {
  create(u"a");
  const Usn second = read(from(Usn())).records.at(1).usn;
  overflow();
  const UsnJournalData data = query();
  EXPECT_GT(data.first, Usn());
  EXPECT_EQ(refusal(from(second)), NtStatus::JournalEntryDeleted);
  // 0 means the oldest there is.
  EXPECT_GE(read(from(Usn())).records.at(0).usn, data.first);
  EXPECT_LT(read(from(Usn())).records.at(0).usn.raw(), data.first.raw() + usn::kPageBytes);
}

TEST_F(UsnControlTest, WaitsForARecord) {
  UsnReadParameters parameters = from(query().next);
  parameters.bytes_to_wait_for = 1;
  UsnArrivals::Waiter waiter;
  UsnReadAnswer told;
  std::thread reader([&] { told = std::move(*controls_->read(parameters, waiter)); });
  create(u"a");
  reader.join();
  ASSERT_FALSE(told.records.empty());
  EXPECT_EQ(told.records[0].name, u"a");
}

TEST_F(UsnControlTest, WaitsForAsManyBytesAsAskedFor) {
  UsnReadParameters parameters = from(query().next);
  const uint64_t wanted = 1000;
  parameters.bytes_to_wait_for = wanted;
  UsnArrivals::Waiter waiter;
  UsnReadAnswer told;
  std::thread reader([&] { told = std::move(*controls_->read(parameters, waiter)); });
  std::u16string name = u"a";
  while (query().next.raw() < parameters.start.raw() + wanted) {
    create(name);
    name += u"a";
  }
  reader.join();
  // Unless all had happened before it looked for the first time.
  EXPECT_FALSE(told.records.empty());
}

TEST_F(UsnControlTest, AWaitEndsWithRecordsAskedForAlone) {
  UsnReadParameters parameters = from(query().next);
  parameters.bytes_to_wait_for = 1;
  parameters.reason_mask = Reason::FileDelete;
  UsnArrivals::Waiter waiter;
  UsnReadAnswer told;
  std::thread reader([&] { told = std::move(*controls_->read(parameters, waiter)); });
  create(u"a");
  create(u"b");
  remove(u"b");
  reader.join();
  ASSERT_EQ(told.records.size(), 1u);
  EXPECT_EQ(told.records[0].name, u"b");
}

TEST_F(UsnControlTest, AWaitCanBeCancelled) {
  UsnReadParameters parameters = from(query().next);
  parameters.bytes_to_wait_for = 1;
  UsnArrivals::Waiter waiter;
  NtStatus status = NtStatus::Success;
  std::thread reader([&] { status = controls_->read(parameters, waiter).error(); });
  controls_->cancel(waiter);
  reader.join();
  EXPECT_EQ(status, NtStatus::Cancelled);
}

TEST_F(UsnControlTest, AWaitEndsWhenTheJournalIsStamped) {
  UsnReadParameters parameters = from(query().next);
  parameters.bytes_to_wait_for = 1;
  UsnArrivals::Waiter waiter;
  NtStatus status = NtStatus::Success;
  std::thread reader([&] { status = controls_->read(parameters, waiter).error(); });
  {
    Transaction transaction(store_->volume().journal());
    ASSERT_TRUE(transaction.begin());
    ASSERT_TRUE(store_->volume().usn().stamp(transaction));
    transaction.commit();
  }
  reader.join();
  EXPECT_EQ(status, NtStatus::InvalidParameter);
}

TEST_F(UsnControlTest, EnumeratesFilesInTheOrderOfTheirRecords) {
  create(u"a");
  const Usn between = query().next;
  create(u"b", FileKind::Directory);
  query();
  const auto all = controls_->enumerate({});
  ASSERT_TRUE(all);
  std::vector<std::u16string> names;
  uint64_t last = 0;
  for (const auto& record : all->records) {
    names.push_back(record.name);
    EXPECT_GE(record.file.reference().record(), last);
    last = record.file.reference().record();
    EXPECT_EQ(record.reason, 0u);
    EXPECT_EQ(record.timestamp, 0u);
  }
  EXPECT_EQ(names, (std::vector<std::u16string>{u".", u"a", u"b"}));
  UsnEnumerateParameters parameters;
  parameters.start_record = all->next_record;
  EXPECT_EQ(controls_->enumerate(parameters).error(), NtStatus::EndOfFile);
  // Only those with a record since.
  parameters.start_record = 0;
  parameters.low = between;
  const auto late = controls_->enumerate(parameters);
  ASSERT_TRUE(late);
  ASSERT_EQ(late->records.size(), 1u);
  EXPECT_EQ(late->records[0].name, u"b");
  EXPECT_NE(late->records[0].file_attributes & ondisk::FileAttributes::Directory, 0u);
  parameters.high = Usn();
  EXPECT_EQ(controls_->enumerate(parameters).error(), NtStatus::InvalidParameter);
}

TEST_F(UsnControlTest, EnumeratesInParts) {
  for (char16_t c = u'a'; c <= u'z'; ++c) create(std::u16string(1, c));
  UsnEnumerateParameters parameters;
  parameters.most_bytes = 300;
  size_t count = 0;
  while (true) {
    const auto part = controls_->enumerate(parameters);
    if (!part) {
      EXPECT_EQ(part.error(), NtStatus::EndOfFile);
      break;
    }
    count += part->records.size();
    parameters.start_record = part->next_record;
  }
  EXPECT_EQ(count, 27u);
}

TEST_F(UsnControlTest, TellsAFilesLastRecord) {
  const FilePtr file = create(u"a");
  query();
  const auto last = read(from(Usn())).records.back();
  const auto data = controls_->read_file_data(*file, {2, 2});
  ASSERT_TRUE(data);
  EXPECT_EQ(data->usn, last.usn);
  EXPECT_EQ(data->name, u"a");
  EXPECT_EQ(data->parent, last.parent);
  EXPECT_EQ(data->reason, 0u);
  EXPECT_EQ(data->major_version, 2);
  EXPECT_EQ(controls_->read_file_data(*file, {3, 3})->major_version, 3);
  EXPECT_EQ(controls_->read_file_data(*file, {4, 4}).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(controls_->read_file_data(*file, {3, 2}).error(), NtStatus::InvalidParameter);
}

TEST_F(UsnControlTest, WritesACloseRecordWhileTheFileIsOpen) {
  const FilePtr file = create(u"a");
  ASSERT_TRUE(store_->open(*file));
  const ByteVector bytes(100, std::byte{1});
  ASSERT_TRUE(store_->write(*file, 0, bytes, Buffering::Buffered));
  const Usn before = query().next;
  const auto usn = controls_->write_close_record(*file);
  ASSERT_TRUE(usn) << name_of(usn.error());
  EXPECT_EQ(*usn, before);
  const auto records = read(from(before)).records;
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].reason, Reason::DataExtend | Reason::Close);
  // Nothing has happened since.
  EXPECT_EQ(*controls_->write_close_record(*file), *usn);
  store_->close(file);
  EXPECT_EQ(read(from(before)).records.size(), 1u);
}

TEST_F(UsnControlTest, AReadOnlyVolumeIsReadAlike) {
  create(u"a");
  const UsnJournalData data = query();
  const auto records = read(from(Usn())).records;
  remount(VolumeOptions::Access::ReadOnly);
  EXPECT_EQ(query().id, data.id);
  EXPECT_EQ(read(from(Usn())).records, records);
  const FilePtr file = *store_->lookup(*store_->root(), u"a");
  EXPECT_EQ(controls_->write_close_record(*file).error(), NtStatus::MediaWriteProtected);
}

class UsnRangesTest : public ::testing::Test {
 protected:
  UsnControls controls() { return UsnControls(store_.store()); }
  void write(const FilePtr& file, int64_t offset, size_t length) {
    auto open = store_.open(file);
    ASSERT_EQ(store_.write(*open, offset, length), NtStatus::Success);
    store_.store().close(std::move(open));
  }
  /// Records of version 4 since the last call, each with the one behind it.
  struct Told {
    std::vector<usn::Extent> extents;
    uint32_t reason = 0;
    friend bool operator==(const Told&, const Told&) = default;
  };
  std::vector<Told> told() {
    EXPECT_TRUE(store_.store().flush());
    const auto records = store_.records(from_);
    from_ = store_.usn().next();
    std::vector<Told> told;
    for (size_t i = 0; i < records.size(); ++i) {
      if (records[i].major_version != 4) continue;
      told.push_back({records[i].extents, records[i].reason});
      EXPECT_LT(i + 1, records.size());
      EXPECT_EQ(records[i + 1].reason, records[i].reason);
      EXPECT_EQ(records[i + 1].file, records[i].file);
      EXPECT_EQ(records[i + 1].parent, records[i].parent);
    }
    return told;
  }

  UsnStore store_;
  usn::Usn from_;
};

TEST_F(UsnRangesTest, StandRightBeforeTheCloseRecord) {
  const FilePtr file = store_.make(u"large");
  write(file, 0, 100000);
  EXPECT_EQ(told(), std::vector<Told>{});
  ASSERT_TRUE(controls().track_ranges({16384, 65536}));
  auto open = store_.open(file);
  ASSERT_EQ(store_.write(*open, 20000, 1), NtStatus::Success);
  ASSERT_EQ(store_.write(*open, 90000, 20000), NtStatus::Success);
  ASSERT_TRUE(store_.store().set_zero_data(*open, 0, 10));
  EXPECT_EQ(told(), std::vector<Told>{});
  store_.store().close(std::move(open));
  EXPECT_EQ(told(),
            (std::vector<Told>{{{{0, 32768}, {81920, 32768}},
                                Reason::DataOverwrite | Reason::DataExtend | Reason::Close}}));
  EXPECT_EQ(store_.check(), "");
}

TEST_F(UsnRangesTest, AreNotToldOfSmallFilesNorOfNamedStreams) {
  ASSERT_TRUE(controls().track_ranges({0, 0}));
  EXPECT_EQ(controls().query()->ranges, (usn::RangeTracking{16384, 1 << 20}));
  const FilePtr file = store_.make(u"small");
  write(file, 0, 100000);
  EXPECT_EQ(told(), std::vector<Told>{});
  ASSERT_TRUE(controls().track_ranges({4096, 100000}));
  ASSERT_TRUE(store_.store().set_stream(*file, u"s", ByteVector(60000)));
  EXPECT_EQ(told(), std::vector<Told>{});
}

TEST_F(UsnRangesTest, AreRefusedInImpossibleChunks) {
  for (const uint64_t chunk : {uint64_t{1}, uint64_t{2048}, uint64_t{12288}, uint64_t{1} << 31}) {
    EXPECT_EQ(controls().track_ranges({chunk, 0}).error(), NtStatus::InvalidParameter) << chunk;
  }
  EXPECT_EQ(controls().query()->ranges, usn::RangeTracking{});
}

TEST_F(UsnRangesTest, EndWithTheMount) {
  ASSERT_TRUE(controls().track_ranges({16384, 1}));
  store_.remount();
  EXPECT_EQ(controls().query()->ranges, usn::RangeTracking{});
}

TEST_F(UsnRangesTest, EndWithTheJournal) {
  ASSERT_TRUE(controls().track_ranges({16384, 1}));
  ASSERT_TRUE(delete_usn_journal(store_.store(), store_.usn().information().id));
  EXPECT_EQ(controls().track_ranges({16384, 1}).error(), NtStatus::JournalNotActive);
  ASSERT_TRUE(create_usn_journal(store_.store(), 1 << 20, 0));
  EXPECT_EQ(controls().query()->ranges, usn::RangeTracking{});
}

}  // namespace
}  // namespace ntfs
