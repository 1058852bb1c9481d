#include "core/store/attributes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "core/ondisk/attribute_values.h"
#include "core/store/attribute_list.h"
#include "tests/support/sanitized.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordView;
using testing::in_transaction;
using testing::reading;
using testing::ScratchVolume;

using Model = std::map<std::u16string, ByteVector>;

ByteVector random_bytes(std::mt19937_64& random, size_t length) {
  ByteVector bytes(length);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::u16string stream_name(uint64_t number) {
  std::u16string name = u"stream ";
  for (const char digit : std::to_string(number)) name += static_cast<char16_t>(digit);
  return name;
}

ByteVector copy_of(ByteView bytes) { return ByteVector(bytes.begin(), bytes.end()); }

/// The caller holds the metadata lock.
std::vector<Attributes::Found> all_of(Volume& volume, FileReference file) {
  auto all = Attributes(volume, file).all();
  EXPECT_TRUE(all.has_value());
  return all ? std::move(all).value() : std::vector<Attributes::Found>{};
}

/// 16 bytes a line: a failed comparison shows the lines that differ.
std::string hex(ByteView bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto value = static_cast<unsigned>(bytes[i]);
    text += {kDigits[value / 16], kDigits[value % 16], i % 16 == 15 ? '\n' : ' '};
  }
  return text + "\n";
}

/// What the file's records hold, but for LSNs, instance counters and update sequence arrays.
std::string snapshot(Volume& volume, FileReference file) {
  const SharedLock lock(volume.journal().metadata_lock());
  std::set<uint64_t> numbers{file.record()};
  for (const auto& found : all_of(volume, file)) numbers.insert(found.page->index());
  std::string result;
  for (const uint64_t number : numbers) {
    const PageRef page = *volume.mft().record(number);
    const auto record = FileRecordView::of_valid(page->bytes());
    ByteVector bytes = copy_of(record.bytes());
    auto& header = struct_at<ondisk::FileRecordHeader>(MutableBytes(bytes));
    header.lsn.set(0);
    header.next_attribute_instance.set(0);
    std::fill(bytes.begin() + sizeof(header), bytes.begin() + record.first_attribute_offset(),
              std::byte{0});
    result += hex(bytes);
    if (const auto list = record.find(AttributeType::AttributeList); list && record.is_base()) {
      result += hex(*read_attribute_list(volume, file, *list));
    }
  }
  return result;
}

void expect_equal(Volume& volume, FileReference file, const Model& model) {
  const SharedLock lock(volume.journal().metadata_lock());
  Attributes attributes(volume, file);
  for (const auto& [name, value] : model) {
    const auto found = attributes.find(AttributeType::Data, name);
    ASSERT_TRUE(found.has_value());
    ASSERT_TRUE(found->view().is_resident());
    ASSERT_EQ(copy_of(found->view().value()), value);
  }
  size_t streams = 0;
  for (const auto& found : all_of(volume, file))
    streams += found.view().type() == AttributeType::Data && found.view().has_name() ? 1 : 0;
  ASSERT_EQ(streams, model.size());
}

size_t records_of(Volume& volume, FileReference file) {
  const SharedLock lock(volume.journal().metadata_lock());
  std::set<uint64_t> numbers;
  for (const auto& found : all_of(volume, file)) numbers.insert(found.page->index());
  return numbers.size();
}

ByteVector file_name(uint64_t number, size_t units) {
  std::u16string name = stream_name(number);
  name.resize(units, u'x');
  return ondisk::build_resident(AttributeType::FileName, {}, 0, 0,
                                ondisk::build_file_name(FileReference(ondisk::kRootRecord, 5), {},
                                                        ondisk::NameType::Posix, name),
                                ondisk::Indexed::Yes);
}

class AttributesOverShapes : public ::testing::TestWithParam<ScratchVolume::Shape> {};

