// MS-FSA 2.1.5.11 "Server Requests Change Notifications for a Directory".

#include "core/fsa/change_notify.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Action = NotifyAction;
using Depth = NotifyParameters::Depth;
using Events = std::vector<NotifyEvent>;
using Mode = ObjectStore::RenameMode;

constexpr uint32_t kNames = NotifyFilter::FileName | NotifyFilter::DirectoryName;

struct Told {
  NtStatus status = NtStatus::Pending;
  Events events;
};

/// Outlives the open that it watches by, whose close ends a request.
class Watcher final : public NotifyRequest {
 public:
  void complete(NtStatus status, Events events) override {
    EXPECT_EQ(told.status, NtStatus::Pending) << "told once";
    told = {status, std::move(events)};
  }
  Told told;
};

class NotifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CreateParameters directory;
    directory.kind = FileKind::Directory;
    below_ = *store().create(*store().root(), u"below", directory);
    deep_ = *store().create(*below_, u"deep", directory);
  }
  ObjectStore& store() { return s_.store(); }
  OpenPtr open(const FilePtr& file, uint32_t access = AccessMask::ReadData) {
    OpenParameters parameters;
    parameters.desired_access = access;
    return OpenPtr(store().open(file, parameters)->release(), Closer{&store()});
  }
  /// Asks, on an open that has asked before or has not.
  Result<> ask(Open& directory, Watcher& watcher, uint32_t filter = kNames,
               Depth depth = Depth::Children, size_t buffer = 4096) {
    return store().notify(directory, {filter, depth, buffer}, watcher);
  }
  Told now(Open& directory) {
    Watcher watcher;
    EXPECT_TRUE(ask(directory, watcher));
    if (watcher.told.status == NtStatus::Pending) store().cancel(directory);
    return watcher.told;
  }

  OpenedStore s_;
  FilePtr below_;
  FilePtr deep_;
};

TEST_F(NotifyTest, NamesThatComeAndGoAreToldAtOnce) {
  proves("8.5");
  Watcher first;
  Watcher second;
  const auto root = open(store().root());
  const auto other = open(below_);
  ASSERT_TRUE(ask(*root, first));
  ASSERT_TRUE(ask(*other, second));
  ASSERT_TRUE(store().create(*store().root(), u"new", {}));
  EXPECT_EQ(first.told.status, NtStatus::Success);
  EXPECT_EQ(first.told.events, (Events{{Action::Added, u"new"}}));
  EXPECT_EQ(second.told.status, NtStatus::Pending) << "another directory";
  // What comes before the next request is kept for it.
  ASSERT_TRUE(store().link(*s_.file(), *store().root(), u"link"));
  ASSERT_TRUE(store().remove(*store().root(), u"link", ObjectStore::RemoveKind::File));
  EXPECT_EQ(now(*root).events, (Events{{Action::Added, u"link"}, {Action::Removed, u"link"}}));
  EXPECT_EQ(now(*root).status, NtStatus::Cancelled) << "nothing is told twice";
  EXPECT_FALSE(store().remove(*store().root(), u"no", ObjectStore::RemoveKind::File));
  EXPECT_EQ(now(*root).status, NtStatus::Cancelled) << "nor what did not happen";
}

TEST_F(NotifyTest, RenamesAreToldInPairs) {
  proves("8.5");
  auto& root = *store().root();
  const auto from = open(store().root());
  const auto to = open(below_);
  now(*from);
  now(*to);
  ASSERT_TRUE(store().rename(root, u"file", root, u"same", Mode::Replace));
  EXPECT_EQ(now(*from).events,
            (Events{{Action::RenamedOldName, u"file"}, {Action::RenamedNewName, u"same"}}));
  ASSERT_TRUE(store().rename(root, u"same", *below_, u"moved", Mode::NoReplace));
  EXPECT_EQ(now(*from).events, (Events{{Action::Removed, u"same"}}));
  EXPECT_EQ(now(*to).events, (Events{{Action::Added, u"moved"}}));
  // What takes a name's place is told to who asks for the files' contents.
  const auto contents = open(below_);
  Watcher watcher;
  ASSERT_TRUE(ask(*contents, watcher, NotifyFilter::Size));
  ASSERT_TRUE(store().create(root, u"more", {}));
  now(*from);
  ASSERT_TRUE(store().rename(root, u"more", *below_, u"moved", Mode::Replace));
  EXPECT_EQ(now(*from).events, (Events{{Action::Removed, u"more"}}));
  EXPECT_EQ(now(*to).status, NtStatus::Cancelled);
  EXPECT_EQ(watcher.told.events, (Events{{Action::Modified, u"moved"}}));
  // Two names of one file: nothing happens.
  ASSERT_TRUE(store().link(**store().lookup(*below_, u"moved"), *below_, u"twin"));
  now(*to);
  ASSERT_TRUE(store().rename(*below_, u"moved", *below_, u"twin", Mode::Replace));
  EXPECT_EQ(now(*to).status, NtStatus::Cancelled);
}

