// The names part of the object store over a volume in memory: after each step the checker judges.

#include "core/fsa/object_store.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "core/check/check.h"
#include "core/fsa/names.h"
#include "core/store/format.h"
#include "tests/support/memory_device.h"
#include "tests/unit/check/volume_editor.h"

namespace ntfs {
namespace {

using testing::MemoryDevice;

std::u16string numbered(const char* prefix, int number) {
  const std::string text = prefix + std::to_string(number);
  return {text.begin(), text.end()};
}

class ObjectStoreTest : public ::testing::Test {
 protected:
  void SetUp() override { make_volume(64 << 20, 4096); }

  void make_volume(uint64_t bytes, uint32_t cluster_size) {
    device_ = std::make_unique<MemoryDevice>(bytes);
    FormatOptions options;
    options.cluster_size = cluster_size;
    options.content = DeviceContent::Zeroed;
    ASSERT_TRUE(format_volume(*device_, options));
    mount();
  }

  void mount() {
    ObjectStoreOptions options;
    options.volume.commit_interval = std::chrono::hours(1);
    std::string why_not;
    auto store = ObjectStore::mount(*device_, options, why_not);
    ASSERT_TRUE(store) << name_of(store.error()) << " " << why_not;
    store_ = std::move(*store);
  }

  void remount() {
    ASSERT_TRUE(store_->dismount());
    store_.reset();
    expect_clean(false);
    mount();
  }

  void expect_clean(bool live) {
    if (live) {
      ASSERT_TRUE(store_->flush());
      ASSERT_TRUE(store_->volume().journal().checkpoint());
    }
    CheckOptions options;
    options.live = live;
    const auto report = check_volume(*device_, options);
    ASSERT_TRUE(report);
    for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
  }

