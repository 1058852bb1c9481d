// Volumes that others made, as they stand: every file record, runlist, attribute list and index
// block must be accepted. The images are found in the directory that NTFS_WAL_IMAGES names, or
// beside the source tree; without them the tests are skipped.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/boot_sector.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/mapping_pairs.h"

namespace ntfs::ondisk {
namespace {

namespace fs = std::filesystem;

fs::path image_directory() {
  if (const char* named = std::getenv("NTFS_WAL_IMAGES")) return named;
  // __FILE__ may be relative to the build directory, which need not be the current one.
  const fs::path beside_source = fs::path(__FILE__).parent_path() / "../../../../shared/images";
  return fs::is_directory(beside_source) ? beside_source : fs::path("../shared/images");
}

/// An image unpacked into a directory of its own, which goes away with this.
class UnpackedImage {
 public:
  explicit UnpackedImage(const std::string& name) {
    std::string pattern = (fs::temp_directory_path() / "ntfs-image-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) return;
    directory_ = pattern;
    const fs::path archive = image_directory() / (name + ".img.tar.xz");
    const std::string command =
        "tar -C '" + directory_.string() + "' -xSJf '" + archive.string() + "'";
    if (std::system(command.c_str()) != 0) return;
    path_ = directory_ / (name + ".img");
    file_.open(path_, std::ios::binary);
  }
  ~UnpackedImage() {
    std::error_code ignored;
    if (!directory_.empty()) fs::remove_all(directory_, ignored);
  }
  UnpackedImage(const UnpackedImage&) = delete;
  UnpackedImage& operator=(const UnpackedImage&) = delete;

  bool is_open() const { return file_.is_open(); }
  uint64_t size() const { return fs::file_size(path_); }
  ByteVector read(uint64_t position, size_t length) {
    ByteVector bytes(length);
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(position));
    file_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(length));
    return bytes;
  }

 private:
  fs::path directory_;
  fs::path path_;
  std::ifstream file_;
};

struct Counts {
  uint64_t files = 0;  // base records in use
  uint64_t runlists = 0;
  uint64_t index_blocks = 0;
  uint64_t list_entries = 0;
};

class VolumeReader {
 public:
  explicit VolumeReader(UnpackedImage& image) : image_(image) {}

  void read_all() {
    const auto geometry =
        parse_boot_sector(image_.read(0, 512), image_.size(), {"boot sector", 0, 0});
    ASSERT_TRUE(geometry);
    geometry_ = *geometry;
    const uint64_t position = geometry_.mft_lcn.raw() * geometry_.cluster_size;
    ByteVector first = image_.read(position, geometry_.file_record_size);
    ASSERT_TRUE(unprotect(first, {"file record", 0, position}));
    const auto record = FileRecordView::parse(first, {"file record", 0, position});
    ASSERT_TRUE(record);
    const auto data = record->find(AttributeType::Data);
    ASSERT_TRUE(data.has_value());
    const ByteVector mft = read_value(*data);
    for (uint64_t number = 0; number < mft.size() / geometry_.file_record_size; ++number) {
      const auto begin = mft.begin() + static_cast<ptrdiff_t>(number * geometry_.file_record_size);
      ByteVector bytes(begin, begin + geometry_.file_record_size);
      if (as_text(ByteView(bytes).first(4)) != "FILE") continue;  // never formatted
      read_record(bytes, number);
    }
  }
  const Counts& counts() const { return counts_; }

 private:
  /// The valid part of an attribute in one record.
  ByteVector read_value(const AttributeView& attribute) {
    if (attribute.is_resident()) {
      return ByteVector(attribute.value().begin(), attribute.value().end());
    }
    ByteVector value;
    for (const Run& run : runs_of(attribute)) {
      const size_t bytes = run.count.raw() * geometry_.cluster_size;
      const ByteVector part = run.lcn.is_hole()
                                  ? ByteVector(bytes)
                                  : image_.read(run.lcn.raw() * geometry_.cluster_size, bytes);
      value.insert(value.end(), part.begin(), part.end());
    }
    value.resize(std::min<size_t>(value.size(), attribute.valid_data_length()));
    return value;
  }

  std::vector<Run> runs_of(const AttributeView& attribute) {
    auto runs = decode_mapping_pairs(attribute.mapping_pairs(), attribute.lowest_vcn(),
                                     attribute.next_vcn(), geometry_.total_clusters,
                                     {"mapping pairs", number_, attribute.offset()});
    EXPECT_TRUE(runs);
    ++counts_.runlists;
    if (!runs) return {};
    const auto encoded = encode_mapping_pairs(*runs, attribute.mapping_pairs().size());
    EXPECT_EQ(encoded.run_count, runs->size());
    EXPECT_TRUE(
        std::equal(encoded.bytes.begin(), encoded.bytes.end(), attribute.mapping_pairs().begin()));
    return std::move(runs).value();
  }

