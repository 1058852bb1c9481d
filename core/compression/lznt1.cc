#include "core/compression/lznt1.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/base/little_endian.h"

namespace ntfs {

namespace {

constexpr size_t kHeaderBytes = 2;
constexpr size_t kReferenceBytes = 2;
constexpr uint16_t kLengthMask = 0x0FFF;  // bytes of the chunk with its header, less 3
constexpr size_t kLengthBias = 3;
constexpr uint16_t kSignatureMask = 0x7000;
constexpr uint16_t kSignature = 0x3000;
constexpr uint16_t kCompressed = 0x8000;
constexpr size_t kShortestMatch = 3;
constexpr size_t kItemsPerFlags = 8;
/// Earlier places that are looked at for one match.
constexpr int kMostCandidates = 12;
/// Places in a row without a match before only every second, third, ... is looked at.
constexpr unsigned kPatience = 32;
constexpr size_t kWordBytes = sizeof(uint64_t);

/// Bits of a reference's length where `at` bytes of the chunk precede it; the distance has the
/// rest.
unsigned length_bits(size_t at) {
  return at <= 16 ? 12 : 16 - static_cast<unsigned>(std::bit_width(at - 1));
}

uint16_t get16(const std::byte* from) {
  return static_cast<uint16_t>(std::to_integer<unsigned>(from[0]) |
                               (std::to_integer<unsigned>(from[1]) << 8));
}

void put16(std::byte* into, size_t value) {
  into[0] = static_cast<std::byte>(value);
  into[1] = static_cast<std::byte>(value >> 8);
}

uint64_t word_at(const std::byte* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// Copies bytes that may overlap their source, as if one by one. `room`: what `into` has.
void copy_match(std::byte* into, size_t distance, size_t length, size_t room) {
  const std::byte* from = into - distance;
  if (distance == 1) {
    std::memset(into, std::to_integer<int>(*from), length);
  } else if (distance >= kWordBytes && align_up(length, kWordBytes) <= room) {
    for (size_t done = 0; done < length; done += kWordBytes) {
      std::memcpy(into + done, from + done, kWordBytes);
    }
  } else {
    for (size_t done = 0; done < length; ++done) into[done] = from[done];
  }
}

/// Returns the bytes that the chunk has.
Result<size_t> decompress_chunk(ByteView from, MutableBytes into) {
  const std::byte* const input = from.data();
  std::byte* const output = into.data();
  size_t read = 0;
  size_t written = 0;
  while (read < from.size()) {
    unsigned flags = std::to_integer<unsigned>(input[read++]);
    if (flags == 0 && from.size() - read >= kItemsPerFlags &&
        into.size() - written >= kItemsPerFlags) {
      std::memcpy(output + written, input + read, kItemsPerFlags);
      read += kItemsPerFlags;
      written += kItemsPerFlags;
      continue;
    }
    for (size_t item = 0; item < kItemsPerFlags && read < from.size(); ++item, flags >>= 1) {
      if ((flags & 1) == 0) {
        if (written == into.size()) return NtStatus::FileCorruptError;
        output[written++] = input[read++];
        continue;
      }
      if (from.size() - read < kReferenceBytes) return NtStatus::FileCorruptError;
      const size_t reference = get16(input + read);
      read += kReferenceBytes;
      const unsigned bits = length_bits(written);
      const size_t length = (reference & ((size_t{1} << bits) - 1)) + kShortestMatch;
      const size_t distance = (reference >> bits) + 1;
      if (distance > written || length > into.size() - written) return NtStatus::FileCorruptError;
      copy_match(output + written, distance, length, into.size() - written);
      written += length;
    }
  }
  return written;
}

}  // namespace

Result<> decompress_lznt1(ByteView from, MutableBytes into) {
  size_t written = 0;
  while (from.size() >= kHeaderBytes && written < into.size()) {
    const uint16_t header = get16(from.data());
    if (header == 0) break;
    const size_t length = (header & kLengthMask) + kLengthBias;
    if ((header & kSignatureMask) != kSignature || length > from.size()) {
      return NtStatus::FileCorruptError;
    }
    const ByteView data = from.subspan(kHeaderBytes, length - kHeaderBytes);
    const auto chunk = into.subspan(written, std::min(kLznt1ChunkBytes, into.size() - written));
    size_t got = data.size();
    if ((header & kCompressed) != 0) {
      got = TRY(decompress_chunk(data, chunk));
    } else {
      if (got > chunk.size()) return NtStatus::FileCorruptError;
      std::memcpy(chunk.data(), data.data(), got);
    }
    std::fill(chunk.begin() + static_cast<ptrdiff_t>(got), chunk.end(), std::byte{0});
    written += chunk.size();
    from = from.subspan(length);
  }
  std::fill(into.begin() + static_cast<ptrdiff_t>(written), into.end(), std::byte{0});
  return {};
}

// Compressing.

namespace {

size_t hash_of(const std::byte* from, unsigned bits) {
  const uint32_t three = get16(from) | (std::to_integer<uint32_t>(from[2]) << 16);
  return (three * 0x9E3779B1u) >> (32 - bits);
}

/// Bytes that are the same in both, up to `longest`. Both have a word more to be read.
size_t common_length(const std::byte* a, const std::byte* b, size_t longest) {
  size_t length = 0;
  if constexpr (std::endian::native == std::endian::little) {
    while (length + kWordBytes <= longest) {
      const uint64_t different = word_at(a + length) ^ word_at(b + length);
      if (different != 0) return length + static_cast<size_t>(std::countr_zero(different)) / 8;
      length += kWordBytes;
    }
  }
  while (length < longest && a[length] == b[length]) ++length;
  return length;
}

}  // namespace

std::optional<size_t> Lznt1Compressor::compress(ByteView from, MutableBytes into) {
  ASSERT(from.size() % kLznt1ChunkBytes == 0);
  size_t used = 0;
  for (size_t at = 0; at < from.size(); at += kLznt1ChunkBytes) {
    const std::byte* chunk = from.data() + at;
    const MutableBytes rest = into.subspan(used);
    if (const auto packed = compress_chunk(chunk, rest)) {
      used += *packed;
      continue;
    }
    if (rest.size() < kHeaderBytes + kLznt1ChunkBytes) return std::nullopt;
    put16(rest.data(), kSignature | (kHeaderBytes + kLznt1ChunkBytes - kLengthBias));
    std::memcpy(rest.data() + kHeaderBytes, chunk, kLznt1ChunkBytes);
    used += kHeaderBytes + kLznt1ChunkBytes;
  }
  return used;
}

/// Nothing when it does not get shorter, or does not fit.
std::optional<size_t> Lznt1Compressor::compress_chunk(const std::byte* from, MutableBytes into) {
  newest_.fill(0);
  // A group is a flag byte and up to eight items of two bytes.
  const size_t most = std::min(into.size(), kHeaderBytes + kLznt1ChunkBytes - 1);
  constexpr size_t kMostGroupBytes = 1 + kItemsPerFlags * kReferenceBytes;
  size_t used = kHeaderBytes;
  unsigned misses = 0;
  for (size_t at = 0; at < kLznt1ChunkBytes;) {
    if (used + kMostGroupBytes > most) return std::nullopt;
    const size_t flags_at = used++;
    unsigned flags = 0;
    for (size_t item = 0; item < kItemsPerFlags && at < kLznt1ChunkBytes; ++item) {
      const unsigned bits = length_bits(at);
      const size_t longest =
          std::min((size_t{1} << bits) - 1 + kShortestMatch, kLznt1ChunkBytes - at);
      Match match;
      if (longest >= kShortestMatch && (misses < kPatience || at % (misses / kPatience) == 0)) {
        match = find(from, at, longest);
        note(from, at);
      }
      if (match.length < kShortestMatch) {
        into[used++] = from[at++];
        ++misses;
        continue;
      }
      misses = 0;
      flags |= 1u << item;
      put16(into.data() + used, ((match.distance - 1) << bits) | (match.length - kShortestMatch));
      used += kReferenceBytes;
      const size_t end = at + match.length;
      // Of a long match the first places will do.
      const size_t noted = std::min({end, at + 16, kLznt1ChunkBytes - kShortestMatch + 1});
      while (++at < noted) note(from, at);
      at = end;
    }
    into[flags_at] = static_cast<std::byte>(flags);
  }
  put16(into.data(), kCompressed | kSignature | (used - kLengthBias));
  return used;
}

Lznt1Compressor::Match Lznt1Compressor::find(const std::byte* from, size_t at,
                                             size_t longest) const {
  Match best;
  size_t candidate = newest_[hash_of(from + at, kHashBits)];
  for (int i = 0; i < kMostCandidates && candidate != 0; ++i) {
    const std::byte* earlier = from + candidate - 1;
    // Only what goes on where the best one ends can be longer.
    if (best.length == 0 || earlier[best.length] == from[at + best.length]) {
      const size_t length = common_length(earlier, from + at, longest);
      if (length > best.length) best = {length, at - (candidate - 1)};
      if (length == longest) break;
    }
    candidate = older_[candidate - 1];
  }
  return best;
}

void Lznt1Compressor::note(const std::byte* from, size_t at) {
  uint16_t& newest = newest_[hash_of(from + at, kHashBits)];
  older_[at] = newest;
  newest = static_cast<uint16_t>(at + 1);
}

}  // namespace ntfs
