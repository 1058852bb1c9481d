#include "core/store/transaction.h"

#include <gtest/gtest.h>

#include <random>

#include "core/ondisk/attribute_values.h"
#include "core/store/index_tree.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using testing::ScratchVolume;

constexpr uint16_t kNtfsStream = 0;

/// Changes of every size: named streams of `file`, and, where the transaction will not stay, names
/// that split index blocks, and new records.
class RandomChanges {
 public:
  RandomChanges(ScratchVolume& scratch, FileReference file, uint64_t seed)
      : scratch_(scratch), file_(file), random_(seed) {}

  void make(Transaction& transaction, bool stays) {
    const uint64_t kind = random_() % (stays ? 2 : 4);
    const std::u16string name = {static_cast<char16_t>(u'a' + random_() % 20)};
    if (kind == 0) {
      const ByteVector value(random_() % 700, static_cast<std::byte>(random_()));
      Attributes attributes(scratch_.volume(), file_);
      EXPECT_TRUE(attributes.set_value(transaction, AttributeType::Data, name, value).has_value());
    } else if (kind == 1) {
      const auto removed =
          Attributes(scratch_.volume(), file_).remove(transaction, AttributeType::Data, name);
      EXPECT_TRUE(removed || removed.error() == NtStatus::ObjectNameNotFound);
    } else if (kind == 2) {
      std::u16string long_name = u"name " + std::u16string(random_() % 200, u'x');
      for (int i = 0; i < 8; ++i) long_name += static_cast<char16_t>(u'a' + random_() % 26);
      const FileReference root(ondisk::kRootRecord, 5);
      const ByteVector key = ondisk::build_file_name(root, {}, ondisk::NameType::Posix, long_name);
      IndexTree tree(scratch_.volume(), root, u"$I30");
      EXPECT_TRUE(
          tree.insert(transaction, ondisk::build_entry(file_, key, std::nullopt)).has_value());
    } else {
      EXPECT_TRUE(scratch_.volume().mft().allocate(transaction).has_value());
    }
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }

 private:
  ScratchVolume& scratch_;
  FileReference file_;
  std::mt19937_64 random_;
};

// Of a file that nobody else knows a transaction is all that is left when it ends.
TEST(Transaction, KeepsThoseItTellsOfItsEnd) {
  struct Told final : Participant {
    explicit Told(int& count) : ends(count) {}
    void transaction_ended(const Transaction&, bool) override { ++ends; }
    int& ends;
  };
  ScratchVolume scratch({});
  int ends = 0;
  std::weak_ptr<Told> kept;
  Transaction transaction(scratch.volume().journal());
  ASSERT_TRUE(transaction.begin());
  {
    const auto told = std::make_shared<Told>(ends);
    kept = told;
    transaction.join(told);
    transaction.join(told);
  }
  EXPECT_FALSE(kept.expired());
  transaction.commit();
  EXPECT_EQ(ends, 1);
  EXPECT_TRUE(kept.expired());
}

// Clusters smaller than a page, of which mkntfs makes a single one for $MFT's bitmap.
TEST(Transaction, TakesBackThePlaceThatAPageGotWithMoreClusters) {
  ScratchVolume scratch({.cluster_size = 512});
  Volume& volume = scratch.volume();
  const FileReference file = scratch.make_file();
  for (const bool stays : {false, true}) {
    auto ended = std::make_unique<Transaction>(volume.journal());
    Transaction& transaction = *ended;
    ASSERT_TRUE(transaction.begin());
    const auto stream = std::make_shared<MetadataStream>();
    stream->file = file;
    stream->type = AttributeType::Bitmap;
    stream->id = (file.record() << 8) | 0xFF;
    const auto first = volume.clusters().allocate(transaction, ClusterCount(1), Lcn(5000));
    ASSERT_TRUE(first);
    stream->runs.append(first->front().lcn, ClusterCount(1));
    const auto page = volume.pages().page_cut_short(stream);
    ASSERT_TRUE(page && *page);
    const auto more = volume.clusters().allocate(transaction, ClusterCount(7), Lcn(5001));
    ASSERT_TRUE(more);
    for (const ClusterRun& run : *more) stream->runs.append(run.lcn, run.count);
    transaction.complete_place(*page);
    EXPECT_EQ((*page)->place().lcns.size(), 8u);
    EXPECT_EQ(*volume.pages().page_cut_short(stream), nullptr);
    if (stays)
      transaction.commit();
    else
      ended.reset();
    EXPECT_EQ((*page)->place().lcns.size(), stays ? 8u : 1u);
    volume.pages().forget(*stream, 0);
  }
}

// What a transaction logs comes from what it set aside when it began: others' space is not touched,
// so the log cannot become full in the middle.
TEST(Transaction, TakesNothingButWhatItSetAside) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  // Nobody else writes to the log: a flush fills a page with what nobody has set aside.
  ScratchVolume scratch({.commit_interval = std::chrono::milliseconds(0)});
  RandomChanges changes(scratch, scratch.make_file(), seed);
  const lfs::LogFile& log = *scratch.volume().journal().log();
  for (int i = 0; i < 100; ++i) {
    Transaction transaction(scratch.volume().journal());
    ASSERT_TRUE(transaction.begin().has_value());
    const uint64_t available = log.info(kNtfsStream).available_bytes;
    const bool stays = i % 3 == 0;
    for (uint64_t step = changes.below(20); step-- > 0;) changes.make(transaction, stays);
    EXPECT_GE(log.info(kNtfsStream).available_bytes, available);
    if (stays) transaction.commit();
  }
  EXPECT_EQ(scratch.check(), "");
}

// On the way back each record takes a reservation; were one missing or too small, the volume would
// be read-only afterwards.
TEST(Transaction, C89_TakesEveryChangeBackFromWhatWasReserved) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  ScratchVolume scratch({});
  RandomChanges changes(scratch, scratch.make_file(), seed);
  const Journal& journal = scratch.volume().journal();
  for (int i = 0; i < 200; ++i) {
    {
      Transaction transaction(scratch.volume().journal());
      ASSERT_TRUE(transaction.begin().has_value());
      EXPECT_EQ(journal.log()->info(kNtfsStream).reserved_records, 1u);  // its end
      const bool stays = i % 4 == 0;
      for (uint64_t step = 1 + changes.below(30); step-- > 0;) changes.make(transaction, stays);
      if (stays) {
        EXPECT_GE(journal.log()->info(kNtfsStream).reserved_records, 1u);
        transaction.commit();
      }
    }
    ASSERT_TRUE(journal.is_writable());
    EXPECT_EQ(journal.log()->info(kNtfsStream).reserved_records, 0u);
    EXPECT_EQ(journal.log()->info(kNtfsStream).reserved_bytes, 0u);
  }
  EXPECT_EQ(scratch.check(), "");
}

}  // namespace
}  // namespace ntfs
