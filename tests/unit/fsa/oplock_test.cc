// MS-FSA 2.1.4.12, 2.1.5.18, 2.1.5.19: oplocks. Every sequence of requests, breaks,
// acknowledgements and closes up to a length beside a model; then the protocol through the store,
// with threads.

#include "core/fsa/oplock.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>

#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/oplock_model.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Level = OplockLevel;

constexpr std::array kLevels = {Level::LevelTwo,       Level::LevelOne,   Level::Batch,
                                Level::Read,           Level::ReadHandle, Level::ReadWrite,
                                Level::ReadWriteHandle};
constexpr std::array kAnswers = {Level::None,       Level::LevelTwo,  Level::Read,
                                 Level::ReadHandle, Level::ReadWrite, Level::ReadWriteHandle};
/// One for each kind of demand.
constexpr std::array kOperations = {OplockOperation::Read, OplockOperation::Write,
                                    OplockOperation::Rename, OplockOperation::Delete};

class Token final : public OplockRequest {
 public:
  void complete(const OplockNotice&) override {}
};

/// Engine and model after the same events.
struct World {
  Oplock oplock;
  OplockModel model;
};

class Exploration {
 public:
  explicit Exploration(std::vector<int> keys)
      : keys_(std::move(keys)), owners_(keys_.size()), waits_(keys_.size()), tokens_(keys_.size()) {
    for (size_t i = 0; i < keys_.size(); ++i) {
      owners_[i].target_key.low = static_cast<uint64_t>(keys_[i]);
      waits_[i].owner = &owners_[i];
    }
  }

  /// All sequences up to `length`; those that lead to one state go on as one.
  void run(int length) {
    std::map<std::string, World> states;
    states.emplace("", World{{}, OplockModel(keys_)});
    for (int step = 0; step < length && !::testing::Test::HasFailure(); ++step) {
      std::map<std::string, World> next;
      for (const auto& [name, world] : states) expand(world, next);
      states = std::move(next);
    }
  }
  size_t count_transitions() const { return count_transitions_; }

 private:
  void expand(const World& from, std::map<std::string, World>& next) {
    for (int open = 0; open < static_cast<int>(keys_.size()); ++open) {
      if (!from.model.is_alive(open)) continue;
      const auto index = static_cast<size_t>(open);
      for (const Level level : kLevels) {
        const auto now = situation(from, open);
        step(from, next, [&](World& world, OplockEffects& effects, OplockModel::Outcome& expected) {
          expected = world.model.request(open, level);
          return world.oplock.request(owners_[index], level, tokens_[index], now, effects).error();
        });
      }
      for (const Level level : kAnswers) {
        const auto now = situation(from, open);
        step(from, next, [&](World& world, OplockEffects& effects, OplockModel::Outcome& expected) {
          expected = world.model.acknowledge(open, level);
          return world.oplock.acknowledge(owners_[index], level, tokens_[index], now, effects)
              .error();
        });
      }
      if (from.model.is_waiting(open)) continue;
      for (const OplockOperation operation : kOperations) {
        step(from, next, [&](World& world, OplockEffects& effects, OplockModel::Outcome& expected) {
          expected = world.model.check(open, operation);
          const bool waits = world.oplock.check(operation, waits_[index], effects);
          EXPECT_EQ(waits, expected.waits);
          return NtStatus::Success;
        });
      }
      step(from, next, [&](World& world, OplockEffects& effects, OplockModel::Outcome& expected) {
        expected = world.model.close(open);
        world.oplock.close(owners_[index], effects);
        return NtStatus::Success;
      });
    }
  }

  OplockSituation situation(const World& world, int open) const {
    OplockSituation now;
    now.is_sole_open = true;
    for (int other = 0; other < static_cast<int>(keys_.size()); ++other) {
      if (other == open || !world.model.is_alive(other)) continue;
      now.is_sole_open = false;
      const int key = keys_[static_cast<size_t>(open)];
      if (key == 0 || key != keys_[static_cast<size_t>(other)]) now.others_share_key = false;
    }
    return now;
  }

