#include "core/store/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "core/base/multi_sector.h"
#include "core/check/check.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/upcase_table.h"
#include "lfs/log_file.h"
#include "tests/support/memory_device.h"
#include "tests/unit/ondisk/quiet_reports.h"

namespace ntfs {
namespace {

namespace fs = std::filesystem;
using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordView;
using testing::MemoryDevice;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kTiB = uint64_t{1} << 40;

FormatOptions options_of(uint32_t cluster_size, uint32_t sector_size, uint32_t record_size) {
  FormatOptions options;
  options.cluster_size = cluster_size;
  options.sector_size = sector_size;
  options.record_size = record_size;
  options.label = u"Volume \u00E4";
  options.serial = 0x1122334455667788;
  options.time = ondisk::FileTime::from_raw(0x01DA000000000000);
  options.content = DeviceContent::Zeroed;
  return options;
}

/// A formatted volume, read back with nothing but core/ondisk.
class NewVolume {
 public:
  explicit NewVolume(MemoryDevice& device) : device_(device) {
    const auto parsed = ondisk::parse_boot_sector(read(0, 512), device.size_bytes(), {"boot"});
    EXPECT_TRUE(parsed.has_value());
    geometry = *parsed;
    const uint64_t mft = geometry.mft_lcn.raw() * geometry.cluster_size;
    for (uint64_t number = 0; number < 64; ++number) {
      ByteVector bytes = read(mft + number * geometry.file_record_size, geometry.file_record_size);
      const Origin origin{"file record", number};
      EXPECT_TRUE(unprotect(bytes, origin).has_value()) << number;
      EXPECT_TRUE(FileRecordView::parse(bytes, origin).has_value()) << number;
      records.push_back(std::move(bytes));
    }
  }

  /// Any bytes, aligned or not.
  ByteVector read(uint64_t position, uint64_t length) {
    const uint64_t block = device_.logical_block_size();
    const uint64_t start = align_down(position, block);
    AlignedBuffer buffer(align_up(position + length, block) - start);
    const MutableBytes into = buffer.bytes().first(align_up(position + length, block) - start);
    EXPECT_TRUE(device_.read(start, into).has_value());
    const auto part = into.subspan(position - start, length);
    return {part.begin(), part.end()};
  }

  FileRecordView record(uint64_t number) const { return FileRecordView::of_valid(records[number]); }
  AttributeView attribute(uint64_t number, AttributeType type, std::u16string_view name = {}) {
    const auto found = record(number).find(type, name);
    EXPECT_TRUE(found.has_value()) << number;
    return *found;
  }
  std::vector<Run> runs_of(const AttributeView& attribute) const {
    auto runs = ondisk::decode_mapping_pairs(
        attribute.mapping_pairs(), Vcn(0), attribute.next_vcn(), geometry.total_clusters, {"run"});
    EXPECT_TRUE(runs.has_value());
    return std::move(*runs);
  }
  /// The value, of a nonresident attribute with one run.
  ByteVector value_of(const AttributeView& attribute) {
    const auto runs = runs_of(attribute);
    EXPECT_EQ(runs.size(), 1u);
    return read(runs[0].lcn.raw() * geometry.cluster_size, attribute.file_size());
  }

  ondisk::VolumeGeometry geometry;
  std::vector<ByteVector> records;

