// Volumes with hundreds of millions of file records, of which nearly all are zeros on the device,
// which cost nothing. Their bits in $MFT's bitmap say that they are in use: so searches pass them.

#include <gtest/gtest.h>

#include "core/base/multi_sector.h"
#include "core/ondisk/mapping_pairs.h"
#include "tests/unit/check/volume_editor.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs::testing {
namespace {

using ondisk::AttributeType;
using RemoveKind = ObjectStore::RemoveKind;

constexpr uint64_t kVolumeBytes = uint64_t{1} << 40;
constexpr uint64_t kRecordBytes = 1024;
constexpr uint64_t kLeastRecords = 300'000'000;
/// The only free records: one with a low number, and the last ones.
constexpr uint64_t kLowFree = 1000;
constexpr uint64_t kCountFree = 256;
constexpr size_t kPairsRoom = 64;

/// An attribute of $MFT with runs.
ByteVector attribute_of(AttributeType type, std::span<const Run> runs, uint64_t bytes,
                        uint64_t cluster_size) {
  ondisk::NonresidentInit init;
  init.type = type;
  init.next = runs.back().end();
  init.sizes.allocated = init.sizes.total_allocated = init.next.raw() * cluster_size;
  init.sizes.file_size = init.sizes.valid_data_length = bytes;
  return ondisk::build_nonresident(init, {}, ondisk::encode_mapping_pairs(runs, kPairsRoom).bytes);
}

class ManyRecords {
 public:
  explicit ManyRecords(uint32_t cluster_size)
      : device_(make_volume(kVolumeBytes, cluster_size)), editor_(std::in_place, *device_) {
    const auto& geometry = editor_->geometry();
    // Behind $MFTMirr, which is in the middle; whole bytes of $Bitmap.
    const Lcn first(align_up(geometry.total_clusters / 2 + 64, 8));
    const auto clusters_for = [&](uint64_t bytes) {
      return ClusterCount(align_up(divide_up(bytes, geometry.cluster_size), 8));
    };
    const ClusterRun bitmap{first, clusters_for(kLeastRecords / 8)};
    const ClusterRun records{bitmap.end(), clusters_for(kLeastRecords * kRecordBytes)};
    set_bits(ondisk::kBitmapRecord, AttributeType::Data, first.raw(), records.end().raw());
    extend_mft(bitmap, records);
    editor_.emplace(*device_);  // it knows the old runs only
    count_ = editor_->count_records();
    set_bits(ondisk::kMftRecord, AttributeType::Bitmap, ondisk::kFirstUserRecord,
             count_ - kCountFree);
    editor_->edit(editor_->position(ondisk::kMftRecord, AttributeType::Bitmap, u"", kLowFree / 8),
                  1, [](MutableBytes bits) { bits[0] ^= std::byte{1 << (kLowFree % 8)}; });
    format_record(kLowFree);
    for (uint64_t number = count_ - kCountFree; number < count_; ++number) format_record(number);
  }

  MemoryDevice& device() { return *device_; }
  uint64_t count() const { return count_; }
  uint64_t first_free() const { return count_ - kCountFree; }

 private:
  /// `first` and `end` are multiples of 8.
  void set_bits(uint64_t file, AttributeType type, uint64_t first, uint64_t end) {
    ASSERT_EQ((first | end) % 8, 0u);
    const uint64_t cluster = editor_->geometry().cluster_size;
    for (uint64_t at = first / 8; at < end / 8;) {
      const size_t length = std::min(end / 8, align_down(at, cluster) + cluster) - at;
      editor_->write(editor_->position(file, type, u"", at), ByteVector(length, std::byte{0xFF}));
      at += length;
    }
  }

