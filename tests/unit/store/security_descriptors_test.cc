#include "core/store/security_descriptors.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "core/ondisk/well_known_sids.h"
#include "core/store/security_stream.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using ondisk::Ace;
using ondisk::AttributeType;
using ondisk::kSdsBlockBytes;
using ondisk::SecurityDescriptor;
using ondisk::Sid;
using testing::in_transaction;
using testing::reading;
using testing::ScratchVolume;

const FileReference kSecure(ondisk::kSecureRecord, 9);

/// A descriptor that no other number has, with `count_aces` entries.
ByteVector descriptor_of(uint32_t number, size_t count_aces = 1) {
  SecurityDescriptor descriptor;
  descriptor.owner = Sid{5, {21, 7, 8, 9, number}};
  descriptor.group = ondisk::administrators();
  descriptor.dacl.emplace();
  for (size_t i = 0; i < count_aces; ++i) {
    Ace ace;
    ace.access_mask = ondisk::AccessMask::FileAll;
    ace.sid = Sid{5, {21, number, static_cast<uint32_t>(i), 0, 500}};
    descriptor.dacl->aces.push_back(ace);
  }
  return ondisk::build_security_descriptor(descriptor);
}

/// The id, or 0.
uint32_t add(Volume& volume, const ByteVector& descriptor) {
  uint32_t id = 0;
  const NtStatus status = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    id = TRY(volume.security().add(transaction, descriptor));
    return {};
  });
  EXPECT_EQ(status, NtStatus::Success);
  return id;
}

/// The bytes, or none.
ByteVector find(Volume& volume, uint32_t id) {
  const auto found = reading(volume, [&] { return volume.security().find(id); });
  return found ? (*found)->bytes : ByteVector();
}

uint64_t size_of_sds(Volume& volume) {
  return reading(volume, [&] {
    Attributes attributes(volume, kSecure);
    const auto sizes = attributes.sizes(AttributeType::Data, u"$SDS");
    return sizes ? sizes->file_size : 0;
  });
}

/// Changes a byte of $SDS on the device of a volume that is not open.
void spoil(ScratchVolume& scratch, const Runlist& runs, uint64_t offset) {
  const uint64_t cluster = scratch.volume().geometry().cluster_size;
  const Run run = runs.find(Vcn(offset / cluster));
  const uint64_t position = run.lcn.raw() * cluster + offset - run.vcn.raw() * cluster;
  AlignedBuffer block(4096);
  ASSERT_TRUE(scratch.device().read(align_down(position, 4096), block.bytes()));
  block.bytes()[position % 4096] ^= std::byte{0xFF};
  ASSERT_TRUE(scratch.device().write(align_down(position, 4096), block.bytes()));
}

Runlist runs_of_sds(Volume& volume) {
  return reading(volume, [&] {
    Attributes attributes(volume, kSecure);
    auto runs = attributes.load_runs(AttributeType::Data, u"$SDS");
    return runs ? std::move(*runs) : Runlist();
  });
}

class SecurityDescriptorsTest : public ::testing::TestWithParam<uint32_t> {
 protected:
  ScratchVolume scratch_{{.cluster_size = GetParam()}};
};

TEST_P(SecurityDescriptorsTest, AreKeptOnceAndFound) {
  const ByteVector one = descriptor_of(1);
  const uint32_t id = add(scratch_.volume(), one);
  EXPECT_EQ(id, kDefaultDirectorySecurityId + 1);
  EXPECT_EQ(add(scratch_.volume(), descriptor_of(2)), id + 1);
  EXPECT_EQ(add(scratch_.volume(), one), id);
  EXPECT_EQ(find(scratch_.volume(), id), one);
  EXPECT_EQ(scratch_.check(), "");
  scratch_.reopen();
  const uint64_t size = size_of_sds(scratch_.volume());
  EXPECT_EQ(add(scratch_.volume(), one), id);
  EXPECT_EQ(size_of_sds(scratch_.volume()), size);
  EXPECT_EQ(add(scratch_.volume(), descriptor_of(3)), id + 2);
  EXPECT_EQ(find(scratch_.volume(), id + 1), descriptor_of(2));
  EXPECT_EQ(find(scratch_.volume(), id + 3), ByteVector());
  EXPECT_EQ(scratch_.check(), "");
}

