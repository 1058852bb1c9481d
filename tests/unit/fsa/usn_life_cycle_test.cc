#include "core/fsa/usn_life_cycle.h"
#include "core/fsa/usn_control.h"
#include "tests/unit/fsa/usn_store.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs::testing {
namespace {

uint16_t volume_flags(UsnStore& v) {
  const SharedLock lock(v.store().volume().journal().metadata_lock());
  Attributes attributes(v.store().volume(), FileReference(ondisk::kVolumeRecord, 3));
  const auto found = attributes.find(ondisk::AttributeType::VolumeInformation);
  return struct_at<ondisk::VolumeInformation>(found->view().value()).flags.get();
}

TEST(UsnLifeCycle, IsMadeAndResized) {
  UsnStore v(UsnStore::Shape{.usn_size = std::nullopt});
  ASSERT_TRUE(create_usn_journal(v.store(), 2 << 20, 1 << 19));
  EXPECT_EQ(v.usn().information().maximum_size, 2u << 20);
  const uint64_t id = v.usn().information().id;
  v.make(u"a");
  EXPECT_EQ(v.news().size(), 2u);
  ASSERT_TRUE(create_usn_journal(v.store(), 4 << 20, 1 << 20));
  EXPECT_EQ(v.usn().information().maximum_size, 4u << 20);
  EXPECT_EQ(v.usn().information().id, id);
  EXPECT_EQ(create_usn_journal(v.store(), 1 << 20, 2 << 20).error(), NtStatus::InvalidParameter);
  EXPECT_EQ(v.check(), "");
  v.remount();
  EXPECT_EQ(v.usn().information().maximum_size, 4u << 20);
  EXPECT_EQ(v.usn().information().allocation_delta, 1u << 20);
}

TEST(UsnLifeCycle, IsDeletedWithEveryUsn) {
  UsnStore v;
  const FilePtr file = v.make(u"a");
  for (int i = 0; i < 300; ++i) v.make(u"b" + std::u16string(1, static_cast<char16_t>(0x4E00 + i)));
  v.news();
  EXPECT_NE(v.usn_of(file->reference()), 0u);
  const uint64_t id = v.usn().information().id;
  EXPECT_EQ(delete_usn_journal(v.store(), id + 1).error(), NtStatus::InvalidParameter);
  ASSERT_TRUE(delete_usn_journal(v.store(), id));
  EXPECT_FALSE(v.usn().exists());
  EXPECT_EQ(delete_usn_journal(v.store(), id).error(), NtStatus::JournalNotActive);
  EXPECT_EQ(v.usn_of(file->reference()), 0u);
  EXPECT_EQ(volume_flags(v) & ondisk::VolumeFlags::DeleteUsnUnderway, 0);
  v.make(u"c");
  EXPECT_EQ(v.check(), "");
  v.remount();
  EXPECT_FALSE(v.usn().exists());
  ASSERT_TRUE(create_usn_journal(v.store(), 1 << 20, 0));
  v.make(u"d");
  EXPECT_EQ(v.news().size(), 2u);
  EXPECT_EQ(v.check(), "");
}

/// Marks the volume as a deletion does while it is under way.
void mark_deletion_underway(UsnStore& v) {
  Volume& volume = v.store().volume();
  Transaction transaction(volume.journal());
  ASSERT_TRUE(transaction.begin());
  Attributes attributes(volume, FileReference(ondisk::kVolumeRecord, 3));
  const auto found = attributes.find(ondisk::AttributeType::VolumeInformation);
  ASSERT_TRUE(found);
  const auto flags = le16::of(ondisk::VolumeFlags::DeleteUsnUnderway);
  ASSERT_TRUE(attributes.update_value(transaction, *found,
                                      offsetof(ondisk::VolumeInformation, flags), bytes_of(flags)));
  transaction.commit();
}

TEST(UsnLifeCycle, WhileItIsBeingDeletedEveryControlSaysSo) {
  UsnStore v(UsnStore::Shape{.usn_size = std::nullopt});
  const FilePtr file = v.make(u"a");
  mark_deletion_underway(v);
  constexpr auto kUnderway = NtStatus::JournalDeleteInProgress;
  UsnControls controls(v.store());
  EXPECT_EQ(controls.query().error(), kUnderway);
  EXPECT_EQ(controls.read(UsnReadParameters{}).error(), kUnderway);
  EXPECT_EQ(controls.enumerate({}).error(), kUnderway);
  EXPECT_EQ(controls.write_close_record(*file).error(), kUnderway);
  EXPECT_EQ(create_usn_journal(v.store(), 1 << 20, 0).error(), kUnderway);
  EXPECT_EQ(delete_usn_journal(v.store(), 1).error(), kUnderway);
  v.remount();
  EXPECT_EQ(volume_flags(v) & ondisk::VolumeFlags::DeleteUsnUnderway, 0);
  EXPECT_EQ(UsnControls(v.store()).query().error(), NtStatus::JournalNotActive);
}

TEST(UsnLifeCycle, ADeletionThatWasCutShortGoesOn) {
  UsnStore v;
  for (int i = 0; i < 80; ++i) v.make(u"b" + std::u16string(1, static_cast<char16_t>(0x4E00 + i)));
  ASSERT_TRUE(v.store().flush());
  const lfs::Lsn begin = CrashedLog(v.device()).last_lsn();
  ASSERT_TRUE(delete_usn_journal(v.store(), v.usn().information().id));
  ASSERT_TRUE(v.store().flush());
  const auto flushed = v.device().clone();
  size_t count_whole = 0;
  size_t count_gone = 0;
  const auto positions = CrashedLog(*flushed).positions(begin);
  for (size_t i = 0; i < positions.size(); i += 1 + positions.size() / 30) {
    const auto crashed = flushed->clone();
    CrashedLog(*crashed).cut_behind(positions[i]);
    const auto store = mount(*crashed);
    ASSERT_NE(store, nullptr);
    if (store->volume().usn().exists()) {
      ++count_whole;
      EXPECT_TRUE(store->volume().usn().is_active());
    } else {
      ++count_gone;
    }
    ASSERT_TRUE(store->dismount());
    const auto report = check_volume(*crashed, {});
    ASSERT_TRUE(report);
    ASSERT_TRUE(report->errors.empty()) << i << ": " << to_line(report->errors.front());
    const auto again = mount(*crashed, VolumeOptions::Access::AsItIs);
    ASSERT_NE(again, nullptr);
    const uint16_t flags = again->volume().information().flags.get();
    EXPECT_EQ(flags & ondisk::VolumeFlags::DeleteUsnUnderway, 0);
  }
  EXPECT_GT(count_whole, 0u);
  EXPECT_GT(count_gone, 5u);
}

}  // namespace
}  // namespace ntfs::testing
