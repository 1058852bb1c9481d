#include "core/store/wof_data.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/chunk_compressor.h"
#include "tests/unit/compression/samples.h"
#include "tests/unit/ondisk/quiet_reports.h"
#include "tests/unit/store/scratch_volume.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::WofFormat;

constexpr WofFormat kFormats[] = {WofFormat::Xpress4K, WofFormat::Lzx, WofFormat::Xpress8K,
                                  WofFormat::Xpress16K};

class WofDataTest : public ::testing::Test {
 protected:
  /// What reads a file of that size out of `stream`.
  std::unique_ptr<WofData> open(ByteView stream, WofFormat format, uint64_t file_size) {
    const FilePtr file = volume().file(volume_.make_file());
    EXPECT_TRUE(file->data().write(0, stream, Stream::Buffering::Buffered));
    EXPECT_TRUE(file->data().write_back());
    // For the tests, any stream will do.
    const std::shared_ptr<Stream> compressed(file, &file->data());
    return std::make_unique<WofData>(volume(), compressed,
                                     WofData::Shape{file->reference(), format, file_size});
  }
  struct Answer {
    NtStatus status = NtStatus::Success;
    ByteVector bytes;
  };
  static Answer read(WofData& data, uint64_t offset, size_t length) {
    ByteVector bytes(length);
    const auto got = data.read(offset, length, bytes);
    if (!got) return {got.error(), {}};
    bytes.resize(*got);
    return {NtStatus::Success, bytes};
  }
  static ByteVector part(const ByteVector& data, size_t offset, size_t length) {
    const size_t from = std::min(offset, data.size());
    const size_t to = std::min(from + length, data.size());
    return {data.begin() + static_cast<ptrdiff_t>(from), data.begin() + static_cast<ptrdiff_t>(to)};
  }

  Volume& volume() { return volume_.volume(); }
  ScratchVolume volume_{{}};
};

