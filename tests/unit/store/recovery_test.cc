// Recovery of logs that this driver wrote: the device as it is at some moment stands for a crash.

#include "core/store/recovery.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <set>

#include "tests/support/sanitized.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs {
namespace {

using testing::checked_tree;
using testing::CrashedLog;
using testing::geometry_of;
using testing::LogPosition;
using testing::MemoryDevice;
using testing::mount;
using testing::recover;
using testing::Tree;
using testing::tree_of;

std::u16string numbered(std::string_view prefix, int number) {
  const std::string text = std::string(prefix) + std::to_string(number);
  return {text.begin(), text.end()};
}

std::unique_ptr<MemoryDevice> make_volume() { return testing::make_volume(32 << 20, 4096); }

FilePtr create(ObjectStore& store, const FilePtr& directory, std::u16string_view name,
               FileKind kind = FileKind::File) {
  CreateParameters parameters;
  parameters.kind = kind;
  if (kind == FileKind::File) parameters.linux_metadata.mode = 0100644;
  auto file = store.create(*directory, name, parameters);
  EXPECT_TRUE(file) << name_of(file.error());
  return file ? *file : nullptr;
}

void put(ObjectStore& store, const FilePtr& file, std::string_view text) {
  EXPECT_TRUE(store.write(*file, 0, text_bytes(text), ObjectStore::Buffering::Buffered));
}

TEST(Recovery, BringsBackWhatWasCommittedAndNotWrittenInPlace) {
  const auto device = make_volume();
  const auto store = mount(*device);
  const FilePtr directory = create(*store, store->root(), u"directory", FileKind::Directory);
  for (int i = 0; i < 300; ++i) put(*store, create(*store, directory, numbered("file", i)), "text");
  for (int i = 0; i < 300; i += 3) {
    ASSERT_TRUE(store->remove(*directory, numbered("file", i), ObjectStore::RemoveKind::File));
  }
  ASSERT_TRUE(store->rename(*directory, u"file1", *store->root(), u"moved",
                            ObjectStore::RenameMode::NoReplace));
  ASSERT_TRUE(store->flush());
  const auto crashed = device->clone();
  const Tree expected = tree_of(*store);
  EXPECT_EQ(recover(*crashed), expected);
  EXPECT_EQ(expected.size(), 2u + 199u);
}

TEST(Recovery, ReportsWhatItDidAndTheLastOperations) {
  const auto device = make_volume();
  const auto store = mount(*device);
  create(*store, store->root(), u"a");
  create(*store, store->root(), u"b");
  create(*store, store->root(), u"d", FileKind::Directory);
  const FilePtr d = *store->lookup(*store->root(), u"d");
  ASSERT_TRUE(store->rename(*store->root(), u"a", *store->root(), u"c",
                            ObjectStore::RenameMode::NoReplace));
  ASSERT_TRUE(store->rename(*store->root(), u"c", *d, u"c", ObjectStore::RenameMode::NoReplace));
  ASSERT_TRUE(store->remove(*store->root(), u"b", ObjectStore::RemoveKind::File));
  ASSERT_TRUE(store->link(**store->lookup(*d, u"c"), *d, u"e"));
  ASSERT_TRUE(store->flush());
  const auto crashed = device->clone();
  const auto again = mount(*crashed);
  ASSERT_NE(again->volume().recovery(), nullptr);
  const RecoveryReport& report = *again->volume().recovery();
  EXPECT_GT(report.records_redone, 0u);
  EXPECT_GT(report.pages, 0u);
  EXPECT_GE(report.transactions_committed, 7u);
  EXPECT_EQ(report.transactions_undone, 0u);
  const std::vector<std::string> expected = {
      R"(create "a")", R"(create "b")", R"(create "d")", R"(rename "a" to "c")",
      R"(move "c")",   R"(remove "b")", R"(link "e")"};
  EXPECT_EQ(report.last_operations, expected);
}

// What a test does to a small tree, in one transaction or a few.
struct Step {
  const char* name;
  std::function<void(ObjectStore&)> act;
};

FilePtr at(ObjectStore& store, std::u16string_view name) {
  auto file = store.lookup(*store.root(), name);
  EXPECT_TRUE(file);
  return file ? *file : nullptr;
}

/// A tree with something for each step to work on.
void fill(ObjectStore& store) {
  const FilePtr root = store.root();
  put(store, create(store, root, u"small"), "a few bytes");
  put(store, create(store, root, u"big"), std::string(200000, 'b'));
  put(store, create(store, root, u"holes"), std::string(200000, 'h'));
  const FilePtr reserved = create(store, root, u"reserved");
  put(store, reserved, "a few bytes");
  // Inside a unit, if it were compressed.
  EXPECT_TRUE(store.allocate(*reserved, 141127, 3, Stream::KeepSize::Yes));
  const FilePtr full = create(store, root, u"full", FileKind::Directory);
  for (int i = 0; i < 200; ++i) create(store, full, numbered("a name of some length ", i));
  create(store, root, u"empty", FileKind::Directory);
  EXPECT_TRUE(store.flush());
  EXPECT_TRUE(store.volume().journal().checkpoint());
}

const std::vector<Step>& steps() {
  using Mode = ObjectStore::RenameMode;
  using Kind = ObjectStore::RemoveKind;
  static const std::vector<Step> all = {
      {"create", [](ObjectStore& s) { create(s, s.root(), u"new"); }},
      {"create with data",
       [](ObjectStore& s) { put(s, create(s, s.root(), u"new"), std::string(9000, 'n')); }},
      {"mkdir", [](ObjectStore& s) { create(s, s.root(), u"new", FileKind::Directory); }},
      {"create in a directory of blocks",
       [](ObjectStore& s) { create(s, at(s, u"full"), u"a name of some length 77a"); }},
      {"create until blocks split",
       [](ObjectStore& s) {
         for (int i = 0; i < 40; ++i) create(s, at(s, u"full"), numbered("a name of some le", i));
       }},
      {"create where a root grows blocks",
       [](ObjectStore& s) {
         for (int i = 0; i < 12; ++i) create(s, at(s, u"empty"), numbered("some name ", i));
       }},
      {"remove", [](ObjectStore& s) { EXPECT_TRUE(s.remove(*s.root(), u"small", Kind::File)); }},
      {"remove big", [](ObjectStore& s) { EXPECT_TRUE(s.remove(*s.root(), u"big", Kind::File)); }},
      {"rmdir",
       [](ObjectStore& s) { EXPECT_TRUE(s.remove(*s.root(), u"empty", Kind::Directory)); }},
      {"remove from a directory of blocks",
       [](ObjectStore& s) {
         for (int i = 100; i < 140; ++i) {
           EXPECT_TRUE(
               s.remove(*at(s, u"full"), numbered("a name of some length ", i), Kind::File));
         }
       }},
      {"rename",
       [](ObjectStore& s) {
         EXPECT_TRUE(s.rename(*s.root(), u"small", *at(s, u"full"), u"moved", Mode::NoReplace));
       }},
      {"rename over",
       [](ObjectStore& s) {
         EXPECT_TRUE(s.rename(*s.root(), u"small", *s.root(), u"big", Mode::Replace));
       }},
      {"exchange",
       [](ObjectStore& s) {
         EXPECT_TRUE(s.rename(*s.root(), u"small", *s.root(), u"full", Mode::Exchange));
       }},
      {"link",
       [](ObjectStore& s) { EXPECT_TRUE(s.link(*at(s, u"small"), *at(s, u"empty"), u"link")); }},
      {"extend",
       [](ObjectStore& s) {
         EXPECT_TRUE(s.write(*at(s, u"small"), 0, text_bytes(std::string(50000, 's')),
                             ObjectStore::Buffering::Buffered));
       }},
      {"overwrite resident", [](ObjectStore& s) { put(s, at(s, u"small"), "other bytes"); }},
      {"truncate", [](ObjectStore& s) { EXPECT_TRUE(s.set_end_of_file(*at(s, u"big"), 5000)); }},
      {"punch",
       [](ObjectStore& s) {
         for (uint64_t i = 0; i < 20; i += 2) {
           EXPECT_TRUE(s.punch(*at(s, u"holes"), i * 8192, 8192));
         }
       }},
      {"compress what has clusters behind its end",
       [](ObjectStore& s) {
         EXPECT_TRUE(s.set_compression(*at(s, u"reserved"), Compression::Lznt1));
         put(s, at(s, u"reserved"), "other bytes");
       }},
      {"chmod",
       [](ObjectStore& s) {
         BasicInformation information;
         information.linux_metadata.mode = 0100600;
         EXPECT_TRUE(s.set_basic_information(*at(s, u"small"), information));
       }},
  };
  return all;
}

TEST(Recovery, TakesBackATransactionThatWasCutAnywhere) {
  const auto start = make_volume();
  {
    const auto store = mount(*start);
    fill(*store);
    ASSERT_TRUE(store->dismount());
  }
  for (const Step& step : steps()) {
    SCOPED_TRACE(step.name);
    const auto device = start->clone();
    const auto store = mount(*device);
    const Tree before = tree_of(*store);
    ASSERT_TRUE(store->flush());
    const lfs::Lsn begin = CrashedLog(*device).last_lsn();
    step.act(*store);
    ASSERT_TRUE(store->flush());
    const Tree after = tree_of(*store);
    const auto positions = CrashedLog(*device).positions(begin);
    ASSERT_FALSE(positions.empty());
    const auto is_end = [](const LogPosition& position) { return position.ends_transaction; };
    const auto first_end = std::find_if(positions.begin(), positions.end(), is_end);
    // Every record of short steps, some of the long ones.
    const size_t stride = 1 + positions.size() / (testing::kIsSanitized ? 15 : 60);
    for (size_t i = 0; i < positions.size(); i += i + 8 < positions.size() ? stride : 1) {
      SCOPED_TRACE(i);
      const auto cut = device->clone();
      CrashedLog(*cut).cut_behind(positions[i]);
      const Tree found = recover(*cut);
      if (positions.begin() + static_cast<ptrdiff_t>(i) < first_end) {
        ASSERT_EQ(found, before);
      } else if (i + 1 == positions.size()) {
        ASSERT_EQ(found, after);
      }
      if (HasFailure()) return;
    }
  }
}

/// The sizes of the stream where the log ends behind each record of what `act` logs; -1: none.
std::set<int64_t> sizes_at_cuts(MemoryDevice& device,
                                const std::function<void(ObjectStore&)>& act) {
  const auto store = mount(device);
  EXPECT_TRUE(store->flush());
  const lfs::Lsn begin = CrashedLog(device).last_lsn();
  act(*store);
  EXPECT_TRUE(store->flush());
  std::set<int64_t> sizes;
  for (const LogPosition& position : CrashedLog(device).positions(begin)) {
    const auto cut = device.clone();
    CrashedLog(*cut).cut_behind(position);
    const auto again = mount(*cut);
    const auto value = again->read_stream(*at(*again, u"file"), u"stream");
    EXPECT_TRUE(value || value.error() == NtStatus::ObjectNameNotFound);
    sizes.insert(value ? static_cast<int64_t>(value->size()) : -1);
  }
  return sizes;
}

TEST(Recovery, ShowsAStreamsOldValueOrItsNewOne) {
  for (const bool reflink : {false, true}) {
    SCOPED_TRACE(reflink);
    const auto device = testing::make_volume(32 << 20, 4096, reflink);
    {
      const auto store = mount(*device);
      create(*store, store->root(), u"file");
      ASSERT_TRUE(store->set_stream(*at(*store, u"file"), u"stream", ByteVector(5000)));
      ASSERT_TRUE(store->dismount());
    }
    const auto removed = device->clone();
    EXPECT_EQ(sizes_at_cuts(*device,
                            [](ObjectStore& s) {
                              const ByteVector value(12000);
                              EXPECT_TRUE(s.set_stream(*at(s, u"file"), u"stream", value));
                            }),
              (std::set<int64_t>{5000, 12000}));
    EXPECT_EQ(sizes_at_cuts(
                  *removed,
                  [](ObjectStore& s) { EXPECT_TRUE(s.remove_stream(*at(s, u"file"), u"stream")); }),
              (std::set<int64_t>{-1, 5000}));
  }
}

// With a small log; many runs are freed and taken in the same transaction.
TEST(Recovery, AValueOfARunForEachClusterComesAndGoesAtOnce) {
  constexpr uint64_t kCluster = 512;
  MemoryDevice device(8 << 20);
  FormatOptions options;
  options.cluster_size = kCluster;
  options.content = DeviceContent::Zeroed;
  options.log_size = 256 << 10;
  ASSERT_TRUE(format_volume(device, options));
  const auto store = mount(device);
  const FilePtr file = create(*store, store->root(), u"file");
  const FilePtr rest = create(*store, store->root(), u"rest");
  for (int i = 0; i < 2400; ++i) {
    const FilePtr small = create(*store, store->root(), numbered("small", i));
    ASSERT_TRUE(store->allocate(*small, 0, kCluster, Stream::KeepSize::Yes));
  }
  uint64_t end = 0;
  for (uint64_t step = 4096 * kCluster; step >= kCluster; step /= 2) {
    while (store->allocate(*rest, end, step, Stream::KeepSize::Yes)) end += step;
  }
  for (int i = 0; i < 2400; i += 2) {
    ASSERT_TRUE(store->remove(*store->root(), numbered("small", i), ObjectStore::RemoveKind::File));
  }
  ASSERT_TRUE(store->volume().checkpoint());  // now the clusters of the small files are free
  const ByteVector value(64 << 10);
  for (const auto* name : {u"a", u"b", u"c", u"stream", u"stream"}) {
    ASSERT_TRUE(store->set_stream(*file, name, value)) << ondisk::to_display(name);
  }
  EXPECT_GT(file->named_stream(u"stream")->runs()->runs().size(), 100u);
  ASSERT_TRUE(store->remove_stream(*file, u"stream"));
  ASSERT_TRUE(store->dismount());
  checked_tree(device);
}

/// Bytes of the device that are no part of its log, of one of two versions each.
class MixedDevices {
 public:
  MixedDevices(MemoryDevice& old, MemoryDevice& now, uint64_t unit_bytes)
      : old_(old), unit_(unit_bytes) {
    const auto geometry = geometry_of(old);
    CrashedLog log(old);
    AlignedBuffer a(1 << 20);
    AlignedBuffer b(1 << 20);
    for (uint64_t at = 0; at < old.size_bytes(); at += a.size()) {
      EXPECT_TRUE(old.read(at, a.bytes()));
      EXPECT_TRUE(now.read(at, b.bytes()));
      for (uint64_t i = 0; i < a.size(); i += unit_) {
        const ByteView mine = ByteView(a.bytes()).subspan(i, unit_);
        const ByteView other = ByteView(b.bytes()).subspan(i, unit_);
        if (std::equal(mine.begin(), mine.end(), other.begin())) continue;
        const Lcn lcn((at + i) / geometry.cluster_size);
        bool is_log = false;
        for (const Run& run : log.runs().runs()) {
          is_log = is_log || (lcn >= run.lcn && lcn < run.lcn + run.count);
        }
        if (!is_log) units_[at + i] = ByteVector(other.begin(), other.end());
      }
    }
  }
  size_t count_units() const { return units_.size(); }

