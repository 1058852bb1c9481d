#include "core/store/usn_stream.h"

#include <set>

#include "core/ondisk/log_operations.h"
#include "core/store/file_records.h"
#include "lfs/log_reader.h"
#include "tests/unit/fsa/usn_store.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs::testing {
namespace {

usn::Record record_of(FileReference file, size_t name_units) {
  usn::Record record;
  record.file = usn::FileId::of(file);
  record.parent = usn::FileId::of(FileReference(5, 5));
  record.reason = usn::Reason::FileCreate | usn::Reason::Close;
  record.name.assign(name_units, u'n');
  return record;
}

/// T4: J1, J4 to J6 hold whatever the names are long.
TEST(UsnStream, NamesOfEveryLengthAtEveryPlaceOfAPage) {
  UsnStore v(UsnStore::Shape{.bytes = uint64_t{64} << 20, .usn_size = uint64_t{32} << 20});
  size_t count = 0;
  std::set<uint64_t> residues;
  for (size_t round = 0; round < 128; ++round) {
    ASSERT_EQ(in_transaction(v.store().volume(),
                             [&](Transaction& transaction) -> Result<> {
                               std::vector<usn::Record> records;
                               if (round != 0)
                                 records.push_back(record_of(FileReference(99, 1), 2 * round));
                               for (size_t i = 0; i < 255; ++i) {
                                 const size_t units = 1 + (i + 37 * round) % 255;
                                 records.push_back(record_of(FileReference(100, 1), units));
                               }
                               const bool has_room = TRY(v.usn().append(transaction, records));
                               EXPECT_TRUE(has_room);
                               count += records.size();
                               return {};
                             }),
              NtStatus::Success);
  }
  const auto all = v.records(usn::Usn());  // checks what it reads
  EXPECT_EQ(all.size(), count);
  for (const usn::Record& record : all) residues.insert(record.usn.raw() % 4096);
  EXPECT_GE(residues.size(), 480u);  // of the 498 that there can be
  EXPECT_EQ(v.check(), "");
}

TEST(UsnStream, ClustersOfAnySizeHoldPages) {
  for (const uint32_t cluster : {512u, 1024u, 2048u, 8192u, 65536u}) {
    UsnStore v(UsnStore::Shape{.cluster_size = cluster});
    for (int i = 0; i < 200; ++i)
      v.make(u"file " + std::u16string(1, static_cast<char16_t>(0x4E00 + i)));
    EXPECT_EQ(v.news().size(), 400u) << cluster;
    EXPECT_EQ(v.check(), "") << cluster;
    v.remount();
    EXPECT_EQ(v.records(usn::Usn()).size(), 400u) << cluster;
  }
}

TEST(UsnStream, AnAbortedTransactionLeavesNoRecord) {
  UsnStore v;
  const FilePtr file = v.make(u"a");
  v.news();
  const usn::Usn before = v.usn().next();
  const uint64_t usn_before = v.usn_of(file->reference());
  const NtStatus status =
      in_transaction(v.store().volume(), [&](Transaction& transaction) -> Result<> {
        FileRecords records(transaction, v.store().volume(), *file);
        TRY(records.add(usn::Reason::EaChange));
        TRY(records.append());
        TRY(records.store_last());
        EXPECT_GT(v.usn().next(), before);
        return NtStatus::DiskFull;
      });
  EXPECT_EQ(status, NtStatus::DiskFull);
  EXPECT_EQ(v.usn().next(), before);
  EXPECT_EQ(v.usn().restart(), before);
  EXPECT_EQ(v.usn_of(file->reference()), usn_before);
  EXPECT_EQ(file->changes([](const usn::FileChanges& c) { return c.reasons(); }), 0u);
  v.make(u"b");
  EXPECT_EQ(v.news(), (std::vector<Said>{{"b", 0x100, FileReference(5, 5)},
                                         {"b", 0x80000100, FileReference(5, 5)}}));
  EXPECT_EQ(v.check(), "");
}

TEST(UsnStream, IsTrimmedAndGoesOn) {
  UsnStore v;
  const FilePtr file = v.make(u"a file with a name of some length");
  std::u16string names[] = {u"a file with a name of some length", u"another of about that length"};
  uint64_t most = 0;
  for (int i = 0; i < 6000; ++i) {
    ASSERT_TRUE(v.store().rename(*v.root(), names[i % 2], *v.root(), names[(i + 1) % 2],
                                 ObjectStore::RenameMode::Replace));
    if (i % 50 == 0) {
      ASSERT_TRUE(v.store().flush());
    }
    most = std::max(most, v.usn().next().raw() - v.usn().first().raw());
  }
  EXPECT_GT(v.usn().first(), usn::Usn());
  EXPECT_EQ(v.usn().first().raw() % 4096, 0u);
  const auto& information = v.usn().information();
  EXPECT_LT(most, information.maximum_size + information.allocation_delta + (64 << 10));
  EXPECT_EQ(v.check(), "");
  const usn::Usn first = v.usn().first();
  const usn::Usn next = v.usn().next();
  v.remount();
  EXPECT_EQ(v.usn().first(), first);
  EXPECT_EQ(v.usn().next(), next);
  EXPECT_GT(v.records(first).size(), 5000u);
  v.make(u"b");
  EXPECT_EQ(v.news().size(), 2u);
  EXPECT_GT(v.usn().next(), next);
}

TEST(UsnStream, WithoutAJournalNothingIsWritten) {
  UsnStore v(UsnStore::Shape{.usn_size = std::nullopt});
  EXPECT_FALSE(v.usn().exists());
  const FilePtr file = v.make(u"a");
  ASSERT_TRUE(v.store().write(*file, 0, ByteVector(100), Stream::Buffering::Buffered));
  ASSERT_TRUE(v.store().flush());
  EXPECT_EQ(v.usn_of(file->reference()), 0u);
  EXPECT_EQ(v.check(), "");
}

TEST(UsnStream, IsMadeOnALiveVolume) {
  UsnStore v(UsnStore::Shape{.usn_size = std::nullopt});
  const FilePtr old = v.make(u"old");
  const auto sizes = usn::with_sizes(1 << 20, 0, 4096);
  Volume& volume = v.store().volume();
  const auto create = [&](Transaction& t) { return v.usn().create(t, *sizes); };
  EXPECT_EQ(in_transaction(volume, create), NtStatus::Success);
  EXPECT_TRUE(v.usn().is_active());
  EXPECT_EQ(in_transaction(volume, create), NtStatus::ObjectNameCollision);
  ASSERT_TRUE(v.store().remove(*v.root(), u"old", ObjectStore::RemoveKind::File));
  EXPECT_EQ(v.news().size(), 1u);
  EXPECT_EQ(v.check(), "");
  const uint64_t id = v.usn().information().id;
  v.remount();
  EXPECT_EQ(v.usn().information().id, id);
  EXPECT_EQ(v.records(usn::Usn()).size(), 1u);
}

TEST(UsnStream, UnrecordedChangesAreAdmittedByAStamp) {
  UsnStore v;
  v.make(u"a");
  v.news();
  const usn::Usn next = v.usn().next();
  const uint64_t id = v.usn().information().id;
  v.remount(UsnStore::UsnRecords::No);
  EXPECT_FALSE(v.usn().is_active());
  EXPECT_GT(v.usn().information().id, id);
  EXPECT_EQ(v.usn().information().lowest_valid, next);
  v.make(u"b");
  EXPECT_EQ(v.usn().next(), next);
  const uint64_t stamped = v.usn().information().id;
  v.remount();
  EXPECT_EQ(v.usn().information().id, stamped);
  v.make(u"c");
  EXPECT_EQ(v.news().size(), 2u);
  EXPECT_EQ(v.check(), "");
}

TEST(UsnStream, IsStampedWhenAnotherDriverEmptiedTheLog) {
  UsnStore v;
  v.make(u"a");
  v.news();
  ASSERT_TRUE(v.store().flush());
  const uint64_t id = v.usn().information().id;
  const usn::Usn next = v.usn().next();
  v.remount_after([&](Volume& volume) {
    AlignedBuffer page(4096);
    std::fill(page.bytes().begin(), page.bytes().end(), std::byte{0xFF});
    LogStoreOnVolume& log = volume.log_store();
    for (uint64_t at = 0; at < log.size_bytes(); at += 4096) {
      const lfs::LogWrite write{at, page.bytes()};
      ASSERT_TRUE(log.write_durable({&write, 1}));
    }
  });
  EXPECT_GT(v.usn().information().id, id);
  EXPECT_EQ(v.usn().information().lowest_valid, next);
  EXPECT_TRUE(v.usn().is_active());
}

/// What does not fit is admitted; the change itself is made.
TEST(UsnStream, AFullVolumeLosesRecordsNotChanges) {
  UsnStore v(UsnStore::Shape{.bytes = uint64_t{8} << 20});
  const FilePtr filler = v.make(u"filler");
  Volume& volume = v.store().volume();
  v.news();
  // All that there is: metadata gets what data may not have.
  ASSERT_EQ(in_transaction(volume,
                           [&](Transaction& transaction) -> Result<> {
                             while (volume.clusters().free_clusters() != ClusterCount(0)) {
                               auto runs = volume.clusters().allocate(transaction, ClusterCount(1),
                                                                      Lcn::hole());
                               if (!runs) break;
                             }
                             return {};
                           }),
            NtStatus::Success);
  const uint64_t id = v.usn().information().id;
  std::u16string names[] = {u"filler", u"another name"};
  for (int i = 0; i < 3000 && v.usn().information().id == id; ++i) {
    ASSERT_TRUE(v.store().rename(*v.root(), names[i % 2], *v.root(), names[(i + 1) % 2],
                                 ObjectStore::RenameMode::Replace));
  }
  EXPECT_GT(v.usn().information().id, id);
  EXPECT_EQ(v.usn().information().lowest_valid, v.usn().next());
  v.records(usn::Usn());
}

/// The shape of table 6.2, for one record: sizes (the valid data length at once), the record
/// without undo.
TEST(UsnStream, ARecordIsLoggedAfterTheSizesAndWithoutUndo) {
  UsnStore v;
  v.make(u"a");
  v.news();
  ASSERT_EQ(
      in_transaction(v.store().volume(),
                     [&](Transaction& transaction) -> Result<> {
                       std::vector<usn::Record> records = {record_of(FileReference(100, 1), 10)};
                       return TRY(v.usn().append(transaction, records))
                       ? Result<>() : NtStatus::DiskFull;
                     }),
      NtStatus::Success);
  ASSERT_TRUE(v.store().flush());
  const auto log = find_log(v.device(), v.store().volume().geometry());
  ASSERT_TRUE(log);
  auto reader = lfs::LogReader::open(**log);
  ASSERT_TRUE(reader);
  std::vector<std::string> operations;
  for (auto record = reader->read(reader->restart().client_restart_lsn); record;
       record = reader->next()) {
    if (!record->is_client()) continue;
    const auto client = ondisk::ClientRecordView::parse(record->data, record->flags, {"log"});
    ASSERT_TRUE(client);
    operations.push_back(std::string(name_of(client->redo())) + "/" +
                         std::string(name_of(client->undo())) + "/" +
                         std::to_string(client->redo_length()));
  }
  ASSERT_GE(operations.size(), 3u);
  const std::vector<std::string> last(operations.end() - 3, operations.end());
  EXPECT_EQ(last, (std::vector<std::string>{
                      "SetNewAttributeSizes/SetNewAttributeSizes/32",
                      "UpdateNonresidentValue/Noop/" + std::to_string(usn::record_bytes(10)),
                      "ForgetTransaction/CompensationLogRecord/0"}));
}

}  // namespace
}  // namespace ntfs::testing
