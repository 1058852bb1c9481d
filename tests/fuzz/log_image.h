#pragma once

// A log file as a short string of bytes, for fuzzing: pages that hold anything, without the zeros
// at their ends and without sector protection. So a change of a few bytes is a change of the log
// and not a torn page.
//
//   image = size (1 byte: 52 pages + 2 x size) entry...
//   entry = page (1 byte) flags (1 byte) length (2 bytes) bytes
//   flags: 1 the page is protected; whatever else is fine, too: torn pages, and no log at all.
//
// Pages that no entry names are 0xFF.

#include <algorithm>
#include <cstring>

#include "core/base/multi_sector.h"
#include "lfs/log_format.h"
#include "lfs/log_store.h"

namespace ntfs::fuzz {

constexpr uint64_t kLeastPages = 52;
constexpr std::byte kProtectedPage{1};
constexpr size_t kEntryHead = 4;

/// The log file that `image` stands for; any bytes will do.
inline ByteVector decode_log(ByteView image) {
  const uint64_t pages =
      kLeastPages + (image.empty() ? 0 : 2 * (std::to_integer<size_t>(image[0]) & 63));
  ByteVector log(pages * lfs::kPageSize, std::byte{0xFF});
  size_t at = 1;
  while (at + kEntryHead <= image.size()) {
    const size_t number = std::to_integer<size_t>(image[at]) % pages;
    const std::byte flags = image[at + 1];
    const size_t length = std::min<size_t>(
        {struct_at<le16>(image, at + 2).get(), lfs::kPageSize, image.size() - at - kEntryHead});
    const MutableBytes page = MutableBytes(log).subspan(number * lfs::kPageSize, lfs::kPageSize);
    std::fill(page.begin(), page.end(), std::byte{0});
    std::memcpy(page.data(), image.data() + at + kEntryHead, length);
    at += kEntryHead + length;
    const auto& header = struct_at<MultiSectorHeader>(page);
    const size_t array = header.update_sequence_array_offset.get();
    const size_t count = header.update_sequence_array_count.get();
    const bool can_protect = array >= sizeof(MultiSectorHeader) && array % 2 == 0 &&
                             count == lfs::kPageSize / kSequenceStride + 1 &&
                             array + 2 * count <= kSequenceStride - 2;
    if ((flags & kProtectedPage) != std::byte{0} && can_protect) protect(page);
  }
  return log;
}

/// The other way, for logs of whole pages: decode_log of it is the same log but for the numbers
/// that protect its sectors.
inline ByteVector encode_log(ByteView log) {
  ByteVector image = {static_cast<std::byte>((log.size() / lfs::kPageSize - kLeastPages) / 2)};
  for (size_t number = 0; number * lfs::kPageSize < log.size(); ++number) {
    const ByteView from = log.subspan(number * lfs::kPageSize, lfs::kPageSize);
    ByteVector page(from.begin(), from.end());
    const auto is_ones = [](std::byte b) { return b == std::byte{0xFF}; };
    if (std::all_of(page.begin(), page.end(), is_ones)) continue;
    const bool is_protected = try_unprotect(page);
    while (!page.empty() && page.back() == std::byte{0}) page.pop_back();
    const auto length = le16::of(static_cast<uint16_t>(page.size()));
    image.push_back(static_cast<std::byte>(number));
    image.push_back(is_protected ? kProtectedPage : std::byte{0});
    const ByteView length_bytes = bytes_of(length);
    image.insert(image.end(), length_bytes.begin(), length_bytes.end());
    image.insert(image.end(), page.begin(), page.end());
  }
  return image;
}

/// A log file in memory that is only read.
class ReadOnlyLogStore final : public lfs::LogStore {
 public:
  explicit ReadOnlyLogStore(ByteView bytes) : bytes_(bytes) {}
  uint64_t size_bytes() const override { return bytes_.size(); }
  Result<> read(uint64_t offset, MutableBytes into) override {
    const ByteView from = TRY(slice(bytes_, offset, into.size()));
    std::memcpy(into.data(), from.data(), into.size());
    return {};
  }
  Result<> write_durable(std::span<const lfs::LogWrite>) override {
    return NtStatus::MediaWriteProtected;
  }

 private:
  ByteView bytes_;
};

}  // namespace ntfs::fuzz
