#include "tests/support/chunk_compressor.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/little_endian.h"

namespace ntfs::testing {

namespace {

/// A byte (length 0), or a match.
struct Token {
  std::byte byte{};
  uint32_t length = 0;
  uint32_t offset = 0;
};

/// What chunk[from, end) is made of, greedily, with the newest place of each three bytes of it.
std::vector<Token> find_matches(ByteView chunk, size_t from, size_t end, size_t longest) {
  constexpr size_t kShortest = 3;
  std::vector<Token> tokens;
  std::vector<size_t> newest(size_t{1} << 16, 0);  // position + 1
  for (size_t at = from; at < end;) {
    Token token{chunk[at], 0, 0};
    if (end - at >= kShortest) {
      const auto word = [&](size_t i) { return std::to_integer<uint32_t>(chunk[at + i]); };
      size_t& known = newest[(word(0) * 0x9E5F + word(1) * 0x3D1 + word(2)) & 0xFFFF];
      const size_t offset = known != 0 ? at + 1 - known : 0;
      known = at + 1;
      const size_t most = offset != 0 ? std::min(end - at, longest) : 0;
      size_t length = 0;
      while (length < most && chunk[at + length - offset] == chunk[at + length]) ++length;
      if (length >= kShortest) {
        token.length = static_cast<uint32_t>(length);
        token.offset = static_cast<uint32_t>(offset);
      }
    }
    tokens.push_back(token);
    at += std::max<size_t>(token.length, 1);
  }
  return tokens;
}

/// Words are begun before the bytes that stand behind them, as the reader takes them.
class BitWriter {
 public:
  BitWriter() { begin_words(); }
  void put(uint32_t value, uint32_t count) {
    for (uint32_t bit = count; bit > 0; --bit) put_bit(value >> (bit - 1) & 1);
  }
  void put_byte(uint32_t value) { bytes_.push_back(static_cast<std::byte>(value)); }
  void put_word(uint32_t value) {
    put_byte(value & 0xFF);
    put_byte(value >> 8);
  }
  /// 1 to 16 zeros, and then bytes.
  void put_aligned(ByteView bytes) {
    bytes_.resize(words_[used_ == 16 ? 1 : 0] + 2);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    if (bytes.size() % 2 != 0) put_byte(0);
    begin_words();
  }
  ByteVector finish() { return std::move(bytes_); }

 private:
  void begin_words() {
    words_[0] = begin_word();
    words_[1] = begin_word();
    used_ = 0;
  }
  size_t begin_word() {
    bytes_.resize(bytes_.size() + 2);
    return bytes_.size() - 2;
  }
  void put_bit(uint32_t bit) {
    if (used_ == 16) {
      words_[0] = words_[1];
      words_[1] = begin_word();
      used_ = 0;
    }
    auto& word = struct_at<le16>(MutableBytes(bytes_), words_[0]);
    word.set(static_cast<uint16_t>(word.get() | bit << (15 - used_)));
    ++used_;
  }

