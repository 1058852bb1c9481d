#pragma once

// The contents of a small disk, made to have very many of them: an image on top of another holds
// only the pages that differ. One thread at a time.

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "core/base/bytes.h"

namespace ntfs::crash {

class DiskImage {
 public:
  /// All bytes `fill`. `size_bytes` is a multiple of 4096.
  DiskImage(uint64_t size_bytes, std::byte fill);
  /// The same as `*below`, which must outlive this one and not change.
  explicit DiskImage(const DiskImage* below);
  DiskImage(const DiskImage&) = delete;
  DiskImage& operator=(const DiskImage&) = delete;

  uint64_t size_bytes() const { return index_.size() * kPageBytes; }
  /// Ranges must lie within the size.
  void read(uint64_t offset, MutableBytes into) const;
  void write(uint64_t offset, ByteView from);
  /// Writes the contents to a new or truncated file, with holes for the pages that nobody wrote.
  bool save(const std::string& path) const;

 private:
  static constexpr uint64_t kPageBytes = 4096;
  using Page = std::array<std::byte, kPageBytes>;
  const Page& page(uint64_t number) const;

  const DiskImage* below_ = nullptr;
  Page fill_;                    // without anything below
  std::vector<uint32_t> index_;  // 1 + place in pages_; 0: as below
  std::deque<Page> pages_;
};

}  // namespace ntfs::crash