 private:
  MemoryDevice& device_;
};

/// Every cluster that a record says is its own is set in $Bitmap, none twice, no other is.
void expect_bitmap_matches(NewVolume& volume) {
  std::map<uint64_t, uint64_t> used;  // first cluster -> end
  for (uint64_t number = 0; number < volume.records.size(); ++number) {
    for (const AttributeView attribute : volume.record(number)) {
      if (attribute.is_resident()) continue;
      for (const Run& run : volume.runs_of(attribute)) {
        if (run.lcn.is_hole()) continue;
        EXPECT_TRUE(used.emplace(run.lcn.raw(), run.lcn.raw() + run.count.raw()).second);
      }
    }
  }
  const uint64_t total = volume.geometry.total_clusters;
  const AttributeView bitmap = volume.attribute(ondisk::kBitmapRecord, AttributeType::Data);
  const ByteVector bits = volume.value_of(bitmap);
  ASSERT_EQ(bits.size(), align_up(divide_up(total, 8), 8));
  used.emplace(total, 8 * bits.size());
  uint64_t cluster = 0;
  const auto expect_until = [&](uint64_t end, bool value) {
    for (; cluster < end; ++cluster) {
      const bool is_set = (bits[cluster / 8] & std::byte(1 << (cluster % 8))) != std::byte{0};
      ASSERT_EQ(is_set, value) << "cluster " << cluster;
    }
  };
  for (const auto& [from, to] : used) {
    ASSERT_LE(cluster, from) << "claimed twice";
    expect_until(from, false);
    expect_until(to, true);
  }
}

void expect_index_is_sorted(const ondisk::IndexNodeView& node) {
  const std::vector<char16_t> upcase = default_upcase_table();
  std::u16string last;
  for (const ondisk::IndexEntryView entry : node) {
    if (entry.is_end()) break;
    std::u16string name = ondisk::FileNameView::of_valid(entry.key()).name();
    for (char16_t& unit : name) unit = upcase[unit];
    EXPECT_LT(last, name);
    last = name;
  }
}

void expect_root_lists_system_files(NewVolume& volume) {
  const auto root = volume.attribute(ondisk::kRootRecord, AttributeType::IndexAllocation, u"$I30");
  ByteVector block = volume.value_of(root);
  ASSERT_EQ(block.size(), 4096u);
  ASSERT_TRUE(unprotect(block, {"INDX"}).has_value());
  const auto parsed =
      ondisk::parse_index_block(block, Vcn(0), ondisk::IndexKind::FileNames, {"INDX"});
  ASSERT_TRUE(parsed.has_value());
  expect_index_is_sorted(parsed->node());
  size_t count = 0;
  for (const ondisk::IndexEntryView entry : parsed->node()) {
    if (entry.is_end()) break;
    const auto record = volume.record(entry.reference().record());
    EXPECT_EQ(record.reference(), entry.reference());
    const auto name = record.find(AttributeType::FileName);
    ASSERT_TRUE(name.has_value());
    const ByteView value = name->value();
    EXPECT_TRUE(std::equal(value.begin(), value.end(), entry.key().begin(), entry.key().end()));
    ++count;
  }
  EXPECT_EQ(count, 12u);
}

void expect_mirror_repeats_mft(NewVolume& volume) {
  const auto mirror = volume.attribute(ondisk::kMftMirrRecord, AttributeType::Data);
  const auto& geometry = volume.geometry;
  EXPECT_EQ(mirror.file_size(),
            std::max<uint64_t>(4 * geometry.file_record_size, geometry.cluster_size));
  EXPECT_EQ(volume.runs_of(mirror)[0].lcn, geometry.mftmirr_lcn);
  EXPECT_EQ(volume.value_of(mirror),
            volume.read(geometry.mft_lcn.raw() * geometry.cluster_size, mirror.file_size()));
}

void expect_whole(NewVolume& volume) {
  const auto& geometry = volume.geometry;
  EXPECT_EQ(volume.read(0, 512), volume.read(geometry.backup_boot_sector_position(), 512));
  expect_bitmap_matches(volume);
  expect_root_lists_system_files(volume);
  expect_mirror_repeats_mft(volume);
  const ByteVector mft_bits =
      volume.value_of(volume.attribute(ondisk::kMftRecord, AttributeType::Bitmap));
  for (uint64_t number = 0; number < volume.records.size(); ++number) {
    const bool is_set = (mft_bits[number / 8] & std::byte(1 << (number % 8))) != std::byte{0};
    EXPECT_EQ(is_set, volume.record(number).in_use()) << number;
    EXPECT_EQ(volume.record(number).record_number(), number);
  }
  const auto upcase = volume.attribute(ondisk::kUpCaseRecord, AttributeType::Data);
  EXPECT_EQ(volume.value_of(upcase), default_upcase_bytes());
}

struct Shape {
  uint64_t size_bytes;
  uint32_t block_size;  // of the device
  uint32_t cluster_size;
  uint32_t sector_size;
  uint32_t record_size;
};

class FormatShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(FormatShapes, MakesAWholeVolume) {
  const Shape& shape = GetParam();
  MemoryDevice device(shape.size_bytes, shape.block_size);
  const auto summary =
      format_volume(device, options_of(shape.cluster_size, shape.sector_size, shape.record_size));
  ASSERT_TRUE(summary.has_value());
  NewVolume volume(device);
  EXPECT_EQ(volume.geometry, summary->geometry);
  EXPECT_EQ(volume.geometry.cluster_size, shape.cluster_size);
  EXPECT_EQ(volume.geometry.file_record_size, shape.record_size);
  expect_whole(volume);
}

INSTANTIATE_TEST_SUITE_P(
    All, FormatShapes,
    ::testing::Values(
        Shape{8 * kMiB, 512, 512, 512, 1024}, Shape{8 * kMiB, 512, 4096, 512, 1024},
        Shape{8 * kMiB, 512, 65536, 512, 1024}, Shape{8 * kMiB, 512, 65536, 512, 4096},
        Shape{8 * kMiB, 4096, 4096, 4096, 4096}, Shape{64 * kMiB, 4096, 512, 512, 1024},
        Shape{64 * kMiB + 12800, 512, 4096, 512, 1024}, Shape{64 * kMiB, 4096, 65536, 4096, 4096},
        Shape{256 * kMiB, 512, 512, 512, 4096}, Shape{256 * kMiB, 512, 8192, 512, 1024},
        Shape{256 * kMiB, 512, 2048, 512, 4096}, Shape{64 * kMiB, 512, 128 << 10, 512, 1024},
        Shape{64 * kMiB, 4096, 256 << 10, 4096, 4096}, Shape{256 * kMiB, 512, 2 << 20, 512, 1024},
        Shape{256 * kMiB, 512, 2 << 20, 512, 4096}));

TEST(Format, ChoosesSizesThatFitTheVolume) {
  MemoryDevice device(64 * kMiB);
  const auto small = format_volume(device, options_of(0, 0, 0));
  ASSERT_TRUE(small.has_value());
  EXPECT_EQ(small->geometry.cluster_size, 4096u);
  EXPECT_EQ(small->geometry.sector_size, 512u);
  EXPECT_EQ(small->geometry.file_record_size, 1024u);
  EXPECT_EQ(small->log_bytes, 2 * kMiB);

  MemoryDevice large(32 * kTiB, 4096);
  const auto summary = format_volume(large, options_of(0, 4096, 0));
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->geometry.cluster_size, 8192u);
  EXPECT_EQ(summary->geometry.file_record_size, 4096u);
  EXPECT_EQ(summary->log_bytes, 64 * kMiB);
}

TEST(Format, MakesTheLargestVolumeOfFourKibibyteClusters) {
  MemoryDevice device(16 * kTiB);
  const auto summary = format_volume(device, options_of(0, 0, 0));
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->geometry.total_clusters, kMaxVolumeClusters);
  EXPECT_LT(device.allocated_bytes(), 72 * kMiB);
  NewVolume volume(device);
  expect_mirror_repeats_mft(volume);
  expect_root_lists_system_files(volume);
}

