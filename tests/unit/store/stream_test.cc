#include "core/store/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using testing::ScratchVolume;
using Buffering = Stream::Buffering;
using KeepSize = Stream::KeepSize;
using RangeKind = Stream::RangeKind;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

ByteVector pattern(size_t length, uint64_t seed) {
  std::mt19937_64 random(seed);
  ByteVector bytes(length);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() | 1);
  return bytes;
}

/// A copy in memory that goes to the device without a copy.
AlignedBuffer aligned(ByteView bytes) {
  AlignedBuffer buffer(std::max<size_t>(bytes.size(), 1));
  std::copy(bytes.begin(), bytes.end(), buffer.data());
  return buffer;
}

ByteVector read(Stream& stream, uint64_t offset, size_t length) {
  AlignedBuffer buffer(align_up(length, 4096) + 4096);
  const auto got = stream.read(offset, length, buffer.bytes());
  EXPECT_TRUE(got.has_value()) << (got ? "" : name_of(got.error()));
  if (!got) return {};
  return {buffer.data(), buffer.data() + *got};
}

/// First difference as text, so that a failure does not print megabytes.
std::string difference(ByteView expected, ByteView found) {
  if (expected.size() != found.size()) {
    return "lengths " + std::to_string(expected.size()) + " and " + std::to_string(found.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == found[i]) continue;
    return "at " + std::to_string(i) + ": " + std::to_string(std::to_integer<int>(expected[i])) +
           " and " + std::to_string(std::to_integer<int>(found[i]));
  }
  return {};
}

class StreamTest : public ::testing::Test {
 protected:
  static ScratchVolume::Shape shape_of(uint32_t cluster_size, uint64_t size_bytes) {
    ScratchVolume::Shape shape;
    shape.cluster_size = cluster_size;
    shape.size_bytes = size_bytes;
    return shape;
  }
};

/// A stream beside the bytes that it must have.
class Checked {
 public:
  Checked(ScratchVolume& scratch, FileReference reference)
      : scratch_(scratch), reference_(reference), file_(scratch.volume().file(reference)) {}

  Stream& stream() { return file_->data(); }
  File& file() { return *file_; }
  const ByteVector& model() const { return model_; }

  NtStatus write(uint64_t offset, ByteView from, Buffering buffering) {
    const AlignedBuffer memory = aligned(from);
    const auto done = stream().write(offset, memory.bytes().first(from.size()), buffering);
    if (done) put(offset, from);
    return done.error();
  }
  NtStatus append(ByteView from) {
    const auto done = stream().append(from);
    if (!done) return done.error();
    EXPECT_EQ(*done, model_.size());
    put(model_.size(), from);
    return NtStatus::Success;
  }
  NtStatus set_size(uint64_t size) {
    const auto done = stream().set_size(size);
    if (done) model_.resize(size);
    return done.error();
  }
  NtStatus allocate(uint64_t offset, uint64_t length, KeepSize keep) {
    const auto done = stream().allocate(offset, length, keep);
    if (done) grow(offset + length, keep);
    return done.error();
  }
  NtStatus punch(uint64_t offset, uint64_t length) {
    const auto done = stream().punch(offset, length);
    if (done) clear(offset, length);
    return done.error();
  }
  NtStatus zero(uint64_t offset, uint64_t length, KeepSize keep) {
    const auto done = stream().zero(offset, length, keep);
    if (done) {
      clear(offset, length);
      grow(offset + length, keep);
    }
    return done.error();
  }

  void check_read(uint64_t offset, size_t length) {
    ByteVector expected;
    if (offset < model_.size()) {
      const size_t end = std::min<uint64_t>(model_.size(), offset + length);
      expected.assign(model_.begin() + static_cast<ptrdiff_t>(offset),
                      model_.begin() + static_cast<ptrdiff_t>(end));
    }
    ASSERT_EQ(difference(expected, read(stream(), offset, length)), "") << "from " << offset;
  }
  void check_all() {
    const auto sizes = stream().sizes();
    ASSERT_TRUE(sizes.has_value());
    ASSERT_EQ(sizes->file_size, model_.size());
    ASSERT_LE(sizes->valid_data_length, sizes->file_size);
    check_read(0, model_.size() + 1);
    check_ranges();
  }
  /// Data and holes follow each other; holes are zeros.
  void check_ranges() {
    uint64_t at = 0;
    for (int i = 0; i < 100000; ++i) {
      const auto data = stream().next_range(at, RangeKind::Data);
      const uint64_t start = data ? *data : model_.size();
      ASSERT_TRUE(std::all_of(model_.begin() + static_cast<ptrdiff_t>(at),
                              model_.begin() + static_cast<ptrdiff_t>(start),
                              [](std::byte byte) { return byte == std::byte{0}; }))
          << "a hole from " << at << " to " << start;
      if (!data) break;
      const auto hole = stream().next_range(start, RangeKind::Hole);
      ASSERT_TRUE(hole.has_value());
      ASSERT_GT(*hole, start);
      at = *hole;
      if (at == model_.size()) break;
    }
  }
  void write_back_and_check() {
    ASSERT_TRUE(file_->write_back().has_value());
    ASSERT_FALSE(stream().is_dirty());
    ASSERT_EQ(scratch_.check(), "");
  }
  void remount() {
    file_ = nullptr;
    scratch_.reopen();
    file_ = scratch_.volume().file(reference_);
  }