  /// Appends a run to $MFT and one to its bitmap.
  void extend_mft(ClusterRun bitmap, ClusterRun records) {
    const uint64_t cluster = editor_->geometry().cluster_size;
    editor_->edit_record(ondisk::kMftRecord, [&](MutableBytes record) {
      const auto view = ondisk::FileRecordView::of_valid(record);
      ByteVector attributes;
      for (const auto attribute : view) {
        const bool is_records = attribute.type() == AttributeType::Data;
        if (!is_records && attribute.type() != AttributeType::Bitmap) {
          attributes.insert(attributes.end(), attribute.bytes().begin(), attribute.bytes().end());
          continue;
        }
        auto runs =
            *ondisk::decode_mapping_pairs(attribute.mapping_pairs(), Vcn(0), attribute.next_vcn(),
                                          editor_->geometry().total_clusters, {"test"});
        const ClusterRun& more = is_records ? records : bitmap;
        runs.push_back({runs.back().end(), more.lcn, more.count});
        const uint64_t records_bytes = attribute.file_size() + records.count.raw() * cluster;
        const uint64_t bytes = is_records ? records_bytes : runs.back().end().raw() * cluster;
        ByteVector longer = attribute_of(attribute.type(), runs, bytes, cluster);
        struct_at<ondisk::AttributeHeader>(MutableBytes(longer)).instance.set(attribute.instance());
        attributes.insert(attributes.end(), longer.begin(), longer.end());
      }
      const size_t first = view.first_attribute_offset();
      const size_t used = first + attributes.size() + ondisk::kEndMarkerBytes;
      ASSERT_LE(used, record.size());
      std::copy(attributes.begin(), attributes.end(), record.subspan(first).begin());
      struct_at<le32>(record, first + attributes.size()).set(0xFFFFFFFF);
      struct_at<ondisk::FileRecordHeader>(record).used_bytes.set(static_cast<uint32_t>(used));
    });
  }

  void format_record(uint64_t number) {
    ByteVector record(kRecordBytes);
    ondisk::FileRecordInit init;
    init.record_number = number;
    ondisk::format_file_record(record, init);
    protect(record);
    editor_->write(editor_->record_position(number), record);
  }

  std::unique_ptr<MemoryDevice> device_;
  std::optional<VolumeEditor> editor_;
  uint64_t count_ = 0;
};

class ManyRecordsTest : public ::testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Clusters, ManyRecordsTest, ::testing::Values(4096, 65536, 2 << 20));

CreateParameters directory() {
  CreateParameters parameters;
  parameters.kind = FileKind::Directory;
  return parameters;
}

ByteView text(std::string_view words) { return std::as_bytes(std::span(words)); }

std::u16string name_of_file(int number) {
  const std::string digits = "file " + std::to_string(number);
  return {digits.begin(), digits.end()};
}

/// Makes what the last free records hold: a directory of enough files that its index has blocks,
/// renamed and removed ones among them.
void change(ObjectStore& store, uint64_t first_free) {
  // The one with a low number goes first.
  ASSERT_EQ((*store.create(*store.root(), u"low", {}))->reference().record(), kLowFree);
  const FilePtr directory_file = *store.create(*store.root(), u"directory", directory());
  ASSERT_GE(directory_file->reference().record(), first_free);
  for (int i = 0; i < 100; ++i) {
    const FilePtr file = *store.create(*directory_file, name_of_file(i), {});
    ASSERT_GT(file->reference().record(), first_free);
    ASSERT_TRUE(store.write(*file, 0, text("file of " + std::to_string(i)),
                            ObjectStore::Buffering::Buffered));
  }
  for (int i = 0; i < 100; i += 10) {
    ASSERT_TRUE(store.remove(*directory_file, name_of_file(i), RemoveKind::File));
    ASSERT_TRUE(store.rename(*directory_file, name_of_file(i + 1), *store.root(),
                             name_of_file(i + 1), ObjectStore::RenameMode::Replace));
    ASSERT_TRUE(store.link(**store.lookup(*directory_file, name_of_file(i + 2)), *store.root(),
                           name_of_file(i + 2)));
  }
}