  template <typename Event>
  void step(const World& from, std::map<std::string, World>& next, Event&& event) {
    World world = from;
    OplockEffects effects;
    OplockModel::Outcome expected;
    OplockModel::Outcome found;
    found.status = event(world, effects, expected);
    found.waits = expected.waits;  // compared by the event
    for (const auto& [request, notice] : effects.completions) {
      const auto open = static_cast<int>(static_cast<Token*>(request) - tokens_.data());
      found.told.push_back({open, notice.status, notice.new_level, notice.acknowledge_required});
    }
    for (const OplockWait* wait : effects.released) {
      found.released.push_back(static_cast<int>(wait - waits_.data()));
    }
    for (auto* outcome : {&expected, &found}) {
      std::sort(outcome->told.begin(), outcome->told.end());
      std::sort(outcome->released.begin(), outcome->released.end());
    }
    ++count_transitions_;
    ASSERT_EQ(found.status, expected.status)
        << from.model.describe() << " transition " << count_transitions_;
    ASSERT_TRUE(found == expected) << from.model.describe() << " -> " << world.model.describe();
    std::string name = world.model.describe();
    for (const Oplock::Holder& holder : world.oplock.holders()) {
      name += "/" + std::to_string(holder.owner - owners_.data()) + ":" +
              std::to_string(static_cast<int>(holder.level)) + (holder.is_breaking ? "b" : "") +
              std::to_string(holder.is_breaking ? static_cast<int>(holder.target) : 0);
    }
    next.try_emplace(std::move(name), std::move(world));
  }

  const std::vector<int> keys_;
  std::vector<OplockOwner> owners_;
  std::vector<OplockWait> waits_;
  std::vector<Token> tokens_;
  size_t count_transitions_ = 0;
};

TEST(OplockSequences, OfTwoOpensAgreeWithTheModel) {
  proves("O3 O5 O7 O8 O9 O10 B1 B2 B3 B4 B5 B6 B7 B9 B10 6.2 6.4 6.5");
  for (const std::vector<int>& keys : {std::vector<int>{1, 2}, {1, 1}, {0, 0}, {0, 1}}) {
    Exploration exploration(keys);
    exploration.run(7);
    EXPECT_GT(exploration.count_transitions(), 1000u);
  }
}

TEST(OplockSequences, OfThreeOpensAgreeWithTheModel) {
  proves("O3 O5 O7 O8 O9 O10 B1 B2 B3 B4 B5 B6 B7 B9 B10 6.2 6.4 6.5");
  for (const std::vector<int>& keys :
       {std::vector<int>{1, 2, 3}, {1, 1, 2}, {1, 1, 1}, {0, 0, 0}, {0, 1, 1}}) {
    Exploration exploration(keys);
    exploration.run(5);
    EXPECT_GT(exploration.count_transitions(), 10000u);
  }
}

// What depends on the stream and not on other holders.

Result<> request(Level level, const OplockSituation& now, OplockEffects& effects) {
  static const OplockOwner owner;
  static Token token;
  Oplock oplock;
  return oplock.request(owner, level, token, now, effects);
}

TEST(OplockGrant, DependsOnTheStream) {
  proves("O1 O2 O4 O6 O11");
  const auto granted = [](Level level, const OplockSituation& now) {
    OplockEffects effects;
    return request(level, now, effects).error();
  };
  for (const Level level : kLevels) {
    const bool is_shared = level == Level::Read || level == Level::ReadHandle;
    const bool has_handle = level == Level::ReadHandle || level == Level::ReadWriteHandle;
    EXPECT_EQ(granted(level, {}), NtStatus::Success);
    EXPECT_EQ(granted(level, {.is_directory = true}),
              is_shared ? NtStatus::Success : NtStatus::InvalidParameter);
    EXPECT_EQ(granted(level, {.is_synchronous = true}), NtStatus::OplockNotGranted);
    EXPECT_EQ(granted(level, {.is_deleted = true}),
              has_handle ? NtStatus::OplockNotGranted : NtStatus::Success);
    EXPECT_EQ(granted(level, {.has_range_lock = true}), is_shared || level == Level::LevelTwo
                                                            ? NtStatus::OplockNotGranted
                                                            : NtStatus::Success);
  }
  for (const int level : {2, 4, 6, 3 + 8, 64}) {
    EXPECT_EQ(granted(static_cast<Level>(level), {}), NtStatus::InvalidParameter);
  }
  OplockEffects effects;
  EXPECT_TRUE(request(Level::None, {.is_synchronous = true}, effects));
  EXPECT_EQ(effects.completions.size(), 1u);
}

