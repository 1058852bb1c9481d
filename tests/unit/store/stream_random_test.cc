// Streams against a model, with the checker after each write-back.

#include "tests/support/sanitized.h"
#include "tests/unit/store/stream_model.h"

namespace ntfs {
namespace {

using testing::Buffering;
using testing::Checked;
using testing::KeepSize;
using testing::kKiB;
using testing::kMiB;
using testing::pattern;
using testing::ScratchVolume;

/// What a random run does; sizes fit the volume.
struct Exercise {
  uint32_t cluster_size = 4096;
  uint64_t volume_bytes = 48 * kMiB;
  uint64_t most_bytes = 3 * kMiB;
  int operations = 300;
  uint64_t seed = 1;
  uint64_t left_bytes = 0;  ///< free space when it begins; 0: as it is
  Compression compression =
      Compression::None;  ///< when it begins; changes on the way if it is some
};

class RandomOperations {
 public:
  RandomOperations(Checked& checked, const Exercise& exercise)
      : checked_(checked), exercise_(exercise), random_(exercise.seed) {}

  /// DiskFull is fine; then the next operation gives space back.
  void step() {
    const NtStatus status = choose();
    if (status == NtStatus::DiskFull) {
      ++count_full_;
      ASSERT_EQ(checked_.set_size(checked_.model().size() / 4), NtStatus::Success);
      return;
    }
    ASSERT_EQ(status, NtStatus::Success) << name_of(status);
  }
  int count_full() const { return count_full_; }

 private:
  bool compresses() const { return exercise_.compression != Compression::None; }
  /// Where it counts, some can be compressed, and some a lot.
  ByteVector bytes(size_t count) {
    const uint64_t kind = compresses() ? below(4) : 0;
    if (kind == 0) return pattern(count, random_());
    ByteVector bytes(count);
    const uint64_t step = 1 + below(200);
    for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(kind == 1 ? 0 : i / step);
    return bytes;
  }
  uint64_t below(uint64_t limit) { return random_() % limit; }
  uint64_t length() {
    switch (below(4)) {
      case 0:
        return 1 + below(100);
      case 1:
        return 1 + below(9000);
      case 2:
        return 4096 * (1 + below(16));
      default:
        return 1 + below(300 * kKiB);
    }
  }
  uint64_t offset() {
    const uint64_t size = checked_.model().size();
    switch (below(4)) {
      case 0:
        return below(exercise_.most_bytes);
      case 1:
        return align_down(below(exercise_.most_bytes), 4096);
      case 2:
        return size;
      default:
        return below(size + 1);
    }
  }
  /// Takes a range out, or puts one in.
  NtStatus shift() {
    const uint64_t multiple = compresses() ? 16 * exercise_.cluster_size : exercise_.cluster_size;
    const uint64_t size = checked_.model().size();
    const uint64_t at = align_down(below(size + 1), multiple);
    const uint64_t count = multiple * (1 + below(5));
    if (below(2) == 0 || size > exercise_.most_bytes) {
      const NtStatus expected = at + count < size ? NtStatus::Success : NtStatus::InvalidParameter;
      return as_expected(checked_.collapse(at, count), expected);
    }
    return as_expected(checked_.insert(at, count),
                       at < size ? NtStatus::Success : NtStatus::InvalidParameter);
  }
  static NtStatus as_expected(NtStatus status, NtStatus expected) {
    return status == expected ? NtStatus::Success : status;
  }
  NtStatus choose() {
    const uint64_t at = offset();
    uint64_t count = length();
    if (at + count > exercise_.most_bytes + 400 * kKiB) count = 1 + below(4096);
    const auto keep = below(2) == 0 ? KeepSize::No : KeepSize::Yes;
    switch (below(17)) {
      case 0:
      case 1:
      case 2:
        return checked_.write(at, bytes(count), Buffering::Buffered);
      case 3:
        return checked_.write(at, bytes(count), Buffering::Unbuffered);
      case 4:
      case 5:
        return checked_.write(align_down(at, exercise_.cluster_size),
                              bytes(align_up(count, exercise_.cluster_size)),
                              Buffering::Unbuffered);
      case 6:
        return checked_.append(bytes(count));
      case 7:
        return checked_.set_size(below(3) == 0 ? below(2000) : at);
      case 8: {
        const NtStatus status = checked_.allocate(at, count, keep);
        return compresses() && status == NtStatus::NotSupported ? NtStatus::Success : status;
      }
      case 9:
        return checked_.punch(at, count);
      case 10:
        return checked_.zero(at, count, keep);
      case 11:
      case 12:
        if (below(4) == 0) return checked_.checkpoint();
        return checked_.stream()
            .write_back(below(2) == 0 ? Stream::Durable::Later : Stream::Durable::AtOnce)
            .error();
      case 13:
        checked_.check_read(at, count);
        return NtStatus::Success;
      case 14:
        checked_.check_all();
        return NtStatus::Success;
      case 15:
        return shift();
      default:
        if (below(3) == 0) checked_.remount();
        if (!compresses() || below(3) != 0) return NtStatus::Success;
        return checked_.stream()
            .set_compression(below(3) == 0 ? Compression::None : Compression::Lznt1)
            .error();
    }
  }

