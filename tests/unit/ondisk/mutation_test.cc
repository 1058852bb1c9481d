// Every parse of core/ondisk over valid bytes that were changed at random: it may refuse, and what
// it lets through must be walkable to the end. The sanitizer build makes this test sharp. To see a
// failure again: NTFS_TEST_SEED as printed, NTFS_TEST_REPORTS=1.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>

#include "core/ondisk/boot_sector.h"
#include "core/ondisk/mapping_pairs.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/ondisk/samples.h"

namespace ntfs::ondisk {
namespace {

constexpr Origin kOrigin{"mutated bytes", 0, 0};
constexpr int kRounds = 20000;

/// Reads what can be read, so that a sanitizer sees every access. Never equal to a constant.
uint64_t touch(ByteView bytes) {
  uint64_t sum = 1;
  for (const std::byte byte : bytes) sum = sum * 31 + static_cast<uint64_t>(byte);
  return sum;
}

void mutate(ByteVector& bytes, std::mt19937_64& random) {
  static constexpr std::array<uint64_t, 12> kInteresting = {
      0, 1, 7, 8, 0x10, 0x18, 0x7F, 0xFF, 0xFFF8, 0xFFFF, 0xFFFFFFF8, ~uint64_t{0}};
  for (uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
    // Headers stand in front: half of the changes go there.
    const size_t range = random() % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 96);
    const size_t position = random() % range;
    if (random() % 2 == 0) {
      bytes[position] = static_cast<std::byte>(random());
      continue;
    }
    const uint64_t value = kInteresting[random() % kInteresting.size()];
    const size_t width = std::min<size_t>(size_t{1} << random() % 4, bytes.size() - position);
    for (size_t i = 0; i < width; ++i) {
      bytes[position + i] = static_cast<std::byte>(value >> (8 * i));
    }
  }
  if (random() % 16 == 0) bytes.resize(random() % (bytes.size() + 1));
}

unsigned choose_seed() {
  const char* given = std::getenv("NTFS_TEST_SEED");
  return given != nullptr ? static_cast<unsigned>(std::atoi(given)) : std::random_device{}();
}

void run(const ByteVector& sample, const std::function<bool(ByteView)>& parse) {
  const unsigned seed = choose_seed();
  SCOPED_TRACE(testing::Message() << "NTFS_TEST_SEED=" << seed);
  printf("NTFS_TEST_SEED=%u\n", seed);
  fflush(stdout);
  std::mt19937_64 random(seed);
  ASSERT_TRUE(parse(sample));
  const test::QuietReports quiet;
  int accepted = 0;
  for (int round = 0; round < kRounds; ++round) {
    ByteVector bytes = sample;
    mutate(bytes, random);
    const ByteVector exact(bytes.begin(), bytes.end());  // no slack behind the end
    if (parse(exact)) ++accepted;
  }
  EXPECT_LT(accepted, kRounds);
}

uint64_t walk(const AttributeView& attribute) {
  uint64_t sum = touch(attribute.bytes()) + attribute.name().size();
  if (attribute.is_resident()) return sum + touch(attribute.value());
  sum += attribute.sizes().total_allocated;
  const auto runs = decode_mapping_pairs(attribute.mapping_pairs(), attribute.lowest_vcn(),
                                         attribute.next_vcn(), 1u << 20, kOrigin);
  const auto count = count_mapped_clusters(attribute.mapping_pairs());
  if (runs) {
    EXPECT_TRUE(count);
    EXPECT_EQ(*count, attribute.next_vcn() - attribute.lowest_vcn());
  }
  return sum;
}

uint64_t walk(const IndexNodeView& node, IndexKind kind) {
  uint64_t sum = describe(node, kind).size();
  for (const IndexEntryView entry : node) {
    sum += touch(entry.bytes()) + touch(entry.key());
    if (kind == IndexKind::View) sum += touch(entry.data());
    if (entry.has_subnode()) sum += entry.subnode_vcn().raw();
    const ByteVector copy = with_subnode(entry, Vcn(1));
    EXPECT_TRUE(IndexEntryView::parse(copy, kind, kOrigin));
  }
  return sum;
}

TEST(Mutation, FileRecord) {
  run(test::sample_file_record(), [](ByteView bytes) {
    const auto record = FileRecordView::parse(bytes, kOrigin);
    if (!record) return false;
    uint64_t sum = describe(*record).size() + record->end_marker_offset();
    for (const AttributeView attribute : *record) {
      sum += walk(attribute);
      if (attribute.type() == AttributeType::IndexRoot) {
        const auto root = IndexRootView::of_valid(attribute.value());
        sum += walk(root.node(), root.kind());
      }
    }
    return sum != 0;
  });
}

TEST(Mutation, AttributeRecord) {
  const auto parse = [](ByteView bytes) {
    const auto attribute = AttributeView::parse(bytes, 0, kOrigin);
    return attribute && walk(*attribute) != 0 && !describe(*attribute).empty();
  };
  run(build_resident(AttributeType::Data, u"name", 0, 1, text_bytes("value"), Indexed::No), parse);
  NonresidentInit init;
  init.flags = AttributeFlags::Sparse;
  init.next = Vcn(4);
  init.sizes = {
      .allocated = 16384, .file_size = 16384, .valid_data_length = 1, .total_allocated = 4096};
  const ByteVector pairs = {std::byte{0x11}, std::byte{1}, std::byte{9},
                            std::byte{1},    std::byte{3}, std::byte{0}};
  run(build_nonresident(init, u"name", pairs), parse);
}

TEST(Mutation, MappingPairs) {
  const std::vector<ntfs::Run> runs = {{Vcn(0), Lcn(1000), ClusterCount(200)},
                                       {Vcn(200), Lcn::hole(), ClusterCount(16)},
                                       {Vcn(216), Lcn(70000), ClusterCount(1)}};
  run(encode_mapping_pairs(runs, 100).bytes, [](ByteView bytes) {
    const auto decoded = decode_mapping_pairs(bytes, Vcn(0), Vcn(217), 1u << 17, kOrigin);
    if (!decoded) return false;
    for (const ntfs::Run& run : *decoded) {
      EXPECT_TRUE(run.lcn.is_hole() || (run.lcn + run.count).raw() <= 1u << 17);
    }
    return encoded_mapping_pairs_size(*decoded) > 0;
  });
}

TEST(Mutation, IndexBlocks) {
  run(test::sample_name_block(), [](ByteView bytes) {
    const auto block = parse_index_block(bytes, Vcn(2), IndexKind::FileNames, kOrigin);
    return block && walk(block->node(), IndexKind::FileNames) != 0;
  });
  run(test::sample_view_block(), [](ByteView bytes) {
    const auto block = parse_index_block(bytes, Vcn(3), IndexKind::View, kOrigin);
    return block && walk(block->node(), IndexKind::View) != 0;
  });
}

TEST(Mutation, IndexRoot) {
  run(test::sample_index_root(), [](ByteView bytes) {
    const auto root = IndexRootView::parse(bytes, kOrigin);
    return root && walk(root->node(), root->kind()) != 0;
  });
}

TEST(Mutation, Values) {
  run(test::sample_file_name(), [](ByteView bytes) {
    const auto name = FileNameView::parse(bytes, kOrigin);
    return name && !describe(*name).empty();
  });
  run(test::sample_attribute_list(), [](ByteView bytes) {
    const auto entries = parse_attribute_list(bytes, kOrigin);
    return entries && (entries->empty() || !describe(entries->front()).empty());
  });
  run(test::sample_eas(), [](ByteView bytes) { return parse_eas(bytes, kOrigin).has_value(); });
  run(ByteVector(sizeof(StandardInformation)),
      [](ByteView bytes) { return parse_standard_information(bytes, kOrigin).has_value(); });
}

TEST(Mutation, BootSector) {
  VolumeGeometry geometry;
  geometry.sector_size = 512;
  geometry.cluster_size = 4096;
  geometry.file_record_size = 1024;
  geometry.index_block_size = 4096;
  geometry.total_sectors = 8000;
  geometry.total_clusters = 1000;
  geometry.mft_lcn = Lcn(4);
  geometry.mftmirr_lcn = Lcn(500);
  const auto sector = serialize_boot_sector(geometry);
  run(ByteVector(sector.begin(), sector.end()), [](ByteView bytes) {
    const auto parsed = parse_boot_sector(bytes, 1u << 30, kOrigin);
    if (!parsed) return false;
    EXPECT_LE(parsed->volume_bytes(), 1u << 30);
    EXPECT_LT(parsed->mft_lcn.raw(), parsed->total_clusters);
    // What was accepted can be written again and means the same.
    const auto again = parse_boot_sector(serialize_boot_sector(*parsed), 1u << 30, kOrigin);
    return again && *again == *parsed;
  });
}

}  // namespace
}  // namespace ntfs::ondisk
