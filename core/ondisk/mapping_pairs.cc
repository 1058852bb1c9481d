#include "core/ondisk/mapping_pairs.h"

namespace ntfs::ondisk {

namespace {

constexpr uint64_t kMaxVcn = uint64_t{1} << 55;
constexpr size_t kMaxFieldBytes = 8;

/// One pair as it stands in the bytes.
struct Pair {
  uint64_t length = 0;   // clusters, > 0
  int64_t distance = 0;  // from the previous lcn
  bool is_hole = false;
  size_t size = 0;  // bytes
};

enum class Fault { None, Header, Truncated, Length };

struct PairResult {
  Fault fault = Fault::None;
  Pair pair;
};

/// Up to 8 bytes, the highest bit of the last is the sign.
int64_t signed_from(ByteView bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  const auto unused_bits = static_cast<unsigned>(64 - 8 * bytes.size());
  return static_cast<int64_t>(value << unused_bits) >> unused_bits;
}

/// The pair at the front of `bytes`, whose first byte is not the terminator.
PairResult read_pair(ByteView bytes) {
  const auto header = static_cast<uint8_t>(bytes[0]);
  const size_t length_bytes = header & 0x0F;
  const size_t distance_bytes = header >> 4;
  if (length_bytes == 0 || length_bytes > kMaxFieldBytes || distance_bytes > kMaxFieldBytes) {
    return {Fault::Header, {}};
  }
  Pair pair;
  pair.size = 1 + length_bytes + distance_bytes;
  if (pair.size > bytes.size()) return {Fault::Truncated, {}};
  const int64_t length = signed_from(bytes.subspan(1, length_bytes));
  if (length <= 0 || static_cast<uint64_t>(length) > kMaxVcn) return {Fault::Length, {}};
  pair.length = static_cast<uint64_t>(length);
  pair.is_hole = distance_bytes == 0;
  if (!pair.is_hole) pair.distance = signed_from(bytes.subspan(1 + length_bytes, distance_bytes));
  return {Fault::None, pair};
}

NtStatus report(Fault fault, ByteView bytes, size_t position, const Origin& origin) {
  const auto header = static_cast<uint64_t>(bytes[position]);
  switch (fault) {
    case Fault::Header:
      return corrupt(origin, "mapping pair header", header, "nibbles up to 8, a length");
    case Fault::Truncated:
      return corrupt(origin, "mapping pair header", header, "the whole pair in the record");
    case Fault::Length:
    case Fault::None:
      break;
  }
  return corrupt(origin, "mapping pair with bad length at byte", position, "a length > 0");
}

/// Fewest bytes that hold `value` with its sign.
size_t signed_bytes(int64_t value) {
  size_t count = 1;
  while (count < kMaxFieldBytes) {
    const auto limit = int64_t{1} << (8 * count - 1);
    if (value >= -limit && value < limit) break;
    ++count;
  }
  return count;
}

/// Distance of `run` from `previous_lcn`; both lie in a volume, so it fits.
int64_t distance_of(const Run& run, uint64_t previous_lcn) {
  return static_cast<int64_t>(run.lcn.raw()) - static_cast<int64_t>(previous_lcn);
}

size_t pair_size(const Run& run, uint64_t previous_lcn) {
  const size_t length_bytes = signed_bytes(static_cast<int64_t>(run.count.raw()));
  if (run.lcn.is_hole()) return 1 + length_bytes;
  return 1 + length_bytes + signed_bytes(distance_of(run, previous_lcn));
}

void append_field(ByteVector& bytes, int64_t value, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    bytes.push_back(static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}

void append_pair(ByteVector& bytes, const Run& run, uint64_t previous_lcn) {
  const auto length = static_cast<int64_t>(run.count.raw());
  const size_t length_bytes = signed_bytes(length);
  if (run.lcn.is_hole()) {
    bytes.push_back(static_cast<std::byte>(length_bytes));
    append_field(bytes, length, length_bytes);
    return;
  }
  const int64_t distance = distance_of(run, previous_lcn);
  const size_t distance_bytes = signed_bytes(distance);
  bytes.push_back(static_cast<std::byte>(distance_bytes << 4 | length_bytes));
  append_field(bytes, length, length_bytes);
  append_field(bytes, distance, distance_bytes);
}

}  // namespace

Result<std::vector<Run>> decode_mapping_pairs(ByteView pairs, Vcn lowest, Vcn expected_next,
                                              uint64_t total_clusters, const Origin& origin) {
  std::vector<Run> runs;
  uint64_t vcn = lowest.raw();
  int64_t lcn = 0;
  size_t position = 0;
  while (position < pairs.size() && pairs[position] != std::byte{0}) {
    const PairResult read = read_pair(pairs.subspan(position));
    if (read.fault != Fault::None) return report(read.fault, pairs, position, origin);
    const Pair& pair = read.pair;
    if (vcn > expected_next.raw() || pair.length > expected_next.raw() - vcn) {
      return corrupt(origin, "vcn after a mapping pair", vcn + pair.length, "<= highest vcn + 1");
    }
    Run run{Vcn(vcn), Lcn::hole(), ClusterCount(pair.length)};
    if (!pair.is_hole) {
      if (__builtin_add_overflow(lcn, pair.distance, &lcn) || lcn < 0 ||
          static_cast<uint64_t>(lcn) >= total_clusters ||
          pair.length > total_clusters - static_cast<uint64_t>(lcn)) {
        return corrupt(origin, "lcn of a mapping pair", static_cast<uint64_t>(lcn),
                       "a run in the volume");
      }
      run.lcn = Lcn(static_cast<uint64_t>(lcn));
    }
    runs.push_back(run);
    vcn += pair.length;
    position += pair.size;
  }
  if (position >= pairs.size()) {
    return corrupt(origin, "mapping pairs length", pairs.size(), "a terminator");
  }
  if (vcn != expected_next.raw()) {
    return corrupt(origin, "vcn after the mapping pairs", vcn, "highest vcn + 1");
  }
  return runs;
}

Result<ClusterCount> count_mapped_clusters(ByteView pairs) {
  uint64_t count = 0;
  size_t position = 0;
  while (position < pairs.size() && pairs[position] != std::byte{0}) {
    const PairResult read = read_pair(pairs.subspan(position));
    if (read.fault != Fault::None) return NtStatus::FileCorruptError;
    count += read.pair.length;  // each is at most kMaxVcn, so the sum cannot wrap
    if (count > kMaxVcn) return NtStatus::FileCorruptError;
    position += read.pair.size;
  }
  if (position >= pairs.size()) return NtStatus::FileCorruptError;
  return ClusterCount(count);
}

EncodedMappingPairs encode_mapping_pairs(std::span<const Run> runs, size_t max_bytes) {
  ASSERT(max_bytes >= 1);
  EncodedMappingPairs encoded;
  encoded.next = runs.empty() ? Vcn(0) : runs.front().vcn;
  uint64_t lcn = 0;
  for (const Run& run : runs) {
    ASSERT(run.vcn == encoded.next && run.count.raw() > 0 && run.count.raw() <= kMaxVcn);
    if (encoded.bytes.size() + pair_size(run, lcn) + 1 > max_bytes) break;
    append_pair(encoded.bytes, run, lcn);
    if (!run.lcn.is_hole()) lcn = run.lcn.raw();
    encoded.next = run.end();
    ++encoded.run_count;
  }
  encoded.bytes.push_back(std::byte{0});
  return encoded;
}

size_t encoded_mapping_pairs_size(std::span<const Run> runs) {
  size_t size = 1;
  uint64_t lcn = 0;
  for (const Run& run : runs) {
    size += pair_size(run, lcn);
    if (!run.lcn.is_hole()) lcn = run.lcn.raw();
  }
  return size;
}

}  // namespace ntfs::ondisk
