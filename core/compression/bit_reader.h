#pragma once

// The bit stream of Xpress Huffman and LZX: little-endian 16-bit words, each read from its most
// significant bit down. Between the words stand whole bytes, so how far the words have been read
// matters: at least 16 bits are at hand after each step, and a word is taken only when there are
// fewer. Past the end there are zeros.
// Source: MS-XCA 2.2.4 "Processing (LZ77+Huffman Decompression)".

#include "core/base/bytes.h"
#include "core/base/little_endian.h"

namespace ntfs {

class BitReader {
 public:
  /// `bytes` must outlive the object.
  explicit BitReader(ByteView bytes) : bytes_(bytes) { refill(); }

  /// The next 16 bits, which are still to be read.
  uint32_t peek16() const { return bits_ >> 16; }
  /// `count`: up to 16.
  void skip(uint32_t count) {
    bits_ <<= count;
    available_ -= count;
    if (available_ < 16) {
      bits_ |= take_word() << (16 - available_);
      available_ += 16;
    }
  }
  /// `count`: up to 16.
  uint32_t read(uint32_t count) {
    const uint32_t value = count == 0 ? 0 : bits_ >> (32 - count);
    skip(count);
    return value;
  }

  /// The byte or word that stands behind the words taken so far.
  uint32_t take_byte() {
    return position_ < bytes_.size() ? std::to_integer<uint32_t>(bytes_[position_++]) : 0;
  }
  uint32_t take_word() {
    const size_t at = position_;
    position_ += 2;
    return position_ <= bytes_.size() ? struct_at<le16>(bytes_, at).get() : 0;
  }

  /// Drops 1 to 16 bits, to the end of a word, and takes `length` bytes from there, and one more if
  /// that is odd. The bits go on behind them. FileCorruptError: there are fewer.
  Result<ByteView> take_aligned(size_t length) {
    if (available_ > 16) position_ -= 2;  // a word is at hand behind the one whose rest is dropped
    const ByteView taken = TRY(slice(bytes_, position_, length));
    position_ += align_up(length, 2);
    refill();
    return taken;
  }

 private:
  void refill() {
    bits_ = take_word() << 16;
    bits_ |= take_word();
    available_ = 32;
  }

  const ByteView bytes_;
  size_t position_ = 0;     // behind the last word or byte taken
  uint32_t bits_ = 0;       // left-aligned
  uint32_t available_ = 0;  // of bits_: 16 to 32
};

}  // namespace ntfs