TEST_F(NotifyTest, FiltersTellFilesFromDirectories) {
  proves("8.5");
  Watcher of_files;
  Watcher of_directories;
  const auto files = open(store().root());
  const auto directories = open(store().root());
  ASSERT_TRUE(ask(*files, of_files, NotifyFilter::FileName));
  ASSERT_TRUE(ask(*directories, of_directories, NotifyFilter::DirectoryName));
  CreateParameters parameters;
  parameters.kind = FileKind::Directory;
  ASSERT_TRUE(store().create(*store().root(), u"folder", parameters));
  EXPECT_EQ(of_files.told.status, NtStatus::Pending);
  EXPECT_EQ(of_directories.told.events, (Events{{Action::Added, u"folder"}}));
  ASSERT_TRUE(store().rename(*store().root(), u"folder", *store().root(), u"f", Mode::Replace));
  ASSERT_TRUE(store().remove(*store().root(), u"f", ObjectStore::RemoveKind::Directory));
  EXPECT_EQ(of_files.told.status, NtStatus::Pending);
  Watcher rest;
  ASSERT_TRUE(ask(*directories, rest));
  EXPECT_EQ(rest.told.events.size(), 3u);
}

TEST_F(NotifyTest, ATreeIsWatchedToItsLeaves) {
  proves("8.5");
  Watcher tree;
  Watcher flat;
  const auto root = open(store().root());
  const auto children = open(store().root());
  ASSERT_TRUE(ask(*root, tree, kNames, Depth::Tree));
  ASSERT_TRUE(ask(*children, flat));
  ASSERT_TRUE(store().create(*deep_, u"leaf", {}));
  EXPECT_EQ(tree.told.events, (Events{{Action::Added, u"below\\deep\\leaf"}}));
  EXPECT_EQ(flat.told.status, NtStatus::Pending);
}

TEST_F(NotifyTest, ChangesOfAFileAreToldWhenItIsClosed) {
  proves("8.5 A19 X6");
  constexpr uint32_t kData = NotifyFilter::LastWrite | NotifyFilter::Size;
  Watcher any;
  Watcher of_size;
  Watcher silent;
  const auto root = open(store().root());
  const auto sizes = open(store().root());
  ASSERT_TRUE(ask(*root, any, kData));
  ASSERT_TRUE(ask(*sizes, of_size, NotifyFilter::Size));
  const auto reader = open(s_.file());
  auto writer = open(s_.file(), kReadWrite);
  ASSERT_EQ(s_.write(*writer, 0, filled(100, 1)), NtStatus::Success);
  EXPECT_EQ(any.told.status, NtStatus::Pending);
  writer.reset();
  EXPECT_EQ(any.told.events, (Events{{Action::Modified, u"file"}}));
  EXPECT_EQ(of_size.told.events, (Events{{Action::Modified, u"file"}}));
  // An overwrite changes no size.
  Watcher again;
  ASSERT_TRUE(ask(*sizes, again, NotifyFilter::Size));
  writer = open(s_.file(), kReadWrite);
  ASSERT_EQ(s_.write(*writer, 0, filled(50, 1)), NtStatus::Success);
  writer.reset();
  EXPECT_EQ(again.told.status, NtStatus::Pending);
  writer = open(s_.file(), kReadWrite);
  ASSERT_TRUE(store().set_end_of_file(*writer, 10));
  writer.reset();
  EXPECT_EQ(again.told.status, NtStatus::Success);
  // Who only reads tells nothing.
  ASSERT_TRUE(ask(*sizes, silent, NotifyFilter::Size));
  open(s_.file());
  EXPECT_EQ(silent.told.status, NtStatus::Pending);
  BasicInformation information;
  information.file_attributes = ondisk::FileAttributes::Hidden;
  const auto attributes = open(store().root());
  Watcher of_attributes;
  ASSERT_TRUE(ask(*attributes, of_attributes, NotifyFilter::Attributes));
  ASSERT_TRUE(store().set_basic_information(*s_.file(), information));
  EXPECT_EQ(of_attributes.told.events, (Events{{Action::Modified, u"file"}}));
}

TEST_F(NotifyTest, EndsWithStatusesOfItsOwn) {
  proves("8.5 X6");
  auto root = open(store().root());
  Watcher closed;
  ASSERT_TRUE(ask(*root, closed));
  root.reset();
  EXPECT_EQ(closed.told.status, NtStatus::NotifyCleanup);
  // A buffer that is too small, for what came and for what comes.
  root = open(store().root());
  Watcher first;
  ASSERT_TRUE(ask(*root, first, kNames, Depth::Children, 20));
  ASSERT_TRUE(store().create(*store().root(), u"1234", {}));
  EXPECT_EQ(first.told.events.size(), 1u) << "12 bytes and 8 of the name";
  ASSERT_TRUE(store().create(*store().root(), u"12345", {}));
  EXPECT_EQ(now(*root).status, NtStatus::NotifyEnumDir);
  ASSERT_TRUE(store().create(*store().root(), u"a", {}));
  EXPECT_EQ(now(*root).events, (Events{{Action::Added, u"a"}})) << "it starts again";
  // The directory goes.
  const auto deep = open(deep_);
  Watcher removed;
  ASSERT_TRUE(ask(*deep, removed));
  ASSERT_TRUE(store().remove(*below_, u"deep", ObjectStore::RemoveKind::Directory));
  EXPECT_EQ(removed.told.status, NtStatus::DeletePending);
  Watcher late;
  EXPECT_EQ(ask(*deep, late).error(), NtStatus::DeletePending);
  // No directory.
  const auto file = open(s_.file());
  EXPECT_EQ(ask(*file, late).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(late.told.status, NtStatus::Pending);
}

TEST(Notify, IsForStoresWhoseOpensLock) {
  OpenedStore s({.opens_lock = OpensLock::No});
  OpenParameters parameters;
  auto root = s.store().open(s.store().root(), parameters);
  Watcher watcher;
  EXPECT_EQ(s.store().notify(**root, {kNames, Depth::Children, 100}, watcher).error(),
            NtStatus::NotSupported);
  s.store().close(std::move(*root));
}

}  // namespace
}  // namespace ntfs
