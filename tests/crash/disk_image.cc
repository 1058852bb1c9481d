#include "tests/crash/disk_image.h"

#include <algorithm>
#include <cstring>
#include <fstream>

namespace ntfs::crash {

DiskImage::DiskImage(uint64_t size_bytes, std::byte fill) : index_(size_bytes / kPageBytes) {
  ASSERT(size_bytes % kPageBytes == 0);
  fill_.fill(fill);
}

DiskImage::DiskImage(const DiskImage* below) : below_(below), index_(below->index_.size()) {}

const DiskImage::Page& DiskImage::page(uint64_t number) const {
  const DiskImage* image = this;
  while (image->index_[number] == 0) {
    if (image->below_ == nullptr) return image->fill_;
    image = image->below_;
  }
  return image->pages_[image->index_[number] - 1];
}

void DiskImage::read(uint64_t offset, MutableBytes into) const {
  ASSERT(offset + into.size() <= size_bytes());
  while (!into.empty()) {
    const uint64_t within = offset % kPageBytes;
    const size_t length = std::min<uint64_t>(into.size(), kPageBytes - within);
    std::memcpy(into.data(), page(offset / kPageBytes).data() + within, length);
    into = into.subspan(length);
    offset += length;
  }
}

void DiskImage::write(uint64_t offset, ByteView from) {
  ASSERT(offset + from.size() <= size_bytes());
  while (!from.empty()) {
    const uint64_t within = offset % kPageBytes;
    const size_t length = std::min<uint64_t>(from.size(), kPageBytes - within);
    uint32_t& place = index_[offset / kPageBytes];
    if (place == 0) {
      const Page& old = page(offset / kPageBytes);
      pages_.push_back(old);
      place = static_cast<uint32_t>(pages_.size());
    }
    std::memcpy(pages_[place - 1].data() + within, from.data(), length);
    from = from.subspan(length);
    offset += length;
  }
}

bool DiskImage::save(const std::string& path) const {
  const DiskImage* lowest = this;
  while (lowest->below_ != nullptr) lowest = lowest->below_;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (uint64_t number = 0; number < index_.size(); ++number) {
    const Page& bytes = page(number);
    if (&bytes == &lowest->fill_ && number + 1 != index_.size()) continue;
    file.seekp(static_cast<std::streamoff>(number * kPageBytes));
    file.write(reinterpret_cast<const char*>(bytes.data()), kPageBytes);
  }
  file.close();
  return !file.fail();
}

}  // namespace ntfs::crash