TEST_F(WofDataTest, GivesWhatWasCompressed) {
  std::mt19937 random(1);
  for (const WofFormat format : kFormats) {
    for (const size_t size : {1, 4096, 32769, 300'000}) {
      const ByteVector data = runs_and_noise(size, 7);
      const auto wof = open(compress_wof(data, format), format, size);
      EXPECT_EQ(read(*wof, 0, size + 10).bytes, data) << size;
      EXPECT_EQ(read(*wof, size, 1).bytes.size(), 0u);
      for (int i = 0; i < 50; ++i) {
        const size_t offset = random() % size;
        const size_t length = random() % (random() % 4 == 0 ? 100'000 : 5'000);
        EXPECT_EQ(read(*wof, offset, length).bytes, part(data, offset, length))
            << size << " at " << offset << ", " << length;
      }
    }
  }
}

TEST_F(WofDataTest, TakesPlainChunksForWhatTheyAre) {
  // Letters at random take as much room compressed.
  ByteVector data(20'000);
  std::mt19937 random(1);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  const ByteVector stream = compress_wof(data, WofFormat::Xpress4K);
  ASSERT_EQ(stream.size(), data.size() + 4 * sizeof(le32));
  const auto wof = open(stream, WofFormat::Xpress4K, data.size());
  EXPECT_EQ(read(*wof, 0, data.size()).bytes, data);
}

/// Chunks that are all the same, with entries of the given type. Of many, only those at each end.
template <typename Entry>
ByteVector repeated(ByteView chunk, uint64_t count) {
  constexpr uint64_t kAtEachEnd = 5000;
  const uint64_t left_out = count - std::min(count, 2 * kAtEachEnd);
  ByteVector stream((count - 1) * sizeof(Entry));
  for (uint64_t i = 1; i < count; ++i) {
    const uint64_t behind = std::max(kAtEachEnd, i - std::min(i, left_out));
    const uint64_t before = i <= kAtEachEnd ? i : behind;
    struct_at<Entry>(MutableBytes(stream), (i - 1) * sizeof(Entry))
        .set(static_cast<decltype(Entry().get())>(before * chunk.size()));
  }
  for (uint64_t i = left_out; i < count; ++i) {
    stream.insert(stream.end(), chunk.begin(), chunk.end());
  }
  return stream;
}

TEST_F(WofDataTest, LooksUpLongTablesInParts) {
  constexpr uint64_t kChunks = 9000;
  const ByteVector plain = words(4096);
  const ByteVector stream = repeated<le32>(compress_xpress_huffman(plain), kChunks);
  const auto wof = open(stream, WofFormat::Xpress4K, kChunks * 4096);
  for (const uint64_t chunk : {0, 1, 4095, 4096, 8191, 8192, 8999, 4096, 0}) {
    // Over a border of chunks, and so of parts.
    ByteVector twice = plain;
    if (chunk + 1 < kChunks) twice.insert(twice.end(), plain.begin(), plain.end());
    EXPECT_EQ(read(*wof, chunk * 4096 + 5, 8000).bytes, part(twice, 5, 8000)) << chunk;
  }
}

TEST_F(WofDataTest, EntriesAreLongerWhereTheFileHas4GiB) {
  const ByteVector plain(32768);
  const ByteVector packed = compress_lzx(plain, plain.size(), {LzxBlock::Verbatim});
  constexpr uint64_t kChunks = 131072;
  const auto wof = open(repeated<le64>(packed, kChunks), WofFormat::Lzx, kChunks * plain.size());
  EXPECT_EQ(read(*wof, (kChunks - 1) * plain.size(), 40'000).bytes, plain);
  EXPECT_EQ(read(*wof, 0, plain.size()).bytes, plain);
  ByteVector stream = repeated<le32>(packed, kChunks);
  const ByteVector last =
      compress_lzx(ByteView(plain).first(plain.size() - 1), plain.size(), {LzxBlock::Verbatim});
  stream.resize(stream.size() - packed.size());
  stream.insert(stream.end(), last.begin(), last.end());
  const auto less = open(stream, WofFormat::Lzx, kChunks * plain.size() - 1);
  EXPECT_EQ(read(*less, (kChunks - 1) * plain.size(), 40'000).bytes.size(), plain.size() - 1);
}

TEST_F(WofDataTest, RefusesTablesThatCannotBe) {
  const ondisk::test::QuietReports quiet;
  const ByteVector data = words(20'000);
  const ByteVector good = compress_wof(data, WofFormat::Xpress4K);
  const auto with_entry = [&](size_t index, uint32_t value) {
    ByteVector stream = good;
    struct_at<le32>(MutableBytes(stream), index * 4).set(value);
    return read(*open(stream, WofFormat::Xpress4K, data.size()), 0, data.size()).status;
  };
  const uint32_t second = struct_at<le32>(ByteView(good), 4).get();
  ASSERT_EQ(with_entry(1, second), NtStatus::Success);
  EXPECT_EQ(with_entry(0, second), NtStatus::FileCorruptError) << "an empty chunk";
  EXPECT_EQ(with_entry(0, second + 1), NtStatus::FileCorruptError)
      << "one that ends before it begins";
  EXPECT_EQ(with_entry(0, 4097), NtStatus::FileCorruptError) << "one longer than plain";
  EXPECT_EQ(with_entry(3, 0xFFFFFFFF), NtStatus::FileCorruptError) << "one past the end";
  const ByteView table = ByteView(good).first(15);
  EXPECT_EQ(read(*open(table, WofFormat::Xpress4K, data.size()), 0, 1).status,
            NtStatus::FileCorruptError);
  // A size that says there must be more than memory holds.
  EXPECT_EQ(read(*open(good, WofFormat::Lzx, uint64_t{1} << 62), 0, 1).status,
            NtStatus::FileCorruptError);
}

/// The sanitizers make this test sharp.
TEST_F(WofDataTest, SurvivesEveryChangeOfAByte) {
  const ondisk::test::QuietReports quiet;
  const ByteVector data = words(9000);
  ByteVector stream = compress_wof(data, WofFormat::Xpress4K);
  const FilePtr file = volume().file(volume_.make_file());
  const std::shared_ptr<Stream> compressed(file, &file->data());
  ASSERT_TRUE(file->data().write(0, stream, Stream::Buffering::Buffered));
  size_t count_refused = 0;
  for (size_t at = 0; at < stream.size(); ++at) {
    stream[at] ^= std::byte{0x41};
    ASSERT_TRUE(
        file->data().write(at, ByteView(stream).subspan(at, 1), Stream::Buffering::Buffered));
    WofData wof(volume(), compressed, {file->reference(), WofFormat::Xpress4K, data.size()});
    const Answer answer = read(wof, 0, data.size());
    if (answer.status != NtStatus::Success) ++count_refused;
    stream[at] ^= std::byte{0x41};
    ASSERT_TRUE(
        file->data().write(at, ByteView(stream).subspan(at, 1), Stream::Buffering::Buffered));
  }
  EXPECT_GT(count_refused, 8u);  // at least where the table changes
}

}  // namespace
}  // namespace ntfs