  /// The old device with about `tenths` tenths of the units that differ as they are now.
  std::unique_ptr<MemoryDevice> mix(std::mt19937& random, uint32_t tenths) const {
    auto mixed = old_.clone();
    AlignedBuffer buffer(unit_);
    for (const auto& [offset, bytes] : units_) {
      if (random() % 10 >= tenths) continue;
      std::copy(bytes.begin(), bytes.end(), buffer.bytes().begin());
      EXPECT_TRUE(mixed->write(offset, buffer.bytes().first(unit_)));
    }
    return mixed;
  }

 private:
  MemoryDevice& old_;
  const uint64_t unit_;
  std::map<uint64_t, ByteVector> units_;
};

uint32_t test_seed() {
  const char* given = std::getenv("NTFS_TEST_SEED");
  const uint32_t seed = given != nullptr ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10))
                                         : std::random_device()();
  std::printf("NTFS_TEST_SEED=%u\n", seed);
  return seed;
}

/// A volume with all steps done one after the other, not written in place; checkpoints between.
std::unique_ptr<MemoryDevice> busy_volume(std::unique_ptr<ObjectStore>& store) {
  auto device = make_volume();
  store = mount(*device);
  fill(*store);
  size_t number = 0;
  for (const char* name : {"create in a directory of blocks", "create until blocks split",
                           "remove from a directory of blocks", "extend", "punch", "exchange",
                           "remove big", "chmod"}) {
    const auto step = std::find_if(steps().begin(), steps().end(),
                                   [&](const Step& s) { return std::string_view(s.name) == name; });
    if (std::string_view(name) == "chmod") {
      BasicInformation information;
      information.linux_metadata.mode = 0100600;
      EXPECT_TRUE(store->set_basic_information(*at(*store, u"holes"), information));
    } else {
      step->act(*store);
    }
    if (++number == 2) {
      EXPECT_TRUE(store->volume().journal().checkpoint());
    }
  }
  EXPECT_TRUE(store->flush());
  return device;
}

