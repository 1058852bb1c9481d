// What format_volume() makes must pass, in every geometry.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/check/check.h"
#include "core/store/format.h"
#include "tests/support/memory_device.h"

namespace ntfs {
namespace {

using testing::MemoryDevice;

constexpr uint64_t kMiB = uint64_t{1} << 20;

void expect_no_findings(MemoryDevice& device, const FormatOptions& format) {
  const auto summary = format_volume(device, format);
  ASSERT_TRUE(summary) << name_of(summary.error());
  CheckOptions options;
  options.strict_lsns = true;
  const auto report = check_volume(device, options);
  ASSERT_TRUE(report);
  for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
  EXPECT_EQ(report->clusters_total - report->clusters_used, summary->free_clusters);
  EXPECT_EQ(report->records, summary->mft_records);
  EXPECT_EQ(report->names, report->index_entries);
}

TEST(FormattedVolume, PassesInEveryGeometry) {
  for (const uint32_t sector_size : {512u, 4096u}) {
    for (const uint32_t record_size : {1024u, 4096u}) {
      for (uint32_t cluster_size = 512; cluster_size <= ondisk::kMaxClusterBytes;
           cluster_size *= 2) {
        if (cluster_size < sector_size) continue;
        SCOPED_TRACE(std::to_string(sector_size) + " " + std::to_string(record_size) + " " +
                     std::to_string(cluster_size));
        MemoryDevice device(100 * kMiB, sector_size);
        FormatOptions format;
        format.sector_size = sector_size;
        format.record_size = record_size;
        format.cluster_size = cluster_size;
        format.content = DeviceContent::Zeroed;
        if (!format_refusal(format, device.size_bytes()).empty()) continue;
        expect_no_findings(device, format);
      }
    }
  }
}

TEST(FormattedVolume, PassesFromTheSmallestToTheLargest) {
  // Odd sizes, so that the last byte of $Bitmap is not whole.
  for (const uint64_t size : {8 * kMiB, 8 * kMiB + 512 * 777, 1000 * kMiB + 512 * 3,
                              (uint64_t{1} << 40) + 12345 * 512, uint64_t{1} << 44}) {
    SCOPED_TRACE(size);
    MemoryDevice device(size);
    FormatOptions format;
    format.content = DeviceContent::Zeroed;
    expect_no_findings(device, format);
  }
}

// Where the volume is smaller than its device, Windows looks for the copy behind the volume, and
// ntfsresize leaves it at the end of the device.
TEST(FormattedVolume, HasItsCopyOfTheBootSectorBehindItselfOrAtTheEndOfTheDevice) {
  constexpr uint64_t kVolume = 8 * kMiB;
  for (const bool moves : {true, false}) {
    MemoryDevice device(kVolume + kMiB);
    FormatOptions format;
    format.content = DeviceContent::Zeroed;
    format.size_bytes = kVolume;
    ASSERT_TRUE(format_volume(device, format));
    AlignedBuffer buffer(512);
    const MutableBytes sector = buffer.bytes().first(512);
    ASSERT_TRUE(device.read(0, sector));
    if (moves) {
      ASSERT_TRUE(device.write(device.size_bytes() - 512, sector));
    }
    std::ranges::fill(sector, std::byte{0});
    ASSERT_TRUE(device.write(kVolume - 512, sector));
    const auto report = check_volume(device, {});
    ASSERT_TRUE(report);
    EXPECT_EQ(report->is_clean(), moves);
  }
}

}  // namespace
}  // namespace ntfs
