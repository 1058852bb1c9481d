// What other drivers keep in files for themselves: the quota's fields of $STANDARD_INFORMATION, and
// $TXF_DATA, which says where a file stands in Windows' transactions on files. Both stay as they
// are, whatever happens to the file. Likewise $Quota itself.

#include <gtest/gtest.h>

#include "core/fsa/object_id.h"
#include "core/store/attributes.h"
#include "tests/unit/check/volume_editor.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs::testing {
namespace {

using ondisk::AttributeType;
using ondisk::FileRecordView;
using RemoveKind = ObjectStore::RemoveKind;
using RenameMode = ObjectStore::RenameMode;

constexpr std::u16string_view kTxfData = u"$TXF_DATA";
constexpr size_t kTxfDataBytes = 56;
constexpr int kFiles = 8;
constexpr int kLinks = 24;

/// What a test planted in a file.
struct Planted {
  uint32_t owner_id = 0;
  uint64_t quota_charged = 0;
  ByteVector txf_data;
  friend bool operator==(const Planted&, const Planted&) = default;
};

Planted planted_in(uint64_t record) {
  ByteVector txf_data(kTxfDataBytes, static_cast<std::byte>(record));
  return {0x100 + static_cast<uint32_t>(record), 0x123456789A00 + record, std::move(txf_data)};
}

void plant(VolumeEditor& editor, uint64_t number) {
  const Planted planted = planted_in(number);
  editor.edit_value(number, AttributeType::StandardInformation, u"", [&](MutableBytes value) {
    ASSERT_EQ(value.size(), sizeof(ondisk::StandardInformation));
    auto& information = struct_at<ondisk::StandardInformation>(value);
    information.owner_id.set(planted.owner_id);
    information.quota_charged.set(planted.quota_charged);
  });
  // Its type is the last one there is.
  editor.edit_record(number, [&](MutableBytes record) {
    const size_t at = FileRecordView::of_valid(record).end_marker_offset();
    auto& header = struct_at<ondisk::FileRecordHeader>(record);
    const uint16_t instance = header.next_attribute_instance.get();
    const ByteVector attribute =
        ondisk::build_resident(AttributeType::LoggedUtilityStream, kTxfData, 0, instance,
                               planted.txf_data, ondisk::Indexed::No);
    const size_t used = at + attribute.size() + ondisk::kEndMarkerBytes;
    ASSERT_LE(used, record.size());
    std::copy(attribute.begin(), attribute.end(), record.subspan(at).begin());
    struct_at<le32>(record, at + attribute.size()).set(0xFFFFFFFF);
    header.used_bytes.set(static_cast<uint32_t>(used));
    header.next_attribute_instance.set(instance + 1);
  });
}

/// What is there now, in whatever record the file has it.
Planted found_in(ObjectStore& store, uint64_t number) {
  const auto file = store.find_by_record(number);
  EXPECT_TRUE(file) << "file " << number;
  if (!file) return {};
  Volume& volume = store.volume();
  const SharedLock lock(volume.journal().metadata_lock());
  Attributes attributes(volume, (*file)->reference());
  const auto standard = attributes.find(AttributeType::StandardInformation);
  const auto txf = attributes.find(AttributeType::LoggedUtilityStream, kTxfData);
  EXPECT_TRUE(standard && txf) << "file " << number;
  if (!standard || !txf) return {};
  const auto& information = struct_at<ondisk::StandardInformation>(standard->view().value());
  const ByteView value = txf->view().value();
  return {
      information.owner_id.get(), information.quota_charged.get(), {value.begin(), value.end()}};
}

std::u16string name_of_file(std::string_view what, int number) {
  const std::string name = std::string(what) + " " + std::to_string(number);
  return {name.begin(), name.end()};
}

class ForeignMetadata : public ::testing::Test {
 protected:
  void SetUp() override {
    std::vector<uint64_t> numbers{ondisk::kRootRecord};
    {
      const auto store = mount(*device_);
      CreateParameters parameters;
      parameters.kind = FileKind::Directory;
      numbers.push_back(
          (*store->create(*store->root(), u"directory", parameters))->reference().record());
      for (int i = 0; i < kFiles; ++i) {
        const auto file = *store->create(*store->root(), name_of_file("file", i), {});
        numbers.push_back(file->reference().record());
      }
      ASSERT_TRUE(store->dismount());
    }
    VolumeEditor editor(*device_);
    for (const uint64_t number : numbers) {
      plant(editor, number);
      planted_[number] = planted_in(number);
    }
    quota_ = editor.record(kQuotaRecord);
  }

  void expect_all_is_there(ObjectStore& store) {
    for (const auto& [number, planted] : planted_) {
      EXPECT_EQ(found_in(store, number), planted) << "file " << number;
    }
  }

