#include "tests/support/memory_device.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

namespace ntfs::testing {

namespace {

bool is_zero(ByteView bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

MemoryDevice::MemoryDevice(uint64_t size_bytes, uint32_t block_size)
    : size_bytes_(size_bytes), block_size_(block_size) {
  ASSERT(block_size == 512 || block_size == 4096);
  ASSERT(size_bytes % block_size == 0);
}

// As strict as a real device, so that tests find what it would refuse.
Result<> MemoryDevice::check(std::span<const IoRequest> requests) const {
  for (const IoRequest& request : requests) {
    const uint64_t length = request.memory.size();
    const auto address = reinterpret_cast<uintptr_t>(request.memory.data());
    if (request.offset % block_size_ != 0 || length % block_size_ != 0 ||
        address % block_size_ != 0) {
      return NtStatus::InvalidParameter;
    }
    if (request.offset > size_bytes_ || length > size_bytes_ - request.offset) {
      return NtStatus::EndOfFile;
    }
    if (request.kind == IoRequest::Kind::Write && read_only_) {
      return NtStatus::MediaWriteProtected;
    }
  }
  return {};
}

Result<> MemoryDevice::transfer(std::span<const IoRequest> requests) {
  TRY(check(requests));
  MutexLock lock(mutex_);
  return run_locked(requests);
}

Result<> MemoryDevice::transfer_durable(std::span<const IoRequest> writes) {
  for (const IoRequest& request : writes) {
    if (request.kind != IoRequest::Kind::Write) return NtStatus::InvalidParameter;
  }
  TRY(check(writes));
  MutexLock lock(mutex_);
  ++counters_.durable_transfers;
  return run_locked(writes);
}

Result<> MemoryDevice::flush() {
  MutexLock lock(mutex_);
  ++counters_.flushes;
  return {};
}

Result<> MemoryDevice::run_locked(std::span<const IoRequest> requests) {
  ++counters_.transfers;
  Result<> result;
  for (const IoRequest& request : requests) {
    // The others run all the same, as they would on a device that works on all at once.
    Result<> one = request.kind == IoRequest::Kind::Read
                       ? read_locked(request.offset, request.memory)
                       : write_locked(request.offset, request.memory);
    if (result.has_value() && !one.has_value()) result = std::move(one);
  }
  return result;
}

Result<> MemoryDevice::read_locked(uint64_t offset, MutableBytes into) {
  ++counters_.reads;
  const uint64_t end = offset + into.size();
  for (const auto& [from, to] : unreadable_) {
    if (from < end && offset < to) return NtStatus::IoDeviceError;
  }
  counters_.bytes_read += into.size();
  while (!into.empty()) {
    const uint64_t within = offset % kChunk;
    const size_t length = std::min<uint64_t>(into.size(), kChunk - within);
    const auto chunk = chunks_.find(offset / kChunk);
    if (chunk == chunks_.end()) {
      std::memset(into.data(), 0, length);
    } else {
      std::memcpy(into.data(), chunk->second.get() + within, length);
    }
    into = into.subspan(length);
    offset += length;
  }
  return {};
}

Result<> MemoryDevice::write_locked(uint64_t offset, ByteView from) {
  ++counters_.writes;
  if (writes_to_failure_ == 1) {
    if (write_failure_lasting_ == Lasting::Once) writes_to_failure_ = 0;
    return NtStatus::IoDeviceError;
  }
  if (writes_to_failure_ > 1) --writes_to_failure_;
  counters_.bytes_written += from.size();
  put_locked(offset, from);
  return {};
}

void MemoryDevice::put_locked(uint64_t offset, ByteView from) {
  while (!from.empty()) {
    const uint64_t within = offset % kChunk;
    const size_t length = std::min<uint64_t>(from.size(), kChunk - within);
    const ByteView part = from.first(length);
    auto chunk = chunks_.find(offset / kChunk);
    if (chunk == chunks_.end() && !is_zero(part)) {
      chunk = chunks_.emplace(offset / kChunk, std::make_unique<std::byte[]>(kChunk)).first;
    }
    if (chunk != chunks_.end()) std::memcpy(chunk->second.get() + within, part.data(), length);
    from = from.subspan(length);
    offset += length;
  }
}

Result<> MemoryDevice::discard(uint64_t offset, uint64_t length_bytes) {
  if (offset % block_size_ != 0 || length_bytes % block_size_ != 0) {
    return NtStatus::InvalidParameter;
  }
  if (offset > size_bytes_ || length_bytes > size_bytes_ - offset) return NtStatus::EndOfFile;
  if (read_only_) return NtStatus::MediaWriteProtected;
  if (!discards_) return NtStatus::NotSupported;
  MutexLock lock(mutex_);
  ++counters_.discards;
  const uint64_t end = offset + length_bytes;
  for (auto chunk = chunks_.begin(); chunk != chunks_.end();) {
    const uint64_t start = std::max(chunk->first * kChunk, offset);
    const uint64_t stop = std::min((chunk->first + 1) * kChunk, end);
    if (start < stop && stop - start == kChunk) {
      chunk = chunks_.erase(chunk);
      continue;
    }
    if (start < stop) std::memset(chunk->second.get() + start % kChunk, 0, stop - start);
    ++chunk;
  }
  return {};
}

void MemoryDevice::fail_write(uint64_t nth, Lasting lasting) {
  ASSERT(nth != 0);
  MutexLock lock(mutex_);
  writes_to_failure_ = nth;
  write_failure_lasting_ = lasting;
}

void MemoryDevice::fail_reads(uint64_t offset, uint64_t length_bytes) {
  MutexLock lock(mutex_);
  uint64_t& end = unreadable_[offset];
  end = std::max(end, offset + length_bytes);
}

void MemoryDevice::clear_faults() {
  MutexLock lock(mutex_);
  writes_to_failure_ = 0;
  unreadable_.clear();
}

MemoryDevice::Counters MemoryDevice::counters() const {
  MutexLock lock(mutex_);
  return counters_;
}

void MemoryDevice::reset_counters() {
  MutexLock lock(mutex_);
  counters_ = {};
}

uint64_t MemoryDevice::allocated_bytes() const {
  MutexLock lock(mutex_);
  return chunks_.size() * kChunk;
}

std::unique_ptr<MemoryDevice> MemoryDevice::clone() const {
  auto copy = std::make_unique<MemoryDevice>(size_bytes_, block_size_);
  std::vector<std::pair<uint64_t, ByteVector>> contents;
  {
    MutexLock lock(mutex_);
    for (const auto& [index, bytes] : chunks_) {
      contents.emplace_back(index, ByteVector(bytes.get(), bytes.get() + kChunk));
    }
  }
  MutexLock lock(copy->mutex_);
  for (const auto& [index, bytes] : contents) copy->put_locked(index * kChunk, bytes);
  return copy;
}

bool MemoryDevice::save(const std::string& path) const {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  MutexLock lock(mutex_);
  for (const auto& [index, bytes] : chunks_) {
    const uint64_t length = std::min(kChunk, size_bytes_ - index * kChunk);
    file.seekp(static_cast<std::streamoff>(index * kChunk));
    file.write(reinterpret_cast<const char*>(bytes.get()), static_cast<std::streamsize>(length));
  }
  if (size_bytes_ != 0 && !chunks_.contains((size_bytes_ - 1) / kChunk)) {
    file.seekp(static_cast<std::streamoff>(size_bytes_ - 1));
    file.put('\0');
  }
  file.close();
  return !file.fail();
}

std::unique_ptr<MemoryDevice> MemoryDevice::load(const std::string& path, uint32_t block_size) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return nullptr;
  const auto size = align_down(static_cast<uint64_t>(file.tellg()), block_size);
  auto device = std::make_unique<MemoryDevice>(size, block_size);
  file.seekg(0);
  MutexLock lock(device->mutex_);
  ByteVector chunk(kChunk);
  for (uint64_t offset = 0; offset < size; offset += kChunk) {
    const uint64_t length = std::min(kChunk, size - offset);
    file.read(reinterpret_cast<char*>(chunk.data()), static_cast<std::streamsize>(length));
    if (!file) return nullptr;
    device->put_locked(offset, ByteView(chunk).first(length));
  }
  return device;
}

}  // namespace ntfs::testing