  Checked& checked_;
  const Exercise exercise_;
  std::mt19937_64 random_;
  int count_full_ = 0;
};

int run(const Exercise& exercise) {
  ScratchVolume scratch({exercise.volume_bytes, exercise.cluster_size, 1024});
  const FileReference reference = scratch.make_file();
  if (exercise.left_bytes != 0) {
    const FilePtr filler = scratch.volume().file(scratch.make_file());
    const uint64_t available =
        scratch.volume().clusters().available().raw() * exercise.cluster_size;
    EXPECT_TRUE(
        filler->data().allocate(0, available - exercise.left_bytes, KeepSize::No).has_value());
  }
  const ClusterCount free_before = scratch.volume().clusters().free_clusters();
  Checked checked(scratch, reference);
  if (exercise.compression != Compression::None) {
    EXPECT_TRUE(checked.stream().set_compression(exercise.compression).has_value());
  }
  RandomOperations operations(checked, exercise);
  const bool is_short = testing::kIsSanitized && exercise.left_bytes == 0;  // filling takes all
  const int steps = exercise.operations / (is_short ? 3 : 1);
  for (int i = 0; i < steps; ++i) {
    SCOPED_TRACE("seed " + std::to_string(exercise.seed) + ", operation " + std::to_string(i));
    operations.step();
    if (i % 8 == 0) checked.write_back_and_check();
    if (::testing::Test::HasFailure()) return 0;
  }
  checked.check_all();
  checked.write_back_and_check();
  checked.remount();
  checked.check_all();
  EXPECT_TRUE(checked.stream().discard().has_value());
  EXPECT_EQ(scratch.check(), "");
  // Extension records may have made $MFT grow.
  const ClusterCount free_after = scratch.volume().clusters().free_clusters();
  EXPECT_GE(free_after.raw() + kMiB / exercise.cluster_size, free_before.raw());
  return operations.count_full();
}

TEST(Stream, AgreesWithItsModelOnClustersOf4096) {
  for (uint64_t seed = 1; seed <= 6; ++seed) run({4096, 48 * kMiB, 3 * kMiB, 300, seed});
}
TEST(Stream, AgreesWithItsModelOnClustersOf512) {
  for (uint64_t seed = 11; seed <= 14; ++seed) run({512, 48 * kMiB, 2 * kMiB, 300, seed});
}
TEST(Stream, AgreesWithItsModelOnClustersOf64K) {
  for (uint64_t seed = 21; seed <= 24; ++seed) run({65536, 96 * kMiB, 4 * kMiB, 300, seed});
}
TEST(Stream, AgreesWithItsModelOnClustersOf2M) {
  for (uint64_t seed = 91; seed <= 92; ++seed) run({2 * kMiB, 256 * kMiB, 16 * kMiB, 100, seed});
}
TEST(Stream, AgreesWithItsModelNearTheResidentLimit) {
  for (uint64_t seed = 31; seed <= 36; ++seed) run({4096, 48 * kMiB, 3000, 300, seed});
}
TEST(Stream, AgreesWithItsModelOnAFullVolume) {
  int count_full = 0;
  for (uint64_t seed = 41; seed <= 46; ++seed) {
    count_full += run({4096, 12 * kMiB, 3 * kMiB, 300, seed, kMiB});
  }
  EXPECT_GT(count_full, 5);
}

TEST(CompressedStream, AgreesWithItsModelOnClustersOf4096) {
  for (uint64_t seed = 51; seed <= 53; ++seed) {
    run({4096, 48 * kMiB, 3 * kMiB, 300, seed, 0, Compression::Lznt1});
  }
}
TEST(CompressedStream, AgreesWithItsModelOnClustersOf512) {
  for (uint64_t seed = 61; seed <= 62; ++seed) {
    run({512, 48 * kMiB, kMiB, 300, seed, 0, Compression::Lznt1});
  }
}
TEST(CompressedStream, AgreesWithItsModelNearTheResidentLimit) {
  for (uint64_t seed = 71; seed <= 72; ++seed) {
    run({4096, 48 * kMiB, 3000, 300, seed, 0, Compression::Lznt1});
  }
}
TEST(CompressedStream, AgreesWithItsModelOnAFullVolume) {
  int count_full = 0;
  for (uint64_t seed = 81; seed <= 83; ++seed) {
    count_full += run({4096, 12 * kMiB, 3 * kMiB, 300, seed, kMiB, Compression::Lznt1});
  }
  EXPECT_GT(count_full, 3);
}

}  // namespace
}  // namespace ntfs