TEST_P(AttributesOverShapes, KeepNamedStreamsThroughRandomChanges) {
  ScratchVolume scratch(GetParam());
  const FileReference file = scratch.make_file();
  constexpr uint64_t kSeed = 20;
  std::mt19937_64 random(kSeed);
  Model model;
  const uint64_t most = GetParam().record_size / 2;
  for (int step = 0; step < 1500; ++step) {
    const uint64_t names = step < 1000 ? 60 : 3;
    const std::u16string name = stream_name(random() % 60);
    const bool removes = random() % names < names / 3 || (names == 3 && model.size() > 3);
    Attributes attributes(scratch.volume(), file);
    if (removes) {
      const auto status = in_transaction(scratch.volume(), [&](Transaction& transaction) {
        return attributes.remove(transaction, AttributeType::Data, name);
      });
      const bool existed = model.erase(name) == 1;
      ASSERT_EQ(status, existed ? NtStatus::Success : NtStatus::ObjectNameNotFound);
    } else {
      model[name] = random_bytes(random, random() % (random() % 4 == 0 ? most : most / 8));
      ASSERT_EQ(in_transaction(scratch.volume(),
                               [&](Transaction& transaction) {
                                 return attributes.set_value(transaction, AttributeType::Data, name,
                                                             model[name]);
                               }),
                NtStatus::Success)
          << "seed " << kSeed << " step " << step;
    }
    ASSERT_NO_FATAL_FAILURE(expect_equal(scratch.volume(), file, model))
        << "seed " << kSeed << " step " << step;
    if (step % 100 == 99) {
      ASSERT_EQ(scratch.check(), "") << "seed " << kSeed << " step " << step;
    }
    if (step % 500 == 499) scratch.reopen();
  }
}

