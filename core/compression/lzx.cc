#include "core/compression/lzx.h"

#include "core/compression/history_copy.h"
#include "core/compression/huffman_decoder.h"

namespace ntfs {

namespace {

constexpr uint32_t kFirstMatch = 256;  // main symbols below are bytes
constexpr uint32_t kPositionSlots = 30;
constexpr uint32_t kLengthHeaders = 8;
constexpr size_t kMainSymbols = kFirstMatch + kPositionSlots * kLengthHeaders;
constexpr size_t kLengthSymbols = 249;
constexpr size_t kAlignedSymbols = 8;
constexpr uint32_t kAlignedBits = 3;
constexpr size_t kPreSymbols = 20;
constexpr uint32_t kShortestMatch = 2;
constexpr uint32_t kOffsetBias = 2;  // coded offsets are larger: slots 0 to 2 are recent ones

// Symbols of the code that the codes' lengths come in: differences, and
constexpr uint32_t kMostLength = 16;
constexpr uint32_t kZeros = 17;
constexpr uint32_t kManyZeros = 18;
constexpr uint32_t kRepeat = 19;

enum BlockType : uint32_t { Verbatim = 1, Aligned = 2, Uncompressed = 3 };

/// The offsets of each slot: the first, and the number of bits that say which.
struct Slot {
  uint16_t first;
  uint16_t extra_bits;
};
constexpr std::array<Slot, kPositionSlots> make_slots() {
  std::array<Slot, kPositionSlots> slots{};
  uint32_t first = 0;
  for (uint32_t i = 0; i < kPositionSlots; ++i) {
    const uint32_t bits = i < 4 ? 0 : i / 2 - 1;
    slots[i] = {static_cast<uint16_t>(first), static_cast<uint16_t>(bits)};
    first += uint32_t{1} << bits;
  }
  return slots;
}
constexpr auto kSlots = make_slots();
static_assert(kSlots.back().first + (1u << kSlots.back().extra_bits) == kLzxChunkBytes);

/// A chunk as it is decompressed.
class LzxChunk {
 public:
  LzxChunk(ByteView compressed, MutableBytes out) : reader_(compressed), out_(out) {}

  Result<> decompress() {
    while (at_ < out_.size()) {
      const uint32_t type = reader_.read(3);
      const size_t length = reader_.read(1) != 0 ? kLzxChunkBytes : reader_.read(16);
      if (length == 0 || length > out_.size() - at_) return NtStatus::FileCorruptError;
      switch (type) {
        case BlockType::Verbatim:
          TRY(read_codes());
          TRY(read_block<BlockType::Verbatim>(at_ + length));
          break;
        case BlockType::Aligned:
          TRY(read_aligned_code());
          TRY(read_codes());
          TRY(read_block<BlockType::Aligned>(at_ + length));
          break;
        case BlockType::Uncompressed:
          TRY(copy_block(length));
          break;
        default:
          return NtStatus::FileCorruptError;
      }
    }
    return {};
  }

 private:
  Result<> copy_block(size_t length) {
    const size_t head = recent_.size() * sizeof(le32);
    const ByteView taken = TRY(reader_.take_aligned(head + length));
    for (size_t i = 0; i < recent_.size(); ++i) {
      recent_[i] = struct_at<le32>(taken, i * sizeof(le32)).get();
    }
    std::copy(taken.begin() + static_cast<ptrdiff_t>(head), taken.end(), out_.data() + at_);
    at_ += length;
    return {};
  }

  Result<> read_aligned_code() {
    std::array<uint8_t, kAlignedSymbols> lengths;
    for (uint8_t& length : lengths) length = static_cast<uint8_t>(reader_.read(3));
    return aligned_.build(lengths) ? Result<>() : NtStatus::FileCorruptError;
  }

  Result<> read_codes() {
    const std::span<uint8_t> main = main_lengths_;
    TRY(read_lengths(main.first(kFirstMatch)));
    TRY(read_lengths(main.subspan(kFirstMatch)));
    TRY(read_lengths(length_lengths_));
    const bool is_code = main_.build(main_lengths_) && length_.build(length_lengths_);
    return is_code && !main_.is_empty() ? Result<>() : NtStatus::FileCorruptError;
  }