TEST(Format, WritesLittleToAnEmptyImage) {
  MemoryDevice device(kTiB);
  ASSERT_TRUE(format_volume(device, options_of(4096, 512, 1024)).has_value());
  EXPECT_LT(device.counters().bytes_written, 70 * kMiB);
}

TEST(Format, LeavesNothingOfWhatWasThereInTheSystemFiles) {
  MemoryDevice device(32 * kMiB);
  AlignedBuffer noise(kMiB);
  std::fill(noise.bytes().begin(), noise.bytes().end(), std::byte{0xA5});
  for (uint64_t at = 0; at < device.size_bytes(); at += kMiB) {
    ASSERT_TRUE(device.write(at, noise.bytes()).has_value());
  }
  FormatOptions options = options_of(512, 512, 1024);
  options.content = DeviceContent::Unknown;
  ASSERT_TRUE(format_volume(device, options).has_value());
  NewVolume volume(device);
  expect_whole(volume);
}

TEST(Format, TheLogIsCleanAndAsLongAsAsked) {
  MemoryDevice device(64 * kMiB);
  FormatOptions options = options_of(4096, 512, 1024);
  options.log_size = 5 * kMiB + 4096;
  const auto summary = format_volume(device, options);
  ASSERT_TRUE(summary.has_value());
  EXPECT_EQ(summary->log_bytes, 5 * kMiB);
  NewVolume volume(device);
  const auto log = volume.attribute(ondisk::kLogFileRecord, AttributeType::Data);
  EXPECT_EQ(log.file_size(), 5 * kMiB);
  EXPECT_EQ(as_text(ByteView(volume.value_of(log)).first(4)), "RSTR");
}