TEST(Recovery, RebuildsPagesThatACheckpointTore) {
  std::unique_ptr<ObjectStore> store;
  const auto device = busy_volume(store);
  const Tree expected = tree_of(*store);
  const auto before = device->clone();
  ASSERT_TRUE(store->volume().journal().checkpoint());
  const MixedDevices mixed(*before, *device, 512);
  ASSERT_GT(mixed.count_units(), 100u);
  std::mt19937 random(test_seed());
  for (uint32_t i = 0; i < 22; ++i) {
    SCOPED_TRACE(i);
    const auto torn = mixed.mix(random, i % 11);
    ASSERT_EQ(recover(*torn), expected);
  }
}

TEST(Recovery, IsRecoveredItselfAfterACrashAtAnyWrite) {
  std::unique_ptr<ObjectStore> store;
  const auto device = busy_volume(store);
  const Tree expected = tree_of(*store);
  for (uint64_t write = 1;; ++write) {
    SCOPED_TRACE(write);
    const auto crashed = device->clone();
    crashed->fail_write(write, MemoryDevice::Lasting::Forever);
    ObjectStoreOptions options;
    options.volume.commit_interval = std::chrono::hours(1);
    std::string why_not;
    const bool is_through = ObjectStore::mount(*crashed, options, why_not).has_value();
    crashed->clear_faults();
    ASSERT_EQ(recover(*crashed), expected);
    if (is_through) break;
    ASSERT_LT(write, 1000u);
  }
}

