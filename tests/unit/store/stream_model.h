#pragma once

// A stream beside the bytes that it must have, for the tests of Stream.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include "core/store/stream.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs::testing {

using Buffering = Stream::Buffering;
using KeepSize = Stream::KeepSize;
using RangeKind = Stream::RangeKind;

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;

/// Bytes of which none is zero.
inline ByteVector pattern(size_t length, uint64_t seed) {
  std::mt19937_64 random(seed);
  ByteVector bytes(length);
  for (size_t i = 0; i < length; i += 8) {
    const uint64_t word = random() | 0x0101010101010101;
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(8, length - i));
  }
  return bytes;
}

/// A copy in memory that goes to the device without a copy.
inline AlignedBuffer aligned(ByteView bytes) {
  AlignedBuffer buffer(std::max<size_t>(bytes.size(), 1));
  std::copy(bytes.begin(), bytes.end(), buffer.data());
  return buffer;
}

inline ByteVector read(Stream& stream, uint64_t offset, size_t length) {
  AlignedBuffer buffer(align_up(length, 4096) + 4096);
  const auto got = stream.read(offset, length, buffer.bytes());
  EXPECT_TRUE(got.has_value()) << (got ? "" : name_of(got.error()));
  if (!got) return {};
  return {buffer.data(), buffer.data() + *got};
}

/// First difference as text, so that a failure does not print megabytes.
inline std::string difference(ByteView expected, ByteView found) {
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

/// A stream beside the bytes that it must have.
class Checked {
 public:
  Checked(ScratchVolume& scratch, FileReference reference)
      : scratch_(scratch), reference_(reference), file_(scratch.volume().file(reference)) {}

  Stream& stream() { return file_->data(); }
  File& file() { return *file_; }
  FileReference reference() const { return reference_; }
  const ByteVector& model() const { return model_; }

  NtStatus write(uint64_t offset, ByteView from, Buffering buffering) {
    const AlignedBuffer memory = aligned(from);
    const auto done = stream().write(offset, memory.bytes().first(from.size()), buffering);
    if (done) put(offset, from);
    return done.error();
  }
  /// See Stream::share. What the source lacks to the end of its last cluster counts as zeros.
  NtStatus clone_from(Checked& source, uint64_t from, uint64_t offset, uint64_t length) {
    const auto done = stream().share(source.stream(), from, offset, length);
    if (!done) return done.error();
    EXPECT_EQ(*done, length);
    ByteVector bytes = source.model_;
    bytes.resize(from + length);
    put(offset, ByteView(bytes).subspan(from));
    return NtStatus::Success;
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

  NtStatus collapse(uint64_t offset, uint64_t length) {
    const auto done = stream().collapse(offset, length);
    const auto at = model_.begin() + static_cast<ptrdiff_t>(offset);
    if (done) model_.erase(at, at + static_cast<ptrdiff_t>(length));
    return done.error();
  }
  NtStatus insert(uint64_t offset, uint64_t length) {
    const auto done = stream().insert(offset, length);
    const auto at = static_cast<ptrdiff_t>(offset);
    if (done) model_.insert(model_.begin() + at, length, std::byte{0});
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
  NtStatus checkpoint() { return scratch_.volume().checkpoint().error(); }
  void remount() {
    let_go();
    scratch_.reopen();
    find_again();
  }
  /// Before and after others remount.
  void let_go() { file_ = nullptr; }
  void find_again() { file_ = scratch_.volume().file(reference_); }

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

/// A stream of a new file on a new volume.
struct Fixture {
  explicit Fixture(const ScratchVolume::Shape& shape)
      : scratch(shape), reference(scratch.make_file()), checked(scratch, reference) {}
  Stream& stream() { return checked.stream(); }
  Volume& volume() { return scratch.volume(); }
  bool is_resident() {
    const SharedLock lock(volume().journal().metadata_lock());
    Attributes attributes(volume(), reference);
    const auto found = attributes.find(ondisk::AttributeType::Data);
    EXPECT_TRUE(found.has_value());
    return found && found->view().is_resident();
  }
  size_t count_runs() {
    const auto runs = stream().runs();
    EXPECT_TRUE(runs.has_value());
    return runs ? runs->runs().size() : 0;
  }
  ClusterCount allocated() { return stream().runs()->allocated(); }

  ScratchVolume scratch;
  const FileReference reference;
  Checked checked;
};

}  // namespace ntfs::testing