TEST(Format, TheVolumeIsNamedAndClean) {
  MemoryDevice device(8 * kMiB);
  ASSERT_TRUE(format_volume(device, options_of(4096, 512, 1024)).has_value());
  NewVolume volume(device);
  const auto name = volume.attribute(ondisk::kVolumeRecord, AttributeType::VolumeName);
  EXPECT_EQ(name.value().size(), 2 * std::u16string_view(u"Volume \u00E4").size());
  const auto value = volume.attribute(ondisk::kVolumeRecord, AttributeType::VolumeInformation);
  const auto information = ondisk::parse_volume_information(value.value(), {"volume"});
  ASSERT_TRUE(information.has_value());
  EXPECT_EQ(information->major_version, std::byte{3});
  EXPECT_EQ(information->minor_version, std::byte{1});
  EXPECT_EQ(information->flags.get(), 0);
}

TEST(Format, ExtendHoldsTheDirectoryForDeletedFiles) {
  MemoryDevice device(8 * kMiB);
  ASSERT_TRUE(format_volume(device, options_of(4096, 512, 1024)).has_value());
  NewVolume volume(device);
  const auto root = volume.attribute(ondisk::kExtendRecord, AttributeType::IndexRoot, u"$I30");
  const auto node = ondisk::IndexRootView::of_valid(root.value()).node();
  expect_index_is_sorted(node);
  const ondisk::IndexEntryView first = *node.begin();
  EXPECT_EQ(first.reference(), FileReference(kDeletedRecord, 1));
  EXPECT_EQ(ondisk::FileNameView::of_valid(first.key()).name(), u"$Deleted");
  EXPECT_TRUE(volume.record(kDeletedRecord).is_directory());
}

TEST(Format, VolumesWithSharedClustersHaveACountOfThem) {
  MemoryDevice device(16 * kMiB);
  FormatOptions options = options_of(4096, 512, 1024);
  options.reflink = true;
  ASSERT_TRUE(format_volume(device, options).has_value());
  NewVolume volume(device);
  EXPECT_TRUE(volume.geometry.has_refcounts);
  const auto extend = volume.attribute(ondisk::kExtendRecord, AttributeType::IndexRoot, u"$I30");
  expect_index_is_sorted(ondisk::IndexRootView::of_valid(extend.value()).node());
  const auto counts = volume.attribute(kRefcountsRecord, AttributeType::IndexRoot, u"$C");
  EXPECT_TRUE(ondisk::IndexRootView::of_valid(counts.value()).node().is_empty());
  const auto report = check_volume(device, {});
  ASSERT_TRUE(report);
  for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
}

TEST(Format, SameSerialAndTimeGiveTheSameBytes) {
  MemoryDevice first(8 * kMiB);
  MemoryDevice second(8 * kMiB);
  ASSERT_TRUE(format_volume(first, options_of(4096, 512, 1024)).has_value());
  ASSERT_TRUE(format_volume(second, options_of(4096, 512, 1024)).has_value());
  NewVolume a(first);
  NewVolume b(second);
  // A log has a number of its own, by which it is told from older ones.
  const auto log = a.runs_of(a.attribute(ondisk::kLogFileRecord, AttributeType::Data))[0];
  const uint64_t log_start = log.lcn.raw() * 4096;
  const uint64_t log_end = log_start + log.count.raw() * 4096;
  EXPECT_EQ(a.read(0, log_start), b.read(0, log_start));
  EXPECT_EQ(a.read(log_end, 8 * kMiB - log_end), b.read(log_end, 8 * kMiB - log_end));
}

struct Refused {
  const char* word;  // in the explanation
  uint64_t device_bytes;
  NtStatus status;
  void (*change)(FormatOptions&);
};