TEST(OplockAcknowledgement, LeavesNoHandleOnADeletedStream) {
  proves("B8");
  const OplockOwner owner{{1, 1}, {}};
  const OplockOwner other{{2, 2}, {}};
  OplockWait wait{&other};
  Token token;
  Oplock oplock;
  OplockEffects effects;
  ASSERT_TRUE(oplock.request(owner, Level::ReadWriteHandle, token, {}, effects));
  ASSERT_TRUE(oplock.check(OplockOperation::Read, wait, effects));
  effects = {};
  ASSERT_TRUE(oplock.acknowledge(owner, Level::ReadHandle, token, {.is_deleted = true}, effects));
  ASSERT_EQ(effects.completions.size(), 1u);
  EXPECT_EQ(effects.completions[0].notice.status, NtStatus::CannotGrantRequestedOplock);
  EXPECT_EQ(effects.completions[0].notice.new_level, Level::Read);
  EXPECT_TRUE(effects.completions[0].notice.acknowledge_required);
  EXPECT_TRUE(oplock.acknowledge(owner, Level::Read, token, {.is_deleted = true}, effects));
  EXPECT_EQ(effects.released.size(), 1u);
}

TEST(OplockOfADirectory, IsBrokenByChangesUnderAnotherParentKey) {
  proves("6.2 6.3");
  const OplockOwner holder{{7, 7}, {}};
  const OplockOwner family{{8, 8}, {7, 7}};
  const OplockOwner stranger{{7, 7}, {9, 9}};
  Token token;
  for (const OplockOwner* by : {&family, &stranger}) {
    Oplock oplock;
    OplockEffects effects;
    ASSERT_TRUE(oplock.request(holder, Level::Read, token, {.is_directory = true}, effects));
    OplockWait wait{by};
    EXPECT_FALSE(oplock.check(OplockOperation::ParentChange, wait, effects));
    EXPECT_EQ(effects.completions.empty(), by == &family);
  }
}

// Through the store.

class StoreOplockTest : public ::testing::Test {
 protected:
  OpenedStore s_;
};

TEST_F(StoreOplockTest, AWriteBreaksItsOwnLevelTwo) {
  proves("W11 6.4");
  const auto open = s_.open();
  Holder holder;
  ASSERT_TRUE(s_.store().request_oplock(*open, Level::LevelTwo, holder));
  EXPECT_EQ(s_.read(*open, 0, 1).status, NtStatus::EndOfFile) << "nothing to break";
  ASSERT_EQ(s_.write(*open, 0, {}), NtStatus::Success) << "nor by nothing";
  ASSERT_EQ(s_.write(*open, 0, filled(10, 1)), NtStatus::Success);
  const auto told = holder.told();
  EXPECT_EQ(told.new_level, Level::None);
  EXPECT_FALSE(told.acknowledge_required);
}

TEST_F(StoreOplockTest, AWriteWaitsForTheAcknowledgementAndStartsAgain) {
  proves("W11 A15 B9");
  const auto open = s_.open(0, kReadWrite, {1, 1});
  Holder holder;
  ASSERT_TRUE(s_.store().request_oplock(*open, Level::ReadWrite, holder));
  // An open breaks, too: this one comes before the bytes that the holder writes back.
  auto opening = std::async(std::launch::async, [&] { return s_.open(0, kReadWrite, {2, 2}); });
  const auto told = holder.told();
  EXPECT_EQ(told.new_level, Level::Read);
  EXPECT_TRUE(told.acknowledge_required);
  ASSERT_EQ(s_.write(*open, 0, filled(1000, 1)), NtStatus::Success) << "its own does not wait";
  Holder kept;
  ASSERT_TRUE(s_.store().acknowledge_oplock_break(*open, Level::Read, kept));
  const auto other = opening.get();
  ASSERT_NE(other, nullptr);
  ASSERT_EQ(s_.write(*other, kEndOfStream, filled(10, 2)), NtStatus::Success);
  EXPECT_EQ(kept.told().new_level, Level::None);
  EXPECT_EQ(s_.sizes().file_size, 1010u) << "the end is looked for after the wait";
}

