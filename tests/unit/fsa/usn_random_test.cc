// The change journal against the tree: random operations, and a crash after each record of the log.

#include <random>

#include "tests/support/usn_names.h"
#include "tests/unit/fsa/usn_store.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs::testing {
namespace {

/// Operations of every kind on a few names, some of files that are open.
class Players {
 public:
  Players(UsnStore& v, uint32_t seed) : v_(v), random_(seed) {}
  ~Players() { close_all(); }

  void play(size_t count) {
    for (size_t i = 0; i < count; ++i) step();
  }
  void close_all() {
    for (auto& open : opens_) v_.store().close(std::move(open));
    opens_.clear();
  }

 private:
  static constexpr size_t kNames = 12;
  std::u16string name() { return u"name " + std::u16string(1 + random_() % 40, u'a') + letter(); }
  std::u16string letter() {
    return std::u16string(1, static_cast<char16_t>(u'A' + random_() % kNames));
  }
  std::u16string some() { return names_.empty() ? u"none" : names_[random_() % names_.size()]; }
  FilePtr file_at(const std::u16string& name) {
    const auto found = v_.store().lookup(*v_.root(), name);
    return found ? *found : nullptr;
  }
  void add(const std::u16string& name) { names_.push_back(name); }

  void step() {
    ObjectStore& store = v_.store();
    const FilePtr root = v_.root();
    const std::u16string at = some();
    const FilePtr file = file_at(at);
    switch (random_() % 12) {
      case 0:
      case 1: {
        const std::u16string fresh = name();
        CreateParameters parameters;
        parameters.kind = random_() % 4 == 0 ? FileKind::Directory : FileKind::File;
        if (store.create(*root, fresh, parameters)) add(fresh);
        break;
      }
      case 2:
        if (file && opens_.size() < 6) open(file);
        break;
      case 3:
        if (!opens_.empty()) {
          std::swap(opens_.back(), opens_[random_() % opens_.size()]);
          store.close(std::move(opens_.back()));
          opens_.pop_back();
        }
        break;
      case 4:
      case 5:
        if (!opens_.empty()) {
          Open& chosen = *opens_[random_() % opens_.size()];
          if (!chosen.is_directory()) v_.write(chosen, random_() % 20000, 1 + random_() % 9000);
        }
        break;
      case 6: {
        const std::u16string fresh = name();
        const auto done = store.rename(*root, at, *root, fresh, ObjectStore::RenameMode::Replace);
        if (done) add(fresh);
        break;
      }
      case 7:
        (void)store.rename(*root, at, *root, some(), ObjectStore::RenameMode::Exchange).has_value();
        break;
      case 8: {
        const std::u16string fresh = name();
        if (file && store.link(*file, *root, fresh)) add(fresh);
        break;
      }
      case 9:
        if (!store.remove(*root, at, ObjectStore::RemoveKind::File)) {
          (void)store.remove(*root, at, ObjectStore::RemoveKind::Directory).has_value();
        }
        break;
      case 10:
        if (file) change(*file);
        break;
      default:
        if (random_() % 4 == 0) {
          EXPECT_TRUE(store.flush());
        }
    }
  }
  void open(const FilePtr& file) { opens_.push_back(v_.open(file)); }
  void change(File& file) {
    BasicInformation information;
    if (random_() % 2 == 0) information.file_attributes = random_() % 2 == 0 ? 2 : 0x20;
    if (random_() % 2 == 0) information.linux_metadata.mode = random_() % 0777;
    (void)v_.store().set_basic_information(file, information).has_value();
    (void)v_.store().set_end_of_file(file, random_() % 30000).has_value();
  }

  UsnStore& v_;
  std::mt19937 random_;
  std::vector<std::unique_ptr<Open>> opens_;
  std::vector<std::u16string> names_;
};

TEST(UsnRandom, NamesOfTheJournalAreThoseOfTheTree) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (uint32_t round = 0; round < 4; ++round) {
    UsnStore v(UsnStore::Shape{.usn_size = uint64_t{16} << 20});
    {
      Players players(v, seed + round);
      players.play(1500);
    }
    ASSERT_TRUE(v.store().flush());
    ASSERT_EQ(judge_journal(v.store()), "");
    ASSERT_EQ(v.check(), "");
    v.remount();
    ASSERT_EQ(judge_journal(v.store()), "");
  }
}

/// The device as it stands when the log ends with `last`.
TEST(UsnRandom, AfterEachCrashTheJournalAndTheTreeAgree) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  UsnStore v(UsnStore::Shape{.bytes = uint64_t{16} << 20});
  Players players(v, seed);
  players.play(100);
  ASSERT_TRUE(v.store().volume().journal().checkpoint());
  CrashedLog before(v.device());
  const lfs::Lsn begin = before.last_lsn();
  players.play(150);
  ASSERT_TRUE(v.store().flush());
  const auto flushed = v.device().clone();
  CrashedLog log(*flushed);
  const auto positions = log.positions(begin);
  ASSERT_GT(positions.size(), 300u);
  for (size_t i = 0; i < positions.size(); i += 1 + positions.size() / 120) {
    const auto crashed = flushed->clone();
    CrashedLog(*crashed).cut_behind(positions[i]);
    const auto store = mount(*crashed);
    ASSERT_NE(store, nullptr);
    ASSERT_EQ(judge_journal(*store), "") << i;
    ASSERT_TRUE(store->dismount());
    const auto report = check_volume(*crashed, {});
    ASSERT_TRUE(report);
    ASSERT_TRUE(report->errors.empty()) << i << ": " << to_line(report->errors.front());
  }
}

}  // namespace
}  // namespace ntfs::testing