  FilePtr create(const FilePtr& directory, std::u16string_view name,
                 FileKind kind = FileKind::File) {
    CreateParameters parameters;
    parameters.kind = kind;
    auto file = store_->create(*directory, name, parameters);
    EXPECT_TRUE(file) << name_of(file.error());
    return file ? *file : nullptr;
  }

  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(ObjectStoreTest, MountsAndDismountsANewVolume) {
  expect_clean(true);
  remount();
}

TEST_F(ObjectStoreTest, CreatesLooksUpAndRemovesAFile) {
  const FilePtr root = store_->root();
  const FilePtr file = create(root, u"hello");
  ASSERT_NE(file, nullptr);
  expect_clean(true);
  const auto found = store_->lookup(*root, u"hello");
  ASSERT_TRUE(found);
  EXPECT_EQ((*found)->reference(), file->reference());
  EXPECT_EQ(store_->lookup(*root, u"HELLO").error(), NtStatus::ObjectNameNotFound);
  CreateParameters parameters;
  EXPECT_EQ(store_->create(*root, u"hello", parameters).error(), NtStatus::ObjectNameCollision);
  ASSERT_TRUE(store_->remove(*root, u"hello", ObjectStore::RemoveKind::File));
  EXPECT_EQ(store_->lookup(*root, u"hello").error(), NtStatus::ObjectNameNotFound);
  remount();
}

TEST_F(ObjectStoreTest, KeepsThousandsOfNamesInADirectory) {
  const FilePtr directory = create(store_->root(), u"many", FileKind::Directory);
  for (int i = 0; i < 5000; ++i) ASSERT_NE(create(directory, numbered("file", i)), nullptr);
  expect_clean(true);
  for (int i = 0; i < 5000; i += 2) {
    ASSERT_TRUE(store_->remove(*directory, numbered("file", i), ObjectStore::RemoveKind::File));
  }
  remount();
  const auto again = store_->lookup(*store_->root(), u"many");
  ASSERT_TRUE(again);
  EXPECT_EQ(store_->query_directory(**again)->size(), 2500u);
  for (int i = 1; i < 5000; i += 2) {
    ASSERT_TRUE(store_->remove(**again, numbered("file", i), ObjectStore::RemoveKind::File));
  }
  ASSERT_TRUE(store_->remove(*store_->root(), u"many", ObjectStore::RemoveKind::Directory));
  remount();
}

TEST_F(ObjectStoreTest, AnUnlinkedOpenFileLivesUntilItsLastClose) {
  const FilePtr root = store_->root();
  const FilePtr file = create(root, u"open");
  ASSERT_TRUE(store_->open(*file));
  ASSERT_TRUE(store_->remove(*root, u"open", ObjectStore::RemoveKind::File));
  const auto information = store_->query_information(*file);
  ASSERT_TRUE(information);
  EXPECT_EQ(information->link_count, 0u);
  expect_clean(true);
  store_->close(file);
  EXPECT_EQ(store_->query_information(*store_->file(file->reference()))->link_count, 0u);
  EXPECT_EQ(store_->open(*file).error(), NtStatus::ObjectNameNotFound);
  remount();
}

TEST_F(ObjectStoreTest, FindsAFileByItsRecordAsLongAsItHasAName) {
  const FilePtr file = *store_->create(*store_->root(), u"file", {});
  const uint64_t record = file->reference().record();
  EXPECT_EQ(*store_->find_by_record(record), file);
  EXPECT_EQ(*store_->find_by_record(ondisk::kRootRecord), store_->root());
  ASSERT_TRUE(store_->open(*file));
  ASSERT_TRUE(store_->remove(*store_->root(), u"file", ObjectStore::RemoveKind::File));
  EXPECT_EQ(store_->find_by_record(record).error(), NtStatus::ObjectNameNotFound);
  store_->close(file);
  EXPECT_EQ(store_->find_by_record(record).error(), NtStatus::ObjectNameNotFound);
  for (const uint64_t beyond : {uint64_t{20}, uint64_t{1} << 31, uint64_t{1} << 60}) {
    EXPECT_EQ(store_->find_by_record(beyond).error(), NtStatus::ObjectNameNotFound);
  }
}

TEST_F(ObjectStoreTest, AFreedRecordKeepsItsNameAsOnWindows) {
  const FilePtr file = create(store_->root(), u"gone");
  ASSERT_TRUE(store_->remove(*store_->root(), u"gone", ObjectStore::RemoveKind::File));
  {
    const SharedLock lock(store_->volume().journal().metadata_lock());
    const auto page = store_->volume().mft().record(file->reference().record());
    ASSERT_TRUE(page);
    const auto record = ondisk::FileRecordView::of_valid((*page)->bytes());
    EXPECT_FALSE(record.in_use());
    const auto name = record.find(ondisk::AttributeType::FileName);
    ASSERT_TRUE(name);
    EXPECT_EQ(ondisk::FileNameView::of_valid(name->value()).name(), u"gone");
  }
  remount();
}

TEST_F(ObjectStoreTest, TimesOfAFreedFileAreTakenAndForgotten) {
  const FilePtr file = create(store_->root(), u"gone", FileKind::Directory);
  ASSERT_TRUE(store_->remove(*store_->root(), u"gone", ObjectStore::RemoveKind::Directory));
  BasicInformation information;
  information.times.last_write = ondisk::FileTime::now();
  EXPECT_TRUE(store_->set_basic_information(*file, information));
  EXPECT_EQ(store_->query_information(*file)->kind, FileKind::Directory);
  remount();
}

TEST_F(ObjectStoreTest, AFileThatACrashLeftUnlinkedIsFreedAtTheNextMount) {
  const FilePtr root = store_->root();
  const FilePtr file = create(root, u"open");
  ASSERT_TRUE(store_->open(*file));
  ASSERT_TRUE(store_->remove(*root, u"open", ObjectStore::RemoveKind::File));
  remount();  // without close(): the entry in $Deleted is on disk
  EXPECT_EQ(store_->query_information(*store_->file(file->reference())).error(),
            NtStatus::ObjectNameNotFound);
  remount();
}

TEST_F(ObjectStoreTest, AFileWithAnotherNameIsNotFreedForItsNameAmongThoseThatWait) {
  const FilePtr root = store_->root();
  const FilePtr file = create(root, u"kept");
  ASSERT_TRUE(store_->open(*file));
  const FilePtr waiting = create(root, u"waiting");
  ASSERT_TRUE(store_->open(*waiting));
  ASSERT_TRUE(store_->remove(*root, u"waiting", ObjectStore::RemoveKind::File));
  // As another driver, or damage, may leave it.
  const auto extend = store_->lookup(*root, u"$Extend");
  ASSERT_TRUE(extend);
  const auto deleted = store_->lookup(**extend, u"$Deleted");
  ASSERT_TRUE(deleted);
  {
    Transaction transaction(store_->volume().journal());
    ASSERT_TRUE(transaction.begin());
    Attributes attributes(store_->volume(), file->reference());
    IndexTree tree(store_->volume(), (*deleted)->reference(), u"$I30");
    NamedEntry entry;
    entry.name = u"other name";
    ASSERT_TRUE(add_name(transaction, attributes, tree, entry));
    transaction.commit();
  }
  remount();
  ASSERT_TRUE(store_->lookup(*store_->root(), u"kept"));
  EXPECT_TRUE(store_->query_information(*store_->file(file->reference())));
  EXPECT_FALSE(store_->query_information(*store_->file(waiting->reference())))
      << "the others are freed";
  remount();
}

TEST_F(ObjectStoreTest, AskingForAnEarlierFileInARecordLosesNothingOfTheOneThatHasIt) {
  const FilePtr file = create(store_->root(), u"file");
  const FileReference earlier(file->reference().record(),
                              static_cast<uint16_t>(file->reference().sequence() - 1));
  ASSERT_TRUE(store_->flush());
  EXPECT_EQ(store_->query_information(*store_->file(earlier)).error(),
            NtStatus::ObjectNameNotFound);
  EXPECT_EQ(store_->file(file->reference()), file);
  const ByteVector written(5000, std::byte{7});
  ASSERT_TRUE(store_->write(*file, 0, written, Stream::Buffering::Buffered));
  ASSERT_TRUE(store_->flush());
  // As after a power cut.
  auto survivor = device_->clone();
  store_.reset();
  device_ = std::move(survivor);
  mount();
  const auto found = store_->lookup(*store_->root(), u"file");
  ASSERT_TRUE(found);
  AlignedBuffer read(8192);
  ASSERT_TRUE(store_->read(**found, 0, written.size(), read.bytes()));
  EXPECT_TRUE(std::ranges::equal(read.bytes().first(written.size()), written));
}

TEST_F(ObjectStoreTest, ADamagedDirectoryDoesNotKeepAFileWithAnotherNameFromTheDisk) {
  const FilePtr directory = create(store_->root(), u"directory", FileKind::Directory);
  for (int i = 0; i < 100; ++i) create(directory, numbered("a long enough name ", i));
  const FilePtr file = create(store_->root(), u"file");
  ASSERT_TRUE(store_->link(*file, *directory, u"a second name"));
  const uint64_t record = directory->reference().record();
  ASSERT_TRUE(store_->dismount());
  store_.reset();
  {
    testing::VolumeEditor editor(*device_);
    for (uint64_t at = 0; at < 16384; at += 4096) {
      editor.edit(editor.position(record, ondisk::AttributeType::IndexAllocation, u"$I30", at), 512,
                  [](MutableBytes bytes) { std::ranges::fill(bytes, std::byte{0x55}); });
    }
  }
  mount();
  const ByteVector written(5000, std::byte{7});
  {
    const auto found = store_->lookup(*store_->root(), u"file");
    ASSERT_TRUE(found);
    ASSERT_TRUE(store_->write(**found, 0, written, Stream::Buffering::Buffered));
  }
  EXPECT_TRUE(store_->flush());
  ASSERT_TRUE(store_->dismount());
  store_.reset();
  mount();
  const auto found = store_->lookup(*store_->root(), u"file");
  ASSERT_TRUE(found);
  AlignedBuffer read(8192);
  ASSERT_TRUE(store_->read(**found, 0, written.size(), read.bytes()));
  EXPECT_TRUE(std::ranges::equal(read.bytes().first(written.size()), written));
}

TEST_F(ObjectStoreTest, MetadataHasNoHoles) {
  const FilePtr file = create(store_->root(), u"file");
  OpenParameters parameters;
  parameters.desired_access = AccessMask::WriteData;
  auto open = store_->open(file, parameters);
  ASSERT_TRUE(open);
  ASSERT_TRUE(store_->set_sparse(**open, Stream::Sparse::Yes));
  store_->close(std::move(*open));
  const ByteVector written(5000, std::byte{7});
  ASSERT_TRUE(store_->write(*file, 1 << 20, written, Stream::Buffering::Buffered));
  ASSERT_TRUE(store_->flush());
  const SharedLock lock(store_->volume().journal().metadata_lock());
  Attributes attributes(store_->volume(), file->reference());
  EXPECT_TRUE(attributes.load_runs(ondisk::AttributeType::Data, u""));
  EXPECT_EQ(attributes.load_whole_runs(ondisk::AttributeType::Data, u"").error(),
            NtStatus::FileCorruptError);
}

TEST_F(ObjectStoreTest, ALookAtEverythingKeepsToItsMemoryWhereNothingIsWritten) {
  constexpr int kFiles = 6000;
  for (int i = 0; i < kFiles; ++i) create(store_->root(), numbered("file", i));
  ASSERT_TRUE(store_->dismount());
  store_.reset();
  ObjectStoreOptions options;
  options.volume.access = VolumeOptions::Access::ReadOnly;
  options.volume.cache_bytes = 2 << 20;
  std::string why_not;
  auto store = ObjectStore::mount(*device_, options, why_not);
  ASSERT_TRUE(store) << why_not;
  store_ = std::move(*store);
  for (int i = 0; i < kFiles; ++i) {
    const auto file = store_->lookup(*store_->root(), numbered("file", i));
    ASSERT_TRUE(file);
    ASSERT_TRUE(store_->query_information(**file));
  }
  PageCache& pages = store_->volume().pages();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (pages.size_bytes() > options.volume.cache_bytes) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << pages.size_bytes();
    std::this_thread::yield();
  }
}

TEST_F(ObjectStoreTest, RenamesReplacesAndExchanges) {
  const FilePtr root = store_->root();
  const FilePtr a = create(root, u"a");
  const FilePtr b = create(root, u"b");
  const FilePtr d = create(root, u"d", FileKind::Directory);
  using Mode = ObjectStore::RenameMode;
  EXPECT_EQ(store_->rename(*root, u"a", *root, u"b", Mode::NoReplace).error(),
            NtStatus::ObjectNameCollision);
  ASSERT_TRUE(store_->rename(*root, u"a", *root, u"b", Mode::Replace));
  EXPECT_EQ((*store_->lookup(*root, u"b"))->reference(), a->reference());
  expect_clean(true);
  ASSERT_TRUE(store_->rename(*root, u"b", *d, u"inside", Mode::Replace));
  EXPECT_EQ(store_->rename(*root, u"d", *d, u"loop", Mode::Replace).error(),
            NtStatus::InvalidParameter);
  const FilePtr e = create(root, u"e", FileKind::Directory);
  EXPECT_EQ(store_->rename(*root, u"e", *root, u"d", Mode::Replace).error(),
            NtStatus::DirectoryNotEmpty);
  ASSERT_TRUE(store_->rename(*d, u"inside", *root, u"e", Mode::Exchange));
  EXPECT_EQ((*store_->lookup(*d, u"inside"))->reference(), e->reference());
  EXPECT_EQ((*store_->lookup(*root, u"e"))->reference(), a->reference());
  remount();
}

TEST_F(ObjectStoreTest, RenamesAndLeavesAnotherFileUnderTheOldName) {
  const FilePtr root = store_->root();
  const FilePtr a = create(root, u"a");
  const FilePtr b = create(root, u"b");
  ASSERT_TRUE(store_->link(*a, *root, u"twin"));
  using Mode = ObjectStore::RenameMode;
  CreateParameters left;
  left.kind = FileKind::CharacterDevice;
  left.linux_metadata.mode = S_IFCHR;
  left.linux_metadata.device = 0;
  ASSERT_TRUE(store_->rename(*root, u"a", *root, u"b", Mode::Replace, &left));
  EXPECT_EQ((*store_->lookup(*root, u"b"))->reference(), a->reference());
  EXPECT_EQ(store_->query_information(**store_->lookup(*root, u"a"))->kind,
            FileKind::CharacterDevice);
  EXPECT_TRUE(b->is_unlinked());
  // Two names of one file stay as they are.
  ASSERT_TRUE(store_->rename(*root, u"twin", *root, u"b", Mode::Replace, &left));
  EXPECT_EQ((*store_->lookup(*root, u"twin"))->reference(), a->reference());
  // What fails leaves nothing.
  EXPECT_EQ(store_->rename(*root, u"b", *root, u"twin", Mode::NoReplace, &left).error(),
            NtStatus::ObjectNameCollision);
  EXPECT_EQ((*store_->lookup(*root, u"b"))->reference(), a->reference());
  expect_clean(true);
  remount();
}

TEST_F(ObjectStoreTest, CountsHardLinks) {
  const FilePtr root = store_->root();
  const FilePtr file = create(root, u"one");
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(store_->link(*file, *root, numbered("link", i)));
  EXPECT_EQ(store_->query_information(*file)->link_count, 101u);
  expect_clean(true);
  ASSERT_TRUE(store_->remove(*root, u"one", ObjectStore::RemoveKind::File));
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(store_->remove(*root, numbered("link", i), ObjectStore::RemoveKind::File));
  }
  EXPECT_EQ(store_->query_information(*file)->link_count, 50u);
  remount();
}

TEST_F(ObjectStoreTest, WhatIsInExtendGetsNoOtherName) {
  const FilePtr root = store_->root();
  const auto extend = store_->lookup(*root, u"$Extend");
  ASSERT_TRUE(extend);
  for (const char16_t* name : {u"$Reparse", u"$ObjId", u"$Quota"}) {
    const auto file = store_->lookup(**extend, name);
    ASSERT_TRUE(file);
    EXPECT_EQ(store_->link(**file, *root, u"mine").error(), NtStatus::AccessDenied);
  }
}

TEST_F(ObjectStoreTest, RenamesADirectoryInADeepTree) {
  FilePtr deepest = store_->root();
  for (int depth = 0; depth < 4200; ++depth) deepest = create(deepest, u"d", FileKind::Directory);
  create(deepest, u"a", FileKind::Directory);
  EXPECT_TRUE(store_->rename(*deepest, u"a", *deepest, u"b", ObjectStore::RenameMode::Replace));
  EXPECT_EQ(store_->rename(*store_->root(), u"d", *deepest, u"d", ObjectStore::RenameMode::Replace)
                .error(),
            NtStatus::InvalidParameter);
}

TEST_F(ObjectStoreTest, KeepsSymlinksOfEveryLength) {
  const FilePtr root = store_->root();
  for (const size_t length : {1u, 100u, 300u, 313u, 700u, 4095u}) {
    CreateParameters parameters;
    parameters.kind = FileKind::Symlink;
    parameters.symlink_target = std::string(length, 'x');
    const auto name = numbered("link", static_cast<int>(length));
    const auto link = store_->create(*root, name, parameters);
    ASSERT_TRUE(link) << length;
    EXPECT_EQ(*store_->read_link(**link), parameters.symlink_target);
    EXPECT_EQ(store_->query_information(**link)->file_size, length);
  }
  remount();
  EXPECT_EQ(store_->read_link(**store_->lookup(*store_->root(), u"link4095"))->size(), 4095u);
  for (const int length : {1, 4095}) {
    ASSERT_TRUE(
        store_->remove(*store_->root(), numbered("link", length), ObjectStore::RemoveKind::File));
  }
  remount();
}

TEST_F(ObjectStoreTest, KeepsSymlinksWhoseNameAndTargetFillMoreThanARecord) {
  CreateParameters parameters;
  parameters.kind = FileKind::Symlink;
  parameters.linux_metadata.uid = 1000;
  for (const size_t length : {1u, 200u, 300u, 320u, 700u}) {
    parameters.symlink_target = std::string(length, 't');
    const std::u16string name = std::u16string(255, static_cast<char16_t>(u'a' + length % 26));
    const auto link = store_->create(*store_->root(), name, parameters);
    ASSERT_TRUE(link) << length;
    const auto target = store_->read_link(**link);
    ASSERT_TRUE(target) << length;
    EXPECT_EQ(*target, parameters.symlink_target);
    EXPECT_EQ(store_->query_information(**link)->linux_metadata.uid, 1000u);
  }
  remount();
}

TEST_F(ObjectStoreTest, KeepsOwnerAndMode) {
  const FilePtr file = create(store_->root(), u"script");
  BasicInformation information;
  information.linux_metadata.mode = 0100755;
  information.linux_metadata.uid = 1000;
  ASSERT_TRUE(store_->set_basic_information(*file, information));
  information.linux_metadata = {};
  information.linux_metadata.mode = 0100700;
  ASSERT_TRUE(store_->set_basic_information(*file, information));
  remount();
  const auto found = store_->lookup(*store_->root(), u"script");
  const auto read = store_->query_information(**found);
  EXPECT_EQ(read->linux_metadata.mode, 0100700u);
  EXPECT_EQ(read->linux_metadata.uid, 1000u);
  EXPECT_FALSE(read->linux_metadata.gid);
}

TEST_F(ObjectStoreTest, MarksSpecialFilesAsWslDoes) {
  constexpr uint32_t kMark = ondisk::FileAttributes::RecallOnOpen;
  CreateParameters parameters;
  parameters.linux_metadata.mode = 0010644;
  for (const FileKind kind : {FileKind::Fifo, FileKind::Socket, FileKind::CharacterDevice}) {
    parameters.kind = kind;
    const auto name = numbered("special", static_cast<int>(kind));
    const auto file = store_->create(*store_->root(), name, parameters);
    ASSERT_TRUE(file);
    const auto read = store_->query_information(**file);
    EXPECT_EQ(read->kind, kind);
    EXPECT_EQ(read->file_attributes & kMark, kMark);
  }
  parameters.kind = FileKind::Symlink;
  parameters.symlink_target = "target";
  const auto link = store_->create(*store_->root(), u"link", parameters);
  ASSERT_TRUE(link);
  EXPECT_EQ(store_->query_information(**link)->file_attributes & kMark, 0u);
  remount();
}

TEST_F(ObjectStoreTest, ForbidsNamesOfWindowsOnlyWhenAsked) {
  const FilePtr root = store_->root();
  EXPECT_NE(create(root, u"a:b*c?"), nullptr);
  EXPECT_NE(create(root, u"CON"), nullptr);
  EXPECT_NE(create(root, u"trailing. "), nullptr);
  EXPECT_NE(create(root, std::u16string(255, u'n')), nullptr);
  CreateParameters parameters;
  EXPECT_EQ(store_->create(*root, std::u16string(256, u'n'), parameters).error(),
            NtStatus::NameTooLong);
  remount();
}

TEST_F(ObjectStoreTest, AgreesWithAModelOverRandomNames) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::map<std::u16string, FileReference> model;
  const FilePtr directory = create(store_->root(), u"model", FileKind::Directory);
  for (int step = 0; step < 8000; ++step) {
    const auto name = numbered(random() % 2 == 0 ? "Name" : "name", random() % 700);
    const auto other = numbered("other-and-longer-name-of-a-file", random() % 300);
    switch (random() % 4) {
      case 0:
      case 1: {
        const auto made = store_->create(*directory, name, {});
        ASSERT_EQ(made.has_value(), !model.contains(name));
        if (made) model[name] = (*made)->reference();
        break;
      }
      case 2: {
        const auto gone = store_->remove(*directory, name, ObjectStore::RemoveKind::File);
        ASSERT_EQ(gone.has_value(), model.erase(name) == 1);
        break;
      }
      default: {
        const auto moved =
            store_->rename(*directory, name, *directory, other, ObjectStore::RenameMode::Replace);
        ASSERT_EQ(moved.has_value(), model.contains(name));
        if (moved) {
          model[other] = model[name];
          model.erase(name);
        }
      }
    }
    if (step % 1000 == 999) expect_clean(true);
  }
  const auto entries = store_->query_directory(*directory);
  ASSERT_TRUE(entries);
  EXPECT_EQ(entries->size(), model.size());
  for (const auto& entry : *entries) EXPECT_EQ(model[entry.name], entry.reference);
  remount();
}