TEST_F(StoreOplockTest, EachOperationBreaksWhatItMust) {
  proves("6.3 R6 E3 K3 F-ZERO");
  using Operation = std::function<void(OpenedStore&, Open&)>;
  const std::vector<std::pair<Operation, Level>> operations = {
      {[](OpenedStore& s, Open& o) { (void)s.read(o, 0, 10); }, Level::ReadHandle},
      {[](OpenedStore& s, Open& o) { EXPECT_TRUE(s.store().flush(o)); }, Level::ReadHandle},
      {[](OpenedStore& s, Open& o) { (void)s.write(o, 0, filled(1, 1)); }, Level::None},
      {[](OpenedStore& s, Open& o) { EXPECT_TRUE(s.store().set_end_of_file(o, 5)); }, Level::None},
      {[](OpenedStore& s, Open& o) { EXPECT_TRUE(s.store().set_allocation(o, 0)); }, Level::None},
      {[](OpenedStore& s, Open& o) { EXPECT_TRUE(s.store().set_zero_data(o, 0, 5)); }, Level::None},
      {[](OpenedStore& s, Open& o) {
         EXPECT_TRUE(s.store().lock(o, {0, 5, ByteRangeLock::Mode::Shared}, nullptr));
       },
       Level::None},
      {[](OpenedStore& s, Open&) {
         EXPECT_TRUE(s.store().rename(*s.store().root(), u"file", *s.store().root(), u"new",
                                      ObjectStore::RenameMode::Replace));
       },
       Level::ReadWrite},
      {[](OpenedStore& s, Open&) {
         EXPECT_TRUE(s.store().remove(*s.store().root(), u"file", ObjectStore::RemoveKind::File));
       },
       Level::ReadWrite},
  };
  for (size_t i = 0; i < operations.size(); ++i) {
    OpenedStore s;
    auto first = s.open(0, kReadWrite, {1, 1});
    ASSERT_EQ(s.write(*first, 0, filled(100, 1)), NtStatus::Success);
    // The second open has the key while the oplock is granted: then nobody else is there.
    const auto other = s.open(0, AccessMask::ReadAttributes, {2, 2});
    first.reset();
    auto holder_open = s.open(0, kReadWrite, {1, 1});
    Holder holder;
    // Not alone: RWH is out of reach; RH shows handle and read demands alike.
    ASSERT_TRUE(s.store().request_oplock(*holder_open, Level::ReadHandle, holder)) << i;
    const auto& operation = operations[i].first;
    const Level left = operations[i].second;
    const auto writer = s.open(0, kReadWrite, {3, 3});
    auto done = std::async(std::launch::async, [&] { operation(s, *writer); });
    if (left == Level::ReadHandle) {
      done.get();  // RH keeps reading
      holder_open.reset();
      EXPECT_EQ(holder.told().status, NtStatus::OplockHandleClosed) << i;
      continue;
    }
    const auto told = holder.told();
    EXPECT_EQ(told.new_level, left == Level::None ? Level::None : Level::Read) << i;
    EXPECT_TRUE(told.acknowledge_required) << i;
    Holder kept;
    EXPECT_TRUE(s.store().acknowledge_oplock_break(*holder_open, Level::None, kept)) << i;
    done.get();
  }
}

TEST_F(StoreOplockTest, AWaitEndsWithTheAcknowledgementOrTheHoldersClose) {
  proves("W11 B10 B11");
  for (const bool is_acknowledged : {true, false}) {
    OpenedStore s;
    auto holder_open = s.open();
    Holder holder;
    ASSERT_TRUE(s.store().request_oplock(*holder_open, Level::Batch, holder));
    OpenPtr other;
    auto opening = std::async(std::launch::async, [&] { other = s.open(); });
    EXPECT_EQ(holder.told().new_level, Level::LevelTwo);
    Holder two;
    ASSERT_TRUE(s.store().acknowledge_oplock_break(*holder_open, Level::LevelTwo, two));
    opening.get();
    ASSERT_EQ(s.write(*other, 0, filled(10, 1)), NtStatus::Success);
    EXPECT_EQ(two.told().new_level, Level::None);
    // RH makes those wait that need the handle closed.
    Holder read_handle;
    ASSERT_TRUE(s.store().request_oplock(*holder_open, Level::ReadHandle, read_handle));
    auto renaming = std::async(std::launch::async, [&] {
      return s.store()
          .rename(*s.store().root(), u"file", *s.store().root(), u"other",
                  ObjectStore::RenameMode::Replace)
          .error();
    });
    EXPECT_EQ(read_handle.told().new_level, Level::Read);
    if (is_acknowledged) {
      Holder none;
      ASSERT_TRUE(s.store().acknowledge_oplock_break(*holder_open, Level::None, none));
    } else {
      holder_open.reset();
    }
    EXPECT_EQ(renaming.get(), NtStatus::Success);
  }
}

