// MS-FSA 2.1.5.1.2.2 "Algorithm to Check Sharing Access to an Existing Stream or Directory", and
// the oplocks that stand in its way.

#include <gtest/gtest.h>

#include <array>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Level = OplockLevel;

class SharingTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Open>> try_open(uint32_t access, uint32_t share, OplockKey key = {}) {
    OpenParameters parameters;
    parameters.desired_access = access;
    parameters.share_access = share;
    parameters.oplock_keys.target_key = key;
    return s_.store().open(s_.file(), parameters);
  }
  OpenPtr open(uint32_t access, uint32_t share, OplockKey key = {}) {
    auto made = try_open(access, share, key);
    EXPECT_TRUE(made) << name_of(made.error());
    return OpenPtr(made ? made->release() : nullptr, Closer{&s_.store()});
  }
  NtStatus status_of_open(uint32_t access, uint32_t share) {
    auto made = try_open(access, share);
    if (!made) return made.error();
    s_.store().close(std::move(*made));
    return NtStatus::Success;
  }

  OpenedStore s_;
};

constexpr std::array<uint32_t, 7> kAccesses = {
    AccessMask::ReadData,      AccessMask::Execute, AccessMask::WriteData,
    AccessMask::AppendData,    AccessMask::Delete,  AccessMask::ReadData | AccessMask::WriteData,
    AccessMask::ReadAttributes};
/// The sharing mode that each of them needs of the others.
constexpr std::array<uint32_t, 7> kNeeds = {ShareAccess::Read,
                                            ShareAccess::Read,
                                            ShareAccess::Write,
                                            ShareAccess::Write,
                                            ShareAccess::Delete,
                                            ShareAccess::Read | ShareAccess::Write,
                                            0};

TEST_F(SharingTest, EachAccessNeedsEveryOthersShare) {
  proves("C16");
  size_t count_refused = 0;
  for (size_t i = 0; i < kAccesses.size(); ++i) {
    for (uint32_t share = 0; share <= ShareAccess::All; ++share) {
      const OpenPtr first = open(kAccesses[i], share);
      for (size_t j = 0; j < kAccesses.size(); ++j) {
        for (uint32_t other_share = 0; other_share <= ShareAccess::All; ++other_share) {
          const bool is_part = kNeeds[i] != 0 && kNeeds[j] != 0;
          const bool is_refused =
              is_part && ((kNeeds[j] & ~share) != 0 || (kNeeds[i] & ~other_share) != 0);
          ASSERT_EQ(status_of_open(kAccesses[j], other_share),
                    is_refused ? NtStatus::SharingViolation : NtStatus::Success)
              << std::hex << kAccesses[i] << " shares " << share << ", " << kAccesses[j]
              << " shares " << other_share;
          count_refused += is_refused ? 1 : 0;
        }
      }
    }
  }
  EXPECT_GT(count_refused, 1000u);
  EXPECT_EQ(status_of_open(AccessMask::ReadData, 8), NtStatus::InvalidParameter);
  EXPECT_EQ(status_of_open(AccessMask::ReadData, 0), NtStatus::Success) << "nothing is left";
}

TEST_F(SharingTest, NamesAreTakenAwayOnlyWhereDeletionIsShared) {
  proves("C16");
  auto& store = s_.store();
  const FilePtr root = store.root();
  {
    const OpenPtr attributes = open(AccessMask::ReadAttributes, 0);
    const OpenPtr reader = open(AccessMask::ReadData, ShareAccess::Read | ShareAccess::Write);
    ASSERT_TRUE(store.create(*root, u"other", {}));
    using Mode = ObjectStore::RenameMode;
    EXPECT_EQ(store.rename(*root, u"file", *root, u"new", Mode::Replace).error(),
              NtStatus::SharingViolation);
    EXPECT_EQ(store.rename(*root, u"other", *root, u"file", Mode::Replace).error(),
              NtStatus::SharingViolation);
    EXPECT_EQ(store.rename(*root, u"other", *root, u"file", Mode::Exchange).error(),
              NtStatus::SharingViolation);
    EXPECT_EQ(store.remove(*root, u"file", ObjectStore::RemoveKind::File).error(),
              NtStatus::SharingViolation);
    EXPECT_TRUE(store.link(*s_.file(), *root, u"link")) << "no name goes";
  }
  const OpenPtr sharing = open(AccessMask::ReadData, ShareAccess::All);
  EXPECT_TRUE(store.remove(*root, u"file", ObjectStore::RemoveKind::File));
}