TEST_P(SecurityDescriptorsTest, FillBlockAfterBlock) {
  std::mt19937 random(GetParam());
  std::vector<ByteVector> all;
  std::vector<uint32_t> ids;
  uint64_t next_check = 0;
  while (size_of_sds(scratch_.volume()) < 5 * kSdsBlockBytes) {
    // Short ones and, now and then, one of up to the longest length.
    const size_t count_aces = random() % 8 == 0 ? random() % 1800 : random() % 100;
    all.push_back(descriptor_of(static_cast<uint32_t>(all.size()), count_aces));
    ids.push_back(add(scratch_.volume(), all.back()));
    // Whenever a new pair of blocks was begun.
    const uint64_t pairs = size_of_sds(scratch_.volume()) / (2 * kSdsBlockBytes);
    if (pairs < next_check) continue;
    next_check = pairs + 1;
    ASSERT_EQ(scratch_.check(), "") << all.size();
  }
  EXPECT_EQ(scratch_.check(), "");
  scratch_.reopen();
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(find(scratch_.volume(), ids[i]), all[i]) << i;
    ASSERT_EQ(add(scratch_.volume(), all[i]), ids[i]) << i;
  }
}

TEST_P(SecurityDescriptorsTest, LeaveNothingOfWhatIsTakenBack) {
  const uint64_t size = size_of_sds(scratch_.volume());
  Volume& volume = scratch_.volume();
  for (uint32_t i = 0; i < 20; ++i) {
    // The long one reaches into the next pages, or the next pair of blocks.
    const size_t count_aces = i % 2 == 0 ? 1700 : 3;
    const NtStatus status = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
      TRY(volume.security().add(transaction, descriptor_of(1000 + i, count_aces)));
      return NtStatus::Cancelled;
    });
    EXPECT_EQ(status, NtStatus::Cancelled);
    EXPECT_EQ(add(volume, descriptor_of(i, i)), kDefaultDirectorySecurityId + 1 + i);
    ASSERT_EQ(scratch_.check(), "") << i;
  }
  EXPECT_GT(size_of_sds(volume), size);
  EXPECT_EQ(find(volume, kDefaultDirectorySecurityId + 20), descriptor_of(19, 19));
}

INSTANTIATE_TEST_SUITE_P(Clusters, SecurityDescriptorsTest, ::testing::Values(512, 4096, 65536));

TEST(SecurityDescriptors, LeaveTheirIndexesInOneRecord) {
  // Other drivers' tools look no further.
  ScratchVolume scratch({});
  for (uint32_t i = 0; i < 200; ++i) add(scratch.volume(), descriptor_of(i));
  const auto list = reading(scratch.volume(), [&] {
    Attributes attributes(scratch.volume(), kSecure);
    return attributes.find(AttributeType::AttributeList).error();
  });
  EXPECT_EQ(list, NtStatus::ObjectNameNotFound);
  EXPECT_EQ(scratch.check(), "");
}

TEST(SecurityDescriptors, MayShareAHash) {
  ScratchVolume scratch({});
  const ByteVector one = descriptor_of(1, 3);
  ByteVector other = one;
  // Two neighbouring words that change the hash in opposite ways: sub authorities of the owner.
  const auto parsed = ondisk::parse_security_descriptor(one, {"", 0, 0});
  ASSERT_TRUE(parsed);
  const size_t owner = one.size() - ondisk::sid_length(*parsed->group) - 8;
  const ByteView before = ByteView(one).first(owner);
  const uint32_t hash = ondisk::security_hash(before);
  auto& first = struct_at<le32>(MutableBytes(other), owner);
  auto& second = struct_at<le32>(MutableBytes(other), owner + 4);
  const uint32_t old_sum = std::rotl(hash, 3) + first.get();
  first.set(first.get() + 12345);
  const uint32_t new_sum = std::rotl(hash, 3) + first.get();
  second.set(second.get() + std::rotl(old_sum, 3) - std::rotl(new_sum, 3));
  ASSERT_EQ(ondisk::security_hash(one), ondisk::security_hash(other));
  ASSERT_NE(one, other);
  const uint32_t id = add(scratch.volume(), one);
  EXPECT_EQ(add(scratch.volume(), other), id + 1);
  scratch.reopen();
  EXPECT_EQ(add(scratch.volume(), one), id);
  EXPECT_EQ(add(scratch.volume(), other), id + 1);
  scratch.reopen();
  EXPECT_EQ(add(scratch.volume(), other), id + 1);
  EXPECT_EQ(scratch.check(), "");
}

