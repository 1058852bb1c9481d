// What others made must pass, damaged volumes must not, and the checker ends on all of them.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/check/check.h"
#include "tests/support/file_device.h"
#include "tests/unit/check/sample_volumes.h"

namespace ntfs {
namespace {

using testing::FileDevice;
using testing::ScratchDirectory;

CheckReport check_image(const std::filesystem::path& path) {
  const auto device = FileDevice::open(path.string());
  EXPECT_NE(device, nullptr) << path;
  if (device == nullptr) return {};
  auto report = check_volume(*device, {});
  EXPECT_TRUE(report) << path;
  return report ? std::move(report).value() : CheckReport();
}

std::string lines_of(const CheckReport& report) {
  std::string lines;
  for (const Finding& finding : report.errors) lines += to_line(finding) + "\n";
  return lines;
}

struct Sample {
  const char* name;
  uint64_t directories;
  uint64_t names;
};

void PrintTo(const Sample& sample, std::ostream* stream) { *stream << sample.name; }

class CleanSample : public ::testing::TestWithParam<Sample> {};

TEST_P(CleanSample, HasNoFindings) {
  ScratchDirectory directory;
  const auto image = testing::unpack_image(GetParam().name, directory.path());
  if (!image)
    GTEST_SKIP() << "no image " << GetParam().name << " (NTFS_WAL_IMAGES names the folder)";
  const CheckReport report = check_image(*image);
  EXPECT_TRUE(report.is_clean()) << lines_of(report);
  EXPECT_EQ(report.directories, GetParam().directories);
  EXPECT_EQ(report.names, GetParam().names);
  EXPECT_EQ(report.index_entries, GetParam().names);
}

// orphan_mft_entries is kept with the damaged volumes, but nothing in it contradicts anything: its
// records, bitmap, names and index entries agree, which a separate script confirmed.
INSTANTIATE_TEST_SUITE_P(CheckVolume, CleanSample,
                         ::testing::Values(Sample{"ms_lastaccess", 10, 32}, Sample{"ms_2m", 7, 27},
                                           Sample{"vel_charlie", 7, 27}, Sample{"plaso_vss", 6, 37},
                                           Sample{"cf_testfs1", 515, 532}, Sample{"grr", 7, 27},
                                           Sample{"corrupt/orphan_mft_entries", 3, 4119}));

class DirtySample : public ::testing::TestWithParam<const char*> {};

TEST_P(DirtySample, HasNothingButAnUncleanLog) {
  ScratchDirectory directory;
  const auto image = testing::unpack_image(GetParam(), directory.path());
  if (!image) GTEST_SKIP() << "no image " << GetParam() << " (NTFS_WAL_IMAGES names the folder)";
  const CheckReport report = check_image(*image);
  ASSERT_EQ(report.errors.size(), 1u) << lines_of(report);
  EXPECT_EQ(report.errors[0].structure, "$LogFile");
  EXPECT_EQ(report.errors[0].message, "the log has to be replayed");
}

INSTANTIATE_TEST_SUITE_P(CheckVolume, DirtySample,
                         ::testing::Values("js_tiny", "rewind/grr.back4.undo4",
                                           "rewind/grr.back12.undo10",
                                           "rewind/ms_lastaccess.back6.undo5"));

struct DamagedSample {
  const char* name;
  const char* structure;
  const char* message;
};

void PrintTo(const DamagedSample& sample, std::ostream* stream) { *stream << sample.name; }

class CorruptSample : public ::testing::TestWithParam<DamagedSample> {};

TEST_P(CorruptSample, IsFoundOut) {
  ScratchDirectory directory;
  const auto image = testing::unpack_image(GetParam().name, directory.path());
  if (!image)
    GTEST_SKIP() << "no image " << GetParam().name << " (NTFS_WAL_IMAGES names the folder)";
  const CheckReport report = check_image(*image);
  const bool found = std::any_of(report.errors.begin(), report.errors.end(), [](const Finding& f) {
    return f.structure == GetParam().structure && f.message == GetParam().message;
  });
  EXPECT_TRUE(found) << lines_of(report);
}

INSTANTIATE_TEST_SUITE_P(
    CheckVolume, CorruptSample,
    ::testing::Values(DamagedSample{"corrupt/root_attribute_missing_in_directory", "attribute list",
                                    "an attribute is not listed"},
                      DamagedSample{"corrupt/data_size_init_size_bigger_than_alloc_size_DATA_attr",
                                    "attribute", "the file size is larger than the allocated size"},
                      DamagedSample{"corrupt/incompleted_multi_sector_transfer_after",
                                    "file record", "the record was not written as a whole"},
                      DamagedSample{"corrupt/mismatch_index_filename", "index entry",
                                    "an index entry has no matching $FILE_NAME attribute"},
                      DamagedSample{"corrupt/ir_missing_in_parent_orphaned_file", "file name",
                                    "a $FILE_NAME attribute has no matching index entry"}));

class PeerClusters : public ::testing::TestWithParam<const char*> {};

TEST_P(PeerClusters, PassWhenNtfs3gFilledThem) {
  ScratchDirectory directory;
  const auto image = directory.path() / "peer.img";
  const std::string reason = testing::make_peer_volume(image, {"60M", GetParam(), 1500});
  if (!reason.empty()) GTEST_SKIP() << reason;
  const CheckReport report = check_image(image);
  EXPECT_TRUE(report.is_clean()) << lines_of(report);
  EXPECT_GT(report.names, 1500u);
  EXPECT_GT(report.index_blocks, 20u);
  EXPECT_GT(report.records_in_use, report.files + report.directories) << "no extension records";
}

INSTANTIATE_TEST_SUITE_P(CheckVolume, PeerClusters, ::testing::Values("512", "4096", "65536"));

TEST(CheckVolume, RefusesWhatIsNoNtfs) {
  ScratchDirectory directory;
  const auto path = directory.path() / "zeros";
  ASSERT_EQ(std::system(("truncate -s 1M '" + path.string() + "'").c_str()), 0);
  const auto device = FileDevice::open(path.string());
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(check_volume(*device, {}).error(), NtStatus::UnrecognizedVolume);
}

}  // namespace
}  // namespace ntfs