TEST_F(StoreOplockTest, AnOperationThatWaitsCanBeCancelled) {
  proves("W11 B11");
  const auto open = s_.open(0, kReadWrite, {1, 1});
  Holder shared;
  ASSERT_TRUE(s_.store().request_oplock(*open, Level::Read, shared));
  Holder exclusive;
  ASSERT_TRUE(s_.store().request_oplock(*open, Level::ReadWrite, exclusive));
  EXPECT_EQ(shared.told().status, NtStatus::OplockSwitchedToNewHandle);
  // An open for attributes breaks nothing, and does not wait.
  const auto other = s_.open(0, AccessMask::ReadAttributes, {2, 2});
  auto writing = std::async(std::launch::async, [&] { return s_.write(*other, 0, filled(9, 1)); });
  EXPECT_EQ(exclusive.told().new_level, Level::None);
  s_.store().cancel(*other);
  EXPECT_EQ(writing.get(), NtStatus::Cancelled);
  EXPECT_EQ(s_.sizes().file_size, 0u);
  // The break stays, and has to be acknowledged.
  Holder none;
  EXPECT_TRUE(s_.store().acknowledge_oplock_break(*open, Level::None, none));
  EXPECT_EQ(s_.write(*other, 0, filled(9, 1)), NtStatus::Success);
}

TEST_F(StoreOplockTest, ChangesOfNamesBreakTheDirectorys) {
  proves("6.3 C11");
  OpenParameters parameters;
  parameters.desired_access = AccessMask::ReadData;
  auto directory = s_.store().open(s_.store().root(), parameters);
  ASSERT_TRUE(directory);
  Holder refused;
  EXPECT_EQ(s_.store().request_oplock(**directory, Level::ReadWrite, refused).error(),
            NtStatus::InvalidParameter);
  Holder holder;
  ASSERT_TRUE(s_.store().request_oplock(**directory, Level::Read, holder));
  ASSERT_TRUE(s_.store().create(*s_.store().root(), u"more", {}));
  EXPECT_EQ(holder.told().new_level, Level::None);
  s_.store().close(std::move(*directory));
}

TEST_F(StoreOplockTest, ALockBelowTheAllocationStandsAgainstSharedOnes) {
  proves("O4 K3");
  const auto open = s_.open();
  ASSERT_EQ(s_.write(*open, 0, filled(10000, 1)), NtStatus::Success);
  Holder first;
  ASSERT_TRUE(s_.store().lock(*open, {20000, 1, ByteRangeLock::Mode::Shared}, nullptr));
  ASSERT_TRUE(s_.store().request_oplock(*open, Level::LevelTwo, first));
  ASSERT_TRUE(s_.store().lock(*open, {30000, 1, ByteRangeLock::Mode::Shared}, nullptr));
  ASSERT_TRUE(s_.store().lock(*open, {0, 1, ByteRangeLock::Mode::Shared}, nullptr));
  EXPECT_EQ(first.told().new_level, Level::None);
  Holder second;
  EXPECT_EQ(s_.store().request_oplock(*open, Level::LevelTwo, second).error(),
            NtStatus::OplockNotGranted);
}

TEST(Oplocks, AreNotForStoresWhoseOpensDoNotLock) {
  OpenedStore s({.opens_lock = OpensLock::No});
  const auto open = s.open();
  Holder holder;
  EXPECT_EQ(s.store().request_oplock(*open, Level::Read, holder).error(), NtStatus::NotSupported);
  EXPECT_EQ(s.store().lock(*open, {0, 1, ByteRangeLock::Mode::Shared}, nullptr).error(),
            NtStatus::NotSupported);
}

}  // namespace
}  // namespace ntfs