TEST(SecurityDescriptors, AreReadFromTheCopyWhereTheFirstIsBad) {
  const ondisk::test::QuietReports quiet;
  ScratchVolume scratch({});
  const uint32_t id = add(scratch.volume(), descriptor_of(1));
  const uint64_t end = size_of_sds(scratch.volume());
  const Runlist runs = runs_of_sds(scratch.volume());
  scratch.reopen_after([&] { spoil(scratch, runs, end - kSdsBlockBytes - 1); });
  EXPECT_EQ(find(scratch.volume(), id), descriptor_of(1));
  scratch.reopen_after([&] { spoil(scratch, runs, end - 1); });
  const auto found =
      reading(scratch.volume(), [&] { return scratch.volume().security().find(id); });
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error(), NtStatus::FileCorruptError);
}

TEST(SecurityDescriptors, RefuseWhatIsTooLong) {
  ScratchVolume scratch({});
  Volume& volume = scratch.volume();
  const ByteVector longest = descriptor_of(1, 1818);
  ASSERT_GT(longest.size(), SecurityDescriptors::kMostBytes - 36);
  EXPECT_NE(add(volume, longest), 0u);
  const NtStatus status = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    TRY(volume.security().add(transaction, ByteVector(SecurityDescriptors::kMostBytes + 1)));
    return {};
  });
  EXPECT_EQ(status, NtStatus::InvalidParameter);
  EXPECT_EQ(scratch.check(), "");
}

TEST(SecurityDescriptors, TellOfAFullDisk) {
  ScratchVolume scratch({.size_bytes = uint64_t{8} << 20});
  Volume& volume = scratch.volume();
  const uint64_t size = size_of_sds(volume);
  const NtStatus status = in_transaction(volume, [&](Transaction& transaction) -> Result<> {
    while (volume.clusters().allocate(transaction, ClusterCount(1), Lcn::hole())) {
    }
    for (uint32_t i = 0; i < 100; ++i) {
      TRY(volume.security().add(transaction, descriptor_of(i, 50)));
    }
    return {};
  });
  EXPECT_EQ(status, NtStatus::DiskFull);
  EXPECT_EQ(size_of_sds(volume), size);
  EXPECT_EQ(scratch.check(), "");
}

TEST(SecurityDescriptors, AreInheritedByWhatIsMade) {
  ScratchVolume scratch({});
  Volume& volume = scratch.volume();
  uint32_t file = 0;
  uint32_t directory = 0;
  const auto inherit = [&](uint32_t parent, Inheritor inheritor,
                           const std::optional<FileOwner>& owner) {
    uint32_t id = 0;
    EXPECT_EQ(
        in_transaction(volume,
                       [&](Transaction& transaction) -> Result<> {
                         id = TRY(volume.security().inherit(transaction, parent, inheritor, owner));
                         return {};
                       }),
        NtStatus::Success);
    return id;
  };
  file = inherit(kRootSecurityId, Inheritor::File, std::nullopt);
  directory = inherit(kRootSecurityId, Inheritor::Directory, std::nullopt);
  EXPECT_NE(file, directory);
  // Deeper down everything has these two.
  EXPECT_EQ(inherit(directory, Inheritor::File, std::nullopt), file);
  EXPECT_EQ(inherit(directory, Inheritor::Directory, std::nullopt), directory);
  EXPECT_EQ(inherit(kRootSecurityId, Inheritor::File, std::nullopt), file);
  const FileOwner owner{Sid{5, {21, 1, 2, 3, 1001}}, Sid{5, {21, 1, 2, 3, 513}}};
  const uint32_t owned = inherit(kRootSecurityId, Inheritor::File, owner);
  EXPECT_NE(owned, file);
  const auto found = reading(volume, [&] { return volume.security().find(owned); });
  ASSERT_TRUE(found);
  EXPECT_EQ((*found)->parts.owner, owner.owner);
  EXPECT_EQ((*found)->parts.group, owner.group);
  // A parent whose descriptor nobody knows.
  EXPECT_EQ(inherit(0x7777, Inheritor::File, std::nullopt), 0x7777u);
  EXPECT_EQ(scratch.check(), "");
}

}  // namespace
}  // namespace ntfs