  ByteVector bytes_;
  std::array<size_t, 2> words_{};  // places of the one that is filled, and of the next
  uint32_t used_ = 0;              // bits of the first
};

uint32_t log2_of(uint32_t value) { return 31 - static_cast<uint32_t>(__builtin_clz(value)); }

/// A code whose first `count_short` symbols have codewords of `bits`, all others one bit more.
void put_symbol(BitWriter& writer, uint32_t symbol, uint32_t count_short, uint32_t bits) {
  if (symbol < count_short) {
    writer.put(symbol, bits);
  } else {
    writer.put(symbol + count_short, bits + 1);
  }
}

}  // namespace

ByteVector compress_xpress_huffman(ByteView chunk) {
  constexpr size_t kTableBytes = 256;
  constexpr uint32_t kBits = 9;  // of all symbols
  BitWriter writer;
  for (const Token& token : find_matches(chunk, 0, chunk.size(), chunk.size())) {
    if (token.length == 0) {
      writer.put(std::to_integer<uint32_t>(token.byte), kBits);
      continue;
    }
    const uint32_t length = token.length - 3;
    const uint32_t offset_bits = log2_of(token.offset);
    writer.put(256 + offset_bits * 16 + std::min(length, 15u), kBits);
    if (length >= 15) writer.put_byte(std::min(length - 15, 255u));
    if (length >= 15 + 255) writer.put_word(length);
    writer.put(token.offset - (1u << offset_bits), offset_bits);
  }
  const ByteVector stream = writer.finish();
  ByteVector compressed(kTableBytes + stream.size(), std::byte{kBits << 4 | kBits});
  std::copy(stream.begin(), stream.end(), compressed.begin() + kTableBytes);
  return compressed;
}

namespace {

constexpr uint32_t kMainShort = 16;  // of 496 symbols: codewords of 8 bits
constexpr uint32_t kMainBits = 8;
constexpr uint32_t kLengthShort = 7;  // of 249 symbols: codewords of 7 bits
constexpr uint32_t kLengthBits = 7;
constexpr uint32_t kAlignedBits = 3;

class LzxWriter {
 public:
  explicit LzxWriter(ByteView chunk) : chunk_(chunk) {
    put_tree(main_, kMainShort, kMainBits);
    put_tree(lengths_, kLengthShort, kLengthBits);
  }

  void put_block(size_t from, size_t end, LzxBlock kind) {
    writer_.put(kind == LzxBlock::Verbatim ? 1 : kind == LzxBlock::Aligned ? 2 : 3, 3);
    const bool is_default = end - from == size_t{32} << 10;
    writer_.put(is_default ? 1 : 0, 1);
    if (!is_default) writer_.put(static_cast<uint32_t>(end - from), 16);
    if (kind == LzxBlock::Uncompressed) return put_bytes(from, end);
    for (int i = 0; kind == LzxBlock::Aligned && i < 8; ++i) writer_.put(kAlignedBits, 3);
    put_lengths({main_.data(), 256});
    put_lengths({main_.data() + 256, main_.size() - 256});
    put_lengths(lengths_);
    for (const Token& token : find_matches(chunk_, from, end, 257)) put_token(token, kind);
  }
  ByteVector finish() { return writer_.finish(); }

 private:
  static void put_tree(std::span<uint8_t> lengths, uint32_t count_short, uint32_t bits) {
    std::fill(lengths.begin(), lengths.end(), static_cast<uint8_t>(bits + 1));
    std::fill_n(lengths.begin(), count_short, static_cast<uint8_t>(bits));
  }

  /// The code of the lengths has 12 codewords of 4 bits and 8 of 5. Runs are said as runs.
  void put_lengths(std::span<const uint8_t> lengths) {
    for (int i = 0; i < 20; ++i) writer_.put(i < 12 ? 4 : 5, 4);
    const auto put = [this](uint32_t symbol) { put_symbol(writer_, symbol, 12, 4); };
    for (size_t i = 0; i < lengths.size();) {
      // The lengths are those of the block before, unless this is the first.
      const uint32_t difference = has_lengths_ ? 0 : (17 - lengths[i]) % 17u;
      const bool is_run = i + 5 <= lengths.size() && lengths[i] == lengths[i + 4];
      if (is_run) {
        put(19);
        writer_.put(1, 1);
      }
      put(difference);
      i += is_run ? 5 : 1;
    }
    if (lengths.data() == lengths_.data()) has_lengths_ = true;
  }

  void put_bytes(size_t from, size_t end) {
    ByteVector bytes(3 * sizeof(le32));
    for (size_t i = 0; i < 3; ++i) struct_at<le32>(MutableBytes(bytes), 4 * i).set(recent_[i]);
    const ByteView data = chunk_.subspan(from, end - from);
    bytes.insert(bytes.end(), data.begin(), data.end());
    writer_.put_aligned(bytes);
  }

