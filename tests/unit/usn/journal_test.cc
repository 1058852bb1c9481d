#include "usn/journal.h"

#include <gtest/gtest.h>

#include <random>

#include "usn/file_changes.h"
#include "usn/reason.h"

namespace ntfs::usn {
namespace {

Usn at(uint64_t raw) { return Usn::from_raw(raw); }

TEST(UsnJournal, MaxIsAsDocumented) {
  JournalInformation information;
  information.maximum_size = 0x2000000;
  information.allocation_delta = 0x800000;
  information.id = 0x01D6111122223333;
  information.lowest_valid = at(0x44);
  const auto bytes = build_max(information);
  EXPECT_EQ(struct_at<le64>(bytes, 8).get(), 0x800000u);
  EXPECT_EQ(struct_at<le64>(bytes, 24).get(), 0x44u);
  const auto parsed = parse_max(bytes, {"$Max"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->maximum_size, information.maximum_size);
  EXPECT_EQ(parsed->id, information.id);
  EXPECT_EQ(parsed->lowest_valid, information.lowest_valid);
}

TEST(UsnJournal, SizesAreMadeToFit) {
  const auto sizes = with_sizes(5 << 20, 0, 4096);
  ASSERT_TRUE(sizes);
  EXPECT_EQ(sizes->maximum_size, 5u << 20);
  EXPECT_EQ(sizes->allocation_delta, 20u << 16);
  EXPECT_EQ(with_sizes(1, 1, 65536)->maximum_size, kLeastMaximumSize);
  EXPECT_EQ(with_sizes(1, 1, 65536)->allocation_delta, kLeastDelta);
  EXPECT_EQ(with_sizes(0, 0, 4096).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(with_sizes(1 << 20, 2 << 20, 4096).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(with_sizes(~uint64_t{0}, 0, 4096).error(), NtStatus::InvalidParameter);
}

/// "USN 6446415736 with a 104-byte record is followed by 6446415872".
TEST(UsnJournal, ARecordThatDoesNotFitStandsInTheNextPage) {
  const auto place = place_record(at(6446415736 + 104), 40);
  EXPECT_EQ(place.usn, at(6446415872));
  EXPECT_EQ(place.gap, 32u);
  EXPECT_EQ(place_record(at(4096 - 64), 64).gap, 0u);
  EXPECT_EQ(place_record(at(4096 - 64), 72).usn, at(4096));
  EXPECT_EQ(place_record(at(8192), 576).gap, 0u);
}

TEST(UsnJournal, IsTrimmedInStepsOfTheDelta) {
  JournalInformation information;
  information.maximum_size = 32 << 20;
  information.allocation_delta = 8 << 20;
  const uint64_t most = 40 << 20;
  EXPECT_EQ(trim_target(information, at(0), at(most), at(most), 4096), std::nullopt);
  EXPECT_EQ(trim_target(information, at(0), at(most + 8), at(most), 4096), at(8 << 20));
  EXPECT_EQ(trim_target(information, at(8 << 20), at((49 << 20) + 8), at(49 << 20), 4096),
            at(16 << 20));
}

TEST(UsnJournal, KeepsWhatARecoveryNeeds) {
  JournalInformation information;
  information.maximum_size = 1 << 20;
  information.allocation_delta = 1 << 16;
  const auto target = trim_target(information, at(0), at(8 << 20), at(5000), 4096);
  EXPECT_EQ(target, at(4096));
  EXPECT_EQ(trim_target(information, at(4096), at(8 << 20), at(5000), 4096), std::nullopt);
}

TEST(UsnJournal, KnowsTheOldestRecordOfAFileThatIsOpen) {
  OpenRecords open;
  const FileReference a(30, 1);
  const FileReference b(31, 1);
  EXPECT_EQ(open.oldest(), std::nullopt);
  open.note(a, Reason::FileCreate, at(0));
  open.note(b, Reason::FileCreate, at(80));
  open.note(a, Reason::DataExtend, at(160));
  EXPECT_EQ(open.oldest(), at(0));
  open.note(a, Reason::Close | Reason::DataExtend, at(240));
  EXPECT_EQ(open.oldest(), at(80));
  open.note(b, Reason::Close, at(320));
  EXPECT_EQ(open.oldest(), std::nullopt);
  open.restore(b, at(80));
  EXPECT_EQ(open.oldest(), at(80));
}

/// Microsoft's worked example, "Change Journal Records".
TEST(UsnFileChanges, WriteTimeWriteTruncateWriteCloseIsFourRecords) {
  FileChanges changes;
  for (const uint32_t reason :
       {Reason::DataOverwrite, Reason::BasicInfoChange, Reason::DataOverwrite,
        Reason::DataTruncation, Reason::DataOverwrite}) {
    changes.post(reason, 1);
  }
  changes.close(2);
  const std::vector<Due> expected = {
      {0x1, 1, {}}, {0x8001, 1, {}}, {0x8005, 1, {}}, {0x80008005, 2, {}}};
  EXPECT_EQ(changes.take_noted(), expected);
  changes.ended(true);
  EXPECT_EQ(changes.reasons(), 0u);
}

TEST(UsnFileChanges, WhatIsTakenBackWasNeverSaid) {
  FileChanges changes;
  changes.post(Reason::DataExtend, 1);
  EXPECT_EQ(changes.take_noted().size(), 1u);
  EXPECT_EQ(changes.rename_from(), Reason::DataExtend | Reason::RenameOldName);
  changes.keep_link({FileReference(5, 5), u"name"});
  changes.ended(false);
  EXPECT_EQ(changes.reasons(), Reason::DataExtend);
  EXPECT_EQ(changes.kept_link(), nullptr);
  EXPECT_EQ(changes.take_noted(), (std::vector<Due>{{Reason::DataExtend, 1, {}}}));
}

TEST(UsnFileChanges, AFailedOperationIsNotNoted) {
  FileChanges changes;
  changes.post(Reason::DataOverwrite, 1);
  const auto ticket = changes.post(Reason::DataOverwrite | Reason::DataExtend, 2);
  EXPECT_NE(ticket, 0u);
  changes.retract(ticket);
  EXPECT_EQ(changes.reasons(), Reason::DataOverwrite);
  EXPECT_EQ(changes.count_noted(), 1u);
  const auto again = changes.post(Reason::DataExtend, 3);
  changes.take_noted();
  changes.ended(true);
  changes.retract(again);  // too late
  EXPECT_EQ(changes.reasons(), Reason::DataOverwrite | Reason::DataExtend);
}

/// S1 to S5 in the shortest words: everything is said at once, and nothing is taken back.
class Model {
 public:
  void post(uint32_t reasons) {
    if ((reasons & ~set_) == 0) return;
    set_ |= reasons;
    said_.push_back(set_);
  }
  void close() {
    if (set_ != 0) said_.push_back(set_ | Reason::Close);
    set_ = 0;
  }
  const std::vector<uint32_t>& said() const { return said_; }

 private:
  uint32_t set_ = 0;
  std::vector<uint32_t> said_;
};

TEST(UsnFileChanges, SaysInTheEndWhatTheModelSays) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    FileChanges changes;
    Model model;
    std::vector<uint32_t> said;
    std::vector<uint32_t> tried;
    const auto end_transaction = [&](bool committed) {
      if (committed) said.insert(said.end(), tried.begin(), tried.end());
      tried.clear();
      changes.ended(committed);
    };
    for (int step = 0; step < 60; ++step) {
      switch (random() % 6) {
        case 0:
          changes.close(1);
          model.close();
          break;
        case 1:
          for (const Due& due : changes.take_noted()) tried.push_back(due.reason);
          break;
        case 2:
          end_transaction(random() % 3 != 0);
          break;
        default: {
          const uint32_t reasons = 1u << (random() % 8);
          changes.post(reasons, 1);
          model.post(reasons);
        }
      }
    }
    end_transaction(random() % 2 == 0);
    for (const Due& due : changes.take_noted()) tried.push_back(due.reason);
    end_transaction(true);
    ASSERT_EQ(said, model.said());
  }
}

}  // namespace
}  // namespace ntfs::usn