TEST_P(AttributesOverShapes, LeaveNothingOfAnAbortedTransaction) {
  ScratchVolume scratch(GetParam());
  const FileReference file = scratch.make_file();
  std::mt19937_64 random(7);
  Model model;
  constexpr int kSteps = testing::kIsSanitized ? 100 : 400;
  for (int step = 0; step < kSteps; ++step) {
    const std::string before = snapshot(scratch.volume(), file);
    Attributes attributes(scratch.volume(), file);
    const std::u16string name = stream_name(random() % 50);
    const ByteVector value = random_bytes(random, random() % 300);
    {
      Transaction transaction(scratch.volume().journal());
      ASSERT_TRUE(transaction.begin().has_value());
      ASSERT_TRUE(attributes.set_value(transaction, AttributeType::Data, name, value).has_value());
      const std::u16string other = stream_name(random() % 50);
      const auto removed = attributes.remove(transaction, AttributeType::Data, other);
      ASSERT_TRUE(removed.has_value() || removed.error() == NtStatus::ObjectNameNotFound);
    }
    ASSERT_EQ(snapshot(scratch.volume(), file), before) << "step " << step;
    ASSERT_NO_FATAL_FAILURE(expect_equal(scratch.volume(), file, model));
    ASSERT_EQ(in_transaction(scratch.volume(),
                             [&](Transaction& transaction) {
                               return attributes.set_value(transaction, AttributeType::Data, name,
                                                           value);
                             }),
              NtStatus::Success);
    model[name] = value;
    if (step % 50 == 49) {
      ASSERT_EQ(scratch.check(), "") << "step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttributesOverShapes,
                         ::testing::Values(ScratchVolume::Shape{},
                                           ScratchVolume::Shape{.cluster_size = 512},
                                           ScratchVolume::Shape{.record_size = 4096},
                                           ScratchVolume::Shape{.cluster_size = 65536}));

TEST(Attributes, CountEachNameOnceWhereverItIs) {
  ScratchVolume scratch({});
  scratch.ignore([](const Finding& finding) {
    return finding.message.find("link count") == std::string::npos &&
           finding.structure != "attribute list" && finding.structure != "file record";
  });
  const FileReference file = scratch.make_file();
  Attributes attributes(scratch.volume(), file);
  const auto links = [&] {
    return FileRecordView::of_valid((*attributes.base())->bytes()).link_count();
  };
  std::mt19937_64 random(3);
  constexpr int kNames = 200;
  for (int i = 0; i < kNames; ++i) {
    const ByteVector name = file_name(static_cast<uint64_t>(i), 12 + random() % 200);
    ASSERT_EQ(in_transaction(
                  scratch.volume(),
                  [&](Transaction& transaction) { return attributes.insert(transaction, name); }),
              NtStatus::Success);
    ASSERT_EQ(reading(scratch.volume(), links), i + 1);
  }
  ASSERT_GT(records_of(scratch.volume(), file), 20u);
  ASSERT_EQ(scratch.check(), "");
  for (int i = kNames; i > 0; --i) {
    std::vector<Attributes::Found> names =
        reading(scratch.volume(), [&] { return all_of(scratch.volume(), file); });
    std::erase_if(names,
                  [](const auto& found) { return found.view().type() != AttributeType::FileName; });
    ASSERT_EQ(names.size(), static_cast<size_t>(i));
    const auto victim = names[random() % names.size()];
    const auto before = snapshot(scratch.volume(), file);
    {
      Transaction transaction(scratch.volume().journal());
      ASSERT_TRUE(transaction.begin().has_value());
      ASSERT_TRUE(attributes.remove(transaction, victim).has_value());
      ASSERT_EQ(links(), i - 1);
    }
    ASSERT_EQ(reading(scratch.volume(), links), i);
    ASSERT_EQ(snapshot(scratch.volume(), file), before);
    ASSERT_EQ(in_transaction(
                  scratch.volume(),
                  [&](Transaction& transaction) { return attributes.remove(transaction, victim); }),
              NtStatus::Success);
    ASSERT_EQ(reading(scratch.volume(), links), i - 1);
  }
  ASSERT_LE(records_of(scratch.volume(), file), 2u);  // the empty $DATA may have moved out
  ASSERT_EQ(scratch.check(), "");
}

TEST(Attributes, ToldByRoomFitInTheirRecord) {
  ScratchVolume scratch({});
  const FileReference file = scratch.make_file();
  Attributes attributes(scratch.volume(), file);
  const auto room =
      reading(scratch.volume(), [&] { return attributes.resident_room(AttributeType::Data, {}); });
  ASSERT_TRUE(room.has_value());
  ASSERT_GT(*room, 700u);
  const ByteVector value(*room);
  ASSERT_EQ(in_transaction(scratch.volume(),
                           [&](Transaction& transaction) {
                             return attributes.set_value(transaction, AttributeType::Data, {},
                                                         value);
                           }),
            NtStatus::Success);
  EXPECT_EQ(records_of(scratch.volume(), file), 1u);
  const SharedLock lock(scratch.volume().journal().metadata_lock());
  EXPECT_EQ(*attributes.resident_room(AttributeType::Data, {}), *room);
  EXPECT_EQ(*attributes.resident_room(AttributeType::Data, u"x"), 0u);
}

TEST(Attributes, TooLongForAnyRecordAreRefused) {
  ScratchVolume scratch({});
  const FileReference file = scratch.make_file();
  Attributes attributes(scratch.volume(), file);
  const auto before = snapshot(scratch.volume(), file);
  const ByteVector value(1000);
  EXPECT_EQ(in_transaction(scratch.volume(),
                           [&](Transaction& transaction) {
                             return attributes.set_value(transaction, AttributeType::Data, u"long",
                                                         value);
                           }),
            NtStatus::FileSystemLimitation);
  EXPECT_EQ(snapshot(scratch.volume(), file), before);
  EXPECT_EQ(scratch.check(), "");
}

TEST(Attributes, AFullVolumeLeavesTheFileAsItWas) {
  ScratchVolume scratch({.size_bytes = uint64_t{16} << 20});
  const FileReference file = scratch.make_file();
  Volume& volume = scratch.volume();
  {
    const SharedLock lock(volume.journal().metadata_lock());
    const auto all = volume.clusters().available();
    ASSERT_TRUE(volume.clusters().claim(all, Lcn(0)).has_value());
  }
  Attributes attributes(volume, file);
  NtStatus status = NtStatus::Success;
  std::string before;
  const ByteVector value(600);
  for (uint64_t i = 0; status == NtStatus::Success; ++i) {
    ASSERT_LT(i, 1000u);
    before = snapshot(volume, file);
    status = in_transaction(volume, [&](Transaction& transaction) {
      return attributes.set_value(transaction, AttributeType::Data, stream_name(i), value);
    });
  }
  EXPECT_EQ(status, NtStatus::DiskFull);
  EXPECT_EQ(snapshot(volume, file), before);
  EXPECT_EQ(scratch.check(), "");
}

TEST(Attributes, FreeRecordsTakesExtensionsAndTheListWithIt) {
  ScratchVolume scratch({});
  const FileReference file = scratch.make_file();
  Attributes attributes(scratch.volume(), file);
  const ByteVector value(400);
  for (uint64_t i = 0; i < 40; ++i) {
    ASSERT_EQ(in_transaction(scratch.volume(),
                             [&](Transaction& transaction) {
                               return attributes.set_value(transaction, AttributeType::Data,
                                                           stream_name(i), value);
                             }),
              NtStatus::Success);
  }
  const auto list =
      reading(scratch.volume(), [&] { return attributes.find(AttributeType::AttributeList); });
  ASSERT_TRUE(list.has_value());
  EXPECT_FALSE(list->view().is_resident());
  ASSERT_EQ(in_transaction(
                scratch.volume(),
                [&](Transaction& transaction) { return attributes.free_records(transaction); }),
            NtStatus::Success);
  EXPECT_EQ(scratch.check(), "");
  EXPECT_EQ(reading(scratch.volume(), [&] { return attributes.base(); }).error(),
            NtStatus::ObjectNameNotFound);
}

TEST(Attributes, AListThatLiesIsReportedNotBelieved) {
  const ondisk::test::QuietReports quiet;
  ScratchVolume scratch({});
  const FileReference file = scratch.make_file();
  Volume& volume = scratch.volume();
  Attributes attributes(volume, file);
  const ByteVector value(300);
  for (uint64_t i = 0; i < 5; ++i) {
    ASSERT_EQ(in_transaction(volume,
                             [&](Transaction& transaction) {
                               return attributes.set_value(transaction, AttributeType::Data,
                                                           stream_name(i), value);
                             }),
              NtStatus::Success);
  }
  const auto list = reading(volume, [&] { return attributes.find(AttributeType::AttributeList); });
  ASSERT_TRUE(list.has_value());
  ASSERT_TRUE(list->view().is_resident());
  const ByteVector good = copy_of(list->view().value());
  std::mt19937_64 random(11);
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    ByteVector bad = good;
    const size_t changes = 1 + random() % 3;
    for (size_t i = 0; i < changes; ++i) {
      bad[random() % bad.size()] = static_cast<std::byte>(random());
    }
    Transaction transaction(volume.journal());
    ASSERT_TRUE(transaction.begin().has_value());
    ASSERT_TRUE(attributes.update_value(transaction, *list, 0, bad).has_value());
    const auto all = attributes.all();
    if (!all) {
      ASSERT_EQ(all.error(), NtStatus::FileCorruptError);
      ++refused;
    }
    const std::u16string name = stream_name(random() % 5);
    (void)attributes.find(AttributeType::Data, name);
    (void)attributes.load_runs(AttributeType::Data, name);
    // Changes of what is left end in a refusal or a record that is still valid.
    if (random() % 2 == 0) {
      (void)attributes.set_value(transaction, AttributeType::Data, name, ByteVector(350));
    } else {
      (void)attributes.remove(transaction, AttributeType::Data, name);
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_EQ(scratch.check(), "");
}

}  // namespace
}  // namespace ntfs