TEST_F(ObjectStoreTest, AFullVolumeRefusesAndStaysWhole) {
  make_volume(8 << 20, 4096);
  const FilePtr directory = create(store_->root(), u"full", FileKind::Directory);
  int made = 0;
  while (true) {
    const auto file =
        store_->create(*directory, numbered("a-name-that-takes-some-room-", made), {});
    if (!file) {
      EXPECT_EQ(file.error(), NtStatus::DiskFull);
      break;
    }
    ++made;
  }
  EXPECT_GT(made, 1000);
  expect_clean(true);
  for (int i = 0; i < made; ++i) {
    const auto gone = store_->remove(*directory, numbered("a-name-that-takes-some-room-", i),
                                     ObjectStore::RemoveKind::File);
    ASSERT_TRUE(gone) << i << " " << name_of(gone.error());
  }
  expect_clean(true);
  EXPECT_NE(create(store_->root(), u"again"), nullptr);
  remount();
}

TEST_F(ObjectStoreTest, AnswersSeveralReadsTogether) {
  const FilePtr small = create(store_->root(), u"small");
  const FilePtr large = create(store_->root(), u"large");
  const auto filled = [](size_t length, int value) {
    return ByteVector(length, static_cast<std::byte>(value));
  };
  ASSERT_TRUE(store_->write(*small, 0, filled(100, 1), ObjectStore::Buffering::Buffered));
  for (int i = 0; i < 4; ++i) {
    const uint64_t at = static_cast<uint64_t>(i) * 8192;
    ASSERT_TRUE(store_->write(*large, at, filled(4096, 2 + i), ObjectStore::Buffering::Buffered));
    // The last one stays in the buffer.
    if (i < 3) {
      ASSERT_TRUE(store_->flush());
    }
  }
  struct Wanted {
    File* file;
    uint64_t offset;
    size_t length;
    ByteVector bytes;
  };
  const std::vector<Wanted> wanted = {
      {small.get(), 0, 4096, filled(100, 1)},
      {large.get(), 0, 4096, filled(4096, 2)},
      {large.get(), 4096, 4096, filled(4096, 0)},
      {large.get(), 16384, 4096, filled(4096, 4)},
      {large.get(), 8192 + 10, 50, filled(50, 3)},
      {large.get(), 24576, 8192, filled(4096, 5)},
      {large.get(), 1 << 20, 4096, {}},
  };
  std::vector<AlignedBuffer> buffers;
  std::vector<DataRead> reads(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    buffers.emplace_back(align_up(wanted[i].length, 4096));
    reads[i].file = wanted[i].file;
    reads[i].offset = wanted[i].offset;
    reads[i].length = wanted[i].length;
    reads[i].into = buffers.back().bytes();
  }
  store_->read(reads);
  for (size_t i = 0; i < wanted.size(); ++i) {
    ASSERT_TRUE(reads[i].done) << i;
    ASSERT_EQ(*reads[i].done, wanted[i].bytes.size()) << i;
    EXPECT_TRUE(std::equal(wanted[i].bytes.begin(), wanted[i].bytes.end(), reads[i].into.begin()))
        << i;
  }
}

}  // namespace
}  // namespace ntfs