  /// Lengths of codewords, as differences from those of the block before.
  Result<> read_lengths(std::span<uint8_t> lengths) {
    std::array<uint8_t, kPreSymbols> pre_lengths;
    for (uint8_t& length : pre_lengths) length = static_cast<uint8_t>(reader_.read(4));
    HuffmanDecoder<kPreSymbols, 8> pre;
    if (!pre.build(pre_lengths) || pre.is_empty()) return NtStatus::FileCorruptError;
    for (size_t i = 0; i < lengths.size();) {
      uint32_t symbol = pre.decode(reader_);
      size_t count = 1;
      if (symbol == kZeros) {
        count = 4 + reader_.read(4);
      } else if (symbol == kManyZeros) {
        count = 20 + reader_.read(5);
      } else if (symbol == kRepeat) {
        count = 4 + reader_.read(1);
        symbol = pre.decode(reader_);
        if (symbol > kMostLength) return NtStatus::FileCorruptError;
      }
      const uint32_t length =
          symbol > kMostLength ? 0 : (lengths[i] + kMostLength + 1 - symbol) % (kMostLength + 1);
      count = std::min(count, lengths.size() - i);
      std::fill_n(lengths.begin() + static_cast<ptrdiff_t>(i), count, static_cast<uint8_t>(length));
      i += count;
    }
    return {};
  }

  template <BlockType kType>
  Result<> read_block(size_t end) {
    if (kType == BlockType::Aligned && aligned_.is_empty()) return NtStatus::FileCorruptError;
    const MutableBytes out = out_.first(end);
    size_t at = at_;
    while (at < end) {
      const uint32_t symbol = main_.decode(reader_);
      if (symbol < kFirstMatch) {
        out[at++] = static_cast<std::byte>(symbol);
        continue;
      }
      uint32_t length = (symbol - kFirstMatch) % kLengthHeaders;
      if (length == kLengthHeaders - 1) {
        if (length_.is_empty()) return NtStatus::FileCorruptError;
        length += length_.decode(reader_);
      }
      length += kShortestMatch;
      const size_t offset = read_offset<kType>((symbol - kFirstMatch) / kLengthHeaders);
      if (!copy_from_history(out, at, offset, length)) return NtStatus::FileCorruptError;
      at += length;
    }
    at_ = end;
    return {};
  }

  template <BlockType kType>
  uint32_t read_offset(uint32_t slot) {
    if (slot < recent_.size()) {
      std::swap(recent_[0], recent_[slot]);
      return recent_[0];
    }
    uint32_t offset = kSlots[slot].first - kOffsetBias;
    const uint32_t bits = kSlots[slot].extra_bits;
    if (kType == BlockType::Aligned && bits >= kAlignedBits) {
      offset += reader_.read(bits - kAlignedBits) << kAlignedBits;
      offset += aligned_.decode(reader_);
    } else {
      offset += reader_.read(bits);
    }
    recent_ = {offset, recent_[0], recent_[1]};
    return offset;
  }

  BitReader reader_;
  const MutableBytes out_;
  size_t at_ = 0;
  std::array<uint32_t, 3> recent_{1, 1, 1};
  std::array<uint8_t, kMainSymbols> main_lengths_{};
  std::array<uint8_t, kLengthSymbols> length_lengths_{};
  HuffmanDecoder<kMainSymbols, 11> main_;
  HuffmanDecoder<kLengthSymbols, 10> length_;
  HuffmanDecoder<kAlignedSymbols, 7> aligned_;
};

/// The compressor takes the four bytes behind an E8 for the relative address of a call, and makes
/// them absolute in an image that is 12,000,000 bytes long and begins with the chunk.
void restore_addresses(MutableBytes out) {
  constexpr int32_t kImageBytes = 12'000'000;
  constexpr std::byte kCall{0xE8};
  constexpr size_t kTailBytes = 10;  // never translated
  if (out.size() <= kTailBytes) return;
  const auto end = out.end() - kTailBytes;
  for (auto it = std::find(out.begin(), end, kCall); it < end;) {
    const auto at = static_cast<int32_t>(it - out.begin());
    auto& address = struct_at<le32>(out, static_cast<size_t>(at) + 1);
    const auto absolute = static_cast<int32_t>(address.get());
    if (absolute >= 0 && absolute < kImageBytes) {
      address.set(static_cast<uint32_t>(absolute - at));
    } else if (absolute < 0 && absolute >= -at) {
      address.set(static_cast<uint32_t>(absolute + kImageBytes));
    }
    it += 1 + sizeof(le32);
    if (it < end) it = std::find(it, end, kCall);
  }
}

}  // namespace

Result<> decompress_lzx(ByteView compressed, MutableBytes out) {
  ASSERT(out.size() <= kLzxChunkBytes);
  LzxChunk chunk(compressed, out);
  TRY(chunk.decompress());
  restore_addresses(out);
  return {};
}

}  // namespace ntfs