 private:
  void put(uint64_t offset, ByteView from) {
    if (model_.size() < offset + from.size()) model_.resize(offset + from.size());
    std::copy(from.begin(), from.end(), model_.begin() + static_cast<ptrdiff_t>(offset));
  }
  void clear(uint64_t offset, uint64_t length) {
    if (offset >= model_.size()) return;
    const uint64_t end = std::min<uint64_t>(model_.size(), offset + length);
    std::fill(model_.begin() + static_cast<ptrdiff_t>(offset),
              model_.begin() + static_cast<ptrdiff_t>(end), std::byte{0});
  }
  void grow(uint64_t end, KeepSize keep) {
    if (keep == KeepSize::No && end > model_.size()) model_.resize(end);
  }

  ScratchVolume& scratch_;
  const FileReference reference_;
  FilePtr file_;
  ByteVector model_;
};

/// What a random run does; sizes fit the volume.
struct Exercise {
  uint32_t cluster_size = 4096;
  uint64_t volume_bytes = 48 * kMiB;
  uint64_t most_bytes = 3 * kMiB;
  int operations = 300;
  uint64_t seed = 1;
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
  NtStatus choose() {
    const uint64_t at = offset();
    uint64_t count = length();
    if (at + count > exercise_.most_bytes + 400 * kKiB) count = 1 + below(4096);
    const auto keep = below(2) == 0 ? KeepSize::No : KeepSize::Yes;
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
        return checked_.write(at, pattern(count, random_()), Buffering::Buffered);
      case 3:
        return checked_.write(at, pattern(count, random_()), Buffering::Unbuffered);
      case 4:
      case 5:
        return checked_.write(align_down(at, exercise_.cluster_size),
                              pattern(align_up(count, exercise_.cluster_size), random_()),
                              Buffering::Unbuffered);
      case 6:
        return checked_.append(pattern(count, random_()));
      case 7:
        return checked_.set_size(below(3) == 0 ? below(2000) : at);
      case 8:
        return checked_.allocate(at, count, keep);
      case 9:
        return checked_.punch(at, count);
      case 10:
        return checked_.zero(at, count, keep);
      case 11:
      case 12:
        return checked_.stream().write_back().error();
      case 13:
        checked_.check_read(at, count);
        return NtStatus::Success;
      case 14:
        checked_.check_all();
        return NtStatus::Success;
      default:
        if (below(3) == 0) checked_.remount();
        return NtStatus::Success;
    }
  }

  Checked& checked_;
  const Exercise exercise_;
  std::mt19937_64 random_;
  int count_full_ = 0;
};

void run(const Exercise& exercise) {
  ScratchVolume scratch({exercise.volume_bytes, exercise.cluster_size, 1024});
  const FileReference reference = scratch.make_file();
  const ClusterCount free_before = scratch.volume().clusters().free_clusters();
  Checked checked(scratch, reference);
  RandomOperations operations(checked, exercise);
  for (int i = 0; i < exercise.operations; ++i) {
    SCOPED_TRACE("seed " + std::to_string(exercise.seed) + ", operation " + std::to_string(i));
    operations.step();
    if (::testing::Test::HasFatalFailure()) return;
    if (i % 8 == 0) checked.write_back_and_check();
    if (::testing::Test::HasFatalFailure()) return;
  }
  checked.check_all();
  checked.write_back_and_check();
  checked.remount();
  checked.check_all();
  ASSERT_TRUE(checked.stream().discard().has_value());
  EXPECT_EQ(scratch.check(), "");
  // Extension records may have made $MFT grow.
  const ClusterCount free_after = scratch.volume().clusters().free_clusters();
  EXPECT_GE(free_after.raw() + kMiB / exercise.cluster_size, free_before.raw());
}

TEST_F(StreamTest, AgreesWithItsModelOnClustersOf4096) {
  for (uint64_t seed = 1; seed <= 6; ++seed) run({4096, 48 * kMiB, 3 * kMiB, 300, seed});
}
TEST_F(StreamTest, AgreesWithItsModelOnClustersOf512) {
  for (uint64_t seed = 11; seed <= 14; ++seed) run({512, 48 * kMiB, 2 * kMiB, 300, seed});
}
TEST_F(StreamTest, AgreesWithItsModelOnClustersOf64K) {
  for (uint64_t seed = 21; seed <= 24; ++seed) run({65536, 96 * kMiB, 4 * kMiB, 300, seed});
}
TEST_F(StreamTest, AgreesWithItsModelNearTheResidentLimit) {
  for (uint64_t seed = 31; seed <= 36; ++seed) run({4096, 48 * kMiB, 3000, 300, seed});
}
TEST_F(StreamTest, AgreesWithItsModelOnAFullVolume) {
  for (uint64_t seed = 41; seed <= 46; ++seed) run({4096, 12 * kMiB, 12 * kMiB, 300, seed});
}

}  // namespace
}  // namespace ntfs
