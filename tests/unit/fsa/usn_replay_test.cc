// A reader that follows the journal, and never falls behind by more than is kept, knows all names:
// those of a moment, changed by each record since, are those of now. NTFS_WAL_REPLAY_RECORDS: how
// many records at least, for a run by hand.

#include <cstdlib>
#include <random>

#include "core/fsa/usn_control.h"
#include "tests/support/usn_names.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs::testing {
namespace {

/// Changes of names, in a tree of some hundred files, some of which are open.
class Changes {
 public:
  Changes(UsnStore& v, uint32_t seed) : v_(v), random_(seed), directories_{v.root()} {}
  ~Changes() { close_all(); }

  void play() {
    ObjectStore& store = v_.store();
    File& from = *some_directory();
    File& to = *some_directory();
    const std::u16string name = some_name();
    switch (random_() % 10) {
      case 0:
      case 1:
      case 2:
        make(from, name);
        break;
      case 3:
        (void)store.rename(from, name, to, some_name(), ObjectStore::RenameMode::Replace).error();
        break;
      case 4:
        (void)store.rename(from, name, to, some_name(), ObjectStore::RenameMode::Exchange).error();
        break;
      case 5:
        if (const auto file = store.lookup(from, name)) {
          (void)store.link(**file, to, some_name()).error();
        }
        break;
      case 6:
        if (!store.remove(from, name, ObjectStore::RemoveKind::File) && random_() % 8 == 0) {
          (void)store.remove(from, name, ObjectStore::RemoveKind::Directory).error();
        }
        break;
      case 7:
        if (const auto file = store.lookup(from, name)) write(*file);
        break;
      case 8:
        if (const auto file = store.lookup(from, name); file && opens_.size() < 10) {
          opens_.push_back(v_.open(*file));
        }
        break;
      default:
        if (!opens_.empty()) {
          std::swap(opens_.back(), opens_[random_() % opens_.size()]);
          store.close(std::move(opens_.back()));
          opens_.pop_back();
        }
    }
  }
  void close_all() {
    for (auto& open : opens_) v_.store().close(std::move(open));
    opens_.clear();
  }

 private:
  static constexpr size_t kMostDirectories = 20;

  std::u16string some_name() {
    return std::u16string(1 + random_() % 3 * 30, u'n') +
           std::u16string(1, static_cast<char16_t>(u'a' + random_() % 20));
  }
  FilePtr some_directory() { return directories_[random_() % directories_.size()]; }
  void make(File& directory, const std::u16string& name) {
    CreateParameters parameters;
    const bool is_directory = random_() % 6 == 0 && has_room();
    parameters.kind = is_directory ? FileKind::Directory : FileKind::File;
    const auto made = v_.store().create(directory, name, parameters);
    if (made && is_directory) directories_.push_back(*made);
  }
  /// For a further directory: the tree stays small.
  bool has_room() {
    if (directories_.size() < kMostDirectories) return true;
    std::erase_if(directories_,
                  [&](const FilePtr& directory) { return !v_.store().query_parent(*directory); });
    return directories_.size() < kMostDirectories;
  }
  void write(const FilePtr& file) {
    const ByteVector bytes(1 + random_() % 100, std::byte{'x'});
    (void)v_.store().append(*file, bytes).error();
  }

  UsnStore& v_;
  std::mt19937 random_;
  std::vector<FilePtr> directories_;  // some may be gone
  std::vector<std::unique_ptr<Open>> opens_;
};

/// Follows the journal of a store.
class Follower {
 public:
  explicit Follower(UsnStore& v) : controls_(v.store()) {
    const auto journal = controls_.query();
    EXPECT_TRUE(journal);
    parameters_.journal_id = journal->id;
    parameters_.start = journal->next;
    auto names = names_of(v.store());
    EXPECT_TRUE(names);
    names_ = JournalNames(std::move(*names));
  }
  /// What is wrong; "" when nothing is.
  std::string catch_up() {
    const auto journal = controls_.query();  // what is noted becomes records
    if (!journal) return "no journal";
    if (journal->id != parameters_.journal_id)
      return "records are missing: the journal has a new id";
    while (true) {
      const auto answer = controls_.read(parameters_);
      if (!answer) return std::string(name_of(answer.error()));
      for (const usn::Record& record : answer->records) {
        std::string wrong = names_.replay(record);
        if (!wrong.empty()) return wrong;
      }
      if (answer->count_damaged != 0) return "damage";
      count_ += answer->records.size();
      if (answer->next == parameters_.start) return {};
      parameters_.start = answer->next;
    }
  }
  uint64_t count_records() const { return count_; }
  const Names& names() const { return names_.names(); }

 private:
  UsnControls controls_;
  UsnReadParameters parameters_;
  JournalNames names_;
  uint64_t count_ = 0;
};

TEST(UsnReplay, LeadsFromASnapshotOfTheNamesToThoseOfNow) {
  const char* wanted = std::getenv("NTFS_WAL_REPLAY_RECORDS");
  const uint64_t least = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 20000;
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  UsnStore v;
  Changes changes(v, seed);
  for (int i = 0; i < 1000; ++i) changes.play();
  changes.close_all();
  const usn::Usn before = v.usn().next();
  Follower follower(v);
  uint64_t count_operations = 0;
  while (follower.count_records() < least) {
    for (int i = 0; i < 300; ++i) changes.play();
    count_operations += 300;
    ASSERT_EQ(follower.catch_up(), "");
  }
  changes.close_all();
  ASSERT_EQ(follower.catch_up(), "");
  const auto now = names_of(v.store());
  ASSERT_TRUE(now);
  EXPECT_EQ(follower.names(), *now);
  EXPECT_GT(now->size(), 50u);
  EXPECT_GT(v.usn().first(), before);  // what was read first is gone
  EXPECT_EQ(v.check(), "");
  if (wanted != nullptr) {
    printf("%lu operations, %lu records, %zu names, usn %lu to %lu\n", count_operations,
           follower.count_records(), now->size(), v.usn().first().raw(), v.usn().next().raw());
  }
}

}  // namespace
}  // namespace ntfs::testing
