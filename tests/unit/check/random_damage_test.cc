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
  RandomDamage(VolumeEditor& volume, uint32_t first_seed) : volume_(volume), random_(first_seed) {}

  void damage_record() {
    const uint64_t number = below(volume_.count_records());
    ByteVector probe = volume_.read(volume_.record_position(number), 1024);
    if (!try_unprotect(probe)) return;
    volume_.edit_record(number,
                        [&](MutableBytes bytes) { change(bytes.first(below(2) ? 64 : 512)); });
  }
  void damage_block(uint64_t directory) {
    const uint64_t position =
        volume_.position(directory, AttributeType::IndexAllocation, u"$I30", 4096 * below(8));
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
};

void run_rounds(const MemoryDevice& good, uint32_t first_seed, int rounds) {
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const auto device = good.clone();
    VolumeEditor editor(*device);
    const uint64_t many = editor.find(u"many");
    RandomDamage damage(editor, first_seed + static_cast<uint32_t>(round));
    // Those that need a volume in order come first.
    for (uint64_t n = 1 + damage.below(4); n > 0; --n) damage.damage_block(many);
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