TEST(Recovery, IsRecoveredWhateverOfItsWritesArrived) {
  std::unique_ptr<ObjectStore> store;
  const auto device = busy_volume(store);
  const Tree expected = tree_of(*store);
  const auto written = device->clone();
  std::string why_not;
  const auto recovery = Recovery::replay(*written, geometry_of(*written), why_not);
  ASSERT_TRUE(recovery) << why_not;
  ASSERT_TRUE((*recovery)->write(*written));
  const MixedDevices mixed(*device, *written, 512);
  std::mt19937 random(test_seed());
  for (uint32_t i = 0; i < 22; ++i) {
    SCOPED_TRACE(i);
    const auto torn = mixed.mix(random, i % 11);
    ASSERT_EQ(recover(*torn), expected);
  }
}

TEST(Recovery, WritesNothingWhenItIsOnlyLookedAt) {
  std::unique_ptr<ObjectStore> store;
  const auto device = busy_volume(store);
  const Tree expected = tree_of(*store);
  const auto crashed = device->clone();
  using Access = VolumeOptions::Access;
  for (const Access access : {Access::ReadOnly, Access::NoRecover}) {
    crashed->reset_counters();
    const auto look = mount(*crashed, access);
    ASSERT_NE(look, nullptr);
    EXPECT_NE(look->volume().recovery(), nullptr);
    EXPECT_EQ(tree_of(*look), expected);
    EXPECT_FALSE(look->volume().is_writable());
    EXPECT_EQ(crashed->counters().writes, 0u);
  }
}

