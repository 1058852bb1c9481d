#include "core/store/hibernation.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/base/multi_sector.h"
#include "core/ondisk/log_operations.h"
#include "tests/unit/store/crashed_volume.h"

namespace ntfs {
namespace {

using testing::CrashedLog;
using testing::MemoryDevice;
using testing::mount;
using Access = VolumeOptions::Access;
using SleepGuard = VolumeOptions::SleepGuard;

constexpr uint64_t kBytes = uint64_t{32} << 20;
constexpr size_t kLong = 9000;

std::unique_ptr<MemoryDevice> make_volume() { return testing::make_volume(kBytes, 4096); }

FilePtr put(ObjectStore& store, File& directory, std::u16string_view name, std::string_view text) {
  const auto file = store.create(directory, name, {});
  EXPECT_TRUE(file);
  EXPECT_TRUE(store.write(**file, 0, text_bytes(text), Stream::Buffering::Buffered));
  return *file;
}

/// A clean volume with that file in its root.
std::unique_ptr<MemoryDevice> volume_with(std::u16string_view name, std::string_view text) {
  auto device = make_volume();
  const auto store = mount(*device);
  put(*store, *store->root(), name, text);
  EXPECT_TRUE(store->dismount());
  return device;
}

std::string padded(std::string_view magic) {
  return std::string(magic) + std::string(kLong - magic.size(), 'x');
}

Sleep sleep_on(MemoryDevice& device) {
  const auto store = mount(device, Access::ReadOnly);
  const auto sleep = find_sleep(store->volume());
  EXPECT_TRUE(sleep);
  return sleep ? *sleep : Sleep::None;
}

Result<std::unique_ptr<ObjectStore>> try_mount(MemoryDevice& device, SleepGuard guard,
                                               std::string& why_not) {
  ObjectStoreOptions options;
  options.volume.commit_interval = std::chrono::hours(1);
  options.volume.sleep_guard = guard;
  why_not.clear();
  return ObjectStore::mount(device, options, why_not);
}

TEST(Hibernation, IsKnownByTheMagicOfHiberfilSys) {
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", padded("hibr"))), Sleep::Hibernated);
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", padded("HIBR"))), Sleep::Hibernated);
  EXPECT_EQ(sleep_on(*volume_with(u"HIBERFIL.SYS", padded("hibr"))), Sleep::Hibernated);
  for (const std::string_view awake : {"wake", "WAKE", "RSTR", "link", "Hibr"}) {
    EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", padded(awake))), Sleep::None) << awake;
  }
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", std::string(kLong, '\0'))), Sleep::None);
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sy", padded("hibr"))), Sleep::None);
  EXPECT_EQ(sleep_on(*make_volume()), Sleep::None);
}

TEST(Hibernation, OfAnotherVolumeLeavesAShortFile) {
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", std::string(4095, 'x'))), Sleep::Elsewhere);
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", "hibr")), Sleep::Elsewhere);
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", "")), Sleep::Elsewhere);
  EXPECT_EQ(sleep_on(*volume_with(u"hiberfil.sys", std::string(4096, 'x'))), Sleep::None);
}

TEST(Hibernation, IsNotWhatWasNeverWritten) {
  const auto device = make_volume();
  Lcn lcn;
  {
    const auto store = mount(*device);
    const auto file = store->create(*store->root(), u"hiberfil.sys", {});
    ASSERT_TRUE(file);
    ASSERT_TRUE(store->allocate(**file, 0, kLong, Stream::KeepSize::No));
    ASSERT_TRUE(store->flush());
    const auto runs = (*file)->data().runs();
    ASSERT_TRUE(runs);
    lcn = runs->find(Vcn(0)).lcn;
    ASSERT_TRUE(store->dismount());
  }
  AlignedBuffer cluster(4096);
  std::memcpy(cluster.data(), "hibr", 4);
  ASSERT_TRUE(device->write(lcn.raw() * 4096, cluster.bytes()));
  EXPECT_EQ(sleep_on(*device), Sleep::None);
}

TEST(Hibernation, IsInTheRootAlone) {
  const auto device = make_volume();
  {
    const auto store = mount(*device);
    CreateParameters directory;
    directory.kind = FileKind::Directory;
    const auto made = store->create(*store->root(), u"directory", directory);
    ASSERT_TRUE(made);
    put(*store, **made, u"hiberfil.sys", padded("hibr"));
    ASSERT_TRUE(store->create(*store->root(), u"hiberfil.sys", directory));
    ASSERT_TRUE(store->dismount());
  }
  EXPECT_EQ(sleep_on(*device), Sleep::None);
}

TEST(Hibernation, ForbidsWritingUntilItsFileIsRemoved) {
  const auto device = volume_with(u"Hiberfil.sys", padded("hibr"));
  std::string why_not;
  for (const auto guard : {SleepGuard::Possible, SleepGuard::Known}) {
    const auto refused = try_mount(*device, guard, why_not);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), NtStatus::SharingViolation);
    EXPECT_NE(why_not.find("remove_hiberfile"), std::string::npos) << why_not;
  }
  {
    const auto store = try_mount(*device, SleepGuard::RemoveFile, why_not);
    ASSERT_TRUE(store) << why_not;
    EXPECT_FALSE((*store)->lookup(*(*store)->root(), u"Hiberfil.sys"));
    EXPECT_TRUE((*store)->flush());
    // Without dismounting: the removal is in the log.
  }
  EXPECT_TRUE(testing::recover(*device).empty());
}