TEST_F(SharingTest, HandlesInACacheAreAskedForFirst) {
  proves("C16 6.3");
  constexpr uint32_t kReadShare = ShareAccess::Read;
  for (const bool is_closed : {true, false}) {
    for (const Level level : {Level::ReadHandle, Level::ReadWriteHandle, Level::Batch}) {
      OpenPtr cached = open(AccessMask::ReadData, kReadShare, {1, 1});
      Holder holder;
      ASSERT_TRUE(s_.store().request_oplock(*cached, level, holder));
      auto opening = std::async(std::launch::async, [&] {
        return status_of_open(AccessMask::WriteData, ShareAccess::All);
      });
      const OplockNotice told = holder.told();
      EXPECT_TRUE(told.acknowledge_required);
      EXPECT_EQ(told.new_level, level == Level::ReadHandle        ? Level::Read
                                : level == Level::ReadWriteHandle ? Level::ReadWrite
                                                                  : Level::LevelTwo);
      Holder kept;
      if (is_closed) {
        cached.reset();
      } else {
        ASSERT_TRUE(s_.store().acknowledge_oplock_break(*cached, told.new_level, kept));
      }
      EXPECT_EQ(opening.get(), is_closed ? NtStatus::Success : NtStatus::SharingViolation);
      if (cached == nullptr) continue;
      cached.reset();
      kept.told();
    }
  }
}

TEST_F(SharingTest, OtherOplocksStayWhenTheOpenIsRefused) {
  proves("C16 6.3");
  for (const Level level : {Level::Read, Level::ReadWrite, Level::LevelOne, Level::LevelTwo}) {
    OpenPtr cached = open(AccessMask::ReadData, ShareAccess::Read, {1, 1});
    Holder holder;
    ASSERT_TRUE(s_.store().request_oplock(*cached, level, holder));
    EXPECT_EQ(status_of_open(AccessMask::WriteData, ShareAccess::All), NtStatus::SharingViolation);
    cached.reset();
    const NtStatus end = holder.told().status;
    EXPECT_EQ(end, level == Level::Read || level == Level::ReadWrite ? NtStatus::OplockHandleClosed
                                                                     : NtStatus::Success);
  }
}

TEST(Sharing, IsForStoresWhoseOpensLock) {
  OpenedStore s({.opens_lock = OpensLock::No});
  OpenParameters parameters;
  parameters.share_access = ShareAccess::Read;
  EXPECT_EQ(s.store().open(s.file(), parameters).error(), NtStatus::NotSupported);
}

// Directories that show the file.

TEST_F(SharingTest, ChangesOfSizesAndTimesBreakTheOplocksOfTheFilesDirectories) {
  proves("E3 N1 6.2 6.3");
  auto& store = s_.store();
  CreateParameters directory;
  directory.kind = FileKind::Directory;
  const FilePtr below = *store.create(*store.root(), u"below", directory);
  ASSERT_TRUE(store.link(*s_.file(), *below, u"second"));
  OpenParameters parameters;
  parameters.desired_access = AccessMask::ReadData;
  parameters.oplock_keys.target_key = {7, 7};
  OpenParameters of_family;
  of_family.desired_access = kReadWrite;
  of_family.oplock_keys = {{1, 1}, {7, 7}};
  auto family = OpenPtr(store.open(s_.file(), of_family)->release(), Closer{&store});
  const OpenPtr stranger = open(kReadWrite, ShareAccess::All);
  BasicInformation information;
  information.times.last_write = ondisk::FileTime::now();
  const std::vector<std::function<void(Open&)>> changes = {
      [&](Open& by) { EXPECT_TRUE(store.set_end_of_file(by, 5000)); },
      [&](Open& by) { EXPECT_TRUE(store.set_allocation(by, 20000)); },
      [&](Open&) { EXPECT_TRUE(store.set_basic_information(*s_.file(), information)); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    for (const FilePtr& place : {store.root(), below}) {
      const auto listing = OpenPtr(store.open(place, parameters)->release(), Closer{&store});
      Holder holder;
      ASSERT_TRUE(store.request_oplock(*listing, Level::Read, holder));
      if (i < 2) changes[i](*family);  // breaks nothing: the same holder
      Holder again;
      ASSERT_TRUE(store.request_oplock(*listing, Level::Read, again));
      EXPECT_EQ(holder.told().status, NtStatus::OplockSwitchedToNewHandle);
      changes[i](*stranger);
      EXPECT_EQ(again.told().new_level, Level::None) << i;
    }
  }
}

}  // namespace
}  // namespace ntfs
