#include "core/store/mft.h"

#include <gtest/gtest.h>

#include "tests/unit/check/volume_editor.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using testing::in_transaction;
using testing::ScratchVolume;
using testing::VolumeEditor;

TEST(Mft, CopiesOnlyTheRecordsThatItsMirrorHolds) {
  constexpr uint64_t kMirrorBytes = 4096;  // of a cluster of twice that
  ScratchVolume scratch({.cluster_size = 8192});
  VolumeEditor editor(scratch.device());
  const uint64_t mirror = editor.geometry().mftmirr_lcn.raw() * editor.geometry().cluster_size;
  const ByteVector behind(kMirrorBytes, std::byte{0xA5});
  scratch.reopen_after([&] {
    editor.edit_attribute(ondisk::kMftMirrRecord, AttributeType::Data, u"", [](MutableBytes bytes) {
      auto& form = struct_at<ondisk::NonresidentForm>(bytes);
      form.file_size.set(kMirrorBytes);
      form.valid_data_length.set(kMirrorBytes);
    });
    editor.write(mirror + kMirrorBytes, behind);
  });
  // The records of $MFT and of the root: one in front of the mirror's end, one behind it.
  for (const FileReference file :
       {FileReference(ondisk::kMftRecord, 1), FileReference(ondisk::kRootRecord, 5)}) {
    ASSERT_EQ(in_transaction(
                  scratch.volume(),
                  [&](Transaction& transaction) -> Result<> {
                    Attributes attributes(scratch.volume(), file);
                    const auto found = attributes.find(AttributeType::StandardInformation);
                    ByteVector value(found->view().value().begin(), found->view().value().end());
                    value[0] ^= std::byte{1};
                    return attributes.set_value(transaction, AttributeType::StandardInformation,
                                                u"", value);
                  }),
              NtStatus::Success);
  }
  ASSERT_TRUE(scratch.volume().close());
  EXPECT_EQ(editor.read(mirror + kMirrorBytes, kMirrorBytes), behind);
  EXPECT_EQ(editor.read(mirror, kMirrorBytes),
            editor.read(editor.record_position(0), kMirrorBytes));
}

TEST(Mft, KeepsNoCopiesOfOtherRecordsThanSystemFiles) {
  ScratchVolume scratch({.cluster_size = 65536});
  const VolumeEditor editor(scratch.device());
  const uint64_t mirror = editor.geometry().mftmirr_lcn.raw() * editor.geometry().cluster_size;
  const uint64_t first = mirror + ondisk::kFirstUserRecord * editor.geometry().file_record_size;
  const size_t length = mirror + editor.geometry().cluster_size - first;
  const ByteVector before = editor.read(first, length);
  EXPECT_GE(scratch.make_file().record(), ondisk::kFirstUserRecord);
  ASSERT_TRUE(scratch.volume().close());
  EXPECT_EQ(editor.read(first, length), before);
}

}  // namespace
}  // namespace ntfs
