// Object ids: MS-FSA 2.1.5.10.1 "FSCTL_CREATE_OR_GET_OBJECT_ID", .2, .13, .35, .36.

#include "core/fsa/object_id.h"

#include <gtest/gtest.h>

#include <map>

#include "core/store/attributes.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::Guid;
using ondisk::ObjectIdBuffer;

Guid guid(int number) {
  Guid id{};
  for (size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::byte>(number * 17 + 3 + int(i));
  return id;
}

ObjectIdBuffer id(int number) {
  return {guid(number), {guid(number + 100), guid(number + 101), guid(number + 102)}};
}

class ObjectIdTest : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(); }

  ObjectStore& store() { return s_.store(); }
  ObjectIdControls controls() { return ObjectIdControls(store()); }
  FilePtr make(std::u16string_view name) {
    const auto file = store().create(*store().root(), name, {});
    EXPECT_TRUE(file);
    return *file;
  }
  OpenPtr open(const FilePtr& file, uint32_t access) {
    OpenParameters parameters;
    parameters.desired_access = access;
    auto made = store().open(file, parameters);
    EXPECT_TRUE(made);
    return OpenPtr(made->release(), Closer{&store()});
  }

  OpenedStore s_;
};

TEST_F(ObjectIdTest, IsKeptWithWhatIsKnownOfIt) {
  proves("G1 G4");
  const OpenPtr opened = s_.open();
  EXPECT_EQ(controls().get(*opened).error(), NtStatus::ObjectIdNotFound);
  ASSERT_TRUE(controls().set(*opened, id(1)));
  EXPECT_EQ(*controls().get(*opened), id(1));
  EXPECT_EQ(controls().set(*opened, id(2)).error(), NtStatus::ObjectNameCollision);
  EXPECT_EQ(*controls().get(*s_.file()), id(1));
  {
    const SharedLock lock(store().volume().journal().metadata_lock());
    Attributes attributes(store().volume(), s_.file()->reference());
    const auto found = attributes.find(ondisk::AttributeType::ObjectId);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->view().value().size(), sizeof(Guid));
  }
}

TEST_F(ObjectIdTest, BelongsToOneFile) {
  proves("G4");
  const FilePtr other = make(u"other");
  ASSERT_TRUE(controls().replace(*s_.file(), id(1)));
  EXPECT_EQ(controls().set(*open(other, kReadWrite), id(1)).error(), NtStatus::DuplicateName);
  EXPECT_EQ(controls().replace(*other, id(1)).error(), NtStatus::DuplicateName);
  ASSERT_TRUE(controls().replace(*s_.file(), id(2)));
  ASSERT_TRUE(controls().replace(*other, id(1)));
  EXPECT_EQ(*controls().get(*other), id(1));
  // The same one again, from elsewhere.
  ObjectIdBuffer moved = id(1);
  moved.origin = id(7).origin;
  ASSERT_TRUE(controls().replace(*other, moved));
  EXPECT_EQ(*controls().get(*other), moved);
}

TEST_F(ObjectIdTest, IsMadeWhereThereIsNone) {
  proves("G2");
  const OpenPtr opened = s_.open();
  const auto made = controls().create_or_get(*opened);
  ASSERT_TRUE(made);
  EXPECT_NE(made->object_id, Guid{});
  EXPECT_EQ(made->origin.birth_object_id, made->object_id);
  EXPECT_EQ(made->origin.domain_id, Guid{});
  EXPECT_EQ(*controls().create_or_get(*opened), *made);
  EXPECT_EQ(*controls().get(*opened), *made);
  const auto another = controls().create_or_get(*open(make(u"another"), kReadWrite));
  ASSERT_TRUE(another);
  EXPECT_NE(another->object_id, made->object_id);
  // What is not known of an id is filled in.
  const FilePtr bare = make(u"bare");
  ASSERT_TRUE(controls().replace(*bare, {guid(5), {}}));
  EXPECT_EQ(controls().create_or_get(*open(bare, kReadWrite))->origin.birth_object_id, guid(5));
}