  void put_token(const Token& token, LzxBlock kind) {
    if (token.length == 0) {
      return put_symbol(writer_, std::to_integer<uint32_t>(token.byte), kMainShort, kMainBits);
    }
    uint32_t slot = 0;
    while (slot < 3 && recent_[slot] != token.offset) ++slot;
    const uint32_t coded = token.offset + 2;
    uint32_t extra_bits = 0;
    if (slot == 3) {
      // Two slots for each power of two: the bit behind the first says which.
      const uint32_t log2 = log2_of(coded);
      slot = coded < 4 ? coded : 2 * log2 + (coded >> (log2 - 1) & 1);
      extra_bits = slot < 4 ? 0 : slot / 2 - 1;
      recent_ = {token.offset, recent_[0], recent_[1]};
    } else {
      std::swap(recent_[0], recent_[slot]);
    }
    const uint32_t length = token.length - 2;
    put_symbol(writer_, 256 + slot * 8 + std::min(length, 7u), kMainShort, kMainBits);
    if (length >= 7) put_symbol(writer_, length - 7, kLengthShort, kLengthBits);
    const uint32_t extra = coded & ((1u << extra_bits) - 1);
    if (kind == LzxBlock::Aligned && extra_bits >= 3) {
      writer_.put(extra >> 3, extra_bits - 3);
      writer_.put(extra & 7, kAlignedBits);
    } else {
      writer_.put(extra, extra_bits);
    }
  }

  const ByteView chunk_;
  BitWriter writer_;
  std::array<uint8_t, 496> main_{};
  std::array<uint8_t, 249> lengths_{};
  bool has_lengths_ = false;
  std::array<uint32_t, 3> recent_{1, 1, 1};
};

/// The addresses behind E8 bytes become absolute, in an image of 12,000,000 bytes.
void make_addresses_absolute(MutableBytes chunk) {
  for (size_t at = 0; at + 10 < chunk.size(); ++at) {
    if (chunk[at] != std::byte{0xE8}) continue;
    auto& field = struct_at<le32>(chunk, at + 1);
    const int64_t relative = static_cast<int32_t>(field.get());
    const int64_t here = static_cast<int64_t>(at);
    if (relative >= -here && relative < 12'000'000) {
      const int64_t absolute =
          relative + here < 12'000'000 ? relative + here : relative - 12'000'000;
      field.set(static_cast<uint32_t>(absolute));
    }
    at += sizeof(le32);
  }
}

}  // namespace

ByteVector compress_lzx(ByteView chunk, size_t block_bytes, const std::vector<LzxBlock>& kinds) {
  ByteVector translated(chunk.begin(), chunk.end());
  make_addresses_absolute(translated);
  LzxWriter writer(translated);
  size_t count = 0;
  for (size_t at = 0; at < chunk.size(); at += block_bytes) {
    const size_t end = std::min(chunk.size(), at + block_bytes);
    writer.put_block(at, end, kinds[count++ % kinds.size()]);
  }
  return writer.finish();
}

ByteVector compress_wof(ByteView data, ondisk::WofFormat format) {
  using ondisk::WofFormat;
  const bool is_lzx = format == WofFormat::Lzx;
  const size_t chunk_bytes = is_lzx                          ? 32768
                             : format == WofFormat::Xpress4K ? 4096
                             : format == WofFormat::Xpress8K ? 8192
                                                             : 16384;
  ByteVector table;
  ByteVector chunks;
  for (size_t at = 0; at < data.size(); at += chunk_bytes) {
    if (at != 0) {
      const le32 entry = le32::of(static_cast<uint32_t>(chunks.size()));
      const ByteView bytes = bytes_of(entry);
      table.insert(table.end(), bytes.begin(), bytes.end());
    }
    const ByteView chunk = data.subspan(at, std::min(chunk_bytes, data.size() - at));
    const std::vector<LzxBlock> kinds = {LzxBlock::Verbatim, LzxBlock::Aligned};
    const ByteVector packed =
        is_lzx ? compress_lzx(chunk, chunk_bytes, kinds) : compress_xpress_huffman(chunk);
    const ByteView shorter = packed.size() < chunk.size() ? ByteView(packed) : chunk;
    chunks.insert(chunks.end(), shorter.begin(), shorter.end());
  }
  table.insert(table.end(), chunks.begin(), chunks.end());
  return table;
}

}  // namespace ntfs::testing