TEST(Format, RefusesWhatCannotBe) {
  const Refused cases[] = {
      {"8 MiB", 4 * kMiB, NtStatus::InvalidParameter, [](FormatOptions&) {}},
      {"does not fit on a device", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.size_bytes = 65 * kMiB; }},
      {"sector of 1024", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.sector_size = 1024; }},
      {"cluster of 3000", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.cluster_size = 3000; }},
      {"cluster of 4194304", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.cluster_size = 4194304; }},
      {"smaller than a sector", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.cluster_size = 512, o.sector_size = 4096, o.record_size = 4096; }},
      {"record of 2048", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.record_size = 2048; }},
      {"smaller than a sector", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.cluster_size = 4096, o.sector_size = 4096, o.record_size = 1024; }},
      {"more than NTFS can count", 4 * kTiB, NtStatus::FileSystemLimitation,
       [](FormatOptions& o) { o.cluster_size = 512; }},
      {"log of 1000", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.log_size = 1000; }},
      {"do not fit", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.log_size = 64 * kMiB; }},
      {"label", 64 * kMiB, NtStatus::InvalidParameter,
       [](FormatOptions& o) { o.label = std::u16string(33, u'x'); }},
  };
  const ondisk::test::QuietReports quiet;
  for (const Refused& refused : cases) {
    MemoryDevice device(refused.device_bytes);
    FormatOptions options;
    refused.change(options);
    EXPECT_NE(format_refusal(options, refused.device_bytes).find(refused.word), std::string::npos)
        << format_refusal(options, refused.device_bytes);
    EXPECT_EQ(format_volume(device, options).error(), refused.status) << refused.word;
    EXPECT_EQ(device.counters().writes, 0u);
  }
  EXPECT_EQ(format_refusal(FormatOptions{}, 64 * kMiB), "");
}

TEST(Format, AFailedWriteLeavesNoVolume) {
  for (uint64_t nth = 1; nth <= 8; ++nth) {
    MemoryDevice device(8 * kMiB);
    ASSERT_TRUE(format_volume(device, options_of(4096, 512, 1024)).has_value());
    device.fail_write(nth, MemoryDevice::Lasting::Forever);
    const auto again = format_volume(device, options_of(4096, 512, 1024));
    EXPECT_EQ(again.error(), NtStatus::IoDeviceError);
    if (nth == 1) continue;  // nothing was done yet: the old volume stands
    AlignedBuffer sector(512);
    ASSERT_TRUE(device.read(0, sector.bytes().first(512)).has_value());
    EXPECT_EQ(ondisk::parse_boot_sector(sector.bytes(), 8 * kMiB, {"boot"}).error(),
              NtStatus::UnrecognizedVolume);
  }
}

bool is_installed(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

TEST(Format, OtherProgramsFindNothingToComplainOf) {
  const std::string commands[] = {"ntfsfix -n", "ntfsinfo -m -v", "fsntfsinfo",
                                  "fsstat",     "fls -rp",        "ntfssecaudit -a"};
  const Shape shapes[] = {{8 * kMiB, 512, 512, 512, 1024},
                          {64 * kMiB, 512, 4096, 512, 1024},
                          {64 * kMiB, 512, 65536, 512, 4096},
                          {64 * kMiB, 4096, 4096, 4096, 4096}};
  std::string pattern = (fs::temp_directory_path() / "ntfs-format-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  const std::string image = pattern + "/volume.img";
  size_t asked = 0;
  for (const Shape& shape : shapes) {
    MemoryDevice device(shape.size_bytes, shape.block_size);
    ASSERT_TRUE(
        format_volume(device, options_of(shape.cluster_size, shape.sector_size, shape.record_size))
            .has_value());
    ASSERT_TRUE(device.save(image));
    for (const std::string& command : commands) {
      if (!is_installed(command.substr(0, command.find(' ')))) continue;
      ++asked;
      const std::string line = command + " '" + image + "' >'" + pattern + "/output' 2>&1";
      EXPECT_EQ(std::system(line.c_str()), 0) << command << ", cluster " << shape.cluster_size;
    }
  }
  fs::remove_all(pattern);
  if (asked == 0) GTEST_SKIP() << "none of them is installed";
}

}  // namespace
}  // namespace ntfs