TEST_P(ManyRecordsTest, FilesLiveInTheLastOnesAndSurviveACrash) {
  ManyRecords volume(GetParam());
  ASSERT_GE(volume.count(), kLeastRecords);
  Tree made;
  FileReference file;
  std::unique_ptr<MemoryDevice> crashed;
  {
    const auto store = mount(volume.device());
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(store->volume().mft().total_records(), volume.count());
    change(*store, volume.first_free());
    file = (*store->lookup(**store->lookup(*store->root(), u"directory"), u"file 5"))->reference();
    ASSERT_TRUE(store->flush());
    made = tree_of(*store);
    crashed = volume.device().clone();
    ASSERT_TRUE(store->dismount());
  }
  EXPECT_EQ(made.size(), 2u + 90 + 10);
  for (MemoryDevice* device : {&volume.device(), crashed.get()}) {
    const auto store = mount(*device);
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(store->volume().recovery() != nullptr, device == crashed.get());
    EXPECT_EQ(tree_of(*store), made);
    const auto found = store->find_by_record(file.record());
    ASSERT_TRUE(found);
    EXPECT_EQ((*found)->reference(), file);
    // A record of a removed file is used again, as another file.
    const FilePtr directory_file = *store->lookup(*store->root(), u"directory");
    ASSERT_TRUE(store->remove(*directory_file, u"file 5", RemoveKind::File));
    ASSERT_TRUE(store->volume().checkpoint());
    FileReference next;
    for (int i = 0; i < 100 && next.record() != file.record(); ++i) {
      next = (*store->create(*directory_file, u"next " + name_of_file(i), {}))->reference();
    }
    EXPECT_EQ(next, FileReference(file.record(), static_cast<uint16_t>(file.sequence() + 1)));
    ASSERT_TRUE(store->dismount());
  }
}

TEST_P(ManyRecordsTest, MakeMoreWhenAllAreInUse) {
  ManyRecords volume(GetParam());
  const auto store = mount(volume.device());
  ASSERT_NE(store, nullptr);
  uint64_t last = 0;
  for (int i = 0; last < volume.count(); ++i) {
    last = (*store->create(*store->root(), name_of_file(i), {}))->reference().record();
  }
  ASSERT_TRUE(store->flush());
  const auto crashed = volume.device().clone();
  const auto recovered = mount(*crashed);
  ASSERT_NE(recovered, nullptr);
  EXPECT_GT(recovered->volume().mft().total_records(), volume.count());
  EXPECT_EQ(tree_of(*recovered), tree_of(*store));
}

/// Bytes that `action` reads from the device.
template <typename Action>
uint64_t bytes_read(MemoryDevice& device, Action&& action) {
  const uint64_t before = device.counters().bytes_read;
  action();
  return device.counters().bytes_read - before;
}

TEST(ManyRecords, AreSearchedOnceForFreeOnes) {
  constexpr uint64_t kBitmapBytes = kLeastRecords / 8;
  constexpr uint64_t kLittle = 4 << 20;
  ManyRecords volume(65536);
  MemoryDevice& device = volume.device();
  std::unique_ptr<ObjectStore> store;
  EXPECT_LT(bytes_read(device, [&] { store = mount(device); }), kLittle);
  ASSERT_NE(store, nullptr);
  ObjectStore& s = *store;
  EXPECT_LT(bytes_read(device, [&] { ASSERT_TRUE(s.create(*s.root(), u"low", {})); }), kLittle);
  EXPECT_GE(bytes_read(device, [&] { ASSERT_TRUE(s.create(*s.root(), u"high", {})); }),
            kBitmapBytes - kLittle);
  // From the start again, whenever a record there becomes free or a transaction is taken back.
  EXPECT_LT(bytes_read(device,
                       [&] {
                         for (int i = 0; i < 4; ++i) {
                           ASSERT_TRUE(s.remove(*s.root(), u"low", RemoveKind::File));
                           ASSERT_TRUE(s.volume().checkpoint());
                           ASSERT_EQ((*s.create(*s.root(), u"low", {}))->reference().record(),
                                     kLowFree);
                           Transaction transaction(s.volume().journal());
                           ASSERT_TRUE(transaction.begin());
                           // Twice: once, and pages that were used lately stay.
                           s.volume().pages().trim();
                           s.volume().pages().trim();
                           const auto page = s.volume().mft().allocate(transaction);
                           ASSERT_TRUE(page);
                           EXPECT_GE((*page)->index(), volume.first_free());
                         }
                       }),
            kLittle);
}

}  // namespace
}  // namespace ntfs::testing