TEST(Hibernation, LeavesAFileAloneThatHoldsNoSession) {
  const auto device = volume_with(u"hiberfil.sys", padded("wake"));
  std::string why_not;
  {
    const auto store = try_mount(*device, SleepGuard::RemoveFile, why_not);
    ASSERT_TRUE(store) << why_not;
    EXPECT_TRUE((*store)->lookup(*(*store)->root(), u"hiberfil.sys"));
    EXPECT_TRUE((*store)->dismount());
  }
  EXPECT_TRUE(testing::checked_tree(*device).contains("/hiberfil.sys"));
}

/// Leaves the log as Windows 10 has it while it runs: LFS 2.0, a checkpoint, nothing behind it.
void leave_log_of_windows_10(MemoryDevice& device) {
  CrashedLog log(device);
  lfs::LogStore& store = log.store();
  const uint64_t size = align_down(store.size_bytes(), lfs::kPageSize);
  AlignedBuffer whole(size);
  const MutableBytes bytes = whole.bytes();
  std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});
  const uint64_t first = lfs::kFirstRecordOffset2;
  const auto shape = lfs::LogGeometry::for_new_log(size).value();
  const auto geometry =
      lfs::LogGeometry::from_disk(size, shape.sequence_number_bits(), first).value();
  const lfs::Lsn lsn = geometry.lsn_at(3, first + lfs::kPageDataOffset);
  ondisk::ClientRestart restart;
  restart.bytes_per_cluster = 4096;
  const auto record = restart.encode();

  const MutableBytes page = bytes.subspan(first, lfs::kPageSize);
  std::fill(page.begin(), page.end(), std::byte{0});
  auto& header = struct_at<lfs::RecordPageHeader>(page);
  header.header.signature = {'R', 'C', 'R', 'D'};
  header.header.update_sequence_array_offset.set(0x28);
  header.header.update_sequence_array_count.set(9);
  header.page_count.set(1);
  header.page_position.set(1);
  header.flags.set(lfs::kPageRecordEnd);
  auto& head = struct_at<lfs::RecordHeader>(page, lfs::kPageDataOffset);
  head.this_lsn.set(lsn.raw());
  head.client_data_length.set(static_cast<uint32_t>(record.size()));
  head.record_type.set(2);
  const size_t end = lfs::kPageDataOffset + lfs::kRecordHeaderSize;
  std::copy(record.begin(), record.end(), page.begin() + static_cast<ptrdiff_t>(end));
  header.last_lsn.set(lsn.raw());
  header.last_end_lsn.set(lsn.raw());
  header.next_record_offset.set(static_cast<uint16_t>(end + record.size()));
  protect(page);

  lfs::RestartPage restart_page;
  restart_page.major_version = restart_page.minor_version = 1;
  restart_page.has_client = true;
  restart_page.current_lsn = restart_page.oldest_lsn = restart_page.client_restart_lsn = lsn;
  restart_page.file_size = size;
  restart_page.sequence_number_bits = shape.sequence_number_bits();
  for (const uint64_t position : {uint64_t{0}, uint64_t{lfs::kPageSize}}) {
    const MutableBytes one = bytes.subspan(position, lfs::kPageSize);
    std::fill(one.begin(), one.end(), std::byte{0});
    restart_page.serialize(one);
    ASSERT_TRUE(try_unprotect(one));
    auto& raw = struct_at<lfs::RestartPageHeader>(one);
    raw.major_version.set(2);
    raw.minor_version.set(0);
    protect(one);
  }
  const lfs::LogWrite write{0, bytes};
  ASSERT_TRUE(store.write_durable({&write, 1}));
}

TEST(Hibernation, IsPossibleWhereWindows8DidNotUnmount) {
  const auto device = make_volume();
  leave_log_of_windows_10(*device);
  EXPECT_EQ(sleep_on(*device), Sleep::Possible);
  const auto asleep = device->clone();
  asleep->reset_counters();
  std::string why_not;
  const auto refused = try_mount(*asleep, SleepGuard::Possible, why_not);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), NtStatus::SharingViolation);
  EXPECT_NE(why_not.find("ntfs-wal recover"), std::string::npos) << why_not;
  EXPECT_EQ(asleep->counters().writes, 0u);
  {
    const auto store = try_mount(*device, SleepGuard::Known, why_not);
    ASSERT_TRUE(store) << why_not;
    EXPECT_TRUE((*store)->dismount());
  }
  EXPECT_EQ(sleep_on(*device), Sleep::None);
  EXPECT_TRUE(try_mount(*asleep, SleepGuard::RemoveFile, why_not)) << why_not;
}

TEST(Hibernation, IsNoneWhereTheWindowsOfTheVolumeIsAwake) {
  const auto device = volume_with(u"hiberfil.sys", padded("wake"));
  leave_log_of_windows_10(*device);
  EXPECT_EQ(sleep_on(*device), Sleep::None);
  std::string why_not;
  EXPECT_TRUE(try_mount(*device, SleepGuard::Possible, why_not)) << why_not;
}

}  // namespace
}  // namespace ntfs