  void read_record(ByteVector& bytes, uint64_t number) {
    number_ = number;
    const Origin origin{"file record", number, 0};
    ASSERT_TRUE(unprotect(bytes, origin)) << number;
    const auto record = FileRecordView::parse(bytes, origin);
    ASSERT_TRUE(record) << number;
    EXPECT_FALSE(describe(*record).empty());
    if (!record->in_use()) return;
    if (record->is_base()) ++counts_.files;
    if (record->has_record_number()) {
      EXPECT_EQ(record->record_number(), number);
    }
    for (const AttributeView attribute : *record) {
      if (!attribute.is_resident()) runs_of(attribute);
      if (attribute.type() == AttributeType::AttributeList) read_attribute_list(attribute);
      if (attribute.type() == AttributeType::IndexRoot) read_index(*record, attribute);
      if (attribute.is_resident()) expect_rebuilt_equal(attribute);
    }
  }

  /// What the builder makes of the parts is what the volume's maker made, up to the padding.
  void expect_rebuilt_equal(const AttributeView& attribute) {
    const ByteVector built =
        build_resident(attribute.type(), attribute.name(), attribute.flags(), attribute.instance(),
                       attribute.value(), attribute.is_indexed() ? Indexed::Yes : Indexed::No);
    const auto again = AttributeView::parse(built, 0, {"attribute", number_, 0});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->value_offset(), attribute.value_offset()) << describe(attribute);
    EXPECT_EQ(as_text(again->value()), as_text(attribute.value()));
  }

  void read_attribute_list(const AttributeView& attribute) {
    const ByteVector value = read_value(attribute);
    const auto entries = parse_attribute_list(value, {"attribute list", number_, 0});
    ASSERT_TRUE(entries) << number_;
    counts_.list_entries += entries->size();
    EXPECT_EQ(build_attribute_list(*entries).size(), value.size());
  }

  void read_index(const FileRecordView& record, const AttributeView& root_attribute) {
    const auto root = IndexRootView::of_valid(root_attribute.value());
    const std::u16string name = root_attribute.name();
    const auto allocation = record.find(AttributeType::IndexAllocation, name, Vcn(0));
    const auto bitmap = record.find(AttributeType::Bitmap, name, Vcn(0));
    if (!allocation || !bitmap) return;
    const ByteVector blocks = read_value(*allocation);
    const ByteVector bits = read_value(*bitmap);
    const size_t size = root.index_block_size();
    for (size_t i = 0; i < blocks.size() / size && i / 8 < bits.size(); ++i) {
      if ((bits[i / 8] >> (i % 8) & std::byte{1}) == std::byte{0}) continue;
      ByteVector block(blocks.begin() + static_cast<ptrdiff_t>(i * size),
                       blocks.begin() + static_cast<ptrdiff_t>((i + 1) * size));
      const Origin origin{"INDX buffer", number_, i};
      ASSERT_TRUE(unprotect(block, origin));
      const Vcn vcn(i * size / geometry_.index_vcn_bytes());
      const auto view = parse_index_block(block, vcn, root.kind(), origin);
      ASSERT_TRUE(view) << number_ << ' ' << i;
      EXPECT_FALSE(describe(*view, root.kind()).empty());
      ++counts_.index_blocks;
    }
  }

  UnpackedImage& image_;
  VolumeGeometry geometry_;
  Counts counts_;
  uint64_t number_ = 0;
};

struct Volume {
  const char* name;
  uint64_t files;
};

class RealVolume : public testing::TestWithParam<Volume> {};

TEST_P(RealVolume, IsAcceptedWhole) {
  if (!fs::is_directory(image_directory())) {
    GTEST_SKIP() << "no images in " << image_directory() << " (set NTFS_WAL_IMAGES)";
  }
  UnpackedImage image(GetParam().name);
  if (!image.is_open()) GTEST_SKIP() << "cannot unpack " << GetParam().name;
  VolumeReader reader(image);
  reader.read_all();
  const Counts& counts = reader.counts();
  printf("%s: %lu files, %lu runlists, %lu index blocks, %lu attribute list entries\n",
         GetParam().name, counts.files, counts.runlists, counts.index_blocks, counts.list_entries);
  EXPECT_EQ(counts.files, GetParam().files);
}

INSTANTIATE_TEST_SUITE_P(Images, RealVolume,
                         testing::Values(Volume{"cf_testfs1", 536}, Volume{"vel_charlie", 31},
                                         Volume{"grr", 31}, Volume{"js_tiny", 35},
                                         Volume{"ms_2m", 31}, Volume{"ms_lastaccess", 36},
                                         Volume{"plaso_vss", 34}),
                         [](const auto& volume) { return std::string(volume.param.name); });

}  // namespace
}  // namespace ntfs::ondisk