TEST(Recovery, FreesWhatWasUnlinkedWhileOpen) {
  const auto device = make_volume();
  const auto store = mount(*device);
  const FilePtr file = create(*store, store->root(), u"open");
  put(*store, file, std::string(100000, 'o'));
  ASSERT_TRUE(store->open(*file));
  ASSERT_TRUE(store->flush());
  ASSERT_TRUE(store->remove(*store->root(), u"open", ObjectStore::RemoveKind::File));
  ASSERT_TRUE(store->flush());
  const uint64_t used = store->query_store().clusters_free;
  const auto crashed = device->clone();
  store->close(file);
  {
    const auto again = mount(*crashed);
    EXPECT_GT(again->query_store().clusters_free, used);
    ASSERT_TRUE(again->dismount());
  }
  EXPECT_TRUE(checked_tree(*crashed).empty());
}

TEST(Recovery, LooksForHibernationBeforeItWrites) {
  const auto device = make_volume();
  const auto store = mount(*device);
  put(*store, create(*store, store->root(), u"hiberfil.sys"), "hibr" + std::string(9000, 'x'));
  ASSERT_TRUE(store->flush());
  const auto crashed = device->clone();
  crashed->reset_counters();
  ObjectStoreOptions options;
  options.volume.commit_interval = std::chrono::hours(1);
  std::string why_not;
  const auto refused = ObjectStore::mount(*crashed, options, why_not);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), NtStatus::SharingViolation);
  EXPECT_NE(why_not.find("hibernated"), std::string::npos) << why_not;
  EXPECT_EQ(crashed->counters().writes, 0u);
  const auto look = mount(*crashed, VolumeOptions::Access::ReadOnly);
  ASSERT_NE(look, nullptr);
  EXPECT_TRUE(tree_of(*look).contains("/hiberfil.sys"));
}

TEST(Recovery, RefusesALogWithABrokenRecordAndWritesNothing) {
  std::unique_ptr<ObjectStore> store;
  const auto device = busy_volume(store);
  const auto crashed = device->clone();
  CrashedLog log(*crashed);
  const auto positions = log.positions({});
  log.break_record(positions[positions.size() / 2]);
  crashed->reset_counters();
  std::string why_not;
  ObjectStoreOptions options;
  options.volume.commit_interval = std::chrono::hours(1);
  const auto refused = ObjectStore::mount(*crashed, options, why_not);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), NtStatus::LogCorrupt);
  EXPECT_NE(why_not.find("cannot be replayed"), std::string::npos) << why_not;
  options.volume.access = VolumeOptions::Access::ReadOnly;
  EXPECT_FALSE(ObjectStore::mount(*crashed, options, why_not));
  // As it was at the checkpoint.
  const auto look = mount(*crashed, VolumeOptions::Access::NoRecover);
  ASSERT_NE(look, nullptr);
  EXPECT_EQ(look->volume().recovery(), nullptr);
  EXPECT_EQ(crashed->counters().writes, 0u);
}

}  // namespace
}  // namespace ntfs