  std::unique_ptr<MemoryDevice> device_ = make_volume(64 << 20, 4096);
  std::map<uint64_t, Planted> planted_;  // by record number
  ByteVector quota_;                     // the record with $O and $Q
};

/// Every kind of change, of one file.
void change(ObjectStore& store, const std::u16string& name, uint32_t seed) {
  const FilePtr root = store.root();
  const FilePtr file = *store.lookup(*root, name);
  const FilePtr directory = *store.lookup(*root, u"directory");
  const auto write = [&](uint64_t offset, size_t length) {
    ASSERT_TRUE(store.write(*file, offset, ByteVector(length, std::byte{7}),
                            ObjectStore::Buffering::Buffered));
    ASSERT_TRUE(store.flush());
  };
  write(0, 100);
  write(300'000 * seed, 70'000);
  ASSERT_TRUE(store.punch(*file, 0, 4096));
  // So many long names that they move into extension records.
  const std::u16string long_name(150, u'n');
  for (int i = 0; i < kLinks; ++i) {
    ASSERT_TRUE(store.link(*file, *directory, name + long_name + name_of_file("", i)));
  }
  BasicInformation basic;
  basic.times.creation = ondisk::FileTime::from_raw(1000 + seed);
  basic.file_attributes = ondisk::FileAttributes::Hidden;
  basic.linux_metadata = {.uid = 1, .gid = 2, .mode = 0100640, .device = {}};
  ASSERT_TRUE(store.set_basic_information(*file, basic));
  ASSERT_TRUE(store.set_ea(*file, "AN.EA", ByteVector(2000, std::byte{1})));
  ASSERT_TRUE(store.set_stream(*file, u"stream", ByteVector(30'000, std::byte{2})));
  const auto descriptor = store.query_security(*root, SecurityInformation::Dacl);
  ASSERT_TRUE(descriptor);
  ASSERT_TRUE(store.set_security(*file, SecurityInformation::Dacl, *descriptor));
  ASSERT_TRUE(store.set_compression(*file, Compression::Lznt1));
  ASSERT_TRUE(store.rename(*root, name, *directory, name, RenameMode::Replace));
  for (int i = 0; i < kLinks; i += 1 + static_cast<int>(seed % 2)) {
    ASSERT_TRUE(store.remove(*directory, name + long_name + name_of_file("", i), RemoveKind::File));
  }
  ASSERT_TRUE(store.remove_ea(*file, "AN.EA"));
  ASSERT_TRUE(store.remove_stream(*file, u"stream"));
  ASSERT_TRUE(store.set_end_of_file(*file, 10));
  ASSERT_TRUE(store.rename(*directory, name, *root, name, RenameMode::Replace));
}

TEST_F(ForeignMetadata, StaysWhateverHappensToTheFile) {
  std::unique_ptr<MemoryDevice> crashed;
  {
    const auto store = mount(*device_);
    ASSERT_NE(store, nullptr);
    for (int i = 0; i < kFiles; ++i) {
      change(*store, name_of_file("file", i), static_cast<uint32_t>(i));
      if (i % 2 == 0) expect_all_is_there(*store);
    }
    ASSERT_TRUE(store->flush());
    crashed = device_->clone();
    ASSERT_TRUE(store->dismount());
  }
  for (MemoryDevice* device : {device_.get(), crashed.get()}) {
    recover(*device);
    const auto store = mount(*device, VolumeOptions::Access::ReadOnly);
    ASSERT_NE(store, nullptr);
    expect_all_is_there(*store);
    EXPECT_EQ(VolumeEditor(*device).record(kQuotaRecord), quota_);
  }
}

TEST_F(ForeignMetadata, IsNotPassedOnToTheNextFileInARecord) {
  const auto store = mount(*device_);
  ASSERT_NE(store, nullptr);
  const uint64_t number = (*store->lookup(*store->root(), u"file 3"))->reference().record();
  ASSERT_TRUE(store->remove(*store->root(), u"file 3", RemoveKind::File));
  ASSERT_TRUE(store->volume().checkpoint());
  FilePtr next;
  for (int i = 0; i < 100 && (next == nullptr || next->reference().record() != number); ++i) {
    next = *store->create(*store->root(), name_of_file("next", i), {});
  }
  ASSERT_EQ(next->reference().record(), number);
  Volume& volume = store->volume();
  const SharedLock lock(volume.journal().metadata_lock());
  Attributes attributes(volume, next->reference());
  EXPECT_FALSE(attributes.find(AttributeType::LoggedUtilityStream, kTxfData));
  const auto standard = attributes.find(AttributeType::StandardInformation);
  const auto& information = struct_at<ondisk::StandardInformation>(standard->view().value());
  EXPECT_EQ(information.owner_id.get(), 0u);
  EXPECT_EQ(information.quota_charged.get(), 0u);
}

}  // namespace
}  // namespace ntfs::testing
