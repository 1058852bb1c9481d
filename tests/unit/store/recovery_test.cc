// Recovery of logs that this driver wrote: the device as it is at some moment stands for a crash.

#include "core/store/recovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "core/check/check.h"
#include "core/fsa/object_store.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/utf16.h"
#include "core/store/format.h"
#include "lfs/log_reader.h"
#include "tests/support/memory_device.h"

namespace ntfs {
namespace {

using testing::MemoryDevice;
using Tree = std::map<std::string, std::string>;  // path -> kind and contents

std::u16string numbered(std::string_view prefix, int number) {
  const std::string text = std::string(prefix) + std::to_string(number);
  return {text.begin(), text.end()};
}

std::unique_ptr<MemoryDevice> make_volume(uint64_t bytes = 32 << 20, uint32_t cluster_size = 4096) {
  auto device = std::make_unique<MemoryDevice>(bytes);
  FormatOptions options;
  options.cluster_size = cluster_size;
  options.content = DeviceContent::Zeroed;
  EXPECT_TRUE(format_volume(*device, options));
  return device;
}

std::unique_ptr<ObjectStore> mount(BlockDevice& device, VolumeOptions::Access access) {
  ObjectStoreOptions options;
  options.volume.access = access;
  options.volume.commit_interval = std::chrono::hours(1);
  std::string why_not;
  auto store = ObjectStore::mount(device, options, why_not);
  EXPECT_TRUE(store) << name_of(store.error()) << " " << why_not;
  return store ? std::move(*store) : nullptr;
}
std::unique_ptr<ObjectStore> mount(BlockDevice& device) {
  return mount(device, VolumeOptions::Access::ReadWrite);
}

FilePtr create(ObjectStore& store, const FilePtr& directory, std::u16string_view name,
               FileKind kind = FileKind::File) {
  CreateParameters parameters;
  parameters.kind = kind;
  auto file = store.create(*directory, name, parameters);
  EXPECT_TRUE(file) << name_of(file.error());
  return file ? *file : nullptr;
}

void put(ObjectStore& store, const FilePtr& file, std::string_view text) {
  EXPECT_TRUE(store.write(*file, 0, text_bytes(text), ObjectStore::Buffering::Buffered));
}

void read_tree(ObjectStore& store, const FilePtr& directory, const std::string& path, Tree& tree) {
  const auto entries = store.query_directory(*directory);
  ASSERT_TRUE(entries);
  for (const DirectoryEntry& entry : *entries) {
    const FilePtr file = store.file(entry.reference);
    const auto information = store.query_information(*file);
    ASSERT_TRUE(information);
    const std::string name = path + "/" + ondisk::to_display(entry.name);
    if (information->kind == FileKind::Directory) {
      tree[name] = "directory";
      read_tree(store, file, name, tree);
      continue;
    }
    AlignedBuffer bytes(align_up(information->file_size + 1, 4096));
    const auto length = store.read(*file, 0, information->file_size, bytes.bytes());
    ASSERT_TRUE(length);
    tree[name] = std::to_string(information->link_count) +
                 " links: " + std::string(as_text(bytes.bytes().first(*length)));
  }
}

Tree tree_of(ObjectStore& store) {
  Tree tree;
  read_tree(store, store.root(), "", tree);
  return tree;
}

/// Findings of the checker, and the tree. `device` is clean.
Tree checked_tree(MemoryDevice& device) {
  const auto report = check_volume(device, {});
  EXPECT_TRUE(report);
  if (report) {
    for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
  }
  const auto store = mount(device, VolumeOptions::Access::AsItIs);
  return store ? tree_of(*store) : Tree();
}

/// Recovers by a mount, unmounts; the tree then.
Tree recover(MemoryDevice& device) {
  {
    const auto store = mount(device);
    if (store == nullptr) return {};
    EXPECT_TRUE(store->dismount());
  }
  return checked_tree(device);
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

}  // namespace
}  // namespace ntfs
