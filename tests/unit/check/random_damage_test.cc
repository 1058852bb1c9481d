// Random damage to metadata: the checker ends, whatever it reads.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "core/base/multi_sector.h"
#include "core/check/check.h"
#include "tests/unit/check/sample_volumes.h"
#include "tests/unit/check/volume_editor.h"

namespace ntfs {
namespace {

using ondisk::AttributeType;
using testing::MemoryDevice;
using testing::VolumeEditor;

uint32_t seed() {
  if (const char* named = std::getenv("NTFS_TEST_SEED")) {
    return static_cast<uint32_t>(std::strtoul(named, nullptr, 10));
  }
  return std::random_device{}();
}

class RandomDamage {
 public:
  /// Looks up all it needs while the volume is still in order.
  RandomDamage(VolumeEditor& volume, uint32_t first_seed)
      : volume_(volume), random_(first_seed), count_records_(volume.count_records()) {
    const uint64_t many = volume.find(u"many");
    for (uint64_t block = 0; block < 8; ++block) {
      blocks_.push_back(
          volume.position(many, AttributeType::IndexAllocation, u"$I30", 4096 * block));
    }
  }

  void damage_record() {
    const uint64_t number = below(count_records_);
    ByteVector probe = volume_.read(volume_.record_position(number), 1024);
    if (!try_unprotect(probe)) return;
    volume_.edit_record(number,
                        [&](MutableBytes bytes) { change(bytes.first(below(2) ? 64 : 512)); });
  }
  void damage_block() {
    const uint64_t position = blocks_[below(blocks_.size())];
    ByteVector bytes = volume_.read(position, 4096);
    if (!try_unprotect(bytes)) return;
    change(MutableBytes(bytes).first(below(2) ? 128 : 4096));
    // The update sequence array must be one that protect() accepts.
    if (!restore_array(bytes)) return;
    protect(bytes);
    volume_.write(position, bytes);
  }
  void damage_raw() {
    const uint64_t position = below(volume_.geometry().volume_bytes() / 512) * 512;
    volume_.edit(position, 512, [&](MutableBytes bytes) { change(bytes); });
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }

 private:
  void change(MutableBytes bytes) {
    constexpr uint8_t kValues[] = {0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF};
    for (uint64_t n = 1 + below(3); n > 0; --n) {
      std::byte& target = bytes[8 + below(bytes.size() - 8)];
      target = below(2) ? static_cast<std::byte>(random_())
                        : static_cast<std::byte>(kValues[below(std::size(kValues))]);
    }
  }
  static bool restore_array(MutableBytes block) {
    const auto& header = struct_at<MultiSectorHeader>(block);
    return header.update_sequence_array_count.get() == 9 &&
           header.update_sequence_array_offset.get() < 400;
  }

  VolumeEditor& volume_;
  std::mt19937 random_;
  const uint64_t count_records_;
  std::vector<uint64_t> blocks_;  // positions
};

void run_rounds(const MemoryDevice& good, uint32_t first_seed, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const auto device = good.clone();
    VolumeEditor editor(*device);
    RandomDamage damage(editor, first_seed + static_cast<uint32_t>(round));
    for (uint64_t n = 1 + damage.below(4); n > 0; --n) damage.damage_block();
    for (uint64_t n = 1 + damage.below(6); n > 0; --n) {
      if (damage.below(8) == 0) {
        damage.damage_raw();
      } else {
        damage.damage_record();
      }
    }
    const auto report = check_volume(*device, {});
    if (!report) {
      EXPECT_EQ(report.error(), NtStatus::UnrecognizedVolume);
    }
  }
}

TEST(CheckVolume, EndsOnRandomDamage) {
  testing::ScratchDirectory directory;
  const auto image = directory.path() / "good.img";
  const std::string reason = testing::make_peer_volume(image, {"24M", "4096", 300});
  if (!reason.empty()) GTEST_SKIP() << reason;
  const auto good = MemoryDevice::load(image.string());
  ASSERT_NE(good, nullptr);
  const uint32_t first_seed = seed();
  std::printf("seed %u (NTFS_TEST_SEED repeats it)\n", first_seed);
  run_rounds(*good, first_seed, 200);
}

}  // namespace
}  // namespace ntfs