TEST_F(ObjectIdTest, ChangesWhatIsKnownOfIt) {
  proves("G5");
  const OpenPtr opened = s_.open();
  const auto extended = [&](Open& by) { return controls().set_extended(by, id(9).origin).error(); };
  EXPECT_EQ(extended(*opened), NtStatus::ObjectIdNotFound);
  ASSERT_TRUE(controls().set(*opened, id(1)));
  EXPECT_EQ(extended(*open(s_.file(), AccessMask::ReadData)), NtStatus::AccessDenied);
  EXPECT_EQ(extended(*open(s_.file(), AccessMask::WriteAttributes)), NtStatus::Success);
  EXPECT_EQ(*controls().get(*opened), (ObjectIdBuffer{guid(1), id(9).origin}));
}

TEST_F(ObjectIdTest, GoesWhenItIsRemovedAndWithItsFile) {
  proves("G3");
  const OpenPtr opened = s_.open();
  EXPECT_TRUE(controls().remove(*opened));
  ASSERT_TRUE(controls().set(*opened, id(1)));
  ASSERT_TRUE(controls().remove(*opened));
  EXPECT_EQ(controls().get(*opened).error(), NtStatus::ObjectIdNotFound);
  const FilePtr other = make(u"other");
  ASSERT_TRUE(controls().replace(*other, id(1)));
  ASSERT_TRUE(store().remove(*store().root(), u"other", ObjectStore::RemoveKind::File));
  EXPECT_TRUE(controls().replace(*s_.file(), id(1)));
}

TEST_F(ObjectIdTest, IsNoMatterOfSystemFiles) {
  const FilePtr mft = store().file(FileReference(ondisk::kMftRecord, 1));
  EXPECT_EQ(controls().replace(*mft, id(1)).error(), NtStatus::AccessDenied);
  EXPECT_TRUE(controls().replace(*store().root(), id(1)));
  EXPECT_EQ(*controls().get(*store().root()), id(1));
}

TEST_F(ObjectIdTest, ManyStayInTheirIndexOverCrashes) {
  std::map<int, FilePtr> files;
  for (int i = 0; i < 400; ++i) {
    const std::string name = "file " + std::to_string(i);
    files[i] = make(std::u16string(name.begin(), name.end()));
    ObjectIdBuffer one = id(1);
    one.object_id[0] = static_cast<std::byte>(i * 7);
    one.object_id[5] = static_cast<std::byte>(i / 3);
    one.object_id[9] = static_cast<std::byte>(i);
    one.object_id[10] = static_cast<std::byte>(i >> 8);
    ASSERT_TRUE(controls().replace(*files[i], one));
  }
  s_.check();
  for (int i = 0; i < 400; i += 3) ASSERT_TRUE(controls().remove(*files[i]));
  ASSERT_TRUE(store().flush());
  files.clear();
  s_.crash();
  for (int i = 0; i < 400; ++i) {
    const std::string name = "file " + std::to_string(i);
    const auto file = store().lookup(*store().root(), std::u16string(name.begin(), name.end()));
    ASSERT_TRUE(file);
    const auto now = controls().get(**file);
    ASSERT_EQ(now.has_value(), i % 3 != 0);
    if (now) {
      EXPECT_EQ(now->origin, id(1).origin);
    }
  }
}

TEST_F(ObjectIdTest, IsNotWrittenOnAReadOnlyVolume) {
  proves("G6");
  ASSERT_TRUE(controls().replace(*s_.file(), id(1)));
  const FilePtr bare = make(u"bare");
  s_.remount(VolumeOptions::Access::ReadOnly);
  EXPECT_EQ(*controls().get(*s_.file()), id(1));
  EXPECT_EQ(controls().replace(*s_.file(), id(2)).error(), NtStatus::MediaWriteProtected);
  EXPECT_EQ(controls().remove(*s_.file()).error(), NtStatus::MediaWriteProtected);
  s_.remount();
}

}  // namespace
}  // namespace ntfs
