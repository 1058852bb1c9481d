#pragma once

// A canonical Huffman code, decoded through a table: a codeword's first kTableBits bits lead to its
// symbol if it is no longer than that; the few that are longer are found by comparing with the
// ends of each length's range.

#include <algorithm>
#include <array>
#include <span>

#include "core/base/bytes.h"
#include "core/compression/bit_reader.h"

namespace ntfs {

/// Of at most `kMostSymbols` symbols (512) with codewords of 1 to 16 bits. kTableBits: up to 12.
template <size_t kMostSymbols, uint32_t kTableBits>
class HuffmanDecoder {
  static_assert(kMostSymbols <= 512 && kTableBits <= 12);

 public:
  static constexpr uint32_t kMostBits = 16;

  /// Takes the lengths of the symbols' codewords: 0 (none) to 16. False: they are no complete code,
  /// and not empty either.
  bool build(std::span<const uint8_t> lengths) {
    ASSERT(lengths.size() <= kMostSymbols);
    std::array<uint16_t, kMostBits + 1> counts{};
    for (const uint8_t length : lengths) ++counts[length];
    is_empty_ = counts[0] == lengths.size();
    if (is_empty_) return true;
    std::array<uint16_t, kMostBits + 1> next{};  // place of the next symbol of each length
    uint32_t end = 0;                            // left-aligned in 16 bits
    uint32_t index = 0;
    for (uint32_t length = 1; length <= kMostBits; ++length) {
      next[length] = static_cast<uint16_t>(index);
      firsts_[length] = {end, index};
      end += static_cast<uint32_t>(counts[length]) << (kMostBits - length);
      index += counts[length];
      ends_[length] = end;
    }
    if (end != uint32_t{1} << kMostBits) return false;
    for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) sorted_[next[lengths[symbol]]++] = static_cast<uint16_t>(symbol);
    }
    fill_table(counts);
    return true;
  }

  bool is_empty() const { return is_empty_; }

  /// The next symbol. The code is not empty.
  uint32_t decode(BitReader& reader) const {
    const uint32_t bits = reader.peek16();
    const uint32_t entry = table_[bits >> (kMostBits - kTableBits)];
    if (entry != 0) {
      reader.skip(entry % 16);
      return entry / 16;
    }
    uint32_t length = kTableBits + 1;
    while (bits >= ends_[length]) ++length;  // a complete code ends with all there is
    reader.skip(length);
    const First& first = firsts_[length];
    return sorted_[first.index + ((bits - first.codeword) >> (kMostBits - length))];
  }

 private:
  struct First {
    uint32_t codeword = 0;  ///< left-aligned in 16 bits
    uint32_t index = 0;     ///< of its symbol in sorted_
  };

  /// Codewords ascend with their lengths, so the table is filled from the start.
  void fill_table(const std::array<uint16_t, kMostBits + 1>& counts) {
    auto at = table_.begin();
    size_t index = 0;
    for (uint32_t length = 1; length <= kTableBits; ++length) {
      const ptrdiff_t share = ptrdiff_t{1} << (kTableBits - length);
      for (uint32_t i = 0; i < counts[length]; ++i) {
        const auto entry = static_cast<uint16_t>(sorted_[index++] * 16u + length);
        std::fill_n(at, share, entry);
        at += share;
      }
    }
    std::fill(at, table_.end(), uint16_t{0});
  }

  bool is_empty_ = true;
  std::array<uint16_t, size_t{1} << kTableBits> table_;  // symbol * 16 + length; 0: it is longer
  std::array<uint16_t, kMostSymbols> sorted_;            // by length, then by symbol
  std::array<First, kMostBits + 1> firsts_;
  std::array<uint32_t, kMostBits + 1> ends_;  // behind the codewords of that length, left-aligned
};

}  // namespace ntfs
