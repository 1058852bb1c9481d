// Volumes of older NTFS: 1.2 (Windows NT 4) is read; 3.0 (Windows 2000) is written, too.

#include <cstring>

#include "tests/unit/check/volume_editor.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using testing::MemoryDevice;
using testing::mount;
using testing::VolumeEditor;
using Access = VolumeOptions::Access;

constexpr uint64_t kBytes = uint64_t{32} << 20;
constexpr size_t kOldInformation = 0x30;  // bytes of $STANDARD_INFORMATION before 3.0
constexpr std::u16string_view kName = u"old file";
constexpr std::string_view kText = "written long ago";

/// As NT 4 had it: without owner, security id, quota and usn.
void shorten_information(MutableBytes record) {
  const auto view = ondisk::FileRecordView::of_valid(record);
  const auto found = view.find(AttributeType::StandardInformation, u"");
  ASSERT_TRUE(found);
  const size_t offset = found->offset();
  const size_t removed = found->value().size() - kOldInformation;
  const size_t end = found->end_offset();
  const size_t used = view.used_bytes();
  std::memmove(&record[end - removed], &record[end], used - end);
  auto& form = struct_at<ondisk::ResidentForm>(record, offset);
  form.header.record_length.set(static_cast<uint32_t>(end - removed - offset));
  form.value_length.set(kOldInformation);
  struct_at<ondisk::FileRecordHeader>(record).used_bytes.set(static_cast<uint32_t>(used - removed));
}

/// A volume that says it is of that version, with a file in the old form.
std::unique_ptr<MemoryDevice> volume_of(int major, int minor) {
  auto device = testing::make_volume(kBytes, 4096);
  const auto store = mount(*device);
  const auto file = store->create(*store->root(), kName, {});
  EXPECT_TRUE(file);
  EXPECT_TRUE(store->write(**file, 0, text_bytes(kText), Stream::Buffering::Buffered));
  EXPECT_TRUE(store->dismount());
  VolumeEditor editor(*device);
  editor.edit_record(editor.find(kName), shorten_information);
  editor.edit_value(ondisk::kVolumeRecord, AttributeType::VolumeInformation, u"",
                    [&](MutableBytes value) {
                      auto& information = struct_at<ondisk::VolumeInformation>(value);
                      information.major_version = static_cast<std::byte>(major);
                      information.minor_version = static_cast<std::byte>(minor);
                    });
  return device;
}

std::string text_of(ObjectStore& store, std::u16string_view name) {
  const auto file = store.lookup(*store.root(), name);
  EXPECT_TRUE(file);
  AlignedBuffer bytes(4096);
  const auto length = store.read(**file, 0, 4096, bytes.bytes());
  EXPECT_TRUE(length);
  return std::string(as_text(bytes.bytes().first(*length)));
}

size_t bytes_of_information(MemoryDevice& device, std::u16string_view name) {
  const VolumeEditor editor(device);
  const ByteVector record = editor.record(editor.find(name));
  const auto view = ondisk::FileRecordView::of_valid(record);
  return view.find(AttributeType::StandardInformation, u"")->value().size();
}

TEST(Version, OfNt4IsReadAndNotWritten) {
  const auto device = volume_of(1, 2);
  ObjectStoreOptions options;
  std::string why_not;
  EXPECT_EQ(ObjectStore::mount(*device, options, why_not).error(), NtStatus::NotSupported);
  EXPECT_NE(why_not.find("before 3.0"), std::string::npos);
  const auto store = mount(*device, Access::ReadOnly);
  EXPECT_EQ(text_of(*store, kName), kText);
  const auto file = *store->lookup(*store->root(), kName);
  const auto information = store->query_information(*file);
  ASSERT_TRUE(information);
  EXPECT_EQ(information->security_id, 0u);
  EXPECT_NE(information->creation_time.raw(), 0u);
  EXPECT_EQ(store->create(*store->root(), u"new", {}).error(), NtStatus::MediaWriteProtected);
}

TEST(Version, OfWindows2000IsWritten) {
  const auto device = volume_of(3, 0);
  {
    const auto store = mount(*device);
    const auto file = *store->lookup(*store->root(), kName);
    EXPECT_TRUE(store->append(*file, text_bytes(" and now")));
    ASSERT_TRUE(store->create(*store->root(), u"new", {}));
    ASSERT_TRUE(store->rename(*store->root(), kName, *store->root(), u"renamed",
                              ObjectStore::RenameMode::Replace));
    EXPECT_TRUE(store->dismount());
  }
  const auto report = check_volume(*device, {});
  ASSERT_TRUE(report);
  // The checker knows 3.1 alone; and the file lost its descriptor when it was made to look old.
  for (const Finding& finding : report->errors) {
    EXPECT_TRUE(finding.message == "this is not NTFS 3.1" ||
                finding.message == "a file has no security descriptor")
        << to_line(finding);
  }
  // Nothing had to be kept that the old form has no room for.
  EXPECT_EQ(bytes_of_information(*device, u"renamed"), kOldInformation);
  const auto store = mount(*device);
  EXPECT_EQ(text_of(*store, u"renamed"), std::string(kText) + " and now");
  EXPECT_TRUE(store->dismount());
}

}  // namespace
}  // namespace ntfs
